/** Chunks through bytes and back: all forms, whole or by row lists, exact lengths, shared memory. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  decodeChunk,
  encodeChunk,
  encodedBytes,
  encodedRowsBytes,
  encodeRows,
} from '../../src/actors/chunk-codec.ts'
import { chunks, plainRows } from './chunk-generators.ts'

const GUARD = 0xa5

describe('chunk codec', () => {
  test('whole chunks come back equal, hidden rows stay hidden, nothing is written beyond the length', () => {
    fc.assert(
      fc.property(chunks({ maxRows: 40 }), fc.integer({ min: 0, max: 4 }), (chunk, shift) => {
        const bytes = encodedBytes(chunk)
        expect(bytes % 8).toBe(0)
        const target = new Uint8Array(new SharedArrayBuffer(bytes + 64)).fill(GUARD)
        const end = encodeChunk(chunk, target, shift * 8)
        expect(end).toBe(shift * 8 + bytes)
        expect(target.subarray(end).every((byte) => byte === GUARD)).toBe(true)
        expect(target.subarray(0, shift * 8).every((byte) => byte === GUARD)).toBe(true)
        const back = decodeChunk(target, shift * 8)
        expect(back.rowCount).toBe(chunk.rowCount)
        expect(plainRows(back)).toEqual(plainRows(chunk))
        back.columns.forEach((column, i) => {
          expect([column.type, column.form, column.scale]).toEqual([
            chunk.columns[i].type,
            chunk.columns[i].form,
            chunk.columns[i].scale,
          ])
        })
      }),
      { numRuns: 400 },
    )
  })

  test('row lists pick rows in their order', () => {
    fc.assert(
      fc.property(
        chunks({ maxRows: 30 }),
        fc.array(fc.nat(), { maxLength: 30 }),
        fc.boolean(),
        (chunk, picks, asRange) => {
          const rows = chunk.rowCount === 0 ? [] : picks.map((pick) => pick % chunk.rowCount)
          const list = Uint32Array.from(rows)
          const from = asRange ? Math.min(2, chunk.rowCount) : Math.min(1, rows.length)
          const to = asRange ? chunk.rowCount : rows.length
          const target = new Uint8Array(encodedRowsBytes(chunk, asRange ? null : list, from, to))
          const end = encodeRows(chunk, asRange ? null : list, from, to, target, 0)
          expect(end).toBe(target.length)
          const all = plainRows({ ...chunk, visible: null })
          const wanted = asRange
            ? all.slice(from).filter((_, i) => chunk.visible?.[from + i] !== 0)
            : rows.slice(from).map((row) => all[row])
          expect(plainRows(decodeChunk(target))).toEqual(wanted)
        },
      ),
      { numRuns: 400 },
    )
  })

  test('refuses unaligned targets and sources', () => {
    const chunk = fc.sample(chunks({ maxRows: 3 }), { numRuns: 1, seed: 1 })[0]
    const target = new Uint8Array(encodedBytes(chunk) + 8)
    expect(() => encodeChunk(chunk, target, 4)).toThrow(/aligned/)
    expect(() => decodeChunk(target.subarray(4), 0)).toThrow(/aligned/)
  })
})
