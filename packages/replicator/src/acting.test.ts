import { HostId, NotPrimaryError, UnknownVolumeError, VolumeId } from '@cloudfs/interface'
import type { PeerNode } from '@cloudfs/peers'
import { expect, test, vi } from 'vitest'
import { Acting } from './acting.js'
import type { Catalogue } from './catalogue.js'
import { askDeleted, askPrimary } from './peer-requests.js'

const [own, gone, next] = ['1', '2', '3'].map((digit) => HostId.parse(digit.repeat(40))) as [
  HostId,
  HostId,
  HostId,
]
const volume = VolumeId.parse('a'.repeat(40))
const request = { action: 'delete', volume } as const

/** A host that led the volume and does not any more; it is listed nowhere, for a record of its deletion is made. */
function actingBeside(others: { leads?: HostId; knows?: HostId; refusesAfterMs?: number }): {
  acting: Acting
  asked: HostId[]
} {
  const asked: HostId[] = []
  const notPrimary = new NotPrimaryError('it is not the primary', { volume })
  const peers = {
    handle: () => undefined,
    members: () => [gone, next].map((hostId) => ({ hostId, state: 'up' })),
    request: (host: HostId, { name }: { name: string }) => {
      if (name === askDeleted.name) return Promise.resolve({ deleted: host === others.knows ? [volume] : [] })
      expect(name).toBe(askPrimary.name)
      asked.push(host)
      if (host === others.leads) return Promise.resolve({ volume })
      const refused = new Promise((resolve) => setTimeout(resolve, others.refusesAfterMs ?? 0))
      return refused.then(() => {
        throw notPrimary
      })
    },
  }
  const catalogue = {
    find: () => Promise.reject(new UnknownVolumeError('no volume', { volume })),
  }
  const acting = new Acting({
    host: own,
    peers: peers as unknown as PeerNode,
    catalogue: catalogue as unknown as Catalogue,
    actHere: () => {
      asked.push(own)
      return Promise.reject(notPrimary)
    },
    isDeletedHere: () => Promise.resolve(own === others.knows),
  })
  return { acting, asked }
}

test('a deletion whose primary stepped down is done once whoever follows the volume knows that it is', async () => {
  for (const knows of [next, own]) {
    const { acting, asked } = actingBeside({ knows })
    expect(await acting.act({ volume, primary: gone }, request)).toMatchObject({ volume })
    expect(asked).toEqual([gone])
  }
})

test('until then it is for whoever has come to lead the volume: all are asked in turn', async () => {
  const { acting, asked } = actingBeside({ leads: next })
  expect(await acting.act({ volume, primary: gone }, request)).toMatchObject({ volume, by: next })
  expect(asked).toEqual([gone, next])
  const back = actingBeside({ leads: gone })
  expect(await back.acting.act({ volume, primary: next }, request)).toMatchObject({ by: gone })
  expect(back.asked).toEqual([next, own, gone])
})

test('one that waited for long, and was refused then, is asked of others all the same', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'performance'] })
  try {
    const { acting, asked } = actingBeside({ leads: next, refusesAfterMs: 6_000 })
    const acted = acting.act({ volume, primary: gone }, request)
    acted.catch(() => undefined)
    await vi.advanceTimersByTimeAsync(6_000)
    vi.useRealTimers()
    expect(await acted).toMatchObject({ by: next })
    expect(asked).toEqual([gone, next])
  } finally {
    vi.useRealTimers()
  }
})

test('another request of a volume that is nowhere is refused', async () => {
  const { acting } = actingBeside({ knows: next })
  const snapshot = { action: 'snapshot', volume, name: 'then' } as const
  await expect(acting.act({ volume, primary: gone }, snapshot)).rejects.toMatchObject({
    code: 'ERR_UNKNOWN_VOLUME',
  })
})
