/** What the command line says: results on stdout for programs, talk on stderr for people. */
import { isCloudfsError, UsageError } from '@cloudfs/interface'

/** Exit codes; docs/operations.md lists them. */
export const EXIT = { ok: 0, failed: 1, usage: 2, unreachable: 3, interrupted: 130 } as const

const escapes = { red: 31, green: 32, yellow: 33, bold: 1, dim: 2 } as const

/** Text in a colour, where the terminal has them and `NO_COLOR` is not set. */
export function paint(
  colour: keyof typeof escapes,
  text: string,
  stream: NodeJS.WriteStream = process.stdout,
): string {
  const isWanted = stream.isTTY && (process.env['NO_COLOR'] ?? '') === ''
  return isWanted ? `\u001b[${String(escapes[colour])}m${text}\u001b[0m` : text
}

/** For programs. */
export function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

export function sayJson(value: unknown): void {
  say(JSON.stringify(value, undefined, 2))
}

/** For people. */
export function talk(text: string): void {
  process.stderr.write(`${text}\n`)
}

/** Columns as wide as they need to be. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = []
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length)
  }
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** Reports an error. @returns the exit code that belongs to it */
export function report(error: unknown, isJson: boolean): number {
  if (!isCloudfsError(error)) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
    talk(`cloudfs: ERR_INTERNAL: ${text}`)
    return EXIT.failed
  }
  const { code, message, details } = error
  if (isJson) sayJson({ error: { code, message, details } })
  talk(`cloudfs: ${paint('red', code, process.stderr)}: ${message}`)
  if (error instanceof UsageError) return EXIT.usage
  if (code === 'ERR_INTERRUPTED') return EXIT.interrupted
  return code === 'ERR_NODE_UNREACHABLE' ? EXIT.unreachable : EXIT.failed
}
