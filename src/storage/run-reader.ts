/**
 * Reads the records of one memtable or sealed run where they lie. The index over keys and the one over
 * declared key prefixes are built at the first read that needs them and caught up with the log at each
 * later one, so that a run nobody reads costs its writer nothing. Sorted order is made when it is asked for.
 * Any thread may build its own over a `SealedRun`.
 * Hot path: one probe per key read and run.
 */
import { compareBytes, equalBytes } from '../common/bytes.ts'
import { hashBytes } from '../common/hash.ts'
import { skipColumns, VNODE_BYTES } from './key.ts'
import type { SealedRun } from './state-store.ts'

/** `valueBytes` of a delete. */
export const DELETED = 0xffff_ffff
export const RECORD_HEADER_BYTES = 8

const KEY_SEED = 0x2545_f491
const PREFIX_SEED = 0x1b87_3593
const INSERTION_SORT_MAX = 24

/** The hash that `find` expects of a table key. u32. */
export function runKeyHash(key: Uint8Array, start: number, end: number): number {
  return hashBytes(key, start, end, KEY_SEED)
}

/**
 * Where the first `columns` columns of the (possibly shorter) key end; -1 when it spells fewer.
 * @throws EngineError `CORRUPTION` when it ends within a column.
 */
export function prefixEndOf(key: Uint8Array, start: number, end: number, columns: number): number {
  let at = start + VNODE_BYTES
  if (at > end) return -1
  for (let column = 0; column < columns; column++) {
    if (at >= end) return -1
    at = skipColumns(key, at, end, 1)
  }
  return at
}

/** Bytes that a record takes in the log. */
export function recordBytes(keyBytes: number, valueBytes: number): number {
  return (RECORD_HEADER_BYTES + keyBytes + (valueBytes === DELETED ? 0 : valueBytes) + 3) & ~3
}

export class RunReader {
  readonly prefixColumns: number
  /** Of the sealed run; Infinity while the memtable is written. */
  epoch: number
  /** Reads under way that use it. */
  pins = 0
  /** Entries = distinct keys, in the order of their first write; complete after `index()`. */
  entryCount = 0
  readonly segmentBytes: Uint8Array[] = []
  readonly segmentWords: Uint32Array[] = []
  /** Segment and offset of the newest record of each entry. */
  segmentOf = new Uint32Array(0)
  offsetOf = new Uint32Array(0)

  private readonly starts: number[] = []
  private readonly ends: number[] = []
  private hashes = new Uint32Array(0)
  /** Open addressing: entry + 1, 0 = empty. */
  private table = new Int32Array(1)
  private nextSegment = 0
  private nextOffset = 0

  /** Open addressing: first entry of the prefix + 1. */
  private prefixTable = new Int32Array(1)
  private prefixNext = new Int32Array(0)
  /** For the first entry of a prefix: its last one, and the hash. */
  private prefixLast = new Int32Array(0)
  private prefixHashes = new Uint32Array(0)
  private prefixCount = 0
  private prefixIndexed = 0

  private order = new Uint32Array(0)

  constructor(prefixColumns: number, epoch: number) {
    this.prefixColumns = prefixColumns
    this.epoch = epoch
  }

  /** A reader of a run that any thread sealed. */
  static of(run: SealedRun): RunReader {
    const reader = new RunReader(run.prefixColumns, run.epoch)
    for (const segment of run.segments) {
      reader.addSegment(
        new Uint8Array(segment.buffer, segment.offset, segment.length),
        new Uint32Array(segment.buffer, segment.offset, segment.length >>> 2),
        0,
        segment.length,
      )
    }
    return reader
  }

  /** The log goes on in `bytes[start .. end]`; the segment before it is complete. */
  addSegment(bytes: Uint8Array, words: Uint32Array, start: number, end: number): void {
    if (this.starts.length === 0) this.nextOffset = start
    this.segmentBytes.push(bytes)
    this.segmentWords.push(words)
    this.starts.push(start)
    this.ends.push(end)
  }

  /** The last segment now reaches to `end`. */
  extend(end: number): void {
    this.ends[this.ends.length - 1] = end
  }

  /** Brings the key index up to the end of the log. */
  index(): void {
    const segmentCount = this.starts.length
    while (this.nextSegment < segmentCount) {
      const segment = this.nextSegment
      const bytes = this.segmentBytes[segment]
      const words = this.segmentWords[segment]
      const end = this.ends[segment]
      let at = this.nextOffset
      while (at < end) {
        const keyBytes = words[at >>> 2]
        const valueBytes = words[(at >>> 2) + 1]
        this.indexRecord(bytes, segment, at, keyBytes)
        at += recordBytes(keyBytes, valueBytes)
      }
      this.nextOffset = at
      // The last segment may still grow.
      if (segment === segmentCount - 1) return
      this.nextSegment = segment + 1
      this.nextOffset = this.starts[segment + 1]
    }
  }

