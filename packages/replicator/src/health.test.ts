import type { Answer } from '@cloudfs/http'
import { expect, test } from 'vitest'
import { healthOf } from './health.js'

type Volume = Answer<'volume'>
type State = Volume['replicas'][number]['state']

const volumeOf = (...states: State[]): Volume =>
  ({
    volume: 'v',
    name: 'n',
    isServing: states[0] !== 'away',
    replicas: states.map((state, index) => ({
      host: `h${String(index)}`,
      store: 's',
      role: 'data',
      isPrimary: index === 0,
      state,
    })),
  }) as unknown as Volume

test.each<[State[], string, RegExp]>([
  [['in-step'], 'ok', /in step/],
  [['in-step', 'in-step', 'behind'], 'degraded', /behind: h2/],
  [['in-step', 'away', 'in-step'], 'degraded', /away: h1/],
  [['in-step', 'away', 'away'], 'paused', /1 of 3 .*start h1, h2/],
  [['away', 'in-step', 'in-step'], 'paused', /primary h0 is away; nothing to do/],
  [['away', 'in-step', 'away'], 'paused', /1 of 3 .*start h0, h2/],
  [['in-step', 'away'], 'paused', /1 of 2/],
])('replicas %j make a volume %s and say what to do', (states, state, text) => {
  expect(healthOf(volumeOf(...states), new Map())).toMatchObject({ state, text: expect.stringMatching(text) })
})

test('a replica says by how much it is behind, and a node that is up is not to be started', () => {
  const volume = volumeOf('in-step', 'in-step', 'behind')
  const replicas = volume.replicas.map((each) => ({ ...each, behindBytes: 3 * 1024 ** 2 }))
  expect(healthOf({ ...volume, replicas }, new Map()).text).toMatch(/^behind: h2 by 3.00 MiB; nothing to do/)
  const paced = replicas.map((each) => ({ ...each, bytesPerSecond: 1024 ** 2, etaSeconds: 3 }))
  expect(healthOf({ ...volume, replicas: paced }, new Map()).text).toMatch(
    /^behind: h2 by 3.00 MiB, 1.00 MiB\/s, about 3 s yet; nothing/,
  )
  expect(healthOf(volumeOf('in-step', 'in-step', 'away'), new Map([['h2', 'up']])).text).toMatch(/is up/)
})

test('a replica whose stream is refused says why instead of what to hope for', () => {
  const refusal = { code: 'ERR_STREAM_VERSION', message: 'this engine speaks stream version 1' }
  for (const state of ['away', 'behind'] as const) {
    const volume = volumeOf('in-step', 'in-step', state)
    const replicas = volume.replicas.map((each) => ({ ...each, ...(each.host === 'h2' && { refusal }) }))
    const { text } = healthOf({ ...volume, replicas }, new Map([['h2', 'up']]))
    expect(text).toBe(
      `${state}: h2; h2 does not follow: ERR_STREAM_VERSION: this engine speaks stream version 1`,
    )
  }
  const volume = volumeOf('in-step', 'away', 'away')
  const replicas = volume.replicas.map((each) => ({ ...each, ...(each.host === 'h2' && { refusal }) }))
  expect(healthOf({ ...volume, replicas }, new Map()).text).toMatch(
    /^paused: 1 of 3 .*; h2 does not follow: ERR_STREAM_VERSION: .*; start h1$/,
  )
})

test('a volume that nobody leads is paused', () => {
  const volume = { ...volumeOf('in-step', 'in-step', 'in-step'), isServing: false }
  expect(healthOf(volume, new Map())).toMatchObject({ state: 'paused' })
})
