/**
 * Brings tails and blocks of SSTs from the object store for every thread of the process: concurrent requests
 * of one block share one GET, adjacent blocks come in one ranged GET, and what arrives is checked before
 * anybody sees it. Control thread.
 */
import type { Env } from '../common/env.ts'
import { EngineError, toEngineError } from '../common/errors.ts'
import type { ByteRange, ObjectStore } from './object/object-store.ts'
import { decodeBlock } from './sst/block.ts'
import { SstTail } from './sst/sst-reader.ts'
import { sstKey } from './sst-name.ts'
import type { SstMeta } from './version/version.ts'

/** Where blocks go; any may be refused or evicted. It copies bodies: they may be views. */
export interface BlockSink {
  insert(sstId: string, blockIndex: number, body: Uint8Array): void
  evictSst(sstId: string): void
}

export interface FetchedBlock {
  readonly blockIndex: number
  readonly body: Uint8Array
}

export interface FetcherInit {
  readonly env: Env
  readonly objects: ObjectStore
  readonly databaseId: string
  readonly tailCacheBytes: number
  readonly fetchBytesMax: number
  /** Largest SST whose blocks are cached as it is written. */
  readonly warmBytesMax: number
  readonly cache?: BlockSink | undefined
}

/** A live object that is not found is asked for again before anybody is told. */
const MISSING_ATTEMPTS = 4
const MISSING_DELAY_MS = 25

interface CachedTail {
  readonly bytes: Uint8Array
  readonly tail: SstTail
}

export class Fetcher {
  private readonly env: Env
  private readonly objects: ObjectStore
  private readonly init: FetcherInit
  /** Insertion order is the order of use. */
  private readonly tails = new Map<string, CachedTail>()
  private tailBytes = 0
  private readonly tailsUnderWay = new Map<string, Promise<CachedTail>>()
  private readonly blocksUnderWay = new Map<string, Promise<Uint8Array>>()

  constructor(init: FetcherInit) {
    this.env = init.env
    this.objects = init.objects
    this.init = init
  }

  /**
   * @returns the tail's bytes in shared memory if wanted, and the blocks in the order asked for.
   * @throws CORRUPTION after a second look, OBJECT_MISSING, and what the store throws.
   */
  async fetch(
    sst: SstMeta,
    want: { readonly tail: boolean; readonly blocks: readonly number[] },
  ): Promise<{ tail: Uint8Array | null; blocks: FetchedBlock[] }> {
    const { bytes, tail } = await this.tail(sst)
    const bodies = this.blocks(sst, tail, want.blocks)
    const blocks = await Promise.all(
      want.blocks.map(async (blockIndex, i) => ({ blockIndex, body: await bodies[i] })),
    )
    return { tail: want.tail ? bytes : null, blocks }
  }

  /** The whole object, for a merge to own. */
  async object(sst: SstMeta): Promise<ArrayBuffer> {
    const found = await this.get(sst, { offset: 0, length: sst.sizeBytes })
    const { buffer } = found
    if (buffer instanceof ArrayBuffer && buffer.byteLength === found.length) return buffer
    const body = new ArrayBuffer(found.length)
    new Uint8Array(body).set(found)
    return body
  }

  /**
   * Takes in an SST that this process has just written, so that nobody has to read it back: its tail and, if it
   * is small, its blocks. @param body begins with the object.
   */
  warm(sst: SstMeta, body: ArrayBuffer): void {
    const object = new Uint8Array(body, 0, sst.sizeBytes)
    const bytes = new Uint8Array(new SharedArrayBuffer(sst.sizeBytes - sst.tailOffset))
    bytes.set(object.subarray(sst.tailOffset))
    const tail = SstTail.parse(sst, bytes, this.init.databaseId)
    this.keepTail(sst.sstId, { bytes, tail })
    const { cache, warmBytesMax } = this.init
    if (cache === undefined || sst.sizeBytes > warmBytesMax) return
    const place = { object: sstKey(sst.sstId), offset: 0 }
    for (let index = 0; index < tail.blockCount; index++) {
      const offset = tail.blockOffset(index)
      const stored = object.subarray(offset, offset + tail.blockLength(index))
      cache.insert(sst.sstId, index, decodeBlock(stored, { ...place, offset }))
    }
  }

  /** The SSTs are gone from the version and from every reader. */
  forget(sstIds: readonly string[]): void {
    for (const sstId of sstIds) {
      const cached = this.tails.get(sstId)
      this.init.cache?.evictSst(sstId)
      if (cached === undefined) continue
      this.tails.delete(sstId)
      this.tailBytes -= cached.tail.memoryBytes
    }
  }

  private tail(sst: SstMeta): Promise<CachedTail> {
    const cached = this.tails.get(sst.sstId)
    if (cached !== undefined) {
      this.tails.delete(sst.sstId)
      this.tails.set(sst.sstId, cached)
      return Promise.resolve(cached)
    }
    return share(this.tailsUnderWay, sst.sstId, async () => {
      const range = { offset: sst.tailOffset, length: sst.sizeBytes - sst.tailOffset }
      const fetched = await this.verified(sst, range, (bytes) => {
        const shared = new Uint8Array(new SharedArrayBuffer(bytes.length))
        shared.set(bytes)
        return { bytes: shared, tail: SstTail.parse(sst, shared, this.init.databaseId) }
      })
      this.keepTail(sst.sstId, fetched)
      return fetched
    })
  }

