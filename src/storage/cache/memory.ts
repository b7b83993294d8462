/**
 * The block cache of the process: decoded blocks in one shared buffer that every thread reads and only the
 * control thread (the owner) fills and empties. Reading is pin, verify, read, unpin: an atomic add each
 * way. Eviction is S3-FIFO: newcomers pass through a small queue and only what is read again there
 * gets into the main one, so that a scan does not flush what is hot. A block larger than a slot is not cached.
 * Hot path: one lookup per block read.
 * @see Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023
 *
 * ```
 * buffer = buckets: Int32 each, slot + 1 of the chain's first | slot headers, 128 bytes each | slots
 * header = Int32 words: state | generation | next slot + 1 | hash | block index | body bytes | touches | id bytes | id ×24
 * state  = count of pins; EVICTING is added while the owner alone may use the slot
 * ```
 */
import { assert } from '../../common/assert.ts'
import { hashBytes, mix32 } from '../../common/hash.ts'

/** A block of 64 KiB, its last entry and its trailer. */
export const SLOT_BYTES = 72 * 1024
const HEADER_WORDS = 32
const STATE = 0
const GENERATION = 1
const NEXT = 2
const HASH = 3
const BLOCK_INDEX = 4
const BODY_BYTES = 5
const TOUCHES = 6
const ID_BYTES = 7
const ID = 8
const ID_BYTES_MAX = (HEADER_WORDS - ID) * 4
/** Far below any count of pins: a sum with it stays negative. */
const EVICTING = -(2 ** 30)
const TOUCHES_MAX = 3
/** Part of the slots that newcomers may fill. */
const SMALL_SHARE = 0.1
/** A reader that met the owner at work may follow a chain astray: it gives up, which is a miss. */
const CHAIN_STEPS_MAX = 64
const SST_KEYS_MAX = 16_384
const ID_SEED = 0x5353_5431

interface SstKey {
  readonly hash: number
  readonly id: Uint8Array
}

export interface BlockCacheStats {
  hits: number
  misses: number
  inserts: number
  evictions: number
  /** Blocks that found no slot: too large, or everything pinned. */
  refused: number
}

export class BlockCache {
  /** Of this thread's use. */
  readonly stats: BlockCacheStats = { hits: 0, misses: 0, inserts: 0, evictions: 0, refused: 0 }
  readonly slotCount: number
  private readonly slotBytes: number
  private readonly bucketMask: number
  private readonly buckets: Int32Array
  private readonly headers: Int32Array
  private readonly headerBytes: Uint8Array
  private readonly bodies: Uint8Array
  private readonly owner: Owner | null
  private readonly keys = new Map<string, SstKey>()
  private readonly views: (Uint8Array | undefined)[] = []
  private readonly viewGenerations: Int32Array

  /** Bytes of a buffer whose slots hold about `budget` bytes. */
  static bytesFor(budget: number, slotBytes: number = SLOT_BYTES): number {
    const slots = Math.max(2, Math.floor(budget / (slotBytes + HEADER_WORDS * 4 + 8)))
    return slots * (slotBytes + HEADER_WORDS * 4) + bucketCountOf(slots) * 4
  }

  /** @param buffer zeroed, `bytesFor` long; the owner is the one thread that inserts and evicts. */
  constructor(buffer: SharedArrayBuffer, role: 'owner' | 'reader', slotBytes: number = SLOT_BYTES) {
    assert(slotBytes % 4 === 0, 'slots are whole words')
    const each = slotBytes + HEADER_WORDS * 4
    let slots = Math.floor(buffer.byteLength / each)
    while (slots * each + bucketCountOf(slots) * 4 > buffer.byteLength) slots--
    assert(slots >= 1, 'the buffer of the block cache holds a slot')
    const bucketCount = bucketCountOf(slots)
    this.slotCount = slots
    this.slotBytes = slotBytes
    this.bucketMask = bucketCount - 1
    this.buckets = new Int32Array(buffer, 0, bucketCount)
    this.headers = new Int32Array(buffer, bucketCount * 4, slots * HEADER_WORDS)
    this.headerBytes = new Uint8Array(buffer, bucketCount * 4, slots * HEADER_WORDS * 4)
    const bodiesAt = bucketCount * 4 + slots * HEADER_WORDS * 4
    this.bodies = new Uint8Array(buffer, bodiesAt, slots * slotBytes)
    this.viewGenerations = new Int32Array(slots).fill(-1)
    this.owner = role === 'owner' ? new Owner(slots) : null
  }

