import { expect, test } from 'vitest'
import { JoinedSignal } from './joined-signal.js'

test('it ends with the first of its sources, for the same reason, and by itself', () => {
  const [one, other] = [new AbortController(), new AbortController()]
  using joined = new JoinedSignal([one.signal, undefined, other.signal])
  expect(joined.signal.aborted).toBe(false)
  other.abort(new Error('enough'))
  expect(joined.signal.reason).toEqual(new Error('enough'))
  using late = new JoinedSignal([other.signal])
  expect(late.signal.reason).toEqual(new Error('enough'))
  using own = new JoinedSignal([one.signal])
  own.abort(new Error('by itself'))
  expect(own.signal.reason).toEqual(new Error('by itself'))
  expect(one.signal.aborted).toBe(false)
})

test('one that has let go hears nothing any more', () => {
  const source = new AbortController()
  const joined = new JoinedSignal([source.signal])
  joined[Symbol.dispose]()
  source.abort()
  expect(joined.signal.aborted).toBe(false)
})
