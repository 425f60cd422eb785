/**
 * A file system lives on a disk through nbdfuse and a loop device: thousands of files are there after it is mounted again,
 * fsck finds nothing, and what fstrim gives back is free in the store's accounts.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cluster, IS_LONG, PATIENCE, REPLICAS } from '../e2e/support/cluster.js'
import { MountedDisk } from '../e2e/support/mounted-disk.js'

const MIB = 1024 * 1024
const DISK_SIZE = IS_LONG ? '1G' : '192M'
const STORE_SIZE = IS_LONG ? '3G' : '640M'
const FILE_COUNT = IS_LONG ? 20_000 : 3_000
/** Of the files deleted before fstrim. */
const BALLAST_MIB = IS_LONG ? 256 : 48

let cluster: Cluster
let disk: MountedDisk | undefined

beforeAll(async () => {
  cluster = await new Cluster().up(REPLICAS, STORE_SIZE)
}, 120_000)
afterAll(async () => {
  try {
    await disk?.close()
  } finally {
    await cluster.dispose()
  }
}, 120_000)

/** Bytes that some version still needs, in the store of each replica. */
async function liveBytes(): Promise<number[]> {
  const pages = await Promise.all(
    cluster.nodes.map(async ({ url }) => (await fetch(`${url}/metrics`)).text()),
  )
  return pages
    .map((page) => Number(/^cloudfs_engine_live_bytes (\S+)$/m.exec(page)?.[1]))
    .filter((bytes) => bytes > 0)
}

test(
  'thousands of files outlive an unmount; fsck is clean; fstrim frees what was deleted',
  {
    timeout: 300_000,
  },
  async () => {
    const { volume, uri } = await cluster.disk(DISK_SIZE, 'files')
    disk = new MountedDisk(cluster.path('mount'))
    await disk.open(uri)
    await cluster.shell(`mkfs.ext4 -q -E nodiscard ${disk.device}`)
    const files = await disk.mount()

    mkdirSync(join(files, 'tree'))
    // Sizes from nothing to 16 KiB, in directories of 100.
    await cluster.shell(
      `cd ${files}/tree && seq 0 ${String(FILE_COUNT - 1)} | awk '{
       directory = "d" int($1 / 100); if ($1 % 100 == 0) system("mkdir " directory)
       file = directory "/" $1; for (i = 0; i < $1 % 256; i++) print "line " i " of file " $1 ", " $1 * i > file; close(file)
     }'; find . -type d -empty; for n in $(seq 0 256 ${String(FILE_COUNT - 1)}); do touch d$((n / 100))/$n; done`,
    )
    await cluster.shell(`cd ${files}/tree && find . -type f -print0 | sort -z | xargs -0 sha256sum > ../sums`)
    expect(Number(await cluster.shell(`wc -l < ${files}/sums`))).toBe(FILE_COUNT)
    await cluster.shell(
      `cp ${files}/sums sums && dd if=/dev/urandom of=${files}/ballast bs=1M count=${String(BALLAST_MIB)} conv=fsync status=none`,
    )

    await disk.unmount()
    await cluster.shell(`e2fsck -f -n ${disk.device}`)
    // All of it anew: another nbdfuse, another loop device.
    await disk.close()
    await cluster.equalHeads(volume)
    await disk.open(uri)
    await disk.mount()
    await cluster.shell(`cmp sums ${files}/sums && cd ${files}/tree && sha256sum --quiet -c ../sums`)

    const before = await liveBytes()
    expect(before).toHaveLength(REPLICAS)
    await cluster.shell(`rm ${files}/ballast && sync -f ${files} && fstrim ${files}`)
    await expect
      .poll(async () => {
        const after = await liveBytes()
        return after.every((bytes, index) => (before[index] ?? 0) - bytes > (BALLAST_MIB - 2) * MIB)
      }, PATIENCE)
      .toBe(true)
    await cluster.shell(`cd ${files}/tree && sha256sum --quiet -c ../sums`)
    await disk.unmount()
    await cluster.shell(`e2fsck -f -n ${disk.device}`)
    await disk.close()
    await cluster.equalHeads(volume)
  },
)
