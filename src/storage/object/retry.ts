/**
 * Patience around any object store: failed calls are made again after a jittered, doubling pause until a
 * deadline, and the number of calls under way shrinks when the store throttles and grows back slowly
 * (additive increase, multiplicative decrease). Only what may pass is tried again (`isRetryable`).
 *
 * An attempt is never abandoned for a new one: it would go on reading the caller's bytes, which the
 * caller frees when the new one succeeds. Time limits of attempts belong to the stores, which can end them.
 */
import { assert } from '../../common/assert.ts'
import type { Env } from '../../common/env.ts'
import { EngineError } from '../../common/errors.ts'
import type { ByteRange, CreateResult, ObjectInfo, ObjectStore } from './object-store.ts'
import type { Page } from './pages.ts'
import { pages } from './pages.ts'
import type { StoreOperation } from './store-error.ts'
import { isRetryable, storeError } from './store-error.ts'

export interface RetryOptions {
  /** Upper end of the first pause; doubled after each failure. Default 100. */
  readonly firstDelayMs?: number
  /** Longest pause. Default 1000. */
  readonly delayMsMax?: number
  /**
   * From the call to the last attempt's start; a function is asked before each pause. Default 60,000.
   */
  readonly deadlineMs?: number | ((operation: StoreOperation) => number)
  /** Told of every failed attempt that is tried again. */
  readonly onRetry?: (operation: StoreOperation, attempts: number, error: EngineError) => void
  /** Calls under way at once, at best. Default 32. */
  readonly concurrencyMax?: number
}

export class RetryingObjectStore implements ObjectStore {
  private readonly inner: ObjectStore
  private readonly env: Env
  private readonly options: Required<RetryOptions>
  private readonly limiter: ConcurrencyLimiter
  private closed = false

  constructor(inner: ObjectStore, env: Env, options: RetryOptions = {}) {
    this.inner = inner
    this.env = env
    this.options = {
      firstDelayMs: options.firstDelayMs ?? 100,
      delayMsMax: options.delayMsMax ?? 1000,
      deadlineMs: options.deadlineMs ?? 60_000,
      concurrencyMax: options.concurrencyMax ?? 32,
      onRetry: options.onRetry ?? (() => undefined),
    }
    this.limiter = new ConcurrencyLimiter(env, this.options.concurrencyMax, this.options.delayMsMax)
  }

  get requests() {
    return this.inner.requests
  }

  /** Calls that may be under way at once at the moment. */
  get concurrency(): number {
    return this.limiter.limit
  }

  put(key: string, body: Uint8Array): Promise<void> {
    return this.run('put', key, () => this.inner.put(key, body))
  }

  /** After a lost answer, `exists` may be our own work: compare a token in the body to know. */
  putIfAbsent(key: string, body: Uint8Array): Promise<CreateResult> {
    return this.run('put-if-absent', key, () => this.inner.putIfAbsent(key, body))
  }

  get(key: string, range?: ByteRange): Promise<Uint8Array | null> {
    return this.run('get', key, async () => {
      const body = await this.inner.get(key, range)
      if (body === null || range === undefined || body.length === range.length) return body
      throw storeError('STORE_UNAVAILABLE', {
        operation: 'get',
        store: 'the object store',
        key,
        reason: `${body.length} bytes came instead of ${range.length}`,
        context: { offset: range.offset, expected: range.length, actual: body.length },
      })
    })
  }

  head(key: string): Promise<ObjectInfo | null> {
    return this.run('head', key, () => this.inner.head(key))
  }

  list(prefix: string, startAfter?: string): AsyncIterableIterator<Page> {
    const iterator = this.inner.list(prefix, startAfter)[Symbol.asyncIterator]()
    return pages(async () => {
      const result = await this.run('list', prefix, () => iterator.next())
      return result.done === true ? null : result.value
    })
  }

  delete(keys: readonly string[]): Promise<void> {
    return this.run('delete', keys[0] ?? '', () => this.inner.delete(keys))
  }

  /** Calls that wait for another attempt end with CLOSED. */
  close(): Promise<void> {
    this.closed = true
    return this.inner.close()
  }

