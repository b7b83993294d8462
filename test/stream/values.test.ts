import fc from 'fast-check'
import { expect, test } from 'vitest'
import { EngineError } from '../../src/common/errors.ts'
import type { DataType } from '../../src/stream/schema.ts'
import { columnFromValues, jsonValueAt, textAt, valueAt } from '../../src/stream/values.ts'
import { ALL_TYPES, columnOf, plainAt, plainsOf, typedValues } from './arbitrary-columns.ts'

function one(
  type: DataType,
  value: unknown,
): { value: unknown; json: unknown; text: string | null } {
  const column = columnFromValues(type, [value], { column: 'c' })
  return { value: valueAt(column, 0), json: jsonValueAt(column, 0), text: textAt(column, 0) }
}

const accepted: readonly [DataType, unknown, unknown, unknown, string][] = [
  ['boolean', true, true, true, 't'],
  ['boolean', false, false, false, 'f'],
  ['smallint', -32768, -32768, -32768, '-32768'],
  ['integer', '7', 7, 7, '7'],
  ['bigint', 5, 5n, 5, '5'],
  ['bigint', 2n ** 63n - 1n, 2n ** 63n - 1n, '9223372036854775807', '9223372036854775807'],
  ['bigint', '-9223372036854775808', -(2n ** 63n), '-9223372036854775808', '-9223372036854775808'],
  ['numeric', 19.9, '19.9', '19.9', '19.9'],
  ['numeric', '-0.050', '-0.050', '-0.050', '-0.050'],
  [
    'numeric',
    10n ** 20n,
    '100000000000000000000',
    '100000000000000000000',
    '100000000000000000000',
  ],
  ['numeric', 1e21, '1000000000000000000000', '1000000000000000000000', '1000000000000000000000'],
  ['numeric', '1.5e-3', '0.0015', '0.0015', '0.0015'],
  ['double', 0.1, 0.1, 0.1, '0.1'],
  ['double', 1e15, 1e15, 1e15, '1e+15'],
  ['double', 123456789012345, 123456789012345, 123456789012345, '123456789012345'],
  ['double', 1.5e-5, 1.5e-5, 1.5e-5, '1.5e-05'],
  ['double', -1234.5, -1234.5, -1234.5, '-1234.5'],
  ['double', Number.NaN, Number.NaN, 'NaN', 'NaN'],
  ['double', -Infinity, -Infinity, '-Infinity', '-Infinity'],
  ['double', 10n, 10, 10, '10'],
  ['real', 0.1, Math.fround(0.1), Math.fround(0.1), '0.1'],
  ['real', 1000000, 1000000, 1000000, '1e+06'],
  ['real', 123456, 123456, 123456, '123456'],
  ['varchar', 'é😀', 'é😀', 'é😀', 'é😀'],
  ['bytea', Uint8Array.of(0, 255), Uint8Array.of(0, 255), '\\x00ff', '\\x00ff'],
  ['date', '2024-02-29', '2024-02-29', '2024-02-29', '2024-02-29'],
  ['date', new Date('1969-12-31T00:00:00Z'), '1969-12-31', '1969-12-31', '1969-12-31'],
  ['time', '23:59:59.5', '23:59:59.5', '23:59:59.5', '23:59:59.5'],
  [
    'timestamp',
    '2024-01-02 03:04:05.678',
    new Date('2024-01-02T03:04:05.678Z'),
    '2024-01-02T03:04:05.678',
    '2024-01-02 03:04:05.678',
  ],
  [
    'timestamptz',
    '2024-01-02T03:04:05.678901+02:00',
    '2024-01-02T01:04:05.678901Z',
    '2024-01-02T01:04:05.678901Z',
    '2024-01-02 01:04:05.678901+00',
  ],
  ['timestamptz', 1000, new Date(1000), '1970-01-01T00:00:01Z', '1970-01-01 00:00:01+00'],
  ['timestamptz', 1000n, new Date(1), '1970-01-01T00:00:00.001Z', '1970-01-01 00:00:00.001+00'],
  [
    'timestamp',
    -1n,
    '1969-12-31T23:59:59.999999',
    '1969-12-31T23:59:59.999999',
    '1969-12-31 23:59:59.999999',
  ],
  [
    'timestamp',
    '9999-12-31',
    new Date('9999-12-31T00:00:00Z'),
    '9999-12-31T00:00:00',
    '9999-12-31 00:00:00',
  ],
  [
    'timestamp',
    '0044-03-15 12:00:00 BC',
    new Date('-000043-03-15T12:00:00Z'),
    '0044-03-15T12:00:00 BC',
    '0044-03-15 12:00:00 BC',
  ],
  ['interval', '1 day 02:03:04.5', '1 day 02:03:04.5', '1 day 02:03:04.5', '1 day 02:03:04.5'],
  ['interval', '-90 minutes', '-01:30:00', '-01:30:00', '-01:30:00'],
  ['interval', 1500, '00:00:01.5', '00:00:01.5', '00:00:01.5'],
  ['interval', 0n, '00:00:00', '00:00:00', '00:00:00'],
]

