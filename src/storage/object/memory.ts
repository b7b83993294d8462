/**
 * The object store over a Map: for tests, and for databases that need not outlive their process.
 * Lists in the order of creation, which is no order of keys: callers that rely on one fail here first.
 */
import { assert } from '../../common/assert.ts'
import type { Env } from '../../common/env.ts'
import type { ByteRange, CreateResult, ObjectInfo, ObjectStore } from './object-store.ts'
import type { Page } from './pages.ts'
import { PAGE_KEYS, pages } from './pages.ts'
import { checkKey, checkPrefix, checkRange, noRequests, rangeBeyondEnd } from './store-error.ts'

export interface MemoryObject {
  readonly body: Uint8Array
  readonly modifiedMs: number
}

export interface MemoryOptions {
  /** What is stored, by key; given to several stores, it is one bucket with several clients. */
  readonly objects?: Map<string, MemoryObject>
  /** Keys per page of a listing. */
  readonly pageKeys?: number
}

export class MemoryObjectStore implements ObjectStore {
  readonly requests = noRequests()
  /** Keyed by object key. Bodies are never changed, only replaced. */
  readonly objects: Map<string, MemoryObject>
  private readonly env: Pick<Env, 'nowMs'>
  private readonly pageKeys: number

  constructor(env: Pick<Env, 'nowMs'>, options: MemoryOptions = {}) {
    this.env = env
    this.objects = options.objects ?? new Map()
    this.pageKeys = options.pageKeys ?? PAGE_KEYS
    assert(this.pageKeys > 0, 'a page holds a key')
  }

  async put(key: string, body: Uint8Array): Promise<void> {
    checkKey(key)
    this.requests.put++
    this.store(key, body)
  }

  async putIfAbsent(key: string, body: Uint8Array): Promise<CreateResult> {
    checkKey(key)
    this.requests.put++
    if (this.objects.has(key)) return 'exists'
    this.store(key, body)
    return 'created'
  }

  async get(key: string, range?: ByteRange): Promise<Uint8Array | null> {
    checkKey(key)
    if (range !== undefined) checkRange(range)
    this.requests.get++
    const object = this.objects.get(key)
    if (object === undefined) return null
    if (range === undefined) return object.body.slice()
    const end = range.offset + range.length
    if (end > object.body.length) throw rangeBeyondEnd('memory', key, range, object.body.length)
    return object.body.slice(range.offset, end)
  }

  async head(key: string): Promise<ObjectInfo | null> {
    checkKey(key)
    this.requests.get++
    const object = this.objects.get(key)
    return object === undefined ? null : info(key, object)
  }

  list(prefix: string, startAfter = ''): AsyncIterableIterator<Page> {
    checkPrefix(prefix)
    let found: ObjectInfo[] | null = null
    let at = 0
    return pages(async () => {
      if (found !== null && at >= found.length) return null
      this.requests.list++
      found ??= this.find(prefix, startAfter)
      const page = found.slice(at, at + this.pageKeys)
      at += this.pageKeys
      return page.length === 0 ? null : page
    })
  }

  async delete(keys: readonly string[]): Promise<void> {
    this.requests.delete += Math.ceil(keys.length / PAGE_KEYS)
    for (const key of keys) {
      checkKey(key)
      this.objects.delete(key)
    }
  }

  async close(): Promise<void> {}

  private store(key: string, body: Uint8Array): void {
    // A copy, in memory of its own: the caller goes on with its slab.
    this.objects.set(key, { body: new Uint8Array(body), modifiedMs: this.env.nowMs() })
  }

  private find(prefix: string, startAfter: string): ObjectInfo[] {
    const found: ObjectInfo[] = []
    for (const [key, object] of this.objects) {
      if (key.startsWith(prefix) && key > startAfter) found.push(info(key, object))
    }
    return found
  }
}

function info(key: string, object: MemoryObject): ObjectInfo {
  return { key, sizeBytes: object.body.length, modifiedMs: object.modifiedMs }
}
