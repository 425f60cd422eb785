import { expect, test } from 'vitest'
import { progressText } from './evacuate.js'

const host = 'a'.repeat(40)
const volumes: Parameters<typeof progressText>[1]['volumes'] = ['1', '2', '3', '4'].map((digit) => ({
  volume: digit.repeat(40),
  name: '',
  state: 'waits' as const,
  isLed: false,
}))
const begun = { host, isUp: true, isLeaving: true, isEmpty: false, volumes, attached: [], silent: [] }

test('the progress of an evacuation says what is done, on the way and behind, and what cannot go', () => {
  expect(progressText(begun, begun)).toBe('0 of 4 volumes gone')
  const news = [
    { state: 'moves' as const, behindBytes: 3 * 1024 ** 2 },
    { state: 'drops' as const },
    { problem: { code: 'ERR_TOO_FEW_HOSTS', message: '' } },
  ]
  const now = volumes.slice(1).map((each, index) => ({ ...each, ...news[index] }))
  expect(progressText(begun, { ...begun, volumes: now })).toBe(
    '1 of 4 volumes gone; 1 on the way, 3.00 MiB behind; 1 to be dropped; 1 cannot go yet',
  )
  expect(progressText({ ...begun, volumes: [] }, { ...begun, volumes: now })).toContain('0 of 3 volumes gone')
})
