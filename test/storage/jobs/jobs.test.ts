import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { tableId } from '../../../src/common/ids.ts'
import type { JobOutput } from '../../../src/storage/job.ts'
import { runJob } from '../../../src/storage/jobs.ts'
import { skipColumns } from '../../../src/storage/key.ts'
import { prefixHash } from '../../../src/storage/sst/sst-reader.ts'
import { entry } from '../sst/arbitrary.ts'
import {
  compareEntries,
  describeEntry,
  type Entry,
  fullKey,
  hex,
  tableKey,
  tailOf,
} from '../sst/support.ts'
import {
  dropNaively,
  encodeJob,
  entriesOf,
  mergeJob,
  readNaively,
  sealedRun,
  TINY,
} from './support.ts'

const lines = (entries: readonly Entry[]): string[] => entries.map(describeEntry)

/** The last write of each key and epoch. */
function lastWrites(writes: readonly Entry[]): Entry[] {
  const last = new Map<string, Entry>()
  for (const item of writes) last.set(`${item.tableId} ${item.key} ${item.epoch}`, item)
  return [...last.values()].sort(compareEntries)
}

/** Writes of one table and epoch as runs, in order: spills of at most `spillEntries`. */
function runsOf(writes: readonly Entry[], spillEntries: number) {
  const groups = new Map<string, Entry[]>()
  for (const item of writes) {
    const name = `${item.tableId} ${item.epoch}`
    groups.set(name, [...(groups.get(name) ?? []), item])
  }
  let runId = 0
  return [...groups.values()].flatMap((group) => {
    const runs = []
    for (let i = 0; i < group.length; i += spillEntries) {
      runs.push(sealedRun(group.slice(i, i + spillEntries), { runId: runId++ }))
    }
    return runs
  })
}

/** Sizes, ids, order and metadata of a job's outputs. */
function expectWellFormed(output: JobOutput, prefix: string): void {
  let previous: Entry | null = null
  output.ssts.forEach((sst, i) => {
    expect(sst.meta.sstId).toBe(`${prefix}-${10 + i}`)
    expect(sst.meta.sizeBytes).toBe(sst.length)
    expect(sst.length).toBeLessThanOrEqual(sst.body.byteLength)
    const entries = entriesOf({ ...output, ssts: [sst] })
    expect(entries.length).toBeGreaterThan(0)
    const last = entries[entries.length - 1]
    expect(hex(sst.meta.smallest)).toBe(
      hex(fullKey(entries[0].tableId, entries[0].key, entries[0].epoch)),
    )
    expect(hex(sst.meta.largest)).toBe(hex(fullKey(last.tableId, last.key, last.epoch)))
    if (previous !== null) {
      expect(compareEntries(previous, entries[0])).toBeLessThan(0)
      const together = previous.tableId === entries[0].tableId
      expect(together && hex(previous.key) === hex(entries[0].key)).toBe(false)
    }
    previous = last
    for (const item of entries) {
      const end = skipColumns(item.key, 2, item.key.length, 1)
      expect(tailOf(sst).mayContain(item.tableId, prefixHash(item.key, 0, end))).toBe(true)
    }
  })
  expect(output.entriesOut).toBe(entriesOf(output).length)
  expect(output.bytesOut).toBe(output.ssts.reduce((sum, sst) => sum + sst.length, 0))
}

const writes = fc.array(entry, { minLength: 1, maxLength: 150 })
const safeEpoch = fc.integer({ min: 0, max: 9 })

describe('encode', () => {
  test('keeps the last write of a key in an epoch and applies the drop rule', () => {
    fc.assert(
      fc.property(writes, safeEpoch, fc.integer({ min: 1, max: 40 }), (items, safe, spill) => {
        const runs = runsOf(items, spill)
        const output = runJob(encodeJob([...runs].reverse(), safe))
        expect(lines(entriesOf(output))).toEqual(lines(dropNaively(lastWrites(items), safe, false)))
        expect(output.entriesIn).toBe(items.length)
        expectWellFormed(output, '3')
      }),
    )
  })

  test('makes one SST while it fits, and none of nothing', () => {
    const items = Array.from({ length: 500 }, (_, i) => ({
      tableId: 1 + (i % 3),
      key: tableKey(i % 7, i),
      epoch: 4,
      value: Uint8Array.of(i),
    }))
    const large = { ...TINY, blockBytes: 65_536, sstBytes: 2 ** 28 }
    expect(runJob(encodeJob(runsOf(items, 1000), 0, large)).ssts.length).toBe(1)
    expect(runJob(encodeJob([], 0, large)).ssts).toEqual([])
  })

  test('a run that does not hold its records is INTERNAL', () => {
    const run = sealedRun([{ tableId: 1, key: tableKey(0, 1), epoch: 1, value: null }])
    const internal = expect.objectContaining({ code: 'INTERNAL' })
    expect(() => runJob(encodeJob([{ ...run, entryCount: 2 }], 0))).toThrow(internal)
    expect(() => runJob(encodeJob([{ ...run, entryCount: 0 }], 0))).toThrow(internal)
    const cut = run.segments.map((segment) => ({ ...segment, length: 12 }))
    expect(() => runJob(encodeJob([{ ...run, segments: cut }], 0))).toThrow(internal)
  })
})

