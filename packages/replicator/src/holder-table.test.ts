import { HostId, VolumeId } from '@cloudfs/interface'
import { expect, test } from 'vitest'
import type { EngineSupervisor } from './engine-supervisor.js'
import { HolderTable } from './holder-table.js'

const volume = VolumeId.parse('ab'.repeat(20))
const hostOf = (index: number) => HostId.parse(`1${String(index)}`.repeat(20))
const holderOf = (index: number, isShared = false) => ({ host: hostOf(index), isShared, socket: '/run/x' })

/** Local items, as a store keeps them. */
function storeOfItems(items = new Map<string, string>()): EngineSupervisor {
  const result = (_verb: string, args: { volume: string }) =>
    Promise.resolve({ bytes: items.get(args.volume) ?? null })
  const call = (_verb: string, args: { volume: string; bytes: string }) =>
    Promise.resolve(items.set(args.volume, args.bytes))
  return { result, call } as unknown as EngineSupervisor
}

test('one host at a time has a volume for itself, and the refusal names it', async () => {
  const table = new HolderTable(storeOfItems())
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
  const table = new HolderTable(storeOfItems())
  await table.take(volume, holderOf(1, true))
  await table.take(volume, holderOf(2, true))
  await expect(table.take(volume, holderOf(1))).rejects.toMatchObject({ code: 'ERR_VOLUME_ATTACHED' })
  await expect(table.release(volume, hostOf(3))).rejects.toMatchObject({ code: 'ERR_NOT_ATTACHED' })
  expect(table.of(volume).map(({ host }) => host)).toEqual([hostOf(1), hostOf(2)])
})

test('who starts next finds the holders before it gives the volume to another', async () => {
  const items = new Map<string, string>()
  await new HolderTable(storeOfItems(items)).take(volume, holderOf(1))
  const table = new HolderTable(storeOfItems(items))
  await expect(table.take(volume, holderOf(2))).rejects.toMatchObject({ code: 'ERR_VOLUME_ATTACHED' })
  expect(table.at(hostOf(1))).toEqual([{ volume, holder: holderOf(1) }])
})

test('more holders than a local item has room for are refused, and those that are there stay', async () => {
  const table = new HolderTable(storeOfItems())
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
