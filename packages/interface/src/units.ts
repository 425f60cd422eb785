/** Units and the sizes that formats and interfaces share. */
import { MalformedQuantityError } from './errors.js'
import { shortened } from './hex.js'

export const KIB = 1024
export const MIB = 1024 ** 2
export const GIB = 1024 ** 3
export const TIB = 1024 ** 4

/** The unit of storage: an extent map names blocks of this size. */
export const BLOCK_BYTES = 4096
/** A page of the extent map, a dead list or the checkpoint. */
export const PAGE_BYTES = 4096
/** Entries in a page of the extent map or a dead list. */
export const PAGE_ENTRIES = 256
/** Unit of an entry's `slot`. */
export const SLOT_BYTES = 1024

/** A volume's size is a multiple of `BLOCK_BYTES`, at most this. */
export const VOLUME_BYTES_MAX = 2n ** 62n
/** Blocks of the largest volume; block numbers are below it, so a JavaScript number holds them exactly. */
export const VOLUME_BLOCKS_MAX = 2 ** 50
/** Of a volume's or snapshot's name, in UTF-8. */
export const NAME_BYTES_MAX = 255

const multipliers: Readonly<Record<string, number>> = {
  '': 1,
  K: KIB,
  M: MIB,
  G: GIB,
  T: TIB,
  P: 1024 ** 5,
  E: 1024 ** 6,
}

/**
 * Bytes that a person's text names: `8G`, `512MiB`, `1.5T`, `4096`. Letters are powers of 1024, as QEMU reads them.
 *
 * @throws {MalformedQuantityError} not a size, not a whole number of bytes, or above `Number.MAX_SAFE_INTEGER`
 */
export function parseBytes(text: string): number {
  const match = /^(\d{1,16}(?:\.\d{1,6})?)\s*([KMGTPE]?)(?:i?B)?$/i.exec(text.trim())
  const multiplier = multipliers[match?.[2]?.toUpperCase() ?? '?']
  const value = Number(match?.[1]) * (multiplier ?? Number.NaN)
  if (!Number.isSafeInteger(value)) {
    throw new MalformedQuantityError(
      `not a size in bytes: ${JSON.stringify(shortened(text))} (as in 8G, 512M, 4096)`,
      {
        text: shortened(text),
      },
    )
  }
  return value
}

/** A size for people: three digits and a unit, `1.50 GiB`. */
export function formatBytes(bytes: number | bigint): string {
  let value = Number(bytes)
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB']
  let unit = 0
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  const text = unit === 0 ? String(value) : value >= 99.95 ? value.toFixed(0) : value.toPrecision(3)
  return `${text} ${units[unit] ?? ''}`
}

/** A time for people: one number and a unit, `about` to be put before it. */
function formatSeconds(seconds: number): string {
  if (seconds < 90) return `${String(Math.ceil(seconds))} s`
  const minutes = seconds / 60
  if (minutes < 90) return `${String(Math.round(minutes))} min`
  const hours = minutes / 60
  return hours < 36 ? `${String(Math.round(hours))} h` : `${String(Math.round(hours / 24))} days`
}

/** What a replica lacks, for people: `3.00 MiB, 1.00 MiB/s, about 3 s yet`. */
export function formatLack({
  behindBytes,
  bytesPerSecond,
  etaSeconds,
}: {
  readonly behindBytes: number
  readonly bytesPerSecond?: number | undefined
  readonly etaSeconds?: number | undefined
}): string {
  return [
    formatBytes(behindBytes),
    ...(bytesPerSecond === undefined ? [] : [`${formatBytes(bytesPerSecond)}/s`]),
    ...(etaSeconds === undefined ? [] : [`about ${formatSeconds(etaSeconds)} yet`]),
  ].join(', ')
}
