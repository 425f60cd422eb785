/** Goal: a log that cannot be written ends nobody, and goes on when it can. Method: a stream that fails when told to. */
import { EventEmitter } from 'node:events'
import { expect, test } from 'vitest'
import { outliveFailures } from './log-stream.js'

class Stream extends EventEmitter {
  isFull = true
  readonly #waiting: string[] = []
  written = ''
  flushes = 0

  write(text: string): void {
    this.#waiting.push(text)
    if (this.isFull) this.emit('error', new Error('no space'))
    else {
      this.written += this.#waiting.splice(0).join('')
      this.emit('write')
    }
  }

  flushSync(): void {
    this.flushes++
  }
}

test('a line that cannot be written is tried again, once at a time, and written when there is room', () => {
  const later: (() => void)[] = []
  const stream = outliveFailures(new Stream(), (act) => later.push(act))
  stream.write('one ')
  stream.write('two ')
  expect(later).toHaveLength(1)
  later.shift()?.()
  expect(later).toHaveLength(1)
  stream.isFull = false
  later.shift()?.()
  expect([stream.written, later.length]).toEqual(['one two ', 0])
})

test('the end does not wait for a log that fails, and does for one that does not', () => {
  const stream = outliveFailures(new Stream(), () => undefined)
  stream.write('one ')
  stream.flushSync()
  expect(stream.flushes).toBe(0)
  stream.isFull = false
  stream.write('two ')
  stream.flushSync()
  expect(stream.flushes).toBe(1)
})
