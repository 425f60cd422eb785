import { HostId, type VolumeHolder, VolumeId } from '@cloudfs/interface'
import { expect, test } from 'vitest'
import { Holders } from './holders.js'

const volume = VolumeId.parse('5a'.repeat(20))
const attached: unknown = expect.objectContaining({ code: 'ERR_VOLUME_ATTACHED' })

const holdersOf = (...shared: boolean[]): VolumeHolder[] =>
  shared.map((isShared, index) => ({
    session: `0${String(index)}`.repeat(16),
    host: HostId.parse(`1${String(index)}`.repeat(20)),
    isShared,
    socket: '/s',
  }))

/** A store whose answers come when the test says so. */
class Records {
  holders: readonly VolumeHolder[] = []
  readonly #waiting: (() => void)[] = []
  read = (): Promise<readonly VolumeHolder[]> => {
    const { holders } = this
    return new Promise((resolve) => {
      this.#waiting.push(() => {
        resolve(holders)
      })
    })
  }
  async answer(): Promise<void> {
    this.#waiting.shift()?.()
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  }
}

const write = (): Promise<string> => Promise.resolve('written')

test('whoever shares lets writes in, whoever does not keeps them out', async () => {
  for (const [present, isLetIn] of [
    [[], true],
    [holdersOf(true, true), true],
    [holdersOf(false), false],
  ] as const) {
    const holders = new Holders(() => Promise.resolve(present))
    const entered = holders.enter(volume, write)
    if (isLetIn) expect(await entered).toBe('written')
    else await expect(entered).rejects.toThrow(attached)
  }
})

test('what is known is not asked again until the record changes', async () => {
  let asked = 0
  const holders = new Holders(() => Promise.resolve(asked++ === 0 ? [] : holdersOf(false)))
  await holders.enter(volume, write)
  await holders.enter(volume, write)
  expect(asked).toBe(1)
  holders.changed('6b'.repeat(20))
  await holders.enter(volume, write)
  expect(asked).toBe(1)
  await holders.change(volume, write)
  await expect(holders.enter(volume, write)).rejects.toThrow(attached)
})

test('no write is begun by what was read before a change was done', async () => {
  const records = new Records()
  const holders = new Holders(records.read)
  let begun = false
  const entered = holders.enter(volume, () => {
    begun = true
    return write()
  })
  const refused = expect(entered).rejects.toThrow(attached)
  records.holders = holdersOf(false)
  await holders.change(volume, write)
  await records.answer()
  await records.answer()
  await refused
  expect(begun).toBe(false)
})

test('what is read during a change is not kept', async () => {
  const records = new Records()
  const holders = new Holders(records.read)
  let done = (): void => undefined
  const change = holders.change(volume, () => new Promise<void>((resolve) => (done = resolve)))
  const first = holders.enter(volume, write)
  await records.answer()
  expect(await first).toBe('written')
  records.holders = holdersOf(false)
  done()
  await change
  const refused = expect(holders.enter(volume, write)).rejects.toThrow(attached)
  await records.answer()
  await refused
})

test('a change that failed leaves what the store says', async () => {
  const holders = new Holders(() => Promise.resolve([]))
  await expect(holders.change(volume, () => Promise.reject(new Error('full')))).rejects.toThrow('full')
  expect(await holders.enter(volume, write)).toBe('written')
})
