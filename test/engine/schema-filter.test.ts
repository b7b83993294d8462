/**
 * The seed document's schema-aware filter: the join of `nexmark_q3` looks its auctions up by seller, so the
 * filter of that state table is over the seller alone, and a lookup reads only SSTs that hold the seller.
 */
import { beforeAll, expect, test } from 'vitest'
import { epoch, tableId } from '../../src/common/ids.ts'
import { emptyCatalog } from '../../src/sql/catalog.ts'
import { loadParser, parseScript } from '../../src/sql/parser.ts'
import { type CreateStatement, planJob } from '../../src/sql/planner.ts'
import { ControlBlockSource } from '../../src/storage/cache/block-sources.ts'
import { BlockCache } from '../../src/storage/cache/memory.ts'
import { InlineJobs } from '../../src/storage/job-pool.ts'
import { WorkerStore } from '../../src/storage/local-store.ts'
import { LsmStore } from '../../src/storage/lsm-store.ts'
import { MemoryObjectStore } from '../../src/storage/object/memory.ts'
import { SnapshotReader } from '../../src/storage/snapshot-reader.ts'
import { eachSst } from '../../src/storage/version/version.ts'
import { Column } from '../../src/stream/column.ts'
import type { StateTableSpec } from '../../src/stream/plan.ts'
import { ByteListBuilder, KeyEncoder } from '../../src/stream/row-codec.ts'
import { StateTable } from '../../src/stream/state-table.ts'
import { VirtualEnv } from '../common/virtual-env.ts'

beforeAll(loadParser)

/** The state table of the auctions in the statement as the document writes it. */
function auctionState(): StateTableSpec {
  let catalog = emptyCatalog()
  for (const statement of parseScript(`
    CREATE SOURCE auction (id BIGINT, seller BIGINT, category BIGINT) WITH (connector = 'nexmark', nexmark.table.type = 'Auction');
    CREATE SOURCE person (id BIGINT, name VARCHAR, city VARCHAR, state VARCHAR) WITH (connector = 'nexmark', nexmark.table.type = 'Person');
    CREATE MATERIALIZED VIEW nexmark_q3 AS SELECT P.name, P.city, P.state, A.id
      FROM auction AS A INNER JOIN person AS P on A.seller = P.id WHERE A.category = 10`)) {
    const { plan, catalog: next } = planJob(statement as CreateStatement, catalog)
    catalog = next
    for (const fragment of plan?.fragments ?? []) {
      for (const operator of fragment.operators) {
        if (operator.kind === 'hash-join') return operator.leftTable
      }
    }
  }
  throw new Error('the plan has a join')
}

test('a lookup of one seller reads only SSTs whose filter holds that seller', async () => {
  const spec = auctionState()
  expect(spec.schema[spec.key[0].column].name).toBe('seller')
  expect(spec.prefixColumns).toBe(1)

  const env = new VirtualEnv()
  const store = await LsmStore.open({
    env,
    objects: new MemoryObjectStore(env),
    jobs: new InlineJobs(),
    options: { compactAutomatically: false },
  })
  const blocksReadOf = new Set<string>()
  const cacheBuffer = new SharedArrayBuffer(BlockCache.bytesFor(8 << 20))
  const blocks = new ControlBlockSource({
    cache: new BlockCache(cacheBuffer, 'owner'),
    tailBytesMax: 1 << 24,
    fetch: (sst, want) => {
      if (want.blocks.length > 0) blocksReadOf.add(sst.sstId)
      return store.fetch(sst, want)
    },
  })
  const arena = new SharedArrayBuffer(16 << 20)
  const worker = new WorkerStore({ workerIndex: 0, arena, version: store.version, blocks })
  const table = new StateTable(spec, worker)

  // Each of 30 checkpoints holds 200 sellers of its own; seller 77 sells in three of them.
  const commits = 30
  const withSeller = new Set([3, 11, 29])
  let id = 0
  for (let commit = 0; commit < commits; commit++) {
    const sellers = Array.from({ length: 200 }, (_, i) => 1000 + commit * 200 + i)
    if (withSeller.has(commit)) sellers.push(77)
    const columns = spec.schema.map(({ name }) =>
      Column.narrow(
        'bigint',
        Float64Array.from(sellers, (s) => (name === 'seller' ? s : id++)),
        null,
      ),
    )
    table.write(columns, null, null, sellers.length)
    const runs = worker.seal([table.local], epoch(commit + 1))
    await store.commit({ epoch: epoch(commit + 1), runs, offsets: {} })
  }
  expect([...eachSst(store.version)].length).toBe(commits)

  const prefix = new ByteListBuilder()
  const encoder = new KeyEncoder(spec.schema, spec.key, spec.distribution)
  encoder.encodePrefix([Column.narrow('bigint', Float64Array.of(77), null)], null, 1, prefix)
  const reader = new SnapshotReader({
    version: store.version,
    epoch: store.committedEpoch,
    runs: [],
    blocks,
  })
  const found = reader.scanMany(
    { tableId: tableId(spec.tableId), group: 'state', prefixColumns: 1 },
    prefix,
  )
  while (!found.poll()) await blocks.waitForArrival()
  expect(found.rowStarts[1]).toBe(withSeller.size)
  // 30 SSTs overlap in key range; the filter spares the 27 without the seller.
  expect(blocksReadOf.size).toBe(withSeller.size)
  expect(reader.stats.filterNegatives).toBeGreaterThanOrEqual(commits - withSeller.size)
  await store.close()
})