  private keepTail(sstId: string, fetched: CachedTail): void {
    if (this.tails.has(sstId)) return
    this.tails.set(sstId, fetched)
    this.tailBytes += fetched.tail.memoryBytes
    for (const [oldest, cached] of this.tails) {
      if (this.tailBytes <= this.init.tailCacheBytes || oldest === sstId) break
      this.tails.delete(oldest)
      this.tailBytes -= cached.tail.memoryBytes
    }
  }

  /** A promise for each block; those not under way yet are fetched in runs. */
  private blocks(
    sst: SstMeta,
    tail: SstTail,
    blockIndexes: readonly number[],
  ): Promise<Uint8Array>[] {
    const wanted = blockIndexes.filter((index) => !this.blocksUnderWay.has(blockKey(sst, index)))
    const ascending = [...new Set(wanted)].sort((a, b) => a - b)
    let start = 0
    for (let end = 1; end <= ascending.length; end++) {
      if (end < ascending.length && this.joins(tail, ascending, start, end)) continue
      this.startRun(sst, tail, ascending[start], ascending[end - 1])
      start = end
    }
    return blockIndexes.map(async (index) => {
      const body = await this.blocksUnderWay.get(blockKey(sst, index))
      if (body === undefined) throw new EngineError('INTERNAL', 'a wanted block is not under way')
      return body
    })
  }

  /** Whether block `ascending[at]` is adjacent to the run before it and small enough to come along. */
  private joins(tail: SstTail, ascending: readonly number[], start: number, at: number): boolean {
    if (ascending[at] !== ascending[at - 1] + 1) return false
    const from = tail.blockOffset(ascending[start])
    const to = tail.blockOffset(ascending[at]) + tail.blockLength(ascending[at])
    return to - from <= this.init.fetchBytesMax
  }

  private startRun(sst: SstMeta, tail: SstTail, first: number, last: number): void {
    const from = tail.blockOffset(first)
    const run = this.get(sst, {
      offset: from,
      length: tail.blockOffset(last) + tail.blockLength(last) - from,
    })
    for (let index = first; index <= last; index++) {
      const start = tail.blockOffset(index) - from
      const end = start + tail.blockLength(index)
      const body = share(this.blocksUnderWay, blockKey(sst, index), async () =>
        this.body(sst, tail, index, (await run).subarray(start, end)),
      )
      // Whoever asked hears of it; this only keeps an unheard failure from ending the process.
      body.catch(() => undefined)
    }
  }

  /** The block's body in memory of its own: a view would take the whole run along to other threads. */
  private async body(
    sst: SstMeta,
    tail: SstTail,
    blockIndex: number,
    stored: Uint8Array,
  ): Promise<Uint8Array> {
    const offset = tail.blockOffset(blockIndex)
    const range = { offset, length: tail.blockLength(blockIndex) }
    const place = { object: sstKey(sst.sstId), offset }
    const decode = (bytes: Uint8Array) => decodeBlock(bytes, place).slice()
    const body = await this.verified(sst, range, decode, stored)
    this.init.cache?.insert(sst.sstId, blockIndex, body)
    return body
  }

  /** Decodes a range; when its bytes are damaged, evicts the SST, reads once more, and only then gives up. */
  private async verified<T>(
    sst: SstMeta,
    range: ByteRange,
    decode: (bytes: Uint8Array) => T,
    first?: Uint8Array,
  ): Promise<T> {
    try {
      return decode(first ?? (await this.get(sst, range)))
    } catch (error) {
      if (toEngineError(error).code !== 'CORRUPTION') throw error
      this.init.cache?.evictSst(sst.sstId)
      return decode(await this.get(sst, range))
    }
  }

  private async get(sst: SstMeta, range: ByteRange): Promise<Uint8Array> {
    const key = sstKey(sst.sstId)
    for (let attempt = 1; ; attempt++) {
      const bytes = await this.objects.get(key, range)
      if (bytes !== null && bytes.length === range.length) return bytes
      if (attempt >= MISSING_ATTEMPTS) throw unusable(key, range, bytes)
      await this.env.sleep(MISSING_DELAY_MS * 2 ** attempt)
    }
  }
}

function unusable(key: string, range: ByteRange, bytes: Uint8Array | null): EngineError {
  const context = { object: key, offset: range.offset, length: range.length }
  if (bytes === null) {
    return new EngineError('OBJECT_MISSING', 'an object that the database needs is not there', {
      context: { ...context, attempts: MISSING_ATTEMPTS },
    })
  }
  return new EngineError('CORRUPTION', 'an object is shorter than the database says', {
    context: { ...context, found: bytes.length },
  })
}

function blockKey(sst: SstMeta, blockIndex: number): string {
  return `${sst.sstId}/${blockIndex}`
}

/** One call of `start` for all who ask while it runs. */
function share<T>(
  underWay: Map<string, Promise<T>>,
  key: string,
  start: () => Promise<T>,
): Promise<T> {
  const running = underWay.get(key)
  if (running !== undefined) return running
  const started = start().finally(() => underWay.delete(key))
  underWay.set(key, started)
  return started
}
