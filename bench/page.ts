/**
 * docs/performance.md: what was measured last stands between marks, `<!-- figures: NAME -->` and `<!-- end of figures -->`. Between
 * those it is made of figures; all else on the page is written by hand and stays.
 */
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { drawPeers, drawRestarts, drawSparse, drawStalls, drawSteady } from './charts.js'
import type { FailoverReport } from './failover.js'
import type { IoReport } from './io.js'
import type { LayoutReport } from './layout.js'
import { describeFailover, stallsOf } from './report-failover.js'
import { describeScale, describeSteady, describeVolumes } from './report-scale.js'
import { describeGlance, describeIo, describeLayouts } from './report.js'
import type { ScaleReport } from './scale.js'
import type { SteadyReport } from './steady.js'
import type { VolumesReport } from './volumes.js'

export interface PagePlaces {
  /** The page, which is changed in place. */
  readonly page: string
  /** A directory for charts. */
  readonly charts: string
  /** Where commands leave what they measure. */
  readonly measured: string
  /** What the page is made of: kept with it. What was measured since is taken in. */
  readonly kept: string
}

interface Part {
  readonly text: string
  /** SVG by file name. */
  readonly charts: Readonly<Record<string, string>>
}

/** Of each file of figures, the parts of the page that it makes. */
const PARTS: Readonly<Record<string, (figures: unknown) => Readonly<Record<string, Part>>>> = {
  peers: (figures) => {
    const report = figures as IoReport
    const image = '![IOPS and MB/s of each server, by workload](charts/peers.svg)'
    const text = `${image}\n\n${describeGlance(report)}`
    return { glance: { text, charts: { 'peers.svg': drawPeers(report) } }, io: plain(describeIo(report)) }
  },
  steady: (figures) => {
    const report = figures as SteadyReport
    const text = `![IOPS, second by second](charts/steady.svg)\n\n${describeSteady(report)}`
    return { steady: { text, charts: { 'steady.svg': drawSteady(report) } } }
  },
  volumes: (figures) => ({ volumes: plain(describeVolumes(figures as VolumesReport)) }),
  scale: (figures) => {
    const report = figures as ScaleReport
    const charts = {
      ...(report.sparse && { 'memory.svg': drawSparse(report.sparse) }),
      ...(report.restarts && { 'restart.svg': drawRestarts(report.restarts) }),
    }
    const images = Object.keys(charts).map((name) => `![${ALTERNATIVES[name] ?? ''}](charts/${name})`)
    return { scale: { text: [...images, describeScale(report)].join('\n\n'), charts } }
  },
  failover: (figures) => {
    const report = figures as FailoverReport
    const text = `![The slowest request around each event](charts/failover.svg)\n\n${describeFailover(report)}`
    return { failover: { text, charts: { 'failover.svg': drawStalls(stallsOf(report)) } } }
  },
  layout: (figures) => ({ layout: plain(describeLayouts(figures as LayoutReport)) }),
}

const ALTERNATIVES: Readonly<Record<string, string>> = {
  'memory.svg': 'Memory while 1 TiB is written at random',
  'restart.svg': 'Time until the first read after kill -9, by what is mapped',
}

function plain(text: string): Part {
  return { text, charts: {} }
}

/** Takes in what was measured, and writes page and charts anew. @returns the parts that there were figures for */
export function writePage({ page, charts, measured, kept }: PagePlaces): string[] {
  mkdirSync(kept, { recursive: true })
  mkdirSync(charts, { recursive: true })
  let text = readFileSync(page, 'utf8')
  const written: string[] = []
  for (const [name, makeParts] of Object.entries(PARTS)) {
    const file = join(kept, `${name}.json`)
    const fresh = join(measured, `${name}.json`)
    if (existsSync(fresh)) copyFileSync(fresh, file)
    if (!existsSync(file)) continue
    for (const [part, made] of Object.entries(makeParts(JSON.parse(readFileSync(file, 'utf8'))))) {
      text = putBetweenMarks(text, part, made.text)
      for (const [chart, svg] of Object.entries(made.charts)) writeFileSync(join(charts, chart), `${svg}\n`)
      written.push(part)
    }
  }
  writeFileSync(page, text)
  return written
}

/**
 * What stands between the marks of one part becomes `content`; all else stays as it is.
 *
 * @throws an Error if the page does not have those marks once
 */
export function putBetweenMarks(page: string, part: string, content: string): string {
  const start = `<!-- figures: ${part} -->`
  const end = '<!-- end of figures -->'
  const [before, behind, ...more] = page.split(start)
  const ends = behind?.indexOf(end) ?? -1
  if (before === undefined || behind === undefined || more.length > 0 || ends < 0)
    throw new Error(`the page does not have "${start}" and "${end}" once`)
  return `${before}${start}\n\n${content}\n\n${behind.slice(ends)}`
}
