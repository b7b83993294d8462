/** Memtables and readers of sealed runs, against a map: whoever reads, whenever the index is built. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { epoch, tableId } from '../../src/common/ids.ts'
import { Arena } from '../../src/storage/arena.ts'
import { MemTable } from '../../src/storage/memtable.ts'
import {
  DELETED,
  ENTRY_OFFSET,
  ENTRY_SEGMENT,
  ENTRY_WORDS,
  EntryList,
  RECORD_HEADER_BYTES,
  RunReader,
  runKeyHash,
} from '../../src/storage/run-reader.ts'
import type { TableOptions } from '../../src/storage/state-store.ts'
import { hex, tableKey } from './sst/support.ts'

const OPTIONS: TableOptions = { tableId: tableId(3), group: 'state', prefixColumns: 1 }

function recordOf(reader: RunReader, entry: number): { key: string; value: string | null } {
  const segment = reader.entries[entry * ENTRY_WORDS + ENTRY_SEGMENT]
  const offset = reader.entries[entry * ENTRY_WORDS + ENTRY_OFFSET]
  const bytes = reader.segmentBytes[segment]
  const words = reader.segmentWords[segment]
  const keyAt = offset + RECORD_HEADER_BYTES
  const valueAt = keyAt + words[offset >>> 2]
  const valueBytes = words[(offset >>> 2) + 1]
  return {
    key: hex(bytes.subarray(keyAt, valueAt)),
    value: valueBytes === DELETED ? null : hex(bytes.subarray(valueAt, valueAt + valueBytes)),
  }
}

function check(reader: RunReader, model: ReadonlyMap<string, string | null>): void {
  reader.index()
  expect(reader.entryCount).toBe(model.size)
  for (const [key, value] of model) {
    const bytes = Buffer.from(key, 'hex')
    const entry = reader.find(runKeyHash(bytes, 0, bytes.length), bytes, 0, bytes.length)
    expect(entry).toBeGreaterThanOrEqual(0)
    expect(recordOf(reader, entry)).toEqual({ key, value })
  }
  const absent = tableKey(9, 9, 'absent')
  expect(reader.find(runKeyHash(absent, 0, absent.length), absent, 0, absent.length)).toBe(-1)
  const sorted = [...model.keys()].sort()
  const found = new EntryList()
  reader.entriesBetween(new Uint8Array(), Uint8Array.of(0xff), found)
  expect(keysOf(reader, found)).toEqual(sorted)
  for (let part = 0; part < 4; part++) {
    const prefix = tableKey(1, part)
    reader.entriesBelow(prefix, 0, prefix.length, prefix.length, found)
    expect(keysOf(reader, found)).toEqual(sorted.filter((key) => key.startsWith(hex(prefix))))
  }
}

function keysOf(reader: RunReader, list: EntryList): string[] {
  return Array.from(list.items.subarray(0, list.count), (entry) => recordOf(reader, entry).key)
}

const write = fc.record({
  part: fc.nat(4),
  name: fc.constantFrom(...Array.from({ length: 60 }, (_, i) => `n${i}`)),
  /** Null: delete; above 1024: larger than a slab. */
  size: fc.oneof(
    { weight: 8, arbitrary: fc.nat(40) },
    { weight: 2, arbitrary: fc.constant(null) },
    { weight: 1, arbitrary: fc.integer({ min: 900, max: 3000 }) },
  ),
  /** Reads after the write. */
  read: fc.integer({ min: 0, max: 15 }).map((n) => n === 0),
})

describe('a memtable', () => {
  it('reads as a map does while it is written, and as a run when it is sealed', () => {
    fc.assert(
      fc.property(fc.array(write, { maxLength: 150, size: 'max' }), (writes) => {
        const arena = new Arena(new SharedArrayBuffer(8 * 1024), 1024)
        const table = new MemTable(OPTIONS, arena)
        const model = new Map<string, string | null>()
        for (const [i, { part, name, size, read }] of writes.entries()) {
          const key = tableKey(1, part, name)
          // Ranges within larger buffers, as callers pass them.
          const padded = Uint8Array.from([0xee, ...key, 0xee])
          if (size === null) table.delete(padded, 1, padded.length - 1)
          else
            table.put(padded, 1, padded.length - 1, new Uint8Array(size + 5).fill(i), 3, size + 3)
          model.set(hex(key), size === null ? null : hex(new Uint8Array(size).fill(i)))
          if (!read) continue
          table.sync()
          check(table.reader, model)
        }
        const run = table.seal(epoch(5), 2, 77)
        check(table.reader, model)
        check(RunReader.of(structuredClone(run)), model)
        expect(run).toMatchObject({ epoch: 5, workerIndex: 2, runId: 77, tableId: 3 })
        expect(run.entryCount).toBe(writes.length)
        expect(run.segments.reduce((sum, part) => sum + part.length, 0)).toBe(run.byteCount)
        table.free()
        expect(arena.heldBytes).toBe(0)
      }),
      { numRuns: 80 },
    )
  })

  it('shares a slab with the next one, and costs nothing while nothing is written', () => {
    const arena = new Arena(new SharedArrayBuffer(8 * 1024), 4096)
    const tables = Array.from({ length: 10 }, () => new MemTable(OPTIONS, arena))
    expect(arena.heldBytes).toBe(0)
    const key = tableKey(1, 2, 'a')
    for (const table of tables) {
      table.put(key, 0, key.length, key, 0, key.length)
      table.seal(epoch(1), 0, 1)
    }
    expect(arena.heldBytes).toBe(4096)
    for (const table of tables) check(table.reader, new Map([[hex(key), hex(key)]]))
    for (const table of tables) table.free()
    expect(arena.heldBytes).toBe(0)
  })
})
