import { expect, test } from 'vitest'
import { epoch, tableId } from '../../src/common/ids.ts'
import { LiveRuns, type VersionNews } from '../../src/runtime/live-runs.ts'
import type { SealedRun } from '../../src/storage/state-store.ts'

const run = (runId: number): SealedRun => ({
  tableId: tableId(1),
  group: 'state',
  prefixColumns: 0,
  epoch: epoch(1),
  workerIndex: 0,
  runId,
  entryCount: 1,
  byteCount: 10,
  segments: [],
})
const news = (versionId: number, ...runIds: number[]): VersionNews =>
  ({
    delta: { versionId },
    released: runIds.map((runId) => ({ workerIndex: 0, runId })),
  }) as unknown as VersionNews

test('versions are told in order, and those that a read waits for only after it', () => {
  const told: number[] = []
  const live = new LiveRuns(({ delta }) => told.push(delta.versionId))
  live.add([run(1), run(2)])
  live.versionChanged(news(1), true)
  const pin = live.pin()
  expect(pin.runs.map(({ runId }) => runId)).toEqual([1, 2])
  live.versionChanged(news(2, 1), true)
  const later = live.pin()
  expect(later.runs.map(({ runId }) => runId)).toEqual([2])
  live.versionChanged(news(3, 2), true)
  expect(told).toEqual([1])
  expect(live.bytes).toBe(0)
  pin.release()
  expect(told).toEqual([1, 2])
  later.release()
  later.release()
  expect(told).toEqual([1, 2, 3])
})

test('a version made while no worker runs is not told to those that start with it', () => {
  const told: number[] = []
  const live = new LiveRuns(({ delta }) => told.push(delta.versionId))
  const pin = live.pin()
  live.versionChanged(news(1), true)
  live.forget()
  live.versionChanged(news(2), false)
  live.versionChanged(news(3), true)
  pin.release()
  expect(told).toEqual([3])
})
