import { HostId, StoreId } from '@cloudfs/interface'
import { expect, test } from 'vitest'
import { SimCore, type SimEffects, type SimIo, SUPERBLOCK_REGION } from './sim-core.js'

const identity = { store: StoreId.parse('01'.repeat(20)), host: HostId.parse('02'.repeat(20)) }

/** Runs turns, completing every effect at once on a disk in memory, until nothing more happens. */
function settle(core: SimCore, disk: Map<string, Buffer>, nowNs = 1): SimEffects[] {
  const turns: SimEffects[] = []
  for (;;) {
    const effects = core.turn(nowNs)
    turns.push(effects)
    for (const io of effects.io) carryOut(core, disk, io)
    if (effects.io.length === 0) return turns
  }
}

function carryOut(core: SimCore, disk: Map<string, Buffer>, io: SimIo): void {
  if (io.kind === 'write') disk.set(`${io.physical}:${io.offset}`, io.bytes)
  if (io.kind === 'read') core.complete(io.id, 0, disk.get(`${io.physical}:${io.offset}`))
  else core.complete(io.id)
}

test('a format asks for both superblock copies to be written and synced, then is ready', () => {
  const core = new SimCore({ segmentLog2: 16, segmentLimit: 32 })
  const disk = new Map<string, Buffer>()
  core.format(identity, 0)
  const turns = settle(core, disk)
  expect(turns.flatMap(({ events }) => events).map(({ name }) => name)).toContain('ready')
  const kinds = turns.flatMap(({ io }) => io)
  expect(kinds.some((io) => io.kind === 'write' && io.physical === SUPERBLOCK_REGION)).toBe(true)
  expect(kinds.some((io) => io.kind === 'sync' && io.physicals.includes(SUPERBLOCK_REGION))).toBe(true)
  expect(core.segmentLog2()).toBe(16)
  core.command(7, 'volumes', {})
  const answers = settle(core, disk, 2).flatMap((turn) => turn.answers)
  expect(answers).toMatchObject([{ id: 7, errorCode: '' }])
  expect(core.openExport('nothing')).toBeUndefined()
  expect(core.openRefusal('nothing')).not.toBe('')
  expect(core.listExports()).toEqual([])
})

test('a failed write at format fails the store, with a code', () => {
  const core = new SimCore()
  core.format(identity, 0)
  const events = []
  for (let turn = 0; turn < 10; turn++) {
    const effects = core.turn(turn)
    events.push(...effects.events)
    for (const { id } of effects.io) core.complete(id, 5)
  }
  expect(events).toMatchObject([{ name: 'store-failed', detail: { code: 'ERR_STORE_IO' } }])
})

test.each([
  ['a segment size out of range', () => new SimCore({ segmentLog2: 27 })],
  ['a fraction', () => new SimCore({ segmentLimit: 1.5 })],
  ['a negative number', () => new SimCore({ syncBytesMax: -1 })],
  [
    'an effect that is not in flight',
    () => {
      new SimCore().complete(1)
    },
  ],
  [
    'an op of no kind',
    () => {
      new SimCore().submit({ kind: 'explode' as 'read', request: 1, target: 1 })
    },
  ],
  [
    'an id that is none',
    () => {
      new SimCore().format({ ...identity, store: 'xyz' as StoreId }, 0)
    },
  ],
])('%s is refused', (_what, act) => {
  expect(act).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }))
})
