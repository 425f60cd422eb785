/** Figures as cells of tables that a terminal and docs/performance.md show alike. */
import { markdownTable } from 'markdown-table'
import { medianOf } from './series.js'

export const MB = 1e6
export const GIB = 1024 ** 3

/** The first column is words, the others are figures. */
export function tableOf(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const align = head.map((_, index) => (index === 0 ? 'l' : 'r'))
  return markdownTable([head, ...rows], { align })
}

export function rounded(value: number, digits = 0): string {
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

export function median(values: readonly number[], digits = 0): string {
  return rounded(medianOf(values), digits)
}

/** The median, and from where to where. */
export function spread(values: readonly number[]): string {
  const middle = median(values)
  if (values.length < 2) return middle
  return `${middle} (${rounded(Math.min(...values))}-${rounded(Math.max(...values))})`
}

/** A row of its own: median and worst. */
export function medianAndWorst(name: string, values: readonly number[], isGood: 'high' | 'low'): string[] {
  const sorted = values.toSorted((a, b) => (isGood === 'low' ? a - b : b - a))
  return [name, rounded(sorted[Math.floor(sorted.length / 2)] ?? 0), rounded(sorted.at(-1) ?? 0)]
}
