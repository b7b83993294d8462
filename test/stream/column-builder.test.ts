import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Chunk, DELETE, INSERT } from '../../src/stream/chunk.ts'
import { NARROW, WIDE } from '../../src/stream/column.ts'
import { ColumnBuilder, compactChunk, gatherChunk } from '../../src/stream/column-builder.ts'
import { ALL_TYPES, columnOf, plainsOf, typedValues, widened } from './arbitrary-columns.ts'

test('gather, appendRange and appendFrom give the values of their rows', () => {
  fc.assert(
    fc.property(
      typedValues(ALL_TYPES, { wide: true }),
      fc.array(fc.nat(1000), { maxLength: 40 }),
      fc.boolean(),
      ({ type, scale, values }, picks, wide) => {
        const narrow = columnOf(type, values, scale)
        const source = wide ? widened(narrow, values.length) : narrow
        const rows = Int32Array.from(picks, (pick) => pick % values.length)
        const from = (picks[0] ?? 0) % values.length
        const builder = new ColumnBuilder(type, scale)
        builder.gather(source, rows, rows.length)
        builder.appendRange(source, from, values.length)
        for (const row of rows) builder.appendFrom(source, row)
        builder.gather(narrow, rows, rows.length)
        const gathered = Array.from(rows, (row) => values[row])
        const expected = [...gathered, ...values.slice(from), ...gathered, ...gathered]
        expect(builder.length).toBe(expected.length)
        expect(plainsOf(builder.finish(), expected.length)).toEqual(expected)
      },
    ),
  )
})

test('a builder that was finished or reset begins anew', () => {
  const builder = new ColumnBuilder('bigint')
  builder.appendBigint(2n ** 60n)
  builder.appendNull()
  expect(builder.finish().form).toBe(WIDE)
  builder.appendNumber(1)
  builder.appendNull()
  builder.reset()
  builder.appendNumber(7)
  const column = builder.finish()
  expect(column.form).toBe(NARROW)
  expect(column.nulls).toBeNull()
  expect(plainsOf(column, 1)).toEqual([7n])
})

test('a finished column is not touched by what comes later', () => {
  const builder = new ColumnBuilder('varchar')
  builder.appendText(Uint8Array.of(65), 0, 1)
  builder.appendNull()
  const first = builder.finish()
  builder.appendText(Uint8Array.of(66), 0, 1)
  builder.appendText(Uint8Array.of(67), 0, 1)
  builder.finish()
  expect(plainsOf(first, 2)).toEqual(['A', null])
})

test('numeric scales are unified to the larger, exactly', () => {
  const builder = new ColumnBuilder('numeric')
  builder.appendFrom(columnOf('numeric', [15n], 1), 0)
  builder.gather(columnOf('numeric', [275n, null], 2), Int32Array.of(0, 1), 2)
  builder.appendRange(columnOf('numeric', [2n ** 53n - 1n], 0), 0, 1)
  const column = builder.finish()
  expect(column.scale).toBe(2)
  expect(plainsOf(column, 4)).toEqual([150n, 275n, null, (2n ** 53n - 1n) * 100n])
})

test('-0 becomes 0', () => {
  const builder = new ColumnBuilder('double')
  builder.appendNumber(-0)
  expect(Object.is(builder.finish().numbers[0], 0)).toBe(true)
})

test('compactChunk drops hidden rows with their ops', () => {
  const columns = [
    columnOf('integer', [1n, 2n, null, 4n]),
    columnOf('varchar', ['a', 'b', 'c', null]),
  ]
  const ops = Uint8Array.of(INSERT, DELETE, INSERT, DELETE)
  const chunk = new Chunk(4, ops, Uint8Array.of(0, 1, 0, 1), columns)
  const compact = compactChunk(chunk)
  expect(compact.rowCount).toBe(2)
  expect(compact.visible).toBeNull()
  expect([...(compact.ops ?? [])]).toEqual([DELETE, DELETE])
  expect(compact.columns.map((column) => plainsOf(column, 2))).toEqual([
    [2n, 4n],
    ['b', null],
  ])
  const plain = new Chunk(4, ops, null, columns)
  expect(compactChunk(plain)).toBe(plain)
  expect(gatherChunk(plain, Int32Array.of(3, 0), 2).map((column) => plainsOf(column, 2))).toEqual([
    [4n, 1n],
    [null, 'a'],
  ])
})
