/** Goal: what comes on a socket that was given up stays in the kernel, for whoever takes the descriptor. */
import { once } from 'node:events'
import { createServer, request } from 'node:http'
import { type AddressInfo, Socket } from 'node:net'
import { expect, test } from 'vitest'
import { stopReading } from './surrender-socket.js'

test('Node reads nothing from a socket that it gave up, at either end, however long nobody takes it', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const headers = { Connection: 'Upgrade', Upgrade: 'bytes' }
  const asked = request({ port, host: '127.0.0.1', agent: false, headers })
  const ends: Socket[] = []
  const takeOver = (socket: unknown): void => {
    if (!(socket instanceof Socket)) throw new Error('no socket')
    stopReading(socket)
    ends.push(socket)
  }
  server.once('upgrade', (_, socket) => {
    takeOver(socket)
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: bytes\r\n\r\n')
  })
  asked.once('upgrade', (_, socket) => {
    takeOver(socket)
  })
  asked.end()
  await once(asked, 'upgrade')
  // What a stream does by itself in later ticks has happened once answers have gone to and fro.
  const plain = (): Promise<Response> => fetch(`http://127.0.0.1:${port}/`)
  server.on('request', (_, response) => response.end('ok'))
  await (await plain()).text()
  const read = ends.map((end) => end.bytesRead)
  for (const end of ends) await new Promise((resolve) => end.write('for somebody else', resolve))
  await (await plain()).text()
  expect(ends).toHaveLength(2)
  expect(ends.map((end) => end.bytesRead)).toEqual(read)
  for (const end of ends) end.destroy()
  server.closeAllConnections()
  server.close()
})
