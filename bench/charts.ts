/** Charts of what was measured, as SVG: drawn by ECharts without a browser. */
import { type EChartsOption, init } from 'echarts'
import type { IoReport } from './io.js'
import { type Stalls } from './report-failover.js'
import { isSequential, runsOf, workloadsOf } from './report.js'
import type { Restart, Restarts } from './restart.js'
import { medianOf } from './series.js'
import type { Sparse } from './sparse.js'
import type { SteadyReport } from './steady.js'
import { GIB, MB, rounded } from './tables.js'

const OURS = '#1f6feb'
const OTHERS = '#9aa7b8'
/** One copy, or no disk at all: there to compare with, not instead. */
const ONE_COPY = '#d7dde5'
const INK = '#24292f'
const LINES = [OURS, '#d1242f', '#bf8700', '#6e7781']
const MIB = 1024 ** 2
const WIDTH = 960

const text = { fontFamily: 'sans-serif', color: INK }

function draw(height: number, option: EChartsOption): string {
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height })
  chart.setOption({ animation: false, backgroundColor: '#ffffff', textStyle: text, ...option })
  const svg = chart.renderToSVGString()
  chart.dispose()
  return svg
}

const COLUMNS = 2
const PANEL_HEIGHT = 210
const PANEL_WIDTH = WIDTH / COLUMNS
const LABELS_WIDTH = 166
const PANEL_TITLE_HEIGHT = 34

/** A panel for each workload, a bar for each server: the longer the better. */
export function drawPeers(report: IoReport): string {
  const workloads = workloadsOf(report)
  const targets = Object.keys(report.durability).toReversed()
  const place = (index: number): { left: number; top: number } => ({
    left: (index % COLUMNS) * PANEL_WIDTH,
    top: Math.floor(index / COLUMNS) * PANEL_HEIGHT,
  })
  const height = Math.ceil(workloads.length / COLUMNS) * PANEL_HEIGHT
  const each = workloads.map((workload, index) => ({ workload, index, ...place(index) }))
  const figure = ({ value }: { value?: unknown }): string => rounded(Number(value))
  return draw(height, {
    title: each.map(({ workload, left, top }) => ({
      text: `${workload}${isSequential(workload) ? ', MB/s' : ', IOPS'}`,
      textStyle: { ...text, fontSize: 14 },
      ...{ left: left + 8, top: top + 8 },
    })),
    grid: each.map(({ left, top }) => ({
      ...{ left: left + LABELS_WIDTH, top: top + PANEL_TITLE_HEIGHT },
      ...{ width: PANEL_WIDTH - LABELS_WIDTH - 64, height: PANEL_HEIGHT - PANEL_TITLE_HEIGHT - 12 },
    })),
    xAxis: each.map(({ index }) => ({ type: 'value', gridIndex: index, show: false })),
    yAxis: each.map(({ index }) => ({
      ...{ type: 'category', gridIndex: index, data: targets },
      ...{ axisTick: { show: false }, axisLine: { show: false }, axisLabel: text },
    })),
    series: each.map(({ workload, index }) => ({
      ...{ type: 'bar', xAxisIndex: index, yAxisIndex: index, barCategoryGap: '25%' },
      label: { ...text, show: true, position: 'right', formatter: figure },
      data: targets.map((target) => ({
        value: medianOf(
          runsOf(report, target, workload).map(({ iops, bandwidth }) =>
            isSequential(workload) ? bandwidth / MB : iops,
          ),
        ),
        itemStyle: { color: colorOf(target) },
      })),
    })),
  })
}

function colorOf(target: string): string {
  if (target.startsWith('CloudFS')) return OURS
  return target.endsWith('3 copies') ? OTHERS : ONE_COPY
}

interface Line {
  readonly name: string
  readonly points: readonly (readonly [number, number])[]
  readonly isDashed?: boolean
}

interface LineChart {
  readonly title: string
  readonly x: string
  readonly y: string
  readonly lines: readonly Line[]
  readonly hasMarks?: boolean
}

