/**
 * Grows one column by rows or, much faster, by batches; operators build their output with it, and row
 * codecs decode into it. Hot path: `gather`, `appendRange` and the raw arrays, per batch; the `append…`
 * calls per row. A column of an exact type begins narrow and turns wide with its first value beyond
 * 2^53 - 1. Columns of several numeric scales are unified to the largest.
 */
import { Chunk } from './chunk.ts'
import type { ColumnForm } from './column.ts'
import { Column, NARROW, TEXT, WIDE } from './column.ts'
import type { DataType } from './schema.ts'
import { isText } from './schema.ts'

const CAPACITY_MIN = 64
/** Below this many bytes a byte loop beats `TypedArray.set`, which needs a view. */
const COPY_BYTES_MIN = 48
const SAFE_MAX = Number.MAX_SAFE_INTEGER
const SAFE_MAX_BIG = BigInt(SAFE_MAX)

/** Rows picked from a column: positions, of which the first `count` count. */
export type RowList = Int32Array | Uint32Array

/**
 * Raw arrays are public for codecs: after `reserve(n)` rows `length .. length + n` may be written into
 * `numbers` (narrow form only), then `length` is raised by n.
 */
export class ColumnBuilder {
  readonly type: DataType
  form: ColumnForm
  /** Digits after the point of what was appended so far; rises with the sources' scales. */
  scale: number
  length: number
  numbers: Float64Array
  nulls: Uint8Array
  /** True when a null was appended: else `nulls` is all 0. */
  hasNulls: boolean
  wide: bigint[]
  offsets: Uint32Array
  data: Uint8Array
  private readonly firstScale: number
  private readonly isText: boolean
  private readonly isNumeric: boolean

  /** @param scale digits after the point of appended numbers, for numeric. */
  constructor(type: DataType, scale = 0) {
    this.type = type
    this.isText = isText(type)
    this.isNumeric = type === 'numeric'
    this.form = this.isText ? TEXT : NARROW
    this.scale = scale
    this.firstScale = scale
    this.length = 0
    this.numbers = new Float64Array(this.isText ? 0 : CAPACITY_MIN)
    this.nulls = new Uint8Array(CAPACITY_MIN)
    this.hasNulls = false
    this.wide = []
    this.offsets = new Uint32Array(this.isText ? CAPACITY_MIN + 1 : 0)
    this.data = new Uint8Array(this.isText ? CAPACITY_MIN * 16 : 0)
  }

  /** Forgets all rows and keeps the memory. */
  reset(): void {
    if (this.hasNulls) this.nulls.fill(0, 0, this.length)
    this.hasNulls = false
    this.length = 0
    this.scale = this.firstScale
    this.form = this.isText ? TEXT : NARROW
    if (this.wide.length > 0) this.wide = []
  }

  /** Room for `rowCount` more rows in every array of the present form. */
  reserve(rowCount: number): void {
    const needed = this.length + rowCount
    if (needed > this.nulls.length) this.growRows(needed)
  }

  /** Room for `byteCount` more bytes of text. */
  reserveData(byteCount: number): void {
    const needed = this.offsets[this.length] + byteCount
    if (needed > this.data.length) this.growData(needed)
  }

  appendNull(): void {
    this.reserve(1)
    const row = this.length++
    this.nulls[row] = 1
    this.hasNulls = true
    if (this.form === NARROW) this.numbers[row] = 0
    else if (this.form === WIDE) this.wide[row] = 0n
    else this.offsets[row + 1] = this.offsets[row]
  }

  /** @param value as in a narrow column, at this builder's scale: a safe integer for exact types. */
  appendNumber(value: number): void {
    this.reserve(1)
    const row = this.length++
    // Adding 0 turns -0 into 0.
    if (this.form === NARROW) this.numbers[row] = value + 0
    else this.wide[row] = BigInt(value)
  }

  /** @param value at this builder's scale. */
  appendBigint(value: bigint): void {
    if (this.form === NARROW) {
      if (isSafe(value)) {
        this.appendNumber(Number(value))
        return
      }
      this.widen()
    }
    this.reserve(1)
    this.wide[this.length++] = value
  }

  appendText(data: Uint8Array, start: number, end: number): void {
    this.reserve(1)
    this.reserveData(end - start)
    const row = this.length++
    const at = this.offsets[row]
    copyBytes(data, start, end, this.data, at)
    this.offsets[row + 1] = at + end - start
  }

