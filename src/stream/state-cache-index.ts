/**
 * From whole key values to entry numbers 0, 1, 2, …: the hash table under every state cache. Hashes only say
 * where to look; keys are compared whole. Entries are never removed one by one: a generation is dropped whole.
 * Hot path: one batch call per chunk, some 10 ns a row when keys are one or two narrow columns.
 */
import { mix32 } from '../common/hash.ts'
import type { Column } from './column.ts'
import { NARROW } from './column.ts'
import type { DataType } from './schema.ts'
import { CellColumn } from './state-cache-cells.ts'

const FIRST_CAPACITY = 64

export class KeyIndex {
  /** Key values by entry number, one a key column. */
  readonly cells: readonly CellColumn[]
  /** Entries so far; the next entry gets this number. */
  count = 0
  capacity = FIRST_CAPACITY
  /** Hash of each entry's key. */
  hashes = new Uint32Array(FIRST_CAPACITY)
  /** Entry number + 1, or 0; twice as many as `capacity`, so that half at least is free. */
  private slots = new Int32Array(FIRST_CAPACITY * 2)
  /** Slots go by the high bits: the low ones are the vnode, of which an actor sees only some. */
  private shift = 32 - Math.log2(FIRST_CAPACITY * 2)

  constructor(types: readonly DataType[]) {
    this.cells = types.map((type) => new CellColumn(type, FIRST_CAPACITY))
  }

  /** Bytes that the entries so far take. */
  get bytes(): number {
    let bytes = this.count * 12
    for (const cells of this.cells) bytes += this.count * cells.cellBytes + cells.heapBytes
    return bytes
  }

  /**
   * `out[row]` = the entry whose key equals the row's, or -1. Rows with `active[row]` 0 get -1 and are
   * not counted.
   * @returns how many active rows have no entry.
   */
  findAll(
    columns: readonly Column[],
    hashes: Uint32Array,
    active: Uint8Array | null,
    rowCount: number,
    out: Int32Array,
  ): number {
    if (columns.length === 1 && this.isPlain(columns, 0))
      return this.findPlain1(columns[0].numbers, hashes, active, rowCount, out)
    if (columns.length === 2 && this.isPlain(columns, 0) && this.isPlain(columns, 1))
      return this.findPlain2(columns, hashes, active, rowCount, out)
    let missing = 0
    for (let row = 0; row < rowCount; row++) {
      if (active !== null && active[row] === 0) out[row] = -1
      else if ((out[row] = this.find(columns, row, hashes[row])) < 0) missing++
    }
    return missing
  }

  /** The entry of one row's key, or -1. */
  find(columns: readonly Column[], row: number, hash: number): number {
    const mask = this.slots.length - 1
    for (let slot = hash >>> this.shift; ; slot = (slot + 1) & mask) {
      const id = this.slots[slot] - 1
      if (id < 0) return -1
      if (this.hashes[id] === hash && this.isKeyOf(id, columns, row)) return id
    }
  }

  /** A new entry for a key that has none. The caller's payload of it begins in an undefined state. */
  insert(columns: readonly Column[], row: number, hash: number): number {
    const id = this.take(hash)
    for (let i = 0; i < this.cells.length; i++) this.cells[i].set(id, columns[i], row)
    return id
  }

  /** A new entry with the key of an entry of another index that this one does not have. */
  insertFrom(other: KeyIndex, otherId: number): number {
    const id = this.take(other.hashes[otherId])
    for (let i = 0; i < this.cells.length; i++) this.cells[i].copy(id, other.cells[i], otherId)
    return id
  }

  private take(hash: number): number {
    if (this.count === this.capacity) this.grow()
    const id = this.count++
    this.hashes[id] = hash
    this.link(id, hash)
    return id
  }

  private link(id: number, hash: number): void {
    const mask = this.slots.length - 1
    let slot = hash >>> this.shift
    while (this.slots[slot] !== 0) slot = (slot + 1) & mask
    this.slots[slot] = id + 1
  }

  private grow(): void {
    this.capacity *= 2
    const hashes = new Uint32Array(this.capacity)
    hashes.set(this.hashes)
    this.hashes = hashes
    for (const cells of this.cells) cells.reserve(this.capacity)
    this.slots = new Int32Array(this.capacity * 2)
    this.shift--
    for (let id = 0; id < this.count; id++) this.link(id, hashes[id])
  }

  private isKeyOf(id: number, columns: readonly Column[], row: number): boolean {
    for (let i = 0; i < this.cells.length; i++)
      if (!this.cells[i].equals(id, columns[i], row)) return false
    return true
  }

