/** Closing at the worst moments: every call under way is answered, every thread is gone, and nothing hangs. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Database, EngineError, open } from 'tussock'
import { afterEach, describe, expect, test } from 'vitest'
import { runNexmark } from '../../bench/nexmark/run.ts'

const folders: string[] = []
afterEach(() => {
  for (const path of folders.splice(0)) rmSync(path, { recursive: true, force: true })
})

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'tussock-close-'))
  folders.push(path)
  return path
}

/** Threads of this process: the system's own word, where it tells. */
const threads = (): number =>
  process.platform === 'linux' ? readdirSync('/proc/self/task').length : 0

async function threadsFall(before: number): Promise<void> {
  // A thread is reported gone a moment before the system has removed it.
  const deadline = performance.now() + 5000
  while (threads() > before && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  expect(threads()).toBeLessThanOrEqual(before)
}

/** How each of the calls ended: a value, or the code of its error. */
async function ends(calls: readonly Promise<unknown>[]): Promise<string[]> {
  const settled = await Promise.allSettled(calls)
  return settled.map((end) => {
    if (end.status === 'fulfilled') return 'done'
    return end.reason instanceof EngineError ? end.reason.code : String(end.reason)
  })
}

const endless = `
  CREATE SOURCE bid (auction BIGINT, date_time TIMESTAMP) WITH (connector = 'nexmark',
    nexmark.table.type = 'Bid', nexmark.seed = '42');
  CREATE MATERIALIZED VIEW q5w AS SELECT auction, window_start, count(*) AS n
    FROM TUMBLE(bid, date_time, INTERVAL '10' SECOND) GROUP BY auction, window_start;
  CREATE TABLE t (id BIGINT PRIMARY KEY);`

describe('close', () => {
  test('with everything under way answers everything', async () => {
    await (await open('memory://')).close() // What the process keeps for ever is there from here on.
    const before = threads()
    const db = await open('memory://', { parallelism: 3, poolThreads: 2 })
    await db.execute(endless)
    const changes = db.subscribe('q5w')
    const rows = Array.from({ length: 20_000 }, (_, id) => ({ id: BigInt(id) }))
    const calls: Promise<unknown>[] = [
      db.exhausted(),
      db.flush(),
      db.query('SELECT auction, max(n) AS n FROM q5w GROUP BY auction ORDER BY n DESC'),
      db.execute('CREATE MATERIALIZED VIEW w AS SELECT count(*) AS n FROM t'),
      db.table('t').insert(rows, { durable: true }),
      db.execute('DELETE FROM t'),
      db.metrics(),
      changes.next(),
    ]
    const settled = ends(calls)
    await Promise.all([db.close(), db.close()])
    for (const end of await settled) expect(['done', 'CLOSED', 'RECOVERING']).toContain(end)
    await threadsFall(before)
    expect(await ends([db.flush(), db.query('SELECT 1'), db.execute('SHOW TABLES')])).toEqual([
      'CLOSED',
      'CLOSED',
      'CLOSED',
    ])
  }, 60_000)

  test('at any moment of a run loses nothing that was flushed', async () => {
    const path = folder()
    const before = threads()
    let durable = 0
    for (const waitMs of [0, 1, 5, 20, 60, 150, 300]) {
      const db = await open(path, {
        parallelism: 2,
        checkpointIntervalMs: 50,
        barrierIntervalMs: 10,
      })
      await db.run(endless)
      expect(await rowsOf(db)).toBe(durable)
      await db.table('t').insert([{ id: BigInt(durable) }])
      await new Promise((resolve) => setTimeout(resolve, waitMs))
      await db.close()
      // Close makes durable what was accepted.
      durable++
    }
    await threadsFall(before)
  }, 60_000)

  test('of an opening that failed leaves no thread', async () => {
    const before = threads()
    for (const url of ['s3://bad bucket', 'nothing://x', '/proc/self/mem']) {
      const [end] = await ends([open(url)])
      expect(end).not.toBe('done')
      expect(end).not.toBe('INTERNAL')
    }
    await threadsFall(before)
  })

  test('of a database whose pipeline failed', async () => {
    const before = threads()
    const db = await open('memory://', { parallelism: 2 })
    await db.execute(`CREATE TABLE t (id BIGINT PRIMARY KEY, d BIGINT);
      CREATE MATERIALIZED VIEW v AS SELECT id, 10 / d AS q FROM t;`)
    expect(await ends([db.execute('INSERT INTO t VALUES (1, 0); FLUSH')])).toEqual([
      'PIPELINE_FAILED',
    ])
    await db.close()
    await threadsFall(before)
  }, 30_000)
})

async function rowsOf(db: Database): Promise<number> {
  const { rows } = await db.query('SELECT count(*) AS n FROM t')
  return Number(rows[0]['n'])
}

test("the user's thread is free while the engine works", async () => {
  const result = await runNexmark({
    query: 'q5w',
    input: 'replay',
    events: 4_000_000,
    seed: 42,
    sink: 'view',
    store: folder(),
    eventsPerSecond: 0,
    open: { parallelism: 2 },
  })
  const { seconds, loopDelayMsP99 } = result
  console.log('event loop', JSON.stringify({ seconds, loopDelayMsP99 }))
  // The aim is 10 ms (`tussock bench nexmark` prints it); other tests run beside this one.
  expect(loopDelayMsP99).toBeLessThan(25)
}, 60_000)