  appendFrom(source: Column, row: number): void {
    if (source.nulls !== null && source.nulls[row] === 1) {
      this.appendNull()
    } else if (source.form === TEXT) {
      this.appendText(source.data, source.offsets[row], source.offsets[row + 1])
    } else if (source.form === NARROW && source.scale === this.scale) {
      this.appendNumber(source.numbers[row])
    } else {
      this.appendScaled(
        source.form === NARROW ? BigInt(source.numbers[row]) : source.wide[row],
        source.scale,
      )
    }
  }

  /** @param value a numeric's integer at `scale`, which may differ from the builder's. */
  appendScaled(value: bigint, scale: number): void {
    if (scale > this.scale) this.rescale(scale)
    this.appendBigint(scale === this.scale ? value : value * 10n ** BigInt(this.scale - scale))
  }

  /** Sees to it that the column shows at least so many digits after the point. */
  raiseScale(scale: number): void {
    if (scale > this.scale) this.rescale(scale)
  }

  /** Appends rows `rows[0 .. count]` of `source`. */
  gather(source: Column, rows: RowList, count: number): void {
    this.reserve(count)
    if (source.form === TEXT) this.gatherText(source, rows, count)
    else if (this.canCopyNumbers(source)) {
      gatherNumbers(source.numbers, rows, count, this.numbers, this.length)
    } else {
      this.gatherExact(source, rows, count)
      return
    }
    if (source.nulls !== null) this.gatherNulls(source.nulls, rows, count)
    this.length += count
  }

  /** Appends rows `from .. to` of `source`. */
  appendRange(source: Column, from: number, to: number): void {
    const count = to - from
    if (count <= 0) return
    this.reserve(count)
    if (source.form === TEXT) this.appendTextRange(source, from, to)
    else if (this.canCopyNumbers(source)) {
      this.numbers.set(source.numbers.subarray(from, to), this.length)
    } else {
      for (let row = from; row < to; row++) this.appendFrom(source, row)
      return
    }
    if (source.nulls !== null) {
      this.nulls.set(source.nulls.subarray(from, to), this.length)
      this.hasNulls = true
    }
    this.length += count
  }

  /** The column of all rows so far. The arrays are handed over; the builder begins anew. */
  finish(): Column {
    const nulls = this.hasNulls ? this.nulls : null
    // The next batch is likely as large as this one; an outsized one leaves no lasting cost.
    const capacity = Math.max(this.length, CAPACITY_MIN)
    let column: Column
    if (this.form === NARROW) {
      column = Column.narrow(this.type, this.numbers, nulls, this.scale)
      this.numbers = new Float64Array(capacity)
    } else if (this.form === WIDE) {
      column = Column.wide(this.type, this.wide, nulls, this.scale)
      this.wide = []
      this.numbers = new Float64Array(capacity)
    } else {
      column = Column.text(this.type, this.offsets, this.data, nulls)
      const byteCount = this.offsets[this.length]
      this.offsets = new Uint32Array(capacity + 1)
      this.data = new Uint8Array(Math.max(byteCount + (byteCount >> 2), CAPACITY_MIN * 16))
    }
    // `nulls` tells the capacity of all arrays; without nulls it is still all 0.
    if (nulls !== null) this.nulls = new Uint8Array(capacity)
    else if (this.nulls.length > capacity) this.nulls = this.nulls.subarray(0, capacity)
    this.hasNulls = false
    this.length = 0
    this.scale = this.firstScale
    this.form = this.isText ? TEXT : NARROW
    return column
  }

  /** Turns to the wide form; what was appended stays. */
  widen(): void {
    if (this.form !== NARROW) return
    const wide: bigint[] = []
    for (let row = 0; row < this.length; row++) wide.push(BigInt(this.numbers[row]))
    this.wide = wide
    this.form = WIDE
  }

  private canCopyNumbers(source: Column): boolean {
    if (this.form !== NARROW || source.form !== NARROW) return false
    if (!this.isNumeric || source.scale === this.scale) return true
    if (this.length > 0) return false
    this.scale = Math.max(this.scale, source.scale)
    return source.scale === this.scale
  }

  private gatherExact(source: Column, rows: RowList, count: number): void {
    for (let i = 0; i < count; i++) this.appendFrom(source, rows[i])
  }

