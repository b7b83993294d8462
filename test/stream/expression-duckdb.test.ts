/** Expressions whose meaning PostgreSQL and DuckDB share, over one small table of odd values. */
import { DuckDBInstance } from '@duckdb/node-api'
import { expect, test } from 'vitest'
import { Chunk } from '../../src/stream/chunk.ts'
import { compileExpressions } from '../../src/stream/expression.ts'
import type { Expression } from '../../src/stream/plan.ts'
import type { DataType } from '../../src/stream/schema.ts'
import { columnFromValues, textAt } from '../../src/stream/values.ts'
import { widened } from './arbitrary-columns.ts'
import { call, cast, col, lit, when } from './expression-builders.ts'

const COLUMNS: readonly {
  name: string
  type: DataType
  sql: string
  values: readonly unknown[]
}[] = [
  { name: 'i', type: 'integer', sql: 'INTEGER', values: [0, 1, -7, 7, 2147483647, null] },
  { name: 'b', type: 'bigint', sql: 'BIGINT', values: [3, -3, 9007199254740993n, 0, 10, null] },
  { name: 'd', type: 'double', sql: 'DOUBLE', values: [0.5, -2.25, 1e10, 3, -0.1, null] },
  {
    name: 't',
    type: 'varchar',
    sql: 'VARCHAR',
    values: ['', 'Abc', 'straße', 'a_b%c', '😀é', null],
  },
  {
    name: 'ts',
    type: 'timestamp',
    sql: 'TIMESTAMP',
    values: [
      '1970-01-01 00:00:00',
      '2024-02-29 23:59:59.999999',
      '1969-12-31 12:34:56.5',
      '2021-01-03 00:00:00',
      '2300-12-31 06:00:00.25',
      null,
    ],
  },
  { name: 'o', type: 'boolean', sql: 'BOOLEAN', values: [true, false, null, true, false, null] },
  {
    name: 'n',
    type: 'numeric',
    sql: 'DECIMAL(12,2)',
    values: ['1.50', '-2.50', '0.00', '99.99', '10.05', null],
  },
]

const [i, b, d, t, ts, o, n] = COLUMNS.map((column, index) => col(index, column.type))
const int = (value: number): Expression => lit('integer', value)
const big = (value: number): Expression => lit('bigint', value)
const word = (value: string): Expression => lit('varchar', value)
const unit = (name: string): Expression => word(name)
const hours = (count: number): Expression => lit('interval', count * 3_600_000_000)

