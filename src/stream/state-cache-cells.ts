/**
 * One column of cached state: values addressed by entry number, written in any order, read in batches. Unlike
 * `Column` it is mutable and holds narrow and wide values side by side, so that one large value does not slow
 * the others. Text lives in a heap of bytes that only grows: it is given back when the generation is dropped.
 * Owned by one cache of one operator.
 * Hot path: a few calls per column and chunk, loops over rows inside.
 */
import { compareBytes, equalBytes } from '../common/bytes.ts'
import { Column, NARROW, TEXT, WIDE } from './column.ts'
import { powerOfTen } from './functions-number.ts'
import type { DataType } from './schema.ts'
import { isText } from './schema.ts'

export const CELL_VALUE = 0
export const CELL_NULL = 1
export const CELL_WIDE = 2

const SAFE = Number.MAX_SAFE_INTEGER
const NO_ROWS = new Float64Array(0)
const NO_LENGTHS = new Uint32Array(0)

/** NaN is largest and equals itself, as in PostgreSQL. */
export function compareDoubles(left: number, right: number): number {
  if (left < right) return -1
  if (left > right) return 1
  if (left === right) return 0
  return Number(Number.isNaN(left)) - Number(Number.isNaN(right))
}

/** The exact value at a row of a column in either form, in units of `10^-column.scale`. */
export function exactAt(column: Column, row: number): bigint {
  return column.form === WIDE ? column.wide[row] : BigInt(column.numbers[row])
}

export class CellColumn {
  readonly type: DataType
  readonly isText: boolean
  /** Decimal digits after the point of every value here (numeric). */
  scale = 0
  numbers: Float64Array
  /** One CELL_ constant a cell; null while all are CELL_VALUE. */
  flags: Uint8Array | null
  private capacity: number
  private readonly wide = new Map<number, bigint>()
  private starts: Float64Array
  private lengths: Uint32Array
  private heap: Uint8Array
  private heapUsed = 0

  /** @param nullable cells begin as null (flags are there from the start), else as 0 or the empty text. */
  constructor(type: DataType, capacity: number, nullable = false) {
    this.type = type
    this.isText = isText(type)
    this.capacity = capacity
    this.numbers = this.isText ? NO_ROWS : new Float64Array(capacity)
    this.starts = this.isText ? new Float64Array(capacity) : NO_ROWS
    this.lengths = this.isText ? new Uint32Array(capacity) : NO_LENGTHS
    this.heap = new Uint8Array(this.isText ? 64 : 0)
    this.flags = nullable ? new Uint8Array(capacity).fill(CELL_NULL) : null
    this.nullable = nullable
  }
  private readonly nullable: boolean

  /** Bytes that a cell takes beside its text. */
  get cellBytes(): number {
    return (this.isText ? 12 : 8) + (this.flags === null ? 0 : 1)
  }

  /** Bytes beside the cells: text, and wide values. */
  get heapBytes(): number {
    return this.heapUsed + this.wide.size * 64
  }

  reserve(capacity: number): void {
    if (capacity <= this.capacity) return
    if (this.isText) {
      this.starts = grownNumbers(this.starts, capacity)
      const lengths = new Uint32Array(capacity)
      lengths.set(this.lengths)
      this.lengths = lengths
    } else this.numbers = grownNumbers(this.numbers, capacity)
    if (this.flags !== null) {
      const flags = new Uint8Array(capacity)
      flags.set(this.flags)
      if (this.nullable) flags.fill(CELL_NULL, this.capacity)
      this.flags = flags
    }
    this.capacity = capacity
  }

  /** `flags`, made when there was none. */
  flagged(): Uint8Array {
    this.flags ??= new Uint8Array(this.capacity)
    return this.flags
  }

  isNull(id: number): boolean {
    return this.flags !== null && this.flags[id] === CELL_NULL
  }

  setNull(id: number): void {
    this.flagged()[id] = CELL_NULL
    if (this.isText) this.lengths[id] = 0
    else this.numbers[id] = 0
  }

  setNumber(id: number, value: number): void {
    this.numbers[id] = value
    if (this.flags !== null) this.flags[id] = CELL_VALUE
  }

  /** Exact value in units of this column's scale. */
  setExact(id: number, value: bigint): void {
    if (value <= SAFE && value >= -SAFE) this.setNumber(id, Number(value))
    else {
      this.wide.set(id, value)
      this.numbers[id] = 0
      this.flagged()[id] = CELL_WIDE
    }
  }

  /** Exact value in units of this column's scale; 0 for null. */
  exact(id: number): bigint {
    if (this.flags !== null && this.flags[id] === CELL_WIDE) return this.wide.get(id) ?? 0n
    return BigInt(this.numbers[id])
  }

