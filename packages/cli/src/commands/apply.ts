/** `cloudfs apply`: gives a store the updates that `cloudfs stream` saved. */
import { HistoryDivergedError, type Lsn } from '@cloudfs/interface'
import { Command, Option } from 'commander'
import { ApplyStream } from '../apply/apply-stream.js'
import { readRuns } from '../apply/read-runs.js'
import { withEngine } from '../apply/spare-engine.js'
import { action } from '../context.js'
import { engineOption, engineUrl } from '../engine-http.js'
import { examples } from '../examples.js'
import { MixedHistoryError } from '../errors.js'
import { EXIT, say, sayJson, talk } from '../output.js'

interface Applied {
  readonly volume: string
  readonly version: string
  readonly lsn: Lsn
  readonly givenBytes: number
}

export function applyCommand(): Command {
  return examples(
    new Command('apply')
      .description(
        'read updates from stdin, as `cloudfs stream` writes them, into a store that is no replica of the volume',
      )
      .addOption(new Option('--store <path>', 'a stopped node’s store').conflicts('engine'))
      .addOption(engineOption())
      .action(
        action(async ({ client, isJson }, { store, engine }: { store?: string; engine?: string }) => {
          const applied =
            store === undefined
              ? await apply(await engineUrl(client, engine), process.stdin)
              : await withEngine(store, (url) => apply(url, process.stdin))
          if (applied === undefined) talk('nothing to apply')
          else if (isJson) sayJson(applied)
          else say(`${applied.volume}:${applied.version}`)
          return EXIT.ok
        }),
      ),
    [['cloudfs apply --store spare < web.updates', 'what the store has already is passed over']],
  )
}

/** @returns where the store's copy stands then; `undefined`: there was no update */
async function apply(url: string, input: AsyncIterable<Buffer>): Promise<Applied | undefined> {
  let stream: ApplyStream | undefined
  let applied: Applied | undefined
  try {
    for await (const saved of readRuns(input)) {
      const { volume, epoch, lastPublic: version } = saved.run
      if (applied !== undefined && applied.volume !== volume) {
        throw new MixedHistoryError('the updates are of several volumes: apply one after the other')
      }
      stream ??= await ApplyStream.open(url, volume, epoch)
      const isNew = saved.lastLsn > stream.headLsn
      if (saved.lastLsn === stream.headLsn && version !== stream.headVersion) {
        throw new HistoryDivergedError(`the store's copy has another history at update ${saved.lastLsn}`)
      }
      if (isNew) await stream.give(saved)
      const givenBytes: number = (applied?.givenBytes ?? 0) + (isNew ? saved.bytes.length : 0)
      applied = { volume, version, lsn: saved.lastLsn, givenBytes }
      if (!isNew) applied = { ...applied, version: stream.headVersion, lsn: stream.headLsn }
    }
    if (stream !== undefined && applied !== undefined && applied.givenBytes > 0) {
      await stream.finish(applied.lsn)
    }
    return applied
  } finally {
    stream?.close()
  }
}
