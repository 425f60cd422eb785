import { streamPair } from '@libp2p/utils'
import { expect, test } from 'vitest'
import { encodeFrame, FrameStream } from './frame.js'

const BODY_BYTES_MAX = 1024 ** 2
const never = new AbortController().signal

async function pair(): Promise<{ writer: FrameStream; reader: FrameStream; writes: number[] }> {
  const [out, into] = await streamPair()
  const writes: number[] = []
  const send = out.send.bind(out)
  out.send = (data) => {
    writes.push(data.byteLength)
    return send(data)
  }
  return {
    writer: new FrameStream(out, BODY_BYTES_MAX),
    reader: new FrameStream(into, BODY_BYTES_MAX),
    writes,
  }
}

const frame = (id: number, bytes: number): Uint8Array =>
  encodeFrame({ id, name: 'test/echo', body: { message: new Uint8Array(bytes) } }, BODY_BYTES_MAX)

test('frames of one turn leave in one write, in order, and are read one by one', async () => {
  const { writer, reader, writes } = await pair()
  await Promise.all(Array.from({ length: 50 }, (_, id) => writer.write(frame(id, 100), never)))
  expect(writes).toHaveLength(1)
  for (let id = 0; id < 50; id++) expect((await reader.read()).id).toBe(id)
})

test('of long frames no more leave together than the bound says', async () => {
  const { writer, reader, writes } = await pair()
  const written = Promise.all(Array.from({ length: 5 }, (_, id) => writer.write(frame(id, 40_000), never)))
  for (let id = 0; id < 5; id++) expect((await reader.read()).id).toBe(id)
  await written
  expect(writes).toHaveLength(5)
})

test('a frame that was given up before its turn is left out, those beside it leave', async () => {
  const { writer, reader } = await pair()
  const given = new AbortController()
  const all = [0, 1, 2].map((id) => writer.write(frame(id, 10), id === 1 ? given.signal : never))
  given.abort(new Error('too late'))
  expect((await Promise.allSettled(all)).map(({ status }) => status)).toEqual([
    'fulfilled',
    'rejected',
    'fulfilled',
  ])
  expect([(await reader.read()).id, (await reader.read()).id]).toEqual([0, 2])
})

test('one of several that is given up while they leave is told so, and the stream goes on', async () => {
  const [out, into] = await streamPair()
  const send = out.send.bind(out)
  // It takes the bytes, and wants no more before it says so.
  const taken = new Promise<void>((resolve) => {
    out.send = (data) => {
      send(data)
      resolve()
      return false
    }
  })
  const writer = new FrameStream(out, BODY_BYTES_MAX)
  const reader = new FrameStream(into, BODY_BYTES_MAX)
  const given = new AbortController()
  const all = [0, 1].map((id) => writer.write(frame(id, 100), id === 0 ? given.signal : never))
  await taken
  given.abort(new Error('too late'))
  await expect(all[0]).rejects.toThrow('too late')
  out.send = send
  out.dispatchEvent(new Event('drain'))
  await all[1]
  await writer.write(frame(2, 10), never)
  for (let id = 0; id < 3; id++) expect((await reader.read()).id).toBe(id)
})
