/**
 * The errors of object stores, made in one place so that each says what was tried, where, and what to
 * do; and the few facts that all stores share: which keys are keys, which errors may be tried again.
 */
import { assert } from '../../common/assert.ts'
import type { ErrorCode, ErrorContext } from '../../common/errors.ts'
import { EngineError } from '../../common/errors.ts'
import type { ByteRange, RequestCounts } from './object-store.ts'

export type StoreOperation = 'put' | 'put-if-absent' | 'get' | 'head' | 'list' | 'delete'

export type StoreErrorCode = Extract<ErrorCode, `STORE_${string}` | 'CORRUPTION' | 'CLOSED'>

export interface StoreFailure {
  readonly operation: StoreOperation | 'open'
  /** Where: `memory`, the folder, or `s3://bucket/prefix (endpoint)`. Never with credentials. */
  readonly store: string
  readonly key: string
  /** What went wrong, without a full stop. */
  readonly reason: string
  /** What the user should do about it; a sentence. */
  readonly hint?: string
  readonly context?: ErrorContext
  readonly cause?: unknown
}

export function storeError(code: StoreErrorCode, failure: StoreFailure): EngineError {
  const { operation, store, key, reason, hint } = failure
  const what = key === '' ? operation : `${operation} ${key}`
  return new EngineError(code, `${what} at ${store}: ${reason}${hint ? `. ${hint}` : ''}`, {
    context: { operation, store, key, ...(hint ? { hint } : {}), ...failure.context },
    cause: failure.cause,
  })
}

/** True for what may pass by itself. A write that failed so may have been applied, or may still be. */
export function isRetryable(error: unknown): error is EngineError {
  if (!(error instanceof EngineError)) return false
  const { code } = error
  return code === 'STORE_UNAVAILABLE' || code === 'STORE_THROTTLED' || code === 'STORE_TIMEOUT'
}

/** `CORRUPTION`: the object is there but ends before the range does, so it is not what was written. */
export function rangeBeyondEnd(
  store: string,
  key: string,
  range: ByteRange,
  sizeBytes: number | undefined,
): EngineError {
  return storeError('CORRUPTION', {
    operation: 'get',
    store,
    key,
    reason: `the object ends before byte ${range.offset + range.length}`,
    context: { object: key, offset: range.offset, length: range.length, sizeBytes },
  })
}

const KEY = /^[\w=+@,-][\w=+@,.-]*(?:\/[\w=+@,-][\w=+@,.-]*)*$/
const PREFIX = /^(?:[\w=+@,-][\w=+@,.-]*\/)*(?:[\w=+@,-][\w=+@,.-]*)?$/
const KEY_LENGTH_MAX = 800

/** Names of letters, digits and `_-=+@,.`, between slashes; none begins with a dot, so none leads out. */
export function checkKey(key: string): void {
  assert(key.length <= KEY_LENGTH_MAX && KEY.test(key), 'an object key is a relative path')
}

export function checkPrefix(prefix: string): void {
  assert(prefix.length <= KEY_LENGTH_MAX && PREFIX.test(prefix), 'a prefix is the start of a key')
}

export function checkRange(range: ByteRange): void {
  assert(Number.isSafeInteger(range.offset) && range.offset >= 0, 'a range begins in the object')
  assert(Number.isSafeInteger(range.length) && range.length > 0, 'a range holds a byte')
}

export function noRequests(): RequestCounts {
  return { put: 0, get: 0, list: 0, delete: 0 }
}
