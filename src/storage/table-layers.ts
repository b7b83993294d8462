/**
 * What one table's readers see of a version: the SSTs that may hold its keys, newest first, in the
 * order in which a read looks. Made once per version and table, by any thread; immutable.
 */
import { compareBytes } from '../common/bytes.ts'
import type { TableId } from '../common/ids.ts'
import { EPOCH_BYTES, TABLE_ID_BYTES } from './key.ts'
import type { Group, SstMeta, Version } from './version/version.ts'

/** SSTs in key order that do not overlap: one sorted run. */
export type SortedRun = readonly SstMeta[]

/**
 * Sorted runs among which the newest version of a key may be in any: an overlapping sub-level. All else
 * is a tier of one run. What is found in a tier hides what later tiers hold.
 */
export interface Tier {
  readonly runs: readonly SortedRun[]
}

export interface TableLayers {
  readonly tiers: readonly Tier[]
  /** The runs of all tiers, newest tier first. */
  readonly runs: readonly SortedRun[]
}

const NO_LAYERS: TableLayers = { tiers: [], runs: [] }

export function tableLayers(version: Version, group: Group, tableId: TableId): TableLayers {
  const levels = version.groups[group]
  const tiers: Tier[] = []
  for (const subLevel of levels.subLevels) {
    const ssts = subLevel.ssts.filter((sst) => sst.tableIds.includes(tableId))
    if (ssts.length > 0) tiers.push({ runs: sortedRuns(ssts) })
  }
  for (const level of levels.levels) {
    const ssts = level.filter((sst) => sst.tableIds.includes(tableId))
    if (ssts.length > 0) tiers.push({ runs: [ssts] })
  }
  if (tiers.length === 0) return NO_LAYERS
  return { tiers, runs: tiers.flatMap((tier) => tier.runs) }
}

/** The fewest that greedy placing gives; one run when nothing overlaps, as in most sub-levels. */
function sortedRuns(ssts: readonly SstMeta[]): readonly SortedRun[] {
  if (ssts.length === 1) return [ssts]
  const ordered = [...ssts].sort((a, b) =>
    compareBytes(a.smallest, 0, a.smallest.length, b.smallest, 0, b.smallest.length),
  )
  const runs: SstMeta[][] = []
  for (const sst of ordered) {
    const run = runs.find((candidate) => isBefore(candidate[candidate.length - 1], sst))
    if (run === undefined) runs.push([sst])
    else run.push(sst)
  }
  return runs
}

/** True when every user key of `left` is below every one of `right`. */
function isBefore(left: SstMeta, right: SstMeta): boolean {
  const leftEnd = left.largest.length - EPOCH_BYTES
  const rightEnd = right.smallest.length - EPOCH_BYTES
  return compareBytes(left.largest, 0, leftEnd, right.smallest, 0, rightEnd) < 0
}

/**
 * Index of the first SST of a sorted run that may hold a full key at or after `key[0 .. end]`; the
 * run's length when none does. Full keys begin with the table id.
 */
export function findSst(run: SortedRun, key: Uint8Array, end: number): number {
  let low = 0
  let high = run.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const largest = run[middle].largest
    if (compareBytes(largest, 0, largest.length, key, 0, end) < 0) low = middle + 1
    else high = middle
  }
  return low
}

/** Writes a table id as full keys begin with it; returns its length. */
export function writeTableId(target: Uint8Array, tableId: TableId): number {
  target[0] = tableId >>> 24
  target[1] = tableId >>> 16
  target[2] = tableId >>> 8
  target[3] = tableId
  return TABLE_ID_BYTES
}
