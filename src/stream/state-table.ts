/**
 * Rows in a table of the store: encodes batches of columns to keys and values and back. It stands between
 * operators, which know columns, and `LocalTable`, which knows bytes. Owned by one operator; worker threads and
 * the control thread's queries.
 * Hot path: `write`, once per chunk and stateful operator.
 */
import { equalBytes } from '../common/bytes.ts'
import { tableId } from '../common/ids.ts'
import type {
  ByteList,
  GetManyResult,
  LocalStore,
  LocalTable,
  Pending,
  ScanManyResult,
  TableScan,
} from '../storage/state-store.ts'
import { UPDATE_DELETE, UPDATE_INSERT } from './chunk.ts'
import type { Column } from './column.ts'
import { ColumnBuilder, type RowList } from './column-builder.ts'
import type { StateTableSpec } from './plan.ts'
import { ByteListBuilder, KeyEncoder, RowDecoder, ValueEncoder } from './row-codec.ts'

/** The columns of a table's value: all that are not in the key, in the order of the schema. */
export function valueColumnsOf(spec: StateTableSpec): number[] {
  const columns: number[] = []
  for (let i = 0; i < spec.schema.length; i++)
    if (!spec.key.some((part) => part.column === i)) columns.push(i)
  return columns
}

/** The decoder of what `StateTable` writes (it keeps the display scale of numeric keys). */
export function rowDecoderOf(spec: StateTableSpec): RowDecoder {
  return new RowDecoder(spec.schema, spec.key, valueColumnsOf(spec), true)
}

export class StateTable {
  readonly spec: StateTableSpec
  readonly local: LocalTable
  private readonly keyEncoder: KeyEncoder
  private readonly valueEncoder: ValueEncoder
  private readonly decoder: RowDecoder
  private readonly keys = new ByteListBuilder()
  private readonly values = new ByteListBuilder()

  constructor(spec: StateTableSpec, store: LocalStore) {
    const keyColumns = spec.key.map((part) => part.column)
    this.spec = spec
    this.local = store.open({
      tableId: tableId(spec.tableId),
      group: spec.group,
      prefixColumns: spec.prefixColumns,
    })
    this.keyEncoder = new KeyEncoder(spec.schema, spec.key, spec.distribution)
    this.valueEncoder = new ValueEncoder(spec.schema, valueColumnsOf(spec), keyColumns)
    this.decoder = rowDecoderOf(spec)
  }

  /**
   * Applies rows `rows[0 .. count]` (null: the first `count`) in order: a row whose op takes away deletes
   * its key, the others put theirs.
   * @param columns in the order of the spec's schema. @param ops by row; null = all insert.
   */
  write(
    columns: readonly Column[],
    ops: Uint8Array | null,
    rows: RowList | null,
    count: number,
  ): void {
    const keys = this.keys
    const values = this.values
    keys.reset()
    values.reset()
    this.keyEncoder.encode(columns, rows, count, keys)
    this.valueEncoder.encode(columns, rows, count, values)
    if (ops === null) putAll(this.local, keys, values)
    else applyAll(this.local, keys, values, ops, rows)
  }

  /** Reads rows by whole keys, which hold the distribution columns. @param keyColumns the key's columns, in key order. */
  get(keyColumns: readonly Column[], rows: RowList | null, count: number): RowsByKey {
    const keys = new ByteListBuilder()
    this.keyEncoder.encodePrefix(keyColumns, rows, count, keys)
    return new RowsByKey(keys, this.local.getMany(keys), this)
  }

  /**
   * Reads all rows (or `limit` of each) below prefixes of whole columns.
   * @param keyColumns the first columns of the key, with all those of the distribution, in key order.
   */
  scanPrefixes(
    keyColumns: readonly Column[],
    rows: RowList | null,
    count: number,
    limit?: number,
  ): RowsByPrefix {
    const prefixes = new ByteListBuilder()
    this.keyEncoder.encodePrefix(keyColumns, rows, count, prefixes)
    return new RowsByPrefix(this.local.scanMany(prefixes, limit), this)
  }

  /** Reads the rows of the vnodes `from <= v < to` in key order, in batches. */
  scanVnodes(from: number, to: number): RowScan {
    return new RowScan(this.local.scan(vnodeKey(from), vnodeKey(to)), this)
  }

