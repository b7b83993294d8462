/**
 * The view equals the query: after random changes of its tables, in random epochs, on one to three
 * workers, each materialized view holds the rows that its SELECT gives over the tables of that moment.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { catalogOf } from './harness.ts'
import { SimulatedJobs } from './simulated-jobs.ts'

const VIEWS: readonly string[] = [
  'SELECT id, k, s FROM a WHERE n > 2',
  'SELECT k + n AS kn, s FROM a',
  'SELECT k, count(*) AS c, count(n) AS cn, sum(n) AS s, min(n) AS lo, max(n) AS hi FROM a GROUP BY k',
  'SELECT count(*) AS c, sum(n) AS s, max(s) AS m FROM a',
  'SELECT DISTINCT s FROM a',
  'SELECT a.n, c.w FROM a JOIN c ON a.k = c.k',
  "SELECT a.id, c.w FROM a, c WHERE a.k = c.k AND a.n > length(c.w) AND c.w <> 'x'",
  'SELECT a.k, max(c.w) AS w, sum(a.n) AS n FROM a, c WHERE a.k = c.k GROUP BY a.k',
  'SELECT c.w, count(*) AS n FROM a, c WHERE a.k = c.k GROUP BY c.w HAVING count(*) > 1',
  'SELECT hi, count(*) AS n FROM (SELECT k, max(n) AS hi FROM a GROUP BY k) q GROUP BY hi',
  'SELECT x.n, y.s FROM a x JOIN a y ON x.k + 1 = y.k',
  'SELECT x.w, y.id FROM c x, a y, c z WHERE x.k = y.k AND z.w = x.w',
  'SELECT w AS word, min(n) FILTER (WHERE n > 0) AS n FROM v5 GROUP BY w',
  'SELECT v2.k, v2.hi, c.w FROM v2, c WHERE v2.k = c.k',
  'SELECT a.id, c.w FROM a JOIN c ON a.n = c.k',
  'SELECT c * 2 AS twice FROM v3',
  'SELECT v0.s, v3.c FROM v0, v3 WHERE v0.id = v3.c',
]
const SETUP = `
  CREATE TABLE a (id BIGINT PRIMARY KEY, k BIGINT, n INTEGER, s VARCHAR);
  CREATE TABLE c (k BIGINT, w VARCHAR);
  ${VIEWS.map((sql, index) => `CREATE MATERIALIZED VIEW v${index} AS ${sql};`).join('\n')}
`

const key = fc.integer({ min: 0, max: 4 })
const maybe = (values: fc.Arbitrary<unknown>): fc.Arbitrary<string> =>
  fc.option(values, { nil: null, freq: 5 }).map((value) => (value === null ? 'NULL' : `${value}`))
const word = fc.constantFrom("'x'", "'yy'", "''", "'é'")
const change = fc.oneof(
  {
    weight: 5,
    arbitrary: fc
      .tuple(key, maybe(key), maybe(fc.integer({ min: -2, max: 6 })), maybe(word))
      .map(([id, k, n, s]) => `INSERT INTO a VALUES (${id}, ${k}, ${n}, ${s})`),
  },
  {
    weight: 4,
    arbitrary: fc
      .tuple(maybe(key), maybe(word))
      .map(([k, w]) => `INSERT INTO c VALUES (${k}, ${w})`),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(key, key)
      .map(([k, id]) => `UPDATE a SET k = ${k}, n = n + 1 WHERE id = ${id}`),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(key, word).map(([k, w]) => `UPDATE c SET w = ${w} WHERE k = ${k}`),
  },
  { weight: 2, arbitrary: key.map((id) => `DELETE FROM a WHERE id = ${id}`) },
  { weight: 1, arbitrary: key.map((k) => `DELETE FROM c WHERE k = ${k}`) },
)

test('every view equals its query', async () => {
  const catalog = await catalogOf(SETUP)
  const property = fc.asyncProperty(
    fc.integer({ min: 1, max: 3 }),
    fc.constantFrom(1, 1e6),
    fc.array(fc.array(change, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 5 }),
    async (workers, cacheBytes, epochs) => {
      const jobs = new SimulatedJobs(catalog, workers, cacheBytes)
      jobs.barrier()
      for (const changes of epochs) {
        // UPDATE and DELETE read the tables as of the last barrier: one of them an epoch.
        for (const sql of changes) {
          await jobs.dml(sql)
          if (!sql.startsWith('INSERT')) jobs.barrier()
        }
        jobs.barrier()
        for (const [index, sql] of VIEWS.entries()) {
          const view = (await jobs.query(`SELECT * FROM v${index}`)).map((row) =>
            JSON.stringify(row),
          )
          const query = (await jobs.query(sql)).map((row) => JSON.stringify(row))
          expect(view.sort(), `${sql}, ${workers} workers`).toEqual(query.sort())
        }
      }
    },
  )
  await fc.assert(property, { numRuns: 12 })
})
