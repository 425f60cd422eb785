/**
 * The examples of every `--help` run, one after the other as a reader would try them: each finds what those before it have
 * made. Those that serve until Ctrl-C are ended by it once they serve.
 */
import { once } from 'node:events'
import { buildProgram, examplesOf } from '@cloudfs/cli'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cluster } from './support/cluster.js'
import { runTool } from './support/run-tool.js'

/** Examples that run until Ctrl-C, and what they say when they serve. */
const serving = [
  { begin: 'cloudfs replicator', ready: '"msg":"serving"' },
  { begin: 'cloudfs dev run', ready: 'nbd+unix:///' },
]

type Command = ReturnType<typeof buildProgram>

let cluster: Cluster
beforeAll(async () => {
  cluster = await new Cluster().up(3)
  await runTool('qemu-img', 'create', '-q', '-f', 'qcow2', cluster.path('disk.qcow2'), '8M')
}, 120_000)
afterAll(() => cluster.dispose(), 120_000)

async function runUntilReady(line: string, ready: string): Promise<void> {
  const child = cluster.start(line)
  const ended = once(child, 'close')
  let output = ''
  await new Promise<void>((resolve, reject) => {
    const take = (chunk: Buffer): void => {
      output += chunk.toString()
      if (output.includes(ready)) resolve()
    }
    child.stdout?.on('data', take)
    child.stderr?.on('data', take)
    child.once('close', () => {
      reject(new Error(`ended before it served:\n${output}`))
    })
  })
  child.kill('SIGINT')
  expect((await ended)[0], output).toBe(0)
}

test('every example in every help runs', { timeout: 240_000 }, async () => {
  const lines = examplesOf(buildProgram()).map(([line]) => line)
  expect(lines.length).toBeGreaterThan(20)
  for (const line of lines) {
    const kind = serving.find(({ begin }) => line.startsWith(begin))
    if (kind === undefined) await cluster.shell(line)
    else await runUntilReady(line, kind.ready)
  }
})

test('every command has examples, and its help shows them', () => {
  const leaves = (command: Command): Command[] =>
    command.commands.length === 0 ? [command] : command.commands.flatMap(leaves)
  const bare = leaves(buildProgram()).filter((command) => examplesOf(command).length === 0)
  expect(bare.map((command) => command.name())).toEqual([])
})
