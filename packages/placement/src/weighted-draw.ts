/** One of several things, drawn with chances in proportion to their weights. */
import assert from 'node:assert'

/** A number from 0 (included) to 1 (excluded), evenly spread: `Math.random` in production, seeded in tests. */
export type Random = () => number

/**
 * Draws one item. Each chance is its weight's part of the sum; repeated without the item drawn this is weighted sampling
 * without replacement. Free room as weight fills hosts evenly in proportion, and two hosts that place at the same moment
 * on the same facts do not both pick the emptiest one.
 *
 * @param weightOf - positive and finite
 */
export function weightedDraw<Item>(
  items: readonly Item[],
  weightOf: (item: Item) => number,
  random: Random,
): Item {
  const sum = items.reduce((total, item) => total + weightOf(item), 0)
  assert(Number.isFinite(sum) && items.every((item) => weightOf(item) > 0), 'weights are positive and finite')
  let left = random() * sum
  for (const item of items) {
    left -= weightOf(item)
    if (left < 0) return item
  }
  // Rounding can leave a crumb behind the last item.
  const last = items.at(-1)
  assert(last !== undefined, 'there is something to draw from')
  return last
}
