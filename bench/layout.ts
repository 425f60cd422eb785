/**
 * How a log of small batches is best laid out on this disk: one write of 4 KiB and its sync at a time, into space that is
 * written already and not cached. Goal: choose what a batch of one record takes (docs/disk-format.md, Batch).
 */
import { execFileSync } from 'node:child_process'
import { closeSync, fdatasyncSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { describeMachine } from './machine.js'

const BLOCK = 4096
const SLOT = 1024
const FILE_BYTES = 64 * 1024 * 1024

interface LayoutResult {
  readonly layout: string
  /** Durable appends of one block a second. */
  readonly appends: number
  readonly logBytesPerUserByte: number
}

export interface LayoutReport {
  readonly machine: string
  readonly results: readonly LayoutResult[]
}

interface Layout {
  readonly name: string
  readonly bytes: number
  /** Writes append number `index`. */
  write(fd: number, index: number): void
}

const content = Buffer.alloc(4 * BLOCK, 7)

const layouts: readonly Layout[] = [
  {
    name: 'header page and body page',
    bytes: 2 * BLOCK,
    write: (fd, index) => writeSync(fd, content, 0, 2 * BLOCK, index * 2 * BLOCK),
  },
  {
    name: 'header of 1 KiB, body behind it, whole pages written, the last one again by the next append',
    bytes: BLOCK + SLOT,
    write: (fd, index) => {
      const start = Math.floor((index * (BLOCK + SLOT)) / BLOCK) * BLOCK
      const end = Math.ceil(((index + 1) * (BLOCK + SLOT)) / BLOCK) * BLOCK
      writeSync(fd, content, 0, end - start, start)
    },
  },
  {
    name: 'header of 1 KiB, body behind it, written as they are',
    bytes: BLOCK + SLOT,
    write: (fd, index) => writeSync(fd, content, 0, BLOCK + SLOT, index * (BLOCK + SLOT)),
  },
]

/** @param seconds for each layout, in each of `rounds` alternating rounds */
export function measureLayouts(directory: string, seconds: number, rounds: number): LayoutReport {
  mkdirSync(directory, { recursive: true })
  const best = new Map<Layout, number[]>(layouts.map((layout) => [layout, []]))
  try {
    for (let round = 0; round < rounds; round++) {
      for (const layout of layouts)
        best.get(layout)?.push(measure(layout, join(directory, 'segment'), seconds))
    }
  } finally {
    rmSync(directory, { recursive: true })
  }
  const results = layouts.map((layout) => {
    const runs = (best.get(layout) ?? []).sort((a, b) => a - b)
    const appends = runs[Math.floor(runs.length / 2)] ?? 0
    return { layout: layout.name, appends, logBytesPerUserByte: layout.bytes / BLOCK }
  })
  return { machine: describeMachine(), results }
}

function measure(layout: Layout, path: string, seconds: number): number {
  prepare(path)
  const fd = openSync(path, 'r+')
  try {
    const perFile = Math.floor(FILE_BYTES / layout.bytes)
    const started = performance.now()
    const end = started + seconds * 1000
    let count = 0
    while (performance.now() < end && count < perFile) {
      layout.write(fd, count++)
      fdatasyncSync(fd)
    }
    return (count * 1000) / (performance.now() - started)
  } finally {
    closeSync(fd)
    rmSync(path)
  }
}

/** Written ahead and not cached, as a segment is: `count=0` with `nocache` makes dd drop what is cached of the file. */
function prepare(path: string): void {
  const zeros = ['if=/dev/zero', 'bs=1M', `count=${String(FILE_BYTES / 1024 / 1024)}`, 'conv=fdatasync']
  execFileSync('dd', [`of=${path}`, 'status=none', ...zeros])
  execFileSync('dd', [`of=${path}`, 'status=none', 'count=0', 'oflag=nocache', 'conv=notrunc'])
}
