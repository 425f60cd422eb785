/**
 * A volume's majority is lost for good. Goal: at an operator's word, and not before, the host that is left goes on with what
 * it has; what comes back has no say, and drops what it has. Method: nodes of real processes, killed by signal, commanded by
 * the command line.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cluster, PATIENCE } from './support/cluster.js'

const cluster = new Cluster()
let hosts: string[]

beforeAll(async () => {
  await cluster.up(3, '256M')
  hosts = await Promise.all(
    cluster.nodes.map(async ({ url }) => (await (await fetch(`${url}/id`)).text()).trim()),
  )
}, 120_000)

afterAll(() => cluster.dispose(), 120_000)

interface Volume {
  readonly primary: string
  readonly isServing: boolean
  readonly replicas: readonly { readonly host: string; readonly role: string; readonly state: string }[]
}

const find = async (): Promise<Volume> => JSON.parse(await cluster.at(1, 'info', 'web', '--json')) as Volume

test(
  'the host that is left goes on, others join it, and what was lost drops what it has',
  { timeout: 180_000 },
  async () => {
    const { volume, uri } = await cluster.disk('64M', 'web')
    const io = (...commands: string[]): Promise<string> =>
      cluster.shell(`qemu-io -f raw ${commands.map((each) => `-c '${each}'`).join(' ')} '${uri}'`)
    await io('write -P 7 0 1M', 'flush')
    await expect
      .poll(async () => (await find()).replicas.map(({ state }) => state), PATIENCE)
      .toEqual(['in-step', 'in-step', 'in-step'])
    await expect(cluster.at(1, 'force', 'web', '--yes')).rejects.toThrow('ERR_FORCE_REFUSED')
    await cluster.kill(2)
    await cluster.kill(3)
    await expect
      .poll(() => cluster.at(1, 'force', 'web', '--yes', '--json').catch(String), PATIENCE)
      .toMatch(/^\{/)
    expect(await find()).toMatchObject({ primary: hosts[0], isServing: true, replicas: [{ host: hosts[0] }] })
    expect(await io('read -P 7 0 1M', 'write -P 8 2M 64k', 'flush')).not.toContain('failed')

    // They have a majority of the set that was, and are told that it is over.
    await cluster.startNode(2)
    await cluster.startNode(3)
    const having = async (): Promise<number[]> => {
      const lists = await Promise.all(
        cluster.nodes.map(async ({ enginePort }) =>
          (await fetch(`http://127.0.0.1:${String(enginePort)}/heads`)).text(),
        ),
      )
      return lists.flatMap((list, at) => (list.includes(volume) ? at + 1 : []))
    }
    await expect.poll(having, PATIENCE).toEqual([1])
    expect(await find()).toMatchObject({ primary: hosts[0], replicas: [{ host: hosts[0] }] })
    await cluster.at(1, 'add-replica', 'web', hosts[1] ?? '')
    await cluster.at(1, 'migrate', 'web', hosts[1] ?? '')
    expect(await io('read -P 7 0 1M', 'read -P 8 2M 64k')).not.toContain('failed')
  },
)
