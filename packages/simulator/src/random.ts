/** Chance from a seed: everything that a simulation draws comes from here, so that a seed is a whole run. */

/** Gives numbers from 0 to 1, always the same from one seed. */
export type Random = () => number

/** A generator of numbers from a seed (mulberry32). `purpose` keeps what is drawn for one thing apart from all else. */
export function randomFrom(seed: number, purpose = ''): Random {
  let state = seed >>> 0
  for (let index = 0; index < purpose.length; index++)
    state = Math.imul(state ^ purpose.charCodeAt(index), 0x01000193) >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

export function chance(random: Random, share: number): boolean {
  return random() < share
}

/** An integer from 0 on. */
export function below(random: Random, count: number): number {
  return Math.floor(random() * count)
}

export function within(random: Random, min: number, max: number): number {
  return min + Math.floor(random() * (max - min))
}

/** Small values are as likely as great ones are, by orders of magnitude. */
export function spread(random: Random, min: number, max: number): number {
  return Math.floor(min * (max / min) ** random())
}

export function pick<T>(random: Random, list: readonly T[]): T {
  const one = list[below(random, list.length)]
  if (one === undefined) throw new Error('nothing to pick from')
  return one
}
