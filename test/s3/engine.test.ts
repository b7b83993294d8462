/** The whole engine on the S3 server. What goes over the wire is counted by a proxy in between. */
import { spawn, spawnSync } from 'node:child_process'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { open } from 'tussock'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { runNexmark } from '../../bench/nexmark/run.ts'
import { S3Proxy, type Seen } from './proxy.ts'
import { createBucket, endpoint, objectKeys, storeUrl } from './server.ts'

const bucket = `engine-${process.pid}`
const cleanups: (() => Promise<unknown> | unknown)[] = []

beforeAll(() => createBucket(bucket))
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function proxied(): Promise<S3Proxy> {
  const proxy = await S3Proxy.open(endpoint)
  cleanups.push(() => proxy.close())
  return proxy
}

/** PUTs, by the folder of their object. */
function puts(seen: readonly Seen[], prefix: string): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { method, key } of seen) {
    if (method !== 'PUT' && method !== 'POST') continue
    const folder = key.slice(prefix.length + 1).split('/')[0]
    counts[folder] = (counts[folder] ?? 0) + 1
  }
  return counts
}

const bids = (events: number, perSecond: number): string => `
  CREATE SOURCE bid (auction BIGINT, date_time TIMESTAMP) WITH (connector = 'nexmark',
    nexmark.table.type = 'Bid', nexmark.event.num = '${events}', nexmark.seed = '42',
    nexmark.min.event.gap.in.ns = '${Math.round(1e9 / perSecond)}');
  CREATE MATERIALIZED VIEW q5w AS SELECT auction, window_start, count(*) AS n
    FROM TUMBLE(bid, date_time, INTERVAL '10' SECOND) GROUP BY auction, window_start;`

test.each(['q3', 'q4', 'q5w'] as const)(
  '%s over 1M events, replayed, gives the known answer',
  async (query) => {
    const result = await runNexmark({
      query,
      input: 'replay',
      events: 1_000_000,
      seed: 42,
      sink: 'view',
      store: storeUrl(bucket, `known-${query}`),
      eventsPerSecond: 0,
      open: { parallelism: 2 },
    })
    const { seconds, resultHash, requests, loopDelayMsP99 } = result
    console.log('s3', JSON.stringify({ query, seconds, resultHash, requests, loopDelayMsP99 }))
    expect(result.hashRight).toBe(true)
  },
  120_000,
)

describe('requests', () => {
  test('one checkpoint is two SSTs and one commit at most', async () => {
    const proxy = await proxied()
    const db = await open(proxy.storeUrl(bucket, 'checkpoint'), {
      parallelism: 2,
      checkpointIntervalMs: 0,
    })
    cleanups.push(() => db.close())
    await db.execute(`CREATE TABLE t (id BIGINT PRIMARY KEY, k BIGINT);
      CREATE TABLE u (id BIGINT PRIMARY KEY, k BIGINT);
      CREATE MATERIALIZED VIEW j AS SELECT t.id AS a, u.id AS b FROM t JOIN u ON t.k = u.k;
      CREATE MATERIALIZED VIEW g AS SELECT k, count(*) AS n FROM t GROUP BY k;`)
    const rows = Array.from({ length: 5000 }, (_, i) => ({ id: BigInt(i), k: BigInt(i % 500) }))
    for (let round = 0; round < 3; round++) {
      await db.table('t').insert(rows)
      await db.table('u').insert(rows.slice(0, 500))
      const before = new Set(await objectKeys(bucket, 'checkpoint/'))
      proxy.take()
      await db.flush()
      const seen = proxy.take()
      expect(puts(seen, 'checkpoint')).toEqual({ sst: 2, commit: 1 })
      expect(
        seen.filter(({ method }) => method === 'GET' || method === 'HEAD').length,
      ).toBeLessThan(3)
      // The server agrees: three objects more.
      const after = await objectKeys(bucket, 'checkpoint/')
      expect(after.filter((key) => !before.has(key))).toHaveLength(3)
    }
    expect((await db.query('SELECT count(*) AS n FROM j')).rows).toEqual([{ n: 5000n }])
  })

  test('so it is for a pipeline that runs, and one at its end asks for nothing', async () => {
    const proxy = await proxied()
    const db = await open(proxy.storeUrl(bucket, 'running'), {
      parallelism: 2,
      checkpointIntervalMs: 500,
      storage: { compaction: false },
    })
    cleanups.push(() => db.close())
    await db.execute(bids(200_000, 50_000))
    await db.flush()
    proxy.take()
    const before = (await db.metrics()).checkpoints.checkpoints
    await db.exhausted()
    const checkpoints = (await db.metrics()).checkpoints.checkpoints - before
    const seen = proxy.take()
    const { sst = 0, commit = 0 } = puts(seen, 'running')
    console.log('s3 requests', JSON.stringify({ checkpoints, sst, commit, all: seen.length }))
    expect(commit).toBeGreaterThanOrEqual(5)
    expect(commit).toBeLessThanOrEqual(checkpoints)
    expect(sst).toBeLessThanOrEqual(2 * commit)
    // Barriers go on, checkpoints are due, and there is nothing to write.
    const { barriers } = (await db.metrics()).checkpoints
    await sleep(4000)
    expect(proxy.take()).toEqual([])
    expect((await db.metrics()).checkpoints.barriers).toBeGreaterThan(barriers + 5)
  })

  test('an idle database whose tables have rows asks for nothing, compaction and vacuum included', async () => {
    const proxy = await proxied()
    const db = await open(proxy.storeUrl(bucket, 'idle'), { parallelism: 2 })
    cleanups.push(() => db.close())
    await db.execute(`CREATE TABLE t (id BIGINT PRIMARY KEY);
      CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM t;`)
    for (let round = 0; round < 30; round++)
      await db.execute(`INSERT INTO t VALUES (${round}); FLUSH`)
    // Merges that the last checkpoint set off end by themselves.
    let quietMs = 0
    for (let deadline = 0; quietMs < 3000; deadline += 500) {
      expect(deadline).toBeLessThan(20_000)
      quietMs = proxy.take().length === 0 ? quietMs + 500 : 0
      await sleep(500)
    }
    expect((await db.query('SELECT n FROM v')).rows).toEqual([{ n: 30n }])
  })
})

