/** One change to a version: what a commit object spells, and what threads are told. */
import type { Epoch, Generation } from '../../common/ids.ts'
import type { Group, SubLevel, SstMeta } from './version.ts'

export interface GroupDelta {
  /** New sub-levels on top of L0, newest first. */
  readonly addedSubLevels: readonly SubLevel[]
  /** SSTs that go, by id, from wherever they are; a sub-level left empty goes too. */
  readonly removedSsts: readonly string[]
  /** A compaction inside L0: put in the place of the removed ones (the oldest of their positions). */
  readonly replacedSubLevel: SubLevel | null
  /** SSTs that appear in levels 1..6. */
  readonly addedSsts: readonly { readonly level: number; readonly sst: SstMeta }[]
}

export interface VersionDelta {
  /** Number of the version it makes: its predecessor's plus one. */
  readonly versionId: number
  readonly generation: Generation
  readonly committedEpoch: Epoch
  readonly safeEpoch: Epoch
  readonly groups: Readonly<Partial<Record<Group, GroupDelta>>>
  /** Changed offsets; null takes the entry away. */
  readonly offsets: Readonly<Record<string, unknown>>
  /** Undefined: unchanged. */
  readonly catalog?: unknown
}
