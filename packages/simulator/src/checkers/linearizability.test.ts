/** Goal: the checker finds what is planted, and nothing where nothing is. Method: histories written out by hand. */
import { expect, test } from 'vitest'
import { History, type HistoryOp } from '../history.js'
import { findFault } from './linearizability.js'

/** A history of units 0 to 7 of one block; every line is one request: when it began and ended, and what it was. */
class Story {
  readonly history = new History()
  #next = 1

  write(begun: number, ended: number, first = 0, count = 8): number {
    const value = this.#next++
    this.#end(this.history.write(value, first, count, value, begun), ended)
    return value
  }

  /** Never answered; it has happened by `lapses`, or never does. */
  lapsing(begun: number, lapses: number): number {
    const value = this.#next++
    this.history.write(value, 0, 8, value, begun).lapses = lapses
    return value
  }

  zero(begun: number, ended: number): void {
    this.#end(this.history.write(99, 0, 8, 0, begun), ended)
  }

  read(begun: number, ended: number, seen: number | readonly number[]): void {
    const list = typeof seen === 'number' ? Array.from({ length: 8 }, () => seen) : seen
    const op = this.history.read(7, 0, list.length, begun)
    op.seen = list
    this.#end(op, ended)
  }

  flush(begun: number, ended: number): void {
    this.history.flush(begun, ended)
  }

  lose(at: number): void {
    this.history.losses.push({ at })
  }

  /** @param held - of all units: the write that the one that goes on had applied */
  force(at: number, held: number): void {
    this.history.losses.push({ at, isForced: true, held: Array.from({ length: 8 }, () => held) })
  }

  get fault(): string | undefined {
    return findFault(this.history)?.what
  }

  #end(op: HistoryOp, ended: number): void {
    op.ended = ended
  }
}

function story(tell: (story: Story) => void): string | undefined {
  const one = new Story()
  tell(one)
  return one.fault
}

test('reads see what was written last', () => {
  expect(
    story((s) => {
      s.read(1, 2, 0)
      const first = s.write(3, 4)
      s.read(5, 6, first)
      s.zero(7, 8)
      s.read(9, 10, 0)
    }),
  ).toBeUndefined()
})

test('a stale read is found', () => {
  expect(
    story((s) => {
      const old = s.write(1, 2)
      s.write(3, 4)
      s.read(5, 6, old)
    }),
  ).toMatch(/^block 0: client 7 read /)
})

test('a lost write is found, though it was never read before', () => {
  expect(
    story((s) => {
      s.write(1, 2)
      s.read(3, 4, 0)
    }),
  ).toBeDefined()
})

test('requests at the same time take effect in either order, but in one', () => {
  const inOrder = (a: 'first' | 'second', b: 'first' | 'second') =>
    story((s) => {
      const values = { first: s.write(1, 10), second: s.write(2, 11) }
      s.read(12, 13, values[a])
      s.read(14, 15, values[b])
    })
  expect(inOrder('first', 'first')).toBeUndefined()
  expect(inOrder('second', 'second')).toBeUndefined()
  expect(inOrder('first', 'second')).toBeDefined()
})

test('once a read has seen a write that is under way, no later one sees what was before', () => {
  const after = (isSeen: boolean) =>
    story((s) => {
      const slow = s.write(1, 100)
      s.read(2, 3, slow)
      s.read(4, 5, isSeen ? slow : 0)
    })
  expect(after(true)).toBeUndefined()
  expect(after(false)).toBeDefined()
})

test('a write without an answer may happen late or never, but once', () => {
  const seen = (...reads: (0 | 1 | 2)[]) =>
    story((s) => {
      s.write(1, Infinity)
      s.write(2, 3)
      reads.forEach((value, index) => {
        s.read(10 + 2 * index, 11 + 2 * index, value)
      })
    })
  expect(seen(2, 2)).toBeUndefined()
  expect(seen(2, 1)).toBeUndefined()
  expect(seen(1, 2)).toBeDefined()
  expect(seen(2, 0)).toBeDefined()
})

test('what was overwritten does not come back', () => {
  expect(
    story((s) => {
      const unknown = s.write(1, Infinity)
      s.read(2, 3, unknown)
      const next = s.write(4, 5)
      s.read(6, 7, next)
      s.read(8, 9, unknown)
    }),
  ).toBeDefined()
})

