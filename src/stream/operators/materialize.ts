/**
 * The end of a table's or view's stream: keeps its rows in the store, where queries and later views find
 * them, and passes the changes on. With `overwrite` (tables with a primary key) it makes exact changes out of
 * what was sent: an insert of a key that is there becomes an update, a delete of one that is not there vanishes.
 * One actor owns it and all rows of its vnodes.
 * Hot path: `apply`, one batch encode per chunk.
 */
import { assert } from '../../common/assert.ts'
import type { LocalTable, Pending } from '../../storage/state-store.ts'
import { Chunk, DELETE, INSERT, UPDATE_DELETE, UPDATE_INSERT } from '../chunk.ts'
import type { Column } from '../column.ts'
import { ColumnBuilder, compactChunk } from '../column-builder.ts'
import type { Operator, OperatorContext, Output } from '../operator.ts'
import type { OperatorPlan } from '../plan.ts'
import { hashRows } from '../row-hash.ts'
import { AbsenceFilter, KeyIndex } from '../state-cache-index.ts'
import { type RowScan, type RowsByKey, StateTable } from '../state-table.ts'

type MaterializePlan = Extract<OperatorPlan, { kind: 'materialize' }>

/** Rows that a `Materialize` holds, as inserts, for a job that is newly attached. Owned by the actor. */
export interface Snapshot {
  /** True when `chunk` is the next one. */
  poll(): boolean
  /** Null after the last. */
  readonly chunk: Chunk | null
}

export class Materialize implements Operator {
  readonly tables: readonly LocalTable[]
  private readonly table: StateTable
  private readonly overwrite: boolean
  private readonly vnodes: { readonly from: number; readonly to: number }
  /** Keys that were ever written: a new table's first rows need no reads. */
  private readonly absence: AbsenceFilter
  private prepared: Rows | null = null

  constructor(plan: MaterializePlan, context: OperatorContext) {
    this.table = new StateTable(plan.table, context.store)
    this.tables = [this.table.local]
    this.overwrite = plan.overwrite
    this.vnodes = context.vnodes
    this.absence = new AbsenceFilter(context.fresh, context.cacheBytes / 2)
  }

  prepare(_input: number, chunk: Chunk): Pending | null {
    if (!this.overwrite) return null
    const compact = compactChunk(chunk)
    const keys = this.table.spec.key.map((part) => compact.columns[part.column])
    const rows = new Rows(chunk, compact, keys)
    this.prepared = rows
    const wanted = rows.keysThatMayExist(this.absence)
    if (wanted.length === 0) return null
    const read = this.table.get(keys, rows.firstRowsOf(wanted), wanted.length)
    return { poll: () => read.poll() && rows.loaded(wanted, read) }
  }

  apply(_input: number, chunk: Chunk, output: Output): void {
    if (!this.overwrite) {
      const compact = compactChunk(chunk)
      this.table.write(compact.columns, compact.ops, null, compact.rowCount)
      if (compact.rowCount > 0) output.emit(compact)
      return
    }
    const rows = this.prepared
    assert(rows !== null && rows.source === chunk, 'a chunk is applied right after it was prepared')
    this.prepared = null
    rows.addKeysTo(this.absence)
    const changes = rows.exactChanges()
    if (changes === null) return
    this.table.write(changes.columns, changes.ops, null, changes.rowCount)
    output.emit(changes)
  }

  prepareFlush(): Pending | null {
    return null
  }

  flush(): void {}

  stateBytes(): number {
    return this.absence.bytes
  }

  /**
   * All rows of the own vnodes as of now. The actor applies no chunk until it is through.
   */
  startSnapshot(): Snapshot {
    return new TableSnapshot(this.table.scanVnodes(this.vnodes.from, this.vnodes.to))
  }
}

class TableSnapshot implements Snapshot {
  chunk: Chunk | null = null
  private readonly scan: RowScan
  private isDone = false

  constructor(scan: RowScan) {
    this.scan = scan
  }

  poll(): boolean {
    if (this.isDone) return true
    if (!this.scan.poll()) return false
    const { rowCount, columns } = this.scan
    this.isDone = rowCount === 0
    this.chunk = this.isDone ? null : new Chunk(rowCount, null, null, columns)
    return true
  }
}

