import { expect, test } from 'vitest'
import { SimulatedDisk } from './disk.js'
import { randomFrom } from './random.js'

const written = (fill: number) => ({
  kind: 'write' as const,
  id: 1,
  physical: 0,
  offset: 0,
  bytes: Buffer.alloc(8192, fill),
})

/** What power cuts leave of one write, over many seeds: how many of its sectors. */
function sectorsLeft(prepare: (disk: SimulatedDisk) => void): number[] {
  return Array.from({ length: 200 }, (_, seed) => {
    const disk = new SimulatedDisk(1 << 16)
    disk.prepare(0)
    prepare(disk)
    const after = disk.cutPower(randomFrom(seed)).read(0, 0, 8192)
    return Array.from({ length: 16 }, (__, sector) => after[sector * 512]).filter((byte) => byte === 7).length
  })
}

test('what was synced is there after a power cut', () => {
  const left = sectorsLeft((disk) => {
    disk.store(written(7))
    disk.beginSync([0])()
  })
  expect(new Set(left)).toEqual(new Set([16]))
})

test('what was not synced is there, gone or torn', () => {
  const left = new Set(
    sectorsLeft((disk) => {
      disk.store(written(7))
    }),
  )
  expect(left.has(0) && left.has(16)).toBe(true)
  expect([...left].some((count) => count > 0 && count < 16)).toBe(true)
})

test('a sync covers what was written when it was asked for, not what came while it ran', () => {
  const left = sectorsLeft((disk) => {
    const done = disk.beginSync([0])
    disk.store(written(7))
    done()
  })
  expect(Math.min(...left)).toBe(0)
})
