/**
 * Conditional requests of /blocks (RFC 9110, section 13). A volume's entity tag is the id of its version, always a strong
 * one.
 */
import { HttpConditionError, VersionDiffersError, type VersionId } from '@cloudfs/interface'

export function etagOf(version: VersionId): string {
  return `"${version}"`
}

/** A list of entity tags; `undefined`: the header is not there. */
type Tags = { readonly any: boolean; readonly strong: ReadonlySet<string>; readonly all: ReadonlySet<string> }

export interface ConditionHeaders {
  readonly 'if-match'?: string | undefined
  readonly 'if-none-match'?: string | undefined
  readonly 'if-range'?: string | string[] | undefined
}

/**
 * What a GET is to do while the volume is at `version`.
 *
 * @returns `unmodified`: 304; `ignoreRange`: it asked for a part of another version, and gets all of this one
 * @throws {VersionDiffersError} If-Match names other versions
 * @throws {HttpConditionError}
 */
export function judgeGet(
  headers: ConditionHeaders,
  version: VersionId,
): { readonly unmodified: boolean; readonly ignoreRange: boolean } {
  const match = tagsOf('If-Match', headers['if-match'])
  if (match !== undefined && !match.any && !match.strong.has(version)) throw differs(version)
  const noneMatch = tagsOf('If-None-Match', headers['if-none-match'])
  const unmodified = noneMatch !== undefined && (noneMatch.any || noneMatch.all.has(version))
  // A date, or a weak tag, never matches.
  const ifRange = headers['if-range']
  return { unmodified, ignoreRange: ifRange !== undefined && ifRange !== etagOf(version) }
}

/**
 * The version at which a PUT may write, to be looked at again in the step that writes; `undefined`: any.
 *
 * @param version - the volume's head now
 * @throws {VersionDiffersError} it names other versions
 * @throws {HttpConditionError}
 */
export function expectedOfPut(headers: ConditionHeaders, version: VersionId): VersionId | undefined {
  const noneMatch = tagsOf('If-None-Match', headers['if-none-match'])
  if (noneMatch !== undefined) {
    // `*` asks that there be nothing yet; other tags would have to be looked at with the write, as If-Match is.
    if (noneMatch.any || noneMatch.all.has(version)) throw differs(version)
    throw new HttpConditionError('a PUT takes If-Match, not If-None-Match')
  }
  const match = tagsOf('If-Match', headers['if-match'])
  if (match === undefined || match.any) return undefined
  if (!match.strong.has(version)) throw differs(version)
  return version
}

export function differs(version: VersionId | undefined): VersionDiffersError {
  if (version === undefined) return new VersionDiffersError('the volume is at another version by now')
  return new VersionDiffersError(`the volume is at version ${version}`, {
    headers: { ETag: etagOf(version) },
  })
}

function tagsOf(name: string, header: string | undefined): Tags | undefined {
  if (header === undefined) return undefined
  if (header.trim() === '*') return { any: true, strong: new Set(), all: new Set() }
  const strong = new Set<string>()
  const all = new Set<string>()
  for (const tag of header.split(',')) {
    const match = /^\s*(W\/)?"([\x21\x23-\x7e]*)"\s*$/.exec(tag)
    if (match?.[2] === undefined) {
      throw new HttpConditionError(`${name} is '*' or "VERSION", in quotes: ${JSON.stringify(header)}`)
    }
    all.add(match[2])
    if (match[1] === undefined) strong.add(match[2])
  }
  return { any: false, strong, all }
}
