import fc from 'fast-check'
import { expect, test } from 'vitest'
import { compareBytes } from '../../src/common/bytes.ts'
import { EngineError } from '../../src/common/errors.ts'
import { skipColumns, VNODE_BYTES } from '../../src/storage/key.ts'
import type { Column } from '../../src/stream/column.ts'
import { ColumnBuilder } from '../../src/stream/column-builder.ts'
import {
  ByteListBuilder,
  KeyEncoder,
  RowDecoder,
  ValueEncoder,
} from '../../src/stream/row-codec.ts'
import type { DataType, Schema } from '../../src/stream/schema.ts'
import type { Plain } from './arbitrary-columns.ts'
import {
  ALL_TYPES,
  columnOf,
  comparePlain,
  plainOf,
  plainsOf,
  typedValues,
  widened,
} from './arbitrary-columns.ts'

function encodeKeys(
  types: readonly DataType[],
  columns: readonly Column[],
  rowCount: number,
  descending: readonly boolean[] = [],
): ByteListBuilder {
  const schema = types.map((type, i) => ({ name: `c${i}`, type }))
  const key = types.map((_, column) => ({ column, descending: descending[column] ?? false }))
  const target = new ByteListBuilder(1, 1)
  new KeyEncoder(schema, key, [0]).encode(columns, null, rowCount, target)
  return target
}

function compareItems(list: ByteListBuilder, a: number, b: number): number {
  const { data, offsets } = list
  return Math.sign(
    compareBytes(data, offsets[a] + 2, offsets[a + 1], data, offsets[b] + 2, offsets[b + 1]),
  )
}

test('encoded keys order as values do, in both directions, nulls last ascending', () => {
  fc.assert(
    fc.property(
      typedValues(ALL_TYPES, { wide: true }),
      fc.boolean(),
      ({ type, scale, values }, descending) => {
        const list = encodeKeys([type], [columnOf(type, values, scale)], values.length, [
          descending,
        ])
        for (let a = 0; a < values.length; a++) {
          for (let b = 0; b < values.length; b++) {
            const expected = Math.sign(comparePlain(values[a], values[b]))
            expect(compareItems(list, a, b)).toBe((descending ? -expected : expected) + 0)
          }
        }
      },
    ),
    { numRuns: 300 },
  )
})

test('numerics of different scales order by value, and equal ones are one key', () => {
  const numeric = fc.record({
    value: plainOf('numeric', true),
    scale: fc.integer({ min: 0, max: 9 }),
  })
  fc.assert(
    fc.property(numeric, numeric, (a, b) => {
      if (typeof a.value !== 'bigint' || typeof b.value !== 'bigint') return
      const left = encodeKeys(['numeric'], [columnOf('numeric', [a.value], a.scale)], 1)
      const right = encodeKeys(['numeric'], [columnOf('numeric', [b.value], b.scale)], 1)
      const difference = a.value * 10n ** BigInt(b.scale) - b.value * 10n ** BigInt(a.scale)
      const order = compareBytes(left.data, 2, left.length, right.data, 2, right.length)
      expect(Math.sign(order)).toBe(difference < 0n ? -1 : difference > 0n ? 1 : 0)
      if (difference === 0n) expect(left.data.slice(0, 2)).toEqual(right.data.slice(0, 2))
    }),
    { numRuns: 500 },
  )
})

const rowsArbitrary = fc
  .array(fc.constantFrom(...ALL_TYPES), { minLength: 1, maxLength: 4 })
  .chain((types) =>
    fc.record({
      types: fc.constant(types),
      scales: fc.tuple(
        ...types.map((type) => fc.integer({ min: 0, max: type === 'numeric' ? 4 : 0 })),
      ),
      descending: fc.tuple(...types.map(() => fc.boolean())),
      rows: fc.array(
        fc.tuple(
          ...types.map((type) =>
            fc.oneof({ weight: 4, arbitrary: plainOf(type, true) }, fc.constant<Plain>(null)),
          ),
        ),
        { minLength: 1, maxLength: 12 },
      ),
      keyCount: fc.integer({ min: 1, max: types.length }),
      wide: fc.boolean(),
    }),
  )

