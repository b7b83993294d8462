/**
 * One side of a hash join: the rows of one input in a state table, and a cache of them by join key. A key
 * that is in the cache has all its rows there. Two generations, as in `HashAggregate`; nothing is ever dirty,
 * for rows go to the memtable as they come. Owned by one `HashJoin`.
 * Hot path: `find` per chunk of the other side, `append` per chunk of its own.
 */
import { assert } from '../../common/assert.ts'
import type { Pending } from '../../storage/state-store.ts'
import type { Chunk } from '../chunk.ts'
import type { Column } from '../column.ts'
import type { OperatorContext } from '../operator.ts'
import type { StateTableSpec } from '../plan.ts'
import type { DataType } from '../schema.ts'
import { CellColumn } from '../state-cache-cells.ts'
import { AbsenceFilter, KeyIndex } from '../state-cache-index.ts'
import { type RowsByPrefix, StateTable } from '../state-table.ts'

const FIRST_ROWS = 64

/** Rows that entered the cache at about the same time: columns, and a chain of rows for each key. */
export class JoinGeneration {
  readonly index: KeyIndex
  readonly cells: readonly CellColumn[]
  /** First row of each key, or -1. */
  heads = new Int32Array(0)
  /** The row after each row, or -1. */
  next = new Int32Array(FIRST_ROWS)
  /** 1 where the younger generation has the key's rows too. */
  isMoved = new Uint8Array(0)
  rowCount = 0

  constructor(keyTypes: readonly DataType[], types: readonly DataType[]) {
    this.index = new KeyIndex(keyTypes)
    this.cells = types.map((type) => new CellColumn(type, FIRST_ROWS))
    this.growKeys()
  }

  get bytes(): number {
    let bytes = this.index.bytes + this.index.count * 5 + this.rowCount * 4
    for (const cells of this.cells) bytes += this.rowCount * cells.cellBytes + cells.heapBytes
    return bytes
  }

  /** Makes room for as many keys as the index has: call after each insert. */
  growKeys(): void {
    const { capacity } = this.index
    const known = this.heads.length
    if (known >= capacity) return
    const heads = new Int32Array(capacity).fill(-1, known)
    const isMoved = new Uint8Array(capacity)
    heads.set(this.heads)
    isMoved.set(this.isMoved)
    this.heads = heads
    this.isMoved = isMoved
  }

  /** Room for `count` more rows; the caller fills the cells and chains them. Returns the first row. */
  takeRows(count: number): number {
    const first = this.rowCount
    this.rowCount += count
    if (this.rowCount > this.next.length) {
      const capacity = Math.max(this.rowCount, this.next.length * 2)
      const next = new Int32Array(capacity)
      next.set(this.next)
      this.next = next
      for (const cells of this.cells) cells.reserve(capacity)
    }
    return first
  }

  link(key: number, row: number): void {
    this.next[row] = this.heads[key]
    this.heads[key] = row
  }
}

export interface JoinSideOptions {
  readonly table: StateTableSpec
  /** Join columns by position in the table's schema. */
  readonly keys: readonly number[]
  readonly cacheBytes: number
}

export class JoinSide {
  readonly table: StateTable
  readonly keys: readonly number[]
  young: JoinGeneration
  private old: JoinGeneration
  private readonly absence: AbsenceFilter
  private readonly generationBytes: number
  private readonly types: readonly DataType[]
  private readonly keyTypes: readonly DataType[]
  /** Key columns behind the join columns: they tell the rows of one join key apart. */
  private readonly identity: readonly number[]
  private scratch = new Int32Array(16)

  constructor(options: JoinSideOptions, context: OperatorContext) {
    const { table, keys } = options
    assert(
      keys.every((column, i) => table.key[i].column === column),
      'the key of a join table begins with the join columns',
    )
    this.table = new StateTable(table, context.store)
    this.keys = keys
    this.types = table.schema.map((field) => field.type)
    this.keyTypes = keys.map((column) => table.schema[column].type)
    this.identity = table.key.slice(keys.length).map((part) => part.column)
    this.absence = new AbsenceFilter(context.fresh, options.cacheBytes / 8)
    this.generationBytes = options.cacheBytes / 2
    this.young = new JoinGeneration(this.keyTypes, this.types)
    this.old = new JoinGeneration(this.keyTypes, this.types)
  }

  get bytes(): number {
    return this.young.bytes + this.old.bytes + this.absence.bytes
  }

  /**
   * Finds the keys of rows of the other side: `out[row]` = key of the young generation, or -1 when this
   * side has no row of it. Keys that only the store may have get an entry, and are read.
   * @returns null when every answer is here.
   */
  find(
    columns: readonly Column[],
    hashes: Uint32Array,
    active: Uint8Array | null,
    rowCount: number,
    out: Int32Array,
  ): Pending | null {
    if (this.young.index.findAll(columns, hashes, active, rowCount, out) === 0) return null
    const loads: number[] = []
    for (let row = 0; row < rowCount; row++) {
      if (out[row] >= 0 || (active !== null && active[row] === 0)) continue
      const hash = hashes[row]
      let key = this.findOne(columns, row, hash)
      if (key < 0 && this.absence.mayExist(hash)) {
        key = this.insertKey(columns, row, hash)
        loads.push(key)
      }
      out[row] = key
    }
    return loads.length === 0 ? null : this.load(Int32Array.from(loads))
  }

