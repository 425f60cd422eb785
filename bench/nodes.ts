/** Nodes of CloudFS on this machine, started and asked through the command line as an operator would, and disks on them. */
import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { atEnd } from './ends.js'
import { runTool } from './tool.js'

const cloudfs = fileURLToPath(new URL('../../packages/cli/bin/cloudfs.js', import.meta.url))

const Started = z.array(z.object({ url: z.string(), enginePid: z.int(), replicatorPid: z.int() })).min(1)
const Made = z.object({ volume: z.string() })
const Placed = z.object({ primary: z.string() })
const Attached = z.object({ uri: z.string() })

export interface LocalNode {
  readonly url: string
  readonly host: string
  readonly engine: number
  /** Both processes. */
  readonly pids: readonly number[]
}

export interface LocalDisk {
  readonly volume: string
  /** Of NBD, at the node that leads the volume. */
  readonly uri: string
  readonly primary: LocalNode
}

export class LocalNodes {
  readonly all: readonly LocalNode[]
  readonly #directory: string
  readonly #forget: () => void

  private constructor(directory: string, all: readonly LocalNode[], forget: () => void) {
    this.#directory = directory
    this.#forget = forget
    this.all = all
  }

  /** @param directory - of their own; it is removed in the end */
  static async up(directory: string, count: number, storeBytes: number): Promise<LocalNodes> {
    const size = `--store-size=${String(storeBytes)}`
    const forget = atEnd(() => execFileSync(process.execPath, [cloudfs, ...downOf(directory)]))
    try {
      const started = Started.parse(
        await ask('dev', 'up', `--dir=${directory}`, `--nodes=${String(count)}`, size),
      )
      const all = started.map(async ({ url, enginePid, replicatorPid }) => {
        const host = (await (await fetch(`${url}/id`)).text()).trim()
        return { url, host, engine: enginePid, pids: [enginePid, replicatorPid] }
      })
      return new LocalNodes(directory, await Promise.all(all), forget)
    } catch (error) {
      await down(directory)
      forget()
      throw error
    }
  }

  /** Makes a disk with a copy at every node, and attaches it where its primary is. */
  async disk(sizeBytes: number, name: string): Promise<LocalDisk> {
    const [first] = this.all
    if (first === undefined) throw new Error('there is no node')
    const size = `--size=${String(sizeBytes)}`
    const made = await askAt(first, 'newdisk', String(this.all.length), size, `--name=${name}`)
    const { volume } = Made.parse(made)
    const { primary } = Placed.parse(await askAt(first, 'info', volume))
    const home = this.all.find(({ host }) => host === primary) ?? first
    const { uri } = Attached.parse(await askAt(home, 'attach', volume))
    return { volume, uri, primary: home }
  }

  /** Makes a disk with a copy at every node and attaches it at `home`, which leads it from then on. @returns its URI */
  async attachedAt(home: LocalNode, sizeBytes: number, name: string): Promise<string> {
    await post(home, 'volumes', { name, replicas: this.all.length, sizeBytes })
    return Attached.parse(await post(home, 'attachments', { volume: name })).uri
  }

  async down(): Promise<void> {
    await down(this.#directory)
    this.#forget()
  }
}

function downOf(directory: string): string[] {
  return ['dev', 'down', `--dir=${directory}`]
}

async function down(directory: string): Promise<void> {
  await runTool(process.execPath, cloudfs, ...downOf(directory))
  rmSync(directory, { recursive: true })
}

/** What a node counts about its engine, by the names of `/metrics` without their prefix. */
export async function engineFigures({ url }: LocalNode): Promise<ReadonlyMap<string, number>> {
  const text = await (await fetch(`${url}/metrics`)).text()
  const lines = text.matchAll(/^cloudfs_engine_(\w+) (\S+)$/gm)
  return new Map(Array.from(lines, ([, name = '', value]) => [name, Number(value)]))
}

async function post({ url }: LocalNode, path: string, body: object): Promise<unknown> {
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(`${url}/v1/${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
  if (!answer.ok) throw new Error(`${path}: ${await answer.text()}`)
  return answer.json()
}

async function askAt({ url }: LocalNode, ...args: readonly string[]): Promise<unknown> {
  return ask('--node', url.replace('http://', ''), ...args)
}

async function ask(...args: readonly string[]): Promise<unknown> {
  return JSON.parse(await runTool(process.execPath, cloudfs, '--json', ...args))
}
