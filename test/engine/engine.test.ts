/** The public API, end to end, over real threads (from `dist`). */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Database, type DatabaseOptions, EngineError, open } from 'tussock'
import { afterEach, describe, expect, test } from 'vitest'

const cleanups: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'tussock-test-'))
  cleanups.push(() => rmSync(path, { recursive: true, force: true }))
  return path
}

async function opened(url: string, options: DatabaseOptions = {}): Promise<Database> {
  const db = await open(url, { parallelism: 2, ...options })
  cleanups.push(() => db.close())
  return db
}

const SHOP = `
  CREATE TABLE orders (id BIGINT PRIMARY KEY, customer BIGINT, amount NUMERIC, note VARCHAR);
  CREATE MATERIALIZED VIEW revenue AS
    SELECT customer, sum(amount) AS total, count(*) AS n FROM orders GROUP BY customer;`

const failure = async (work: Promise<unknown>): Promise<EngineError> => {
  try {
    await work
  } catch (error) {
    if (error instanceof EngineError) return error
    throw error
  }
  throw new EngineError('INTERNAL', 'it should have failed')
}

describe('tables and views', () => {
  test('rows inserted are seen in the view, after a restart too', async () => {
    const path = folder()
    const db = await opened(path)
    await db.execute(SHOP)
    await db.table('orders').insert([
      { id: 1n, customer: 7n, amount: '19.90' },
      { id: 2n, customer: 7n, amount: '0.10' },
      { id: 3n, customer: 8n, amount: '5' },
    ])
    await db.flush()
    const wanted = [
      { customer: 7n, total: '20.00', n: 2n },
      { customer: 8n, total: '5.00', n: 1n },
    ]
    const read = 'SELECT customer, total, n FROM revenue ORDER BY customer'
    const first = await db.query(read)
    expect(first.rows.map((row) => ({ ...row, total: Number(row['total']) }))).toEqual(
      wanted.map((row) => ({ ...row, total: Number(row.total) })),
    )
    await db.close()
    const again = await opened(path)
    expect((await again.query(read)).rows).toEqual(first.rows)
    await again.execute('INSERT INTO orders VALUES (4, 8, 1.5, NULL); FLUSH')
    const { rows } = await again.query('SELECT total FROM revenue WHERE customer = $1', [8n])
    expect(rows.map((row) => Number(row['total']))).toEqual([6.5])
  })

  test('an insert over a primary key replaces; update and delete retract', async () => {
    const db = await opened('memory://')
    await db.execute(SHOP)
    await db.execute(`INSERT INTO orders VALUES (1, 7, 10, 'a'), (2, 7, 20, 'b'), (3, 9, 1, 'c')`)
    await db.execute(`INSERT INTO orders VALUES (2, 8, 5, 'd')`)
    await db.execute(`UPDATE orders SET amount = amount + 1 WHERE customer = 7`)
    await db.execute(`DELETE FROM orders WHERE id = 3; FLUSH`)
    const { rows } = await db.query('SELECT customer, total, n FROM revenue ORDER BY 1')
    expect(rows.map((row) => [row['customer'], Number(row['total']), row['n']])).toEqual([
      [7n, 11, 1n],
      [8n, 5, 1n],
    ])
  })

  test('a view over rows that are there already begins with them', async () => {
    const db = await opened('memory://')
    await db.execute('CREATE TABLE t (id BIGINT PRIMARY KEY, v BIGINT)')
    const rows = Array.from({ length: 10_000 }, (_, i) => ({ id: BigInt(i), v: BigInt(i % 7) }))
    await db.table('t').insert(rows)
    await db.execute('CREATE MATERIALIZED VIEW s AS SELECT v, count(*) AS n FROM t GROUP BY v')
    await db.execute(
      'CREATE MATERIALIZED VIEW top AS SELECT max(n) AS most, count(*) AS groups FROM s',
    )
    await db.execute('DELETE FROM t WHERE v = 0; FLUSH')
    const { rows: found } = await db.query('SELECT most, groups FROM top')
    expect(found).toEqual([{ most: 1429n, groups: 6n }])
  })

  test('a join of two tables follows both sides', async () => {
    const db = await opened('memory://')
    await db.execute(`
      CREATE TABLE a (id BIGINT PRIMARY KEY, k BIGINT);
      CREATE TABLE b (id BIGINT PRIMARY KEY, k BIGINT, name VARCHAR);
      CREATE MATERIALIZED VIEW j AS SELECT a.id AS a, b.id AS b, b.name FROM a JOIN b ON a.k = b.k;
      INSERT INTO a VALUES (1, 1), (2, 1), (3, 2), (4, NULL);
      INSERT INTO b VALUES (1, 1, 'x'), (2, 2, 'y'), (3, NULL, 'z');
      FLUSH`)
    const read = async (): Promise<unknown[]> =>
      (await db.query('SELECT a, b, name FROM j ORDER BY a, b')).rows.map((row) =>
        Object.values(row),
      )
    expect(await read()).toEqual([
      [1n, 1n, 'x'],
      [2n, 1n, 'x'],
      [3n, 2n, 'y'],
    ])
    await db.execute(`UPDATE b SET k = 1 WHERE id = 2; DELETE FROM a WHERE id = 1; FLUSH`)
    expect(await read()).toEqual([
      [2n, 1n, 'x'],
      [2n, 2n, 'y'],
    ])
  })

  test('drop ends jobs and frees the name', async () => {
    const db = await opened('memory://')
    await db.execute(SHOP)
    const error = await failure(db.execute('DROP TABLE orders'))
    expect([error.code, error.context['sqlState']]).toEqual(['SQL_DEPENDENCY', '2BP01'])
    await db.execute('DROP MATERIALIZED VIEW revenue; DROP TABLE orders')
    await db.execute(SHOP)
    expect((await db.query('SELECT * FROM revenue')).rows).toEqual([])
  })
})

