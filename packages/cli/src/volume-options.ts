/** Options that several commands take for a disk they make. */
import { UsageError } from '@cloudfs/interface'

export const modes = ['durable', 'quorum', 'local'] as const

/** Of a disk that an image becomes. */
export const REPLICAS_DEFAULT = '3'

export function modeOf(text: string): (typeof modes)[number] {
  const mode = modes.find((each) => each === text)
  if (mode === undefined) throw new UsageError(`--mode is one of ${modes.join(', ')}`)
  return mode
}

export function replicasOf(text: string): number {
  if (!/^\d{1,3}$/.test(text)) throw new UsageError(`not a number of replicas: ${text}`)
  return Number(text)
}
