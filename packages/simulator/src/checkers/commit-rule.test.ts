import { VolumeId } from '@cloudfs/interface'
import { expect, test } from 'vitest'
import { CommitRule } from './commit-rule.js'

const volume = VolumeId.parse('01'.repeat(20))

test('what one follower of two has is committed with its primary, and what none has is not', () => {
  const rule = new CommitRule([0, 1, 2])
  rule.onAck(volume, 'e', 1, 7, 5)
  expect(rule.onCommit(volume, 'quorum', 7)).toBeUndefined()
  expect(rule.onCommit(volume, 'quorum', 8)).toMatch(/update 8 .* 0 followers of 1/)
})

test('durable updates are those that are synced', () => {
  const rule = new CommitRule([0, 1, 2])
  rule.onAck(volume, 'e', 1, 7, 5)
  expect(rule.onCommit(volume, 'durable', 5)).toBeUndefined()
  expect(rule.onCommit(volume, 'durable', 6)).toBeDefined()
})

test('of five hosts two followers have to have it, of two the one', () => {
  const five = new CommitRule([0, 1, 2, 3, 4])
  five.onAck(volume, 'e', 1, 7, 7)
  expect(five.onCommit(volume, 'quorum', 7)).toBeDefined()
  five.onAck(volume, 'e', 3, 7, 7)
  expect(five.onCommit(volume, 'quorum', 7)).toBeUndefined()
  expect(new CommitRule([0, 1]).onCommit(volume, 'quorum', 2)).toBeDefined()
})

test('in mode local, and alone, the primary needs nobody', () => {
  expect(new CommitRule([0, 1, 2]).onCommit(volume, 'local', 9)).toBeUndefined()
  expect(new CommitRule([0]).onCommit(volume, 'durable', 9)).toBeUndefined()
})

test('copies of old updates count once their holders have the record of the new view, and what was committed stays so', () => {
  const rule = new CommitRule([0, 1, 2])
  rule.onElected(volume, 'f', { leader: 0, viewLsn: 8, before: 'e' })
  rule.onAck(volume, 'f', 1, 7, 7)
  expect(rule.onCommit(volume, 'quorum', 7)).toBeDefined()
  rule.onAck(volume, 'f', 1, 8, 8)
  expect(rule.onCommit(volume, 'quorum', 7)).toBeUndefined()
  rule.lose(volume, 6)
  expect(rule.onCommit(volume, 'quorum', 7)).toBeDefined()
})

test('until the change of a set is committed both sets have to have it, and then the new one', () => {
  const rule = new CommitRule([0, 1, 2])
  rule.onAck(volume, 'e', 1, 7, 7)
  rule.onElected(volume, 'f', { leader: 0, viewLsn: 8, before: 'e' })
  rule.onView(volume, 'f', [0, 1, 3])
  rule.onAck(volume, 'f', 3, 9, 9)
  expect(rule.onCommit(volume, 'quorum', 8)).toMatch(/0 followers of 1/)
  rule.onAck(volume, 'f', 2, 8, 8)
  expect(rule.onCommit(volume, 'quorum', 9)).toBeUndefined()
  rule.onAck(volume, 'f', 2, 10, 10)
  expect(rule.onCommit(volume, 'quorum', 10)).toBeDefined()
})

test('a change that was cut short has a say in the next view', () => {
  const rule = new CommitRule([0, 1, 2])
  rule.onAck(volume, 'e', 1, 7, 7)
  rule.onElected(volume, 'f', { leader: 0, viewLsn: 8, before: 'e' })
  rule.onView(volume, 'f', [0, 1, 3])
  rule.onElected(volume, 'g', { leader: 3, viewLsn: 9, before: 'f' })
  rule.onView(volume, 'g', [0, 1, 3])
  rule.onAck(volume, 'g', 1, 9, 9)
  expect(rule.onCommit(volume, 'quorum', 9)).toMatch(/1 followers of 2/)
  rule.onAck(volume, 'g', 2, 9, 9)
  expect(rule.onCommit(volume, 'quorum', 9)).toBeUndefined()
})

test('a witness counts for what all data members have, and for views that nothing else precedes', () => {
  const rule = new CommitRule([0, 1, 2], 2)
  rule.onAck(volume, 'e', 2, 7, 7)
  expect(rule.onCommit(volume, 'quorum', 7)).toMatch(/0 followers of 1/)
  rule.onAck(volume, 'e', 1, 5, 5)
  expect(rule.onCommit(volume, 'quorum', 5)).toBeUndefined()
  rule.onElected(volume, 'f', { leader: 0, viewLsn: 6, before: 'e' })
  rule.onAck(volume, 'f', 2, 9, 9)
  expect(rule.onCommit(volume, 'quorum', 7)).toBeDefined()
  expect(rule.onCommit(volume, 'quorum', 6)).toBeUndefined()
  rule.onElected(volume, 'g', { leader: 0, viewLsn: 8, before: 'f' })
  rule.onView(volume, 'g', [0, 2])
  rule.onAck(volume, 'g', 2, 9, 9)
  expect(rule.onCommit(volume, 'quorum', 9)).toBeUndefined()
})
