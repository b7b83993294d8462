import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { EngineError } from '../../../src/common/errors.ts'
import { checksum } from '../../../src/common/hash.ts'
import { skipColumns } from '../../../src/storage/key.ts'
import { decodeBlock, writeU32 } from '../../../src/storage/sst/block.ts'
import type { BuiltSst } from '../../../src/storage/sst/sst-builder.ts'
import { prefixHash, SstTail } from '../../../src/storage/sst/sst-reader.ts'
import { SstWriter } from '../../../src/storage/sst/sst-writer.ts'
import { sstKey } from '../../../src/storage/sst-name.ts'
import { sortedEntries } from './arbitrary.ts'
import {
  compareEntries,
  DATABASE_ID,
  describeEntry,
  type Entry,
  fullKey,
  hex,
  objectOf,
  readBlock,
  readSst,
  seekSst,
  tableKey,
  tailOf,
  versionedKey,
} from './support.ts'

function build(entries: readonly Entry[], blockBytes: number, prefixColumns = 1): BuiltSst {
  const writer = new SstWriter({
    sst: { databaseId: DATABASE_ID, idPrefix: '7', firstNumber: 12, blockBytes, sstBytes: 2 ** 30 },
    group: 'state',
    // Below every epoch: all versions stay.
    safeEpoch: 0,
    bottom: false,
    creationEpoch: 99,
    expectedBytes: 64,
  })
  let table = 0
  for (const item of entries) {
    if (item.tableId !== table) {
      table = item.tableId
      writer.startTable(table, prefixColumns)
    }
    const key = new DataView(versionedKey(item.key, item.epoch).buffer)
    const value = new DataView((item.value?.slice() ?? new Uint8Array(0)).buffer)
    writer.add(key, 0, key.byteLength, value, 0, value.byteLength, item.value === null)
  }
  return writer.finish()[0]
}

function codeOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    return error instanceof EngineError ? error.code : `foreign: ${error}`
  }
  return 'no error'
}

const blockBytes = fc.constantFrom(64, 200, 4096, 65_536)

