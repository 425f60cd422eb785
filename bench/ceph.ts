/**
 * Ceph on this machine: a monitor, a manager and three OSDs, each OSD with a BlueStore in a file; an image in a pool of three
 * copies, given to the client by qemu-nbd, as a hypervisor's QEMU would open it. No authentication, no systemd.
 */
import { randomUUID } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ensureInstalled } from './packages.js'
import { type Server, startNbdServer, startServer, startServers } from './server.js'
import type { Target, TargetOptions } from './targets.js'
import { runTool } from './tool.js'

const COPIES = 3
const MON_PORT = 46_789
const PLACEMENT_GROUPS = 32
/** Of each OSD, as it is told: the default is 4 GiB. */
const OSD_MEMORY_BYTES = 1024 ** 3
const OSD_BYTES_MIN = 4 * 1024 ** 3

const PACKAGES = ['ceph-mon', 'ceph-mgr', 'ceph-osd', 'ceph-common', 'qemu-utils', 'qemu-block-extra']
const PROGRAMS = [
  '/usr/bin/ceph-mon',
  '/usr/bin/ceph-mgr',
  '/usr/bin/ceph-osd',
  '/usr/bin/rbd',
  '/usr/bin/qemu-nbd',
]

export const CEPH_DURABILITY =
  'a write is acknowledged when all three OSDs have it on stable storage (BlueStore, O_DIRECT and a sync of its log); ' +
  'a flush has nothing left to do (no client cache)'

export async function startCeph(
  { directory, sizeBytes }: TargetOptions,
  say: (line: string) => void,
): Promise<Target> {
  await ensureInstalled(PACKAGES, PROGRAMS, say)
  return startServers({ directory, start: (servers) => start(directory, sizeBytes, servers) })
}

async function start(directory: string, sizeBytes: number, servers: Server[]): Promise<string> {
  const conf = join(directory, 'ceph.conf')
  const fsid = randomUUID()
  writeFileSync(conf, configuration(directory, fsid, Math.max(OSD_BYTES_MIN, sizeBytes * 3)))
  const run = (program: string, ...args: readonly string[]): Promise<string> =>
    runTool(program, '--conf', conf, ...args)
  const ceph = (...args: readonly string[]): Promise<string> =>
    run('ceph', '--connect-timeout', '20', ...args)

  const monmap = join(directory, 'monmap')
  const address = `[v2:127.0.0.1:${String(MON_PORT)}]`
  await runTool('monmaptool', '--create', '--fsid', fsid, '--addv', 'a', address, monmap)
  await run('ceph-mon', '--mkfs', '--id', 'a', '--monmap', monmap)
  const answers =
    (...args: readonly string[]): (() => Promise<boolean>) =>
    () =>
      ceph(...args).then(
        () => true,
        () => false,
      )
  servers.push(await startServer(['ceph-mon', '--conf', conf, '--id', 'a', '-f'], answers('mon', 'stat')))
  servers.push(
    await startServer(['ceph-mgr', '--conf', conf, '--id', 'x', '-f'], async () =>
      (await ceph('mgr', 'stat')).includes('"available": true'),
    ),
  )
  for (let copy = 0; copy < COPIES; copy++) {
    const id = (await ceph('osd', 'new', randomUUID())).trim()
    mkdirSync(join(directory, `osd-${id}`))
    const uuid = osdUuid(await ceph('osd', 'dump', '--format=json'), Number(id))
    await run('ceph-osd', '--id', id, '--mkfs', '--osd-uuid', uuid)
    const isUp = async (): Promise<boolean> => (await ceph('osd', 'stat')).includes(`${String(copy + 1)} up`)
    servers.push(await startServer(['ceph-osd', '--conf', conf, '--id', id, '-f'], isUp))
  }
  await ceph('osd', 'pool', 'create', 'bench', String(PLACEMENT_GROUPS), '--size', String(COPIES))
  await run('rbd', 'pool', 'init', 'bench')
  await run('rbd', 'create', '--size', `${String(sizeBytes / 1024 ** 2)}M`, 'bench/disk')
  const socket = join(directory, 'nbd.sock')
  const image = `rbd:bench/disk:conf=${conf}`
  const words = ['qemu-nbd', '-f', 'raw', '-k', socket, '-t', '-e', '8', '--cache=none', image]
  const nbd = await startNbdServer(socket, words)
  servers.push(nbd)
  return nbd.uri
}

function osdUuid(dump: string, id: number): string {
  const { osds } = JSON.parse(dump) as { osds: { osd: number; uuid: string }[] }
  const found = osds.find(({ osd }) => osd === id)
  if (found === undefined) throw new Error(`no OSD ${String(id)}`)
  return found.uuid
}

function configuration(directory: string, fsid: string, osdBytes: number): string {
  return `[global]
fsid = ${fsid}
mon_host = [v2:127.0.0.1:${String(MON_PORT)}]
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
run_dir = ${directory}
pid_file = ${directory}/$name.pid
admin_socket = ${directory}/$name.asok
log_file = ${directory}/$name.log
mon_cluster_log_file = ${directory}/cluster.log
crash_dir = ${directory}
setuser = root
setgroup = root
osd_pool_default_size = ${String(COPIES)}
osd_pool_default_min_size = 2
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_data = ${directory}/mon
mgr_data = ${directory}/mgr
osd_data = ${directory}/osd-$id
osd_objectstore = bluestore
osd_memory_target = ${String(OSD_MEMORY_BYTES)}
bluestore_block_size = ${String(osdBytes)}
mon_warn_on_pool_no_redundancy = false
mgr_initial_modules =
`
}
