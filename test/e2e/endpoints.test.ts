/**
 * A volume that is attached stays open for its VM while the way to its primary ends, is replaced, or the primary dies. Goal: no
 * error at the client, and every sector holds what was acknowledged. Method: real engines, one client that writes at random
 * through the endpoint's socket all the time, and somebody who leads the endpoint about, as a replicator would.
 */
import { randomBytes } from 'node:crypto'
import { existsSync, statSync, unlinkSync, writeFileSync } from 'node:fs'
import type { EngineEvent, HostId, VolumeId } from '@cloudfs/interface'
import type { ViewPorts } from '@cloudfs/protocol'
import { afterEach, expect, test, vi } from 'vitest'
import { randomFrom } from './support/disk-oracle.js'
import { EngineCluster } from './support/engine-cluster.js'
import { EngineHost, nbdUri } from './support/engine-process.js'
import { EngineViews } from './support/engine-views.js'
import * as load from './support/load.js'
import { NbdClient } from './support/nbd-client.js'
import { runTool } from './support/run-tool.js'

const options = { timeout: 60_000 }
const MIB = 1024 * 1024
const SIZE = 8 * MIB
/** Longer than any of it takes: an engine's start, or an election. */
const PATIENCE = { timeout: 20_000, interval: 20 }
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)

const engines: EngineHost[] = []
let cluster: EngineCluster | undefined
afterEach(async () => {
  await cluster?.dispose()
  cluster = undefined
  await Promise.all(engines.splice(0).map((engine) => engine.dispose()))
})

/** One engine with an endpoint, and whoever leads that about. */
class Attachment {
  readonly socket: string
  readonly session = randomBytes(16).toString('hex')
  readonly events: EngineEvent[] = []
  readonly engine: EngineHost
  readonly host: HostId
  readonly volume: VolumeId

  constructor(engine: EngineHost, host: HostId, volume: VolumeId) {
    this.engine = engine
    this.host = host
    this.volume = volume
    this.socket = engine.path('disk.nbd')
  }

  /** The primary records that this host has the volume attached, and nobody else; then the endpoint is made. */
  async open(primary: EngineHost): Promise<void> {
    const { volume, session, host, socket } = this
    const status = (await primary.client.call('volumes', { volume })).result[0]
    const after = status?.attach.revision ?? 0
    const holders = [{ session, host, isShared: false, socket }]
    await primary.client.call('attach', { volume, holders, after })
    await this.engine.client.call('endpoint', { volume, session, socket })
  }

  async here(): Promise<void> {
    const { volume, session } = this
    await this.engine.client.call('route', { volume, session, to: 'here' })
  }

  async there(primary: EngineHost): Promise<void> {
    await this.routeBy(await this.wayTo(primary))
  }

  async wayTo({ client }: EngineHost): Promise<{ address: string; key: string; nonce: string }> {
    const { volume, host } = this
    const way = (await client.call('follow-key', { volume, host, protocol: 'cloudfs-session' })).result
    const http = (await client.call('http', {})).result
    return { ...way, address: `${String(http.host)}:${String(http.port)}` }
  }

  async routeBy(to: { address: string; key: string; nonce: string }): Promise<void> {
    const { volume, session } = this
    await this.engine.client.call('route', { volume, session, to })
  }

  async status(): Promise<{ route: string; waiting: number }> {
    const { result } = await this.engine.client.call('endpoints', {})
    const found = result.find((each) => each.volume === this.volume)
    if (found === undefined) throw new Error('no endpoint')
    return found
  }
}

async function startEngine(): Promise<{ engine: EngineHost; host: HostId }> {
  const engine = new EngineHost()
  engines.push(engine)
  const { host } = await engine.format({ size: '128M' })
  await engine.start({ args: ['--http=127.0.0.1:0'] })
  return { engine, host }
}

/** @see {@link load.underLoad} */
async function underLoad(attachment: Attachment, trouble: () => Promise<void>): Promise<void> {
  await load.underLoad({ socket: attachment.socket, sizeBytes: SIZE, seed }, trouble)
  expect((await attachment.status()).waiting).toBe(0)
}

test(
  `an endpoint's route goes here, there and back under load, and is cut at any moment (SEED=${String(seed)})`,
  options,
  async () => {
    const { engine, host } = await startEngine()
    const volume = await engine.createVolume(SIZE)
    const attachment = new Attachment(engine, host, volume)
    await attachment.open(engine)
    expect(existsSync(attachment.socket)).toBe(false)
    await attachment.here()
    const random = randomFrom(seed)
    await underLoad(attachment, async () => {
      for (let round = 0; round < 30; round++) {
        if (random(2) === 0) await attachment.here()
        else await attachment.there(engine)
        await new Promise((resolve) => setTimeout(resolve, random(40)))
      }
    })
  },
)

