/**
 * What load balancers and Prometheus see of a node of which one half is gone. The engine is kept away by a lock on its run
 * directory: whoever waits for a lock has it when its holder is killed, before the replicator starts the next engine.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cluster, PATIENCE } from './support/cluster.js'

const options = { timeout: 120_000 }

let cluster: Cluster
beforeAll(async () => {
  cluster = await new Cluster().up(1)
  await cluster.cloudfs('newdisk', '1', '--size', '8M', '--name', 'disk')
}, 120_000)
afterAll(async () => {
  await cluster.dispose()
}, 60_000)

/** Status and body; the error's code where nobody listens. */
async function ask(port: number, path: string): Promise<{ status: number; text: string } | string> {
  try {
    const response = await fetch(`http://127.0.0.1:${String(port)}${path}`)
    return { status: response.status, text: await response.text() }
  } catch (error) {
    return String((error as { cause?: { code?: string } }).cause?.code)
  }
}

async function figures(): Promise<Map<string, string>> {
  const page = await ask(cluster.first.httpPort, '/metrics')
  if (typeof page === 'string') throw new Error(page)
  expect(page.status).toBe(200)
  const lines = page.text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(lines.map((line) => line.split(' ') as [string, string]))
}

const ready = (): ReturnType<typeof ask> => ask(cluster.first.httpPort, '/readyz')

test('a node without its engine is healthy, not ready, and tells no old figures', options, async () => {
  const { directory, httpPort, enginePort } = cluster.first
  expect(await ready()).toEqual({ status: 200, text: 'ok\n' })
  const before = await figures()
  expect(before.get('cloudfs_engine_up')).toBe('1')
  expect(before.get('cloudfs_volumes')).toBe('1')
  const ofEngine = [...before.keys()].filter(
    (name) => /^cloudfs_(engine|replicas|behind|volumes)/.test(name) && !/_(up|starts)$/.test(name),
  )
  expect(ofEngine.length).toBeGreaterThan(10)

  const holder = cluster.start(`flock --no-fork ${join(directory, 'run', 'engine.pid')} sleep infinity`)
  // Blocked in flock(2), it waits.
  await expect.poll(() => readFileSync(`/proc/${String(holder.pid)}/wchan`, 'utf8'), PATIENCE).toMatch(/lock/)
  await cluster.kill(1, 'engine')
  await expect.poll(ready, PATIENCE).toEqual({ status: 503, text: 'the engine is away\n' })
  expect(await ask(httpPort, '/healthz')).toEqual({ status: 200, text: 'ok\n' })
  await expect.poll(() => ask(enginePort, '/healthz'), PATIENCE).toBe('ECONNREFUSED')
  let away = before
  await expect
    .poll(async () => {
      away = await figures()
      return away.get('cloudfs_engine_up')
    }, PATIENCE)
    .toBe('0')
  expect(ofEngine.filter((name) => away.has(name))).toEqual([])
  expect(Number(away.get('cloudfs_replicator_process_resident_memory_bytes'))).toBeGreaterThan(0)

  holder.kill('SIGKILL')
  await expect.poll(ready, PATIENCE).toEqual({ status: 200, text: 'ok\n' })
  const after = await figures()
  expect(ofEngine.filter((name) => !after.has(name))).toEqual([])
  expect(after.get('cloudfs_volumes')).toBe('1')
})

test('an engine without its replicator is healthy and serves', options, async () => {
  const { httpPort, enginePort } = cluster.first
  await cluster.kill(1, 'replicator')
  // Polled, for a connection that was kept from an earlier question is reset first.
  for (const path of ['/healthz', '/readyz', '/metrics'])
    await expect.poll(() => ask(httpPort, path), PATIENCE).toBe('ECONNREFUSED')
  const health = await ask(enginePort, '/healthz')
  expect(health).toMatchObject({ status: 200, text: expect.stringContaining('"status":"ok"') as string })
  expect(await ask(enginePort, '/heads')).toMatchObject({ status: 200 })
  await cluster.startNode(1)
  expect(await ready()).toEqual({ status: 200, text: 'ok\n' })
})