describe('reading', () => {
  test('a snapshot keeps its epoch', async () => {
    const db = await opened('memory://')
    await db.execute('CREATE TABLE t (id BIGINT PRIMARY KEY); INSERT INTO t VALUES (1); FLUSH')
    const snapshot = await db.snapshot()
    await db.execute('INSERT INTO t VALUES (2); DELETE FROM t WHERE id = 1; FLUSH')
    expect((await snapshot.query('SELECT id FROM t')).rows).toEqual([{ id: 1n }])
    expect((await db.query('SELECT id FROM t')).rows).toEqual([{ id: 2n }])
    await snapshot.release()
    expect((await failure(snapshot.query('SELECT id FROM t'))).code).toBe('SNAPSHOT_EXPIRED')
  })

  test('latest sees what is not committed yet', async () => {
    const db = await opened('memory://', { checkpointIntervalMs: 0, barrierIntervalMs: 10 })
    await db.execute('CREATE TABLE t (id BIGINT PRIMARY KEY)')
    await db.table('t').insert([{ id: 5n }])
    const deadline = performance.now() + 10_000
    for (;;) {
      const { rows } = await db.query('SELECT id FROM t', [], { visibility: 'latest' })
      if (rows.length > 0) break
      expect(performance.now()).toBeLessThan(deadline)
    }
    expect((await db.query('SELECT id FROM t')).rows).toEqual([])
  })

  test('a subscriber gets the changes of each epoch from now on', async () => {
    const db = await opened('memory://')
    await db.execute(SHOP)
    await db.execute('INSERT INTO orders VALUES (1, 7, 10, NULL); FLUSH')
    const changes = db.subscribe('revenue')
    const next = changes.next()
    // The subscription begins with the epoch after the one that is open now.
    await db.flush()
    await db.execute('INSERT INTO orders VALUES (2, 7, 5, NULL); FLUSH')
    const { value } = await next
    expect(value?.changes.map((change) => [change.op, Number(change.row['total'])])).toEqual([
      ['update_delete', 10],
      ['update_insert', 15],
    ])
    await changes.return()
  })

  test('many rows, ordered and cut', async () => {
    const db = await opened('memory://')
    await db.execute('CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR)')
    const rows = Array.from({ length: 20_000 }, (_, i) => ({ id: BigInt(i), v: `v${i % 100}` }))
    await db.table('t').insert(rows, { durable: true })
    const { rows: found } = await db.query(
      `SELECT v, count(*) AS n FROM t WHERE id >= 10000 GROUP BY v ORDER BY v DESC LIMIT 2`,
    )
    expect(found).toEqual([
      { v: 'v99', n: 100n },
      { v: 'v98', n: 100n },
    ])
  })
})

