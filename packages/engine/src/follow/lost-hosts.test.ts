import { expect, it } from 'vitest'
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
  const lost = new LostHosts()
  const stop = new AbortController()
  const many = Array.from({ length: 100 }, () => lost.pause('a', 60_000, stop.signal))
  const beganMs = performance.now()
  await lost.pause('a', 1, never)
  expect(performance.now() - beganMs).toBeGreaterThan(500)
  stop.abort()
  await Promise.all(many)
  const againMs = performance.now()
  await lost.pause('a', 1, never)
  expect(performance.now() - againMs).toBeLessThan(500)
})
