/** What INSERT, UPDATE and DELETE give to a table's DML actor; and the catalog as plain data. */
import { Packr } from 'msgpackr'
import { beforeEach, expect, test } from 'vitest'
import { executeDml } from '../../src/runtime/query.ts'
import type { Catalog } from '../../src/sql/catalog.ts'
import { parseStatement } from '../../src/sql/parser.ts'
import { planDml } from '../../src/sql/query-planner.ts'
import { catalogOf, MemoryTables, rowsOf } from './harness.ts'

let catalog: Catalog
let tables: MemoryTables

beforeEach(async () => {
  catalog = await catalogOf(`
    CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR NOT NULL, price NUMERIC);
    CREATE TABLE log (line VARCHAR, n SMALLINT);
    CREATE MATERIALIZED VIEW v AS SELECT name, count(*) AS n FROM t GROUP BY name;
  `)
  tables = new MemoryTables(catalog)
  await tables.insert("INSERT INTO t VALUES (1, 'a', 1.5), (2, 'b', NULL), (3, 'c', 2)")
})

async function dml(sql: string, parameters: readonly unknown[] = []): Promise<unknown> {
  const statement = parseStatement(sql)
  if (statement.kind !== 'insert' && statement.kind !== 'update' && statement.kind !== 'delete') {
    throw new TypeError('no change')
  }
  const { chunks, rowCount } = await executeDml(planDml(statement, catalog, parameters), tables.io)
  const ops = chunks.flatMap((chunk) => [...(chunk.ops ?? new Uint8Array(chunk.rowCount))])
  return {
    rowCount,
    rows: rowsOf(chunks).map((row, index) => ['+-+-'[ops[index]], ops[index], ...row]),
  }
}

test('insert: columns by name, defaults null, hidden columns null', async () => {
  expect(await dml("INSERT INTO log (n) VALUES (1), ('2'), (DEFAULT), ($1)", [7n])).toEqual({
    rowCount: 4,
    rows: [1, 2, null, 7].map((n) => ['+', 0, null, n, null]),
  })
})

test('insert from a query converts, orders and limits', async () => {
  const sql =
    'INSERT INTO log (n, line) SELECT id, name FROM t ORDER BY price DESC NULLS LAST LIMIT 2'
  expect(await dml(sql)).toEqual({
    rowCount: 2,
    rows: [
      ['+', 0, 'c', 3, null],
      ['+', 0, 'a', 1, null],
    ],
  })
})

test('update: pairs of the old row and the new one', async () => {
  expect(
    await dml('UPDATE t SET price = price * 2, name = name || id WHERE price > $1', [1]),
  ).toEqual({
    rowCount: 2,
    rows: [
      ['-', 3, 1, 'a', '1.5'],
      ['+', 2, 1, 'a1', '3.0'],
      ['-', 3, 3, 'c', '2.0'],
      ['+', 2, 3, 'c3', '4.0'],
    ],
  })
  await expect(dml('UPDATE t SET name = NULL WHERE id = 1')).rejects.toMatchObject({
    code: 'NOT_NULL',
  })
})

test('delete: the old rows', async () => {
  expect(await dml('DELETE FROM t AS x WHERE x.id <> 2')).toEqual({
    rowCount: 2,
    rows: [
      ['-', 1, 1, 'a', '1.5'],
      ['-', 1, 3, 'c', '2.0'],
    ],
  })
})

test('values that do not fit are refused', async () => {
  await expect(dml('INSERT INTO log (n) VALUES (40000)')).rejects.toMatchObject({
    code: 'VALUE_OVERFLOW',
  })
  await expect(dml("INSERT INTO t VALUES (NULL, 'x')")).rejects.toMatchObject({ code: 'NOT_NULL' })
  await expect(dml('INSERT INTO t (id, name) SELECT id FROM t')).rejects.toMatchObject({
    context: { sqlState: '42601' },
  })
})

test('the catalog survives msgpack', () => {
  const packr = new Packr()
  expect(packr.unpack(packr.pack(catalog))).toEqual(catalog)
  expect(JSON.parse(JSON.stringify(catalog))).toEqual(catalog)
})

test('ids only grow, also over a drop', async () => {
  const dropped = await catalogOf(`
    CREATE TABLE a (x BIGINT); CREATE TABLE b (x BIGINT); DROP TABLE b; CREATE TABLE c (x BIGINT)`)
  const ids = dropped.objects.map(({ id, table, outputFragment }) => [
    id,
    table?.tableId,
    outputFragment,
  ])
  expect(ids).toEqual([
    [1, 1, 2],
    [3, 3, 6],
  ])
  const c = dropped.objects[1]
  expect(c.plan?.jobId).toBe(3)
})