  private indexRecord(bytes: Uint8Array, segment: number, at: number, keyBytes: number): void {
    const keyStart = at + RECORD_HEADER_BYTES
    const hash = hashBytes(bytes, keyStart, keyStart + keyBytes, KEY_SEED)
    const mask = this.table.length - 1
    let slot = hash & mask
    for (;;) {
      const entry = this.table[slot] - 1
      if (entry < 0) break
      if (
        this.hashes[entry] === hash &&
        this.keyEquals(entry, bytes, keyStart, keyStart + keyBytes)
      ) {
        this.segmentOf[entry] = segment
        this.offsetOf[entry] = at
        return
      }
      slot = (slot + 1) & mask
    }
    const entry = this.entryCount++
    if (entry === this.hashes.length) this.growEntries()
    this.hashes[entry] = hash
    this.segmentOf[entry] = segment
    this.offsetOf[entry] = at
    if (this.entryCount * 2 > this.table.length) this.growTable()
    else this.table[slot] = entry + 1
  }

  private growEntries(): void {
    const capacity = Math.max(64, this.hashes.length * 2)
    this.hashes = grown(this.hashes, capacity)
    this.segmentOf = grown(this.segmentOf, capacity)
    this.offsetOf = grown(this.offsetOf, capacity)
  }

  private growTable(): void {
    const table = new Int32Array(Math.max(64, this.table.length * 4))
    const mask = table.length - 1
    for (let entry = 0; entry < this.entryCount; entry++) {
      let slot = this.hashes[entry] & mask
      while (table[slot] !== 0) slot = (slot + 1) & mask
      table[slot] = entry + 1
    }
    this.table = table
  }

