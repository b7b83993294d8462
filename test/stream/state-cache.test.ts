/** The hash table, cells and absence filter under the state caches, against Maps. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { hashRows } from '../../src/stream/row-hash.ts'
import type { Schema } from '../../src/stream/schema.ts'
import { CellColumn } from '../../src/stream/state-cache-cells.ts'
import { AbsenceFilter, KeyIndex } from '../../src/stream/state-cache-index.ts'
import { cellOf, chunkOf, type Row, rowText } from './rows.ts'

const SCHEMA: Schema = [
  { name: 'a', type: 'bigint' },
  { name: 'b', type: 'integer' },
  { name: 'c', type: 'varchar' },
  { name: 'd', type: 'numeric' },
  { name: 'e', type: 'double' },
]
const nullable = <T>(values: fc.Arbitrary<T>): fc.Arbitrary<T | null> =>
  fc.option(values, { freq: 6 })
const row = fc.tuple(
  nullable(fc.constantFrom(0n, 1n, -1n, 2n ** 53n, 2n ** 53n + 1n, -(2n ** 63n))),
  nullable(fc.bigInt(-2n, 2n)),
  nullable(fc.constantFrom('', 'a', 'ab', 'ü')),
  nullable(fc.constantFrom('0', '1', '15e-1', '-1e-3', '9007199254740993')),
  nullable(fc.constantFrom(0, 0.5, Number.NaN, Number.NEGATIVE_INFINITY)),
)
const batches = fc.array(fc.tuple(fc.array(row, { maxLength: 20 }), fc.boolean(), fc.boolean()), {
  maxLength: 12,
})
const columnLists = fc.constantFrom([0], [1], [0, 1], [2], [3], [4], [3, 1], [0, 1, 2, 3, 4])

describe('key index', () => {
  it('tells keys apart by their whole values, also when all hashes are equal', () => {
    fc.assert(
      fc.property(batches, columnLists, fc.boolean(), (chunks, columns, collide) => {
        const index = new KeyIndex(columns.map((column) => SCHEMA[column].type))
        const model = new Map<string, number>()
        for (const [rows, wide, hidden] of chunks) {
          const changes = rows.map((values) => ({ op: 0, row: values }))
          const chunk = chunkOf(SCHEMA, changes, { wide, hidden })
          const keys = columns.map((column) => chunk.columns[column])
          const hashes = new Uint32Array(chunk.rowCount).fill(0xfffffff7)
          if (!collide) hashRows(keys, chunk.rowCount, hashes)
          const out = new Int32Array(chunk.rowCount)
          index.findAll(keys, hashes, chunk.visible, chunk.rowCount, out)
          for (let at = 0; at < chunk.rowCount; at++) {
            const isHidden = chunk.visible !== null && chunk.visible[at] === 0
            const name = rowText(keys.map((column) => cellOf(column, at)))
            const known = model.get(name)
            // A key of this very chunk may have been inserted after `findAll`.
            if (isHidden) expect(out[at]).toBe(-1)
            else expect(index.find(keys, at, hashes[at])).toBe(known ?? -1)
            if (out[at] >= 0) expect(out[at]).toBe(known)
            if (isHidden || known !== undefined) continue
            model.set(name, index.insert(keys, at, hashes[at]))
          }
        }
        expect(index.count).toBe(model.size)
      }),
      { numRuns: 150 },
    )
  })
})

describe('cells', () => {
  it('give back what was last set, by row, by range and by copy', () => {
    fc.assert(
      fc.property(
        batches,
        fc.array(fc.tuple(fc.nat(15), fc.nat(15)), { maxLength: 20 }),
        fc.nat(4),
        (chunks, copies, at) => {
          const { type } = SCHEMA[at]
          const [cells, others] = [new CellColumn(type, 64, true), new CellColumn(type, 64)]
          const [model, otherModel]: [Row[], Row[]] = [[], []]
          for (const [rows, wide] of chunks) {
            const changes = rows.map((values) => ({ op: 0, row: values }))
            const column = chunkOf(SCHEMA, changes, { wide }).columns[at]
            others.setRange(0, column, null, rows.length)
            for (let i = 0; i < rows.length; i++) {
              otherModel[i] = [rows[i][at]]
              if (i % 3 === 0) continue
              cells.set(i, column, i)
              model[i] = [rows[i][at]]
            }
            for (const [to, from] of copies) {
              if (otherModel[from] === undefined) continue
              cells.copy(to, others, from)
              model[to] = otherModel[from]
              expect(cells.equalsCell(to, others, from)).toBe(true)
            }
            const known = [...model.keys()].filter((id) => model[id] !== undefined)
            const result = cells.gather(Int32Array.from(known), known.length)
            expect(known.map((_, i) => rowText([cellOf(result, i)]))).toEqual(
              known.map((id) => rowText(model[id])),
            )
          }
        },
      ),
      { numRuns: 150 },
    )
  })
})

describe('absence filter', () => {
  it('never denies a key that was added, and gives up when it is full', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(), { maxLength: 400 }), (hashes) => {
        const filter = new AbsenceFilter(true, 64)
        expect(filter.mayExist(5)).toBe(false)
        for (const hash of hashes) filter.add(hash)
        for (const hash of hashes) expect(filter.mayExist(hash)).toBe(true)
        if (hashes.length > 64) expect(filter.mayExist(2 ** 32 - 1)).toBe(true)
      }),
    )
    expect(new AbsenceFilter(false, 64).mayExist(5)).toBe(true)
  })

  it('denies most of the others, also when all hashes have the vnodes of one worker', () => {
    const filter = new AbsenceFilter(true, 10_000)
    const hashOf = (key: number): number => (Math.imul(key, 0x9e3779b1) >>> 0) & ~0xc0
    for (let round = 0; round < 3; round++)
      for (let key = 0; key < 8000; key++) filter.add(hashOf(key))
    let wrong = 0
    for (let key = 8000; key < 18_000; key++) wrong += Number(filter.mayExist(hashOf(key)))
    expect(wrong).toBeLessThan(600)
  })
})
