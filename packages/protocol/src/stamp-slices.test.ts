import { createHash } from 'node:crypto'
import { ed25519 } from '@noble/curves/ed25519.js'
import { decodeView, encodeView, type MemberRole } from '@cloudfs/format'
import { type Epoch, HostId, StampHash, StoreId } from '@cloudfs/interface'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  isVoter,
  majorityOf,
  newView,
  openSlice,
  recoverStamp,
  SLICE_BYTES,
  stampHashOf,
  type ViewPlan,
} from './index.js'

const id = (number: number) => number.toString(16).padStart(40, '0')
const seedOf = (index: number) => new Uint8Array(32).fill(index + 1)
const epoch: Epoch = { counter: 7, host: HostId.parse(id(1)) }
const nonce = new Uint8Array(16).fill(5)

/** Counts up: different at each call, the same in each run. */
function counting(start = 1) {
  let next = start
  return (count: number) => Uint8Array.from({ length: count }, () => (next = (next * 167 + 13) % 251))
}

function planOf(roles: readonly MemberRole[], changes: Partial<ViewPlan> = {}): ViewPlan {
  const members = roles.map((role, index) => ({
    host: HostId.parse(id(index + 1)),
    store: StoreId.parse(id(index + 100)),
    role,
    publicKey: ed25519.getPublicKey(seedOf(index)),
  }))
  return { nonce, epoch, primary: HostId.parse(id(1)), members, ...changes }
}

/** A view whose payload went through its bytes, and what each voter opens of it. */
function makeView(roles: readonly MemberRole[], changes: Partial<ViewPlan> = {}, start = 1) {
  const plan = planOf(roles, changes)
  const { stamp, payload } = newView(plan, counting(start))
  const view = decodeView(encodeView(payload))
  const open = () =>
    view.members.flatMap((member, index) =>
      isVoter(member) ? [openSlice(plan, view, member, seedOf(index))] : [],
    )
  return { plan, stamp, view, open }
}

const roles = fc
  .array(fc.constantFrom<MemberRole>('data', 'data', 'witness', 'learner'), { maxLength: 6 })
  .map((rest): MemberRole[] => ['data', ...rest])

test('any majority of the voters recovers the stamp, and fewer are refused', () => {
  fc.assert(
    fc.property(roles, fc.nat(250), fc.infiniteStream(fc.nat()), (given, start, ranks) => {
      const { plan, stamp, view, open } = makeView(given, {}, start)
      const slices = open()
        .map((slice) => ({ slice, rank: Number(ranks.next().value) }))
        .sort((a, b) => a.rank - b.rank)
        .map((each) => each.slice)
      const needed = majorityOf(slices.length)
      for (let count = 0; count <= slices.length; count++) {
        const recover = () => recoverStamp(plan, view, slices.slice(0, count))
        if (count >= needed) expect(recover()).toBe(stamp)
        else expect(recover).toThrow(expect.objectContaining({ code: 'ERR_SLICES_TOO_FEW' }))
      }
    }),
    { numRuns: 30 },
  )
})

test('a learner gets no slice, a witness does', () => {
  const { view } = makeView(['data', 'witness', 'learner'])
  expect(view.members.map((member) => member.slice.length)).toEqual([SLICE_BYTES, SLICE_BYTES, 0])
})

test('a view of one is its own majority', () => {
  const { plan, stamp, view, open } = makeView(['data'])
  expect(recoverStamp(plan, view, open())).toBe(stamp)
})

test('the bytes of a slice are frozen', () => {
  const { view } = makeView(['data', 'data', 'data'])
  const digest = createHash('sha256')
  for (const member of view.members) digest.update(member.slice)
  expect(digest.digest('hex')).toBe('ac701710a5426366336a26c3c217fb68009550ca4a82502612bb718185234a06')
})

describe('slices that are not right are told apart', () => {
  const { plan, view, open } = makeView(['data', 'data', 'data'])
  const slices = open()
  const [first, second, third] = slices as [(typeof slices)[0], (typeof slices)[0], (typeof slices)[0]]
  const wrong = (host: string): unknown =>
    expect.objectContaining({ code: 'ERR_SLICE_WRONG', details: expect.objectContaining({ host }) })

  test('a changed byte, and the host that gave it is named', () => {
    const bad = { ...second, share: second.share.with(3, second.share[3]! ^ 1) }
    expect(() => recoverStamp(plan, view, [first, bad])).toThrow(wrong(second.host))
  })

  test('a slice of another length', () => {
    expect(() => recoverStamp(plan, view, [first, { ...second, share: new Uint8Array(31) }])).toThrow(
      wrong(second.host),
    )
  })

  test("another member's slice under one's own name", () => {
    expect(() => recoverStamp(plan, view, [first, { ...second, share: third.share }])).toThrow(
      wrong(second.host),
    )
  })

  test('a slice of an earlier view of the same members', () => {
    const earlier = makeView(['data', 'data', 'data'], { epoch: { ...epoch, counter: 6 } }, 2).open()
    expect(() => recoverStamp(plan, view, [first, earlier[1]!])).toThrow(wrong(second.host))
  })

  test('a wrong slice even where a majority of right ones is there without it', () => {
    expect(() => recoverStamp(plan, view, [first, second, { ...third, share: first.share }])).toThrow(
      wrong(third.host),
    )
  })

  test('a host, or a store of a member host, that is no member', () => {
    const host = HostId.parse(id(9))
    expect(() => recoverStamp(plan, view, [first, { ...second, host }])).toThrow(wrong(host))
    const store = StoreId.parse(id(9))
    expect(() => recoverStamp(plan, view, [first, { ...second, store }])).toThrow(wrong(second.host))
  })

  test('two slices of one member', () => {
    expect(() => recoverStamp(plan, view, [first, first])).toThrow(
      expect.objectContaining({ code: 'ERR_SLICE_DUPLICATE' }),
    )
  })

  test("a learner's", () => {
    const other = makeView(['data', 'data', 'learner'])
    expect(() => recoverStamp(other.plan, other.view, [{ ...third }])).toThrow(wrong(third.host))
  })
})

