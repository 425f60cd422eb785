import { expect, test } from 'vitest'
import { withResolvers } from './promise-with-resolvers.js'

test('a promise is settled from outside, as on Node 22', async () => {
  expect(Promise).toHaveProperty('withResolvers')
  const won = withResolvers.call(Promise)
  won.resolve(7)
  await expect(won.promise).resolves.toBe(7)
  const lost = withResolvers.call(Promise)
  lost.reject(new Error('no'))
  await expect(lost.promise).rejects.toThrow('no')
})