describe('an SST', () => {
  test('gives back what was written, at every block size', () => {
    fc.assert(
      fc.property(sortedEntries, blockBytes, (entries, size) => {
        const sst = build(entries, size)
        expect(readSst(sst).map(describeEntry)).toEqual(entries.map(describeEntry))
        expect(sst.meta.sizeBytes).toBe(sst.length)
        expect(sst.meta.entryCount).toBe(entries.length)
        expect(sst.meta.tombstoneCount).toBe(entries.filter((item) => item.value === null).length)
        const [first, last] = [entries[0], entries[entries.length - 1]]
        expect(hex(sst.meta.smallest)).toBe(hex(fullKey(first.tableId, first.key, first.epoch)))
        expect(hex(sst.meta.largest)).toBe(hex(fullKey(last.tableId, last.key, last.epoch)))
        expect(sst.meta.tableIds).toEqual([...new Set(entries.map((item) => item.tableId))])
        expect(sst.meta.minEpoch).toBe(Math.min(...entries.map((item) => item.epoch)))
        expect(sst.meta.maxEpoch).toBe(Math.max(...entries.map((item) => item.epoch)))
      }),
    )
  })

  test('finds the first entry at or after any key, as a linear search does', () => {
    fc.assert(
      fc.property(sortedEntries, sortedEntries, blockBytes, (entries, targets, size) => {
        const sst = build(entries, size)
        for (const target of [...targets, ...entries]) {
          const expected = entries.find((item) => compareEntries(item, target) >= 0)
          const found = seekSst(sst, fullKey(target.tableId, target.key, target.epoch))
          expect(found && describeEntry(found)).toBe(expected ? describeEntry(expected) : null)
          // A prefix: no epoch, and only the first column.
          const column = 4 + skipColumns(target.key, 2, target.key.length, 1)
          const prefix = fullKey(target.tableId, target.key, 0).subarray(0, column)
          const below = entries.find(
            (item) => Buffer.compare(fullKey(item.tableId, item.key, item.epoch), prefix) >= 0,
          )
          const at = seekSst(sst, prefix)
          expect(at && describeEntry(at)).toBe(below ? describeEntry(below) : null)
        }
      }),
      { numRuns: 60 },
    )
  })

  test('holds one table in a block, and keeps blocks within their size', () => {
    fc.assert(
      fc.property(sortedEntries, blockBytes, (entries, size) => {
        const sst = build(entries, size)
        const tail = tailOf(sst)
        for (let i = 0; i < tail.blockCount; i++) {
          const block = readBlock(objectOf(sst), tail, i)
          expect(tail.blockTableId(i)).toBe(block.tableId)
          expect(tail.blockEntryCount(i)).toBe(block.entryCount)
          expect(tail.blockBodyLength(i)).toBe(block.body.length)
          if (block.entryCount > 1) expect(block.body.length).toBeLessThanOrEqual(size)
        }
      }),
    )
  })

  test('gives a value larger than a block a block of its own', () => {
    const large = new Uint8Array(100_000).map((_, i) => i)
    const small = Uint8Array.of(1)
    const entries = [1, 2, 3].map((id) => ({
      tableId: 1,
      key: tableKey(0, id),
      epoch: 5,
      value: id === 2 ? large : small,
    }))
    const sst = build(entries, 4096)
    const tail = tailOf(sst)
    expect([0, 1, 2].map((i) => tail.blockEntryCount(i))).toEqual([1, 1, 1])
    expect(readSst(sst).map(describeEntry)).toEqual(entries.map(describeEntry))
  })

  test('takes the longest keys', () => {
    const text = 'k'.repeat(57_000)
    const entries = ['a', 'b'].map((end) => ({
      tableId: 9,
      key: tableKey(3, text + end),
      epoch: 1,
      value: Uint8Array.of(7),
    }))
    expect(entries[0].key.length).toBeGreaterThan(64_000)
    expect(readSst(build(entries, 65_536)).map(describeEntry)).toEqual(entries.map(describeEntry))
  })

  test('says what it holds', () => {
    const value = Uint8Array.of(1, 2)
    const sst = build(
      [
        { tableId: 1, key: tableKey(0, 1), epoch: 5, value },
        { tableId: 1, key: tableKey(0, 1), epoch: 4, value: null },
        { tableId: 1, key: tableKey(0, 1), epoch: 3, value },
        { tableId: 2, key: tableKey(0, 1), epoch: 2, value },
      ],
      64,
    )
    const { smallest, largest, ...rest } = tailOf(sst).properties()
    expect([hex(smallest), hex(largest)]).toEqual([hex(sst.meta.smallest), hex(sst.meta.largest)])
    const tables = [
      { tableId: 1, entryCount: 3, keyCount: 1, tombstoneCount: 1, staleCount: 2 },
      { tableId: 2, entryCount: 1, keyCount: 1, tombstoneCount: 0, staleCount: 0 },
    ].map((table) => ({ prefixColumns: 1, ...table }))
    expect(rest).toEqual({
      entryCount: 4,
      keyCount: 2,
      tombstoneCount: 1,
      staleCount: 2,
      minEpoch: 2,
      maxEpoch: 5,
      creationEpoch: 99,
      rawBytes: 4 * 19 + 3 * 2,
      writer: '7',
      tables,
    })
  })

  test('refuses entries out of order, and takes each once', () => {
    const at = (id: number, epoch: number): Entry => ({
      tableId: 1,
      key: tableKey(0, id),
      epoch,
      value: null,
    })
    expect(codeOf(() => build([at(2, 1), at(1, 1)], 64))).toBe('INTERNAL')
    expect(codeOf(() => build([at(1, 1), at(1, 2)], 64))).toBe('INTERNAL')
    expect(readSst(build([at(1, 1), at(1, 1)], 4096)).length).toBe(1)
    expect(build([], 64)).toBeUndefined()
  })

  test('has the bytes of format 1.0', () => {
    const entries = Array.from({ length: 40 }, (_, i) => ({
      tableId: i < 30 ? 1 : 4,
      key: tableKey(i >> 2, i, i % 3 === 0 ? 'abc' : 'long enough for two groups'),
      epoch: 1000 + (i % 5),
      value: i % 7 === 0 ? null : new Uint8Array(i).fill(i),
    }))
    const sst = build(entries, 512)
    // A change here is a change of the persisted format: see docs/format.md.
    expect([sst.length, checksum(objectOf(sst)).toString(16)]).toEqual(GOLDEN)
  })
})

const GOLDEN = [3359, '1114edf1']

