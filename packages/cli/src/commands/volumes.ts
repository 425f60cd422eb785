/** Commands on volumes: make, list, show, branch, snapshot, delete. */
import { formatBytes, formatLack, parseBytes, UsageError } from '@cloudfs/interface'
import { type Answer, type BodyInput, NodeError } from '@cloudfs/http'
import { Command } from 'commander'
import { action } from '../context.js'
import { examples } from '../examples.js'
import { EXIT, paint, say, sayJson, table, talk } from '../output.js'
import { modeOf, modes, replicasOf } from '../volume-options.js'

type Volume = Answer<'volume'>

export function newdiskCommand(): Command {
  return examples(
    new Command('newdisk')
      .description('make a disk with N replicas (3); its id is on stdout')
      .argument('[n]', 'replicas, 1 to 7', '3')
      .option('--size <size>', 'as in 8G', '8G')
      .option('--name <name>', 'for people; need not be unique')
      .option('--mode <mode>', modes.join(', '), 'quorum')
      .option(
        '--witness',
        'beside 2 replicas: a third host that keeps no data and votes, so that one goes on alone',
      )
      .action(
        action(
          async (
            { client, isJson },
            count: string,
            options: { size: string; name?: string; mode: string; witness?: boolean },
          ) => {
            const body: BodyInput<'newVolume'> = {
              replicas: replicasOf(count),
              sizeBytes: parseBytes(options.size),
              mode: modeOf(options.mode),
              ...(options.name !== undefined && { name: options.name }),
              ...(options.witness === true && { witness: true }),
            }
            if (body.witness === true && (body.replicas !== 2 || body.mode === 'local'))
              throw new UsageError('--witness is for 2 replicas, in mode durable or quorum')
            try {
              tellMade(await client.call('newVolume', { body }), isJson)
            } catch (error) {
              if (error instanceof NodeError && error.code === 'ERR_TOO_FEW_HOSTS') {
                talk('start more nodes (cloudfs replicator), or ask for fewer replicas: cloudfs newdisk 1')
              }
              throw error
            }
            return EXIT.ok
          },
        ),
      ),
    [
      ['cloudfs newdisk 1 --size 1G --name web', ''],
      [
        'disk=$(cloudfs newdisk 1 --mode durable 2>/dev/null)',
        'each write is on disk at a majority before it is acknowledged',
      ],
      ['cloudfs newdisk 2 --witness', 'two copies; it goes on without either of their hosts'],
    ],
  )
}

export function lsCommand(): Command {
  return examples(
    new Command('ls').description('list all volumes').action(
      action(async ({ client, isJson }) => {
        const volumes = await client.call('volumes')
        if (isJson) sayJson(volumes)
        else if (volumes.length === 0) talk('no volumes; cloudfs newdisk makes one')
        else
          say(
            table([
              ['VOLUME', 'NAME', 'SIZE', 'MODE', 'REPLICAS', 'LSN', 'ATTACHED AT'],
              ...volumes.map(rowOf),
            ]),
          )
        return EXIT.ok
      }),
    ),
    [
      ['cloudfs ls', ''],
      ['cloudfs ls --json', 'for programs'],
    ],
  )
}

export function infoCommand(): Command {
  return examples(
    new Command('info')
      .description('show all about one volume')
      .argument('<volume>', 'id, or name where that is unique')
      .action(
        action(async ({ client, isJson }, volume: string) => {
          const found = await client.call('volume', { params: { volume } })
          if (isJson) sayJson(found)
          else say(describe(found))
          return EXIT.ok
        }),
      ),
    [['cloudfs info web', '']],
  )
}

export function branchCommand(): Command {
  return examples(
    new Command('branch')
      .description('make a writable disk that begins as another; its id is on stdout')
      .argument('<from>', 'VOLUME, VOLUME@SNAPSHOT, or a version id as in `cat ID.info`')
      .option('--name <name>', 'of the new disk')
      .action(
        action(async ({ client, isJson }, from: string, { name }: { name?: string }) => {
          tellMade(
            await client.call('branch', { body: { from, ...(name !== undefined && { name }) } }),
            isJson,
          )
          return EXIT.ok
        }),
      ),
    [
      ['cloudfs branch web --name copy', 'as it is now'],
      ['cloudfs branch web@before --name test', 'as it was at a snapshot'],
    ],
  )
}

export function snapshotCommand(): Command {
  return examples(
    new Command('snapshot')
      .description("name a volume's state as it is now; the version id is on stdout")
      .argument('<volume>', 'id, or name where that is unique')
      .argument('<name>', 'of the snapshot')
      .option('--delete', 'delete the snapshot of this name instead')
      .action(
        action(async ({ client, isJson }, volume: string, name: string, options: { delete?: boolean }) => {
          if (options.delete === true) {
            const gone = await client.call('deleteSnapshot', { params: { volume, name } })
            if (isJson) sayJson(gone)
            else talk(`deleted snapshot ${name} of ${gone.volume}`)
          } else {
            const made = await client.call('snapshot', { params: { volume }, body: { name } })
            if (isJson) sayJson(made)
            else say(made.version)
          }
          return EXIT.ok
        }),
      ),
    [
      ['cloudfs snapshot web before', 'later: cloudfs branch web@before'],
      ['cloudfs snapshot web monday && cloudfs snapshot web monday --delete', ''],
    ],
  )
}