function drawLines({ title, x, y, lines, hasMarks = false }: LineChart): string {
  const axis = { type: 'value' as const, nameLocation: 'middle' as const, nameTextStyle: text, min: 0 }
  return draw(360, {
    color: LINES,
    title: { text: title, textStyle: { ...text, fontSize: 15 }, left: 8, top: 8 },
    legend: { show: lines.length > 1, top: 34, left: 64, itemGap: 32, textStyle: text },
    grid: { left: 84, right: 24, top: lines.length > 1 ? 68 : 44, bottom: 48 },
    xAxis: { ...axis, name: x, nameGap: 28, splitLine: { show: false }, max: 'dataMax' },
    yAxis: { ...axis, name: y, nameGap: 60 },
    series: lines.map(({ name, points, isDashed = false }) => ({
      ...{ type: 'line', name, showSymbol: hasMarks, symbolSize: 8 },
      ...{ data: points.map((point) => [...point]), lineStyle: { type: isDashed ? 'dashed' : 'solid' } },
    })),
  })
}

const STALL_HEIGHT = 64

/** The slowest request of runs in which something happened, beside that of all others: the shorter the better. */
export function drawStalls(stalls: readonly Stalls[]): string {
  const shown = stalls.toReversed()
  const bar = (name: string, color: string, of: (one: Stalls) => number): object => ({
    ...{ type: 'bar', name, itemStyle: { color }, data: shown.map((one) => of(one) || null) },
    label: { ...text, show: true, position: 'right', formatter: '{c}' },
  })
  const worstOf = (values: readonly number[]): number => Math.round(Math.max(0, ...values))
  return draw(80 + STALL_HEIGHT * stalls.length, {
    title: {
      text: 'Slowest request of each run, ms (logarithmic)',
      textStyle: { ...text, fontSize: 15 },
      ...{ left: 8, top: 8 },
    },
    legend: { top: 34, left: 64, itemGap: 32, textStyle: text },
    grid: { left: 330, right: 64, top: 68, bottom: 8 },
    xAxis: { type: 'log', show: false, min: 1 },
    yAxis: {
      ...{ type: 'category', data: shown.map(({ name }) => name) },
      ...{ axisTick: { show: false }, axisLine: { show: false }, axisLabel: text },
    },
    series: [
      bar('at other times, worst', ONE_COPY, ({ othersMs }) => worstOf(othersMs)),
      bar('worst', OTHERS, ({ stallsMs }) => worstOf(stallsMs)),
      bar('median', OURS, ({ stallsMs }) => Math.round(medianOf(stallsMs))),
    ],
  })
}

export function drawSteady({ runs }: SteadyReport): string {
  const deep = runs.at(-1)
  const points = deep?.series.map(([ms, iops]) => [ms / 1000, iops] as const) ?? []
  const title = 'Random writes of 4 KiB at depth 32, three copies'
  return drawLines({ title, x: 's', y: 'IOPS', lines: [{ name: 'IOPS', points }] })
}

export function drawSparse({ samples, mapBytesMax }: Sparse): string {
  const line = (name: string, of: (sample: Sparse['samples'][number]) => number): Line => ({
    name,
    points: samples.map((sample) => [sample.ms / 1000, of(sample) / MIB]),
  })
  const lastMs = samples.at(-1)?.ms ?? 0
  const limit = mapBytesMax / MIB
  return drawLines({
    ...{ title: 'Memory while 1 TiB is written at random, 4 KiB here and there', x: 's', y: 'MiB' },
    lines: [
      line('the process, resident', ({ residentBytes }) => residentBytes),
      line('map pages', ({ mapBytes }) => mapBytes),
      line('of them not written yet', ({ dirtyBytes }) => dirtyBytes),
      {
        name: 'map memory as configured',
        points: [
          [0, limit],
          [lastMs / 1000, limit],
        ],
        isDashed: true,
      },
    ],
  })
}

export function drawRestarts({ restarts }: Restarts): string {
  const isLong = ({ logBytes }: Restart): boolean => logBytes > GIB / 2
  const line = (name: string, isOne: (restart: Restart) => boolean): Line => ({
    name,
    points: restarts
      .filter(isOne)
      .map(({ mappedBytes, firstReadMs }) => [mappedBytes / GIB, medianOf(firstReadMs)]),
  })
  return drawLines({
    ...{ title: 'From kill -9 to the first read', x: 'GiB mapped', y: 'ms', hasMarks: true },
    lines: [
      line('no log behind, cached', (each) => !isLong(each) && !each.isCold),
      line('no log behind, cold', (each) => !isLong(each) && each.isCold),
      line('2 GiB of log, cached', (each) => isLong(each) && !each.isCold),
      line('2 GiB of log, cold', (each) => isLong(each) && each.isCold),
    ].filter(({ points }) => points.length > 0),
  })
}
