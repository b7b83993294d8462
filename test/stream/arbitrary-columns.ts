/** Random columns for property tests, in both forms, from plain values. */
import fc from 'fast-check'
import { Column, NARROW, TEXT } from '../../src/stream/column.ts'
import { ColumnBuilder } from '../../src/stream/column-builder.ts'
import type { DataType } from '../../src/stream/schema.ts'

/** What a test says a value is: bigint for exact types (at a column-wide scale), number, or UTF-8 text. */
export type Plain = bigint | number | string | null

export const EXACT_TYPES: readonly DataType[] = [
  'boolean',
  'smallint',
  'integer',
  'bigint',
  'numeric',
  'date',
  'time',
  'timestamp',
  'timestamptz',
  'interval',
]
export const ALL_TYPES: readonly DataType[] = [...EXACT_TYPES, 'real', 'double', 'varchar', 'bytea']

const INT64_MAX = 2n ** 63n - 1n
const edges: readonly bigint[] = [
  0n,
  1n,
  -1n,
  127n,
  128n,
  -128n,
  -129n,
  32767n,
  32768n,
  -32769n,
  2n ** 31n - 1n,
  2n ** 31n,
  -(2n ** 31n),
  2n ** 32n,
  2n ** 53n - 1n,
  -(2n ** 53n) + 1n,
]
const wideEdges: readonly bigint[] = [
  2n ** 53n,
  2n ** 53n + 1n,
  -(2n ** 53n),
  -(2n ** 53n) - 1n,
  INT64_MAX,
  -INT64_MAX - 1n,
]

export function plainOf(type: DataType, wide: boolean): fc.Arbitrary<Plain> {
  if (type === 'varchar' || type === 'bytea') {
    return fc.oneof(
      fc.constantFrom(
        '',
        'a',
        'ab',
        'abcdefgh',
        'abcdefghi',
        'abcdefgh\0',
        'a\0',
        'é',
        '\uffff',
        '😀',
      ),
      fc.string({ unit: 'grapheme', maxLength: 20 }),
      fc.string({ minLength: 60, maxLength: 90 }),
    )
  }
  if (type === 'real' || type === 'double') {
    const numbers = fc.oneof(
      fc.constantFrom(0, 1, -1, Number.NaN, Infinity, -Infinity, 0.1, -0.1, 5e-324, 1.7e308),
      fc.double(),
      fc.integer({ min: -5, max: 5 }),
    )
    return numbers.map((n) => (type === 'real' ? Math.fround(n) : n) + 0)
  }
  if (type === 'boolean') return fc.constantFrom(0n, 1n)
  const small = fc.oneof(
    fc.constantFrom(...edges),
    fc.integer({ min: -9, max: 9 }).map(BigInt),
    fc.maxSafeInteger().map(BigInt),
  )
  if (type === 'smallint') return fc.integer({ min: -32768, max: 32767 }).map(BigInt)
  if (type === 'integer' || type === 'date') {
    return fc.oneof(fc.integer(), fc.integer({ min: -9, max: 9 })).map(BigInt)
  }
  if (!wide) return small
  if (type === 'numeric') {
    return fc.oneof(
      small,
      fc.constantFrom(...wideEdges),
      fc.bigInt({ min: -(10n ** 40n), max: 10n ** 40n }),
    )
  }
  return fc.oneof(
    small,
    fc.constantFrom(...wideEdges),
    fc.bigInt({ min: -INT64_MAX - 1n, max: INT64_MAX }),
  )
}

export function encodeText(value: string): Uint8Array {
  return new TextEncoder().encode(value)
}

/** The column of these values, narrow where it can be. */
export function columnOf(type: DataType, values: readonly Plain[], scale = 0): Column {
  const builder = new ColumnBuilder(type, scale)
  for (const value of values) {
    if (value === null) builder.appendNull()
    else if (typeof value === 'string') {
      const bytes = encodeText(value)
      builder.appendText(bytes, 0, bytes.length)
    } else if (typeof value === 'bigint') builder.appendBigint(value)
    else builder.appendNumber(value)
  }
  return builder.finish()
}

/** The same column in the wide form; text and doubles stay. */
export function widened(column: Column, rowCount: number): Column {
  if (column.form !== NARROW || column.type === 'real' || column.type === 'double') return column
  if (column.type === 'boolean') return column
  const wide: bigint[] = []
  for (let row = 0; row < rowCount; row++) wide.push(BigInt(column.numbers[row]))
  return Column.wide(column.type, wide, column.nulls, column.scale)
}

export function plainAt(column: Column, row: number): Plain {
  if (column.nulls !== null && column.nulls[row] === 1) return null
  if (column.form === TEXT) {
    return new TextDecoder().decode(column.data.slice(column.offsets[row], column.offsets[row + 1]))
  }
  if (column.type === 'real' || column.type === 'double') return column.numbers[row]
  return column.form === NARROW ? BigInt(column.numbers[row]) : column.wide[row]
}

export function plainsOf(column: Column, rowCount: number): Plain[] {
  return Array.from({ length: rowCount }, (_, row) => plainAt(column, row))
}

/** PostgreSQL's order, nulls last; text by UTF-8 bytes. */
export function comparePlain(a: Plain, b: Plain): number {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1
  if (typeof a === 'string' && typeof b === 'string') {
    return Buffer.compare(encodeText(a), encodeText(b))
  }
  if (Number.isNaN(a) || Number.isNaN(b)) {
    return Number.isNaN(a) && Number.isNaN(b) ? 0 : Number.isNaN(a) ? 1 : -1
  }
  return a < b ? -1 : a > b ? 1 : 0
}

/** A type with rows of plain values; `scale` matters for numeric only. */
export function typedValues(
  types: readonly DataType[],
  options: { wide: boolean; rowsMax?: number },
): fc.Arbitrary<{ type: DataType; scale: number; values: Plain[] }> {
  return fc.constantFrom(...types).chain((type) =>
    fc.record({
      type: fc.constant(type),
      scale: type === 'numeric' ? fc.integer({ min: 0, max: 6 }) : fc.constant(0),
      values: fc.array(
        fc.oneof({ weight: 5, arbitrary: plainOf(type, options.wide) }, fc.constant(null)),
        { minLength: 1, maxLength: options.rowsMax ?? 20 },
      ),
    }),
  )
}
