/** Promises that must settle and memory that must come back, through the public API over real threads. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { type Database, type DatabaseOptions, open } from 'tussock'
import { afterEach, expect, test } from 'vitest'
import { createRelation } from '../../bench/nexmark/queries.ts'

const cleanups: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function opened(options: DatabaseOptions = {}): Promise<Database> {
  const db = await open('memory://', { parallelism: 2, ...options })
  cleanups.push(() => db.close())
  return db
}

const bids = (events: number, perSecond: number): string =>
  createRelation('bid', {
    connector: 'nexmark',
    'nexmark.table.type': 'bid',
    'nexmark.event.num': String(events),
    ...(perSecond === 0 ? {} : { 'nexmark.min.event.gap.in.ns': String(1e9 / perSecond) }),
  })

test('who waits for the end of the sources is told when the last of them is dropped', async () => {
  const db = await opened()
  await db.execute(bids(1_000_000, 1000))
  await db.execute('CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM bid')
  const exhausted = db.exhausted()
  await db.execute('DROP MATERIALIZED VIEW v')
  expect(await exhausted).toBeGreaterThan(0)
}, 20_000)

test('without compaction sources go on, however many sub-levels there are', async () => {
  const db = await opened({ storage: { compaction: false }, barrierIntervalMs: 5 })
  await db.execute('CREATE TABLE t (id BIGINT PRIMARY KEY)')
  for (let id = 0; id < 110; id++) await db.execute(`INSERT INTO t VALUES (${id}); FLUSH`)
  await db.execute(bids(10_000, 0))
  await db.execute('CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM bid')
  await db.exhausted()
  expect((await db.query('SELECT n FROM v')).rows).toEqual([{ n: 9200n }])
}, 20_000)

test('answers do not stay in memory after they were read', async () => {
  setFlagsFromString('--expose-gc')
  const collect: () => void = runInNewContext('gc')
  const db = await opened()
  await db.execute('CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR)')
  await db.table('t').insert([{ id: 1n, v: 'x'.repeat(1_000_000) }], { durable: true })
  const held = async (): Promise<number> => {
    for (let query = 0; query < 40; query++) await db.query('SELECT v FROM t')
    for (let turn = 0; turn < 5; turn++) {
      collect()
      await new Promise((resolve) => setImmediate(resolve))
    }
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    return heapUsed + arrayBuffers
  }
  const before = await held()
  expect((await held()) - before).toBeLessThan(10_000_000)
}, 30_000)
