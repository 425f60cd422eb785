/** `cloudfs stream`: the updates of a volume, as they stand in the log. */
import { createWriteStream } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { NodeClient } from '@cloudfs/http'
import { StreamLostError, UsageError, VersionId } from '@cloudfs/interface'
import { Command } from 'commander'
import { action } from '../context.js'
import { askEngine, engineOption, engineUrl } from '../engine-http.js'
import { InterruptedError } from '../errors.js'
import { examples } from '../examples.js'
import { EXIT } from '../output.js'

interface StreamOptions {
  readonly from?: string
  readonly untilHead?: boolean
  readonly output?: string
  readonly engine?: string
}

export function streamCommand(): Command {
  return examples(
    new Command('stream')
      .description('write the updates of a volume to stdout, and go on as they come, for `cloudfs apply`')
      .argument('<volume>', 'id, name where that is unique, or a version: its head, or a snapshot’s')
      .option('--from <lsn>', 'the last update you have; all if left out')
      .option('--until-head', 'end at the head')
      .option('--output <file>', 'write there; an existing file is replaced')
      .addOption(engineOption())
      .action(
        action(async ({ client }, volume: string, { from, untilHead, output, engine }: StreamOptions) => {
          if (from !== undefined && !/^(-1|\d{1,15})$/.test(from)) throw new UsageError(`not an lsn: ${from}`)
          const id = VersionId.is(volume) ? volume : await idOf(client, volume)
          const query = [
            id,
            ...(from === undefined ? [] : [from]),
            ...(untilHead === true ? ['until=head'] : []),
          ]
          await copy(await engineUrl(client, engine), `/stream?${query.join('&')}`, output)
          return EXIT.ok
        }),
      ),
    [
      ['cloudfs stream web --until-head --output web.updates', 'all there is'],
      ['cloudfs stream web --from 1 --until-head > web.delta', 'what came behind update 1'],
    ],
  )
}

async function idOf(client: NodeClient, name: string): Promise<string> {
  return (await client.call('volume', { params: { volume: name } })).volume
}

async function copy(url: string, path: string, output: string | undefined): Promise<void> {
  const ended = new AbortController()
  const end = (): void => {
    ended.abort(new InterruptedError('interrupted'))
  }
  process.once('SIGINT', end).once('SIGTERM', end)
  try {
    const { body } = await askEngine(url, path, ended.signal)
    if (body === null) return
    const target = output === undefined ? process.stdout : createWriteStream(output)
    await pipeline(Readable.fromWeb(body), target, { signal: ended.signal, end: output !== undefined })
  } catch (error) {
    ended.signal.throwIfAborted()
    const { code, cause } = error as NodeJS.ErrnoException
    // `cloudfs stream … | head`: nobody wants more.
    if (code === 'EPIPE') return
    // Node's fetch says `terminated` when the other side hangs up.
    if (error instanceof TypeError)
      throw new StreamLostError('the stream broke off', { cause: cause ?? error })
    throw error
  } finally {
    process.off('SIGINT', end).off('SIGTERM', end)
  }
}
