/** `cloudfs format`, which the original called `nuke`: an empty store in a directory, on a block device or in a big file. */
import { execFile } from 'node:child_process'
import { mkdir, stat } from 'node:fs/promises'
import { openStore } from '@cloudfs/format'
import {
  formatBytes,
  HostId,
  isCloudfsError,
  parseBytes,
  StoreNotFoundError,
  UsageError,
} from '@cloudfs/interface'
import { engineProgram } from '@cloudfs/replicator/engine-program'
import { Command } from 'commander'
import { z } from 'zod'
import { confirm } from '../confirm.js'
import { action } from '../context.js'
import { StoreFormatError } from '../errors.js'
import { examples } from '../examples.js'
import { EXIT, say, sayJson, talk } from '../output.js'
import { openStoreFiles } from '../store-files.js'

/** What `cloudfs-engine format` prints. */
const Identity = z.object({ store: z.string(), host: z.string() })

interface Flags {
  readonly size?: string
  readonly segmentSize?: string
  readonly host?: string
  readonly file?: boolean
  readonly yes?: boolean
}

export function formatCommand(): Command {
  return examples(
    new Command('format')
      .alias('nuke')
      .description('make an empty store; what was there is gone. Its id is on stdout')
      .argument('<path>', 'a directory, a block device, or one big file (--file)')
      .option('--size <size>', 'of the store; a device has its own')
      .option('--segment-size <size>', '64K to 64M, a power of two', '32M')
      .option('--host <id>', 'the host it belongs to; left out: the one of its key, or a new one')
      .option('--file', 'one big file instead of a directory')
      .option('--yes', 'do not ask')
      .action(
        action(async ({ isJson }, path: string, flags: Flags) => {
          if (flags.size !== undefined) parseBytes(flags.size)
          if (flags.host !== undefined) HostId.parse(flags.host)
          const present = await describePresent(path)
          if (present !== undefined && flags.yes !== true) {
            await confirm(`${path} holds ${present}; format it anyway?`)
          }
          const made = await format(path, flags, present !== undefined)
          talk(`an empty store of host ${made.host} at ${path}`)
          if (isJson) sayJson(made)
          else say(made.store)
          return EXIT.ok
        }),
      ),
    [['cloudfs format spare --size 512M --segment-size 8M --yes', 'then: cloudfs replicator --store spare']],
  )
}

/**
 * What would be lost; `undefined`: nothing.
 *
 * @throws {StoreLockedError} a node has it open
 */
async function describePresent(path: string): Promise<string | undefined> {
  const status = await stat(path).catch(() => undefined)
  if (status === undefined) return undefined
  try {
    const files = await openStoreFiles(path)
    try {
      const { superblock, volumes } = await openStore(files)
      const live = [...volumes.values()].filter(({ isDeleted }) => !isDeleted)
      const bytes = live.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0n)
      const disks = live.length === 1 ? '1 disk' : `${String(live.length)} disks`
      return `store ${superblock.store} of host ${superblock.host} with ${disks} (${formatBytes(bytes)})`
    } finally {
      await files.close()
    }
  } catch (error) {
    if (!isCloudfsError(error) || error.code === 'ERR_STORE_LOCKED') throw error
    if (status.isDirectory()) return error instanceof StoreNotFoundError ? undefined : 'a damaged store'
    return status.isBlockDevice() ? 'no store that can be read' : 'something that is no store'
  }
}

async function format(
  path: string,
  flags: Flags,
  isOverwriting: boolean,
): Promise<z.output<typeof Identity>> {
  const isBigFile = flags.file === true
  const host = flags.host ?? (isBigFile ? undefined : await hostOf(path))
  const args = [
    'format',
    `--store=${path}`,
    ...(flags.size === undefined ? [] : [`--size=${flags.size}`]),
    ...(flags.segmentSize === undefined ? [] : [`--segment-size=${flags.segmentSize}`]),
    ...(host === undefined ? [] : [`--host=${host}`]),
    ...(isBigFile ? ['--file'] : []),
    ...(isOverwriting ? ['--force'] : []),
  ]
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [engineProgram, ...args], (error, stdout, stderr) => {
      if (error === null) resolve(Identity.parse(JSON.parse(stdout)))
      else reject(refusalOf(stderr, path))
    })
  })
}

/** A store in a directory has the host's key beside it, whose hash is the host's id: formatted anew, the host is the same. */
async function hostOf(path: string): Promise<string | undefined> {
  if ((await stat(path).catch(() => undefined))?.isDirectory() === false) return undefined
  await mkdir(path, { recursive: true, mode: 0o700 })
  const { HostKey, hostIdOf } = await import('@cloudfs/peers')
  return hostIdOf((await HostKey.loadOrCreate(path)).publicKey)
}

/** The engine's program says `cloudfs-engine: CODE: text`. */
function refusalOf(stderr: string, path: string): Error {
  const [, code = 'ERR_INTERNAL', text = stderr] = /^cloudfs-engine: (ERR_\w+): (.*)/s.exec(stderr) ?? []
  if (code === 'ERR_USAGE') return new UsageError(text.trim())
  return new StoreFormatError(code, text.trim(), { path })
}