test('zeros of unknown outcome explain zeros once', () => {
  const seen = (...reads: number[]) =>
    story((s) => {
      s.write(1, 2)
      s.zero(3, Infinity)
      s.read(4, 5, reads[0] ?? 0)
      s.write(6, 7)
      s.read(8, 9, reads[1] ?? 0)
    })
  expect(seen(0, 2)).toBeUndefined()
  expect(seen(1, 0)).toBeUndefined()
  expect(seen(0, 0)).toBeDefined()
})

test('a block is written as a whole: half of one write and half of another is found', () => {
  const halves = (first: number, second: number) => [
    first,
    first,
    first,
    first,
    second,
    second,
    second,
    second,
  ]
  expect(
    story((s) => {
      const a = s.write(1, 10)
      const b = s.write(2, 11)
      s.read(12, 13, halves(a, b))
    }),
  ).toBeDefined()
  expect(
    story((s) => {
      const a = s.write(1, 2)
      const b = s.write(3, 4, 4, 4)
      s.read(5, 6, halves(a, b))
    }),
  ).toBeUndefined()
})

test('where power was lost, what was flushed is there and what was not may be', () => {
  const after = (isFlushed: boolean, seen: number) =>
    story((s) => {
      s.write(1, 2)
      s.write(3, 4)
      if (isFlushed) s.flush(5, 6)
      s.lose(7)
      s.read(8, 9, seen)
      s.read(10, 11, seen)
    })
  expect(after(false, 2)).toBeUndefined()
  expect(after(false, 1)).toBeUndefined()
  expect(after(false, 0)).toBeUndefined()
  expect(after(true, 2)).toBeUndefined()
  expect(after(true, 1)).toBeDefined()
  expect(after(true, 0)).toBeDefined()
})

test('a flush brings nothing back that was lost before', () => {
  expect(
    story((s) => {
      s.write(1, 2)
      s.lose(3)
      s.flush(4, 5)
      s.lose(6)
      s.read(7, 8, 0)
    }),
  ).toBeUndefined()
})

test('what was lost stays lost once somebody has seen that', () => {
  expect(
    story((s) => {
      s.write(1, 2)
      s.lose(3)
      s.read(4, 5, 0)
      s.read(6, 7, 1)
    }),
  ).toBeDefined()
})

test('where a volume was forced, what was flushed may be gone, and nothing is older than what went on had', () => {
  const after = (held: number, seen: number) =>
    story((s) => {
      s.write(1, 2)
      s.write(3, 4)
      s.write(5, 6)
      s.flush(7, 8)
      s.force(9, held)
      s.read(10, 11, seen)
    })
  expect(after(2, 3)).toBeUndefined()
  expect(after(2, 2)).toBeUndefined()
  expect(after(2, 1)).toBeDefined()
  expect(after(2, 0)).toBeDefined()
  expect(after(3, 2)).toBeDefined()
})

test('without a loss every acknowledged write counts, flushed or not', () => {
  expect(
    story((s) => {
      s.write(1, 2)
      s.write(3, 4)
      s.read(5, 6, 1)
    }),
  ).toBeDefined()
})

test('what was asked in a session that was taken away may have happened before that', () => {
  expect(
    story((s) => {
      const first = s.write(1, 2)
      const taken = s.lapsing(3, 6)
      s.read(4, 5, first)
      s.read(7, 8, taken)
    }),
  ).toBeUndefined()
})

test('what was asked in a session that was taken away is found if it happens behind that', () => {
  expect(
    story((s) => {
      const first = s.write(1, 2)
      const taken = s.lapsing(3, 4)
      s.read(5, 6, first)
      s.read(7, 8, taken)
    }),
  ).toMatch(/cannot be/)
})

test('a request that is answered behind the taking away of its session happened before that', () => {
  const tell = (end: number) => (s: Story) => {
    const first = s.write(1, 2)
    const late = s.write(3, end)
    s.history.ops[1]!.lapses = 5
    s.read(6, 7, end === Infinity ? first : late)
    s.read(10, 11, late)
  }
  expect(story(tell(9))).toBeUndefined()
  expect(story(tell(Infinity))).toMatch(/cannot be/)
})

test('a retried request that is applied once more, over what was written since, is found', () => {
  expect(
    story((s) => {
      const retried = s.write(1, 10)
      s.read(2, 3, retried)
      const other = s.write(4, 5)
      s.read(6, 7, other)
      s.read(8, 9, retried)
    }),
  ).toMatch(/cannot be/)
})
