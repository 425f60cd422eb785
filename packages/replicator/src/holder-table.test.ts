import { HostId, VolumeId } from '@cloudfs/interface'
import { expect, test } from 'vitest'
import type { EngineSupervisor } from './engine-supervisor.js'
import { type Claim, HolderTable } from './holder-table.js'

const volume = VolumeId.parse('ab'.repeat(20))
const hostOf = (index: number) => HostId.parse(`1${String(index)}`.repeat(20))
const holderOf = (index: number, isShared = false) => ({ host: hostOf(index), isShared, socket: '/run/x' })

const epochOf = (counter: number) => ({ counter, host: hostOf(0) })

interface World {
  /** Local items, as a store keeps them. */
  readonly items?: Map<string, string>
  /** In which this host leads. */
  readonly counter?: number
  /** What the hosts say that are there. */
  readonly claims?: readonly Claim[]
}

function tableIn({ items = new Map<string, string>(), counter = 1, claims = [] }: World = {}): HolderTable {
  const result = (_verb: string, args: { volume: string }) =>
    Promise.resolve({ bytes: items.get(args.volume) ?? null })
  const call = (_verb: string, args: { volume: string; bytes: string }) =>
    Promise.resolve(items.set(args.volume, args.bytes))
  return new HolderTable({
    engine: { result, call } as unknown as EngineSupervisor,
    epochOf: () => Promise.resolve(epochOf(counter)),
    askHosts: () => Promise.resolve(claims),
  })
}

test('one host at a time has a volume for itself, and the refusal names it', async () => {
  const table = tableIn()
  const asked = await Promise.allSettled([1, 2].map((index) => table.take(volume, holderOf(index))))
  expect(asked.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
  await table.take(volume, holderOf(1))
  const error = { code: 'ERR_VOLUME_ATTACHED', details: { holder: hostOf(1) } }
  await expect(table.take(volume, holderOf(2, true))).rejects.toMatchObject(error)
  await expect(table.whileFree(volume, () => Promise.resolve())).rejects.toMatchObject(error)
  await table.release(volume, hostOf(1))
  await table.take(volume, holderOf(2))
})

test('several share a volume if all of them do', async () => {
  const table = tableIn()
  await table.take(volume, holderOf(1, true))
  await table.take(volume, holderOf(2, true))
  await expect(table.take(volume, holderOf(1))).rejects.toMatchObject({ code: 'ERR_VOLUME_ATTACHED' })
  await expect(table.release(volume, hostOf(3))).rejects.toMatchObject({ code: 'ERR_NOT_ATTACHED' })
  expect(table.of(volume).map(({ host }) => host)).toEqual([hostOf(1), hostOf(2)])
})

test('who starts next finds the holders before it gives the volume to another', async () => {
  const items = new Map<string, string>()
  await tableIn({ items }).take(volume, holderOf(1))
  const table = tableIn({ items })
  await expect(table.take(volume, holderOf(2))).rejects.toMatchObject({ code: 'ERR_VOLUME_ATTACHED' })
  expect(table.of(volume)).toEqual([holderOf(1)])
})

test('who comes to lead goes by what the hosts say, not by what it kept when it led before', async () => {
  const items = new Map<string, string>()
  await tableIn({ items }).take(volume, holderOf(1))
  const claims = [{ holder: holderOf(2), epoch: epochOf(2) }]
  const table = tableIn({ items, counter: 3, claims })
  await expect(table.take(volume, holderOf(1), epochOf(1))).rejects.toMatchObject({
    code: 'ERR_VOLUME_ATTACHED',
  })
  await table.take(volume, holderOf(2), epochOf(2))
  // And so does its next life.
  await expect(tableIn({ items, counter: 3 }).take(volume, holderOf(1))).rejects.toMatchObject({
    code: 'ERR_VOLUME_ATTACHED',
  })
})

test('of two that claim a volume for themselves the one that had it last has it', async () => {
  const claims = [1, 2].map((index) => ({ holder: holderOf(index), epoch: epochOf(index) }))
  const table = tableIn({ counter: 3, claims })
  await table.load(volume)
  expect(table.of(volume)).toEqual([holderOf(2)])
})

test('what was given up is not had again by saying that one has it', async () => {
  const table = tableIn()
  const epoch = await table.take(volume, holderOf(1))
  await table.release(volume, hostOf(1))
  await expect(table.take(volume, holderOf(1), epoch)).rejects.toMatchObject({ code: 'ERR_NOT_ATTACHED' })
  // By the word of an earlier primary it may be had: this one cannot know better.
  await table.take(volume, holderOf(1), epochOf(0))
})

test('more holders than a local item has room for are refused, and those that are there stay', async () => {
  const table = tableIn()
  const holder = (index: number) => ({
    ...holderOf(1, true),
    host: HostId.parse(index.toString(16).padStart(40, '0')),
  })
  let count = 0
  await expect(
    (async () => {
      for (; count < 100; count++) await table.take(volume, holder(count))
    })(),
  ).rejects.toMatchObject({ code: 'ERR_TOO_MANY_HOLDERS' })
  expect(count).toBeGreaterThan(20)
  expect(table.of(volume)).toHaveLength(count)
})
