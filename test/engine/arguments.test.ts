/** What a caller without types gets wrong is told by an EngineError, and nothing of it is passed over. */
import { type Database, EngineError, open } from 'tussock'
import { afterAll, beforeAll, expect, test } from 'vitest'

let db: Database
beforeAll(async () => {
  db = await open('memory://', { parallelism: 1 })
  await db.execute('CREATE TABLE t (id BIGINT PRIMARY KEY, n INTEGER NOT NULL)')
})
afterAll(() => db.close())

/** As JavaScript calls it. */
const loose = (value: unknown): never => value as never

async function errorOf(call: () => unknown): Promise<EngineError> {
  try {
    await call()
  } catch (error) {
    expect(error).toBeInstanceOf(EngineError)
    return error as EngineError
  }
  throw new Error('it did not fail')
}

const WRONG: readonly (readonly [string, () => unknown, string])[] = [
  ['no URL', () => open(loose(undefined)), 'STORE_URL_INVALID'],
  ['a URL object', () => open(loose(new URL('file:///tmp/x'))), 'STORE_URL_INVALID'],
  ['an unknown option', () => open('memory://', loose({ paralelism: 2 })), 'OPTION_INVALID'],
  [
    'an unknown option within',
    () => open('memory://', loose({ cache: { bytes: 1 } })),
    'OPTION_INVALID',
  ],
  ['an option that is no object', () => open('memory://', loose({ storage: 5 })), 'OPTION_INVALID'],
  [
    'a flag that is none',
    () => open('memory://', loose({ storage: { compaction: 'no' } })),
    'OPTION_INVALID',
  ],
  ['onEvent of no use', () => open('memory://', loose({ onEvent: true })), 'OPTION_INVALID'],
  ['no statement', () => db.query(loose(undefined)), 'SQL_SYNTAX'],
  ['a statement that is none', () => db.execute(loose(5)), 'SQL_SYNTAX'],
  ['parameters that are none', () => db.query('SELECT $1::int', loose(5)), 'SQL_PARAMETER'],
  ['a function', () => db.query('SELECT $1::int', [() => 1]), 'SQL_PARAMETER'],
  ['an object', () => db.query('SELECT $1::int', [{ deep: () => 1 }]), 'SQL_PARAMETER'],
  [
    'an unknown visibility',
    () => db.query('SELECT 1', [], loose({ visibility: 'new' })),
    'OPTION_INVALID',
  ],
  ['one row without its array', () => db.table('t').insert(loose({ id: 1 })), 'VALUE_INVALID'],
  ['no rows', () => db.table('t').insert(loose(undefined)), 'VALUE_INVALID'],
  ['a row that is null', () => db.table('t').insert(loose([null])), 'VALUE_INVALID'],
  ['a row that is an array', () => db.table('t').insert(loose([[1, 2]])), 'VALUE_INVALID'],
  [
    'a misspelt promise',
    () => db.table('t').insert([{ id: 1, n: 1 }], loose({ durabel: true })),
    'OPTION_INVALID',
  ],
  ['a table without a name', () => db.table(loose(undefined)).insert([]), 'SQL_UNDEFINED_TABLE'],
  ['a subscription to nothing', () => db.subscribe(loose(undefined)).next(), 'SQL_UNDEFINED_TABLE'],
  ['a look at nothing', () => db.inspect(loose('nothing')), 'OPTION_INVALID'],
]

test.each(WRONG)('%s', async (_what, call, code) => {
  const error = await errorOf(call)
  expect(error.code).toBe(code)
  expect(error.kind).toBe('invalid')
})

test('nothing of these calls was inserted', async () => {
  await db.flush()
  expect((await db.query('SELECT id FROM t')).rows).toEqual([])
})

test('rows are named as the caller counts them, not as they are sent', async () => {
  const rows = Array.from({ length: 5000 }, (_, id) => ({ id, n: 1 }))
  const insert = (wrong: Record<string, unknown>): Promise<EngineError> =>
    errorOf(() => db.table('t').insert(rows.with(4500, loose({ id: 4500, ...wrong }))))
  expect((await insert({ n: null })).context).toMatchObject({ column: 'n', row: 4500 })
  expect((await insert({ n: 'x' })).context).toMatchObject({ column: 'n', row: 4500 })
  expect((await insert({ n: 1, m: 1 })).context).toMatchObject({ row: 4500 })
})

test('options of connectors that there are not', async () => {
  const source =
    "CREATE SOURCE s (id BIGINT) WITH (connector = 'nexmark', nexmark.tabel.type = 'Bid')"
  expect((await errorOf(() => db.execute(source))).context).toMatchObject({
    sqlState: '22023',
    hint: 'did you mean "nexmark.table.type"?',
  })
  const sink = "CREATE SINK k FROM t WITH (connector = 'blackhole', speed = '9')"
  expect((await errorOf(() => db.execute(sink))).context['sqlState']).toBe('22023')
})
