/**
 * Reads the records of one memtable or sealed run where they lie. The index over keys and the one over
 * declared key prefixes are built at the first read that needs them and caught up with the log at each
 * later one, so that a run nobody reads costs its writer nothing. Sorted order is made when it is asked for.
 * Any thread may build its own over a `SealedRun`.
 * Hot path: one probe per key read and run.
 */
import { compareBytes, equalBytes } from '../common/bytes.ts'
import { hashBytes } from '../common/hash.ts'
import { copyBytes } from './byte-list.ts'
import { RECORD_WORDS, sortKeys } from './iterator/key-sort.ts'
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

/**
 * Words per entry, together because entries are visited in random order: one miss of the CPU's cache each.
 * Segment and offset of the newest record | next entry of its prefix + 1 | for the first of a prefix: its last.
 */
export const ENTRY_WORDS = 4
export const ENTRY_SEGMENT = 0
export const ENTRY_OFFSET = 1
const ENTRY_NEXT = 2
const ENTRY_LAST = 3

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
  entries = new Uint32Array(0)

  private readonly starts: number[] = []
  private readonly ends: number[] = []
  /** Open addressing, two words a slot: entry + 1 (0: empty) | hash. */
  private table = new Uint32Array(2)
  private nextSegment = 0
  private nextOffset = 0

  /** As `table`: first entry of the prefix + 1 | hash of the prefix. */
  private prefixTable = new Uint32Array(2)
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
    const table = this.table
    const mask = table.length - 1
    let slot = (hash << 1) & mask
    for (; table[slot] !== 0; slot = (slot + 2) & mask) {
      if (table[slot + 1] !== hash) continue
      const entry = table[slot] - 1
      if (!this.keyEquals(entry, bytes, keyStart, keyStart + keyBytes)) continue
      this.entries[entry * ENTRY_WORDS + ENTRY_SEGMENT] = segment
      this.entries[entry * ENTRY_WORDS + ENTRY_OFFSET] = at
      return
    }
    const entry = this.entryCount++
    if (entry * ENTRY_WORDS === this.entries.length) {
      this.entries = grown(this.entries, Math.max(64, this.entries.length * 2))
    }
    this.entries[entry * ENTRY_WORDS + ENTRY_SEGMENT] = segment
    this.entries[entry * ENTRY_WORDS + ENTRY_OFFSET] = at
    table[slot] = entry + 1
    table[slot + 1] = hash
    // At most half full.
    if (this.entryCount * 4 >= table.length) this.table = rehashed(table)
  }

  /** The entry of a key, -1 if it was not written. `hash` is its `runKeyHash`. Call `index()` before. */
  find(hash: number, key: Uint8Array, start: number, end: number): number {
    const table = this.table
    const mask = table.length - 1
    let slot = (hash << 1) & mask
    for (; table[slot] !== 0; slot = (slot + 2) & mask) {
      if (table[slot + 1] === hash && this.keyEquals(table[slot] - 1, key, start, end)) {
        return table[slot] - 1
      }
    }
    return -1
  }

  private keyEquals(entry: number, key: Uint8Array, start: number, end: number): boolean {
    const segment = this.entries[entry * ENTRY_WORDS + ENTRY_SEGMENT]
    const offset = this.entries[entry * ENTRY_WORDS + ENTRY_OFFSET]
    if (this.segmentWords[segment][offset >>> 2] !== end - start) return false
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
      entry = this.entries[entry * ENTRY_WORDS + ENTRY_NEXT] - 1
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
    while (this.prefixIndexed < this.entryCount) this.indexPrefix(this.prefixIndexed++)
    const slot = this.prefixSlot(hashBytes(key, start, end, PREFIX_SEED), key, start, end)
    return this.prefixTable[slot] - 1
  }

  /** The slot of a prefix, or the empty one where it belongs. */
  private prefixSlot(hash: number, key: Uint8Array, start: number, end: number): number {
    const table = this.prefixTable
    const mask = table.length - 1
    let slot = (hash << 1) & mask
    for (; table[slot] !== 0; slot = (slot + 2) & mask) {
      // Columns say how long they are: a key that begins with these bytes has this prefix.
      if (table[slot + 1] === hash && this.beginsWith(table[slot] - 1, key, start, end)) break
    }
    return slot
  }

  private indexPrefix(entry: number): void {
    const entries = this.entries
    const segment = entries[entry * ENTRY_WORDS + ENTRY_SEGMENT]
    const offset = entries[entry * ENTRY_WORDS + ENTRY_OFFSET]
    const bytes = this.segmentBytes[segment]
    const start = offset + RECORD_HEADER_BYTES
    const keyEnd = start + this.segmentWords[segment][offset >>> 2]
    const end = skipColumns(bytes, start + VNODE_BYTES, keyEnd, this.prefixColumns)
    const hash = hashBytes(bytes, start, end, PREFIX_SEED)
    const slot = this.prefixSlot(hash, bytes, start, end)
    const table = this.prefixTable
    if (table[slot] !== 0) {
      const first = (table[slot] - 1) * ENTRY_WORDS
      entries[entries[first + ENTRY_LAST] * ENTRY_WORDS + ENTRY_NEXT] = entry + 1
      entries[first + ENTRY_LAST] = entry
      return
    }
    entries[entry * ENTRY_WORDS + ENTRY_LAST] = entry
    table[slot] = entry + 1
    table[slot + 1] = hash
    if (++this.prefixCount * 4 >= table.length) this.prefixTable = rehashed(table)
  }

  private beginsWith(entry: number, key: Uint8Array, start: number, end: number): boolean {
    const segment = this.entries[entry * ENTRY_WORDS + ENTRY_SEGMENT]
    const offset = this.entries[entry * ENTRY_WORDS + ENTRY_OFFSET]
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
    const segment = this.entries[entry * ENTRY_WORDS + ENTRY_SEGMENT]
    const offset = this.entries[entry * ENTRY_WORDS + ENTRY_OFFSET]
    const keyStart = offset + RECORD_HEADER_BYTES
    const keyEnd = keyStart + this.segmentWords[segment][offset >>> 2]
    return compareBytes(this.segmentBytes[segment], keyStart, keyEnd, key, start, end)
  }

  private compareEntries(left: number, right: number): number {
    const segment = this.entries[right * ENTRY_WORDS + ENTRY_SEGMENT]
    const offset = this.entries[right * ENTRY_WORDS + ENTRY_OFFSET]
    const keyStart = offset + RECORD_HEADER_BYTES
    const keyEnd = keyStart + this.segmentWords[segment][offset >>> 2]
    return this.compareEntry(left, this.segmentBytes[segment], keyStart, keyEnd)
  }

  /** Gathers the keys, for the sort wants them in one buffer. */
  private radixSort(items: Uint32Array, count: number): void {
    let keyBytes = 0
    for (let i = 0; i < count; i++) keyBytes += this.keyBytesOf(items[i])
    const bytes = new Uint8Array(keyBytes)
    const records = new Int32Array(count * RECORD_WORDS)
    let at = 0
    for (let i = 0; i < count; i++) {
      const length = this.keyBytesOf(items[i])
      const segment = this.entries[items[i] * ENTRY_WORDS + ENTRY_SEGMENT]
      const start = this.entries[items[i] * ENTRY_WORDS + ENTRY_OFFSET] + RECORD_HEADER_BYTES
      copyBytes(this.segmentBytes[segment], start, start + length, bytes, at)
      records[i * RECORD_WORDS] = at
      records[i * RECORD_WORDS + 1] = length
      at += length
    }
    const order = sortKeys({ bytes, records, count })
    const unsorted = items.slice(0, count)
    for (let i = 0; i < count; i++) items[i] = unsorted[order[i]]
  }

  private keyBytesOf(entry: number): number {
    const segment = this.entries[entry * ENTRY_WORDS + ENTRY_SEGMENT]
    const offset = this.entries[entry * ENTRY_WORDS + ENTRY_OFFSET]
    return this.segmentWords[segment][offset >>> 2]
  }

  /** Keys often come in order, so that is looked for first. */
  private sortEntries(items: Uint32Array, count: number): void {
    let sortedTo = 1
    while (sortedTo < count && this.compareEntries(items[sortedTo - 1], items[sortedTo]) < 0) {
      sortedTo++
    }
    if (sortedTo >= count) return
    if (count > INSERTION_SORT_MAX) {
      this.radixSort(items, count)
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

/** Twice the table, and at least 32 slots of two words: entry + 1 (0: empty) | hash. */
function rehashed(table: Uint32Array): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(Math.max(64, table.length * 4))
  const mask = larger.length - 1
  for (let i = 0; i < table.length; i += 2) {
    if (table[i] === 0) continue
    let slot = (table[i + 1] << 1) & mask
    while (larger[slot] !== 0) slot = (slot + 2) & mask
    larger[slot] = table[i]
    larger[slot + 1] = table[i + 1]
  }
  return larger
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

function grown(array: Uint32Array, capacity: number): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(capacity)
  larger.set(array)
  return larger
}
