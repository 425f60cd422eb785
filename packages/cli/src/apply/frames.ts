/** The frames of docs/wire-protocol.md, as far as one needs them who gives a history. */
import { crc32c } from '@cloudfs/format'
import { type Epoch, HostId, StoreId, VersionId, VolumeId } from '@cloudfs/interface'

const FRAME_HEADER_BYTES = 40
/** A frame that a follower sends is short. */
const REPLY_BYTES_MAX = 64 * 1024
const CRC_OFFSET = 36
const VERSION = 1

export const FRAME = { hello: 1, runs: 2, commit: 3, ack: 4, refuse: 6, wantBlocks: 11 } as const

function frame(type: number, epoch: Epoch, head: Uint8Array, restBytes = 0): Buffer {
  const start = Buffer.concat([
    u32(FRAME_HEADER_BYTES + head.length + restBytes),
    Buffer.from([type, 0, 0, 0]),
    epochBytes(epoch),
  ])
  return Buffer.concat([start, u32(crc32c(head, crc32c(start))), head])
}

export function helloFrame(epoch: Epoch, volume: VolumeId): Buffer {
  const nobody = Buffer.alloc(HostId.bytes + StoreId.bytes)
  // Where the history stands says each run itself.
  const position = Buffer.concat([u64(0), epochBytes(epoch), Buffer.alloc(VersionId.bytes), u64(0), u64(0)])
  const versions = Buffer.from([VERSION, 0, VERSION, 0, 0, 0, 0, 0])
  const hasVolume = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0])
  const head = Buffer.concat([versions, nobody, VolumeId.toBytes(volume), position, hasVolume])
  return frame(FRAME.hello, epoch, head)
}

/** What goes ahead of a run and its body. */
export function runsFrame(epoch: Epoch, commitLsn: number, runsBytes: number): Buffer {
  return frame(FRAME.runs, epoch, Buffer.concat([u64(commitLsn), u32(runsBytes), u32(0)]), runsBytes)
}

/** Everything up to `lsn` is committed, is to be synced, and is what was given: the store has checked that it follows. */
export function commitFrame(epoch: Epoch, lsn: number): Buffer {
  return frame(FRAME.commit, epoch, Buffer.concat([u64(lsn), u64(lsn), u64(lsn)]))
}

function epochBytes({ counter, host }: Epoch): Buffer {
  return Buffer.concat([u64(counter), HostId.toBytes(host)])
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}

/** A frame that the engine sent. */
export interface ReplyFrame {
  readonly type: number
  readonly payload: Buffer
}

/** Takes whole frames off the front. @returns them and what is left; `undefined`: those are no frames */
export function takeFrames(bytes: Buffer): { frames: ReplyFrame[]; rest: Buffer } | undefined {
  const frames: ReplyFrame[] = []
  let at = 0
  while (bytes.length - at >= FRAME_HEADER_BYTES) {
    const frameBytes = bytes.readUInt32LE(at)
    if (frameBytes < FRAME_HEADER_BYTES || frameBytes > REPLY_BYTES_MAX) return undefined
    if (bytes.length - at < frameBytes) break
    const whole = bytes.subarray(at, at + frameBytes)
    const payload = whole.subarray(FRAME_HEADER_BYTES)
    if (crc32c(payload, crc32c(whole.subarray(0, CRC_OFFSET))) !== whole.readUInt32LE(CRC_OFFSET))
      return undefined
    frames.push({ type: whole.readUInt8(4), payload })
    at += frameBytes
  }
  return { frames, rest: bytes.subarray(at) }
}