/** The rows of one chunk by key, with the row that each key has in the table. */
class Rows {
  readonly source: Chunk
  private readonly keyCount: number
  /** A row of each key, in the order of first appearance. */
  private readonly firstRows: Int32Array
  /** Hash of each key. */
  private readonly hashes: Uint32Array
  private readonly chunk: Chunk
  /** Number of each row's key. */
  private readonly keyOf: Int32Array
  /** Row of `stored` that a key has, or -1. */
  private readonly storedRow: Int32Array
  private stored: readonly Column[] = []

  constructor(source: Chunk, chunk: Chunk, keys: readonly Column[]) {
    const { rowCount } = chunk
    const hashes = new Uint32Array(rowCount)
    hashRows(keys, rowCount, hashes)
    const index = new KeyIndex(keys.map((column) => column.type))
    this.source = source
    this.chunk = chunk
    this.keyOf = new Int32Array(rowCount)
    this.firstRows = new Int32Array(rowCount)
    for (let row = 0; row < rowCount; row++) {
      let key = index.find(keys, row, hashes[row])
      if (key < 0) {
        key = index.insert(keys, row, hashes[row])
        this.firstRows[key] = row
      }
      this.keyOf[row] = key
    }
    this.keyCount = index.count
    this.hashes = index.hashes
    this.storedRow = new Int32Array(index.count).fill(-1)
  }

  keysThatMayExist(absence: AbsenceFilter): Int32Array {
    const keys = new Int32Array(this.keyCount)
    let count = 0
    for (let key = 0; key < this.keyCount; key++)
      if (absence.mayExist(this.hashes[key])) keys[count++] = key
    return keys.subarray(0, count)
  }

  addKeysTo(absence: AbsenceFilter): void {
    for (let key = 0; key < this.keyCount; key++) absence.add(this.hashes[key])
  }

  firstRowsOf(keys: Int32Array): Int32Array {
    return keys.map((key) => this.firstRows[key])
  }

  loaded(keys: Int32Array, read: RowsByKey): boolean {
    for (let i = 0, row = 0; i < keys.length; i++)
      if (read.found[i] === 1) this.storedRow[keys[i]] = row++
    this.stored = read.columns()
    return true
  }

  /**
   * What the rows change, one after the other, against what is stored and against each other.
   * @returns null when nothing changes.
   */
  exactChanges(): Chunk | null {
    const { chunk, keyOf } = this
    const plan = new ChangePlan(chunk.rowCount * 2)
    /** What each key has now: row r of the chunk as r, row r of `stored` as -2 - r, nothing as -1. */
    const present = new Int32Array(this.keyCount)
    for (let key = 0; key < this.keyCount; key++) {
      const stored = this.storedRow[key]
      present[key] = stored < 0 ? -1 : -2 - stored
    }
    for (let row = 0; row < chunk.rowCount; row++) {
      const key = keyOf[row]
      const op = chunk.ops === null ? INSERT : chunk.ops[row]
      const before = present[key]
      if ((op & 1) === 1) {
        // The insert half of an update of the same key finds the old row by itself.
        const isUpdate = op === UPDATE_DELETE && row + 1 < chunk.rowCount && keyOf[row + 1] === key
        if (before === -1 || isUpdate) continue
        plan.add(before, DELETE)
        present[key] = -1
      } else {
        if (before === -1) plan.add(row, INSERT)
        else {
          plan.add(before, UPDATE_DELETE)
          plan.add(row, UPDATE_INSERT)
        }
        present[key] = row
      }
    }
    return plan.count === 0 ? null : this.build(plan)
  }

  private build(plan: ChangePlan): Chunk {
    const columns = this.chunk.columns.map((column, i) => {
      const builder = new ColumnBuilder(column.type, column.scale)
      for (let at = 0; at < plan.count; at++) {
        const row = plan.rows[at]
        if (row >= 0) builder.appendFrom(column, row)
        else builder.appendFrom(this.stored[i], -2 - row)
      }
      return builder.finish()
    })
    return new Chunk(plan.count, plan.ops, null, columns)
  }
}

class ChangePlan {
  readonly rows: Int32Array
  readonly ops: Uint8Array
  count = 0

  constructor(capacity: number) {
    this.rows = new Int32Array(capacity)
    this.ops = new Uint8Array(capacity)
  }

  add(row: number, op: number): void {
    this.rows[this.count] = row
    this.ops[this.count++] = op
  }
}
