import { expect, test } from 'vitest'
import { libvirtXml, qemuOptions, vmdkDescriptor } from './attach-help.js'

const volume = '0123456789abcdef0123456789abcdef01234567'
const attachment = { volume, host: volume, socket: "/run/a'b", uri: '', isShared: false }

test('QEMU stops the VM on an error, reconnects and passes discards on', () => {
  const line = qemuOptions(attachment).join(' ')
  for (const part of [
    'werror=stop',
    'rerror=stop',
    'reconnect-delay=60',
    'discard=unmap',
    `server.path=/run/a'b`,
  ]) {
    expect(line).toContain(part)
  }
})

test('the libvirt disk holds paths with quotes', () => {
  expect(libvirtXml(attachment)).toContain("socket='/run/a&#39;b'")
})

test('a VMDK descriptor covers the whole volume', () => {
  expect(vmdkDescriptor(8 * 1024 ** 2, '/dev/nbd0', volume)).toContain('RW 16384 VMFS "/dev/nbd0" 0')
})
