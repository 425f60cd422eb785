import { setMaxListeners } from 'node:events'
import { expect, it, vi } from 'vitest'
import { LostHosts } from './lost-hosts.js'

const never = new AbortController().signal

it('one that gets through wakes all that wait for the same host, and nobody else', async () => {
  const lost = new LostHosts()
  const ended: string[] = []
  const stop = new AbortController()
  const pauses = ['a', 'a', 'b'].map((address) =>
    lost.pause(address, 60_000, stop.signal).then(() => ended.push(address)),
  )
  lost.found('a')
  await Promise.all(pauses.slice(0, 2))
  expect(ended).toEqual(['a', 'a'])
  stop.abort()
  await Promise.all(pauses)
})

it('the more volumes wait for a host, the longer each waits', async () => {
  vi.useFakeTimers()
  try {
    const lost = new LostHosts()
    const stop = new AbortController()
    setMaxListeners(0, stop.signal)
    const many = Array.from({ length: 100 }, () => lost.pause('a', 60_000, stop.signal))
    const slow = lost.pause('a', 1, never)
    expect(vi.getTimerCount()).toBe(101)
    await vi.advanceTimersByTimeAsync(999)
    expect(vi.getTimerCount()).toBe(101)
    await vi.advanceTimersByTimeAsync(1)
    await slow
    stop.abort()
    await Promise.all(many)
    expect(vi.getTimerCount()).toBe(0)
    const alone = lost.pause('a', 1, never)
    await vi.advanceTimersByTimeAsync(1)
    await alone
  } finally {
    vi.useRealTimers()
  }
})
