/** An export that somebody has open at a host: as a server of clients, it closes it when they are gone and all is answered. */
import type { SimCore, SimOp } from '@cloudfs/native'
import type { Host } from './host.js'

export class OpenExport {
  readonly #host: Host
  readonly #life: number
  readonly #handle: number
  #underWay = 0
  #isEnding = false

  constructor(host: Host, handle: number) {
    this.#host = host
    this.#life = host.life
    this.#handle = handle
  }

  /** @returns whether there is still somebody to hear it */
  submit(op: Omit<SimOp, 'target'>): boolean {
    return this.#give((core) => {
      this.#underWay++
      core.submit({ ...op, target: this.#handle })
    })
  }

  seen(request: number): boolean {
    return this.#give((core) => {
      core.sessionSeen(this.#handle, request)
    })
  }

  /** The core has answered one. */
  answered(): void {
    this.#underWay--
    this.#closeIfDone()
  }

  /** Nobody is there any more. */
  end(): void {
    this.#isEnding = true
    this.#closeIfDone()
  }

  #give(what: (core: SimCore) => void): boolean {
    if (this.#host.life !== this.#life) return false
    this.#host.give((core) => {
      if (!this.#isEnding) what(core)
    })
    return true
  }

  #closeIfDone(): void {
    if (!this.#isEnding || this.#underWay > 0 || this.#host.life !== this.#life) return
    this.#host.give((core) => {
      core.closeExport(this.#handle)
    })
  }
}
