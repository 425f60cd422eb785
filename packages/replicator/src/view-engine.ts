/** The commands of an engine, as the view protocol asks for them. */
import { encodeView } from '@cloudfs/format'
import { bytesToHex, type EngineCommands, type EngineVerb, Stamp } from '@cloudfs/interface'
import type { ViewEngine } from '@cloudfs/protocol'
import type { EngineAnswer } from './engine-client.js'

/** Kind of the local item that holds a view's stamp (docs/disk-format.md). */
const STAMP_ITEM = 1

export type EngineCall = <V extends EngineVerb>(
  verb: V,
  args: EngineCommands[V]['args'],
) => Promise<EngineAnswer<V>>

export function viewEngine(call: EngineCall): ViewEngine {
  return {
    wouldPromise: async (volume, epoch) => (await call('would-promise', { volume, epoch })).result,
    promise: async (volume, epoch) => (await call('promise', { volume, epoch })).result,
    lead: async (volume, plan) => {
      await call('lead', { volume, ...plan })
    },
    beginView: async (volume, { epoch, oldStamp, payload, isRestart }) => {
      const view = bytesToHex(encodeView(payload))
      await call('begin-view', { volume, epoch, oldStamp, payload: view, restart: isRestart })
    },
    sliceCheck: async (volume, epoch, head) => (await call('slice-check', { volume, epoch, head })).result,
    stampHere: async (volume) => {
      const { bytes } = (await call('get-local', { volume, kind: STAMP_ITEM })).result
      return bytes === null ? undefined : Stamp.parse(bytes)
    },
  }
}
