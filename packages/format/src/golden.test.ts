/**
 * Goal: format version 1 is what its golden files say, for ever: they are read alike and written alike.
 * If one of these tests fails, the change broke every store in use; the files are right (see testing/make-golden.ts).
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { describe, openStore, readVersion, verifyStore } from './index.js'
import { fromDeviceImage, goldenValues, makeGoldenStore, toDeviceImage } from './testing/index.js'

const directory = new URL('../golden/v1/', import.meta.url)
const read = (name: string): Buffer => readFileSync(new URL(name, directory))

test.each(goldenValues)('$name is read as its file says', ({ name, kind }) => {
  expect(JSON.parse(describe(kind, read(`${name}.bin`)))).toEqual(JSON.parse(read(`${name}.json`).toString()))
})

test.each(goldenValues)('$name is written as its file is', ({ name, bytes }) => {
  expect(Buffer.from(bytes).equals(read(`${name}.bin`))).toBe(true)
})

test('a store of version 1 opens, verifies and reads as it did', async () => {
  const image = gunzipSync(read('store.img.gz'))
  expect(Buffer.from(toDeviceImage(makeGoldenStore())).equals(image)).toBe(true)
  const medium = fromDeviceImage(image)
  const report = await verifyStore(medium)
  expect(report.findings).toEqual([])
  expect(
    report.volumes.map(({ name, lsn, version, snapshots }) => [
      name,
      lsn,
      version,
      snapshots.map((each) => each.name),
    ]),
  ).toMatchInlineSnapshot(`
    [
      [
        "disk",
        7,
        "99e6b754ccd0cb1263415c0bed1142cd03942996",
        [
          "monday",
        ],
      ],
      [
        "branch",
        8,
        "57fe4e311bedde5400c6b4c884fe0d6818472db7",
        [],
      ],
    ]
  `)
  const store = await openStore(medium)
  const contents: string[] = []
  for (const volume of store.volumes.values()) {
    for (const [name, version] of [['head', volume] as const, ...volume.snapshots]) {
      const pieces: string[] = []
      for await (const { offset, bytes, data } of readVersion(store, version)) {
        const fills = data && [...Array(bytes / 4096).keys()].map((index) => data[index * 4096])
        pieces.push(`${offset / 4096}+${bytes / 4096}:${fills?.join(',') ?? '0'}`)
      }
      contents.push(`${volume.name} ${name} ${pieces.join(' ')}`)
    }
  }
  expect(contents).toMatchInlineSnapshot(`
    [
      "disk head 0+2:1,5 2+297:0",
      "disk monday 0+3:1,2,3 3+296:0 299+1:4",
      "branch head 0+3:6,5,3 3+295:0 298+2:7,8",
    ]
  `)
})

test('no golden file was changed, added or lost unnoticed', () => {
  const sums = readdirSync(directory)
    .toSorted()
    .map((name) => `${createHash('sha256').update(read(name)).digest('hex')}  ${name}\n`)
  expect(sums).toHaveLength(2 * goldenValues.length + 1)
  expect(createHash('sha256').update(sums.join('')).digest('hex')).toMatchInlineSnapshot(
    `"f41fa8c94bf44014e98629557439f9fbbbb257615c58f73665fa06a9bcd0fe3a"`,
  )
})
