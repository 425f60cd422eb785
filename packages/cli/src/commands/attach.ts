/** `cloudfs attach` and `detach`. */
import { writeFileSync } from 'node:fs'
import type { Answer } from '@cloudfs/http'
import { Command } from 'commander'
import { libvirtXml, qemuOptions, vmdkDescriptor } from '../attach-help.js'
import { action } from '../context.js'
import { examples } from '../examples.js'
import { EXIT, paint, say, sayJson, talk } from '../output.js'

interface AttachOptions {
  readonly shared?: boolean
  readonly take?: boolean
  readonly keepPrimary?: boolean
  readonly vmdk?: string
}

export function attachCommand(): Command {
  return examples(
    new Command('attach')
      .description('serve a volume at this host over NBD; the URI is on stdout')
      .argument('<volume>', 'id, or name where that is unique')
      .option('--shared', 'for cluster file systems: several hosts at once')
      .option('--take', 'from a host that has it: what still runs there loses the disk')
      .option('--keep-primary', 'do not have this host lead the volume, even if it has all of it')
      .option('--vmdk <file>', 'write a VMDK descriptor too')
      .action(
        action(async ({ client, isJson }, volume: string, options: AttachOptions) => {
          const attachment = await client.call('attach', {
            body: {
              volume,
              isShared: options.shared === true,
              take: options.take === true,
              keepPrimary: options.keepPrimary === true,
            },
          })
          const qemu = qemuOptions(attachment)
          const libvirt = libvirtXml(attachment)
          if (options.vmdk !== undefined) {
            const { sizeBytes } = await client.call('volume', { params: { volume: attachment.volume } })
            writeFileSync(options.vmdk, vmdkDescriptor(sizeBytes, attachment.socket, attachment.volume))
          }
          if (isJson) sayJson({ ...attachment, qemu, libvirt })
          else tell(attachment, qemu, libvirt)
          return EXIT.ok
        }),
      ),
    [
      ['cloudfs attach web', 'the URI, and how QEMU and libvirt take it'],
      ['qemu-img info "$(cloudfs attach web 2>/dev/null)"', ''],
      ['cloudfs attach web --take', 'from a host that died with it'],
      ['cloudfs attach web --vmdk web.vmdk', 'a descriptor for ESX'],
    ],
  )
}

export function detachCommand(): Command {
  return examples(
    new Command('detach')
      .description('stop serving a volume at this host')
      .argument('<volume>', 'id, or name where that is unique')
      .option('--host <id>', 'give up the attachment of another host, which is down')
      .action(
        action(async ({ client, isJson }, volume: string, { host }: { host?: string }) => {
          const gone =
            host === undefined
              ? await client.call('detach', { params: { volume } })
              : await client.call('release', { params: { volume, host } })
          if (isJson) sayJson(gone)
          else talk(`detached ${gone.volume}`)
          return EXIT.ok
        }),
      ),
    [['cloudfs detach web', '']],
  )
}

function tell({ uri }: Answer<'attach'>, qemu: readonly string[], libvirt: string): void {
  const heading = (text: string): string => paint('bold', text, process.stderr)
  talk(heading('QEMU'))
  talk(
    qemu
      .map((each) => (each.startsWith('-') ? `  ${each} \\` : `    '${each}' \\`))
      .join('\n')
      .replace(/ \\$/, ''),
  )
  talk(heading('libvirt'))
  talk(libvirt.replace(/^/gm, '  '))
  say(uri)
}
