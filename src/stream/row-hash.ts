/**
 * The hash of some columns of each row. It decides which vnode a row lives in and so is part of the
 * persisted format (docs/format.md): equal values hash equally in the narrow and the wide form, across
 * all integer and time types, and across numeric scales. Hot path: once per row and exchange, join or
 * key; one call per column of a chunk.
 *
 * hash(row) = h(first column), then combineHash(hash, h(column)) for each further one; no column: 0.
 * h(null) = NULL_HASH; h(integer, time, boolean) = hashInteger(its 64-bit halves); h(numeric) = that of
 * the integer that remains after trailing zeros below the point were dropped, combined with the
 * remaining scale unless that is 0; h(double, real) = hashInteger(bits) with -0 = 0 and one NaN;
 * h(text) = hashBytes(UTF-8, seed 0).
 */
import { combineHash, hashBytes, hashInteger } from '../common/hash.ts'
import type { Column } from './column.ts'
import { NARROW, TEXT } from './column.ts'
import type { RowList } from './column-builder.ts'

export const NULL_HASH = 0x6e756c6c
const TWO_32_INVERSE = 2 ** -32
const INT64_MAX = 2n ** 63n - 1n
const INT64_MIN = -(2n ** 63n)

const bitsAsDouble = new Float64Array(1)
const bitsAsHalves = new Uint32Array(bitsAsDouble.buffer)
let scratch = new Uint32Array(2048)

/** Writes the hash of row i of `columns` to `out[i]`, u32, for i below `rowCount`. */
export function hashRows(columns: readonly Column[], rowCount: number, out: Uint32Array): void {
  hashRowsAt(columns, null, rowCount, out)
}

/** As `hashRows`, for the rows `rows[0 .. count]` (null: rows `0 .. count`). */
export function hashRowsAt(
  columns: readonly Column[],
  rows: RowList | null,
  count: number,
  out: Uint32Array,
): void {
  if (columns.length === 0) {
    out.fill(0, 0, count)
    return
  }
  hashColumn(columns[0], rows, count, out)
  if (columns.length === 1) return
  if (scratch.length < count) scratch = new Uint32Array(count * 2)
  for (let index = 1; index < columns.length; index++) {
    hashColumn(columns[index], rows, count, scratch)
    combine(out, scratch, count)
  }
}

function combine(out: Uint32Array, right: Uint32Array, count: number): void {
  for (let i = 0; i < count; i++) out[i] = combineHash(out[i], right[i])
}

function hashColumn(column: Column, rows: RowList | null, count: number, out: Uint32Array): void {
  if (column.form === TEXT) hashText(column, rows, count, out)
  else if (column.form === NARROW && column.scale === 0) {
    if (column.type === 'double' || column.type === 'real') {
      hashDoubles(column.numbers, rows, count, out)
    } else if (rows === null) hashIntegers(column.numbers, count, out)
    else hashIntegersAt(column.numbers, rows, count, out)
  } else hashExact(column, rows, count, out)
  if (column.nulls !== null) hashNulls(column.nulls, rows, count, out)
}

function hashNulls(nulls: Uint8Array, rows: RowList | null, count: number, out: Uint32Array): void {
  for (let i = 0; i < count; i++) if (nulls[rows === null ? i : rows[i]] === 1) out[i] = NULL_HASH
}

function hashIntegers(numbers: Float64Array, count: number, out: Uint32Array): void {
  for (let i = 0; i < count; i++) {
    const value = numbers[i]
    out[i] = hashInteger(value | 0, Math.floor(value * TWO_32_INVERSE) | 0)
  }
}

function hashIntegersAt(
  numbers: Float64Array,
  rows: RowList,
  count: number,
  out: Uint32Array,
): void {
  for (let i = 0; i < count; i++) {
    const value = numbers[rows[i]]
    out[i] = hashInteger(value | 0, Math.floor(value * TWO_32_INVERSE) | 0)
  }
}

function hashDoubles(
  numbers: Float64Array,
  rows: RowList | null,
  count: number,
  out: Uint32Array,
): void {
  for (let i = 0; i < count; i++) {
    const value = numbers[rows === null ? i : rows[i]]
    // NaN has many bit patterns, of which the constant is one.
    bitsAsDouble[0] = Number.isNaN(value) ? Number.NaN : value + 0
    out[i] = Number.isNaN(value)
      ? hashInteger(0, 0x7ff80000)
      : hashInteger(bitsAsHalves[0] | 0, bitsAsHalves[1] | 0)
  }
}

function hashText(column: Column, rows: RowList | null, count: number, out: Uint32Array): void {
  const { data, offsets } = column
  for (let i = 0; i < count; i++) {
    const row = rows === null ? i : rows[i]
    out[i] = hashBytes(data, offsets[row], offsets[row + 1], 0)
  }
}

/** Wide values and scaled numerics. */
function hashExact(column: Column, rows: RowList | null, count: number, out: Uint32Array): void {
  const narrow = column.form === NARROW
  for (let i = 0; i < count; i++) {
    const row = rows === null ? i : rows[i]
    out[i] = narrow
      ? hashScaled(column.numbers[row], column.scale)
      : hashWide(column.wide[row], column.scale)
  }
}

function hashScaled(value: number, scale: number): number {
  let digits = value
  let rest = scale
  while (rest > 0 && digits % 10 === 0) {
    digits /= 10
    rest--
  }
  const hash = hashInteger(digits | 0, Math.floor(digits * TWO_32_INVERSE) | 0)
  return rest === 0 ? hash : combineHash(hash, rest)
}

function hashWide(value: bigint, scale: number): number {
  let digits = value
  let rest = scale
  while (rest > 0 && digits % 10n === 0n) {
    digits /= 10n
    rest--
  }
  let hash = hashLimbs(digits)
  // Numerics beyond 64 bits: fold the higher limbs in.
  for (let limbs = digits; limbs > INT64_MAX || limbs < INT64_MIN; ) {
    limbs >>= 64n
    hash = combineHash(hash, hashLimbs(limbs))
  }
  return rest === 0 ? hash : combineHash(hash, rest)
}

function hashLimbs(value: bigint): number {
  return hashInteger(Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(32, value >> 32n)))
}