export function migrateCommand(): Command {
  return examples(
    new Command('migrate')
      .description('have another host that holds a replica lead the volume; clients pause meanwhile')
      .argument('<volume>', 'id, or name where that is unique')
      .argument('<host>', 'id of the host, as `cloudfs info VOLUME` lists it')
      .action(
        action(async ({ client, isJson }, volume: string, host: string) => {
          const moved = await client.call('migrate', { params: { volume }, body: { host } })
          if (isJson) sayJson(moved)
          else talk(`host ${moved.host} leads ${moved.volume}`)
          return EXIT.ok
        }),
      ),
    [
      [
        "cloudfs migrate web $(cloudfs info web | awk '/^(primary|replica)/ { print $2 }' | tail -1)",
        'to the last of its hosts',
      ],
    ],
  )
}

export function deletediskCommand(): Command {
  return examples(
    new Command('deletedisk')
      .description('delete a volume that is not attached, and its snapshots')
      .argument('<volume>', 'id, or name where that is unique')
      .action(
        action(async ({ client, isJson }, volume: string) => {
          const gone = await client.call('deleteVolume', { params: { volume } })
          if (isJson) sayJson(gone)
          else talk(`deleted ${gone.volume}`)
          return EXIT.ok
        }),
      ),
    [['cloudfs deletedisk copy', '']],
  )
}

function tellMade(made: Answer<'newVolume'>, isJson: boolean): void {
  for (const [index, { host, zone, isInStep }] of made.replicas.entries()) {
    const state = index === 0 ? '' : isInStep ? ' in step' : ' being brought up'
    talk(`${index === 0 ? 'primary' : 'replica'} ${host}${zone === '' ? '' : ` (${zone})`}${state}`)
  }
  if (made.witness !== undefined) {
    const { host, zone } = made.witness
    talk(`witness ${host}${zone === '' ? '' : ` (${zone})`}`)
  }
  for (const note of made.notes) talk(paint('yellow', note, process.stderr))
  if (isJson) sayJson(made)
  else say(made.volume)
}

function rowOf({ volume, name, sizeBytes, mode, replicas, lsn, attachments }: Volume): string[] {
  const copies = replicas.filter(({ role }) => role !== 'witness')
  const inStepCount = copies.filter(({ state }) => state === 'in-step').length
  const count =
    inStepCount === copies.length
      ? String(copies.length)
      : `${String(inStepCount)} of ${String(copies.length)}`
  return [
    volume,
    name === '' ? '-' : name,
    formatBytes(sizeBytes),
    mode,
    copies.length < replicas.length ? `${count} + witness` : count,
    String(lsn),
    attachments.length === 0 ? '-' : attachments.map(({ host }) => host).join(' '),
  ]
}

function describe(volume: Volume): string {
  const { parent, attachments, epoch } = volume
  return table([
    ['volume', volume.volume],
    ['name', volume.name === '' ? '-' : volume.name],
    ['size', `${formatBytes(volume.sizeBytes)} (${String(volume.sizeBytes)} bytes)`],
    ['mode', volume.mode],
    ['version', volume.version],
    ['lsn', `${String(volume.lsn)}, committed ${String(volume.committedLsn)}`],
    ['epoch', `${String(epoch.counter)}.${epoch.host}`],
    ...(parent === undefined ? [] : [['parent', `${parent.volume} at lsn ${String(parent.lsn)}`]]),
    ...(isDegraded(volume) ? [['degraded', 'one data copy, beside a witness']] : []),
    ...volume.replicas.map((replica) => [nameOf(replica), replicaText(replica)]),
    ...volume.snapshots.map(({ name, version, lsn }) => [
      'snapshot',
      `${name} ${version} at lsn ${String(lsn)}`,
    ]),
    ...(attachments.length === 0 ? [['attached', 'no']] : []),
    ...attachments.map(({ host, socket, isShared }) => [
      'attached',
      `at ${host}, ${socket}${isShared ? ' (shared)' : ''}`,
    ]),
  ])
}

/** Its set has gone on without the other data member. */
function isDegraded({ replicas }: Volume): boolean {
  return (
    replicas.some(({ role }) => role === 'witness') &&
    replicas.filter(({ role }) => role === 'data').length < 2
  )
}

function nameOf({ isPrimary, role }: Volume['replicas'][number]): string {
  if (isPrimary) return 'primary'
  return role === 'witness' ? 'witness' : 'replica'
}

function replicaText({
  host,
  role,
  state,
  refusal,
  behindBytes = 0,
  ...pace
}: Volume['replicas'][number]): string {
  const lack = state !== 'in-step' && behindBytes > 0 ? ` by ${formatLack({ behindBytes, ...pace })}` : ''
  const why = refusal === undefined ? '' : `; does not follow: ${refusal.code}: ${refusal.message}`
  return `${host} ${state}${lack}${role === 'learner' ? ' (learner)' : ''}${why}`
}
