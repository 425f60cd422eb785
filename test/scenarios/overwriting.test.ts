/** Small stores do not fill: three times their size is written to a disk, and every block is found as it was written last. */
import { afterAll, beforeAll, test } from 'vitest'
import { Cluster, IS_LONG, REPLICAS } from '../e2e/support/cluster.js'
import { runTool } from '../e2e/support/run-tool.js'

const STORE_MIB = IS_LONG ? 512 : 128
const DISK_MIB = IS_LONG ? 192 : 48
const TIMES = 3

let cluster: Cluster
beforeAll(async () => {
  cluster = await new Cluster().up(REPLICAS, `${String(STORE_MIB)}M`)
}, 120_000)
afterAll(() => cluster.dispose(), 120_000)

test(
  'three times the size of the stores is written under fio --verify, and all replicas are equal',
  {
    timeout: 600_000,
  },
  async () => {
    const disk = await cluster.disk(`${String(DISK_MIB)}M`, 'small')
    const fio = [
      ...['--name=over', '--ioengine=nbd', `--uri=${disk.uri}`, '--rw=randwrite', '--bsrange=4k-64k'],
      ...[
        '--iodepth=16',
        `--size=${String(DISK_MIB)}M`,
        `--loops=${String(Math.ceil((TIMES * STORE_MIB) / DISK_MIB))}`,
      ],
      ...['--verify=crc32c', '--verify_fatal=1', '--verify_state_save=0'],
    ]
    await runTool('fio', ...fio)
    await cluster.equalHeads(disk.volume)

    await runTool('nbdcopy', disk.uri, cluster.path('before'))
    await cluster.kill(1)
    await cluster.startNode(1)
    await runTool('nbdcopy', disk.uri, cluster.path('after'))
    await runTool('cmp', cluster.path('before'), cluster.path('after'))
    await cluster.equalHeads(disk.volume)
  },
)
