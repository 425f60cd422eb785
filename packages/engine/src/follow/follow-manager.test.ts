import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HostId, StoreId, VolumeId } from '@cloudfs/interface'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { RunningStream } from '../adopted-streams.js'
import { UPGRADE_RECORDS } from '../http-protocols.js'
import type { StoreService } from '../store-service.js'
import { FollowManager } from './follow-manager.js'
import { readFollows, writeFollows } from './follows-file.js'

const STORE = StoreId.parse('4'.repeat(40))
/** It has nothing that could be followed. */
const none: Partial<StoreService> = { status: { path: '/nowhere', store: STORE, state: 'ready' } }
const store = none as StoreService
const told = {
  volume: VolumeId.parse('1'.repeat(40)),
  leader: HostId.parse('2'.repeat(40)),
  address: '127.0.0.1:2',
  key: '3'.repeat(64),
}

let directory: string
let path: string
let follows: FollowManager

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cloudfs-follows-'))
  path = join(directory, 'follows.json')
  follows = new FollowManager({ path, stores: [store], log: pino({ level: 'silent' }) })
})
afterEach(async () => {
  await follows.close()
  rmSync(directory, { recursive: true })
})

test('what the engine was told before it goes on with what it remembers stays, as the only stream of its volume', async () => {
  await follows.follow(store, told)
  await writeFollows(path, [{ ...told, address: '127.0.0.1:1', store: STORE }])
  follows.resume()
  expect(follows.status.map(({ address }) => address)).toEqual([told.address])
})

test('nothing is followed any more once the engine stops: it would never end', async () => {
  await follows.close()
  await expect(follows.follow(store, told)).rejects.toThrow('the engine stops')
  expect(follows.status).toEqual([])
})

test('of many volumes that come to be followed together the last is remembered as well', async () => {
  const all = Array.from({ length: 50 }, (_, at) => ({
    ...told,
    volume: VolumeId.parse(at.toString(16).padStart(40, '0')),
  }))
  await Promise.all(all.map((each) => follows.follow(store, each)))
  expect(readFollows(path).map(({ volume }) => volume)).toEqual(all.map(({ volume }) => volume))
  await Promise.all(all.slice(1).map(({ volume }) => follows.unfollow(volume)))
  expect(readFollows(path).map(({ volume }) => volume)).toEqual([all[0]?.volume])
})

describe('a host that is about to lead', () => {
  /** It answers, and says nothing behind that. */
  const server = createServer().on('upgrade', (_, socket) => {
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: ${UPGRADE_RECORDS}\r\nConnection: Upgrade\r\n\r\n`,
    )
  })
  const running = (): RunningStream => {
    let end = (): void => undefined
    const ended = new Promise<undefined>((resolve) => {
      end = () => {
        resolve(undefined)
      }
    })
    return {
      ended,
      close: () => {
        end()
      },
    }
  }
  const begin = async () => {
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve)
    })
    let letIn = (): void => undefined
    /** `isNext` of each connection that came. */
    const adopted: boolean[] = []
    const waiting: Partial<StoreService> = {
      status: { path: '/nowhere', store: STORE, state: 'ready', host: told.leader },
      command: (() => Promise.resolve({ result: [] })) as unknown as StoreService['command'],
      adopt: (stream) => {
        const isNext = 'isNext' in stream && stream.isNext
        adopted.push(isNext)
        if (!isNext) return Promise.resolve(running())
        return new Promise((resolve) => {
          letIn = () => {
            resolve(running())
          }
        })
      },
      followNow: () => {
        letIn()
      },
    }
    const { port } = server.address() as AddressInfo
    const wanted = { ...told, address: `127.0.0.1:${String(port)}` }
    return { waiting: waiting as StoreService, wanted, adopted }
  }
  const isConnected = () =>
    vi.waitFor(() => {
      expect(follows.status.map(({ state }) => state)).toEqual(['connected'])
    })
  afterEach(() => {
    server.close()
    server.closeAllConnections()
  })

  test('and was elected, without a word, is followed: it may lack something that it waits for', async () => {
    const { waiting, wanted, adopted } = await begin()
    follows.followNext(waiting, wanted)
    await vi.waitFor(() => {
      expect(adopted).toEqual([true])
    })
    expect(follows.status).toEqual([])
    await follows.follow(waiting, wanted)
    await isConnected()
    expect(adopted).toEqual([true])
  })

  test('and is elected before there is a connection is not waited for when there is', async () => {
    const { waiting, wanted, adopted } = await begin()
    follows.followNext(waiting, wanted)
    await follows.follow(waiting, wanted)
    await isConnected()
    expect(adopted).toEqual([false])
  })
})
