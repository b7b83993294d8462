import fc from 'fast-check'
import { expect, test } from 'vitest'
import { vnodeOfHash } from '../../src/common/hash.ts'
import type { Column } from '../../src/stream/column.ts'
import { hashRows, hashRowsAt } from '../../src/stream/row-hash.ts'
import { ALL_TYPES, columnOf, typedValues, widened } from './arbitrary-columns.ts'

function hashes(columns: readonly Column[], rowCount: number): number[] {
  const out = new Uint32Array(rowCount)
  hashRows(columns, rowCount, out)
  return [...out]
}

test('both forms hash equally, and so do picked rows', () => {
  fc.assert(
    fc.property(typedValues(ALL_TYPES, { wide: false }), ({ type, scale, values }) => {
      const narrow = columnOf(type, values, scale)
      const expected = hashes([narrow, narrow], values.length)
      const wide = widened(narrow, values.length)
      expect(hashes([wide, narrow], values.length)).toEqual(expected)
      const rows = Int32Array.from(values, (_, i) => values.length - 1 - i)
      const out = new Uint32Array(values.length)
      hashRowsAt([narrow, wide], rows, values.length, out)
      expect([...out].reverse()).toEqual(expected)
    }),
  )
})

test('integer types, times and numerics of any scale hash by value', () => {
  fc.assert(
    fc.property(
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      fc.nat(20),
      (value, scale) => {
        const expected = hashes([columnOf('bigint', [value])], 1)
        expect(hashes([columnOf('timestamp', [value])], 1)).toEqual(expected)
        expect(hashes([columnOf('numeric', [value * 10n ** BigInt(scale)], scale)], 1)).toEqual(
          expected,
        )
      },
    ),
  )
  const a = columnOf('numeric', [15n, 10n ** 30n], 1)
  const b = columnOf('numeric', [1500n, 10n ** 32n], 3)
  expect(hashes([a], 2)).toEqual(hashes([b], 2))
})

test('doubles hash by value', () => {
  const out = hashes([columnOf('double', [Number.NaN, 0, 1.5, null])], 4)
  expect(new Set(out).size).toBe(4)
})

/** The persisted placement: these numbers may never change. */
test('the hash is the one that stores were written with', () => {
  const columns = [
    columnOf('bigint', [0n, 1n, -1n, 2n ** 60n, null]),
    columnOf('varchar', ['', 'a', 'seller', 'é', null]),
  ]
  expect(hashes([columns[0]], 5)).toMatchInlineSnapshot(`
    [
      0,
      301794027,
      665785598,
      1179989563,
      1853189228,
    ]
  `)
  expect(hashes(columns, 5)).toMatchInlineSnapshot(`
    [
      0,
      3957716182,
      1838370546,
      2324436837,
      1367936102,
    ]
  `)
  expect(
    hashes([columnOf('numeric', [15n, 100n], 1), columnOf('double', [1.5, -2])], 2),
  ).toMatchInlineSnapshot(`
    [
      4050877583,
      3453028180,
    ]
  `)
  expect(hashes([], 2)).toEqual([0, 0])
})

test('vnodes of running numbers are spread evenly', () => {
  const count = 100_000
  const column = columnOf(
    'bigint',
    Array.from({ length: count }, (_, i) => BigInt(i + 1000)),
  )
  const buckets = new Uint32Array(256)
  for (const hash of hashes([column], count)) buckets[vnodeOfHash(hash)]++
  const mean = count / 256
  expect(Math.min(...buckets)).toBeGreaterThan(mean * 0.7)
  expect(Math.max(...buckets)).toBeLessThan(mean * 1.3)
})
