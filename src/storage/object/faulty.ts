/**
 * An object store that misbehaves as real ones do, for tests: between the engine (or its retry layer)
 * and any store. Each fault is decided by hash(seed, operation, key, number of that call for that key),
 * not by one stream of random numbers, so that leaving a call out does not move the other faults. Three
 * ways to ask for faults: rates, rules for chosen calls, and one kill point, after which nothing is ever
 * answered, as if the process had died there.
 */
import type { Env } from '../../common/env.ts'
import { combineHash, hashBytes, mix32 } from '../../common/hash.ts'
import type { ByteRange, CreateResult, ObjectInfo, ObjectStore } from './object-store.ts'
import type { Page } from './pages.ts'
import { pages } from './pages.ts'
import type { StoreErrorCode, StoreOperation } from './store-error.ts'
import { storeError } from './store-error.ts'

export type FaultKind =
  /** The request is lost on its way: not applied, STORE_UNAVAILABLE. */
  | 'drop-request'
  /** Applied; the answer is lost: STORE_TIMEOUT. Writes only. */
  | 'drop-acknowledgement'
  /** STORE_TIMEOUT now, applied later: after `lateMs`, or at `landLate()`. Writes only. */
  | 'land-late'
  /** Applied twice, the second answer is returned: a create by ourselves says `exists`. Writes only. */
  | 'duplicate'
  /** 409 for this and the next `conflictCount - 1` attempts of the key: not applied. Creates only. */
  | 'conflict'
  /** 503 for every call during `throttleMs`: STORE_THROTTLED, not applied. */
  | 'throttle'
  /** Answered rightly, `delayMs` later. */
  | 'delay'
  /** 404 on a live object. `get` and `head` only. */
  | 'missing'
  /** The body ends early. `get` only. */
  | 'truncate'
  /** One bit of the body is wrong. `get` only. */
  | 'flip-bit'
  /** The bytes of another object. `get` only. */
  | 'misdirect'

export type FaultRates = Readonly<Partial<Record<FaultKind, number>>>

export interface FaultOptions {
  /** u32. */
  readonly seed?: number
  /** Probability of each kind, per call that the kind is possible for; their sum is at most 1. */
  readonly rates?: FaultRates
  readonly conflictCount?: number
  readonly throttleMs?: number
  readonly delayMs?: number
  /** When late writes land; null: only at `landLate()`. */
  readonly lateMs?: number | null
}

/** The next `count` calls that match suffer `fault`. Rules come before rates, oldest rule first. */
export interface FaultRule {
  readonly fault: FaultKind
  readonly operation?: StoreOperation
  readonly keyPrefix?: string
  /** Default 1. */
  readonly count?: number
}

/** What became of the request that the process died in. */
export type KillOutcome = 'not-applied' | 'applied-unacknowledged' | 'lands-late'

export interface FaultyCall {
  readonly operation: StoreOperation
  readonly key: string
  readonly fault: FaultKind | null
}

const ALL: readonly StoreOperation[] = ['put', 'put-if-absent', 'get', 'head', 'list', 'delete']
const WRITES: readonly StoreOperation[] = ['put', 'put-if-absent', 'delete']

/** Which calls a fault can befall. The order of kinds is the order in which rates are laid out. */
const POSSIBLE: Readonly<Record<FaultKind, readonly StoreOperation[]>> = {
  'drop-request': ALL,
  'drop-acknowledgement': WRITES,
  'land-late': WRITES,
  duplicate: WRITES,
  conflict: ['put-if-absent'],
  throttle: ALL,
  delay: ALL,
  missing: ['get', 'head'],
  truncate: ['get'],
  'flip-bit': ['get'],
  misdirect: ['get'],
}
const KINDS = Object.keys(POSSIBLE) as readonly FaultKind[]

interface Request<T> {
  readonly operation: StoreOperation
  readonly key: string
  /** Does it. May be called later, and twice. */
  readonly apply: () => Promise<T>
  /** A wrong answer in place of the right one. */
  readonly spoil?: (value: T, fault: FaultKind, hash: number) => Promise<T> | T
}

export class FaultyObjectStore implements ObjectStore {
  /** Calls so far, in order; a page of a listing is a call. Its length is the next call's index. */
  readonly calls: FaultyCall[] = []
  /** Resolves when the kill point was reached (and, if so asked, the fatal request applied). */
  readonly whenKilled: Promise<void>
  private readonly inner: ObjectStore
  private readonly env: Env
  private readonly options: Required<FaultOptions>
  private rates: FaultRates
  private rules: { rule: FaultRule; left: number }[] = []
  private kill: { readonly callIndex: number; readonly outcome: KillOutcome } | null = null
  private dead = false
  private reportKill: () => void = () => {}
  private late: (() => Promise<unknown>)[] = []
  /** Calls of one operation on one key so far. */
  private readonly ordinals = new Map<string, number>()
  private readonly conflictsLeft = new Map<string, number>()
  private throttledUntilMs = Number.NEGATIVE_INFINITY
  private readonly writtenKeys: string[] = []

