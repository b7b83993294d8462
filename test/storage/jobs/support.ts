/** Sealed runs and jobs for tests, and the naive form of what jobs do. */
import { epoch, tableId } from '../../../src/common/ids.ts'
import type { EncodeJob, JobOutput, MergeJob, SstOptions } from '../../../src/storage/job.ts'
import type { RunSegment, SealedRun } from '../../../src/storage/state-store.ts'
import { compareEntries, DATABASE_ID, type Entry, readSst } from '../sst/support.ts'

export const TINY: SstOptions = {
  databaseId: DATABASE_ID,
  idPrefix: '3',
  firstNumber: 10,
  blockBytes: 64,
  sstBytes: 512,
}

export interface RunOptions {
  readonly runId?: number
  readonly workerIndex?: number
  readonly prefixColumns?: number
  /** Records after which the next segment begins. */
  readonly segmentRecords?: number
}

/** Records in the order given; all entries must be of one table and epoch. */
export function sealedRun(entries: readonly Entry[], options: RunOptions = {}): SealedRun {
  const perSegment = options.segmentRecords ?? 5
  const segments: RunSegment[] = []
  for (let i = 0; i < entries.length; i += perSegment) {
    segments.push(segmentOf(entries.slice(i, i + perSegment)))
  }
  return {
    tableId: tableId(entries[0].tableId),
    group: 'state',
    prefixColumns: options.prefixColumns ?? 1,
    epoch: epoch(entries[0].epoch),
    workerIndex: options.workerIndex ?? 0,
    runId: options.runId ?? 0,
    entryCount: entries.length,
    byteCount: segments.reduce((sum, segment) => sum + segment.length, 0),
    segments,
  }
}

/** Begins at an odd place of its slab, as slabs hold more than one run. */
function segmentOf(entries: readonly Entry[]): RunSegment {
  const offset = 12
  let length = 0
  for (const item of entries) length += recordBytes(item)
  const buffer = new SharedArrayBuffer(offset + length + 8)
  const bytes = new Uint8Array(buffer)
  const view = new DataView(buffer)
  let at = offset
  for (const item of entries) {
    view.setUint32(at, item.key.length, true)
    view.setUint32(at + 4, item.value === null ? 0xffff_ffff : item.value.length, true)
    bytes.set(item.key, at + 8)
    if (item.value !== null) bytes.set(item.value, at + 8 + item.key.length)
    at += recordBytes(item)
  }
  return { buffer, offset, length }
}

function recordBytes(item: Entry): number {
  return Math.ceil((8 + item.key.length + (item.value?.length ?? 0)) / 4) * 4
}

export function encodeJob(
  runs: readonly SealedRun[],
  safeEpoch: number,
  sst: SstOptions = TINY,
): EncodeJob {
  return { kind: 'encode', group: 'state', runs, safeEpoch: epoch(safeEpoch), sst }
}

export function mergeJob(
  inputs: MergeJob['inputs'],
  safeEpoch: number,
  options: Partial<MergeJob> = {},
): MergeJob {
  const ids = new Set(inputs.flatMap((input) => input.meta.tableIds))
  return {
    kind: 'merge',
    group: 'state',
    inputs,
    safeEpoch: epoch(safeEpoch),
    bottom: false,
    tables: [...ids].map((id) => ({ tableId: id, prefixColumns: 1 })),
    droppedTables: [],
    sst: { ...TINY, idPrefix: '4' },
    ...options,
  }
}

export function entriesOf(output: JobOutput): Entry[] {
  return output.ssts.flatMap((sst) => readSst(sst))
}

/** The drop rule, written as the design says it. `entries` hold each key and epoch once. */
export function dropNaively(
  entries: readonly Entry[],
  safeEpoch: number,
  bottom: boolean,
): Entry[] {
  const byKey = new Map<string, Entry[]>()
  for (const item of [...entries].sort(compareEntries)) {
    const key = `${item.tableId} ${item.key}`
    byKey.set(key, [...(byKey.get(key) ?? []), item])
  }
  const kept: Entry[] = []
  for (const versions of byKey.values()) {
    kept.push(...versions.filter((version) => version.epoch > safeEpoch))
    const visible = versions.find((version) => version.epoch <= safeEpoch)
    if (visible && !(bottom && visible.value === null)) kept.push(visible)
  }
  return kept.sort(compareEntries)
}

/** What a reader at `readEpoch` sees: live rows. */
export function readNaively(entries: readonly Entry[], readEpoch: number): Entry[] {
  const seen = new Set<string>()
  const rows: Entry[] = []
  for (const item of [...entries].sort(compareEntries)) {
    const key = `${item.tableId} ${item.key}`
    if (item.epoch > readEpoch || seen.has(key)) continue
    seen.add(key)
    if (item.value !== null) rows.push(item)
  }
  return rows
}