  /** Rows `from .. to` of encoded keys and values, appended to one builder per column of the schema. */
  decode(
    keys: ByteList,
    values: ByteList,
    range: { readonly from: number; readonly to: number },
    builders: ColumnBuilder[],
  ): void {
    this.decoder.decode(keys, values, range.from, range.to, builders)
  }

  builders(): ColumnBuilder[] {
    return this.spec.schema.map((field) => new ColumnBuilder(field.type))
  }
}

function putAll(table: LocalTable, keys: ByteList, values: ByteList): void {
  const keyOffsets = keys.offsets
  const valueOffsets = values.offsets
  for (let i = 0; i < keys.count; i++)
    table.put(
      keys.data,
      keyOffsets[i],
      keyOffsets[i + 1],
      values.data,
      valueOffsets[i],
      valueOffsets[i + 1],
    )
}

function applyAll(
  table: LocalTable,
  keys: ByteList,
  values: ByteList,
  ops: Uint8Array,
  rows: RowList | null,
): void {
  const at = keys.offsets
  const valueAt = values.offsets
  const data = keys.data
  for (let i = 0; i < keys.count; i++) {
    const op = ops[rows === null ? i : rows[i]]
    if ((op & 1) === 0) {
      table.put(data, at[i], at[i + 1], values.data, valueAt[i], valueAt[i + 1])
      continue
    }
    // The delete half of an update that keeps its key would only be overwritten.
    const isReplaced =
      op === UPDATE_DELETE &&
      i + 1 < keys.count &&
      ops[rows === null ? i + 1 : rows[i + 1]] === UPDATE_INSERT &&
      equalBytes(data, at[i], at[i + 1], data, at[i + 1], at[i + 2])
    if (!isReplaced) table.delete(data, at[i], at[i + 1])
  }
}

/** The lowest table key of a vnode; of 256 a key after all of 255. */
function vnodeKey(vnode: number): Uint8Array {
  return Uint8Array.of(vnode >>> 8, vnode & 0xff)
}

/** Result of point reads: call `columns` once after `poll()` was true. */
export class RowsByKey implements Pending {
  private readonly keys: ByteList
  private readonly result: GetManyResult
  private readonly table: StateTable

  constructor(keys: ByteList, result: GetManyResult, table: StateTable) {
    this.keys = keys
    this.result = result
    this.table = table
  }

  poll(): boolean {
    return this.result.poll()
  }

  /** 1 where the key exists. */
  get found(): Uint8Array {
    return this.result.found
  }

  /** The rows found, in the order of the keys, without gaps; columns as in the table's schema. */
  columns(): Column[] {
    const builders = this.table.builders()
    const { found, values } = this.result
    for (let from = 0; from < this.keys.count; ) {
      let to = from
      while (to < this.keys.count && found[to] === 1) to++
      if (to > from) this.table.decode(this.keys, values, { from, to }, builders)
      from = to + 1
    }
    return builders.map((builder) => builder.finish())
  }
}

/** Result of prefix reads: call `columns` once after `poll()` was true. */
export class RowsByPrefix implements Pending {
  private readonly result: ScanManyResult
  private readonly table: StateTable

  constructor(result: ScanManyResult, table: StateTable) {
    this.result = result
    this.table = table
  }

  poll(): boolean {
    return this.result.poll()
  }

  /** Rows of prefix i are `rowStarts[i] .. rowStarts[i + 1]` of `columns()`. */
  get rowStarts(): Uint32Array {
    return this.result.rowStarts
  }

  columns(): Column[] {
    const builders = this.table.builders()
    const { keys, values } = this.result
    this.table.decode(keys, values, { from: 0, to: keys.count }, builders)
    return builders.map((builder) => builder.finish())
  }
}

/** A cursor over whole rows; each `poll()` that returns true offers the next batch (0 rows = the end). */
export class RowScan implements Pending {
  rowCount = 0
  columns: Column[] = []
  private readonly scan: TableScan
  private readonly table: StateTable

  constructor(scan: TableScan, table: StateTable) {
    this.scan = scan
    this.table = table
  }

  poll(): boolean {
    if (!this.scan.poll()) return false
    const { keys, values } = this.scan
    const builders = this.table.builders()
    this.table.decode(keys, values, { from: 0, to: keys.count }, builders)
    this.columns = builders.map((builder) => builder.finish())
    this.rowCount = keys.count
    return true
  }
}