/** SQL for DuckDB, cast to text there where the layouts agree; the same as a bound tree. */
const EXPRESSIONS: readonly [string, Expression][] = [
  ['b + 5', call('add', 'bigint', b, big(5))],
  ['b * 1000', call('multiply', 'bigint', b, big(1000))],
  ['b // 4', call('divide', 'bigint', b, big(4))],
  ['b % 4', call('modulo', 'bigint', b, big(4))],
  ['-b', call('negate', 'bigint', b)],
  ['abs(b)', call('abs', 'bigint', b)],
  ['n * n', call('multiply', 'numeric', n, n)],
  ['n + n', call('add', 'numeric', n, n)],
  ['n - 0.125', call('subtract', 'numeric', n, lit('numeric', 125, 3))],
  ['round(n, 1)', call('round', 'numeric', n, int(1))],
  [
    'd > 0.4 AND i < 5',
    call(
      'and',
      'boolean',
      call('greater', 'boolean', d, lit('double', 0.4)),
      call('less', 'boolean', i, int(5)),
    ),
  ],
  ['o OR i = 7', call('or', 'boolean', o, call('equal', 'boolean', i, int(7)))],
  ['NOT o', call('not', 'boolean', o)],
  ['o IS TRUE', call('is_true', 'boolean', o)],
  ['o IS FALSE', call('is_false', 'boolean', o)],
  ['i IS NULL', call('is_null', 'boolean', i)],
  ['i IS DISTINCT FROM 7', call('is_distinct', 'boolean', i, int(7))],
  ['i IN (1, 7, NULL)', call('in', 'boolean', i, int(1), int(7), lit('integer', null))],
  ['b NOT IN (3, 10)', call('not', 'boolean', call('in', 'boolean', b, big(3), big(10)))],
  ['coalesce(i, -1)', call('coalesce', 'integer', i, int(-1))],
  ['nullif(i, 7)', call('nullif', 'integer', i, int(7))],
  ['greatest(i, 3, NULL)', call('greatest', 'integer', i, int(3), lit('integer', null))],
  ['least(b, 1)', call('least', 'bigint', b, big(1))],
  [
    "CASE WHEN i > 0 THEN 'up' WHEN i < 0 THEN 'down' END",
    when(
      'varchar',
      [
        [call('greater', 'boolean', i, int(0)), word('up')],
        [call('less', 'boolean', i, int(0)), word('down')],
      ],
      null,
    ),
  ],
  ['lower(t)', call('lower', 'varchar', t)],
  ["replace(upper(t), 'ẞ', 'SS')", call('upper', 'varchar', t)],
  ['length(t)', call('length', 'integer', t)],
  ["t || '-' || t", call('concat', 'varchar', t, word('-'), t)],
  ['substring(t, 2, 2)', call('substring', 'varchar', t, int(2), int(2))],
  ['substring(t, 3)', call('substring', 'varchar', t, int(3))],
  ["t LIKE 'a%c'", call('like', 'boolean', t, word('a%c'))],
  ["t LIKE '%b_'", call('like', 'boolean', t, word('%b_'))],
  ["t LIKE 'a\\_b%' ESCAPE '\\'", call('like', 'boolean', t, word('a\\_b%'))],
  ["t LIKE '__'", call('like', 'boolean', t, word('__'))],
  ["t >= 'a'", call('greater_equal', 'boolean', t, word('a'))],
  ["t = 'Abc'", call('equal', 'boolean', t, word('Abc'))],
  ['CAST(n AS INTEGER)', cast(n, 'integer')],
  ['CAST(d AS BIGINT)', cast(d, 'bigint')],
  ['CAST(n AS VARCHAR)', cast(n, 'varchar')],
  ['CAST(b AS VARCHAR)', cast(b, 'varchar')],
  ['CAST(ts AS DATE)', cast(ts, 'date')],
  ['CAST(ts AS VARCHAR)', cast(ts, 'varchar')],
  ['ts + INTERVAL 5 HOUR', call('add', 'timestamp', ts, hours(5))],
  ['ts - INTERVAL 5 HOUR', call('subtract', 'timestamp', ts, hours(5))],
  [
    "ts > TIMESTAMP '2000-01-01'",
    call('greater', 'boolean', ts, cast(word('2000-01-01'), 'timestamp')),
  ],
  [
    "time_bucket(INTERVAL '10 seconds', ts, TIMESTAMP '1970-01-01')",
    call('tumble_start', 'timestamp', ts, lit('interval', 10_000_000)),
  ],
  ...[
    'millisecond',
    'second',
    'minute',
    'hour',
    'day',
    'week',
    'month',
    'quarter',
    'year',
    'decade',
  ].map((name): [string, Expression] => [
    `date_trunc('${name}', ts)::TIMESTAMP`,
    call('date_trunc', 'timestamp', unit(name), ts),
  ]),
  ...[
    'minute',
    'hour',
    'day',
    'dow',
    'isodow',
    'doy',
    'week',
    'month',
    'quarter',
    'year',
    'isoyear',
    'decade',
    'century',
    'millennium',
    'microsecond',
  ].map((name): [string, Expression] => [
    `extract(${name} FROM ts)`,
    call('extract', 'numeric', unit(name), ts),
  ]),
  [
    'CAST(epoch_us(ts) AS DECIMAL(30,0)) / 1',
    cast(
      call(
        'multiply',
        'numeric',
        call('extract', 'numeric', unit('epoch'), ts),
        lit('numeric', 1000000),
      ),
      'bigint',
    ),
  ],
]

const connection = await (await DuckDBInstance.create(':memory:')).connect()
const definition = COLUMNS.map(({ name, sql }) => `${name} ${sql}`).join(', ')
await connection.run(`CREATE TABLE x (row INTEGER, ${definition})`)
const rowCount = COLUMNS[0].values.length
for (let row = 0; row < rowCount; row++) {
  const literals = COLUMNS.map(({ values }) => {
    const value = values[row]
    return value === null ? 'NULL' : typeof value === 'string' ? `'${value}'` : String(value)
  })
  await connection.run(`INSERT INTO x VALUES (${row}, ${literals.join(', ')})`)
}

function comparable(type: DataType, text: string | null): string | null {
  if (text === null) return null
  if (type === 'boolean') return text.startsWith('t') ? 'true' : 'false'
  if (type === 'numeric') return String(Number(text))
  return text
}

test.each(EXPRESSIONS)('%s', async (sql, expression) => {
  const integral = /epoch_us/.test(sql) ? `CAST(${sql} AS BIGINT)` : sql
  const reader = await connection.runAndReadAll(
    `SELECT CAST(${integral} AS VARCHAR) FROM x ORDER BY row`,
  )
  const want = reader.getRows().map(([value]) => (value === null ? null : String(value)))
  const narrow = COLUMNS.map(({ type, values }) => columnFromValues(type, values, { column: 'c' }))
  const compiled = compileExpressions([expression])
  for (const columns of [narrow, narrow.map((column) => widened(column, rowCount))]) {
    const [column] = compiled(new Chunk(rowCount, null, null, columns))
    const got = Array.from({ length: rowCount }, (_, row) => textAt(column, row))
    expect(got.map((value) => comparable(column.type, value))).toEqual(
      want.map((value) => comparable(column.type, value)),
    )
  }
})