test.each(accepted)('%s takes %s', (type, given, value, json, text) => {
  expect(one(type, given)).toEqual({ value, json, text })
  expect(one(type, null)).toEqual({ value: null, json: null, text: null })
})

const refused: readonly [DataType, unknown, string, string][] = [
  ['boolean', 1, 'VALUE_INVALID', '22P02'],
  ['smallint', 32768, 'VALUE_OVERFLOW', '22003'],
  ['integer', 1.5, 'VALUE_INVALID', '22P02'],
  ['integer', 2 ** 31, 'VALUE_OVERFLOW', '22003'],
  ['integer', 'x', 'VALUE_INVALID', '22P02'],
  ['bigint', 2 ** 53, 'VALUE_INVALID', '22P02'],
  ['bigint', 2n ** 63n, 'VALUE_OVERFLOW', '22003'],
  ['bigint', '9223372036854775808', 'VALUE_OVERFLOW', '22003'],
  ['numeric', Number.NaN, 'VALUE_INVALID', '22P02'],
  ['numeric', '1.2.3', 'VALUE_INVALID', '22P02'],
  ['double', '1e400', 'VALUE_OVERFLOW', '22003'],
  ['double', 2n ** 60n + 1n, 'VALUE_INVALID', '22P02'],
  ['real', 1e300, 'VALUE_INVALID', '22P02'],
  ['varchar', 5, 'VALUE_INVALID', '22P02'],
  ['varchar', 'a\0b', 'VALUE_INVALID', '22021'],
  ['varchar', 'a\ud83d', 'VALUE_INVALID', '22021'],
  ['bytea', 'abc', 'VALUE_INVALID', '22P02'],
  ['date', '2023-02-29', 'VALUE_OVERFLOW', '22008'],
  ['date', 'today', 'VALUE_INVALID', '22007'],
  ['date', new Date(5), 'VALUE_INVALID', '22P02'],
  ['time', '25:00', 'VALUE_OVERFLOW', '22008'],
  ['timestamp', new Date(Number.NaN), 'VALUE_INVALID', '22P02'],
  ['timestamp', 1.5, 'VALUE_INVALID', '22P02'],
  ['timestamp', {}, 'VALUE_INVALID', '22P02'],
  ['timestamp', '2024-01-01 10:61', 'VALUE_OVERFLOW', '22008'],
  ['timestamp', 2n ** 64n, 'VALUE_OVERFLOW', '22008'],
  ['interval', '1 month', 'SQL_UNSUPPORTED', '0A000'],
  ['interval', 'soon', 'VALUE_INVALID', '22007'],
]

test.each(refused)('%s refuses %s', (type, given, code, sqlState) => {
  let error: unknown
  try {
    columnFromValues(type, [null, given], { column: 'price', firstRow: 10 })
  } catch (caught) {
    error = caught
  }
  expect(error).toBeInstanceOf(EngineError)
  expect(error).toMatchObject({
    code,
    kind: 'invalid',
    context: { sqlState, column: 'price', row: 11, type },
  })
  expect(String(error)).toContain('"price"')
})

test('timestamps can be asked for as Date or as text', () => {
  const column = columnFromValues('timestamptz', ['2024-01-02 03:04:05.678901Z'], { column: 'at' })
  expect(valueAt(column, 0, { timestamps: 'date' })).toEqual(new Date('2024-01-02T03:04:05.678Z'))
  expect(valueAt(column, 0, { timestamps: 'text' })).toBe('2024-01-02T03:04:05.678901Z')
  const far = columnOf('timestamp', [2n ** 63n - 1n])
  expect(valueAt(far, 0, { timestamps: 'date' })).toBe('294247-01-10T04:00:54.775807')
})

test('what is given out is taken in again, unchanged', () => {
  fc.assert(
    fc.property(typedValues(ALL_TYPES, { wide: true }), ({ type, scale, values }) => {
      const inRange = values.map((value) => {
        if (typeof value !== 'bigint')
          return typeof value === 'string' ? value.replaceAll('\0', '') : value
        if (type === 'time') return ((value % 86400000000n) + 86400000000n) % 86400000000n
        if (type === 'date') return value % 1000000n
        if (type === 'timestamp' || type === 'timestamptz')
          return value % 2n ** 60n < -(2n ** 57n) ? 0n : value % 2n ** 60n
        return value
      })
      const column = columnOf(type, inRange, scale)
      const again = columnFromValues(
        type,
        inRange.map((_, row) => valueAt(column, row)),
        { column: 'c' },
      )
      expect(plainsOf(again, inRange.length)).toEqual(plainsOf(column, inRange.length))
      if (type === 'varchar' || type === 'bytea' || type === 'real' || type === 'boolean') return
      const texts = inRange.map((_, row) => textAt(column, row))
      const read = columnFromValues(type, texts, { column: 'c' })
      for (let row = 0; row < inRange.length; row++) {
        expect(plainAt(read, row)).toEqual(plainAt(column, row))
      }
    }),
    { numRuns: 300 },
  )
})
