/** A core's commands, as elections ask for them. */
import { encodeView } from '@cloudfs/format'
import { bytesToHex, type CoreCommands, type CoreVerb, Stamp } from '@cloudfs/interface'
import type { ViewEngine } from './ports.js'

/** Kind of the local item that holds a view's stamp (docs/disk-format.md). */
const STAMP_ITEM = 1

/** Has a core carry out a command. */
export type CoreCall = <V extends CoreVerb>(
  verb: V,
  args: CoreCommands[V]['args'],
) => Promise<CoreCommands[V]['result']>

export function coreEngine(call: CoreCall): ViewEngine {
  return {
    wouldPromise: (volume, epoch) => call('would-promise', { volume, epoch }),
    promise: (volume, epoch, { resigned, isForced } = {}) =>
      call('promise', {
        volume,
        epoch,
        ...(resigned && { resigned }),
        ...(isForced === true && { force: true }),
      }),
    resign: (volume, next, pad) => call('resign', { volume, next, ...(pad !== undefined && { pad }) }),
    expectHand: async (volume, { epoch, stamp, payload, pad }) => {
      await call('expect-hand', { volume, epoch, stamp, payload: bytesToHex(encodeView(payload)), pad })
    },
    sync: async () => {
      await call('sync', {})
    },
    lead: async (volume, { epoch, stamp, head, knownLsn }) => {
      await call('lead', { volume, epoch, stamp, head, ...(knownLsn !== undefined && { knownLsn }) })
    },
    beginView: async (volume, { epoch, oldStamp, payload, isRestart }) => {
      const view = bytesToHex(encodeView(payload))
      const how = oldStamp === undefined ? { force: true } : { oldStamp, restart: isRestart }
      await call('begin-view', { volume, epoch, payload: view, ...how })
    },
    sliceCheck: (volume, epoch, head) => call('slice-check', { volume, epoch, head }),
    stampHere: async (volume) => {
      const { bytes } = await call('get-local', { volume, kind: STAMP_ITEM })
      return bytes === null ? undefined : Stamp.parse(bytes)
    },
  }
}