describe('the filter of an SST', () => {
  test('has no false negative', () => {
    fc.assert(
      fc.property(sortedEntries, fc.integer({ min: 1, max: 2 }), (entries, columns) => {
        const tail = tailOf(build(entries, 4096, columns))
        for (const item of entries) {
          const end = skipColumns(item.key, 2, item.key.length, columns)
          expect(tail.mayContain(item.tableId, prefixHash(item.key, 0, end))).toBe(true)
        }
      }),
    )
  })

  test('is absent where no prefix is declared, and asks nothing of unknown tables', () => {
    const item = { tableId: 5, key: tableKey(1, 1), epoch: 1, value: null }
    const none = tailOf(build([item], 64, 0))
    const some = tailOf(build([item], 64, 1))
    const refused = (tail: SstTail, table: number): number => {
      let count = 0
      for (let hash = 0; hash < 100; hash++) if (!tail.mayContain(table, hash)) count++
      return count
    }
    expect(refused(none, 5)).toBe(0)
    expect(refused(some, 4)).toBe(0)
    expect(refused(some, 5)).toBeGreaterThan(80)
  })
})

describe('damage', () => {
  const entries: Entry[] = Array.from({ length: 30 }, (_, i) => ({
    tableId: 1 + (i >> 4),
    key: tableKey(0, i),
    epoch: 9,
    value: Uint8Array.of(i),
  }))
  const sst = build(entries, 256)
  const object = objectOf(sst)

  test('of any bit of a block is CORRUPTION with object and offset', () => {
    const tail = tailOf(sst)
    const offset = tail.blockOffset(1)
    const stored = object.slice(offset, offset + tail.blockLength(1))
    for (let bit = 0; bit < stored.length * 8; bit++) {
      stored[bit >> 3] ^= 1 << (bit & 7)
      const decode = (): unknown => decodeBlock(stored, { object: '7-12', offset })
      expect(decode).toThrow(
        expect.objectContaining({
          code: 'CORRUPTION',
          context: expect.objectContaining({ object: '7-12', offset }),
        }),
      )
      stored[bit >> 3] ^= 1 << (bit & 7)
    }
    for (let length = 0; length < stored.length; length++) {
      const cut = stored.subarray(0, length)
      expect(codeOf(() => decodeBlock(cut, { object: '7-12', offset }))).toBe('CORRUPTION')
    }
    expect(codeOf(() => decodeBlock(stored, { object: '7-12', offset }))).toBe('no error')
  })

  test('of any bit of the tail, or its truncation, is CORRUPTION', () => {
    const tail = object.slice(sst.meta.tailOffset)
    for (let bit = 0; bit < tail.length * 8; bit++) {
      tail[bit >> 3] ^= 1 << (bit & 7)
      expect(codeOf(() => SstTail.parse(sst.meta, tail, DATABASE_ID))).toBe('CORRUPTION')
      tail[bit >> 3] ^= 1 << (bit & 7)
    }
    for (let length = 0; length < tail.length; length++) {
      const cut = tail.subarray(0, length)
      const shorter = { ...sst.meta, sizeBytes: sst.meta.tailOffset + length }
      expect(codeOf(() => SstTail.parse(sst.meta, cut, DATABASE_ID))).toBe('CORRUPTION')
      expect(codeOf(() => SstTail.parse(shorter, cut, DATABASE_ID))).toBe('CORRUPTION')
    }
    expect(codeOf(() => SstTail.parse(sst.meta, tail, DATABASE_ID))).toBe('no error')
  })

  test('that a checksum hides never hangs and gives only typed errors', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(255), (at, byte) => {
        const tail = object.slice(sst.meta.tailOffset)
        tail[at % (tail.length - 4)] = byte
        writeU32(tail, tail.length - 4, checksum(tail, 0, tail.length - 4))
        const code = codeOf(() => SstTail.parse(sst.meta, tail, DATABASE_ID))
        expect(['CORRUPTION', 'STORE_FORMAT_NEWER', 'no error']).toContain(code)
      }),
      { numRuns: 2000 },
    )
  })

  test('of place: another SST, another database', () => {
    const tail = object.subarray(sst.meta.tailOffset)
    const other = { ...sst.meta, sstId: '7-13' }
    expect(codeOf(() => SstTail.parse(other, tail, DATABASE_ID))).toBe('CORRUPTION')
    expect(codeOf(() => SstTail.parse(sst.meta, tail, 'f'.repeat(32)))).toBe('CORRUPTION')
    expect(codeOf(() => SstTail.parse(sst.meta, tail))).toBe('no error')
  })

  test('a newer format is named, with the one that is known', () => {
    const tail = object.slice(sst.meta.tailOffset)
    tail[tail.length - 16] = 2
    writeU32(tail, tail.length - 4, checksum(tail, 0, tail.length - 4))
    expect(() => SstTail.parse(sst.meta, tail, DATABASE_ID)).toThrow(
      expect.objectContaining({
        code: 'STORE_FORMAT_NEWER',
        context: { object: sstKey('7-12'), found: '2.0', known: '1.0' },
      }),
    )
  })
})
