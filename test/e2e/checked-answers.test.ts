/** Answers under `/v1` that are not as the node's OpenAPI document says: no test may take them for right. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { openApiDocument } from '@cloudfs/http'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { runTool } from './support/run-tool.js'

const answers: Readonly<Record<string, readonly [number, string]>> = {
  '/v1/openapi.json': [200, JSON.stringify(openApiDocument('1'))],
  '/v1/nodes': [200, '[]'],
  '/v1/volumes': [200, '[{"volume":"none"}]'],
  '/v1/node': [500, '{"code":"ERR_INTERNAL","message":"a bug"}'],
  '/v1/status': [418, '{"message":"no code"}'],
  '/v1/attachments': [202, '[]'],
  '/v1/elsewhere': [404, '<html>'],
}

let server: Server
let url: string
beforeAll(async () => {
  server = createServer((request, response) => {
    const [status, body] = answers[request.url ?? ''] ?? [404, '{}']
    response.writeHead(status, { 'content-type': 'application/json' }).end(body)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`
})
afterAll(() => server.close())

test('what the document says passes, an error with a code too', async () => {
  expect(await (await fetch(`${url}/v1/nodes`)).json()).toEqual([])
  expect((await fetch(`${url}/v1/node`)).status).toBe(500)
})

test.each([
  ['a field that is missing', '/v1/volumes', /required property/],
  ['an error without a code', '/v1/status', /required property 'code'/],
  ['a status that is not there', '/v1/attachments', /status 202/],
  ['no JSON', '/v1/elsewhere', /not JSON/],
])('%s fails the test', async (_, path, why) => {
  await expect(fetch(`${url}${path}`)).rejects.toThrow(why)
})

test('a program that a test starts ends when it gets such an answer', async () => {
  const ask = `await fetch(process.argv[1]).catch(() => 0)`
  await runTool(process.execPath, '--input-type=module', '-e', ask, `${url}/v1/nodes`)
  await expect(
    runTool(process.execPath, '--input-type=module', '-e', ask, `${url}/v1/volumes`),
  ).rejects.toThrow(/ended with 70\n[^]*GET \/v1\/volumes was answered otherwise/)
})
