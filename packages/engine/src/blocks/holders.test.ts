import { VolumeId } from '@cloudfs/interface'
import { expect, test } from 'vitest'
import { Holders } from './holders.js'

const ATTACHMENT = 8
const volume = VolumeId.parse('5a'.repeat(20))
const attached: unknown = expect.objectContaining({ code: 'ERR_VOLUME_ATTACHED' })

const itemOf = (...shared: boolean[]): string => {
  const holders = shared.map((isShared, index) => ({
    host: `1${String(index)}`.repeat(20),
    isShared,
    socket: '/s',
  }))
  return Buffer.from(JSON.stringify({ holders })).toString('hex')
}

/** A store whose answers come when the test says so. */
class Items {
  bytes: string | null = null
  readonly #waiting: (() => void)[] = []
  read = (): Promise<string | null> => {
    const { bytes } = this
    return new Promise((resolve) => {
      this.#waiting.push(() => {
        resolve(bytes)
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
  for (const [bytes, isLetIn] of [
    [null, true],
    ['', true],
    [itemOf(true, true), true],
    [itemOf(false), false],
  ] as const) {
    const holders = new Holders(() => Promise.resolve(bytes))
    const entered = holders.enter(volume, write)
    if (isLetIn) expect(await entered).toBe('written')
    else await expect(entered).rejects.toThrow(attached)
  }
})

test('what is known is not asked again until something is put', async () => {
  let asked = 0
  const holders = new Holders(() => Promise.resolve(asked++ === 0 ? null : itemOf(false)))
  await holders.enter(volume, write)
  await holders.enter(volume, write)
  expect(asked).toBe(1)
  await holders.put(volume, 1, write)
  await holders.enter(volume, write)
  expect(asked).toBe(1)
  await holders.put(volume, ATTACHMENT, write)
  await expect(holders.enter(volume, write)).rejects.toThrow(attached)
})

test('no write is begun by what was read before a put was done', async () => {
  const items = new Items()
  const holders = new Holders(items.read)
  let begun = false
  const entered = holders.enter(volume, () => {
    begun = true
    return write()
  })
  const refused = expect(entered).rejects.toThrow(attached)
  items.bytes = itemOf(false)
  await holders.put(volume, ATTACHMENT, write)
  await items.answer()
  await items.answer()
  await refused
  expect(begun).toBe(false)
})

test('what is read during a put is not kept', async () => {
  const items = new Items()
  const holders = new Holders(items.read)
  let done = (): void => undefined
  const put = holders.put(volume, ATTACHMENT, () => new Promise<void>((resolve) => (done = resolve)))
  const first = holders.enter(volume, write)
  await items.answer()
  expect(await first).toBe('written')
  items.bytes = itemOf(false)
  done()
  await put
  const refused = expect(holders.enter(volume, write)).rejects.toThrow(attached)
  await items.answer()
  await refused
})

test('a put that failed leaves what the store says', async () => {
  const holders = new Holders(() => Promise.resolve(null))
  await expect(holders.put(volume, ATTACHMENT, () => Promise.reject(new Error('full')))).rejects.toThrow(
    'full',
  )
  expect(await holders.enter(volume, write)).toBe('written')
})
