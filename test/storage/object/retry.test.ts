import { describe, expect, test } from 'vitest'
import { EngineError } from '../../../src/common/errors.ts'
import { FaultyObjectStore } from '../../../src/storage/object/faulty.ts'
import { MemoryObjectStore } from '../../../src/storage/object/memory.ts'
import type { RetryOptions } from '../../../src/storage/object/retry.ts'
import { getLive, RetryingObjectStore } from '../../../src/storage/object/retry.ts'
import { VirtualEnv } from '../../common/virtual-env.ts'
import { pattern } from '../../conformance/object-store.ts'

function setUp(options: RetryOptions = {}, seed = 1) {
  const env = new VirtualEnv(seed)
  const memory = new MemoryObjectStore(env)
  const faulty = new FaultyObjectStore(memory, env, { seed, throttleMs: 0 })
  return { env, memory, faulty, store: new RetryingObjectStore(faulty, env, options) }
}

async function failure(promise: Promise<unknown>): Promise<EngineError> {
  const error = await promise.then(
    () => null,
    (reason) => reason,
  )
  if (!(error instanceof EngineError)) throw new TypeError(`no engine error: ${error}`)
  return error
}

describe('pauses', () => {
  test('double from 100 ms to 1 s, each between half and all of it', async () => {
    for (const seed of [1, 2, 3, 4, 5]) {
      const { env, memory, store } = setUp({}, seed)
      const startsMs: number[] = []
      memory.get = async () => {
        startsMs.push(env.monotonicMs())
        if (startsMs.length === 8) return null
        throw new EngineError('STORE_UNAVAILABLE', 'away')
      }
      await store.get('a')
      const pauses = startsMs.slice(1).map((ms, i) => ms - startsMs[i])
      const longest = [100, 200, 400, 800, 1000, 1000, 1000]
      expect(pauses.length).toBe(longest.length)
      for (const [i, pause] of pauses.entries()) {
        expect(pause).toBeGreaterThanOrEqual(longest[i] / 2)
        expect(pause).toBeLessThanOrEqual(longest[i])
      }
      expect(new Set(pauses).size).toBe(pauses.length)
    }
  })

  test('fault 10: an outage shorter than the deadline is survived, a longer one is an error', async () => {
    const { env, faulty, store } = setUp({ deadlineMs: 60_000 })
    faulty.setRates({ 'drop-request': 1 })
    env.setTimer(50_000, () => faulty.clearFaults())
    expect(await store.putIfAbsent('a', pattern(3))).toBe('created')
    expect(env.monotonicMs()).toBeGreaterThanOrEqual(50_000)

    faulty.setRates({ 'drop-request': 1 })
    const startMs = env.monotonicMs()
    const error = await failure(store.get('a'))
    expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', context: { key: 'a' } })
    expect(error.message).toMatch(/given up after \d+ attempts in 5\d\.\d s/)
    expect(env.monotonicMs() - startMs).toBeLessThanOrEqual(60_000)
    expect(error.context['attempts']).toBeGreaterThan(50)
  })

  test.each([
    'STORE_ACCESS_DENIED',
    'STORE_BUCKET_MISSING',
    'CORRUPTION',
    'FENCED',
    'INTERNAL',
  ] as const)('%s is never tried again', async (code) => {
    const { memory, store } = setUp()
    let attempts = 0
    memory.put = async () => {
      attempts++
      throw new EngineError(code, 'no')
    }
    expect((await failure(store.put('a', pattern(1)))).code).toBe(code)
    expect(attempts).toBe(1)
  })

  test('closing ends what waits for another attempt', async () => {
    const { env, faulty, store } = setUp()
    faulty.setRates({ 'drop-request': 1 })
    const waiting = failure(store.get('a'))
    await env.sleep(150)
    await store.close()
    expect((await waiting).code).toBe('CLOSED')
    expect((await failure(store.get('a'))).code).toBe('CLOSED')
  })
})

describe('answers', () => {
  test('fault 3: after a lost answer our own create is exists, with our bytes', async () => {
    const { faulty, store } = setUp()
    faulty.inject({ fault: 'drop-acknowledgement', operation: 'put-if-absent' })
    expect(await store.putIfAbsent('a', pattern(9))).toBe('exists')
    expect(await store.get('a')).toEqual(pattern(9))
  })

  test('fault 6: 409 is tried again', async () => {
    const { faulty, store } = setUp()
    faulty.inject({ fault: 'conflict' })
    expect(await store.putIfAbsent('a', pattern(9))).toBe('created')
    expect(faulty.callCount).toBe(3)
  })

  test('fault 23: a range that comes short is asked for again', async () => {
    const { faulty, store } = setUp()
    await store.put('a', pattern(1000))
    faulty.inject({ fault: 'truncate', count: 3 })
    expect(await store.get('a', { offset: 10, length: 500 })).toEqual(pattern(1000).slice(10, 510))
  })

  test('fault 44: a live object’s 404 is asked again, then an error, never absence', async () => {
    const { env, faulty, store } = setUp()
    await store.put('a', pattern(5))
    faulty.inject({ fault: 'missing', count: 2 })
    expect(await getLive(store, env, 'a', { offset: 1, length: 2 })).toEqual(pattern(5).slice(1, 3))
    faulty.inject({ fault: 'missing', count: 99 })
    const error = await failure(getLive(store, env, 'a'))
    expect(error).toMatchObject({ code: 'OBJECT_MISSING', context: { key: 'a' } })
  })
})

describe('concurrency', () => {
  /** A store whose calls wait until they are let go. */
  function gated(concurrencyMax: number) {
    const { env, memory, store } = setUp({ concurrencyMax })
    const gates: (() => void)[] = []
    let active = 0
    let highest = 0
    memory.get = async () => {
      highest = Math.max(highest, ++active)
      await new Promise<void>((resolve) => gates.push(resolve))
      active--
      return null
    }
    return { env, store, gates, highest: () => highest }
  }

  test('is limited, and all calls get their turn in order', async () => {
    const { env, store, gates, highest } = gated(4)
    const done: number[] = []
    const calls = Array.from({ length: 20 }, (_, i) => store.get(`k${i}`).then(() => done.push(i)))
    while (done.length < 20) {
      await env.sleep(1)
      gates.shift()?.()
    }
    await Promise.all(calls)
    expect(highest()).toBe(4)
    expect(done).toEqual(Array.from({ length: 20 }, (_, i) => i))
  })

  test('fault 8: 503s halve it once per burst, successes bring it back one by one', async () => {
    const { env, faulty, store } = setUp({ concurrencyMax: 16 })
    faulty.inject({ fault: 'throttle', count: 8 })
    await Promise.all(Array.from({ length: 8 }, (_, i) => store.get(`k${i}`)))
    expect(store.concurrency).toBeGreaterThanOrEqual(8)
    expect(store.concurrency).toBeLessThan(10)
    for (let i = 0; i < 6; i++) {
      await env.sleep(2000)
      faulty.inject({ fault: 'throttle' })
      await store.get('a')
    }
    expect(store.concurrency).toBeLessThan(3)
    for (let i = 0; i < 400; i++) await store.get('a')
    expect(store.concurrency).toBe(16)
  })

  test('the limit is a whole number of calls at least one, and no call is lost', async () => {
    const { env, faulty, store } = setUp({ concurrencyMax: 1 })
    faulty.setRates({ throttle: 0.5 })
    const calls = Array.from({ length: 30 }, (_, i) => store.put(`k${i}`, pattern(i)))
    await Promise.all(calls)
    expect(store.concurrency).toBe(1)
    expect(env.monotonicMs()).toBeGreaterThan(0)
  })
})