test('keys and values are read back, both forms have the same bytes, prefixes are found', () => {
  fc.assert(
    fc.property(rowsArbitrary, ({ types, scales, descending, rows, keyCount, wide }) => {
      const rowCount = rows.length
      const schema: Schema = types.map((type, i) => ({ name: `c${i}`, type }))
      const narrow = types.map((type, c) =>
        columnOf(
          type,
          rows.map((row) => row[c]),
          scales[c],
        ),
      )
      const columns = wide ? narrow.map((column) => widened(column, rowCount)) : narrow
      const order = types.map((_, i) => i).reverse()
      const keyColumns = order.slice(0, keyCount)
      const key = keyColumns.map((column) => ({ column, descending: descending[column] }))
      const valueColumns = order.slice(keyCount)
      const distribution = [keyColumns[keyCount - 1]]
      const keys = new ByteListBuilder(1, 1)
      const values = new ByteListBuilder(1, 1)
      const keyEncoder = new KeyEncoder(schema, key, distribution)
      const valueEncoder = new ValueEncoder(schema, valueColumns, keyColumns)
      keyEncoder.encode(columns, null, rowCount, keys)
      valueEncoder.encode(columns, null, rowCount, values)
      const half = rowCount >> 1
      const narrowKeys = new ByteListBuilder()
      const narrowValues = new ByteListBuilder()
      const rowList = Int32Array.from({ length: rowCount }, (_, i) => i)
      keyEncoder.encode(narrow, rowList, half, narrowKeys)
      keyEncoder.encode(narrow, rowList.subarray(half), rowCount - half, narrowKeys)
      valueEncoder.encode(narrow, rowList, rowCount, narrowValues)
      expect(narrowKeys.data.slice(0, narrowKeys.length)).toEqual(keys.data.slice(0, keys.length))
      expect(narrowValues.data.slice(0, values.length)).toEqual(values.data.slice(0, values.length))

      const prefixes = new ByteListBuilder()
      keyEncoder.encodePrefix(
        keyColumns.map((column) => columns[column]),
        null,
        rowCount,
        prefixes,
      )
      expect(prefixes.data.slice(0, keys.length)).toEqual(keys.data.slice(0, keys.length))
      for (let row = 0; row < rowCount; row++) {
        const start = keys.offsets[row]
        const end = keys.offsets[row + 1]
        expect(skipColumns(keys.data, start + VNODE_BYTES, end, keyCount)).toBe(end)
        const shorter = skipColumns(keys.data, start + VNODE_BYTES, end, keyCount - 1)
        if (keyCount > 1) {
          const alone = encodeKeys(
            keyColumns.slice(0, keyCount - 1).map((column) => types[column]),
            keyColumns.slice(0, keyCount - 1).map((column) => columns[column]),
            rowCount,
            keyColumns.map((column) => descending[column]),
          )
          expect(alone.data.slice(alone.offsets[row] + 2, alone.offsets[row + 1])).toEqual(
            keys.data.slice(start + VNODE_BYTES, shorter),
          )
        }
      }

      const builders = types.map((type) => new ColumnBuilder(type))
      const decoder = new RowDecoder(schema, key, valueColumns, true)
      decoder.decode(keys, values, 0, half, builders)
      decoder.decode(keys, values, half, rowCount, builders)
      const decoded = builders.map((builder) => builder.finish())
      for (let c = 0; c < types.length; c++) {
        const someValue = rows.some((row) => row[c] !== null)
        if (keyColumns.includes(c) || someValue) expect(decoded[c].scale).toBe(scales[c])
        expect(plainsOf(decoded[c], rowCount)).toEqual(rows.map((row) => row[c]))
      }
    }),
    { numRuns: 300 },
  )
})

test('damaged rows are refused', () => {
  const schema: Schema = [
    { name: 'a', type: 'bigint' },
    { name: 'b', type: 'varchar' },
  ]
  const columns = [columnOf('bigint', [5n]), columnOf('varchar', ['hello'])]
  const values = new ByteListBuilder()
  new ValueEncoder(schema, [0, 1]).encode(columns, null, 1, values)
  const decoder = new RowDecoder(schema, [], [0, 1])
  for (const cut of [1, 2, 3]) {
    const shorter = { count: 1, offsets: Uint32Array.of(0, values.length - cut), data: values.data }
    const builders = schema.map((field) => new ColumnBuilder(field.type))
    expect(() => decoder.decodeValues(shorter, 0, 1, builders)).toThrow(EngineError)
  }
})

test('a key that is too long is refused and appends nothing', () => {
  const target = new ByteListBuilder()
  const schema: Schema = [{ name: 'a', type: 'varchar' }]
  const encoder = new KeyEncoder(schema, [{ column: 0, descending: false }], [0])
  const columns = [columnOf('varchar', ['x'.repeat(70_000)])]
  expect(() => encoder.encode(columns, null, 1, target)).toThrow(
    expect.objectContaining({ code: 'KEY_TOO_LARGE' }),
  )
  expect(target.count).toBe(0)
  expect(target.length).toBe(0)
})