test('a restart on the same bucket goes on', async () => {
  const url = storeUrl(bucket, 'restart')
  const first = await open(url, { parallelism: 2, checkpointIntervalMs: 300 })
  cleanups.push(() => first.close())
  await first.run(bids(1_000_000, 300_000))
  while ((await first.metrics()).sourceEvents < 200_000) await sleep(50)
  await first.close()
  // Another parallelism, too: state is by vnode, not by thread.
  const second = await open(url, { parallelism: 3 })
  cleanups.push(() => second.close())
  const [offset] = Object.values((await second.metrics()).committedOffsets)
  expect((offset as { events: number }).events).toBeGreaterThanOrEqual(200_000)
  await second.run(bids(1_000_000, 300_000))
  await second.exhausted()
  const { rows } = await second.query('SELECT count(*) AS groups, sum(n) AS bids FROM q5w')
  expect(rows.map(({ groups, bids }) => [Number(groups), Number(bids)])).toEqual([
    [60_694, 920_000],
  ])
}, 120_000)

describe('opening what cannot be opened', () => {
  /** Opens the store in a process of its own, which must end by itself. */
  function openElsewhere(
    url: string,
    env: Readonly<Record<string, string>> = {},
  ): Promise<{
    code: string
    kind: string
    message: string
    milliseconds: number
    exit: number | null
  }> {
    const child = fileURLToPath(new URL('./open-child.mjs', import.meta.url))
    return new Promise((resolve, reject) => {
      const running = spawn(process.execPath, [child, url], {
        stdio: ['ignore', 'pipe', 'inherit'],
        env: { ...process.env, ...env },
      })
      let said = ''
      running.stdout.on('data', (part: Buffer) => {
        said += part.toString()
      })
      running.on('error', reject)
      running.on('close', (exit) => resolve({ ...JSON.parse(said), exit }))
    })
  }

  const nowhere = (address: string): string =>
    `s3://${bucket}/x?endpoint=${encodeURIComponent(address)}&pathStyle=true`

  test('wrong credentials', async () => {
    const found = await openElsewhere(storeUrl(bucket, 'x'), { AWS_SECRET_ACCESS_KEY: 'wrong' })
    expect(found).toMatchObject({ code: 'STORE_ACCESS_DENIED', kind: 'invalid', exit: 0 })
    expect(found.message).not.toContain('wrong')
    expect(found.milliseconds).toBeLessThan(10_000)
  })

  test('no such bucket', async () => {
    const found = await openElsewhere(storeUrl('no-such-bucket', 'x'))
    expect(found).toMatchObject({ code: 'STORE_BUCKET_MISSING', kind: 'invalid', exit: 0 })
    expect(found.milliseconds).toBeLessThan(10_000)
  })

  test('nobody listens', async () => {
    const found = await openElsewhere(nowhere('http://127.0.0.1:9'))
    expect(found).toMatchObject({ code: 'STORE_UNAVAILABLE', kind: 'unavailable', exit: 0 })
    expect(found.milliseconds).toBeLessThan(17_000)
  })

  test('nobody listens to the command either', () => {
    const main = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))
    const words = [main, 'verify', '--store', nowhere('http://127.0.0.1:9')]
    const { status, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8' })
    expect([status, stderr.includes('STORE_UNAVAILABLE')]).toEqual([1, true])
  })

  test('a server that never answers', async () => {
    const sockets: import('node:net').Socket[] = []
    const server = createServer((socket) => {
      sockets.push(socket)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    cleanups.push(() => {
      for (const socket of sockets) socket.destroy()
      server.close()
    })
    const address = server.address() as { port: number }
    const found = await openElsewhere(nowhere(`http://127.0.0.1:${address.port}`))
    expect(found).toMatchObject({ code: 'STORE_TIMEOUT', kind: 'unavailable', exit: 0 })
    expect(found.milliseconds).toBeLessThan(20_000)
  })
})
