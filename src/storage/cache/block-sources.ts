/**
 * The two block sources: of a worker thread, which asks the control thread by message, and of the control
 * thread, which asks the object store. Both look into the shared cache, keep parsed tails of their own,
 * and keep what was asked for until the reads that asked let go of it: a read gets on however small the cache is.
 * Each belongs to one thread.
 * Hot path: one `tail` and one `block` per SST looked into.
 */
import { assert } from '../../common/assert.ts'
import {
  type EngineError,
  fromWire,
  toEngineError,
  toWire,
  type WireError,
} from '../../common/errors.ts'
import type { BlockSource, ReadHold, Want } from '../block-source.ts'
import { Block } from '../sst/block.ts'
import { SstTail } from '../sst/sst-reader.ts'
import type { SstMeta } from '../version/version.ts'
import type { BlockCache } from './memory.ts'

export const TAIL_INDEX = -1

export interface FetchedBlock {
  readonly blockIndex: number
  readonly body: Uint8Array
}

/** What a source wants of one SST. */
export interface FetchRequest {
  readonly sst: SstMeta
  readonly tail: boolean
  readonly blocks: readonly number[]
}

export interface BlockSourceOptions {
  readonly cache: BlockCache
  /** Parsed tails are kept up to so many bytes. */
  readonly tailBytesMax: number
}

interface KeptTail {
  readonly tail: SstTail
  /** Used since the clock passed. */
  used: boolean
}

/** What both have in common: everything but how requests go out. */
export class WorkerBlockSource implements BlockSource {
  private readonly cache: BlockCache
  private readonly tailBytesMax: number
  private readonly tails = new Map<string, KeptTail>()
  private tailBytes = 0
  /** By SST and block index (-1: the tail). */
  private readonly wants = new Map<string, Map<number, Want>>()
  private unsent: Want[] = []
  private hold: ReadHold | null = null
  private readonly pinned: number[] = []
  /** The `Block` over each slot's content of that generation. */
  private readonly slotBlocks: (Block | undefined)[] = []
  private readonly slotGenerations: Int32Array
  /** Read requests answered by what reads hold in hand. */
  inHandHits = 0

  constructor(options: BlockSourceOptions) {
    this.cache = options.cache
    this.tailBytesMax = options.tailBytesMax
    this.slotGenerations = new Int32Array(options.cache.slotCount).fill(-1)
  }

  beginRead(hold: ReadHold): void {
    assert(this.hold === null, 'reads of one thread take turns')
    if (hold.failure !== null) {
      const failure = hold.failure
      this.letGo(hold)
      hold.failure = null
      throw failure
    }
    this.hold = hold
  }

  endRead(): void {
    const { pinned, cache } = this
    for (let i = 0; i < pinned.length; i++) cache.unpin(pinned[i])
    pinned.length = 0
    this.hold = null
  }

  tail(sst: SstMeta): SstTail | null {
    const kept = this.tails.get(sst.sstId)
    if (kept !== undefined) {
      kept.used = true
      return kept.tail
    }
    return this.inHand(sst, TAIL_INDEX)?.tail ?? null
  }

  block(sst: SstMeta, _tail: SstTail, blockIndex: number): Block | null {
    const hold = this.hold
    assert(hold !== null, 'blocks are read between beginRead and endRead')
    const slot = this.cache.lookup(sst.sstId, blockIndex, hold.reuses)
    if (slot < 0) return this.inHand(sst, blockIndex)?.block ?? null
    this.pinned.push(slot)
    const generation = this.cache.generation(slot)
    const known = this.slotBlocks[slot]
    if (known !== undefined && this.slotGenerations[slot] === generation) return known
    const block = new Block(this.cache.view(slot))
    this.slotBlocks[slot] = block
    this.slotGenerations[slot] = generation
    return block
  }

  prefetch(sst: SstMeta, _tail: SstTail, blockIndex: number): void {
    const slot = this.cache.lookup(sst.sstId, blockIndex, false)
    if (slot >= 0) this.cache.unpin(slot)
    else this.inHand(sst, blockIndex)
  }

  letGo(hold: ReadHold, keep?: (sstId: string, blockIndex: number) => boolean): void {
    let kept = 0
    for (const want of hold.wants) {
      if (keep?.(want.sst.sstId, want.blockIndex)) hold.wants[kept++] = want
      else this.drop(want, hold)
    }
    hold.wants.length = kept
  }

  /** What was asked for since the last call, grouped by SST. */
  takeRequests(): FetchRequest[] {
    if (this.unsent.length === 0) return []
    const bySst = new Map<string, { sst: SstMeta; tail: boolean; blocks: number[] }>()
    for (const want of this.unsent) {
      if (want.holds.length === 0) continue
      let request = bySst.get(want.sst.sstId)
      if (request === undefined) {
        request = { sst: want.sst, tail: false, blocks: [] }
        bySst.set(want.sst.sstId, request)
      }
      if (want.blockIndex === TAIL_INDEX) request.tail = true
      else request.blocks.push(want.blockIndex)
    }
    this.unsent = []
    for (const request of bySst.values()) request.blocks.sort((a, b) => a - b)
    return [...bySst.values()]
  }

  /** The answer to a request. An error fails every read that waits for something of this SST. */
  arrived(
    sstId: string,
    tail: Uint8Array | null,
    blocks: readonly FetchedBlock[],
    error: WireError | null,
  ): void {
    const wants = this.wants.get(sstId)
    if (wants === undefined) return
    if (error !== null) this.failAll(wants, fromWire(error))
    if (tail !== null) this.tailArrived(wants, tail)
    for (const { blockIndex, body } of blocks) {
      const want = wants.get(blockIndex)
      if (want === undefined || want.block !== null) continue
      want.block = new Block(body)
      fulfil(want)
    }
  }

