/** How other programs take an attached volume. */
import type { Answer } from '@cloudfs/http'

type Attachment = Answer<'attach'>

/** QEMU reconnects for this long while an engine restarts or moves; a fail-over takes about a second. */
const RECONNECT_DELAY_S = 60

/** Options of a QEMU command line: an I/O error stops the VM rather than reaching its file system. */
export function qemuOptions({ socket, volume }: Attachment): string[] {
  const node = `cloudfs-${volume.slice(0, 12)}`
  const blockdev = [
    'driver=nbd',
    `node-name=${node}`,
    'server.type=unix',
    `server.path=${socket}`,
    `reconnect-delay=${String(RECONNECT_DELAY_S)}`,
    'discard=unmap',
    'detect-zeroes=unmap',
    'cache.direct=on',
  ]
  return [
    '-blockdev',
    blockdev.join(','),
    '-device',
    `virtio-blk-pci,drive=${node},werror=stop,rerror=stop,discard=on`,
  ]
}

/** A `<disk>` for a libvirt domain. */
export function libvirtXml({ socket, volume }: Attachment): string {
  return [
    "<disk type='network' device='disk'>",
    "  <driver name='qemu' type='raw' cache='none' discard='unmap' error_policy='stop' rerror_policy='stop'/>",
    "  <source protocol='nbd'>",
    `    <host transport='unix' socket='${escapeXml(socket)}'/>`,
    `    <reconnect delay='${String(RECONNECT_DELAY_S)}'/>`,
    '  </source>',
    `  <serial>${volume.slice(0, 20)}</serial>`,
    "  <target dev='vda' bus='virtio'/>",
    '</disk>',
  ].join('\n')
}

/** Bytes of a sector in a VMDK descriptor. */
const SECTOR_BYTES = 512
const HEADS = 255
const SECTORS = 63

/**
 * A VMDK descriptor over a flat extent: the volume as a block device or file (by `nbdfuse` or `nbd-client`) at `extent`, which is
 * how ESX and Workstation see it.
 */
export function vmdkDescriptor(sizeBytes: number, extent: string, contentId: string): string {
  const sectorCount = Math.floor(sizeBytes / SECTOR_BYTES)
  return [
    '# Disk DescriptorFile',
    'version=1',
    `CID=${contentId.slice(0, 8)}`,
    'parentCID=ffffffff',
    'createType="vmfs"',
    '',
    '# Extent description',
    `RW ${String(sectorCount)} VMFS "${extent}" 0`,
    '',
    '# The Disk Data Base',
    '#DDB',
    'ddb.virtualHWVersion = "8"',
    `ddb.geometry.cylinders = "${String(Math.floor(sectorCount / (HEADS * SECTORS)))}"`,
    `ddb.geometry.heads = "${String(HEADS)}"`,
    `ddb.geometry.sectors = "${String(SECTORS)}"`,
    'ddb.adapterType = "lsilogic"',
    '',
  ].join('\n')
}

function escapeXml(text: string): string {
  return text.replace(/[&<>'"]/g, (character) => `&#${String(character.codePointAt(0))};`)
}
