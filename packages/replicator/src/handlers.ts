/** What each operation of the API does, in terms of the node's parts. */
import type { Answer } from '@cloudfs/http'
import type { ScrubStatus } from '@cloudfs/interface'
import type { Attachments } from './attachments.js'
import type { Evacuation } from './evacuation.js'
import type { Forcing } from './forcing.js'
import type { Membership } from './membership.js'
import type { Handlers } from './http-server.js'
import { healthOf } from './health.js'
import type { Catalogue } from './catalogue.js'
import type { Creation } from './creation.js'
import type { Volumes } from './volumes.js'

export interface HandlerParts {
  readonly self: () => Promise<Answer<'self'>>
  readonly nodes: () => Answer<'nodes'>
  readonly scrub: (verb: 'scrub-status' | 'scrub-now') => Promise<ScrubStatus>
  readonly catalogue: Catalogue
  readonly creation: Creation
  readonly volumes: Volumes
  readonly attachments: Attachments
  readonly membership: Membership
  readonly evacuation: Evacuation
  readonly forcing: Forcing
}

export function handlersOf(parts: HandlerParts): Handlers {
  const { self, nodes, scrub, catalogue, creation, volumes, attachments, membership, evacuation, forcing } =
    parts
  return {
    self,
    nodes,
    status: async () => {
      const known = nodes()
      const states = new Map(known.map(({ host, state }) => [host, state]))
      const health = [...(await catalogue.all()).values()].map(({ volume }) => healthOf(volume, states))
      const isDegraded =
        known.some(({ state }) => state !== 'up') || health.some(({ state }) => state !== 'ok')
      return { isDegraded, nodes: known, volumes: health.sort((a, b) => (a.volume < b.volume ? -1 : 1)) }
    },
    scrub: async () => describeScrub(await scrub('scrub-status')),
    startScrub: async () => describeScrub(await scrub('scrub-now')),
    evacuation: ({ params }) => evacuation.look(params.host),
    evacuate: ({ params }) => evacuation.begin(params.host),
    readmit: ({ params }) => evacuation.end(params.host),
    volumes: async () => {
      const all = [...(await catalogue.all()).values()].map(({ volume }) => volume)
      return all.sort((a, b) => (a.volume < b.volume ? -1 : 1))
    },
    newVolume: ({ body }) => creation.create(body),
    volume: async ({ params }) => (await catalogue.find(params.volume)).volume,
    deleteVolume: ({ params }) => volumes.delete(params.volume),
    migrate: ({ params, body }) => volumes.migrate(params.volume, body.host),
    replace: ({ params, body }) => membership.replace(params.volume, body),
    removeReplica: ({ params }) => membership.remove(params.volume, params.host),
    forcePlan: ({ params }) => forcing.plan(params.volume),
    force: ({ params, body }) => forcing.force(params.volume, body.host),
    snapshot: ({ params, body }) => volumes.snapshot(params.volume, body.name),
    deleteSnapshot: ({ params }) => volumes.deleteSnapshot(params.volume, params.name),
    branch: ({ body }) => volumes.branch(body),
    attachments: () => attachments.all(),
    attach: ({ body }) => volumes.attach(body),
    detach: ({ params }) => volumes.detach(params.volume),
    release: ({ params }) => volumes.release(params.volume, params.host),
  }
}

function describeScrub(status: ScrubStatus): Answer<'scrub'> {
  return {
    isRunning: status.scrubRunning === 1,
    readBytes: status.scrubPassBytes,
    liveBytes: status.scrubLiveBytes,
    corrupt: status.scrubPassCorrupt,
    repaired: status.scrubPassRepaired,
    pagesCorrupt: status.scrubPassPagesCorrupt,
    passes: status.scrubPasses,
    ...(status.scrubEndedSeconds > 0 && { endedMs: status.scrubEndedSeconds * 1000 }),
  }
}