  constructor(inner: ObjectStore, env: Env, options: FaultOptions = {}) {
    this.inner = inner
    this.env = env
    this.options = {
      seed: options.seed ?? 0,
      rates: options.rates ?? {},
      conflictCount: options.conflictCount ?? 2,
      throttleMs: options.throttleMs ?? 500,
      delayMs: options.delayMs ?? 50,
      lateMs: options.lateMs === undefined ? 1000 : options.lateMs,
    }
    this.rates = this.options.rates
    this.whenKilled = new Promise((resolve) => {
      this.reportKill = resolve
    })
  }

  get requests() {
    return this.inner.requests
  }

  get callCount(): number {
    return this.calls.length
  }

  get killed(): boolean {
    return this.dead
  }

  setRates(rates: FaultRates): void {
    this.rates = rates
  }

  inject(rule: FaultRule): void {
    this.rules.push({ rule, left: rule.count ?? 1 })
  }

  /** No more faults from here on; late writes still land. */
  clearFaults(): void {
    this.rates = {}
    this.rules = []
    this.conflictsLeft.clear()
    this.throttledUntilMs = Number.NEGATIVE_INFINITY
  }

  /**
   * Dies in call number `callIndex` (0-based, see `calls`): that call and every one unanswered or made
   * after it stay pending for ever. Reads that die are never applied.
   */
  killAt(callIndex: number, outcome: KillOutcome): void {
    this.kill = { callIndex, outcome }
  }

  /** Applies the writes that are late, in the order they were made. Errors are nobody's to hear. */
  async landLate(): Promise<void> {
    const landing = this.late
    this.late = []
    for (const apply of landing) await apply()
  }

  get lateCount(): number {
    return this.late.length
  }

  put(key: string, body: Uint8Array): Promise<void> {
    const copy = new Uint8Array(body)
    return this.call({ operation: 'put', key, apply: () => this.inner.put(key, copy) })
  }

  putIfAbsent(key: string, body: Uint8Array): Promise<CreateResult> {
    const copy = new Uint8Array(body)
    const apply = () => this.inner.putIfAbsent(key, copy)
    return this.call({ operation: 'put-if-absent', key, apply })
  }

  get(key: string, range?: ByteRange): Promise<Uint8Array | null> {
    const apply = () => this.inner.get(key, range)
    return this.call({
      operation: 'get',
      key,
      apply,
      spoil: (value, fault, hash) => this.spoilBody(key, range, value, fault, hash),
    })
  }

  head(key: string): Promise<ObjectInfo | null> {
    const apply = () => this.inner.head(key)
    return this.call({ operation: 'head', key, apply, spoil: () => null })
  }

  list(prefix: string, startAfter?: string): AsyncIterableIterator<Page> {
    const iterator = this.inner.list(prefix, startAfter)[Symbol.asyncIterator]()
    return pages(async () => {
      const apply = () => iterator.next()
      const result = await this.call({ operation: 'list', key: prefix, apply })
      return result.done === true ? null : result.value
    })
  }

  delete(keys: readonly string[]): Promise<void> {
    const copy = [...keys]
    const apply = () => this.inner.delete(copy)
    return this.call({ operation: 'delete', key: keys[0] ?? '', apply })
  }

  close(): Promise<void> {
    return this.dead ? never() : this.inner.close()
  }

  private async call<T>(request: Request<T>): Promise<T> {
    if (this.dead) return never()
    const { operation, key } = request
    if (this.kill?.callIndex === this.calls.length) return this.die(request, this.kill.outcome)
    const hash = this.hashOf(operation, key)
    const fault = this.decide(operation, key, hash)
    this.calls.push({ operation, key, fault })
    if (operation.startsWith('put')) this.writtenKeys.push(key)
    try {
      const value = await this.suffer(request, fault, hash)
      return this.dead ? never() : value
    } catch (error) {
      if (this.dead) return never()
      throw error
    }
  }

  private async die<T>(request: Request<T>, outcome: KillOutcome): Promise<T> {
    const { operation, key } = request
    this.dead = true
    this.calls.push({ operation, key, fault: null })
    if (WRITES.includes(operation)) {
      if (outcome === 'applied-unacknowledged') await request.apply()
      if (outcome === 'lands-late') this.landLater(request)
    }
    this.reportKill()
    return never()
  }

