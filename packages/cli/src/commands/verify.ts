/** `cloudfs verify --store PATH`: checks a stopped node's store from end to end. */
import { type VerifyProgress, type VerifyReport, verifyStore } from '@cloudfs/format'
import { formatBytes, isCloudfsError } from '@cloudfs/interface'
import { Command } from 'commander'
import { action } from '../context.js'
import { examples } from '../examples.js'
import { EXIT, paint, report as reportError, say } from '../output.js'
import { ProgressLine } from '../progress-line.js'
import { openStoreFiles } from '../store-files.js'

/** What is wrong with the store is 1; that it cannot be looked at is not. */
const EXIT_CANNOT_OPEN = EXIT.usage

export function verifyCommand(): Command {
  return examples(
    new Command('verify')
      .description('check a stopped node’s store: log, chain, maps, space accounts and every block in use')
      .requiredOption('--store <path>', 'the store: a directory, a block device or one big file')
      .addHelpText(
        'after',
        '\nExit codes: 0 = sound, 1 = something was found, 2 = wrong usage, or the store cannot be opened',
      )
      .action(
        action(async ({ isJson }, { store }: { readonly store: string }) => {
          try {
            const report = await verifyPath(store)
            say(isJson ? toJson(report) : toText(report))
            return report.findingCount === 0 ? EXIT.ok : EXIT.failed
          } catch (error) {
            if (!isCloudfsError(error)) throw error
            reportError(error, isJson)
            return EXIT_CANNOT_OPEN
          }
        }),
      ),
    [['cloudfs verify --store spare', 'of a node that is stopped']],
  )
}

async function verifyPath(path: string): Promise<VerifyReport> {
  const files = await openStoreFiles(path)
  const line = new ProgressLine()
  try {
    return await verifyStore(files, { onProgress: (progress) => line.show(describeProgress(progress)) })
  } finally {
    line.clear()
    await files.close()
  }
}

function describeProgress({ phase, done, total }: VerifyProgress): string {
  switch (phase) {
    case 'open':
      return 'reading checkpoint and log'
    case 'map':
      return `walking maps: ${done} pages`
    case 'segments':
      return `checking segments: ${done} of ${total ?? '?'}`
  }
}

/** Numbers where JavaScript holds them exactly, else decimal strings. */
function toJson(report: VerifyReport): string {
  return JSON.stringify(
    report,
    (_, value: unknown) =>
      typeof value !== 'bigint' ? value : value <= Number.MAX_SAFE_INTEGER ? Number(value) : String(value),
    2,
  )
}

function toText({
  store,
  host,
  generation,
  segmentBytes,
  checked,
  volumes,
  findings,
  findingCount,
  notes,
}: VerifyReport): string {
  const lines = [
    `store    ${store} of host ${host}, generation ${generation}, segments of ${formatBytes(segmentBytes)}`,
    `checked  ${checked.segments} segments, ${checked.batches} batches, ${checked.records} records, ${checked.pages} pages, ${checked.blocks} blocks`,
  ]
  for (const { volume, name, sizeBytes, lsn, version, snapshots } of volumes) {
    lines.push(
      `volume   ${volume} ${JSON.stringify(name)} ${formatBytes(sizeBytes)}, lsn ${lsn}, head ${version}`,
    )
    for (const snapshot of snapshots) {
      lines.push(
        `           snapshot ${JSON.stringify(snapshot.name)} lsn ${snapshot.lsn}, version ${snapshot.version}`,
      )
    }
  }
  for (const { code, message } of notes) lines.push(`note     ${code} ${message}`)
  for (const { code, message } of findings) lines.push(`finding  ${paint('red', code)} ${message}`)
  if (findingCount > findings.length) lines.push(`finding  … and ${findingCount - findings.length} more`)
  lines.push(findingCount === 0 ? 'sound' : `${findingCount} finding${findingCount === 1 ? '' : 's'}`)
  return lines.join('\n')
}
