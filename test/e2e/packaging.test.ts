/**
 * What comes with the program is true of it: units, containers and dashboards name commands, flags, ports, files and metrics
 * that there are.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { CONFIG_KEYS, type ConfigKey, flagOf, loadConfig } from '@cloudfs/replicator'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { Cluster, PATIENCE } from './support/cluster.js'

const repository = new URL('../..', import.meta.url).pathname
const read = (path: string): string => readFileSync(join(repository, path), 'utf8')

/** The configuration that the arguments of `cloudfs replicator` make. */
function configOf(args: readonly string[]): ReturnType<typeof loadConfig> {
  const keys = Object.keys(CONFIG_KEYS) as ConfigKey[]
  const options = Object.fromEntries(
    [...keys.map(flagOf), '--config'].map((flag) => [flag.slice(2), { type: 'string' as const }]),
  )
  const { values } = parseArgs({ args: [...args], options, strict: true })
  const flags = Object.fromEntries(keys.map((key) => [key, values[flagOf(key).slice(2)]]))
  const file = values['config']
  return loadConfig({ flags, ...(file !== undefined && { file }) })
}

interface Service {
  readonly build?: { readonly context: string; readonly target: string }
  readonly image: string
  readonly command?: readonly string[]
  readonly volumes?: readonly string[]
  readonly ports?: readonly string[]
  readonly depends_on?: readonly string[] | Readonly<Record<string, unknown>>
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>
  readonly volumes: Readonly<Record<string, unknown>>
}

/** What a service may say; another word is a slip that Compose refuses. */
const SERVICE_KEYS = [
  ...['build', 'image', 'command', 'hostname', 'environment', 'volumes', 'ports', 'depends_on'],
  ...['restart', 'stop_grace_period'],
]

describe('docker-compose.yml', () => {
  const { services, volumes } = parse(read('docker-compose.yml'), { merge: true }) as Compose
  const nodes = Object.entries(services).filter(([, { command }]) => command?.[0] === 'replicator')

  test('there are three nodes, a client, Prometheus and Grafana', () => {
    expect(Object.keys(services)).toEqual(['node1', 'node2', 'node3', 'client', 'prometheus', 'grafana'])
    expect(nodes).toHaveLength(3)
  })

  test('each node’s command is a configuration in which the nodes find each other', () => {
    for (const [, { command = [] }] of nodes) {
      const config = configOf(command.slice(1))
      expect(config.peers).toEqual(nodes.map(([name]) => name))
      expect([config.httpHost, config.peerHost, config.engineHttpHost]).toEqual(Array(3).fill('0.0.0.0'))
      expect(config.directory).toBe('/var/lib/cloudfs')
    }
  })

  test('what services depend on, build, mount and publish is there, once', () => {
    const dockerfile = read('Dockerfile')
    const ports = Object.values(services).flatMap((service) => service.ports ?? [])
    expect(ports.length).toBeGreaterThan(3)
    // Reachable from this machine alone.
    for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/)
    expect(new Set(ports.map((port) => port.split(':')[1])).size).toBe(ports.length)
    for (const service of Object.values(services)) {
      const { build, volumes: mounts = [], depends_on: needs = [] } = service
      for (const key of Object.keys(service)) expect(SERVICE_KEYS).toContain(key)
      for (const name of Array.isArray(needs) ? (needs as string[]) : Object.keys(needs))
        expect(services).toHaveProperty(name)
      if (build !== undefined) expect(dockerfile).toMatch(new RegExp(`^FROM .* AS ${build.target}$`, 'm'))
      for (const mount of mounts) {
        const [source = ''] = mount.split(':')
        if (source.startsWith('./')) expect(existsSync(join(repository, source)), source).toBe(true)
        else expect(volumes).toHaveProperty(source)
      }
    }
  })

  test('Prometheus asks every node at its HTTP port', () => {
    const { scrape_configs: jobs } = parse(read('packaging/prometheus/prometheus.yml')) as {
      scrape_configs: { static_configs: { targets: string[] }[] }[]
    }
    const targets = jobs.flatMap((job) => job.static_configs.flatMap((each) => each.targets))
    expect(targets).toEqual(nodes.map(([name]) => `${name}:8091`))
  })
})

test('the Dockerfile copies what is there, and exposes the ports a node has by default', () => {
  const dockerfile = read('Dockerfile')
  const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.*) \S+$/gm)].flatMap(([, list = '']) =>
    list.split(' '),
  )
  expect(copied.length).toBeGreaterThan(5)
  for (const path of copied) expect(existsSync(join(repository, path)), path).toBe(true)
  const { httpPort, engineHttpPort, peerPort, nbdPort } = configOf([])
  const exposed = /^EXPOSE (.*)$/m.exec(dockerfile)?.[1]?.split(' ').map(Number)
  expect(exposed).toEqual([engineHttpPort, httpPort, peerPort, nbdPort])
})

describe('on a real node', () => {
  let cluster: Cluster
  beforeAll(async () => {
    cluster = await new Cluster().up(1)
    await cluster.cloudfs('newdisk', '1', '--size', '8M')
  }, 120_000)
  afterAll(() => cluster.dispose(), 120_000)

  test('every metric that the dashboard draws is there', async () => {
    const page = await (await fetch(`${cluster.first.url}/metrics`)).text()
    const dashboard = JSON.parse(read('packaging/grafana/dashboards/cloudfs.json')) as {
      panels: { targets: { expr: string }[] }[]
    }
    const expressions = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr))
    const names = new Set(expressions.flatMap((text) => text.match(/cloudfs_\w+/g) ?? []))
    expect(names.size).toBeGreaterThan(8)
    const present = new Set([...page.matchAll(/^(\w+)(?:\{| )/gm)].map(([, name]) => name))
    expect([...names].filter((name) => !present.has(name))).toEqual([])
  })

  test(
    'systemd: the replicator ends alone, and the engine’s unit ends the engine cleanly',
    { timeout: 60_000 },
    async () => {
      const service = read('packaging/systemd/cloudfs.service')
      expect(service).toMatch(/^KillMode=process$/m)
      const args = /^ExecStart=\/usr\/bin\/cloudfs replicator (.*)$/m.exec(service)?.[1]?.split(' ') ?? []
      const example = join(repository, 'packaging/systemd/cloudfs.json')
      const config = configOf(args.map((each) => (each === '/etc/cloudfs/cloudfs.json' ? example : each)))
      expect(config.runDirectory).toBe('/var/lib/cloudfs/run')

      const { enginePid, replicatorPid, directory } = cluster.first
      process.kill(replicatorPid ?? 0, 'SIGTERM')
      await expect.poll(() => existsSync(`/proc/${String(replicatorPid)}`), PATIENCE).toBe(false)
      expect(existsSync(`/proc/${String(enginePid)}`)).toBe(true)

      const unit = read('packaging/systemd/cloudfs-engine.service')
      const stop = /^ExecStop=(.*)$/m.exec(unit)?.[1] ?? 'false'
      await cluster.shell(stop.replaceAll('/var/lib/cloudfs', directory))
      expect(existsSync(`/proc/${String(enginePid)}`)).toBe(false)
      expect(readFileSync(join(directory, 'engine.log'), 'utf8')).toMatch(/"msg":"stopped"/)
      // Once more, with nothing to stop.
      await cluster.shell(stop.replaceAll('/var/lib/cloudfs', directory))
    },
  )
})
