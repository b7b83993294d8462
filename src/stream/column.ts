/**
 * One column of a chunk. Hot path: operators loop over `numbers`, or over `offsets` and `data`; no
 * object per value. One class and one shape for all types, so that loops stay monomorphic.
 *
 * Three forms, told apart by `form`:
 * - NARROW: `numbers[row]`; every value of an exact type is a safe integer. -0 never occurs.
 * - WIDE: `wide[row]` bigint; used as soon as one value of an exact type is beyond 2^53 - 1 (cold path).
 * - TEXT: `data[offsets[row] .. offsets[row + 1]]`, UTF-8 for varchar; `offsets[0]` may be above 0.
 * In each form a null holds 0, 0n or the empty range, and `nulls[row]` is 1; `nulls` itself is null
 * when no value is. Arrays may be longer than the chunk's `rowCount`, and may be views of shared memory.
 * Readers never change a column they were given.
 */
import type { DataType } from './schema.ts'

export const NARROW = 0
export const WIDE = 1
export const TEXT = 2
export type ColumnForm = typeof NARROW | typeof WIDE | typeof TEXT

const NO_NUMBERS = new Float64Array(0)
const NO_OFFSETS = new Uint32Array(0)
const NO_DATA = new Uint8Array(0)
const NO_WIDE: bigint[] = []

export class Column {
  readonly type: DataType
  readonly form: ColumnForm
  /** Decimal digits after the point, for numeric: the value is `numbers[row] / 10^scale`. Else 0. */
  readonly scale: number
  /** 1 where the value is null; null when none is. */
  readonly nulls: Uint8Array | null
  readonly numbers: Float64Array
  readonly wide: bigint[]
  readonly offsets: Uint32Array
  readonly data: Uint8Array

  private constructor(
    type: DataType,
    form: ColumnForm,
    scale: number,
    nulls: Uint8Array | null,
    numbers: Float64Array,
    wide: bigint[],
    offsets: Uint32Array,
    data: Uint8Array,
  ) {
    this.type = type
    this.form = form
    this.scale = scale
    this.nulls = nulls
    this.numbers = numbers
    this.wide = wide
    this.offsets = offsets
    this.data = data
  }

  static narrow(
    type: DataType,
    numbers: Float64Array,
    nulls: Uint8Array | null,
    scale = 0,
  ): Column {
    return new Column(type, NARROW, scale, nulls, numbers, NO_WIDE, NO_OFFSETS, NO_DATA)
  }

  static wide(type: DataType, wide: bigint[], nulls: Uint8Array | null, scale = 0): Column {
    return new Column(type, WIDE, scale, nulls, NO_NUMBERS, wide, NO_OFFSETS, NO_DATA)
  }

  static text(
    type: DataType,
    offsets: Uint32Array,
    data: Uint8Array,
    nulls: Uint8Array | null,
  ): Column {
    return new Column(type, TEXT, 0, nulls, NO_NUMBERS, NO_WIDE, offsets, data)
  }
}
