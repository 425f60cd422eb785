/** An engine for a stopped node's store, for as long as a command needs one. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { engineProgram } from '@cloudfs/replicator/engine-program'
import { z } from 'zod'
import { StoreFormatError } from '../errors.js'

const Line = z.object({ msg: z.string(), port: z.number().optional() })

/**
 * Serves the store at `path` on this machine's loopback while `act` runs, and stops it cleanly.
 *
 * @param act - is given the engine's URL
 * @throws an error with the engine's code if it does not start
 */
export async function withEngine<T>(path: string, act: (url: string) => Promise<T>): Promise<T> {
  const run = await mkdtemp(join(tmpdir(), 'cloudfs-'))
  const args = [engineProgram, `--store=${path}`, `--run=${run}`, '--http=127.0.0.1:0']
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const exited = once(child, 'close')
  let talk = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (talk += text))
  try {
    return await act(await served(createInterface(child.stdout), () => talk))
  } finally {
    child.kill('SIGTERM')
    await exited
    await rm(run, { recursive: true, force: true })
  }
}

async function served(lines: AsyncIterable<string>, talk: () => string): Promise<string> {
  let port: number | undefined
  for await (const text of lines) {
    const line = Line.safeParse(JSON.parse(text))
    if (!line.success) continue
    if (line.data.msg === 'serving HTTP') port = line.data.port
    if (line.data.msg === 'serving' && port !== undefined) return `http://127.0.0.1:${port}`
  }
  const [, code = 'ERR_INTERNAL', message = talk()] = /cloudfs-engine: (ERR_\w+): (.*)/s.exec(talk()) ?? []
  throw new StoreFormatError(code, message.trim())
}
