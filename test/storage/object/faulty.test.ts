import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { FaultKind, FaultOptions } from '../../../src/storage/object/faulty.ts'
import { FaultyObjectStore } from '../../../src/storage/object/faulty.ts'
import { MemoryObjectStore } from '../../../src/storage/object/memory.ts'
import { VirtualEnv } from '../../common/virtual-env.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

function setUp(options: FaultOptions = {}) {
  const env = new VirtualEnv()
  const memory = new MemoryObjectStore(env)
  return { env, memory, faulty: new FaultyObjectStore(memory, env, options) }
}

/** `pending` if the promise has not settled after everything else did. */
async function outcome(promise: Promise<unknown>): Promise<unknown> {
  const settled = promise.then(
    (value) => value ?? 'done',
    (error) => error.code,
  )
  const turn = new Promise((resolve) => setImmediate(() => resolve('pending')))
  return Promise.race([settled, turn])
}

describe('chosen faults', () => {
  test('a dropped request is not applied, a dropped acknowledgement is', async () => {
    const { memory, faulty } = setUp()
    faulty.inject({ fault: 'drop-request', operation: 'put', keyPrefix: 'a' })
    faulty.inject({ fault: 'drop-acknowledgement', keyPrefix: 'b' })
    expect(await outcome(faulty.put('a', bytes('1')))).toBe('STORE_UNAVAILABLE')
    expect(await outcome(faulty.putIfAbsent('b', bytes('1')))).toBe('STORE_TIMEOUT')
    expect([...memory.objects.keys()]).toEqual(['b'])
    expect(await faulty.putIfAbsent('b', bytes('1'))).toBe('exists')
    expect(faulty.calls.map((call) => call.fault)).toEqual([
      'drop-request',
      'drop-acknowledgement',
      null,
    ])
  })

  test('a late write lands when told to, with the bytes of then', async () => {
    const { memory, faulty } = setUp({ lateMs: null })
    faulty.inject({ fault: 'land-late' })
    const body = bytes('old')
    expect(await outcome(faulty.putIfAbsent('a', body))).toBe('STORE_TIMEOUT')
    body.fill(0)
    expect(memory.objects.size).toBe(0)
    await faulty.landLate()
    expect(await memory.get('a')).toEqual(bytes('old'))
  })

  test('a late write lands by itself after its time, once', async () => {
    const { env, memory, faulty } = setUp({ lateMs: 100 })
    faulty.inject({ fault: 'land-late' })
    await outcome(faulty.put('a', bytes('late')))
    await env.sleep(99)
    expect(memory.objects.size).toBe(0)
    await env.sleep(2)
    expect(memory.objects.size).toBe(1)
    expect(faulty.lateCount).toBe(0)
  })

  test('a duplicated create tells its maker that it exists', async () => {
    const { faulty } = setUp()
    faulty.inject({ fault: 'duplicate' })
    expect(await faulty.putIfAbsent('a', bytes('1'))).toBe('exists')
  })

  test('409 comes as often as asked and is no answer', async () => {
    const { faulty } = setUp({ conflictCount: 3 })
    faulty.inject({ fault: 'conflict', keyPrefix: 'a' })
    for (let i = 0; i < 3; i++) {
      expect(await outcome(faulty.putIfAbsent('a', bytes('1')))).toBe('STORE_UNAVAILABLE')
    }
    expect(await faulty.putIfAbsent('a', bytes('1'))).toBe('created')
  })

  test('a burst of 503 lasts its time, for all keys', async () => {
    const { env, faulty } = setUp({ throttleMs: 300 })
    faulty.inject({ fault: 'throttle', keyPrefix: 'a' })
    expect(await outcome(faulty.put('a', bytes('1')))).toBe('STORE_THROTTLED')
    expect(await outcome(faulty.get('b'))).toBe('STORE_THROTTLED')
    await env.sleep(300)
    expect(await faulty.get('b')).toBeNull()
  })

  test('bodies: missing, short, flipped, another’s', async () => {
    const { faulty } = setUp()
    await faulty.put('a', bytes('aaaaaaaa'))
    await faulty.put('b', bytes('bbbbbbbb'))
    const faults: FaultKind[] = ['missing', 'truncate', 'flip-bit', 'misdirect']
    for (const fault of faults) faulty.inject({ fault })
    expect(await faulty.get('a')).toBeNull()
    expect((await faulty.get('a'))?.length).toBeLessThan(8)
    const flipped = (await faulty.get('a')) ?? new Uint8Array()
    let bits = 0
    for (const byte of flipped) bits += (byte ^ 0x61).toString(2).replaceAll('0', '').length
    expect(bits).toBe(1)
    expect(await faulty.get('a')).toEqual(bytes('bbbbbbbb'))
    expect(await faulty.get('a')).toEqual(bytes('aaaaaaaa'))
  })
})

