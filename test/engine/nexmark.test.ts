/** Nexmark through the public API: known answers, DuckDB's answers, and keys that only their whole values tell apart. */
import { DuckDBInstance } from '@duckdb/node-api'
import { type Database, open, type Row } from 'tussock'
import { afterEach, describe, expect, test } from 'vitest'
import { makeDataset, makeRows } from '../../bench/nexmark/dataset.ts'
import {
  createRelation,
  QUERIES,
  type QueryName,
  type TableName,
} from '../../bench/nexmark/queries.ts'
import { hashRows } from '../../bench/nexmark/result-hash.ts'
import { runNexmark } from '../../bench/nexmark/run.ts'

const cleanups: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function opened(parallelism: number): Promise<Database> {
  const db = await open('memory://', { parallelism })
  cleanups.push(() => db.close())
  return db
}

const sources = (events: number, seed: number): string =>
  (['person', 'auction', 'bid'] as const)
    .map((table) =>
      createRelation(table, {
        connector: 'nexmark',
        'nexmark.table.type': table,
        'nexmark.event.num': String(events),
        'nexmark.seed': String(seed),
      }),
    )
    .join('\n')

test.each([
  ['q3', 'replay', 2],
  ['q5w', 'generate', 1],
  ['q4', 'replay', 2],
] as const)(
  '%s by %s on %i workers gives the known answer',
  async (query, input, parallelism) => {
    const result = await runNexmark({
      query,
      input,
      events: 1_000_000,
      seed: 42,
      sink: 'view',
      store: 'memory://',
      eventsPerSecond: 0,
      open: { parallelism },
    })
    expect(result.hashRight).toBe(true)
  },
  120_000,
)

test("the seed document's own statement runs as written", async () => {
  const db = await opened(2)
  await db.execute(sources(1_000_000, 42))
  await db.execute(`CREATE MATERIALIZED VIEW nexmark_q3
AS
SELECT P.name, P.city, P.state, A.id
FROM auction AS A
INNER JOIN person AS P on A.seller = P.id
WHERE A.category = 10`)
  await db.exhausted()
  expect((await db.query('SELECT count(*) AS n FROM nexmark_q3')).rows).toEqual([{ n: 11_956n }])
}, 120_000)

const ORACLE: Readonly<Record<'q3' | 'q4' | 'q5w', string>> = {
  q3: `select p.name, p.city, p.state, a.id from auction a join person p on a.seller = p.id
    where a.category = 10 and p.state in ('OR', 'ID', 'CA')`,
  q4: `select category, sum(final)::bigint, count(*) from (select max(b.price) final, a.category
    from auction a join bid b on a.id = b.auction where b.date_time between a.date_time and a.expires
    group by a.id, a.category) group by category`,
  q5w: `select auction, date_time - date_time % 10000, count(*) from bid group by 1, 2`,
}

const ORACLE_TABLES: Readonly<Record<TableName, string>> = {
  person: 'id bigint, name varchar, city varchar, state varchar',
  auction: 'id bigint, seller bigint, category bigint, date_time bigint, expires bigint',
  bid: 'auction bigint, price bigint, date_time bigint',
}

/** Every table's rows, from the row-wise generator. */
function events(count: number, seed: number): Map<TableName, Row[]> {
  const columns = {
    person: ['id', 'name', 'city', 'state'],
    auction: ['id', 'seller', 'category', 'date_time', 'expires'],
    bid: ['auction', 'price', 'date_time'],
  }
  const rows = new Map<TableName, Row[]>([
    ['person', []],
    ['auction', []],
    ['bid', []],
  ])
  for (const batch of makeRows({ ...QUERIES.q3, columns }, count, seed, 10_000)) {
    for (const { table, row } of batch) rows.get(table)!.push(row)
  }
  return rows
}

