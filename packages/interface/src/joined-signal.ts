/**
 * An abort signal that ends with others, or by itself, and lets go of them when done. (`AbortSignal.any` over a signal that lives as
 * long as the process keeps what it makes alive on Node 20, and costs much more.)
 */
export class JoinedSignal implements Disposable {
  readonly #controller = new AbortController()
  readonly #sources: readonly AbortSignal[]

  constructor(sources: readonly (AbortSignal | undefined)[]) {
    this.#sources = sources.filter((each) => each !== undefined)
    for (const source of this.#sources) {
      if (source.aborted) this.#follow({ target: source })
      else source.addEventListener('abort', this.#follow)
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Ends it now. */
  abort(reason?: Error): void {
    this.#controller.abort(reason)
  }

  [Symbol.dispose](): void {
    for (const source of this.#sources) source.removeEventListener('abort', this.#follow)
  }

  readonly #follow = ({ target }: { target: unknown }): void => {
    this.#controller.abort(target instanceof AbortSignal ? target.reason : undefined)
  }
}