test('a slice opens for its own host, in its own view and epoch, alone', () => {
  const { plan, view } = makeView(['data', 'data', 'data'])
  const [own] = view.members
  const shut = expect.objectContaining({ code: 'ERR_SEAL_BROKEN' })
  expect(() => openSlice(plan, view, own!, seedOf(1))).toThrow(shut)
  expect(() => openSlice({ ...plan, epoch: { ...epoch, counter: 8 } }, view, own!, seedOf(0))).toThrow(shut)
  expect(() => openSlice({ ...plan, nonce: nonce.with(0, 0) }, view, own!, seedOf(0))).toThrow(shut)
  expect(() => openSlice(plan, { ...view, stampHash: StampHash.parse(id(3)) }, own!, seedOf(0))).toThrow(shut)
})

test('a view made wrong is found out: right slices of a stamp it does not name', () => {
  const { plan, view } = makeView(['data', 'data', 'data'])
  // The context as docs/protocol.md gives it, written a second time.
  const forged = view.members.map((member, index) => {
    const context = Buffer.alloc(124)
    context.write('cloudfs slice 1', 0, 'latin1')
    context.set(nonce, 16)
    context.writeUInt32LE(7, 32)
    context.set(HostId.toBytes(epoch.host), 40)
    context.set(StampHash.toBytes(view.stampHash), 60)
    context.set(HostId.toBytes(member.host), 80)
    context.set(StoreId.toBytes(member.store), 100)
    context.set([index + 1, 2], 120)
    const share = new Uint8Array(32).fill(index)
    const commitment = createHash('sha256').update(context).update(share).digest()
    const slice = Uint8Array.from(Buffer.concat([commitment, member.slice.subarray(32)]))
    return { member: { ...member, slice }, opened: { host: member.host, store: member.store, share } }
  })
  const slices = forged.slice(0, 2).map((each) => each.opened)
  expect(() => recoverStamp(plan, { ...view, members: forged.map((each) => each.member) }, slices)).toThrow(
    expect.objectContaining({ code: 'ERR_STAMP_MISMATCH' }),
  )
})

describe('a new view', () => {
  test('names its stamp by the hash, keeps primary and order, and reveals the old stamp if given one', () => {
    const old = makeView(['data']).stamp
    const { stamp, view } = makeView(['data', 'witness'], { oldStamp: old, leaseMs: 700 }, 9)
    expect(view).toMatchObject({ stampHash: stampHashOf(stamp), primary: id(1), leaseMs: 700, oldStamp: old })
    expect(view.members.map((member) => [member.host, member.role])).toEqual([
      [id(1), 'data'],
      [id(2), 'witness'],
    ])
    expect(makeView(['data']).view.oldStamp).toBeUndefined()
  })

  test.each<[string, ViewPlan]>([
    ['a primary that is no member', planOf(['data', 'data'], { primary: HostId.parse(id(9)) })],
    ['a witness as primary', planOf(['witness', 'data'])],
    ['no members', planOf([])],
    ['no lease', planOf(['data'], { leaseMs: 0 })],
    ['a lease without end', planOf(['data'], { leaseMs: Infinity })],
    [
      'a store that is a member twice',
      planOf(['data'], { members: planOf(['data']).members.flatMap((m) => [m, m]) }),
    ],
    [
      'a host that votes twice',
      planOf(['data'], {
        members: planOf(['data']).members.flatMap((m) => [m, { ...m, store: StoreId.parse(id(200)) }]),
      }),
    ],
    ['more members than the payload can count', planOf(Array.from({ length: 256 }, () => 'data' as const))],
  ])('is refused with %s', (_why, plan) => {
    expect(() => newView(plan, counting())).toThrow(expect.objectContaining({ code: 'ERR_VIEW_INVALID' }))
  })

  test('is refused with a voter whose public key is none', () => {
    const plan = planOf(['data'])
    const members = plan.members.map((member) => ({ ...member, publicKey: new Uint8Array(32).fill(0xff) }))
    expect(() => newView({ ...plan, members }, counting())).toThrow(
      expect.objectContaining({ code: 'ERR_HOST_KEY_INVALID' }),
    )
  })
})