  /**
   * The slot of a block, pinned: `unpin` it after use. -1: not here.
   * @param touch false for scans: what they read does not count as used again.
   */
  lookup(sstId: string, blockIndex: number, touch = true): number {
    const key = this.keyOf(sstId)
    const headers = this.headers
    const bucket = this.bucketOf(key.hash, blockIndex)
    let slot = Atomics.load(this.buckets, bucket) - 1
    for (let step = 0; slot >= 0 && step < CHAIN_STEPS_MAX; step++) {
      const at = slot * HEADER_WORDS
      // Unordered reads: they only spare the atomic operations on other blocks' slots.
      if (headers[at + HASH] === key.hash && headers[at + BLOCK_INDEX] === blockIndex) {
        // Pin before verifying: from here on, unless the owner was faster, it leaves the slot alone. The add
        // is also the acquire that pairs with the owner's release in `insert`: the body's bytes are seen.
        if (Atomics.add(headers, at + STATE, 1) >= 0 && this.isBlock(at, key, blockIndex)) {
          if (touch && headers[at + TOUCHES] < TOUCHES_MAX) headers[at + TOUCHES]++
          this.stats.hits++
          return slot
        }
        Atomics.sub(headers, at + STATE, 1)
      }
      slot = Atomics.load(headers, at + NEXT) - 1
    }
    this.stats.misses++
    return -1
  }

  /** The body in a pinned slot; valid until `unpin`. */
  view(slot: number): Uint8Array {
    const at = slot * HEADER_WORDS
    const generation = this.headers[at + GENERATION]
    const known = this.views[slot]
    if (known !== undefined && this.viewGenerations[slot] === generation) return known
    const start = slot * this.slotBytes
    const view = this.bodies.subarray(start, start + this.headers[at + BODY_BYTES])
    this.views[slot] = view
    this.viewGenerations[slot] = generation
    return view
  }

  /** Of the content of a pinned slot: another content has another one. */
  generation(slot: number): number {
    return this.headers[slot * HEADER_WORDS + GENERATION]
  }

  unpin(slot: number): void {
    // Release: the reads of the body stay before it, so before any rewriting by the owner's CAS.
    Atomics.sub(this.headers, slot * HEADER_WORDS + STATE, 1)
  }

  /** Copies a decoded block in. False: it does not fit or everything is pinned. Owner only. */
  insert(sstId: string, blockIndex: number, body: Uint8Array): boolean {
    const owner = this.ownerOnly()
    const key = this.keyOf(sstId)
    if (body.length > this.slotBytes || key.id.length > ID_BYTES_MAX) {
      this.stats.refused++
      return false
    }
    if (this.findLinked(key, blockIndex) >= 0) return true
    const slot = this.takeSlot(owner)
    if (slot < 0) {
      this.stats.refused++
      return false
    }
    const at = slot * HEADER_WORDS
    const headers = this.headers
    headers[at + GENERATION]++
    headers[at + HASH] = key.hash
    headers[at + BLOCK_INDEX] = blockIndex
    headers[at + BODY_BYTES] = body.length
    headers[at + TOUCHES] = 0
    headers[at + ID_BYTES] = key.id.length
    this.headerBytes.set(key.id, (at + ID) * 4)
    this.bodies.set(body, slot * this.slotBytes)
    const bucket = this.bucketOf(key.hash, blockIndex)
    Atomics.store(headers, at + NEXT, Atomics.load(this.buckets, bucket))
    Atomics.store(this.buckets, bucket, slot + 1)
    // Release: opens the slot. An add, not a store: readers that came too early may be between their add and sub.
    Atomics.sub(headers, at + STATE, EVICTING)
    owner.admit(slot, ghostKey(key.hash, blockIndex))
    this.stats.inserts++
    return true
  }

  /** Forgets all blocks of an SST. Pinned ones stay readable for who pinned them. Owner only. */
  evictSst(sstId: string): void {
    this.ownerOnly()
    const key = this.keyOf(sstId)
    for (let slot = 0; slot < this.slotCount; slot++) {
      const at = slot * HEADER_WORDS
      if (this.headers[at + HASH] === key.hash && this.isBlock(at, key, undefined)) {
        this.forget(slot)
      }
    }
    this.keys.delete(sstId)
  }

  private ownerOnly(): Owner {
    assert(this.owner !== null, 'only the owner changes the block cache')
    return this.owner
  }

  private keyOf(sstId: string): SstKey {
    let key = this.keys.get(sstId)
    if (key === undefined) {
      if (this.keys.size >= SST_KEYS_MAX) this.keys.clear()
      const id = encoder.encode(sstId)
      key = { id, hash: sstIdHash(id) }
      this.keys.set(sstId, key)
    }
    return key
  }

  private bucketOf(hash: number, blockIndex: number): number {
    return mix32(hash ^ Math.imul(blockIndex + 1, 0x9e37_79b1)) & this.bucketMask
  }

  private isBlock(at: number, key: SstKey, blockIndex: number | undefined): boolean {
    const headers = this.headers
    if (
      blockIndex === undefined
        ? headers[at + BLOCK_INDEX] < 0
        : headers[at + BLOCK_INDEX] !== blockIndex
    ) {
      return false
    }
    const id = key.id
    if (headers[at + ID_BYTES] !== id.length) return false
    const bytes = this.headerBytes
    for (let i = 0, j = (at + ID) * 4; i < id.length; i++, j++) if (bytes[j] !== id[i]) return false
    return true
  }