  /** Bytes of the parsed tails kept. */
  get tailMemoryBytes(): number {
    return this.tailBytes
  }

  /** What was asked for and is held for reads; 0 when no read waits. */
  get wantCount(): number {
    let count = 0
    for (const wants of this.wants.values()) count += wants.size
    return count
  }

  private tailArrived(wants: Map<number, Want>, bytes: Uint8Array): void {
    const want = wants.get(TAIL_INDEX)
    if (want === undefined || want.tail !== null) return
    try {
      want.tail = SstTail.parse(want.sst, bytes)
    } catch (cause) {
      this.fail(want, toEngineError(cause))
      return
    }
    this.keepTail(want.sst.sstId, want.tail)
    fulfil(want)
  }

  private keepTail(sstId: string, tail: SstTail): void {
    this.tails.set(sstId, { tail, used: true })
    this.tailBytes += tail.memoryBytes
    // The clock: what was used since the last pass goes round once more.
    for (const [id, kept] of this.tails) {
      if (this.tailBytes <= this.tailBytesMax) return
      this.tails.delete(id)
      if (kept.used) {
        kept.used = false
        this.tails.set(id, kept)
      } else {
        this.tailBytes -= kept.tail.memoryBytes
      }
    }
  }

  /** What is held in hand of it; null: it was asked for now or before. */
  private inHand(sst: SstMeta, blockIndex: number): Want | null {
    let wants = this.wants.get(sst.sstId)
    if (wants === undefined) {
      wants = new Map()
      this.wants.set(sst.sstId, wants)
    }
    let want = wants.get(blockIndex)
    if (want === undefined) {
      want = { sst, blockIndex, tail: null, block: null, holds: [] }
      wants.set(blockIndex, want)
      this.unsent.push(want)
    }
    this.join(want)
    if (want.tail === null && want.block === null) return null
    this.inHandHits++
    return want
  }

  private join(want: Want): void {
    const hold = this.hold
    assert(hold !== null, 'SSTs are read between beginRead and endRead')
    if (want.holds.includes(hold)) return
    want.holds.push(hold)
    hold.wants.push(want)
    if (want.tail === null && want.block === null) hold.pending++
  }

  private drop(want: Want, hold: ReadHold): void {
    const at = want.holds.indexOf(hold)
    if (at >= 0) want.holds.splice(at, 1)
    if (want.tail === null && want.block === null && at >= 0) hold.pending--
    if (want.holds.length === 0) this.forget(want)
  }

  private forget(want: Want): void {
    const wants = this.wants.get(want.sst.sstId)
    if (wants?.get(want.blockIndex) !== want) return
    wants.delete(want.blockIndex)
    if (wants.size === 0) this.wants.delete(want.sst.sstId)
  }

  private failAll(wants: Map<number, Want>, error: EngineError): void {
    for (const want of [...wants.values()]) {
      // What has not been sent yet will have its own answer.
      if (want.tail === null && want.block === null && !this.unsent.includes(want)) {
        this.fail(want, error)
      }
    }
  }

  /** Every read that waits for it throws once; a later read asks anew. */
  private fail(want: Want, error: EngineError): void {
    for (const hold of want.holds) {
      hold.pending--
      hold.failure ??= error
    }
    want.holds.length = 0
    this.forget(want)
  }
}

function fulfil(want: Want): void {
  for (const hold of want.holds) hold.pending--
}

export type FetchFunction = (
  sst: SstMeta,
  want: { readonly tail: boolean; readonly blocks: readonly number[] },
) => Promise<{ readonly tail: Uint8Array | null; readonly blocks: readonly FetchedBlock[] }>

/** The control thread's: requests go out at the end of each poll. */
export class ControlBlockSource extends WorkerBlockSource {
  private readonly fetch: FetchFunction
  private waiters: (() => void)[] = []
  private underWay = 0

  constructor(options: BlockSourceOptions & { readonly fetch: FetchFunction }) {
    super(options)
    this.fetch = options.fetch
  }

  override endRead(): void {
    super.endRead()
    for (const request of this.takeRequests()) void this.send(request)
  }

  /** Resolves when something has arrived or failed; at once when nothing is under way. */
  waitForArrival(): Promise<void> {
    if (this.underWay === 0) return Promise.resolve()
    return new Promise((resolve) => this.waiters.push(resolve))
  }

  private async send(request: FetchRequest): Promise<void> {
    this.underWay++
    const { sst, tail, blocks } = request
    try {
      const answer = await this.fetch(sst, { tail, blocks })
      this.arrived(sst.sstId, answer.tail, answer.blocks, null)
    } catch (cause) {
      this.arrived(sst.sstId, null, [], toWire(cause))
    }
    this.underWay--
    const waiters = this.waiters
    this.waiters = []
    for (const wake of waiters) wake()
  }
}

/**
 * A fetch that looks into the cache first: another thread may have brought a block in since the asker
 * missed it. Answers hold copies. Owner's thread only.
 */
export function fetchThroughCache(cache: BlockCache, fetch: FetchFunction): FetchFunction {
  return async (sst, want) => {
    const here: FetchedBlock[] = []
    const missing: number[] = []
    for (const blockIndex of want.blocks) {
      const slot = cache.lookup(sst.sstId, blockIndex, false)
      if (slot < 0) {
        missing.push(blockIndex)
        continue
      }
      here.push({ blockIndex, body: cache.view(slot).slice() })
      cache.unpin(slot)
    }
    if (missing.length === 0 && !want.tail) return { tail: null, blocks: here }
    const rest = await fetch(sst, { tail: want.tail, blocks: missing })
    return { tail: rest.tail, blocks: [...here, ...rest.blocks] }
  }
}