  private async suffer<T>(request: Request<T>, fault: FaultKind | null, hash: number): Promise<T> {
    switch (fault) {
      case null:
        return request.apply()
      case 'delay':
        await this.env.sleep(this.options.delayMs)
        return request.apply()
      case 'duplicate':
        await request.apply()
        return request.apply()
      case 'drop-request':
        throw failure('STORE_UNAVAILABLE', request, 'the connection was reset')
      case 'conflict':
        throw failure('STORE_UNAVAILABLE', request, 'status 409')
      case 'throttle':
        throw failure('STORE_THROTTLED', request, 'status 503')
      case 'drop-acknowledgement':
        await request.apply()
        throw failure('STORE_TIMEOUT', request, 'no answer')
      case 'land-late':
        this.landLater(request)
        throw failure('STORE_TIMEOUT', request, 'no answer')
      default: {
        const value = await request.apply()
        return request.spoil === undefined ? value : request.spoil(value, fault, hash)
      }
    }
  }

  private landLater<T>(request: Request<T>): void {
    this.late.push(request.apply)
    if (this.options.lateMs === null) return
    this.env.setTimer(this.options.lateMs, () => {
      const at = this.late.indexOf(request.apply)
      if (at < 0) return
      this.late.splice(at, 1)
      // Nobody waits for a late write: what it answers is lost, as in the world.
      request.apply().catch(() => {})
    })
  }

  private hashOf(operation: StoreOperation, key: string): number {
    const name = `${operation} ${key}`
    const ordinal = this.ordinals.get(name) ?? 0
    this.ordinals.set(name, ordinal + 1)
    const text = new TextEncoder().encode(name)
    return combineHash(hashBytes(text, 0, text.length, this.options.seed), ordinal)
  }

  private decide(operation: StoreOperation, key: string, hash: number): FaultKind | null {
    if (this.env.monotonicMs() < this.throttledUntilMs) return 'throttle'
    const fault =
      this.ruled(operation, key) ??
      (operation === 'put-if-absent' ? this.repeated(key) : null) ??
      this.drawn(operation, hash)
    if (fault === 'conflict' && !this.conflictsLeft.has(key)) {
      this.conflictsLeft.set(key, this.options.conflictCount - 1)
    }
    if (fault === 'throttle') {
      this.throttledUntilMs = this.env.monotonicMs() + this.options.throttleMs
    }
    return fault
  }

  private ruled(operation: StoreOperation, key: string): FaultKind | null {
    for (const entry of this.rules) {
      const { rule } = entry
      if (entry.left <= 0 || !POSSIBLE[rule.fault].includes(operation)) continue
      if (rule.operation !== undefined && rule.operation !== operation) continue
      if (!key.startsWith(rule.keyPrefix ?? '')) continue
      entry.left--
      return rule.fault
    }
    return null
  }

  private repeated(key: string): FaultKind | null {
    const left = this.conflictsLeft.get(key) ?? 0
    if (left === 0) return null
    this.conflictsLeft.set(key, left - 1)
    return 'conflict'
  }

  private drawn(operation: StoreOperation, hash: number): FaultKind | null {
    let drawn = hash / 2 ** 32
    for (const kind of KINDS) {
      const rate = POSSIBLE[kind].includes(operation) ? (this.rates[kind] ?? 0) : 0
      if (drawn < rate) return kind
      drawn -= rate
    }
    return null
  }

  private async spoilBody(
    key: string,
    range: ByteRange | undefined,
    body: Uint8Array | null,
    fault: FaultKind,
    hash: number,
  ): Promise<Uint8Array | null> {
    if (body === null || fault === 'missing') return null
    const random = mix32(hash + 1)
    if (fault === 'truncate') return body.slice(0, random % Math.max(body.length, 1))
    if (fault === 'misdirect') return this.otherBody(key, range, body, random)
    const flipped = body.slice()
    if (body.length > 0) flipped[random % body.length] ^= 1 << (random >>> 29)
    return flipped
  }

  /** Another object's bytes; of the length asked for, since the length is not what is wrong here. */
  private async otherBody(
    key: string,
    range: ByteRange | undefined,
    body: Uint8Array,
    random: number,
  ): Promise<Uint8Array> {
    const others = this.writtenKeys.filter((other) => other !== key)
    const other = others.length === 0 ? null : await this.inner.get(others[random % others.length])
    const wrong = other ?? new Uint8Array(body.length)
    if (range === undefined) return wrong
    const part = new Uint8Array(range.length)
    part.set(wrong.subarray(range.offset, range.offset + range.length))
    return part
  }
}

function never<T>(): Promise<T> {
  return new Promise(() => {})
}

function failure<T>(code: StoreErrorCode, request: Request<T>, reason: string) {
  const { operation, key } = request
  return storeError(code, { operation, store: 'faulty', key, reason: `injected: ${reason}` })
}