test('kill -9 of the primary is a pause to the client of an endpoint elsewhere', options, async () => {
  const primary = await startEngine()
  const volume = await primary.engine.createVolume(SIZE)
  const { engine, host } = await startEngine()
  const attachment = new Attachment(engine, host, volume)
  const lost: EngineEvent[] = []
  engine.listener = (event) => {
    if (event.event === 'route-lost') lost.push(event)
  }
  await attachment.open(primary.engine)
  await attachment.there(primary.engine)
  await underLoad(attachment, async () => {
    for (let round = 1; round <= 3; round++) {
      await primary.engine.end('SIGKILL')
      await vi.waitFor(() => {
        expect(lost).toHaveLength(round)
      }, PATIENCE)
      expect((await attachment.status()).route).toBe('none')
      await primary.engine.start({ args: ['--http=127.0.0.1:0'] })
      await attachment.there(primary.engine)
    }
  })
  expect(lost[0]?.detail).toMatchObject({ volume, session: attachment.session, code: 'ERR_STREAM_LOST' })
  await runTool('nbdcopy', nbdUri(attachment.socket), 'null:')
})

test(
  'qemu-io and nbdinfo see the volume through an endpoint; with another session it begins anew',
  options,
  async () => {
    const primary = await startEngine()
    const volume = await primary.engine.createVolume(SIZE)
    const { engine, host } = await startEngine()
    const attachment = new Attachment(engine, host, volume)
    await attachment.open(primary.engine)
    await expect(attachment.here()).rejects.toMatchObject({ code: 'ERR_UNKNOWN_VOLUME' })
    await attachment.there(primary.engine)
    const uri = nbdUri(attachment.socket)
    const commands = [
      'write -P 7 1M 4M',
      'write -z 2M 64k',
      'discard 3M 64k',
      'flush',
      'read -P 7 1M 1M',
      'read -P 0 2M 64k',
    ]
    await runTool('qemu-io', '-f', 'raw', ...commands.flatMap((command) => ['-c', command]), uri)
    expect((await runTool('nbdinfo', '--map', uri)).stdout).toContain('hole,zero')

    const held = await NbdClient.connect(attachment.socket)
    const next = new Attachment(engine, host, volume)
    await next.open(primary.engine)
    await expect(held.read(0, 4096)).rejects.toThrow()
    await expect(attachment.here()).rejects.toMatchObject({ code: 'ERR_UNKNOWN_ENDPOINT' })
    await next.there(primary.engine)
    await runTool('qemu-io', '-f', 'raw', '-c', 'read -P 7 1M 1M', uri)
    expect((await engine.client.call('end-endpoint', { volume })).result.ended).toBe(true)
    expect(existsSync(attachment.socket)).toBe(false)
  },
)

test(
  'a key that is not right, or no ticket, leads nowhere; another file in the way stays',
  options,
  async () => {
    const primary = await startEngine()
    const volume = await primary.engine.createVolume(SIZE)
    const { engine, host } = await startEngine()
    const attachment = new Attachment(engine, host, volume)
    await attachment.open(primary.engine)
    const { client } = primary.engine
    const { session } = attachment
    const { key } = (await client.call('follow-key', { volume, host, protocol: 'cloudfs-records' })).result
    const http = (await client.call('http', {})).result
    const address = `${String(http.host)}:${String(http.port)}`
    for (const wrong of ['00'.repeat(32), key]) {
      const route = engine.client.call('route', { volume, session, to: { address, key: wrong } })
      await expect(route).rejects.toMatchObject({ code: 'ERR_TICKET' })
    }
    const headers = ['Connection: Upgrade', 'Upgrade: cloudfs-session', `CloudFS-Session: ${session}`]
    const url = `http://${address}/session?${volume}`
    const curl = ['--silent', '--include', '--http1.1', ...headers.flatMap((each) => ['-H', each]), url]
    const { stdout } = await runTool('curl', ...curl)
    expect(stdout).toMatch(
      /^HTTP\/1\.1 401 [^]*WWW-Authenticate: CloudFS nonce="[0-9a-f]{32}"\r\n[^]*ERR_TICKET/,
    )

    writeFileSync(attachment.socket, 'mine')
    await expect(attachment.there(primary.engine)).rejects.toMatchObject({ code: 'ERR_ADDRESS_IN_USE' })
    unlinkSync(attachment.socket)
    await attachment.there(primary.engine)
    expect(statSync(attachment.socket).mode & 0o777).toBe(0o660)
  },
)

