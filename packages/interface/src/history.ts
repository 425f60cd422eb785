/** Positions in a volume's history: lsns and epochs. */
import type { Brand } from './brand.js'
import { MalformedIdError } from './errors.js'
import { shortened } from './hex.js'
import { HostId } from './ids.js'

/** Number of an update in its volume, from 1; 0 = none. 48 bits, so a JavaScript number holds it exactly. */
export type Lsn = Brand<number, 'Lsn'>

/** The greatest lsn; 89 years at 100,000 updates a second. */
export const LSN_MAX = (2 ** 48 - 1) as Lsn

/** The greatest epoch counter; as an lsn. */
export const EPOCH_COUNTER_MAX = 2 ** 48 - 1

/** @throws {MalformedIdError} not a whole number from 0 to `LSN_MAX` */
export function Lsn(value: number): Lsn {
  if (Number.isInteger(value) && value >= 0 && value <= LSN_MAX) return value as Lsn
  throw new MalformedIdError(`not an lsn: ${String(value)}`, { kind: 'lsn', value })
}

/** Which view: epochs count up from one view change to the next; the host breaks ties. It travels as JSON. */
export type Epoch = {
  readonly counter: number
  readonly host: HostId
}

/** Below every epoch a view has. */
export const EPOCH_NONE: Epoch = { counter: 0, host: HostId.zero }

/** Negative, zero or positive as `a` is older than, the same as, or newer than `b`. */
export function compareEpochs(a: Epoch, b: Epoch): number {
  if (a.counter !== b.counter) return a.counter - b.counter
  // Lower-case hex of one length sorts as its bytes do.
  return a.host < b.host ? -1 : a.host > b.host ? 1 : 0
}

/** `COUNTER.HOST`, as in `7.0123…`. */
export function formatEpoch(epoch: Epoch): string {
  return `${String(epoch.counter)}.${epoch.host}`
}

/** @throws {MalformedIdError} not `COUNTER.HOST` */
export function parseEpoch(text: string): Epoch {
  const match = /^(0|[1-9]\d{0,14})\.([0-9a-fA-F]{40})$/.exec(text)
  const counter = Number(match?.[1])
  if (match?.[2] === undefined || counter > EPOCH_COUNTER_MAX) {
    throw new MalformedIdError(`not an epoch: ${JSON.stringify(shortened(text))}`, {
      kind: 'epoch',
      text: shortened(text),
    })
  }
  return { counter, host: HostId.parse(match[2]) }
}
