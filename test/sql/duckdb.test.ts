/**
 * SELECTs where PostgreSQL, DuckDB and we must agree, over random small tables: the executor's answer is
 * compared with DuckDB's. The seed of a failure is printed by fast-check.
 */
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { catalogOf, MemoryTables } from './harness.ts'

const SETUP = `
  CREATE TABLE a (k BIGINT, n INTEGER, d DOUBLE PRECISION, m NUMERIC, s VARCHAR, b BOOLEAN, t TIMESTAMP);
  CREATE TABLE c (k BIGINT, w VARCHAR);
`

const QUERIES = [
  'SELECT k, n, d, s, b, t FROM a',
  'SELECT k + n, k - n, k * n, n % 3, -n FROM a WHERE n IS NOT NULL',
  "SELECT k FROM a WHERE n > 2 AND d < 10 OR s = 'x'",
  'SELECT k, n FROM a WHERE NOT (n > 2 OR b)',
  "SELECT s FROM a WHERE s IN ('x', 'yy', 'é') OR n IN (1, 2)",
  "SELECT s FROM a WHERE s NOT IN ('x') AND n BETWEEN 1 AND 5",
  "SELECT s, length(s), lower(s), upper(s) FROM a WHERE s LIKE '%y%' OR s NOT LIKE '_'",
  "SELECT CASE WHEN n > 3 THEN 1 WHEN n IS NULL THEN 2 ELSE 3 END, CASE s WHEN 'x' THEN k END FROM a",
  'SELECT coalesce(n, 0), nullif(n, 3), greatest(n, 2), least(n, 2) FROM a',
  "SELECT s || '-' || s, substring(s FROM 2 FOR 1), concat(s, n) FROM a",
  'SELECT b IS TRUE, b IS NOT FALSE, b IS NULL, n IS DISTINCT FROM 3 FROM a',
  'SELECT CAST(n AS VARCHAR), n::double precision, n::bigint, b::integer FROM a',
  'SELECT abs(n), floor(d), ceil(d) FROM a',
  "SELECT date_trunc('hour', t), date_trunc('month', t) FROM a",
  'SELECT k, count(*), count(n), sum(n), min(n), max(n), min(s), max(s), min(t) FROM a GROUP BY k',
  'SELECT sum(n), count(d), max(d), min(d), count(*) FILTER (WHERE b) FROM a',
  'SELECT k % 2 AS p, sum(n) FROM a GROUP BY 1 HAVING count(*) > 2',
  'SELECT DISTINCT k, b FROM a',
  'SELECT a.n, c.w FROM a JOIN c ON a.k = c.k',
  'SELECT a.n, c.w FROM a, c WHERE a.k = c.k AND a.n > length(c.w)',
  'SELECT c.w, count(*), sum(a.n) FROM a, c WHERE a.k = c.k AND a.s <> c.w GROUP BY c.w',
  'SELECT q.k, q.n, c.w FROM (SELECT k, max(n) AS n FROM a GROUP BY k) q JOIN c ON c.k = q.k WHERE q.n > 1',
  'SELECT x.n, y.s FROM a x JOIN a y ON x.k + 1 = y.k',
  'SELECT x.w FROM c x, a y, c z WHERE x.k = y.k AND y.k = z.k AND x.w = z.w',
]
const ORDERED = [
  'SELECT n, s, k FROM a ORDER BY n NULLS LAST, s COLLATE "C", k, d, b, t',
  'SELECT k, sum(n) AS total FROM a GROUP BY k ORDER BY total DESC NULLS FIRST, k NULLS LAST LIMIT 3',
  'SELECT s FROM a ORDER BY length(s) DESC NULLS FIRST, s NULLS FIRST LIMIT 4 OFFSET 1',
]

const nullable = <T>(values: fc.Arbitrary<T>): fc.Arbitrary<T | null> =>
  fc.option(values, { nil: null, freq: 4 })
const rowOfA = fc.tuple(
  nullable(fc.integer({ min: 0, max: 5 })),
  nullable(fc.integer({ min: -3, max: 6 })),
  nullable(fc.constantFrom(0, 0.5, -1.25, 12.75, 1e9)),
  nullable(fc.constantFrom('1.50', '2', '-0.25')),
  nullable(fc.constantFrom('', 'x', 'yy', 'é', 'Xy', 'zzz')),
  nullable(fc.boolean()),
  nullable(fc.constantFrom('2024-01-01 00:00:00', '2024-02-29 12:34:56.5', '1969-12-31 23:59:59')),
)
const rowOfC = fc.tuple(
  nullable(fc.integer({ min: 0, max: 5 })),
  nullable(fc.constantFrom('', 'x', 'yy', 'é')),
)

let duckdb: DuckDBConnection

beforeAll(async () => {
  duckdb = await (await DuckDBInstance.create(':memory:')).connect()
  for (const statement of SETUP.split(';\n')) {
    if (statement.trim() !== '') await duckdb.run(statement.replace('NUMERIC', 'DECIMAL(18,4)'))
  }
})
afterAll(() => duckdb.closeSync())

function literal(value: unknown): string {
  if (value === null) return 'NULL'
  return typeof value === 'string' ? `'${value}'` : String(value)
}

function values(rows: readonly (readonly unknown[])[]): string {
  return rows.map((row) => `(${row.map(literal).join(', ')})`).join(', ')
}

/** One spelling for both sides: numbers by value, timestamps in seconds. */
function cell(value: unknown): string {
  if (value === null || value === undefined) return 'null'
  if (typeof value === 'bigint') return value.toString()
  if (typeof value === 'number') return String(value)
  const text = String(value)
  if (/^\d{4}-\d\d-\d\d[T ]/.test(text)) {
    return text
      .replace('T', ' ')
      .replace(/Z$/, '')
      .replace(/\.?0+$/, (zeros) => (zeros.startsWith('.') ? '' : zeros))
  }
  return /^-?\d+(\.\d+)?$/.test(text) ? String(Number(text)) : text
}

async function fromDuckdb(sql: string): Promise<string[]> {
  const reader = await duckdb.runAndReadAll(sql)
  return reader.getRows().map((row) => row.map(cell).join('|'))
}

test('every query gives what DuckDB gives', async () => {
  const catalog = await catalogOf(SETUP)
  const cases = fc.asyncProperty(
    fc.array(rowOfA, { minLength: 1, maxLength: 12 }),
    fc.array(rowOfC, { minLength: 1, maxLength: 6 }),
    async (a, c) => {
      const tables = new MemoryTables(catalog)
      await duckdb.run('DELETE FROM a; DELETE FROM c')
      for (const [name, rows] of [
        ['a', a],
        ['c', c],
      ] as const) {
        const sql = `INSERT INTO ${name} VALUES ${values(rows)}`
        await tables.insert(sql)
        await duckdb.run(sql)
      }
      for (const sql of QUERIES) {
        const ours = (await tables.query(sql)).map((row) => row.map(cell).join('|'))
        expect(ours.sort(), sql).toEqual((await fromDuckdb(sql)).sort())
      }
      for (const sql of ORDERED) {
        const ours = await tables.query(sql.replaceAll(' COLLATE "C"', ''))
        const rows = ours.map((row) => row.map(cell).join('|'))
        expect(rows, sql).toEqual(await fromDuckdb(sql.replaceAll(' COLLATE "C"', '')))
      }
    },
  )
  await fc.assert(cases, { numRuns: 30 })
})
