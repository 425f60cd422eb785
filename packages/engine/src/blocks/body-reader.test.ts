/** Against a real server of Node's: what a reader meets is what sockets do. */
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { BodyReader } from './body-reader.js'

const server = createServer()
const broken: unknown = expect.objectContaining({ code: 'ERR_HTTP_BODY' })
let client: Socket

beforeEach(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  client = connect((server.address() as AddressInfo).port, '127.0.0.1')
})

afterEach(async () => {
  client.destroy()
  server.closeAllConnections()
  server.close()
  await once(server, 'close')
})

async function requestWith(headers: string, body: string): Promise<IncomingMessage> {
  const asked = once(server, 'request') as Promise<[IncomingMessage]>
  client.write(`PUT / HTTP/1.1\r\nHost: x\r\n${headers}\r\n\r\n${body}`)
  return (await asked)[0]
}

test('a body is taken in the portions asked for, and fewer bytes come where it ends', async () => {
  const reader = new BodyReader(await requestWith('Content-Length: 10', '0123'))
  const taken = [await reader.take(3)]
  client.write('456789')
  taken.push(await reader.take(5), await reader.take(5), await reader.take(1))
  expect(taken.map(String)).toEqual(['012', '34567', '89', ''])
  reader.close()
})

test('a body that does not come is an error when its time is over', async () => {
  const reader = new BodyReader(await requestWith('Content-Length: 10', '0123'), 20)
  await expect(reader.take(5)).rejects.toThrow(broken)
})

test('so is one whose client hangs up', async () => {
  const reader = new BodyReader(await requestWith('Content-Length: 10', '0123'))
  const refused = expect(reader.take(5)).rejects.toThrow(broken)
  client.destroy()
  await refused
})

test('no more is read than is taken, but for what buffers hold', async () => {
  const bytes = 64 * 1024 * 1024
  const request = await requestWith(`Content-Length: ${String(bytes)}`, '')
  const reader = new BodyReader(request)
  client.write(Buffer.alloc(bytes))
  await reader.take(1024)
  // The client's end fills up: the kernel takes no more.
  let before = 0
  await expect
    .poll(() => {
      const more = request.socket.bytesRead - before
      before += more
      return more
    })
    .toBe(0)
  expect(request.socket.bytesRead).toBeLessThan(1024 * 1024)
  expect(client.writableLength).toBeGreaterThan(bytes / 2)
  expect((await reader.take(bytes)).length).toBe(bytes - 1024)
})
