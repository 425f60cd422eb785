/** docs/performance.md, made of what was measured last. */
import { readFileSync, writeFileSync } from 'node:fs'
import type { FailoverReport } from './failover.js'
import type { IoReport } from './io.js'
import type { LayoutReport } from './layout.js'
import { describeFailover, describeIo, describeLayouts } from './report.js'

const GIB = 1024 ** 3

export interface PageSources {
  /** What `bench io`, `bench layout` and `bench failover` wrote with `--json`. */
  readonly io: string
  readonly layout: string
  readonly failover: string
}

/** @param path - of the page, which is replaced */
export function writePage(path: string, sources: PageSources): void {
  const io = JSON.parse(readFileSync(sources.io, 'utf8')) as IoReport
  const layout = JSON.parse(readFileSync(sources.layout, 'utf8')) as LayoutReport
  const failover = JSON.parse(readFileSync(sources.failover, 'utf8')) as FailoverReport
  writeFileSync(
    path,
    `# Performance

Made by \`npm run bench\`, \`npm run bench -- failover\`, \`npm run bench -- layout\` and \`npm run bench -- page\`; nothing else ran on the machine. Figures
of two machines are not to be compared, nor those of two runs on a virtual one: compare within a table.

## Disk I/O over NBD

fio's nbd engine over a unix socket, one connection, a disk of ${String(io.sizeBytes / GIB)} GiB that was written whole before; ${String(io.rounds)} rounds of
${String(io.secondsOfRun)} s each, all servers in alternation; the median, and in brackets from where to where. CPU is that of all
processes that serve, all copies together.

- **CloudFS** acknowledges a write when a majority of the copies has it appended, and a flush when a majority has it on
  stable storage. Three copies are three nodes on this one machine, with one disk: each write is written three times.
  Reads are checked against their checksums.
- **nbdkit file**, **qemu-nbd raw** (\`--cache=none --aio=native\`): one copy in a file. nbdkit's is the page cache's until
  a flush.
- **nbdkit memory**: no disk; what the client and the socket cost.
- **floor**: three files appended to at once by three processes with O_DIRECT and O_DSYNC into space that is written
  already: what three durable copies cost on this disk without a network, a protocol or an index.

${describeIo(io)}

## When hosts fail

The slowest request of a client (fio, random writes of 4 KiB, depth 16) whose own node lives, at a volume of three copies that
another node leads; three nodes on this machine, each in a network namespace, ${String(failover.rounds)} runs of each event. *Primary* and *replica*: both processes of that node get
the signal. No request failed in any run: fio ends at the first error.

${describeFailover(failover)}

## The layout of a small batch

One block and its sync at a time. The choice, and why, is in [disk-format](disk-format.md#batch).

${describeLayouts(layout)}
`,
  )
}