  /** True where `numbers` alone tell equality: no null, wide value, NaN or other scale on either side. */
  private isPlain(columns: readonly Column[], i: number): boolean {
    const column = columns[i]
    const cells = this.cells[i]
    return (
      column.form === NARROW &&
      column.nulls === null &&
      cells.flags === null &&
      column.scale === cells.scale &&
      column.type !== 'double' &&
      column.type !== 'real'
    )
  }

  private findPlain1(
    values: Float64Array,
    hashes: Uint32Array,
    active: Uint8Array | null,
    rowCount: number,
    out: Int32Array,
  ): number {
    const slots = this.slots
    const keys = this.cells[0].numbers
    const shift = this.shift
    const mask = slots.length - 1
    let missing = 0
    for (let row = 0; row < rowCount; row++) {
      if (active !== null && active[row] === 0) {
        out[row] = -1
        continue
      }
      const value = values[row]
      let slot = hashes[row] >>> shift
      let id = slots[slot] - 1
      while (id >= 0 && keys[id] !== value) {
        slot = (slot + 1) & mask
        id = slots[slot] - 1
      }
      out[row] = id
      missing += id >>> 31
    }
    return missing
  }

  private findPlain2(
    columns: readonly Column[],
    hashes: Uint32Array,
    active: Uint8Array | null,
    rowCount: number,
    out: Int32Array,
  ): number {
    const slots = this.slots
    const firstKeys = this.cells[0].numbers
    const secondKeys = this.cells[1].numbers
    const firsts = columns[0].numbers
    const seconds = columns[1].numbers
    const shift = this.shift
    const mask = slots.length - 1
    let missing = 0
    for (let row = 0; row < rowCount; row++) {
      if (active !== null && active[row] === 0) {
        out[row] = -1
        continue
      }
      const first = firsts[row]
      const second = seconds[row]
      let slot = hashes[row] >>> shift
      let id = slots[slot] - 1
      while (id >= 0 && (firstKeys[id] !== first || secondKeys[id] !== second)) {
        slot = (slot + 1) & mask
        id = slots[slot] - 1
      }
      out[row] = id
      missing += id >>> 31
    }
    return missing
  }
}

const DROPPED_BITS_PER_KEY = 8
/** 128 MiB; positions are i32. */
const BITS_MAX = 2 ** 30

/**
 * Which keys the store may hold although no cache does: says for a job that began empty that a key is
 * absent without a read. A Bloom filter over the 32-bit hashes of the keys that caches dropped; when it has
 * taken more keys than its budget allows, every key may exist.
 */
export class AbsenceFilter {
  private everything: boolean
  private words: Int32Array | null = null
  private keyCount = 0
  private readonly bitCount: number

  /** @param fresh the store is known to hold nothing now. @param budgetBytes memory of the filter. */
  constructor(fresh: boolean, budgetBytes: number) {
    this.everything = !fresh
    this.bitCount = Math.min(2 ** Math.floor(Math.log2(Math.max(budgetBytes, 16) * 8)), BITS_MAX)
  }

  get bytes(): number {
    return this.words === null ? 0 : this.words.byteLength
  }

  add(hash: number): void {
    if (this.everything) return
    this.words ??= new Int32Array(this.bitCount / 32)
    const mask = this.bitCount - 1
    const words = this.words
    // Mixed once more: the low bits of the hash are the vnode, of which an actor sees only some.
    const step = Math.imul(hash, 0x9e3779b1) | 1
    let changed = 0
    for (let probe = 0, at = mix32(hash); probe < 3; probe++, at = (at + step) | 0) {
      const bit = at & mask
      const word = words[bit >>> 5]
      changed |= word ^ (word | (1 << (bit & 31)))
      words[bit >>> 5] = word | (1 << (bit & 31))
    }
    // A key that is dropped again and again counts once.
    if (changed === 0 || ++this.keyCount <= this.bitCount / DROPPED_BITS_PER_KEY) return
    this.everything = true
    this.words = null
  }

  mayExist(hash: number): boolean {
    if (this.everything) return true
    if (this.words === null) return false
    const mask = this.bitCount - 1
    const step = Math.imul(hash, 0x9e3779b1) | 1
    for (let probe = 0, at = mix32(hash); probe < 3; probe++, at = (at + step) | 0) {
      const bit = at & mask
      if ((this.words[bit >>> 5] & (1 << (bit & 31))) === 0) return false
    }
    return true
  }
}
