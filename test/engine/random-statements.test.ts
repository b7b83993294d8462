/** What hostile statements found: each of these once lost rows, hung, or stopped the whole pipeline. */
import { type Database, EngineError, open } from 'tussock'
import { afterEach, describe, expect, test } from 'vitest'

const cleanups: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function opened(): Promise<Database> {
  const db = await open('memory://', { parallelism: 2, barrierIntervalMs: 20 })
  cleanups.push(() => db.close())
  return db
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
  } catch (error) {
    if (error instanceof EngineError) return error.code
    throw error
  }
  return 'nothing'
}

describe('rows', () => {
  test('a misspelt column of any row is refused, and nothing of the batch inserted', async () => {
    const db = await opened()
    await db.execute('CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR)')
    const rows = [
      { id: 1, name: 'a' },
      { id: 2, nmae: 'b' },
    ]
    expect(await codeOf(db.table('t').insert(rows))).toBe('SQL_UNDEFINED_COLUMN')
    await db.flush()
    expect((await db.query('SELECT * FROM t')).rows).toEqual([])
  })

  test('columns may have the names that every object has', async () => {
    const db = await opened()
    await db.execute(`CREATE TABLE "a ""b" ("select" BIGINT PRIMARY KEY, "constructor" VARCHAR,
      "toString" BIGINT, "__proto__" BIGINT)`)
    const rows = [JSON.parse('{"select": 1, "__proto__": 7}'), { select: 2, constructor: 'c' }]
    await db.table('a "b').insert(rows, { durable: true })
    const found = (await db.query('SELECT * FROM "a ""b" ORDER BY 1')).rows
    expect(
      found.map((row) => Object.entries(row).map(([name, value]) => `${name}=${value}`)),
    ).toEqual([
      ['select=1', 'constructor=null', 'toString=null', '__proto__=7'],
      ['select=2', 'constructor=c', 'toString=null', '__proto__=null'],
    ])
  })

  test('a long list of rows beyond ASCII takes no longer for each row', async () => {
    const db = await opened()
    await db.execute('CREATE TABLE t (id BIGINT PRIMARY KEY, s VARCHAR, n BIGINT)')
    const rows = Array.from({ length: 15_000 }, (_, i) => `(${i}, 'é😀${i}', ${i % 7})`)
    await db.execute(`INSERT INTO t VALUES ${rows.join(', ')}; FLUSH`)
    const { rows: found } = await db.query('SELECT count(*) AS c, sum(length(s)) AS l FROM t')
    expect(found).toEqual([{ c: 15_000n, l: 93_890n }])
  }, 20_000)

  test('a primary key that is too large is refused, and the pipeline goes on', async () => {
    const db = await opened()
    await db.execute('CREATE TABLE t (s VARCHAR PRIMARY KEY, n BIGINT)')
    const long = 'x'.repeat(70_000)
    expect(await codeOf(db.table('t').insert([{ s: long, n: 1 }]))).toBe('KEY_TOO_LARGE')
    expect(await codeOf(db.execute('INSERT INTO t VALUES ($1, 1)', [long]))).toBe('KEY_TOO_LARGE')
    await db.table('t').insert([{ s: long.slice(0, 50_000), n: 2 }], { durable: true })
    const { rows } = await db.query('SELECT length(s) AS l, n FROM t')
    expect(rows).toEqual([{ l: 50_000, n: 2n }])
  })
})

test('a view that is nested too deeply is refused, and the database goes on', async () => {
  const db = await opened()
  await db.execute('CREATE TABLE t (id BIGINT PRIMARY KEY); INSERT INTO t VALUES (1); FLUSH')
  const view = (name: string, terms: number): string =>
    `CREATE MATERIALIZED VIEW ${name} AS SELECT id ${'+ 1 '.repeat(terms)} AS x FROM t`
  expect(await codeOf(db.execute(view('deep', 2900)))).toBe('SQL_UNSUPPORTED')
  await db.execute(view('less', 900))
  expect((await db.query('SELECT * FROM less')).rows).toEqual([{ x: 901n }])
})

test('the argument of an aggregate is computed only for rows that pass its filter', async () => {
  const db = await opened()
  await db.execute(`CREATE TABLE t (id BIGINT PRIMARY KEY, d BIGINT);
    CREATE MATERIALIZED VIEW v AS SELECT sum(10 / d) FILTER (WHERE d <> 0) AS s FROM t;
    INSERT INTO t VALUES (1, 0), (2, 5), (3, NULL); FLUSH`)
  expect((await db.query('SELECT s FROM v')).rows).toEqual([{ s: '2' }])
  await db.execute('UPDATE t SET d = 2 WHERE id = 1; UPDATE t SET d = 0 WHERE id = 2; FLUSH')
  expect((await db.query('SELECT s FROM v')).rows).toEqual([{ s: '5' }])
})

test('a database may be looked at as JSON', async () => {
  const db = await opened()
  const rejections: unknown[] = []
  const note = (error: unknown): void => void rejections.push(error)
  process.on('unhandledRejection', note)
  JSON.stringify({ db, table: db.table('t'), snapshot: await db.snapshot() })
  await db.metrics()
  process.off('unhandledRejection', note)
  expect(rejections).toEqual([])
})