test('a fenced session does nothing more, and its clients are hung up', options, async () => {
  const primary = await startEngine()
  const volume = await primary.engine.createVolume(SIZE)
  const old = await startEngine()
  const fenced = new Attachment(old.engine, old.host, volume)
  await fenced.open(primary.engine)
  await fenced.there(primary.engine)
  const client = await NbdClient.connect(fenced.socket)
  await client.write(0, Buffer.alloc(4096, 1))

  const taken = new Attachment(primary.engine, primary.host, volume)
  await taken.open(primary.engine)
  await taken.here()
  const write = client.write(0, Buffer.alloc(4096, 2))
  write.catch(() => undefined)
  await expect(fenced.there(primary.engine)).rejects.toMatchObject({ code: 'ERR_SESSION_ENDED' })
  await vi.waitFor(async () => {
    expect(await fenced.status()).toMatchObject({ route: 'none', waiting: 1 })
  }, PATIENCE)
  await old.engine.client.call('end-endpoint', { volume })
  await expect(write).rejects.toThrow()
  const reader = await NbdClient.connect(taken.socket)
  expect(await reader.read(0, 4096)).toEqual(Buffer.alloc(4096, 1))
  reader.close()
})

test('an endpoint follows the primary through elections under load', options, async () => {
  cluster = await EngineCluster.start(3, { args: ['--elections'] })
  const volume = await cluster.createVolume(SIZE)
  await cluster.headsAreEqual()
  const views = new EngineViews(cluster)
  for (const index of [0, 1, 2]) views.begin(index)
  try {
    const attachment = new Attachment(cluster.engine(2), cluster.host(2), volume)
    await attachment.open(cluster.engine(0))
    await attachment.there(cluster.engine(0))
    await underLoad(attachment, async () => {
      let leader = 0
      for (let round = 0; round < 2; round++) {
        await views.end(leader)
        await cluster?.kill(leader)
        const next = await views.leader(leader)
        await vi.waitFor(
          () => (next === 2 ? attachment.here() : attachment.there(cluster!.engine(next))),
          PATIENCE,
        )
        await cluster?.launch(leader)
        views.begin(leader)
        await cluster?.follow(leader, next)
        if (next === 2) break // whose endpoint it is
        leader = next
      }
    })
  } finally {
    await views.endAll()
  }
})

test('who is about to lead lets in, when it does, whoever connected before', options, async () => {
  const engines3 = (cluster = await EngineCluster.start(3, { args: ['--elections'] }))
  const volume = await engines3.createVolume(SIZE)
  await engines3.headsAreEqual()
  const attachment = new Attachment(engines3.engine(2), engines3.host(2), volume)
  await attachment.open(engines3.engine(0))
  await attachment.there(engines3.engine(0))
  const views = new EngineViews(engines3)
  let routed: Promise<void> | undefined
  const expectLead: ViewPorts['expectLead'] = async ({ epoch, stamp }) => {
    const heir = engines3.engine(1)
    await heir.client.call('expect-lead', { volume, epoch, stamp })
    for (const member of [0, 2]) {
      const scope = { volume, host: engines3.host(member), protocol: 'cloudfs-records' } as const
      const { result } = await heir.client.call('follow-key', scope)
      const leader = { leader: engines3.host(1), address: engines3.address(1) }
      await engines3.engine(member).client.call('follow-next', { volume, ...leader, ...result })
    }
    routed = attachment.routeBy(await attachment.wayTo(heir))
    // Nothing has changed by it.
    expect(await attachment.status()).toMatchObject({ route: 'there' })
    expect((await engines3.engine(2).client.call('follows', {})).result[0]?.leader).toBe(engines3.host(0))
  }
  // Told who leads, nobody connects: it is done already.
  const follow = (): Promise<void> => Promise.resolve()
  for (const index of [0, 1, 2]) views.begin(index, { expectLead, follow })
  try {
    await underLoad(attachment, async () => {
      await views.handOver(0, 1)
      await routed
    })
    expect((await engines3.engine(2).client.call('follows', {})).result).toMatchObject([
      { leader: engines3.host(1), state: 'connected' },
    ])
    const stranger = new Attachment(engines3.engine(0), engines3.host(0), volume)
    const way = await attachment.wayTo(engines3.engine(1))
    await expect(stranger.routeBy(way)).rejects.toThrow()
  } finally {
    await views.endAll()
  }
})