async function duckdbHashes(count: number, seed: number): Promise<Record<string, string>> {
  const instance = await DuckDBInstance.create(':memory:')
  const connection = await instance.connect()
  for (const [table, rows] of events(count, seed)) {
    await connection.run(`create table ${table} (${ORACLE_TABLES[table]})`)
    const appender = await connection.createAppender(table)
    for (const row of rows) {
      for (const value of Object.values(row)) {
        if (typeof value === 'string') appender.appendVarchar(value)
        else appender.appendBigInt(BigInt(value instanceof Date ? value.getTime() : Number(value)))
      }
      appender.endRow()
    }
    appender.closeSync()
  }
  const hashes: Record<string, string> = {}
  for (const [query, sql] of Object.entries(ORACLE)) {
    const rows = (await connection.runAndReadAll(sql)).getRows()
    hashes[query] = hashRows(
      rows.map((row) => row.map((value) => (typeof value === 'bigint' ? Number(value) : value))),
    )
  }
  connection.closeSync()
  return hashes
}

describe.each([1, 7, 20_261])('seed %i', (seed) => {
  test('gives the rows that DuckDB computes from the same events', async () => {
    const count = 200_000
    const db = await opened(2)
    const names: QueryName[] = ['q3', 'q4', 'q5w']
    await db.execute(sources(count, seed))
    for (const name of names) {
      await db.execute(`CREATE MATERIALIZED VIEW ${name} AS ${QUERIES[name].select}`)
    }
    await db.exhausted()
    const found: Record<string, string> = {}
    for (const name of names) {
      const { rows } = await db.query(`SELECT * FROM ${name}`)
      found[name] = hashRows(rows.map(QUERIES[name].spell))
    }
    expect(found).toEqual(await duckdbHashes(count, seed))
  }, 120_000)
})

test('keys are compared whole: sum, count and join over 300,000 distinct values are exact', async () => {
  const db = await opened(2)
  await db.execute(`
    CREATE TABLE v (id BIGINT PRIMARY KEY, x BIGINT);
    CREATE TABLE w (x BIGINT PRIMARY KEY, name VARCHAR);
    CREATE MATERIALIZED VIEW total AS SELECT count(*) AS n, sum(x) AS s, min(x) AS least, max(x) AS most FROM v;
    CREATE MATERIALIZED VIEW single AS SELECT x, count(*) AS n FROM v GROUP BY x;
    CREATE MATERIALIZED VIEW joined AS SELECT v.id, w.name FROM v JOIN w ON v.x = w.x;`)
  let x = 12_345
  let truth = 0n
  const values: bigint[] = []
  for (let i = 0; i < 300_000; i++) {
    x = (Math.imul(x, 1_103_515_245) + 12_345) >>> 0
    values.push(BigInt(x))
    truth += BigInt(x)
  }
  expect(new Set(values).size).toBe(300_000)
  for (let from = 0; from < values.length; from += 50_000) {
    const part = values.slice(from, from + 50_000)
    await db.table('v').insert(part.map((value, i) => ({ id: BigInt(from + i), x: value })))
    await db.table('w').insert(part.map((value) => ({ x: value, name: `n${value}` })))
  }
  await db.flush()
  const one = async (sql: string): Promise<Row> => (await db.query(sql)).rows[0]
  const total = await one('SELECT n, s FROM total')
  expect([total['n'], BigInt(String(total['s']))]).toEqual([300_000n, truth])
  expect(await one('SELECT count(*) AS n, max(n) AS most FROM single')).toEqual({
    n: 300_000n,
    most: 1n,
  })
  expect(await one('SELECT count(*) AS n FROM joined')).toEqual({ n: 300_000n })
  expect(await one(`SELECT count(*) AS n FROM joined WHERE name = 'n${values[4711]}'`)).toEqual({
    n: 1n,
  })
}, 120_000)

test('a dataset replays the events that the source generates', () => {
  const dataset = makeDataset(QUERIES.q5w, 10_000, 42)
  const prices = new Float64Array(dataset.tables['bid'].rowCount)
  expect(prices.length).toBe(9200)
})
