/** Lower-case hexadecimal, the text form of every id. */
import { MalformedIdError } from './errors.js'

const digits = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** Two lower-case digits a byte. */
export function bytesToHex(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += digits[byte] ?? ''
  return text
}

/**
 * The bytes that hex digits of either case name.
 *
 * @throws {MalformedIdError} an odd number of digits, or something else than a digit
 */
export function hexToBytes(text: string): Uint8Array {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) {
    throw new MalformedIdError('not an even number of hexadecimal digits', { text: shortened(text) })
  }
  const bytes = new Uint8Array(text.length / 2)
  for (let index = 0; index < bytes.length; index++) {
    bytes[index] = Number.parseInt(text.slice(2 * index, 2 * index + 2), 16)
  }
  return bytes
}

/** As much of somebody's text as belongs in a message. */
export function shortened(text: string, charactersMax = 60): string {
  return text.length <= charactersMax ? text : `${text.slice(0, charactersMax)}…`
}