describe('rates', () => {
  test('a rate of one always strikes, and clearFaults ends it', async () => {
    const { faulty } = setUp({ rates: { 'drop-request': 1 } })
    expect(await outcome(faulty.get('a'))).toBe('STORE_UNAVAILABLE')
    faulty.clearFaults()
    expect(await faulty.get('a')).toBeNull()
  })

  test('faults of a key do not move when calls for other keys come or go', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 60 }),
        async (seed, keys) => {
          const run = async (chosen: readonly string[]) => {
            const { faulty } = setUp({ seed, rates: { 'drop-request': 0.3, missing: 0.2 } })
            for (const key of chosen) await outcome(faulty.get(key))
            return faulty.calls.filter((call) => call.key === 'a').map((call) => call.fault)
          }
          const alone = await run(keys.filter((key) => key === 'a'))
          expect(await run(keys)).toEqual(alone)
        },
      ),
      { numRuns: 50 },
    )
  })

  test('about as many faults as asked', async () => {
    const { faulty } = setUp({ seed: 7, rates: { 'drop-request': 0.25 } })
    for (let i = 0; i < 2000; i++) await outcome(faulty.get(`k${i % 50}`))
    const count = faulty.calls.filter((call) => call.fault !== null).length
    expect(count).toBeGreaterThan(400)
    expect(count).toBeLessThan(600)
  })
})

describe('the kill point', () => {
  test.each([
    ['not-applied', ['a']],
    ['applied-unacknowledged', ['a', 'b']],
    ['lands-late', ['a']],
  ] as const)('%s', async (kind, keys) => {
    const { memory, faulty } = setUp({ lateMs: null })
    faulty.killAt(1, kind)
    await faulty.put('a', bytes('1'))
    expect(faulty.killed).toBe(false)
    const fatal = faulty.put('b', bytes('2'))
    await faulty.whenKilled
    expect(await outcome(fatal)).toBe('pending')
    expect(await outcome(faulty.put('c', bytes('3')))).toBe('pending')
    expect(await outcome(faulty.get('a'))).toBe('pending')
    expect([...memory.objects.keys()]).toEqual(keys)
    expect(faulty.callCount).toBe(2)
    await faulty.landLate()
    expect(memory.objects.has('b')).toBe(kind !== 'not-applied')
  })

  test('requests under way when the process dies are never answered', async () => {
    const { env, memory, faulty } = setUp({ delayMs: 100 })
    faulty.inject({ fault: 'delay' })
    faulty.killAt(1, 'not-applied')
    const slow = faulty.put('a', bytes('1'))
    const fatal = faulty.get('b')
    await env.sleep(200)
    expect(memory.objects.has('a')).toBe(true)
    expect(await outcome(slow)).toBe('pending')
    expect(await outcome(fatal)).toBe('pending')
  })

  test('pages of a listing are calls of their own', async () => {
    const env = new VirtualEnv()
    const faulty = new FaultyObjectStore(new MemoryObjectStore(env, { pageKeys: 2 }), env)
    for (const key of ['a', 'b', 'c']) await faulty.put(key, bytes(key))
    faulty.inject({ fault: 'drop-request', operation: 'list' })
    const list = faulty.list('')
    expect(await outcome(list.next())).toBe('STORE_UNAVAILABLE')
    const found: string[] = []
    for await (const page of list) found.push(...page.map((object) => object.key))
    expect(found).toEqual(['a', 'b', 'c'])
    expect(faulty.calls.filter((call) => call.operation === 'list').length).toBe(4)
  })
})