  setText(id: number, data: Uint8Array, start: number, end: number): void {
    const length = end - start
    this.reserveHeap(length)
    this.starts[id] = this.heapUsed
    this.lengths[id] = length
    for (let i = 0, at = this.heapUsed; i < length; i++) this.heap[at + i] = data[start + i]
    this.heapUsed += length
    if (this.flags !== null) this.flags[id] = CELL_VALUE
  }

  set(id: number, source: Column, row: number): void {
    if (source.nulls !== null && source.nulls[row] === 1) this.setNull(id)
    else if (source.form === TEXT)
      this.setText(id, source.data, source.offsets[row], source.offsets[row + 1])
    else if (source.form === NARROW && source.scale === this.scale)
      this.setNumber(id, source.numbers[row])
    else {
      this.raiseScale(source.scale)
      this.setExact(id, exactAt(source, row) * powerOfTen(this.scale - source.scale))
    }
  }

  /** Cells `first + i` become row `rows[i]` of the source. */
  setRange(
    first: number,
    source: Column,
    rows: Int32Array | Uint32Array | null,
    count: number,
  ): void {
    if (
      source.form === NARROW &&
      source.nulls === null &&
      this.flags === null &&
      source.scale === this.scale
    ) {
      const numbers = this.numbers
      const values = source.numbers
      if (rows === null) for (let i = 0; i < count; i++) numbers[first + i] = values[i]
      else for (let i = 0; i < count; i++) numbers[first + i] = values[rows[i]]
    } else for (let i = 0; i < count; i++) this.set(first + i, source, rows === null ? i : rows[i])
  }

  copy(id: number, source: CellColumn, sourceId: number): void {
    const flag = source.flags === null ? CELL_VALUE : source.flags[sourceId]
    if (flag === CELL_NULL) this.setNull(id)
    else if (this.isText) {
      const start = source.starts[sourceId]
      this.setText(id, source.heap, start, start + source.lengths[sourceId])
    } else if (flag === CELL_VALUE && this.scale === source.scale)
      this.setNumber(id, source.numbers[sourceId])
    else {
      this.raiseScale(source.scale)
      this.setExact(id, source.exact(sourceId) * powerOfTen(this.scale - source.scale))
    }
  }

  /** Cells `first + i` become cell `ids[i]` of the source, for i below `count`. */
  copyRange(first: number, source: CellColumn, ids: Int32Array, count: number): void {
    if (this.isPlainLike(source)) {
      const numbers = this.numbers
      const values = source.numbers
      for (let i = 0; i < count; i++) numbers[first + i] = values[ids[i]]
    } else for (let i = 0; i < count; i++) this.copy(first + i, source, ids[i])
  }

  /** Cells `ids[i]` become the same cells of the source, for i from `from` below `to`. */
  copySame(source: CellColumn, ids: Int32Array, from: number, to: number): void {
    if (this.isPlainLike(source)) {
      const numbers = this.numbers
      const values = source.numbers
      for (let i = from; i < to; i++) numbers[ids[i]] = values[ids[i]]
    } else for (let i = from; i < to; i++) this.copy(ids[i], source, ids[i])
  }

  private isPlainLike(source: CellColumn): boolean {
    return (
      !this.isText && this.flags === null && source.flags === null && this.scale === source.scale
    )
  }

  /** Brings every value to `scale` digits when that is more than now. */
  raiseScale(scale: number): void {
    if (scale <= this.scale) return
    const factor = powerOfTen(scale - this.scale)
    this.scale = scale
    for (const [id, value] of this.wide)
      if (this.flags !== null && this.flags[id] === CELL_WIDE) this.wide.set(id, value * factor)
    for (let id = 0; id < this.capacity; id++)
      if (this.numbers[id] !== 0) this.setExact(id, BigInt(this.numbers[id]) * factor)
  }

  /** Equality of values; null equals null. */
  equals(id: number, source: Column, row: number): boolean {
    const isNull = source.nulls !== null && source.nulls[row] === 1
    if (isNull || this.isNull(id)) return isNull && this.isNull(id)
    return this.compare(id, source, row) === 0
  }

  /** Order of the cell's value against a row of the source; neither may be null. */
  compare(id: number, source: Column, row: number): number {
    if (this.isText) {
      const start = this.starts[id]
      return compareBytes(
        this.heap,
        start,
        start + this.lengths[id],
        source.data,
        source.offsets[row],
        source.offsets[row + 1],
      )
    }
    const isNarrow = this.flags === null || this.flags[id] === CELL_VALUE
    if (isNarrow && source.form === NARROW && source.scale === this.scale)
      return compareDoubles(this.numbers[id], source.numbers[row])
    let left = this.exact(id)
    let right = exactAt(source, row)
    if (this.scale < source.scale) left *= powerOfTen(source.scale - this.scale)
    else right *= powerOfTen(this.scale - source.scale)
    return left < right ? -1 : Number(left > right)
  }

