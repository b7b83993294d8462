import { describe, expect, test } from 'vitest'
import { epoch, tableId } from '../../../src/common/ids.ts'
import {
  applyDelta,
  EMPTY_GROUP_DELTA,
  type GroupDelta,
  type VersionDelta,
} from '../../../src/storage/version/delta.ts'
import { Snapshots } from '../../../src/storage/version/snapshot.ts'
import {
  checkVersion,
  EMPTY_VERSION,
  type SstMeta,
  type SubLevel,
  type Version,
} from '../../../src/storage/version/version.ts'
import { fullKey } from '../sst/support.ts'

function sst(sstId: string, from: string, to: string): SstMeta {
  const key = (text: string) => fullKey(1, new TextEncoder().encode(text), 1)
  return {
    sstId,
    group: 'state',
    sizeBytes: 100,
    tailOffset: 10,
    blockCount: 1,
    smallest: key(from),
    largest: key(to),
    tableIds: [tableId(1)],
    entryCount: 1,
    tombstoneCount: 0,
    minEpoch: epoch(1),
    maxEpoch: epoch(1),
  }
}

function subLevel(subLevelId: number, ...ssts: SstMeta[]): SubLevel {
  return { subLevelId, overlapping: true, ssts }
}

function next(
  version: Version,
  state: Partial<GroupDelta>,
  rest: Partial<VersionDelta> = {},
): Version {
  return applyDelta(version, {
    versionId: version.versionId + 1,
    generation: version.generation,
    committedEpoch: version.committedEpoch,
    safeEpoch: version.safeEpoch,
    groups: { state: { ...EMPTY_GROUP_DELTA, ...state } },
    offsets: {},
    ...rest,
  })
}

function draw(version: Version): string {
  const { subLevels, levels } = version.groups.state
  const l0 = subLevels.map(({ ssts }) => ssts.map(({ sstId }) => sstId).join(' ')).join(' | ')
  const rest = levels.map((level) => level.map(({ sstId }) => sstId).join(' '))
  return [l0, ...rest].join(' / ')
}

const FOUR = ['d', 'c', 'b', 'a']
  .reverse()
  .reduce(
    (version, id, i) => next(version, { addedSubLevels: [subLevel(i, sst(id, 'a', 'z'))] }),
    EMPTY_VERSION,
  )

describe('applying a delta', () => {
  test('new sub-levels stand on top', () => {
    expect(draw(FOUR)).toBe('d | c | b | a /  /  /  /  /  / ')
  })

  test('a merge inside L0 stands where its oldest input stood', () => {
    const replacedSubLevel = { subLevelId: 9, overlapping: false, ssts: [sst('m', 'a', 'z')] }
    const removed = (...removedSsts: string[]) => next(FOUR, { removedSsts, replacedSubLevel })
    expect(draw(removed('b', 'c'))).toBe('d | m | a /  /  /  /  /  / ')
    expect(draw(removed('a', 'b'))).toBe('d | c | m /  /  /  /  /  / ')
    expect(draw(removed('d', 'c'))).toBe('m | b | a /  /  /  /  /  / ')
  })

  test('levels stay in key order; parts of sub-levels may leave', () => {
    const wide = subLevel(5, sst('e', 'a', 'c'), sst('f', 'd', 'f'), sst('g', 'g', 'h'))
    const one = next(EMPTY_VERSION, { addedSubLevels: [wide] })
    const two = next(one, {
      removedSsts: ['f'],
      addedSsts: [
        { level: 6, sst: sst('y', 'e', 'f') },
        { level: 6, sst: sst('x', 'd', 'd') },
      ],
    })
    expect(draw(two)).toBe('e g /  /  /  /  /  / x y')
    expect(two.groups.materialized).toBe(one.groups.materialized)
  })

  test('offsets: changed, added, taken away', () => {
    const one = next(EMPTY_VERSION, {}, { offsets: { a: 1, b: { at: 2 } } })
    const two = next(one, {}, { offsets: { a: null, c: 3 } })
    expect(two.offsets).toEqual({ b: { at: 2 }, c: 3 })
    expect(one.offsets).toEqual({ a: 1, b: { at: 2 } })
  })

  test('layouts come with first rows and go with their tables', () => {
    const layout = (id: number) => ({ tableId: tableId(id), prefixColumns: 1 })
    const one = next(EMPTY_VERSION, {}, { addedTables: [layout(3), layout(1)] })
    const two = next(one, {}, { droppedTables: [tableId(1)], addedTables: [layout(2)] })
    expect(two.tables.map((table) => table.tableId)).toEqual([2, 3])
    expect(two.droppedTables).toEqual([1])
  })

  test('what does not follow or breaks a rule is refused', () => {
    const refused = (state: Partial<GroupDelta>, rest: Partial<VersionDelta> = {}) =>
      expect(() => next(FOUR, state, rest)).toThrow(expect.objectContaining({ code: 'CORRUPTION' }))
    refused({}, { versionId: 9 })
    refused({}, { committedEpoch: epoch(0), safeEpoch: epoch(1) })
    refused({ removedSsts: ['nobody'] })
    refused({ addedSubLevels: [subLevel(7)] })
    refused({ addedSubLevels: [subLevel(7, sst('n', 'z', 'a'))] })
    refused({
      addedSsts: [
        { level: 6, sst: sst('x', 'a', 'd') },
        { level: 6, sst: sst('y', 'd', 'e') },
      ],
    })
    checkVersion(FOUR)
    // What a delta does not touch is checked when a whole version is read.
    const twice = next(FOUR, { addedSubLevels: [subLevel(7, sst('a', 'a', 'b'))] })
    expect(() => checkVersion(twice)).toThrow(/two places/)
  })
})

describe('snapshots', () => {
  test('pins hold their epoch, holds only files, threads every version after theirs', () => {
    const commit = (version: Version, at: number) =>
      next(version, {}, { committedEpoch: epoch(at) })
    const snapshots = new Snapshots(commit(EMPTY_VERSION, 1))
    const pin = snapshots.pin()
    const unhold = snapshots.hold()
    const advance = (at: number) => snapshots.advance(commit(snapshots.current, at))
    advance(2)
    advance(3)
    expect(snapshots.safeEpoch()).toBe(1)
    expect(snapshots.retainedCount).toBe(2)
    expect(snapshots.pin(epoch(1)).version).toBe(pin.version)
    expect(() => snapshots.pin(epoch(2))).toThrow(/no retained version/)
    snapshots.threadApplied('worker', snapshots.current.versionId)
    advance(4)
    advance(5)
    expect(snapshots.retainedCount).toBe(4)
    pin.release()
    pin.release()
    expect(snapshots.safeEpoch()).toBe(1)
    unhold()
    snapshots.threadGone('worker')
    expect(snapshots.retainedCount).toBe(2)
    expect(() => snapshots.threadApplied('worker', 99)).toThrow(/ahead of the log/)
  })
})
