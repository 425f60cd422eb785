import type { Answer } from '@cloudfs/http'
import { expect, test } from 'vitest'
import { healthOf } from './health.js'

type Volume = Answer<'volume'>
type State = Volume['replicas'][number]['state']

const volumeOf = (...states: State[]): Volume =>
  ({
    volume: 'v',
    name: 'n',
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
  [['away', 'in-step', 'in-step'], 'paused', /primary h0 is away/],
  [['in-step', 'away'], 'paused', /1 of 2/],
])('replicas %j make a volume %s and say what to do', (states, state, text) => {
  expect(healthOf(volumeOf(...states))).toMatchObject({ state, text: expect.stringMatching(text) })
})
