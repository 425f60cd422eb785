/** `cloudfs import` and `export`: disk images in and out, by qemu-img over NBD, which keeps holes. */
import { spawn } from 'node:child_process'
import { existsSync, renameSync, rmSync } from 'node:fs'
import { BLOCK_BYTES, UsageError } from '@cloudfs/interface'
import type { Answer, NodeClient } from '@cloudfs/http'
import { Command } from 'commander'
import { z } from 'zod'
import { action } from '../context.js'
import { FileExistsError, ImageToolError } from '../errors.js'
import { EXIT, say, sayJson } from '../output.js'

const formats = ['raw', 'qcow2'] as const
const ImageInfo = z.object({ 'virtual-size': z.int().min(0), format: z.string() })

export function importCommand(): Command {
  return new Command('import')
    .description('make a disk with the content of an image file; its id is on stdout')
    .argument('<file>', 'raw, qcow2, or what else qemu-img reads')
    .option('--replicas <n>', '1 to 7', '1')
    .option('--name <name>', 'of the disk')
    .action(
      action(async ({ client, isJson }, file: string, options: { replicas: string; name?: string }) => {
        const { 'virtual-size': imageBytes, format } = await imageInfo(file)
        const sizeBytes = Math.max(1, Math.ceil(imageBytes / BLOCK_BYTES)) * BLOCK_BYTES
        const body = {
          replicas: Number(options.replicas),
          sizeBytes,
          ...(options.name && { name: options.name }),
        }
        const made = await client.call('newVolume', { body })
        try {
          await whileAttached(client, made.volume, ({ uri }) =>
            qemuImg(['convert', '-p', '-n', '-f', format, '-O', 'raw', file, uri]),
          )
        } catch (error) {
          // A disk with half an image on it is of no use to anybody.
          await client.call('deleteVolume', { params: { volume: made.volume } })
          throw error
        }
        if (isJson) sayJson(made)
        else say(made.volume)
        return EXIT.ok
      }),
    )
}

export function exportCommand(): Command {
  return new Command('export')
    .description('write the content of a disk to an image file')
    .argument('<volume>', 'id, or name where that is unique')
    .argument('<file>', 'must not exist, unless --force')
    .option('--format <format>', formats.join(', '), 'raw')
    .option('--force', 'overwrite the file')
    .action(
      action(
        async ({ client }, volume: string, file: string, options: { format: string; force?: boolean }) => {
          const format = formats.find((each) => each === options.format)
          if (format === undefined) throw new UsageError(`--format is one of ${formats.join(', ')}`)
          if (existsSync(file) && options.force !== true) {
            throw new FileExistsError(`${file} exists; --force overwrites it`)
          }
          const part = `${file}.part`
          try {
            await whileAttached(client, volume, ({ uri }) =>
              qemuImg(['convert', '-p', '-f', 'raw', '-O', format, uri, part]),
            )
            renameSync(part, file)
          } finally {
            rmSync(part, { force: true })
          }
          return EXIT.ok
        },
      ),
    )
}

/** A volume that was attached before stays so. */
async function whileAttached(
  client: NodeClient,
  volume: string,
  act: (attachment: Answer<'attach'>) => Promise<unknown>,
): Promise<void> {
  const before = await client.call('attachments')
  const attachment = await client.call('attach', { body: { volume } })
  try {
    await act(attachment)
  } finally {
    if (!before.some((each) => each.volume === attachment.volume)) {
      await client.call('detach', { params: { volume: attachment.volume } })
    }
  }
}

async function imageInfo(file: string): Promise<z.output<typeof ImageInfo>> {
  const text = await qemuImg(['info', '--output=json', file], true)
  return ImageInfo.parse(JSON.parse(text))
}

/** Its progress goes to stderr; what it prints is returned if asked for. */
function qemuImg(args: readonly string[], isCaptured = false): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('qemu-img', args, { stdio: ['ignore', isCaptured ? 'pipe' : 2, 2] })
    let text = ''
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
    child.once('error', (cause) => {
      reject(new ImageToolError('qemu-img cannot be run: apt-get install qemu-utils', { cause }))
    })
    child.once('close', (code) => {
      if (code === 0) resolve(text)
      else reject(new ImageToolError(`qemu-img ${args[0] ?? ''} failed with ${String(code)}`))
    })
  })
}
