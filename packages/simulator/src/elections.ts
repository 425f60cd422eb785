/** The shipped view protocol as a host's policy: what its engine tells goes in, commands and questions come out. */
import type { HostId } from '@cloudfs/interface'
import {
  coreEngine,
  type ViewEngine,
  type ViewPeers,
  type ViewRequest,
  type ViewRequests,
  Views,
} from '@cloudfs/protocol'
import { Membership } from './membership.js'
import type { PolicyMaker, PolicyPorts } from './policy.js'

export const elections: PolicyMaker = (ports) => {
  const { host, store, seed, clock, randomBytes, indexOf } = ports
  const run = (work: Promise<void>): void => {
    work.catch(ports.onBug)
  }
  const views: Views = new Views({
    host,
    store,
    seed,
    clock,
    randomBytes,
    engine: watched(ports),
    peers: peersOf(ports),
    // Nothing here reads it.
    patientMs: ports.patientMs,
    wayToFollow: () => Promise.resolve({ address: '', key: '', nonce: '' }),
    follow: (volume, leader, way): Promise<void> => {
      if (way === undefined) return membership.follow(volume, leader)
      ports.follow(volume, indexOf(leader))
      return Promise.resolve()
    },
    run,
    log: ({ message, detail }) => {
      ports.say(`view: ${message} ${JSON.stringify(detail ?? {})}`)
    },
  })
  const membership: Membership = new Membership(ports, views)
  return {
    onReady: () => undefined,
    onEvent: (event) => {
      if (event.name === 'leading') ports.unfollow(event.detail.volume)
      views.onEvent(event)
      if (event.name === 'leading' || event.name === 'volume-created') membership.soon()
    },
    onVolume: (volume, primary) => {
      views.add(volume)
      // From then on it is known who leads.
      if (indexOf(host) !== primary) ports.follow(volume, primary)
    },
    onRequest: (name, body, caller) =>
      membership.answer(name, body, caller) ??
      views.answer(name as ViewRequest, body as ViewRequests[ViewRequest]['body'], caller),
    handOver: (volume, to) => views.handOver(volume, to),
    force: (volume) => views.force(volume),
    changeSet: (volume, wish) => membership.change(volume, wish),
    get isBusy() {
      return membership.isBusy
    },
    onDown: () => {
      run(membership.close())
      run(views.close())
    },
  }
}

/** The engine; the world learns of what it is to judge by. */
function watched({ command, onDegrading, onElected, onForced, onRestart, onView }: PolicyPorts): ViewEngine {
  const engine = coreEngine(command)
  let head = 0
  return {
    ...engine,
    lead: (volume, plan) => {
      head = plan.head.lsn
      if (plan.isCut === true) onDegrading('cut')
      onElected(volume, plan.epoch, plan.head)
      return engine.lead(volume, plan)
    },
    expectHand: (volume, lead) => {
      onView(volume, lead.epoch, lead.payload)
      return engine.expectHand(volume, lead)
    },
    beginView: (volume, view) => {
      if (view.oldStamp === undefined) onForced(volume, view.epoch, head)
      else if (view.isRestart) onRestart(volume, head)
      onView(volume, view.epoch, view.payload)
      return engine.beginView(volume, view)
    },
  }
}

function peersOf({ ask, indexOf, publicKeyOf }: PolicyPorts): ViewPeers {
  const asking =
    <Name extends ViewRequest>(name: Name) =>
    async (
      host: HostId,
      body: ViewRequests[Name]['body'],
      timeoutMs: number,
    ): Promise<ViewRequests[Name]['answer']> =>
      (await ask(indexOf(host), name, body, timeoutMs)) as ViewRequests[Name]['answer']
  return {
    foresee: asking('foresee'),
    promise: asking('promise'),
    slice: asking('slice'),
    follow: asking('follow'),
    stand: asking('stand'),
    ready: asking('ready'),
    take: asking('take'),
    publicKeyOf,
  }
}