  /**
   * Takes the active rows of a chunk of this side: into the memtable, and into the cache where the
   * key's rows are known.
   */
  write(
    chunk: Chunk,
    keyColumns: readonly Column[],
    hashes: Uint32Array,
    active: Uint8Array | null,
    out: Int32Array,
  ): void {
    const { rowCount } = chunk
    this.admit(keyColumns, hashes, active, rowCount, out)
    const rows = new Int32Array(rowCount)
    let count = 0
    let cachedCount = 0
    for (let row = 0; row < rowCount; row++) {
      if (active !== null && active[row] === 0) continue
      rows[count++] = row
      if (out[row] >= 0) cachedCount++
    }
    this.table.write(chunk.columns, chunk.ops, rows, count)
    if (cachedCount > 0) this.applyToCache(chunk, out, cachedCount)
  }

  /** At the end of `apply`: gives the oldest keys up when the young generation has its share. */
  rotateIfFull(): void {
    if (this.young.bytes <= this.generationBytes) return
    const { old } = this
    for (let key = 0; key < old.index.count; key++)
      if (old.isMoved[key] === 0 && old.heads[key] >= 0) this.absence.add(old.index.hashes[key])
    this.old = this.young
    this.young = new JoinGeneration(this.keyTypes, this.types)
  }

  private insertKey(columns: readonly Column[], row: number, hash: number): number {
    const key = this.young.index.insert(columns, row, hash)
    this.young.growKeys()
    return key
  }

  /** The key's entry in the young generation, taken over from the old one if it is there. */
  private findOne(columns: readonly Column[], row: number, hash: number): number {
    const key = this.young.index.find(columns, row, hash)
    if (key >= 0) return key
    const oldKey = this.old.index.find(columns, row, hash)
    return oldKey < 0 ? -1 : this.move(oldKey)
  }

  private move(oldKey: number): number {
    const { young, old } = this
    const key = young.index.insertFrom(old.index, oldKey)
    young.growKeys()
    old.isMoved[oldKey] = 1
    let count = 0
    for (let row = old.heads[oldKey]; row >= 0; row = old.next[row]) {
      if (count === this.scratch.length) {
        const scratch = new Int32Array(count * 2)
        scratch.set(this.scratch)
        this.scratch = scratch
      }
      this.scratch[count++] = row
    }
    const first = young.takeRows(count)
    for (let i = 0; i < young.cells.length; i++)
      young.cells[i].copyRange(first, old.cells[i], this.scratch, count)
    for (let i = 0; i < count; i++) young.link(key, first + i)
    return key
  }

  private load(keys: Int32Array): Pending {
    const { young } = this
    const columns = young.index.cells.map((cells) => cells.gather(keys, keys.length))
    const rows = this.table.scanPrefixes(columns, null, keys.length)
    return { poll: () => rows.poll() && this.loaded(young, keys, rows) }
  }

  private loaded(generation: JoinGeneration, keys: Int32Array, rows: RowsByPrefix): boolean {
    const columns = rows.columns()
    const count = rows.rowStarts[keys.length]
    const first = generation.takeRows(count)
    for (let i = 0; i < columns.length; i++)
      generation.cells[i].setRange(first, columns[i], null, count)
    for (let i = 0; i < keys.length; i++)
      for (let row = rows.rowStarts[i]; row < rows.rowStarts[i + 1]; row++)
        generation.link(keys[i], first + row)
    return true
  }

  /** `out[row]` = key of the young generation, or -1 where the key's other rows are not known. */
  private admit(
    columns: readonly Column[],
    hashes: Uint32Array,
    active: Uint8Array | null,
    rowCount: number,
    out: Int32Array,
  ): void {
    if (this.young.index.findAll(columns, hashes, active, rowCount, out) === 0) return
    for (let row = 0; row < rowCount; row++) {
      if (out[row] >= 0 || (active !== null && active[row] === 0)) continue
      const hash = hashes[row]
      const key = this.findOne(columns, row, hash)
      out[row] = key < 0 && !this.absence.mayExist(hash) ? this.insertKey(columns, row, hash) : key
    }
  }

  private applyToCache(chunk: Chunk, keys: Int32Array, cachedCount: number): void {
    const { ops, rowCount } = chunk
    const rows = new Int32Array(cachedCount)
    let count = 0
    for (let row = 0; row < rowCount; row++)
      if (keys[row] >= 0 && (ops === null || (ops[row] & 1) === 0)) rows[count++] = row
    const { young } = this
    const first = young.takeRows(count)
    for (let i = 0; i < young.cells.length; i++)
      young.cells[i].setRange(first, chunk.columns[i], rows, count)
    if (ops === null) {
      for (let i = 0; i < count; i++) young.link(keys[rows[i]], first + i)
      return
    }
    for (let row = 0, at = first; row < rowCount; row++) {
      if (keys[row] < 0) continue
      if ((ops[row] & 1) === 0) young.link(keys[row], at++)
      else this.unlink(keys[row], chunk.columns, row)
    }
  }

  /** A row that is not there is deleted by nothing, as in the store. */
  private unlink(key: number, columns: readonly Column[], row: number): void {
    const { heads, next } = this.young
    let before = -1
    for (let at = heads[key]; at >= 0; before = at, at = next[at]) {
      if (!this.isRow(at, columns, row)) continue
      if (before < 0) heads[key] = next[at]
      else next[before] = next[at]
      return
    }
  }

  private isRow(cached: number, columns: readonly Column[], row: number): boolean {
    for (const column of this.identity)
      if (!this.young.cells[column].equals(cached, columns[column], row)) return false
    return true
  }
}
