/** Whether the checkpoint's version nodes and volumes fit together (docs/core.md, Versions, dead lists, liveness). */
import { BLOCK_BYTES, isCloudfsError } from '@cloudfs/interface'
import type { Checkpoint, CheckpointNode, CheckpointVolume } from '../checkpoint.js'
import { blocksPerEntry } from '../page.js'
import { decodeCreate, decodeView } from '../payload.js'
import type { Findings } from './findings.js'

const CODE = 'ERR_LINEAGE_CORRUPT'

export function verifyLineage(checkpoint: Checkpoint, findings: Findings): void {
  const nodes = new Map<bigint, CheckpointNode>()
  for (const node of checkpoint.nodes) {
    if (nodes.has(node.id)) report(findings, node, 'has the id of another')
    nodes.set(node.id, node)
    if (node.id === 0n || node.id >= checkpoint.store.nextNode)
      report(findings, node, 'has an id that was never given')
  }
  const parents = new Set(checkpoint.nodes.map((node) => node.parent))
  const names = new Set<string>()
  for (const node of checkpoint.nodes) {
    verifyNode(node, nodes, parents, findings)
    if (node.kind !== 'named') continue
    const name = `${node.volume}@${node.name}`
    if (names.has(name)) report(findings, node, `has the name of another: ${name}`)
    names.add(name)
  }
  const heads = new Map(checkpoint.nodes.flatMap((node) => (node.kind === 'head' ? [[node.id, node]] : [])))
  // Heads of no volume may be left over: what was being staged when the checkpoint was made (docs/core.md, Compacted catch-up),
  // of a volume that need not be here yet. A start drops them.
  for (const volume of checkpoint.volumes) {
    verifyVolume(volume, heads.get(volume.headNode), findings)
    heads.delete(volume.headNode)
  }
}

function verifyNode(
  node: CheckpointNode,
  nodes: ReadonlyMap<bigint, CheckpointNode>,
  parents: ReadonlySet<bigint>,
  findings: Findings,
): void {
  if (node.kind === 'remains') {
    if (node.parent !== 0n || parents.has(node.id))
      report(findings, node, 'is remains and hangs on something')
    return
  }
  if (node.height === 0) report(findings, node, 'has no map')
  else if (BigInt(blocksPerEntry(node.height)) < node.sizeBytes / BigInt(BLOCK_BYTES)) {
    report(findings, node, 'has a map lower than its size needs')
  }
  if (node.kind === 'head' && parents.has(node.id)) report(findings, node, 'is a head with versions below it')
  if ((node.kind === 'named') !== (node.name !== ''))
    report(findings, node, 'has a name that does not fit its kind')
  if (node.parent === 0n) return
  const parent = nodes.get(node.parent)
  if (parent === undefined) report(findings, node, `has a parent that is not there: ${String(node.parent)}`)
  else if (parent.lsn > node.lsn) report(findings, node, 'is older than its parent')
  else if (isOnLoop(node, nodes)) report(findings, node, 'descends from itself')
}

function isOnLoop(node: CheckpointNode, nodes: ReadonlyMap<bigint, CheckpointNode>): boolean {
  let above = nodes.get(node.parent)
  for (let steps = 0; above !== undefined && steps <= nodes.size; steps++) {
    if (above.id === node.id) return true
    above = nodes.get(above.parent)
  }
  return false
}

function verifyVolume(volume: CheckpointVolume, head: CheckpointNode | undefined, findings: Findings): void {
  const refuse = (why: string): void => {
    findings.add(CODE, `volume ${volume.id} ${why}`, { volume: volume.id })
  }
  const isDeleted = (volume.flags & 1) !== 0
  if (isDeleted !== (volume.headNode === 0n)) refuse(isDeleted ? 'is deleted and has a head' : 'has no head')
  if (!isDeleted && head === undefined) refuse(`has a head that is not there: ${String(volume.headNode)}`)
  if (head !== undefined && head.volume !== volume.id) refuse('has the head of another')
  if (head !== undefined && head.sizeBytes !== volume.sizeBytes) refuse('has a head of another size')
  try {
    decodeCreate(volume.create)
    decodeView(volume.view)
  } catch (error) {
    if (!isCloudfsError(error)) throw error
    findings.addError(error, { volume: volume.id })
  }
  const lsns = volume.epochs.map((epoch) => epoch.firstLsn)
  const isAscending = lsns.every((lsn, index) => index === 0 || lsn > (lsns[index - 1] ?? 0))
  if (lsns.length === 0 || !isAscending) refuse('has epochs out of order')
  if ((lsns.at(-1) ?? 0) > volume.appliedLsn) refuse('has an epoch that begins behind its head')
}

function report(findings: Findings, node: CheckpointNode, why: string): void {
  findings.add(CODE, `version node ${String(node.id)}, ${node.kind}, of volume ${node.volume} ${why}`, {
    node: String(node.id),
    volume: node.volume,
  })
}
