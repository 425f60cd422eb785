/**
 * Reads little-endian fields from bytes that nobody vouches for. Every read is bounded, and every refusal is the error
 * of the structure being read, with the field and its offset.
 */
import {
  EPOCH_COUNTER_MAX,
  type Epoch,
  type FormatError,
  HostId,
  type IdKind,
  LSN_MAX,
  type Lsn,
} from '@cloudfs/interface'

/** Makes the error of one structure. */
export type FormatErrorClass = new (message: string, details: Record<string, unknown>) => FormatError

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export class ByteReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #structure: string
  readonly #error: FormatErrorClass
  #offset = 0

  /** @param structure - what is being read, for messages: 'superblock' */
  constructor(bytes: Uint8Array, structure: string, error: FormatErrorClass) {
    // Not a Buffer, whose slice() shares its bytes.
    this.#bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#structure = structure
    this.#error = error
  }

  get offset(): number {
    return this.#offset
  }

  get remaining(): number {
    return this.#bytes.length - this.#offset
  }

  /** Refuses the structure: `field`, which ends at the present offset, breaks a rule. */
  refuse(field: string, why: string): never {
    throw new this.#error(`${this.#structure}: ${field} ${why} (before byte ${String(this.#offset)})`, {
      structure: this.#structure,
      field,
      offset: this.#offset,
    })
  }

  u8(field: string, max = 0xff): number {
    return this.#bounded(field, this.#view.getUint8(this.#take(field, 1)), max)
  }

  u16(field: string, max = 0xffff): number {
    return this.#bounded(field, this.#view.getUint16(this.#take(field, 2), true), max)
  }

  u32(field: string, max = 0xffffffff): number {
    return this.#bounded(field, this.#view.getUint32(this.#take(field, 4), true), max)
  }

  u48(field: string): number {
    const at = this.#take(field, 6)
    return this.#view.getUint16(at + 4, true) * 2 ** 32 + this.#view.getUint32(at, true)
  }

  u64(field: string, max = 0xffff_ffff_ffff_ffffn): bigint {
    const value = this.#view.getBigUint64(this.#take(field, 8), true)
    if (value > max) this.refuse(field, `is ${String(value)}, above ${String(max)}`)
    return value
  }

  /** A byte that is 0 or 1. */
  flag(field: string): boolean {
    return this.u8(field, 1) === 1
  }

  /** A byte that is one of `names`' positions: `['', 'user', 'moved']` reads 1 and 2. */
  oneOf<Name extends string>(field: string, names: readonly ['', ...Name[]]): Name {
    const value = this.u8(field)
    const name = value === 0 ? undefined : names[value]
    if (name === undefined) this.refuse(field, `has the unknown value ${String(value)}`)
    return name as Name
  }

  lsn(field: string): Lsn {
    return Number(this.u64(field, BigInt(LSN_MAX))) as Lsn
  }

  /** Counter, then host. */
  epoch(field: string): Epoch {
    const counter = Number(this.u64(field, BigInt(EPOCH_COUNTER_MAX)))
    return { counter, host: this.id(field, HostId) }
  }

  id<Id extends string>(field: string, kind: IdKind<Id>): Id {
    return kind.fromBytes(this.view(field, kind.bytes))
  }

  /** A copy of the next bytes. */
  bytes(field: string, count: number): Uint8Array {
    return this.view(field, count).slice()
  }

  /** The next bytes in place. */
  view(field: string, count: number): Uint8Array {
    const at = this.#take(field, count)
    return this.#bytes.subarray(at, at + count)
  }

  /** UTF-8 without overlong forms or surrogates. */
  text(field: string, count: number): string {
    const bytes = this.view(field, count)
    try {
      return utf8.decode(bytes)
    } catch {
      return this.refuse(field, 'is not UTF-8')
    }
  }

  /** Reserved bytes, or padding. */
  zeros(field: string, count: number): void {
    if (this.view(field, count).some((byte) => byte !== 0)) this.refuse(field, 'is not zero')
  }

  /** Refuses a count whose items cannot fit the bytes that are left: before anything is allocated for them. */
  expect(field: string, count: number, itemBytesMin: number): void {
    if (count > this.remaining / itemBytesMin) {
      this.refuse(field, `is ${String(count)}: more than ${String(this.remaining)} bytes can hold`)
    }
  }

  /** Refuses bytes after the last field. */
  end(): void {
    if (this.remaining > 0) this.refuse('end', `comes ${String(this.remaining)} bytes late`)
  }

  #take(field: string, count: number): number {
    if (count > this.remaining) {
      this.refuse(field, `needs ${String(count)} bytes where ${String(this.remaining)} are left`)
    }
    const at = this.#offset
    this.#offset += count
    return at
  }

  #bounded(field: string, value: number, max: number): number {
    if (value > max) this.refuse(field, `is ${String(value)}, above ${String(max)}`)
    return value
  }
}
