/** One change to a version: what a commit object spells, and what threads are told. */
import { EngineError } from '../../common/errors.ts'
import type { Epoch, Generation, TableId } from '../../common/ids.ts'
import type { TableLayout } from '../job.ts'
import {
  checkRun,
  checkSubLevel,
  compareUserKeys,
  GROUPS,
  type Group,
  type GroupLevels,
  type SstMeta,
  type SubLevel,
  type Version,
} from './version.ts'

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
  /** Tables that got their first rows. */
  readonly addedTables?: readonly TableLayout[]
  /** Tables that are dropped with it; their layouts go. */
  readonly droppedTables?: readonly TableId[]
}

export const EMPTY_GROUP_DELTA: GroupDelta = {
  addedSubLevels: [],
  removedSsts: [],
  replacedSubLevel: null,
  addedSsts: [],
}

/**
 * The version that `delta` makes of `version`; neither is changed, untouched groups are shared. Pure and the
 * same on every thread, so that all agree.
 * @throws CORRUPTION when the delta does not follow the version or breaks a rule of versions.
 */
export function applyDelta(version: Version, delta: VersionDelta): Version {
  checkOrder(version, delta)
  const groups = { ...version.groups }
  for (const group of GROUPS) {
    const change = delta.groups[group]
    if (change !== undefined) groups[group] = applyGroup(group, version.groups[group], change)
  }
  return {
    versionId: delta.versionId,
    generation: delta.generation,
    committedEpoch: delta.committedEpoch,
    safeEpoch: delta.safeEpoch,
    groups,
    offsets: applyOffsets(version.offsets, delta.offsets),
    catalog: delta.catalog === undefined ? version.catalog : delta.catalog,
    tables: applyTables(version.tables, delta),
    droppedTables: union(version.droppedTables, delta.droppedTables ?? []),
  }
}

function checkOrder(version: Version, delta: VersionDelta): void {
  const follows =
    delta.versionId === version.versionId + 1 &&
    delta.generation >= version.generation &&
    delta.committedEpoch >= version.committedEpoch &&
    delta.safeEpoch >= version.safeEpoch &&
    delta.safeEpoch <= delta.committedEpoch
  if (!follows) {
    throw new EngineError('CORRUPTION', 'a delta does not follow its version', {
      context: { version: version.versionId, delta: delta.versionId },
    })
  }
}

/** Checks what it touches, so that a checkpoint costs the same however large the database is. */
function applyGroup(group: Group, levels: GroupLevels, delta: GroupDelta): GroupLevels {
  const removed = new Set(delta.removedSsts)
  for (const subLevel of delta.addedSubLevels) checkSubLevel(subLevel, group)
  if (delta.replacedSubLevel !== null) checkSubLevel(delta.replacedSubLevel, group)
  const subLevels = [...delta.addedSubLevels, ...replaceSubLevels(levels, delta, removed)]
  const changedLevels = levels.levels.map((level, index) => {
    const added = delta.addedSsts.filter((entry) => entry.level === index + 1)
    const kept = takeAll(level, removed)
    if (added.length === 0) return kept
    const merged = [...kept, ...added.map((entry) => entry.sst)]
    merged.sort((a, b) => compareUserKeys(a.smallest, b.smallest))
    checkRun(merged, true, group)
    return merged
  })
  if (removed.size > 0) {
    throw new EngineError('CORRUPTION', 'a delta removes an SST that is not there', {
      context: { object: [...removed][0] },
    })
  }
  return { subLevels, levels: changedLevels }
}

/** L0 without the removed SSTs; the replacement stands where the oldest of them stood. */
function replaceSubLevels(
  levels: GroupLevels,
  delta: GroupDelta,
  removed: Set<string>,
): readonly SubLevel[] {
  const result: SubLevel[] = []
  let place = 0
  for (const subLevel of levels.subLevels) {
    const ssts = takeAll(subLevel.ssts, removed)
    if (ssts.length > 0) result.push(ssts === subLevel.ssts ? subLevel : { ...subLevel, ssts })
    if (ssts !== subLevel.ssts) place = result.length
  }
  if (delta.replacedSubLevel !== null) result.splice(place, 0, delta.replacedSubLevel)
  return result
}

/** `ssts` without those in `removed`, which loses what was found; the same array when none was. */
function takeAll(ssts: readonly SstMeta[], removed: Set<string>): readonly SstMeta[] {
  if (removed.size === 0) return ssts
  const kept = ssts.filter((sst) => !removed.delete(sst.sstId))
  return kept.length === ssts.length ? ssts : kept
}

function applyOffsets(
  offsets: Version['offsets'],
  changes: VersionDelta['offsets'],
): Version['offsets'] {
  const keys = Object.keys(changes)
  if (keys.length === 0) return offsets
  const next = { ...offsets, ...changes }
  for (const key of keys) if (next[key] === null) delete next[key]
  return next
}

function applyTables(tables: readonly TableLayout[], delta: VersionDelta): readonly TableLayout[] {
  const added = delta.addedTables ?? []
  const dropped = delta.droppedTables ?? []
  if (added.length === 0 && dropped.length === 0) return tables
  const byId = new Map([...tables, ...added].map((layout) => [layout.tableId, layout]))
  for (const id of dropped) byId.delete(id)
  return [...byId.values()].sort((a, b) => a.tableId - b.tableId)
}

function union(ids: readonly TableId[], added: readonly TableId[]): readonly TableId[] {
  if (added.length === 0) return ids
  return [...new Set([...ids, ...added])].sort((a, b) => a - b)
}
