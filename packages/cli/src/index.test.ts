import { expect, test, vi } from 'vitest'
import { main } from './index.js'

test('a verb that does not exist yet fails and says so on stderr', () => {
  const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  expect(main(['ls'])).toBe(1)
  expect(write.mock.calls.join()).toMatch(/not built yet/)
  write.mockRestore()
})
