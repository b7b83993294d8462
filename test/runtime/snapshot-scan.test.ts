/** Scans of queries: what they wait for, and what they leave behind when they give up. */
import { expect, test } from 'vitest'
import { SnapshotScan } from '../../src/runtime/snapshot-scan.ts'
import { ControlBlockSource } from '../../src/storage/cache/block-sources.ts'
import { BlockCache } from '../../src/storage/cache/memory.ts'
import { SnapshotReader } from '../../src/storage/snapshot-reader.ts'
import type { StateTableSpec } from '../../src/stream/plan.ts'
import { World } from '../storage/store-fixture.ts'
import { endOf, ManualEnv, settled } from './fake-workers.ts'

const TABLE: StateTableSpec = {
  tableId: 100,
  name: 't',
  group: 'materialized',
  schema: [{ name: 'k', type: 'varchar' }],
  key: [{ column: 0, descending: false }],
  distribution: [0],
  prefixColumns: 0,
}

test.each([
  ['of a prefix', Uint8Array.of(0, 1)],
  ['of a table', null],
])('a scan %s that gives up an outage wants nothing any more', async (_, prefix) => {
  const world = new World()
  const store = await world.open()
  await world.commit(store, 1, { '100/a': '1', '100/b': '2' })
  const env = new ManualEnv()
  const cache = new BlockCache(new SharedArrayBuffer(BlockCache.bytesFor(2 ** 20)), 'owner')
  const never = new Promise<never>(() => undefined)
  const blocks = new ControlBlockSource({ cache, tailBytesMax: 2 ** 20, fetch: () => never })
  const { version } = store
  const reader = new SnapshotReader({ version, epoch: version.committedEpoch, runs: [], blocks })
  const read = endOf(new SnapshotScan(reader, blocks, env).rows(TABLE, prefix).next())
  await settled()
  expect(blocks.wantCount).toBe(1)
  await env.advance(30_000)
  expect(await read).toBe('STORE_TIMEOUT')
  expect(blocks.wantCount).toBe(0)
  await store.close()
})
