/** `cloudfs import` and `export`: disk images in and out. */
import { statSync } from 'node:fs'
import { parseBytes, UsageError } from '@cloudfs/interface'
import { Command } from 'commander'
import { action } from '../context.js'
import { FileExistsError } from '../errors.js'
import { examples } from '../examples.js'
import { EXIT, say, sayJson, talk } from '../output.js'
import { WINDOW_SIZE_DEFAULT } from '../transfer/copy-windows.js'
import { exportFromStore } from '../transfer/export-store.js'
import { type ExportOptions, exportVolume } from '../transfer/export-volume.js'
import { importImage } from '../transfer/import-image.js'
import { runTransfer } from '../transfer/transfer.js'
import { modeOf, modes, REPLICAS_DEFAULT, replicasOf } from '../volume-options.js'

const formats = ['raw', 'qcow2'] as const
/** Windows are whole sectors of any image. */
const WINDOW_STEP_BYTES = 64 * 1024

interface ImportFlags {
  readonly replicas: string
  readonly name?: string
  readonly mode: string
  readonly restart?: boolean
  readonly window: string
}

export function importCommand(): Command {
  return examples(
    new Command('import')
      .description('make a disk with the content of an image file; its id is on stdout')
      .argument('<file>', 'raw, qcow2, or what else qemu-img reads')
      .option('--replicas <n>', '1 to 7', REPLICAS_DEFAULT)
      .option('--name <name>', 'of the disk')
      .option('--mode <mode>', modes.join(', '), 'quorum')
      .option('--restart', 'begin anew instead of going on where an interrupted import stopped')
      .option('--window <size>', 'what an interruption repeats at most', WINDOW_SIZE_DEFAULT)
      .action(
        action(async ({ client, isJson }, file: string, flags: ImportFlags) => {
          const volume = await runTransfer('imported', windowOf(flags.window), (transfer) =>
            importImage(
              client,
              {
                file,
                replicas: replicasOf(flags.replicas),
                name: flags.name ?? '',
                mode: modeOf(flags.mode),
                isRestart: flags.restart === true,
              },
              transfer,
            ),
          )
          if (isJson) sayJson({ volume })
          else say(volume)
          return EXIT.ok
        }),
      ),
    [
      [
        'cloudfs import disk.qcow2 --replicas 1 --name imported',
        'run again, it goes on where it was interrupted',
      ],
    ],
  )
}

interface ExportFlags {
  readonly format: string
  readonly force?: boolean
  readonly store?: string
  readonly window: string
}

export function exportCommand(): Command {
  return examples(
    new Command('export')
      .description('write a disk, as it is when the export begins, to an image file')
      .argument('<from>', 'VOLUME or VOLUME@SNAPSHOT')
      .argument('<file>', 'must not exist, unless --force')
      .option('--format <format>', formats.join(', '), 'raw')
      .option('--force', 'overwrite the file')
      .option('--store <path>', "read a stopped node's store instead of asking a node")
      .option('--window <size>', 'what an interruption repeats at most', WINDOW_SIZE_DEFAULT)
      .action(
        action(async ({ client, isJson }, from: string, file: string, flags: ExportFlags) => {
          const options = { from, file, format: formatOf(flags.format), isForced: flags.force === true }
          refuseToOverwrite(options)
          const { store } = flags
          await runTransfer('exported', windowOf(flags.window), (transfer) =>
            store === undefined
              ? exportVolume(client, options, transfer)
              : exportFromStore(store, options, transfer),
          )
          if (isJson) sayJson({ file })
          else talk(`wrote ${file}`)
          return EXIT.ok
        }),
      ),
    [
      ['cloudfs export web web.img', 'holes stay holes'],
      ['cloudfs export web@before web.qcow2 --format qcow2', 'a snapshot, for QEMU'],
    ],
  )
}

/** A device or directory is never replaced, whatever is forced. */
function refuseToOverwrite({ file, isForced }: ExportOptions): void {
  const stat = statSync(file, { throwIfNoEntry: false })
  if (stat === undefined) return
  if (!stat.isFile()) throw new FileExistsError(`${file} is not a regular file: name a new one`)
  if (!isForced) throw new FileExistsError(`${file} exists; --force overwrites it`)
}

function formatOf(text: string): (typeof formats)[number] {
  const format = formats.find((each) => each === text)
  if (format === undefined) throw new UsageError(`--format is one of ${formats.join(', ')}`)
  return format
}

function windowOf(text: string): number {
  const bytes = parseBytes(text)
  if (bytes > 0 && bytes % WINDOW_STEP_BYTES === 0) return bytes
  throw new UsageError('--window is a multiple of 64K')
}
