/** Errors of the command line; docs/errors.md has a row for each. */
import { CloudfsError } from '@cloudfs/interface'

/** The file to be written exists. */
export class FileExistsError extends CloudfsError {
  readonly code = 'ERR_FILE_EXISTS'
}

/** qemu-img is missing or failed. */
export class ImageToolError extends CloudfsError {
  readonly code = 'ERR_IMAGE_TOOL'
}
