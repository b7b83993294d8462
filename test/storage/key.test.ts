import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  GROUP_BYTES,
  GROUP_CONTINUES,
  skipColumns,
  TAG_1,
  TAG_4,
  TAG_8,
  TAG_GROUPS,
  TAG_NULL,
} from '../../src/storage/key.ts'

type Value =
  | { readonly kind: 'null' }
  | { readonly kind: 'fixed'; readonly bytes: Uint8Array }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }

/** The format's drawing, as naively as it can be written. */
function encode(value: Value): number[] {
  if (value.kind === 'null') return [TAG_NULL]
  const bytes = [...value.bytes]
  if (value.kind === 'fixed') {
    const tag = new Map([
      [1, TAG_1],
      [4, TAG_4],
      [8, TAG_8],
    ]).get(bytes.length)
    return [tag ?? -1, ...bytes]
  }
  const key = [TAG_GROUPS]
  for (;;) {
    const group = bytes.splice(0, GROUP_BYTES)
    const padded = [...group, ...new Array(GROUP_BYTES - group.length).fill(0)]
    if (bytes.length === 0) return [...key, ...padded, group.length]
    key.push(...padded, GROUP_CONTINUES)
  }
}

function encodeColumn(value: Value, descending: boolean): number[] {
  const key = encode(value)
  return descending ? key.map((byte) => byte ^ 0xff) : key
}

const sized = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const anyValue: fc.Arbitrary<Value> = fc.oneof(
  fc.constant<Value>({ kind: 'null' }),
  fc.oneof(sized(1), sized(4), sized(8)).map((bytes): Value => ({ kind: 'fixed', bytes })),
  fc.uint8Array({ maxLength: 30 }).map((bytes): Value => ({ kind: 'bytes', bytes })),
)
const columns = fc.array(fc.tuple(anyValue, fc.boolean()), { maxLength: 6 })

describe('skipColumns', () => {
  test('finds where each column ends, ascending, descending and null', () => {
    fc.assert(
      fc.property(columns, fc.nat(10), fc.nat(10), (row, before, after) => {
        const parts = row.map(([value, descending]) => encodeColumn(value, descending))
        const key = new Uint8Array([
          ...new Array(before).fill(0x10),
          ...parts.flat(),
          ...new Array(after).fill(0x10),
        ])
        let end = before
        for (let count = 0; count <= row.length; count++) {
          expect(skipColumns(key, before, key.length - after, count)).toBe(end)
          end += parts[count]?.length ?? 0
        }
      }),
      { numRuns: 500 },
    )
  })

  test.each([0, 7, 8, 9, 16, 17])('bytes of length %i', (length) => {
    for (const descending of [false, true]) {
      const bytes = new Uint8Array(length).fill(GROUP_CONTINUES)
      const key = Uint8Array.from(encodeColumn({ kind: 'bytes', bytes }, descending))
      expect(skipColumns(key, 0, key.length, 1)).toBe(key.length)
    }
  })

  test('a key that ends too early is corruption, at every length', () => {
    fc.assert(
      fc.property(columns, fc.nat(), (row, cut) => {
        const key = Uint8Array.from(row.flatMap(([value, down]) => encodeColumn(value, down)))
        if (key.length === 0) return
        const end = cut % key.length
        expect(() => skipColumns(key, 0, end, row.length)).toThrow('a key does not end')
        expect(() => skipColumns(key.slice(0, end), 0, end, row.length)).toThrow()
      }),
    )
  })

  test.each([0x00, 0x03, 0x7f, 0x80, 0xff])('the tag %i is corruption', (tag) => {
    const key = new Uint8Array(20).fill(tag)
    expect(() => skipColumns(key, 0, 20, 1)).toThrow('a key does not end')
  })

  test('columns sort by their bytes, null last, descending the other way round', () => {
    const order = (a: number[], b: number[]) =>
      Math.sign(Buffer.compare(Buffer.from(a), Buffer.from(b)))
    const bytes = fc.uint8Array({ maxLength: 20 }).map((b): Value => ({ kind: 'bytes', bytes: b }))
    fc.assert(
      fc.property(fc.tuple(bytes, bytes), ([a, b]) => {
        const expected = order(
          a.kind === 'null' ? [] : [...a.bytes],
          b.kind === 'null' ? [] : [...b.bytes],
        )
        expect(order(encodeColumn(a, false), encodeColumn(b, false))).toBe(expected)
        expect(order(encodeColumn(b, true), encodeColumn(a, true))).toBe(expected)
        expect(order(encodeColumn(a, false), encodeColumn({ kind: 'null' }, false))).toBe(-1)
        expect(order(encodeColumn(a, true), encodeColumn({ kind: 'null' }, true))).toBe(1)
      }),
    )
  })
})