  /** The entry of a key, -1 if it was not written. `hash` is its `runKeyHash`. Call `index()` before. */
  find(hash: number, key: Uint8Array, start: number, end: number): number {
    const table = this.table
    const mask = table.length - 1
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const entry = table[slot] - 1
      if (entry < 0) return -1
      if (this.hashes[entry] === hash && this.keyEquals(entry, key, start, end)) return entry
    }
  }

  private keyEquals(entry: number, key: Uint8Array, start: number, end: number): boolean {
    const segment = this.segmentOf[entry]
    const offset = this.offsetOf[entry]
    const length = this.segmentWords[segment][offset >>> 2]
    if (length !== end - start) return false
    const bytes = this.segmentBytes[segment]
    for (let i = start, j = offset + RECORD_HEADER_BYTES; i < end; i++, j++) {
      if (bytes[j] !== key[i]) return false
    }
    return true
  }

  /**
   * Entries whose key begins with `key[start .. end]`, in key order. `prefixEnd`: where the declared
   * prefix within it ends, -1 if it is shorter. The array is scratch of the caller's; returns their count.
   */
  entriesBelow(
    key: Uint8Array,
    start: number,
    end: number,
    prefixEnd: number,
    target: EntryList,
  ): void {
    this.index()
    target.count = 0
    if (prefixEnd < 0 || this.prefixColumns === 0) {
      const order = this.sorted()
      for (let i = this.lowerBound(order, key, start, end); i < this.entryCount; i++) {
        if (!this.beginsWith(order[i], key, start, end)) break
        target.add(order[i])
      }
      return
    }
    let entry = this.findPrefix(key, start, prefixEnd)
    while (entry >= 0) {
      if (prefixEnd === end || this.beginsWith(entry, key, start, end)) target.add(entry)
      entry = this.prefixNext[entry]
    }
    this.sortEntries(target.items, target.count)
  }

  /** Entries with `from <= key < to`, in key order. */
  entriesBetween(from: Uint8Array, to: Uint8Array, target: EntryList): void {
    this.index()
    const order = this.sorted()
    target.count = 0
    const end = this.lowerBound(order, to, 0, to.length)
    for (let i = this.lowerBound(order, from, 0, from.length); i < end; i++) target.add(order[i])
  }

  private findPrefix(key: Uint8Array, start: number, end: number): number {
    this.indexPrefixes()
    const hash = hashBytes(key, start, end, PREFIX_SEED)
    const mask = this.prefixTable.length - 1
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const entry = this.prefixTable[slot] - 1
      if (entry < 0) return -1
      // Columns say how long they are: a key that begins with these bytes has this prefix.
      if (this.prefixHashes[entry] === hash && this.beginsWith(entry, key, start, end)) return entry
    }
  }

  private indexPrefixes(): void {
    if (this.prefixIndexed === this.entryCount) return
    if (this.prefixNext.length < this.hashes.length) {
      const capacity = this.hashes.length
      this.prefixNext = grown(this.prefixNext, capacity)
      this.prefixLast = grown(this.prefixLast, capacity)
      this.prefixHashes = grown(this.prefixHashes, capacity)
    }
    for (let entry = this.prefixIndexed; entry < this.entryCount; entry++) this.indexPrefix(entry)
    this.prefixIndexed = this.entryCount
  }

  private indexPrefix(entry: number): void {
    const segment = this.segmentOf[entry]
    const offset = this.offsetOf[entry]
    const bytes = this.segmentBytes[segment]
    const start = offset + RECORD_HEADER_BYTES
    const keyEnd = start + this.segmentWords[segment][offset >>> 2]
    const end = skipColumns(bytes, start + VNODE_BYTES, keyEnd, this.prefixColumns)
    const hash = hashBytes(bytes, start, end, PREFIX_SEED)
    this.prefixNext[entry] = -1
    const mask = this.prefixTable.length - 1
    let slot = hash & mask
    for (;;) {
      const head = this.prefixTable[slot] - 1
      if (head < 0) break
      if (this.prefixHashes[head] === hash && this.beginsWith(head, bytes, start, end)) {
        this.prefixNext[this.prefixLast[head]] = entry
        this.prefixLast[head] = entry
        return
      }
      slot = (slot + 1) & mask
    }
    this.prefixHashes[entry] = hash
    this.prefixLast[entry] = entry
    this.prefixTable[slot] = entry + 1
    if (++this.prefixCount * 2 > this.prefixTable.length) this.growPrefixTable()
  }

  private growPrefixTable(): void {
    const table = new Int32Array(Math.max(64, this.prefixTable.length * 4))
    const mask = table.length - 1
    for (let i = 0; i < this.prefixTable.length; i++) {
      const head = this.prefixTable[i]
      if (head === 0) continue
      let slot = this.prefixHashes[head - 1] & mask
      while (table[slot] !== 0) slot = (slot + 1) & mask
      table[slot] = head
    }
    this.prefixTable = table
  }

  private beginsWith(entry: number, key: Uint8Array, start: number, end: number): boolean {
    const segment = this.segmentOf[entry]
    const offset = this.offsetOf[entry]
    const keyStart = offset + RECORD_HEADER_BYTES
    if (this.segmentWords[segment][offset >>> 2] < end - start) return false
    return equalBytes(
      this.segmentBytes[segment],
      keyStart,
      keyStart + (end - start),
      key,
      start,
      end,
    )
  }

  /** All entries in key order: what came since the last call is sorted and merged in. */
  private sorted(): Uint32Array {
    const old = this.order
    const added = this.entryCount - old.length
    if (added === 0) return old
    const fresh = new Uint32Array(added)
    for (let i = 0; i < added; i++) fresh[i] = old.length + i
    this.sortEntries(fresh, added)
    if (old.length === 0) {
      this.order = fresh
      return fresh
    }
    const merged = new Uint32Array(this.entryCount)
    let left = 0
    let right = 0
    for (let i = 0; i < merged.length; i++) {
      const takeLeft =
        right === added || (left < old.length && this.compareEntries(old[left], fresh[right]) < 0)
      merged[i] = takeLeft ? old[left++] : fresh[right++]
    }
    this.order = merged
    return merged
  }

  private lowerBound(order: Uint32Array, key: Uint8Array, start: number, end: number): number {
    let low = 0
    let high = order.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.compareEntry(order[middle], key, start, end) < 0) low = middle + 1
      else high = middle
    }
    return low
  }

  private compareEntry(entry: number, key: Uint8Array, start: number, end: number): number {
    const segment = this.segmentOf[entry]
    const offset = this.offsetOf[entry]
    const keyStart = offset + RECORD_HEADER_BYTES
    const keyEnd = keyStart + this.segmentWords[segment][offset >>> 2]
    return compareBytes(this.segmentBytes[segment], keyStart, keyEnd, key, start, end)
  }

  private compareEntries(left: number, right: number): number {
    const segment = this.segmentOf[right]
    const offset = this.offsetOf[right]
    const keyStart = offset + RECORD_HEADER_BYTES
    const keyEnd = keyStart + this.segmentWords[segment][offset >>> 2]
    return this.compareEntry(left, this.segmentBytes[segment], keyStart, keyEnd)
  }

  /** Keys often come in order, so that is looked for first. */
  private sortEntries(items: Uint32Array, count: number): void {
    let sortedTo = 1
    while (sortedTo < count && this.compareEntries(items[sortedTo - 1], items[sortedTo]) < 0) {
      sortedTo++
    }
    if (sortedTo >= count) return
    if (count > INSERTION_SORT_MAX) {
      items.subarray(0, count).sort((left, right) => this.compareEntries(left, right))
      return
    }
    for (let i = sortedTo; i < count; i++) {
      const item = items[i]
      let j = i - 1
      for (; j >= 0 && this.compareEntries(items[j], item) > 0; j--) items[j + 1] = items[j]
      items[j + 1] = item
    }
  }
}

/** A list of entries that its owner uses again and again. */
export class EntryList {
  items = new Uint32Array(16)
  count = 0

  add(entry: number): void {
    if (this.count === this.items.length) this.items = grown(this.items, this.items.length * 2)
    this.items[this.count++] = entry
  }
}

function grown<T extends Uint32Array | Int32Array>(array: T, capacity: number): T {
  const larger = new (array.constructor as new (length: number) => T)(capacity)
  larger.set(array)
  return larger
}