  /** Equality with a cell of another column of the same type; null equals null. */
  equalsCell(id: number, other: CellColumn, otherId: number): boolean {
    const leftNull = this.isNull(id)
    const rightNull = other.isNull(otherId)
    if (leftNull || rightNull) return leftNull && rightNull
    if (this.isText) {
      const left = this.starts[id]
      const right = other.starts[otherId]
      return equalBytes(
        this.heap,
        left,
        left + this.lengths[id],
        other.heap,
        right,
        right + other.lengths[otherId],
      )
    }
    const flags = (this.flags?.[id] ?? 0) | (other.flags?.[otherId] ?? 0)
    if (flags === CELL_VALUE && this.scale === other.scale)
      return compareDoubles(this.numbers[id], other.numbers[otherId]) === 0
    const scale = Math.max(this.scale, other.scale)
    return (
      this.exact(id) * powerOfTen(scale - this.scale) ===
      other.exact(otherId) * powerOfTen(scale - other.scale)
    )
  }

  /**
   * A column of the cells `ids[0 .. count]`. With `other`, rows whose `which` is 1 are taken from there.
   * @param type the type that the result has; exact types keep their integers.
   */
  gather(
    ids: Int32Array,
    count: number,
    other: CellColumn = this,
    which: Uint8Array | null = null,
    type: DataType = this.type,
  ): Column {
    if (this.scale !== other.scale) {
      this.raiseScale(other.scale)
      other.raiseScale(this.scale)
    }
    if (this.isText) return this.gatherText(ids, count, other, which, type)
    const numbers = new Float64Array(count)
    if (which === null) {
      const values = this.numbers
      for (let i = 0; i < count; i++) numbers[i] = values[ids[i]]
    } else {
      const values = this.numbers
      const others = other.numbers
      for (let i = 0; i < count; i++) numbers[i] = which[i] === 1 ? others[ids[i]] : values[ids[i]]
    }
    if (this.flags === null && other.flags === null)
      return Column.narrow(type, numbers, null, this.scale)
    return this.gatherFlagged({ ids, count, other, which, type, numbers })
  }

  private gatherFlagged(request: {
    readonly ids: Int32Array
    readonly count: number
    readonly other: CellColumn
    readonly which: Uint8Array | null
    readonly type: DataType
    readonly numbers: Float64Array
  }): Column {
    const { ids, count, other, which, type, numbers } = request
    let nulls: Uint8Array | null = null
    let hasWide = false
    for (let i = 0; i < count; i++) {
      const cells = which !== null && which[i] === 1 ? other : this
      const flag = cells.flags === null ? CELL_VALUE : cells.flags[ids[i]]
      if (flag === CELL_NULL) {
        nulls ??= new Uint8Array(count)
        nulls[i] = 1
      } else if (flag === CELL_WIDE) hasWide = true
    }
    if (!hasWide) return Column.narrow(type, numbers, nulls, this.scale)
    const wide: bigint[] = []
    for (let i = 0; i < count; i++)
      wide.push((which !== null && which[i] === 1 ? other : this).exact(ids[i]))
    return Column.wide(type, wide, nulls, this.scale)
  }

  private gatherText(
    ids: Int32Array,
    count: number,
    other: CellColumn,
    which: Uint8Array | null,
    type: DataType,
  ): Column {
    const offsets = new Uint32Array(count + 1)
    let nulls: Uint8Array | null = null
    let size = 0
    for (let i = 0; i < count; i++) {
      const cells = which !== null && which[i] === 1 ? other : this
      if (cells.flags !== null && cells.flags[ids[i]] === CELL_NULL) {
        nulls ??= new Uint8Array(count)
        nulls[i] = 1
      } else size += cells.lengths[ids[i]]
      offsets[i + 1] = size
    }
    const data = new Uint8Array(size)
    for (let i = 0; i < count; i++) {
      const heap = which !== null && which[i] === 1 ? other.heap : this.heap
      const starts = which !== null && which[i] === 1 ? other.starts : this.starts
      let from = starts[ids[i]]
      const end = offsets[i + 1]
      for (let at = offsets[i]; at < end; at++) data[at] = heap[from++]
    }
    return Column.text(type, offsets, data, nulls)
  }

  private reserveHeap(length: number): void {
    const needed = this.heapUsed + length
    if (needed <= this.heap.length) return
    const heap = new Uint8Array(Math.max(needed, this.heap.length * 2))
    heap.set(this.heap.subarray(0, this.heapUsed))
    this.heap = heap
  }
}

function grownNumbers(source: Float64Array, capacity: number): Float64Array {
  const grown = new Float64Array(capacity)
  grown.set(source)
  return grown
}