  private gatherText(source: Column, rows: RowList, count: number): void {
    const from = source.offsets
    const offsets = this.offsets
    let at = offsets[this.length]
    let end = at
    for (let i = 0; i < count; i++) end += from[rows[i] + 1] - from[rows[i]]
    if (end > this.data.length) this.growData(end)
    const target = this.data
    const data = source.data
    for (let i = 0, row = this.length; i < count; i++) {
      const sourceStart = from[rows[i]]
      const sourceEnd = from[rows[i] + 1]
      copyBytes(data, sourceStart, sourceEnd, target, at)
      at += sourceEnd - sourceStart
      offsets[++row] = at
    }
  }

  private gatherNulls(nulls: Uint8Array, rows: RowList, count: number): void {
    const target = this.nulls
    const at = this.length
    let any = 0
    for (let i = 0; i < count; i++) {
      const isNull = nulls[rows[i]]
      target[at + i] = isNull
      any |= isNull
    }
    if (any !== 0) this.hasNulls = true
  }

  private appendTextRange(source: Column, from: number, to: number): void {
    const start = source.offsets[from]
    const end = source.offsets[to]
    this.reserveData(end - start)
    const at = this.offsets[this.length]
    this.data.set(source.data.subarray(start, end), at)
    for (let row = from, out = this.length; row < to; row++) {
      this.offsets[++out] = source.offsets[row + 1] - start + at
    }
  }

  /** Multiplies what was appended so that it stands at the larger `scale`. */
  private rescale(scale: number): void {
    const factor = 10n ** BigInt(scale - this.scale)
    this.scale = scale
    const length = this.length
    if (length === 0) return
    const narrow = this.form === NARROW
    const old = this.numbers
    const wide = this.wide
    this.form = NARROW
    this.wide = []
    this.length = 0
    for (let row = 0; row < length; row++) {
      this.appendBigint((narrow ? BigInt(old[row]) : wide[row]) * factor)
    }
  }

  private growRows(needed: number): void {
    const capacity = Math.max(needed, this.nulls.length * 2)
    const nulls = new Uint8Array(capacity)
    if (this.hasNulls) nulls.set(this.nulls)
    this.nulls = nulls
    if (this.isText) {
      const offsets = new Uint32Array(capacity + 1)
      offsets.set(this.offsets)
      this.offsets = offsets
    } else {
      const numbers = new Float64Array(capacity)
      numbers.set(this.numbers)
      this.numbers = numbers
    }
  }

  private growData(needed: number): void {
    const data = new Uint8Array(Math.max(needed, this.data.length * 2))
    data.set(this.data)
    this.data = data
  }
}

function gatherNumbers(
  source: Float64Array,
  rows: RowList,
  count: number,
  target: Float64Array,
  at: number,
): void {
  for (let i = 0; i < count; i++) target[at + i] = source[rows[i]]
}

function copyBytes(
  source: Uint8Array,
  start: number,
  end: number,
  target: Uint8Array,
  at: number,
): void {
  if (end - start < COPY_BYTES_MIN) {
    for (let i = start, out = at; i < end; i++, out++) target[out] = source[i]
  } else {
    target.set(source.subarray(start, end), at)
  }
}

function isSafe(value: bigint): boolean {
  return value <= SAFE_MAX_BIG && value >= -SAFE_MAX_BIG
}

/** The rows `rows[0 .. count]` of all columns of a chunk, whether visible or not. */
export function gatherChunk(chunk: Chunk, rows: RowList, count: number): Column[] {
  const columns: Column[] = []
  for (const source of chunk.columns) {
    const builder = new ColumnBuilder(source.type, source.scale)
    builder.gather(source, rows, count)
    columns.push(builder.finish())
  }
  return columns
}

/** The same rows without the hidden ones; the chunk itself when it hides none. */
export function compactChunk(chunk: Chunk): Chunk {
  const { rowCount, ops, visible } = chunk
  if (visible === null) return chunk
  const rows = new Int32Array(rowCount)
  let count = 0
  for (let row = 0; row < rowCount; row++) {
    rows[count] = row
    count += visible[row]
  }
  if (count === rowCount) return new Chunk(rowCount, ops, null, chunk.columns)
  let kept: Uint8Array | null = null
  if (ops !== null) {
    kept = new Uint8Array(count)
    for (let i = 0; i < count; i++) kept[i] = ops[rows[i]]
  }
  return new Chunk(count, kept, null, gatherChunk(chunk, rows, count))
}
