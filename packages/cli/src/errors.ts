/** Errors of the command line; docs/errors.md has a row for each. */
import { CloudfsError, type ErrorDetails } from '@cloudfs/interface'

/** The file to be written exists. */
export class FileExistsError extends CloudfsError {
  readonly code = 'ERR_FILE_EXISTS'
}

/** qemu-img is missing or failed. */
export class ImageToolError extends CloudfsError {
  readonly code = 'ERR_IMAGE_TOOL'
}

/** Ctrl-C or SIGTERM came before the work was done. */
export class InterruptedError extends CloudfsError {
  readonly code = 'ERR_INTERRUPTED'
}

/** No store could be made; the code is the engine's. */
export class StoreFormatError extends CloudfsError {
  readonly code: string

  constructor(code: string, message: string, details: ErrorDetails = {}) {
    super(message, details)
    this.code = code
  }
}

/** Updates of several volumes, one behind the other. */
export class MixedHistoryError extends CloudfsError {
  readonly code = 'ERR_MIXED_HISTORY'
}