describe('merge', () => {
  test('the example of three versions: a reader at 4 keeps 5 and 4 alive, its end frees 4', () => {
    const key = tableKey(0, 1)
    const versions = [5, 4, 3].map((epoch) => ({
      tableId: 1,
      key,
      epoch,
      value: Uint8Array.of(epoch),
    }))
    const inputs = versions.map((version) => runJob(encodeJob([sealedRun([version])], 0)).ssts[0])
    const pinned = runJob(mergeJob(inputs, 4, { bottom: true }))
    expect(lines(entriesOf(pinned))).toEqual(lines(versions.slice(0, 2)))
    expect(lines(readNaively(entriesOf(pinned), 4))).toEqual(lines([versions[1]]))
    const unpinned = runJob(mergeJob(pinned.ssts, 5, { bottom: true }))
    expect(lines(entriesOf(unpinned))).toEqual(lines([versions[0]]))
  })

  test('applies the drop rule over all inputs, and readers see no difference', () => {
    const cases = fc.record({
      items: writes,
      safe: safeEpoch,
      bottom: fc.boolean(),
      parts: fc.integer({ min: 1, max: 9 }),
    })
    fc.assert(
      fc.property(cases, ({ items, safe, bottom, parts }) => {
        const all = lastWrites(items)
        const inputs = Array.from({ length: parts }, (_, part) => {
          const mine = all.filter((_, i) => (i * 7 + 3) % parts === part)
          return runJob(encodeJob(runsOf(mine, 1000), 0)).ssts
        }).flat()
        const output = runJob(mergeJob(inputs, safe, { bottom }))
        expect(lines(entriesOf(output))).toEqual(lines(dropNaively(all, safe, bottom)))
        expect(output.entriesIn).toBe(all.length)
        expectWellFormed(output, '4')
        for (const at of [safe, safe + 1, 2 ** 53 - 1]) {
          expect(lines(readNaively(entriesOf(output), at))).toEqual(lines(readNaively(all, at)))
        }
      }),
    )
  })

  test('of equal keys and epochs the newer input wins', () => {
    const item = (value: number): Entry => ({
      tableId: 1,
      key: tableKey(0, 1),
      epoch: 5,
      value: Uint8Array.of(value),
    })
    const inputs = [1, 2, 3].map((n) => runJob(encodeJob([sealedRun([item(n)])], 0)).ssts[0])
    expect(lines(entriesOf(runJob(mergeJob(inputs, 0))))).toEqual(lines([item(1)]))
    expect(lines(entriesOf(runJob(mergeJob(inputs.reverse(), 0))))).toEqual(lines([item(3)]))
  })

  test('leaves dropped tables out, and makes nothing of nothing', () => {
    const items = [1, 2, 3].flatMap((table) =>
      [1, 2, 3, 4, 5, 6, 7, 8, 9].map((id) => ({
        tableId: table,
        key: tableKey(id, id),
        epoch: 5,
        value: Uint8Array.of(id),
      })),
    )
    const inputs = runJob(encodeJob(runsOf(items, 100), 0)).ssts
    const some = runJob(mergeJob(inputs, 0, { droppedTables: [tableId(2)] }))
    expect(lines(entriesOf(some))).toEqual(lines(items.filter((item) => item.tableId !== 2)))
    const all = runJob(mergeJob(inputs, 0, { droppedTables: [1, 2, 3].map(tableId) }))
    expect(all.ssts).toEqual([])
    expect(runJob(mergeJob([], 0)).ssts).toEqual([])
  })

  test('a table that the job does not name keeps its filter', () => {
    const item = { tableId: 9, key: tableKey(0, 1), epoch: 5, value: null }
    const inputs = runJob(encodeJob([sealedRun([item])], 0)).ssts
    const [named] = runJob(mergeJob(inputs, 0)).ssts
    const [unnamed] = runJob(mergeJob(inputs, 0, { tables: [] })).ssts
    expect(hex(new Uint8Array(unnamed.body, 0, unnamed.length))).toBe(
      hex(new Uint8Array(named.body, 0, named.length)),
    )
    expect(tailOf(unnamed).properties().tables[0].prefixColumns).toBe(1)
  })

  test('a flipped bit anywhere in an input is CORRUPTION', () => {
    const items = Array.from({ length: 12 }, (_, id) => ({
      tableId: 1,
      key: tableKey(0, id),
      epoch: 5,
      value: Uint8Array.of(id),
    }))
    const [sst] = runJob(encodeJob(runsOf(items, 100), 0, { ...TINY, sstBytes: 4096 })).ssts
    const bytes = new Uint8Array(sst.body)
    const corruption = expect.objectContaining({ code: 'CORRUPTION' })
    for (let bit = 0; bit < sst.length * 8; bit++) {
      bytes[bit >> 3] ^= 1 << (bit & 7)
      expect(() => runJob(mergeJob([sst], 0))).toThrow(corruption)
      bytes[bit >> 3] ^= 1 << (bit & 7)
    }
    const short = new ArrayBuffer(sst.length - 1)
    expect(() => runJob(mergeJob([{ meta: sst.meta, body: short }], 0))).toThrow(corruption)
    expect(entriesOf(runJob(mergeJob([sst], 0))).length).toBe(12)
  })
})
