/** Outages of the S3 server in the middle of a pipeline: it waits within its memory, goes on, and is exact. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Database, type DatabaseEvent, type DatabaseOptions, open } from 'tussock'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { KNOWN_HASHES, QUERIES } from '../../bench/nexmark/queries.ts'
import { hashRows } from '../../bench/nexmark/result-hash.ts'
import { threadsDie } from '../faults/kill-loop.mjs'
import { type Fault, S3Proxy } from './proxy.ts'
import { createBucket, endpoint } from './server.ts'

const bucket = `outage-${process.pid}`
const MIB = 1024 * 1024
const cleanups: (() => Promise<unknown> | unknown)[] = []
let opened = 0

beforeAll(() => createBucket(bucket))
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

interface World {
  readonly proxy: S3Proxy
  readonly db: Database
  readonly events: DatabaseEvent[]
}

async function world(given: DatabaseOptions & { readonly store?: string } = {}): Promise<World> {
  const { store = `w${opened++}`, ...options } = given
  const proxy = await S3Proxy.open(endpoint)
  cleanups.push(() => proxy.close())
  const events: DatabaseEvent[] = []
  const db = await open(proxy.storeUrl(bucket, store), {
    parallelism: 2,
    checkpointIntervalMs: 250,
    barrierIntervalMs: 50,
    onEvent: (event) => events.push(event),
    ...options,
  })
  cleanups.push(() => db.close())
  return { proxy, db, events }
}

const q5w = (perSecond: number): string => `
  CREATE SOURCE bid (auction BIGINT, date_time TIMESTAMP) WITH (connector = 'nexmark',
    nexmark.table.type = 'Bid', nexmark.event.num = '1000000', nexmark.seed = '42',
    nexmark.min.event.gap.in.ns = '${Math.round(1e9 / perSecond)}');
  CREATE MATERIALIZED VIEW q5w AS ${QUERIES.q5w.select};`

async function expectKnown(db: Database): Promise<void> {
  await db.exhausted()
  const { rows } = await db.query('SELECT auction, window_start, n FROM q5w')
  expect(hashRows(rows.map(QUERIES.q5w.spell))).toBe(KNOWN_HASHES.q5w)
}

const eventsOf = async (db: Database): Promise<number> => (await db.metrics()).sourceEvents

async function until(condition: () => Promise<boolean> | boolean, seconds = 30): Promise<void> {
  const deadline = performance.now() + seconds * 1000
  while (!(await condition())) {
    expect(performance.now(), 'it took too long').toBeLessThan(deadline)
    await sleep(20)
  }
}

describe('an outage', () => {
  test.each<[string, Fault]>([
    ['connections are cut', { kind: 'cut' }],
    ['requests are not answered', { kind: 'silent' }],
    ['every answer is 503', { kind: 'status', status: 503, code: 'SlowDown' }],
  ])(
    '%s: sources pause, memory stays bounded, then it goes on',
    async (_name, fault) => {
      const sharedBufferBytes = 4 * MIB
      const { proxy, db, events } = await world({ sharedBufferBytes })
      await db.execute(q5w(250_000))
      await until(async () => (await eventsOf(db)) > 50_000)
      const rssBefore = process.memoryUsage().rss
      proxy.fault = fault
      const paused = (): boolean =>
        events.some((event) => event.kind === 'backpressure' && event.active)
      await until(paused)
      // What had left the source when it was paused passes; after that nothing moves.
      await sleep(500)
      const standing = await eventsOf(db)
      expect(standing).toBeLessThan(900_000)
      await sleep(2500)
      const metrics = await db.metrics()
      expect(metrics.sourceEvents).toBe(standing)
      expect(metrics.arenaBytes).toBeLessThanOrEqual(sharedBufferBytes)
      expect(process.memoryUsage().rss - rssBefore).toBeLessThan(128 * MIB)
      proxy.heal()
      await expectKnown(db)
      expect(events.filter((event) => event.kind === 'recovering')).toEqual([])
      expect(events.at(-1)).not.toMatchObject({ kind: 'failed' })
    },
    120_000,
  )

  test('rows that come in while it lasts wait, and are there afterwards', async () => {
    const { proxy, db } = await world({ checkpointIntervalMs: 100 })
    await db.execute(`CREATE TABLE t (id BIGINT PRIMARY KEY);
      CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n, sum(id) AS total FROM t;`)
    proxy.fault = { kind: 'cut' }
    let durable = 0
    const inserts: Promise<void>[] = []
    for (let id = 0; id < 200; id++) {
      const insert = db.table('t').insert([{ id: BigInt(id) }], { durable: true })
      inserts.push(insert.then(() => void durable++))
    }
    const all = Promise.all(inserts)
    all.catch(() => undefined) // Awaited below.
    await sleep(1500)
    expect(durable).toBe(0)
    // Reads at the committed epoch go on: what was written here is still in memory.
    expect((await db.query('SELECT n FROM v')).rows).toEqual([{ n: 0n }])
    proxy.heal()
    await all
    const { rows } = await db.query('SELECT n, total FROM v')
    expect(rows.map(({ n, total }) => [Number(n), Number(total)])).toEqual([[200, 19_900]])
  }, 60_000)

  test('operators whose state is on the store wait for it', async () => {
    const first = await world()
    await first.db.execute(q5w(500_000))
    await until(async () => (await eventsOf(first.db)) > 400_000)
    await first.db.close()
    const { proxy, db, events } = await world({
      store: `w${opened - 1}`,
      cache: { memoryBytes: MIB, stateBytes: 64 * 1024 },
      storage: { compaction: false },
    })
    proxy.take()
    await until(async () => (await eventsOf(db)) > 450_000)
    expect(proxy.take().filter(({ method }) => method === 'GET').length).toBeGreaterThan(0)
    proxy.fault = { kind: 'cut' }
    await sleep(2500)
    proxy.heal()
    await expectKnown(db)
    expect(events.filter(({ kind }) => kind === 'recovering' || kind === 'failed')).toEqual([])
  }, 60_000)

  test('close does not wait for its end, and what was acknowledged is there', async () => {
    const { proxy, db } = await world()
    await db.execute('CREATE TABLE t (id BIGINT PRIMARY KEY)')
    await db.table('t').insert([{ id: 1n }], { durable: true })
    proxy.fault = { kind: 'silent' }
    await db.table('t').insert([{ id: 2n }])
    const startMs = performance.now()
    await db.close()
    expect(performance.now() - startMs).toBeLessThan(10_000)
    proxy.heal()
    const again = await open(proxy.storeUrl(bucket, `w${opened - 1}`), { parallelism: 1 })
    cleanups.push(() => again.close())
    const { rows } = await again.query('SELECT id FROM t WHERE id = 1')
    expect(rows).toEqual([{ id: 1n }])
  }, 60_000)
})

test('writes whose answer is lost are not taken for those of a rival', async () => {
  const { proxy, db, events } = await world({ checkpointIntervalMs: 100 })
  proxy.fault = { kind: 'deaf', every: 4 }
  await db.execute(q5w(250_000))
  await expectKnown(db)
  expect(proxy.withheld).toBeGreaterThan(10)
  // A create was answered by 412 because of its own first attempt, and still it counted.
  const creates = proxy.seen.filter(
    ({ method, key }) => method === 'PUT' && key.includes('/commit/'),
  )
  expect(creates.length).toBeGreaterThan(new Set(creates.map(({ key }) => key)).size)
  expect(events.filter(({ kind }) => kind === 'recovering' || kind === 'failed')).toEqual([])
}, 60_000)

test('bursts of 503 only slow it down', async () => {
  const { proxy, db, events } = await world()
  await db.execute(q5w(250_000))
  let bursts = 0
  let over = false
  const bursting = (async () => {
    while (!over) {
      proxy.fault = { kind: 'status', status: 503, code: 'SlowDown' }
      await sleep(300)
      proxy.heal()
      bursts++
      await sleep(300)
    }
  })()
  await expectKnown(db)
  over = true
  await bursting
  expect(bursts).toBeGreaterThan(3)
  expect(events.filter(({ kind }) => kind === 'recovering' || kind === 'failed')).toEqual([])
}, 120_000)

test('workers that die while the store is away come back with it', async () => {
  const proxy = await S3Proxy.open(endpoint)
  cleanups.push(() => proxy.close())
  let over = false
  const outages = (async () => {
    while (!over) {
      proxy.fault = { kind: 'cut' }
      await sleep(800)
      proxy.heal()
      await sleep(800)
    }
  })()
  const store = proxy.storeUrl(bucket, `w${opened++}`)
  const result = await threadsDie({ store, thread: 'worker', deaths: 5, seed: 5 })
  over = true
  await outages
  expect(result).toMatchObject({ code: 0, deaths: 5, right: true, failures: ['WORKER_DIED'] })
}, 120_000)

test('a store that takes 200 ms a request is kept up with', async () => {
  const { proxy, db, events } = await world({ checkpointIntervalMs: 500 })
  proxy.fault = { kind: 'slow', delayMs: 200 }
  await db.execute(q5w(250_000))
  const startMs = performance.now()
  await expectKnown(db)
  const { checkpoints } = await db.metrics()
  const seconds = (performance.now() - startMs) / 1000
  const { checkpointMsP50, checkpointMsP99 } = checkpoints
  const said = { seconds, checkpoints: checkpoints.checkpoints, checkpointMsP50, checkpointMsP99 }
  console.log('s3 at 200 ms', JSON.stringify(said))
  // 1M events at 250,000 a second are four seconds: checkpoints in flight hide the latency.
  expect(seconds).toBeLessThan(12)
  expect(events.filter(({ kind }) => kind === 'recovering' || kind === 'failed')).toEqual([])
}, 120_000)