  /** Owner's lookup: chains stand still. */
  private findLinked(key: SstKey, blockIndex: number): number {
    let slot = this.buckets[this.bucketOf(key.hash, blockIndex)] - 1
    while (slot >= 0) {
      const at = slot * HEADER_WORDS
      if (this.headers[at + HASH] === key.hash && this.isBlock(at, key, blockIndex)) return slot
      slot = this.headers[at + NEXT] - 1
    }
    return -1
  }

  /** A slot that the owner alone may use (EVICTING is in its state), -1 if all are pinned. */
  private takeSlot(owner: Owner): number {
    const headers = this.headers
    if (owner.unused < this.slotCount) {
      const slot = owner.unused++
      headers[slot * HEADER_WORDS + BLOCK_INDEX] = -1
      Atomics.add(headers, slot * HEADER_WORDS + STATE, EVICTING)
      return slot
    }
    // After a pin the other queue has its turn, so that every slot is met once its touches are used up.
    let other = false
    for (let turn = this.slotCount * (TOUCHES_MAX + 2) * 2; turn > 0; turn--) {
      const smallFirst = owner.small.size > owner.smallMax !== other
      const fromSmall = owner.main.size === 0 || (smallFirst && owner.small.size > 0)
      const queue = fromSmall ? owner.small : owner.main
      const slot = queue.shift()
      const at = slot * HEADER_WORDS
      const touches = headers[at + TOUCHES]
      if (touches > 0) {
        headers[at + TOUCHES] = fromSmall ? 0 : touches - 1
        owner.main.push(slot)
      } else if (Atomics.compareExchange(headers, at + STATE, 0, EVICTING) !== 0) {
        queue.push(slot)
        other = !other
      } else {
        if (fromSmall) owner.remember(ghostKey(headers[at + HASH], headers[at + BLOCK_INDEX]))
        this.forget(slot)
        this.stats.evictions++
        return slot
      }
    }
    return -1
  }

  /** Takes the slot out of its chain, so that nobody finds it any more. */
  private forget(slot: number): void {
    const at = slot * HEADER_WORDS
    const headers = this.headers
    const blockIndex = headers[at + BLOCK_INDEX]
    if (blockIndex < 0) return
    const bucket = this.bucketOf(headers[at + HASH], blockIndex)
    const next = headers[at + NEXT]
    if (this.buckets[bucket] === slot + 1) Atomics.store(this.buckets, bucket, next)
    else {
      let before = this.buckets[bucket] - 1
      while (headers[before * HEADER_WORDS + NEXT] !== slot + 1) {
        before = headers[before * HEADER_WORDS + NEXT] - 1
      }
      Atomics.store(headers, before * HEADER_WORDS + NEXT, next)
    }
    headers[at + BLOCK_INDEX] = -1
    headers[at + TOUCHES] = 0
  }
}

const encoder = new TextEncoder()

/** By which blocks of an SST are found; what is found is compared with the whole id. i32. */
export function sstIdHash(id: Uint8Array): number {
  return hashBytes(id, 0, id.length, ID_SEED) | 0
}

function bucketCountOf(slots: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(slots, 1) * 2))
}

function ghostKey(hash: number, blockIndex: number): number {
  return (hash >>> 0) * 2 ** 20 + (blockIndex & 0xf_ffff)
}

/** What only the inserting thread knows. */
class Owner {
  /** Slots from here on have never been used. */
  unused = 0
  readonly small: SlotQueue
  readonly main: SlotQueue
  readonly smallMax: number
  /** Blocks that left the small queue lately, in this order. */
  private readonly ghosts = new Set<number>()
  private readonly ghostsMax: number

  constructor(slots: number) {
    this.small = new SlotQueue(slots)
    this.main = new SlotQueue(slots)
    this.smallMax = Math.max(1, Math.floor(slots * SMALL_SHARE))
    this.ghostsMax = slots
  }

  admit(slot: number, ghost: number): void {
    if (this.ghosts.delete(ghost)) this.main.push(slot)
    else this.small.push(slot)
  }

  remember(ghost: number): void {
    this.ghosts.add(ghost)
    if (this.ghosts.size <= this.ghostsMax) return
    for (const oldest of this.ghosts) {
      this.ghosts.delete(oldest)
      return
    }
  }
}

/** First in, first out; every slot stands in it at most once. */
class SlotQueue {
  size = 0
  private readonly slots: Int32Array
  private head = 0

  constructor(capacity: number) {
    this.slots = new Int32Array(capacity)
  }

  push(slot: number): void {
    this.slots[(this.head + this.size++) % this.slots.length] = slot
  }

  /** The queue must not be empty. */
  shift(): number {
    const slot = this.slots[this.head]
    this.head = (this.head + 1) % this.slots.length
    this.size--
    return slot
  }
}
