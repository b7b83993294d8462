// A process that runs q3 and q5w until their source ends, saying on stdout what it knows; its parent kills it.
// Beside them it inserts rows into a table and says which of them were acknowledged as durable.
// usage: node pipeline-child.mjs <store> <events> <eventsPerSecond>
import { createHash } from 'node:crypto'
import { open } from 'tussock'

const [store, events, eventsPerSecond] = process.argv.slice(2)
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))
const source = (table, columns) => `CREATE SOURCE ${table} (${columns}) WITH (connector = 'nexmark',
  nexmark.table.type = '${table}', nexmark.event.num = '${events}', nexmark.seed = '42',
  nexmark.min.event.gap.in.ns = '${Math.round(1e9 / Number(eventsPerSecond))}');`
const pipeline = `
  CREATE TABLE mark (id BIGINT PRIMARY KEY);
  CREATE MATERIALIZED VIEW marked AS SELECT count(*) AS n, sum(id) AS total FROM mark;
  ${source('person', 'id BIGINT, name VARCHAR, city VARCHAR, state VARCHAR')}
  ${source('auction', 'id BIGINT, seller BIGINT, category BIGINT')}
  ${source('bid', 'auction BIGINT, date_time TIMESTAMP')}
  CREATE MATERIALIZED VIEW q3 AS SELECT P.name, P.city, P.state, A.id FROM auction AS A
    INNER JOIN person AS P ON A.seller = P.id WHERE A.category = 10 AND P.state IN ('OR', 'ID', 'CA');
  CREATE MATERIALIZED VIEW q5w AS SELECT auction, window_start, count(*) AS n
    FROM TUMBLE(bid, date_time, INTERVAL '10' SECOND) GROUP BY auction, window_start;`

const hash = (rows) => {
  const digest = createHash('sha256')
  for (const line of rows.map((row) => JSON.stringify(row)).sort()) digest.update(`${line}\n`)
  return digest.digest('hex').slice(0, 16)
}
const total = (offsets) => Object.values(offsets).reduce((sum, { events: at }) => sum + at, 0)

const fail = (error) => {
  say({ kind: 'error', code: error.code ?? 'none', message: error.stack })
  process.exitCode = 1
}
// An opening that fails, too.
process.on('uncaughtException', (error) => {
  fail(error)
  process.exit()
})
const db = await open(store, {
  parallelism: 2,
  checkpointIntervalMs: 500,
  barrierIntervalMs: 50,
  onEvent: ({ kind, error }) => {
    if (error !== undefined) say({ kind, code: error.code, cause: error.cause?.code ?? null })
    else if (kind === 'recovered') say({ kind })
  },
})
const { committedEpoch, generation, committedOffsets } = await db.metrics()
say({ kind: 'opened', committedEpoch, generation, resumed: total(committedOffsets) })
let finished = false
process.on('SIGTERM', async () => {
  finished = true
  const asked = performance.now()
  await db.close()
  say({ kind: 'terminated', milliseconds: Math.round(performance.now() - asked) })
})
/** What a recovery interrupts is told to try again. */
async function again(step) {
  for (;;) {
    try {
      return await step()
    } catch (error) {
      if (error.code !== 'RECOVERING') throw error
    }
  }
}

async function report() {
  while (!finished) {
    const metrics = await db.metrics()
    const { sourceEvents, checkpoints } = metrics
    say({ kind: 'events', sourceEvents, checkpointMs: checkpoints.checkpointMsP99 })
    await pause(20)
  }
}
async function flush() {
  while (!finished) {
    say({ kind: 'acknowledged', epoch: await again(() => db.flush()) })
    await pause(300)
  }
}
async function mark() {
  const { rows } = await db.query('SELECT max(id) AS last FROM mark')
  for (let id = Number(rows[0].last ?? 0) + 1; !finished; id++) {
    const durable = id % 4 === 0
    await db.table('mark').insert([{ id: BigInt(id) }], { durable })
    say({ kind: 'marked', id, durable })
    await pause(50)
  }
}
async function result() {
  const q3 = (await db.query('SELECT name, city, state, id FROM q3')).rows
  const q5w = (await db.query('SELECT auction, window_start, n FROM q5w')).rows
  const marks = (await db.query('SELECT id FROM mark ORDER BY id')).rows
  const [marked] = (await db.query('SELECT n, total FROM marked')).rows
  say({
    kind: 'result',
    q3: hash(q3.map((row) => [row.name, row.city, row.state, Number(row.id)])),
    q5w: hash(q5w.map((row) => [Number(row.auction), row.window_start.getTime(), Number(row.n)])),
    rows: [q3.length, q5w.length],
    marks: marks.length,
    marksInOrder: marks.every(({ id }, index) => Number(id) === index + 1),
    marked: [Number(marked.n), Number(marked.total)],
  })
}

try {
  await again(() => db.run(pipeline))
  say({ kind: 'running' })
  const working = Promise.all([report(), flush(), mark()])
  // Whichever fails first is what went wrong; the others then only learn that the database is closed.
  await Promise.race([db.exhausted(), working])
  const stopped = finished
  finished = true
  await working
  if (!stopped) {
    await db.flush()
    await result()
  }
} catch (error) {
  if (error.code !== 'CLOSED') fail(error)
}
finished = true
await db.close().catch((error) => {
  if (process.exitCode !== 1) throw error
})
