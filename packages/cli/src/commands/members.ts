/** `cloudfs replace`, `add-replica` and `remove-replica`: which hosts keep a volume. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Answer, NodeClient } from '@cloudfs/http'
import { formatLack, isCloudfsError } from '@cloudfs/interface'
import { Command } from 'commander'
import { action, type Context } from '../context.js'
import { examples } from '../examples.js'
import { EXIT, sayJson, talk } from '../output.js'
import { ProgressLine } from '../progress-line.js'

const LOOK_MS = 500

type Replaced = Answer<'replace'>
type Replica = Answer<'volume'>['replicas'][number]

export function replaceCommand(): Command {
  return examples(
    new Command('replace')
      .description(
        'have another host keep a volume in the place of one of its hosts; clients go on meanwhile',
      )
      .argument('<volume>', 'id, or name where that is unique')
      .argument('<host>', 'the host that leaves, as `cloudfs info VOLUME` lists it')
      .argument('[new-host]', 'the host that joins; left out: chosen')
      .option('--no-wait', 'come back when it is on its way')
      .action(
        action(
          (context, volume: string, leaves: string, joins: string | undefined, { wait }: { wait: boolean }) =>
            begin(context, volume, { leaves, joins }, wait),
        ),
      ),
    [
      [
        'cloudfs status || cloudfs replace web 30dc05f8b1f43d4ebd88ba1fd4cc1b1ba1fd72a1',
        'if something is wrong: without the host that is gone',
      ],
    ],
  )
}

export function addReplicaCommand(): Command {
  return examples(
    new Command('add-replica')
      .description('have one more host keep a volume; clients go on meanwhile')
      .argument('<volume>', 'id, or name where that is unique')
      .argument('[host]', 'left out: chosen')
      .option('--no-wait', 'come back when it is on its way')
      .action(
        action((context, volume: string, joins: string | undefined, { wait }: { wait: boolean }) =>
          begin(context, volume, { joins }, wait),
        ),
      ),
    [['cloudfs info web | grep -c in-step || cloudfs add-replica web', 'where there is none in step']],
  )
}

export function removeReplicaCommand(): Command {
  return examples(
    new Command('remove-replica')
      .description('have a host keep a volume no longer; its replica is dropped when nobody can need it')
      .argument('<volume>', 'id, or name where that is unique')
      .argument('<host>', 'as `cloudfs info VOLUME` lists it')
      .action(
        action(async ({ client, isJson }, volume: string, host: string) => {
          const gone = await client.call('removeReplica', { params: { volume, host } })
          if (isJson) sayJson(gone)
          else talk(`host ${gone.leaves} keeps ${gone.volume} no longer`)
          return EXIT.ok
        }),
      ),
    [
      [
        'cloudfs status || cloudfs remove-replica web 30dc05f8b1f43d4ebd88ba1fd4cc1b1ba1fd72a1',
        'if something is wrong: with one copy less',
      ],
    ],
  )
}

async function begin(
  { client, isJson }: Context,
  volume: string,
  { leaves, joins }: { readonly leaves?: string; readonly joins: string | undefined },
  wait: boolean,
): Promise<number> {
  const body = { ...(leaves !== undefined && { leaves }), ...(joins !== undefined && { joins }) }
  const begun = await client.call('replace', { params: { volume }, body })
  return follow(client, begun, { isJson, wait })
}

/** Shows how far the new replica is, until it votes and the other is out. The cluster goes on without this. */
async function follow(
  client: NodeClient,
  begun: Replaced,
  { isJson, wait }: { readonly isJson: boolean; readonly wait: boolean },
): Promise<number> {
  const progress = new ProgressLine()
  const { volume, joins, leaves } = begun
  if (wait) talk(`host ${joins} learns ${volume}; this can be interrupted, and goes on by itself`)
  try {
    while (wait) {
      const replicas = await replicasOf(client, volume)
      const joined = replicas?.find(({ host }) => host === joins)
      const isOut = leaves === undefined || replicas?.every(({ host }) => host !== leaves) === true
      if (joined?.role === 'data' && isOut) break
      progress.show(textOf(joined))
      await delay(LOOK_MS)
    }
  } finally {
    progress.clear()
  }
  if (isJson) sayJson(begun)
  else if (!wait) talk(`host ${joins} learns ${volume}`)
  else talk(`host ${joins} keeps ${volume}${leaves === undefined ? '' : ` in the place of ${leaves}`}`)
  return EXIT.ok
}

/** Between two primaries there is none to ask. */
async function replicasOf(client: NodeClient, volume: string): Promise<readonly Replica[] | undefined> {
  try {
    return (await client.call('volume', { params: { volume } })).replicas
  } catch (error) {
    if (isCloudfsError(error)) return undefined
    throw error
  }
}

function textOf(joined: Replica | undefined): string {
  if (joined === undefined) return 'begins'
  const { state, behindBytes, ...pace } = joined
  if (state === 'in-step') return 'has everything, and is to vote'
  if (state === 'away') return 'is away'
  return behindBytes === undefined ? 'gets the volume' : `lacks ${formatLack({ behindBytes, ...pace })}`
}
