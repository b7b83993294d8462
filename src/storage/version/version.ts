/**
 * A version: the immutable set of live SSTs by level, with what else a commit makes durable. Plain
 * data (msgpack): it is what the commit log spells and what crosses threads.
 */
import { compareBytes } from '../../common/bytes.ts'
import { EngineError } from '../../common/errors.ts'
import {
  EPOCH_ZERO,
  type Epoch,
  type Generation,
  generation,
  type TableId,
} from '../../common/ids.ts'
import type { TableLayout } from '../job.ts'
import { EPOCH_BYTES } from '../key.ts'

export type Group = 'state' | 'materialized'
export const GROUPS: readonly Group[] = ['state', 'materialized']

/** What a reader must know of an SST before it opens it. */
export interface SstMeta {
  /** `<generation>-<n>`, see docs/format.md; unique for ever. */
  readonly sstId: string
  readonly group: Group
  readonly sizeBytes: number
  /** The tail (index, filter, properties, footer) is `[tailOffset, sizeBytes)`: one ranged GET. */
  readonly tailOffset: number
  readonly blockCount: number
  /** First and last full key (table id .. inverted epoch). */
  readonly smallest: Uint8Array
  readonly largest: Uint8Array
  /** Ascending. */
  readonly tableIds: readonly TableId[]
  readonly entryCount: number
  readonly tombstoneCount: number
  readonly minEpoch: Epoch
  readonly maxEpoch: Epoch
}

/** The SSTs that one commit (or one compaction inside L0) added to L0. */
export interface SubLevel {
  readonly subLevelId: number
  readonly overlapping: boolean
  readonly ssts: readonly SstMeta[]
}

export const LEVEL_COUNT = 6

export interface GroupLevels {
  /** Newest first. */
  readonly subLevels: readonly SubLevel[]
  /** `levels[i]` is level i + 1: SSTs in key order that do not overlap. Always LEVEL_COUNT long. */
  readonly levels: readonly (readonly SstMeta[])[]
}

export interface Version {
  /** Number of the commit that made it: versions and commits share one order. */
  readonly versionId: number
  readonly generation: Generation
  readonly committedEpoch: Epoch
  /** Safe epoch up to which compactions of this version may have dropped what it hides. */
  readonly safeEpoch: Epoch
  readonly groups: Readonly<Record<Group, GroupLevels>>
  /** Offsets of sources, `<sourceId>/<split>` → plain data. */
  readonly offsets: Readonly<Record<string, unknown>>
  /** The catalog, opaque to storage; small, replaced whole when it changes. Null: none yet. */
  readonly catalog: unknown
  /** Layout of every table that has rows, ascending by id: what a merge needs to build filters. */
  readonly tables: readonly TableLayout[]
  /** Tables whose rows no reader asks for any more, ascending: merges drop them. Ids are never reused. */
  readonly droppedTables: readonly TableId[]
}

export const EMPTY_LEVELS: GroupLevels = {
  subLevels: [],
  levels: Array.from({ length: LEVEL_COUNT }, () => []),
}

/** The version before the first commit. */
export const EMPTY_VERSION: Version = {
  versionId: 0,
  generation: generation(0),
  committedEpoch: EPOCH_ZERO,
  safeEpoch: EPOCH_ZERO,
  groups: { state: EMPTY_LEVELS, materialized: EMPTY_LEVELS },
  offsets: {},
  catalog: null,
  tables: [],
  droppedTables: [],
}

/** Order of two full keys without their epochs: versions of one user key are equal. */
export function compareUserKeys(a: Uint8Array, b: Uint8Array): number {
  return compareBytes(a, 0, a.length - EPOCH_BYTES, b, 0, b.length - EPOCH_BYTES)
}

/** True when some user key could stand in both. */
export function overlaps(a: SstMeta, b: SstMeta): boolean {
  return compareUserKeys(a.smallest, b.largest) <= 0 && compareUserKeys(b.smallest, a.largest) <= 0
}

/** Every SST of a version, in no promised order. */
export function* eachSst(version: Version): Generator<SstMeta> {
  for (const group of GROUPS) {
    const { subLevels, levels } = version.groups[group]
    for (const subLevel of subLevels) yield* subLevel.ssts
    for (const level of levels) yield* level
  }
}

/**
 * The rules that every version keeps; for whole versions as they are read. Linear in the SSTs.
 * @throws CORRUPTION naming the SST that breaks one.
 */
export function checkVersion(version: Version): void {
  if (version.safeEpoch > version.committedEpoch) throw broken('safe epoch above the committed', '')
  for (const group of GROUPS) {
    const { subLevels, levels } = version.groups[group]
    if (levels.length !== LEVEL_COUNT) throw broken('wrong number of levels', group)
    const seen = new Set<string>()
    for (const subLevel of subLevels) {
      checkSubLevel(subLevel, group)
      checkUnique(subLevel.ssts, seen)
    }
    for (const level of levels) {
      checkRun(level, true, group)
      checkUnique(level, seen)
    }
  }
}

export function checkSubLevel(subLevel: SubLevel, group: Group): void {
  if (subLevel.ssts.length === 0) throw broken('a sub-level without SSTs', group)
  checkRun(subLevel.ssts, !subLevel.overlapping, group)
}

function checkUnique(ssts: readonly SstMeta[], seen: Set<string>): void {
  for (const { sstId } of ssts) {
    if (seen.has(sstId)) throw broken('an SST stands in two places', sstId)
    seen.add(sstId)
  }
}

/** @param disjoint whether they must follow one another in key order. */
export function checkRun(ssts: readonly SstMeta[], disjoint: boolean, group: Group): void {
  for (let i = 0; i < ssts.length; i++) {
    const sst = ssts[i]
    if (sst.group !== group) throw broken('an SST of another group', sst.sstId)
    if (sst.entryCount === 0) throw broken('an SST without rows', sst.sstId)
    if (compareUserKeys(sst.smallest, sst.largest) > 0) throw broken('keys reversed', sst.sstId)
    if (disjoint && i > 0 && compareUserKeys(ssts[i - 1].largest, sst.smallest) >= 0) {
      throw broken('SSTs of one run overlap', sst.sstId)
    }
  }
}

function broken(rule: string, object: string): EngineError {
  return new EngineError('CORRUPTION', `a version breaks a rule: ${rule}`, { context: { object } })
}