describe('readers', () => {
  test('a reader follows what the writer commits, without fencing it', async () => {
    const path = folder()
    const writer = await opened(path)
    await writer.execute(SHOP)
    await writer.execute(`INSERT INTO orders VALUES (1, 7, 10, 'a'); FLUSH`)
    const reader = await opened(path, { mode: 'reader' })
    const count = async (): Promise<unknown> =>
      (await reader.query('SELECT count(*) AS n FROM orders')).rows[0]['n']
    expect(await count()).toBe(1n)
    const snapshot = await reader.snapshot()
    await writer.execute(`INSERT INTO orders VALUES (2, 7, 10, 'a'); FLUSH`)
    expect(await count()).toBe(2n)
    expect((await snapshot.query('SELECT count(*) AS n FROM orders')).rows).toEqual([{ n: 1n }])
    const error = await failure(reader.execute('INSERT INTO orders VALUES (3, 1, 1, NULL)'))
    expect(error.kind).toBe('invalid')
    expect((await failure(reader.flush())).code).toBe('READ_ONLY')
  })

  test('a reader of nothing says so', async () => {
    const error = await failure(open(folder(), { mode: 'reader' }))
    expect(error.code).toBe('STORE_NOT_FOUND')
  })
})

describe('faults', () => {
  test.each([
    ['SELEC 1', 'SQL_SYNTAX', '42601'],
    ['SELECT * FROM nowhere', 'SQL_UNDEFINED_TABLE', '42P01'],
    ['SELECT nothing FROM orders', 'SQL_UNDEFINED_COLUMN', '42703'],
    ['SELECT amount + note FROM orders', undefined, undefined],
    ['CREATE TABLE orders (id BIGINT)', 'SQL_DUPLICATE', '42P07'],
    ['SELECT * FROM orders LEFT JOIN orders o ON true', 'SQL_UNSUPPORTED', '0A000'],
  ])('%s', async (sql, code, sqlState) => {
    const db = await opened('memory://')
    await db.execute(SHOP)
    const error = await failure(db.execute(sql))
    expect(error.kind).toBe('invalid')
    if (code !== undefined)
      expect([error.code, error.context['sqlState']]).toEqual([code, sqlState])
    expect((await db.query('SELECT count(*) AS n FROM orders')).rows).toEqual([{ n: 0n }])
  })

  test('a wrong value names its row and column, and nothing of the batch is inserted', async () => {
    const db = await opened('memory://')
    await db.execute(SHOP)
    const error = await failure(
      db.table('orders').insert([
        { id: 1n, amount: '1' },
        { id: 2n, amount: 'many' },
      ]),
    )
    expect(error.code).toBe('VALUE_INVALID')
    expect(error.context).toMatchObject({ column: 'amount', row: 1 })
    await db.flush()
    expect((await db.query('SELECT * FROM orders')).rows).toEqual([])
  })

  test('a second opener fences the first', async () => {
    const path = folder()
    const first = await opened(path)
    await first.execute('CREATE TABLE t (id BIGINT PRIMARY KEY); INSERT INTO t VALUES (1); FLUSH')
    const second = await opened(path)
    expect((await second.query('SELECT id FROM t')).rows).toEqual([{ id: 1n }])
    await second.execute('INSERT INTO t VALUES (2); FLUSH')
    const error = await failure(first.execute('INSERT INTO t VALUES (3); FLUSH'))
    expect([error.code, error.kind]).toEqual(['FENCED', 'conflict'])
    expect((await second.query('SELECT id FROM t ORDER BY id')).rows).toEqual([
      { id: 1n },
      { id: 2n },
    ])
  })

  test('an expression that fails stops the pipeline with its cause, after tries', async () => {
    const db = await opened('memory://')
    await db.execute(`CREATE TABLE t (id BIGINT PRIMARY KEY, d BIGINT);
      CREATE MATERIALIZED VIEW v AS SELECT id, 10 / d AS q FROM t`)
    const error = await failure(db.execute('INSERT INTO t VALUES (1, 0); FLUSH'))
    expect(error.code).toBe('PIPELINE_FAILED')
    expect((error.cause as EngineError).code).toBe('DIVISION_BY_ZERO')
  }, 30_000)

  test('close leaves nothing, and calls after it say so', async () => {
    // The test runner has timers of its own.
    const handles = (): string[] =>
      process
        .getActiveResourcesInfo()
        .filter((name) => name !== 'Timeout')
        .sort()
    const before = handles()
    const db = await open('memory://', { parallelism: 2 })
    await db.execute('CREATE TABLE t (id BIGINT PRIMARY KEY)')
    await db.close()
    await db.close()
    expect((await failure(db.query('SELECT 1'))).code).toBe('CLOSED')
    expect(handles()).toEqual(before)
  })
})
