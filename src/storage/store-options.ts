/** The numbers that a store is opened with; all of them have defaults that suit production. */
import { assert } from '../common/assert.ts'
import { type Bytes, kibibytes, mebibytes } from '../common/ids.ts'
import type { CompactionOptions } from './compaction/picker.ts'
import { SNAPSHOT_EVERY } from './version/commit-log.ts'

export interface StoreOptions {
  /** Uncompressed size at which a block is closed. */
  readonly blockBytes: Bytes
  /** Size at which a checkpoint's SST is split. */
  readonly sstBytes: Bytes
  /** Uncommitted bytes above which writers should slow down, and at which barriers should wait. */
  readonly sharedBufferSoftBytes: Bytes
  readonly sharedBufferHardBytes: Bytes
  /** Objects uploaded at the same time. */
  readonly uploadConcurrency: number
  /** Bytes of parsed SST tails that the control thread keeps for its fetches. */
  readonly tailCacheBytes: Bytes
  /** Longest run of adjacent blocks that one GET brings. */
  readonly fetchBytesMax: Bytes
  /** Largest SST of a checkpoint whose blocks go into the block cache as it is written. */
  readonly warmBytesMax: Bytes
  /** Sub-levels of a group above which writers should slow down, and at which they should wait. */
  readonly subLevelsSoft: number
  readonly subLevelsHard: number
  readonly compaction: CompactionOptions
  /** Whether commits set off compactions by themselves. */
  readonly compactAutomatically: boolean
  /** Commit objects that the vacuum keeps, at least. */
  readonly keptCommitCount: number
  /** Age, by the object store's clock, below which nothing is vacuumed. Milliseconds. */
  readonly vacuumMinAgeMs: number
  /** Commits after which a vacuum begins by itself; 0: never. The first one follows the first commit. */
  readonly vacuumEveryCommits: number
  /** Only tests change it: it is part of the format. */
  readonly snapshotEvery: number
}

const DEFAULTS: StoreOptions = {
  blockBytes: kibibytes(64),
  sstBytes: mebibytes(256),
  sharedBufferSoftBytes: mebibytes(256),
  sharedBufferHardBytes: mebibytes(512),
  uploadConcurrency: 8,
  tailCacheBytes: mebibytes(64),
  fetchBytesMax: mebibytes(4),
  warmBytesMax: mebibytes(8),
  subLevelsSoft: 40,
  subLevelsHard: 100,
  compaction: {
    tierSubLevelsMin: 8,
    tierSubLevelsMax: 16,
    baseBytesMin: mebibytes(64),
    baseRatio: 0.25,
    baseSubLevelsMax: 24,
    writeAmplificationMax: 3,
    inputBytesMax: mebibytes(512),
    outputBytes: mebibytes(64),
  },
  compactAutomatically: true,
  keptCommitCount: 1000,
  vacuumMinAgeMs: 0,
  vacuumEveryCommits: 500,
  snapshotEvery: SNAPSHOT_EVERY,
}

/** What was given, and defaults for the rest. */
export function storeOptions(given: Partial<StoreOptions> = {}): StoreOptions {
  const options = { ...DEFAULTS, ...given }
  assert(
    options.sharedBufferSoftBytes <= options.sharedBufferHardBytes,
    'writers slow down before they stop',
  )
  assert(options.subLevelsSoft <= options.subLevelsHard, 'writers slow down before they stop')
  assert(options.uploadConcurrency >= 1, 'an upload must be able to begin')
  assert(options.compaction.tierSubLevelsMin >= 2, 'a merge has two inputs')
  return options
}
