/**
 * A running volume, as it is when the export begins, becomes an image file: a snapshot holds it still meanwhile.
 * Interrupted, the same command goes on where it stopped, with the same snapshot.
 */
import { randomBytes } from 'node:crypto'
import { existsSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { type NodeClient, NodeError } from '@cloudfs/http'
import { UsageError } from '@cloudfs/interface'
import { FileExistsError } from '../errors.js'
import { talk } from '../output.js'
import { attachFor, type HeldAttachment } from './attach-for.js'
import { copyWindows } from './copy-windows.js'
import { fileNode, nbdNode, qemuImg } from './qemu-img.js'
import type { Transfer } from './transfer.js'
import { type ExportState, exportStateAt } from './transfer-state.js'

export interface ExportOptions {
  /** VOLUME or VOLUME@SNAPSHOT. */
  readonly from: string
  readonly file: string
  readonly format: 'raw' | 'qcow2'
  readonly isForced: boolean
}

export async function exportVolume(
  client: NodeClient,
  { from, file, format, isForced }: ExportOptions,
  { windowBytes, signal, progress }: Transfer,
): Promise<void> {
  const part = `${file}.part`
  const stateFile = exportStateAt(`${part}.json`)
  const { volume, sizeBytes, snapshot } = await resolve(client, from)
  let state = existsSync(part) ? stateFile.tryRead() : undefined
  const isSame =
    state?.volume === volume &&
    state.format === format &&
    (snapshot === undefined ? state.isOwnSnapshot : state.snapshot === snapshot.name)
  if (state !== undefined && !isSame && !isForced) {
    throw new FileExistsError(`${part} is of another export, of ${state.volume}; --force begins anew`)
  }
  if (state !== undefined && (!isSame || !(await hasSnapshot(client, state)))) {
    await dropSnapshot(client, state)
    state = undefined
  }
  if (state === undefined) {
    state = {
      volume,
      snapshot: snapshot?.name ?? `export-${randomBytes(4).toString('hex')}`,
      isOwnSnapshot: snapshot === undefined,
      isOwnAttachment: false,
      format,
      doneBytes: 0,
    }
    // Noted before it is made: what an interruption leaves behind is found again.
    await makeEmpty(part, format, snapshot?.sizeBytes ?? sizeBytes)
    stateFile.write(state)
    if (state.isOwnSnapshot)
      await client.call('snapshot', { params: { volume }, body: { name: state.snapshot } })
  } else {
    talk(`going on with the export to ${file}`)
  }
  const going = state
  let attached: HeldAttachment | undefined
  try {
    attached = await attachFor(client, volume, going.isOwnAttachment)
    const { isOwn } = attached
    stateFile.write({ ...going, isOwnAttachment: isOwn })
    const totalBytes = snapshot?.sizeBytes ?? sizeBytes
    await copyWindows({
      source: nbdNode(attached.socket, `${volume}@${going.snapshot}`),
      target: fileNode(format, part),
      sizeBytes: totalBytes,
      windowBytes,
      doneBytes: going.doneBytes,
      signal,
      onProgress: (doneBytes) => {
        progress(doneBytes, totalBytes)
      },
      onWindow: (doneBytes) => {
        stateFile.write({ ...going, isOwnAttachment: isOwn, doneBytes })
      },
    })
  } catch (error) {
    talk(`${part} holds a part of the disk: run the same command again to go on`)
    throw error
  } finally {
    await attached?.detach()
  }
  renameSync(part, file)
  stateFile.remove()
  await dropSnapshot(client, going)
}

interface Resolved {
  readonly volume: string
  readonly sizeBytes: number
  readonly snapshot?: { readonly name: string; readonly sizeBytes: number }
}

/** A name may hold an `@`: the whole text is looked up first. */
async function resolve(client: NodeClient, from: string): Promise<Resolved> {
  const at = from.lastIndexOf('@')
  try {
    const { volume, sizeBytes } = await client.call('volume', { params: { volume: from } })
    return { volume, sizeBytes }
  } catch (error) {
    if (at <= 0 || !(error instanceof NodeError && error.code === 'ERR_UNKNOWN_VOLUME')) throw error
  }
  const name = from.slice(at + 1)
  const { volume, sizeBytes, snapshots } = await client.call('volume', {
    params: { volume: from.slice(0, at) },
  })
  const snapshot = snapshots.find((each) => each.name === name)
  if (snapshot !== undefined) return { volume, sizeBytes, snapshot }
  throw new NodeError('ERR_UNKNOWN_SNAPSHOT', `volume ${volume} has no snapshot ${name}`)
}

async function hasSnapshot(client: NodeClient, { volume, snapshot }: ExportState): Promise<boolean> {
  const { snapshots } = await client.call('volume', { params: { volume } })
  return snapshots.some(({ name }) => name === snapshot)
}

async function dropSnapshot(
  client: NodeClient,
  { volume, snapshot, isOwnSnapshot }: ExportState,
): Promise<void> {
  if (!isOwnSnapshot) return
  try {
    await client.call('deleteSnapshot', { params: { volume, name: snapshot } })
  } catch (error) {
    const isGone =
      error instanceof NodeError && ['ERR_UNKNOWN_SNAPSHOT', 'ERR_UNKNOWN_VOLUME'].includes(error.code)
    if (!isGone) throw error
  }
}

async function makeEmpty(part: string, format: 'raw' | 'qcow2', sizeBytes: number): Promise<void> {
  rmSync(part, { force: true })
  if (format === 'qcow2') {
    await qemuImg(['create', '-q', '-f', format, part, String(sizeBytes)])
    return
  }
  try {
    writeFileSync(part, '', { flag: 'wx' })
  } catch (cause) {
    throw new UsageError(`${part} cannot be written`, { cause })
  }
  truncateSync(part, sizeBytes)
}
