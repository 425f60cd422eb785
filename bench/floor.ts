/** What this machine's disk does for three copies when nothing else is in the way: the least that a durable write costs. */
import { mkdirSync, rmSync } from 'node:fs'
import { type Measured, measureFiles } from './fio.js'

const COPIES = 3
const FILE_BYTES = 512 * 1024 * 1024

export interface Floor {
  /** Durable appends of 4 KiB to three files at once, a second. */
  readonly append: Measured
  /** The same with 32 blocks in each append. */
  readonly append32: Measured
  /** Of 1 MiB. */
  readonly sequential: Measured
}

/** @param seconds of each of the three runs */
export async function measureFloor(directory: string, seconds: number): Promise<Floor> {
  mkdirSync(directory, { recursive: true })
  const appends = async (blockBytes: number): Promise<Measured> =>
    measureFiles(
      '--ioengine=psync',
      '--direct=1',
      '--sync=dsync',
      '--rw=write',
      '--overwrite=1',
      `--directory=${directory}`,
      '--filename_format=floor.$jobnum',
      `--size=${String(FILE_BYTES)}`,
      `--bs=${String(blockBytes)}`,
      `--numjobs=${String(COPIES)}`,
      '--time_based',
      `--runtime=${String(seconds)}`,
    )
  try {
    return {
      append: await appends(4096),
      append32: await appends(32 * 4096),
      sequential: await appends(1024 * 1024),
    }
  } finally {
    rmSync(directory, { recursive: true })
  }
}
