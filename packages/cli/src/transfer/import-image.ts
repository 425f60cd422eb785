/** An image file becomes a disk. Interrupted, the same command goes on where it stopped. */
import { createHash } from 'node:crypto'
import { realpathSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { Answer, NodeClient } from '@cloudfs/http'
import { NodeError } from '@cloudfs/http'
import { UsageError } from '@cloudfs/interface'
import { talk } from '../output.js'
import { attachFor } from './attach-for.js'
import { copyWindows } from './copy-windows.js'
import { fileNode, imageInfo, nbdNode } from './qemu-img.js'
import type { Transfer } from './transfer.js'
import { importStateAt, type ImportState } from './transfer-state.js'

export interface ImportOptions {
  readonly file: string
  readonly replicas: number
  readonly name: string
  readonly mode: Answer<'volume'>['mode']
  /** Begins anew, and deletes the disk that an interrupted import left. */
  readonly isRestart: boolean
}

/** @returns the volume's id */
export async function importImage(
  client: NodeClient,
  { file, replicas, name, mode, isRestart }: ImportOptions,
  { windowBytes, signal, progress }: Transfer,
): Promise<string> {
  const image = identityOf(file)
  const { format, imageBytes, volumeBytes } = await imageInfo(file)
  const stateFile = importStateAt(statePathOf(image.file))
  const found = stateFile.tryRead()
  if (found !== undefined && isRestart) await deleteUnfinished(client, found)
  let state = isRestart ? undefined : await usable(client, found, image)
  if (state === undefined) {
    const body = { replicas, sizeBytes: volumeBytes, name, mode }
    const { volume } = await client.call('newVolume', { body })
    state = { ...image, volume, isOwnAttachment: true, doneBytes: 0 }
    stateFile.write(state)
  } else {
    talk(`going on with the import into ${state.volume}`)
  }
  const { volume } = state
  try {
    const attached = await attachFor(client, volume, state.isOwnAttachment)
    try {
      await copyWindows({
        source: fileNode(format, file),
        target: nbdNode(attached.socket),
        sizeBytes: imageBytes,
        windowBytes,
        doneBytes: state.doneBytes,
        signal,
        onProgress: (doneBytes) => {
          progress(doneBytes, imageBytes)
        },
        onWindow: (doneBytes) => {
          stateFile.write({ ...image, volume, isOwnAttachment: attached.isOwn, doneBytes })
        },
      })
    } finally {
      await attached.detach()
    }
  } catch (error) {
    talk(`the disk ${volume} holds a part of the image: run the same command again to go on`)
    throw error
  }
  stateFile.remove()
  return volume
}

type ImageIdentity = Pick<ImportState, 'file' | 'bytes' | 'modifiedMs'>

function identityOf(file: string): ImageIdentity {
  const stat = statSync(file, { throwIfNoEntry: false })
  if (stat === undefined) throw new UsageError(`there is no file ${file}`)
  return { file: realpathSync(file), bytes: stat.size, modifiedMs: stat.mtimeMs }
}

/** Not beside the image, whose directory may be read-only. */
function statePathOf(file: string): string {
  const base = process.env['XDG_STATE_HOME'] ?? join(homedir(), '.local', 'state')
  const name = createHash('sha256').update(file).digest('hex').slice(0, 16)
  return join(base, 'cloudfs', `import-${name}.json`)
}

/** What was left can be gone on with if the image is the same and the disk is still there. */
async function usable(
  client: NodeClient,
  state: ImportState | undefined,
  image: ImageIdentity,
): Promise<ImportState | undefined> {
  if (state?.file !== image.file) return undefined
  if (state.bytes !== image.bytes || state.modifiedMs !== image.modifiedMs) return undefined
  return (await exists(client, state.volume)) ? state : undefined
}

async function exists(client: NodeClient, volume: string): Promise<boolean> {
  try {
    await client.call('volume', { params: { volume } })
    return true
  } catch (error) {
    if (error instanceof NodeError && error.code === 'ERR_UNKNOWN_VOLUME') return false
    throw error
  }
}

async function deleteUnfinished(client: NodeClient, { volume, isOwnAttachment }: ImportState): Promise<void> {
  if (!(await exists(client, volume))) return
  const attachments = await client.call('attachments')
  if (isOwnAttachment && attachments.some((each) => each.volume === volume)) {
    await client.call('detach', { params: { volume } })
  }
  await client.call('deleteVolume', { params: { volume } })
}
