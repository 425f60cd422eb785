/** What each operation of the API does, in terms of the node's parts. */
import type { Answer } from '@cloudfs/http'
import type { Attachments } from './attachments.js'
import type { Handlers } from './http-server.js'
import { healthOf } from './health.js'
import type { Volumes } from './volumes.js'

export interface HandlerParts {
  readonly self: () => Promise<Answer<'self'>>
  readonly nodes: () => Answer<'nodes'>
  readonly volumes: Volumes
  readonly attachments: Attachments
}

export function handlersOf({ self, nodes, volumes, attachments }: HandlerParts): Handlers {
  return {
    self,
    nodes,
    status: async () => {
      const known = nodes()
      const health = [...(await volumes.all()).values()].map(({ volume }) => healthOf(volume))
      const isDegraded =
        known.some(({ state }) => state !== 'up') || health.some(({ state }) => state !== 'ok')
      return { isDegraded, nodes: known, volumes: health.sort((a, b) => (a.volume < b.volume ? -1 : 1)) }
    },
    volumes: async () => {
      const all = [...(await volumes.all()).values()].map(({ volume }) => volume)
      return all.sort((a, b) => (a.volume < b.volume ? -1 : 1))
    },
    newVolume: ({ body }) => volumes.create(body),
    volume: async ({ params }) => (await volumes.find(params.volume)).volume,
    deleteVolume: ({ params }) => volumes.delete(params.volume),
    snapshot: ({ params, body }) => volumes.snapshot(params.volume, body.name),
    deleteSnapshot: ({ params }) => volumes.deleteSnapshot(params.volume, params.name),
    branch: ({ body }) => volumes.branch(body),
    attachments: () => attachments.all(),
    attach: ({ body }) => volumes.attach(body),
    detach: ({ params }) => volumes.detach(params.volume),
  }
}
