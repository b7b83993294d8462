/**
 * A version: the immutable set of live SSTs by level, with what else a commit makes durable. Plain
 * data (msgpack): it is what the commit log spells and what crosses threads.
 */
import type { Epoch, Generation, TableId } from '../../common/ids.ts'

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
}

export const EMPTY_LEVELS: GroupLevels = {
  subLevels: [],
  levels: Array.from({ length: LEVEL_COUNT }, () => []),
}
