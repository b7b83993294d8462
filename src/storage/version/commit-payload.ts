/**
 * What a commit object carries, between msgpack's untyped values and the engine's types. The bytes were
 * checked before; what is checked here is that the fields are there and byte strings own their memory.
 */
import { EngineError } from '../../common/errors.ts'
import type { GroupDelta, VersionDelta } from './delta.ts'
import type { LogEntry } from './numbered-log.ts'
import type { Group, GroupLevels, SstMeta, SubLevel, Version } from './version.ts'

export type CommitPayload =
  | { readonly databaseId: string; readonly delta: VersionDelta; readonly version?: undefined }
  | { readonly databaseId: string; readonly version: Version; readonly delta?: undefined }

/** @throws CORRUPTION when the payload is no commit. */
export function decodePayload(entry: LogEntry, key: string): CommitPayload {
  const { payload } = entry
  if (!isCommitPayload(payload)) {
    throw new EngineError('CORRUPTION', `the commit ${key} has no usable payload`, {
      context: { object: key },
    })
  }
  if (payload.version !== undefined) {
    const { databaseId, version } = payload
    return { databaseId, version: { ...version, groups: mapGroups(version.groups, ownLevels) } }
  }
  const { databaseId, delta } = payload
  return { databaseId, delta: { ...delta, groups: mapGroups(delta.groups, ownGroupDelta) } }
}

function isCommitPayload(value: unknown): value is CommitPayload {
  if (!isRecord(value) || typeof value.databaseId !== 'string') return false
  const body = value.version ?? value.delta
  return isRecord(body) && typeof body.versionId === 'number' && isRecord(body.groups)
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function mapGroups<Groups extends Partial<Record<Group, unknown>>>(
  groups: Groups,
  map: (value: NonNullable<Groups[Group]>) => Groups[Group],
): Groups {
  const result = { ...groups }
  for (const group of ['state', 'materialized'] as const) {
    const value = groups[group]
    if (value !== undefined && value !== null) result[group] = map(value)
  }
  return result
}

function ownLevels(levels: GroupLevels): GroupLevels {
  return {
    subLevels: levels.subLevels.map(ownSubLevel),
    levels: levels.levels.map((level) => level.map(ownMeta)),
  }
}

function ownGroupDelta(delta: GroupDelta): GroupDelta {
  const { replacedSubLevel } = delta
  return {
    addedSubLevels: delta.addedSubLevels.map(ownSubLevel),
    removedSsts: delta.removedSsts,
    replacedSubLevel: replacedSubLevel === null ? null : ownSubLevel(replacedSubLevel),
    addedSsts: delta.addedSsts.map(({ level, sst }) => ({ level, sst: ownMeta(sst) })),
  }
}

function ownSubLevel(subLevel: SubLevel): SubLevel {
  return { ...subLevel, ssts: subLevel.ssts.map(ownMeta) }
}

/**
 * The same description with keys in memory of their own: a view of a large buffer would keep it alive, and
 * structured clone would copy the whole of it to every thread.
 */
export function ownMeta(sst: SstMeta): SstMeta {
  return { ...sst, smallest: new Uint8Array(sst.smallest), largest: new Uint8Array(sst.largest) }
}