  private async run<T>(
    operation: StoreOperation,
    key: string,
    attempt: () => Promise<T>,
  ): Promise<T> {
    const startMs = this.env.monotonicMs()
    for (let attempts = 1; ; attempts++) {
      if (this.closed) throw closedError(operation, key)
      await this.limiter.acquire()
      let failure: EngineError
      try {
        const result = await attempt()
        this.limiter.succeeded()
        return result
      } catch (error) {
        if (!isRetryable(error)) throw error
        if (error.code === 'STORE_THROTTLED') this.limiter.throttled()
        failure = error
      } finally {
        this.limiter.release()
      }
      const pauseMs = this.pauseMs(attempts)
      const elapsedMs = this.env.monotonicMs() - startMs
      const { deadlineMs } = this.options
      const limitMs = typeof deadlineMs === 'number' ? deadlineMs : deadlineMs(operation)
      if (elapsedMs + pauseMs >= limitMs) throw gaveUp(failure, attempts, elapsedMs)
      this.options.onRetry(operation, attempts, failure)
      await this.env.sleep(pauseMs)
    }
  }

  /** Between half and all of the doubled pause, so that clients that failed together part. */
  private pauseMs(attempts: number): number {
    const { firstDelayMs, delayMsMax } = this.options
    const longest = Math.min(delayMsMax, firstDelayMs * 2 ** Math.min(attempts - 1, 30))
    return longest * (0.5 + 0.5 * this.env.random())
  }
}

function closedError(operation: StoreOperation, key: string): EngineError {
  const reason = 'the store was closed'
  return storeError('CLOSED', { operation, store: 'the object store', key, reason })
}

function gaveUp(failure: EngineError, attempts: number, elapsedMs: number): EngineError {
  const seconds = (elapsedMs / 1000).toFixed(1)
  return new EngineError(
    failure.code,
    `${failure.message} (given up after ${attempts} attempts in ${seconds} s)`,
    { context: { ...failure.context, attempts, elapsedMs }, cause: failure },
  )
}

/** Slots in order of arrival; their number follows the store's mood. */
class ConcurrencyLimiter {
  limit: number
  private readonly env: Env
  private readonly limitMax: number
  /** One burst of 503s answers many calls: the limit is cut once per this time. */
  private readonly cutEveryMs: number
  private lastCutMs = Number.NEGATIVE_INFINITY
  private active = 0
  private readonly waiting: (() => void)[] = []

  constructor(env: Env, limitMax: number, cutEveryMs: number) {
    assert(limitMax >= 1, 'one call may be under way')
    this.env = env
    this.limitMax = limitMax
    this.limit = limitMax
    this.cutEveryMs = cutEveryMs
  }

  async acquire(): Promise<void> {
    if (this.waiting.length === 0 && this.active < Math.floor(this.limit)) {
      this.active++
      return
    }
    // The slot is handed over by `release`, which has counted it.
    await new Promise<void>((resolve) => this.waiting.push(resolve))
  }

  release(): void {
    this.active--
    while (this.active < Math.floor(this.limit)) {
      const next = this.waiting.shift()
      if (next === undefined) return
      this.active++
      next()
    }
  }

  /** One more after as many successes as there are slots. */
  succeeded(): void {
    this.limit = Math.min(this.limitMax, this.limit + 1 / this.limit)
  }

  throttled(): void {
    const nowMs = this.env.monotonicMs()
    if (nowMs - this.lastCutMs < this.cutEveryMs) return
    this.lastCutMs = nowMs
    this.limit = Math.max(1, this.limit / 2)
  }
}

/**
 * Reads an object that must be there, because a committed version names it: a 404 is tried again a few
 * times, since stores answer so falsely at times, and is then an error, never "no such object".
 * @throws OBJECT_MISSING
 */
export async function getLive(
  store: ObjectStore,
  env: Env,
  key: string,
  range?: ByteRange,
): Promise<Uint8Array> {
  for (let attempt = 1; attempt <= LIVE_ATTEMPTS; attempt++) {
    const body = await store.get(key, range)
    if (body !== null) return body
    if (attempt < LIVE_ATTEMPTS) await env.sleep(LIVE_PAUSE_MS * attempt)
  }
  throw new EngineError('OBJECT_MISSING', `the object ${key} is not in the store`, {
    context: { key, attempts: LIVE_ATTEMPTS },
  })
}

const LIVE_ATTEMPTS = 4
const LIVE_PAUSE_MS = 50
