import { expect, test } from 'vitest'
import { putBetweenMarks } from './page.js'

const page = `# Performance

By hand, before.

<!-- figures: steady -->

old

<!-- end of figures -->

By hand, between.

<!-- figures: scale -->
<!-- end of figures -->

By hand, behind.
`

test('what is written by hand stays, figures of one part are put in place of older ones', () => {
  const once = putBetweenMarks(page, 'steady', 'new')
  expect(once).toBe(page.replace('old', 'new'))
  expect(putBetweenMarks(once, 'steady', 'new')).toBe(once)
})

test('a part that was empty is filled, and no other', () => {
  const filled = putBetweenMarks(page, 'scale', '| 1 |')
  expect(filled).toContain('<!-- figures: scale -->\n\n| 1 |\n\n<!-- end of figures -->\n\nBy hand, behind.')
  expect(filled).toContain('old')
})

test('a page without the marks of a part, or with two of them, is refused', () => {
  expect(() => putBetweenMarks(page, 'volumes', '')).toThrow('figures: volumes')
  expect(() => putBetweenMarks(page + page, 'scale', '')).toThrow('figures: scale')
  expect(() => putBetweenMarks('<!-- figures: io -->', 'io', '')).toThrow('end of figures')
})
