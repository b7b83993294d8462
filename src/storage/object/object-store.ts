/**
 * The contract of object stores. Keys are relative to the database's root, `/`-separated, ASCII. All errors are
 * `EngineError`: STORE_UNAVAILABLE, STORE_THROTTLED, STORE_TIMEOUT (may be tried again; a write may still
 * land), STORE_ACCESS_DENIED, STORE_BUCKET_MISSING. Bodies may be views of shared memory.
 */

export interface ObjectInfo {
  readonly key: string
  readonly sizeBytes: number
  /** By the store's own clock, Unix ms. */
  readonly modifiedMs: number
}

/** `created`: this call made it. `exists`: somebody (maybe an earlier attempt of ours) had. */
export type CreateResult = 'created' | 'exists'

export interface ByteRange {
  readonly offset: number
  readonly length: number
}

export interface RequestCounts {
  put: number
  get: number
  list: number
  delete: number
}

export interface ObjectStore {
  /** Writes the object, whole, replacing what was there. Multipart above the store's own limit. */
  put(key: string, body: Uint8Array): Promise<void>
  /** Creates the object if there is none of that name: atomic. */
  putIfAbsent(key: string, body: Uint8Array): Promise<CreateResult>
  /** The object or a range of it, exactly as long as asked; null when there is no such object. */
  get(key: string, range?: ByteRange): Promise<Uint8Array | null>
  head(key: string): Promise<ObjectInfo | null>
  /** All objects below a prefix in no promised order, page by page. `startAfter` is exclusive. */
  list(prefix: string, startAfter?: string): AsyncIterable<readonly ObjectInfo[]>
  /** Deletes; absent objects are fine. */
  delete(keys: readonly string[]): Promise<void>
  /** Requests made so far, each attempt counted. */
  readonly requests: RequestCounts
  close(): Promise<void>
}
