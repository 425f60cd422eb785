import { encodeView } from '@cloudfs/format'
import {
  bytesToHex,
  CloudfsError,
  type Epoch,
  type Foresight,
  HostId,
  Lsn,
  Stamp,
  StoreId,
  VersionId,
  VolumeId,
} from '@cloudfs/interface'
import { expect, test } from 'vitest'
import { stampHashOf } from '../stamp-slices.js'
import { stand } from './candidacy.js'
import { Mailbox } from './mailbox.js'
import type { ViewPorts } from './ports.js'

const hostOf = (index: number) => HostId.parse(`1${String(index)}`.repeat(20))
const storeOf = (index: number) => StoreId.parse(`a${String(index)}`.repeat(20))
const epochOf = (counter: number): Epoch => ({ counter, host: hostOf(0) })

class Refusal extends CloudfsError {
  readonly code = 'ERR_NOT_MEMBER'
}

/** What a host says that has these views: each the counter of its epoch, and its set. */
function told(
  index: number,
  lsn: number,
  views: readonly (readonly [counter: number, set: readonly number[]])[],
  mode: Foresight['mode'],
): Foresight {
  const stampHash = stampHashOf(Stamp.parse('77'.repeat(32)))
  return {
    store: storeOf(index),
    promised: epochOf(3),
    head: { epoch: epochOf(3), lsn: Lsn(lsn), version: VersionId.parse('0'.repeat(40)) },
    committedLsn: Lsn(lsn - 1),
    recovering: false,
    nonce: '',
    views: views.map(([counter, set], at) => ({
      epoch: epochOf(counter),
      lsn: Lsn(at + 1),
      payload: bytesToHex(
        encodeView({
          stampHash,
          primary: hostOf(0),
          leaseMs: 500,
          members: set.map((member) => ({
            host: hostOf(member),
            store: storeOf(member),
            role: 'data' as const,
            slice: new Uint8Array(),
          })),
        }),
      ),
    })),
    would: true,
    remainingMs: 0,
    role: 'follower',
    mode,
  }
}

/** Host 0, which has replaced host 1 by host 2 and does not know that this is committed, stands. @returns whom it asks what */
async function standBehindChange(mode: Foresight['mode']): Promise<string[]> {
  const own = told(0, 340, [[2, [0, 1]], [3, [0, 2]]], mode) // prettier-ignore
  const knows = told(2, 341, [[3, [0, 2]]], mode)
  const asked: string[] = []
  const refuse = (): Promise<never> => Promise.reject(new Refusal('this store is not in the view'))
  const ports = {
    host: hostOf(0),
    store: storeOf(0),
    clock: { nowMs: () => 0, sleep: () => new Promise<void>(() => undefined) },
    engine: { wouldPromise: () => Promise.resolve(own), promise: () => Promise.resolve(own) },
    peers: {
      foresee: (host: HostId) => (host === hostOf(2) ? Promise.resolve(knows) : refuse()),
      promise: (host: HostId) => {
        asked.push(`promise of ${host.slice(0, 2)}`)
        return refuse()
      },
      stand: (host: HostId) => {
        asked.push(`stand at ${host.slice(0, 2)}`)
        return Promise.resolve({})
      },
    },
    log: () => undefined,
  } as unknown as ViewPorts
  const candidate = {
    ports,
    volume: VolumeId.parse('b'.repeat(40)),
    told: new Mailbox({}),
    heard: {},
    signal: new AbortController().signal,
    onStand: () => undefined,
  }
  await stand(candidate, { mayDefer: true, hasLostLease: false, isPatient: false, wasCutOff: false })
  return asked
}

test('a set that another host knows to be passed is not asked for its majority (M1)', async () => {
  expect(await standBehindChange('quorum')).toEqual(['stand at 12'])
})

// Seed 10 of the simulator: the new member had more and knew of the commit, and may not stand; the old member answers no more.
test('in mode local the primary goes on by what the others know, and asks nobody to stand', async () => {
  expect(await standBehindChange('local')).toContain('promise of 12')
})
