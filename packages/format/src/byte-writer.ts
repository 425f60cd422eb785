/** Writes little-endian fields into bytes that grow. A value that does not fit its field is its caller's bug. */
import assert from 'node:assert'
import { type Epoch, HostId, type IdKind } from '@cloudfs/interface'

const utf8 = new TextEncoder()

export class ByteWriter {
  #bytes = new Uint8Array(256)
  #view = new DataView(this.#bytes.buffer)
  #length = 0

  get length(): number {
    return this.#length
  }

  u8(value: number): this {
    this.#room(1).setUint8(this.#length - 1, whole(value, 0xff))
    return this
  }

  u16(value: number): this {
    this.#room(2).setUint16(this.#length - 2, whole(value, 0xffff), true)
    return this
  }

  u32(value: number): this {
    this.#room(4).setUint32(this.#length - 4, whole(value, 0xffffffff), true)
    return this
  }

  u48(value: number): this {
    whole(value, 2 ** 48 - 1)
    return this.u32(value % 2 ** 32).u16(Math.floor(value / 2 ** 32))
  }

  u64(value: bigint | number): this {
    const integer = BigInt(value)
    assert(integer >= 0n && integer < 2n ** 64n, `${String(value)} does not fit 64 bits`)
    this.#room(8).setBigUint64(this.#length - 8, integer, true)
    return this
  }

  flag(value: boolean): this {
    return this.u8(value ? 1 : 0)
  }

  oneOf<Name extends string>(names: readonly ['', ...Name[]], name: Name): this {
    const value = (names as readonly string[]).indexOf(name)
    assert(value > 0, `${name} is none of ${names.join(' ')}`)
    return this.u8(value)
  }

  epoch(epoch: Epoch): this {
    return this.u64(epoch.counter).id(HostId, epoch.host)
  }

  id<Id extends string>(kind: IdKind<Id>, id: Id): this {
    return this.bytes(kind.toBytes(id))
  }

  bytes(value: Uint8Array): this {
    const at = this.#grow(value.length)
    this.#bytes.set(value, at)
    return this
  }

  text(value: string): this {
    return this.bytes(utf8.encode(value))
  }

  zeros(count: number): this {
    this.#grow(count)
    return this
  }

  padTo(alignment: number): this {
    return this.zeros(alignUp(this.#length, alignment) - this.#length)
  }

  /** Overwrites a field that had to wait for what follows it. */
  patchU32(offset: number, value: number): this {
    assert(offset + 4 <= this.#length, 'a patched field is written already')
    this.#view.setUint32(offset, whole(value, 0xffffffff), true)
    return this
  }

  /** What is written so far, as a view: write no more afterwards. */
  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  /** The view, grown by `count` bytes. */
  #room(count: number): DataView {
    this.#grow(count)
    return this.#view
  }

  #grow(count: number): number {
    const at = this.#length
    this.#length += count
    if (this.#length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#length, 2 * this.#bytes.length))
      larger.set(this.#bytes)
      this.#bytes = larger
      this.#view = new DataView(larger.buffer)
    }
    return at
  }
}

/** The least multiple of `alignment` that is not below `value`. */
export function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment
}

/** UTF-8 length of a text. */
export function textBytes(text: string): number {
  return utf8.encode(text).length
}

function whole(value: number, max: number): number {
  assert(
    Number.isInteger(value) && value >= 0 && value <= max,
    `${String(value)} is not a whole number up to ${String(max)}`,
  )
  return value
}
