/**
 * Makes the golden files of format version 1: `npm run golden -w @cloudfs/format`.
 *
 * Files that exist are never changed: version 1 is what they say. `--unreleased` replaces them, and is right only for as
 * long as no release has written that format.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { argv } from 'node:process'
import { gunzipSync, gzipSync } from 'node:zlib'
import { describe } from '../index.js'
import { makeGoldenStore, toDeviceImage } from './golden-store.js'
import { goldenValues } from './golden-values.js'

const directory = new URL('../../golden/v1/', import.meta.url)
const mayReplace = argv.includes('--unreleased')

function put(name: string, bytes: Uint8Array | string): void {
  const path = new URL(name, directory)
  const content = Buffer.from(bytes)
  if (existsSync(path) && !mayReplace) {
    if (unpack(name, readFileSync(path)).equals(unpack(name, content))) return
    throw new Error(`${name} exists and is another: the encoder no longer writes format version 1`)
  }
  writeFileSync(path, content)
}

/** What a file holds: two versions of zlib may pack it differently. */
function unpack(name: string, bytes: Buffer): Buffer {
  return name.endsWith('.gz') ? gunzipSync(bytes) : bytes
}

mkdirSync(directory, { recursive: true })
for (const { name, kind, bytes } of goldenValues) {
  put(`${name}.bin`, bytes)
  put(`${name}.json`, `${JSON.stringify(JSON.parse(describe(kind, bytes)), undefined, 2)}\n`)
}
put('store.img.gz', gzipSync(toDeviceImage(makeGoldenStore()), { level: 9 }))
