/** Random entries for property tests: few keys and epochs, so that versions and prefixes collide. */
import fc from 'fast-check'
import { compareEntries, type Entry, tableKey } from './support.ts'

const part = fc.oneof(
  fc.integer({ min: 0, max: 20 }),
  fc.constantFrom('', 'a', 'ab', 'abcdefgh', 'abcdefghi', 'z'.repeat(40)),
)

const value = fc.option(
  fc.oneof(
    { weight: 8, arbitrary: fc.uint8Array({ maxLength: 20 }) },
    {
      weight: 1,
      arbitrary: fc.integer({ min: 100, max: 2000 }).map((n) => new Uint8Array(n).fill(n)),
    },
  ),
  { freq: 4, nil: null },
)

export const entry: fc.Arbitrary<Entry> = fc
  .record({
    tableId: fc.constantFrom(1, 2, 700, 0xffff_ffff),
    vnode: fc.constantFrom(0, 1, 255),
    parts: fc.tuple(part, part),
    epoch: fc.oneof(fc.integer({ min: 1, max: 8 }), fc.constantFrom(2 ** 33, 2 ** 53 - 1)),
    value,
  })
  .map((row) => ({
    tableId: row.tableId,
    key: tableKey(row.vnode, ...row.parts),
    epoch: row.epoch,
    value: row.value,
  }))

/** Entries in key order, each key and epoch once; at least one. */
export const sortedEntries: fc.Arbitrary<readonly Entry[]> = fc
  .array(entry, { minLength: 1, maxLength: 200 })
  .map((entries) => {
    const sorted = [...entries].sort(compareEntries)
    return sorted.filter((item, i) => i === 0 || compareEntries(sorted[i - 1], item) !== 0)
  })
