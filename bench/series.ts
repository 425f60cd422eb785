/** How a run went along the way. */

/** [ms since the start, operations a second] */
export type Series = readonly (readonly [number, number])[]

/** Of what was measured between two moments. */
export function meanBetween(series: Series, fromMs: number, toMs: number): number {
  const within = series.filter(([ms]) => ms > fromMs && ms <= toMs).map(([, value]) => value)
  return within.reduce((sum, value) => sum + value, 0) / within.length
}

/** The middle one of several runs; of two the greater. */
export function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? 0
}
