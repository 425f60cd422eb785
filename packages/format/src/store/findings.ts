/** What a verification found. */
import { type CloudfsError, isCloudfsError } from '@cloudfs/interface'

/** One thing that is not as it should be, with its place in `details`. */
export interface Finding {
  readonly code: string
  readonly message: string
  readonly details: Readonly<Record<string, unknown>>
}

/** Findings kept; past this they are counted only. */
const FINDINGS_MAX = 1000

export class Findings {
  readonly list: Finding[] = []
  count = 0

  add(code: string, message: string, details: Readonly<Record<string, unknown>> = {}): void {
    this.count++
    if (this.list.length < FINDINGS_MAX) this.list.push({ code, message, details })
  }

  addError(error: CloudfsError, details: Readonly<Record<string, unknown>> = {}): void {
    this.add(error.code, error.message, { ...error.details, ...details })
  }

  /** Runs a step; what the store's bytes make it throw becomes a finding. */
  async attempt<T>(
    step: () => Promise<T>,
    details: Readonly<Record<string, unknown>> = {},
  ): Promise<T | undefined> {
    try {
      return await step()
    } catch (error) {
      if (!isCloudfsError(error)) throw error
      this.addError(error, details)
      return undefined
    }
  }
}
