// A process that runs q3 and q5w until their source ends, saying on stdout what it knows; its parent kills it.
// usage: node pipeline-child.mjs <store> <events> <eventsPerSecond>
import { createHash } from 'node:crypto'
import { open } from 'tussock'

const [store, events, eventsPerSecond] = process.argv.slice(2)
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)
const source = (table, columns) => `CREATE SOURCE ${table} (${columns}) WITH (connector = 'nexmark',
  nexmark.table.type = '${table}', nexmark.event.num = '${events}', nexmark.seed = '42',
  nexmark.min.event.gap.in.ns = '${Math.round(1e9 / Number(eventsPerSecond))}');`
const pipeline = `
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

const db = await open(store, { parallelism: 2, checkpointIntervalMs: 500, barrierIntervalMs: 50 })
const first = await db.metrics()
const resumed = Object.values(first.committedOffsets).reduce((sum, { events: at }) => sum + at, 0)
say({ kind: 'opened', committedEpoch: first.committedEpoch, generation: first.generation, resumed })
process.on('SIGTERM', async () => {
  const asked = performance.now()
  await db.close()
  say({ kind: 'terminated', milliseconds: performance.now() - asked })
  process.exit(0)
})
let finished = false
await db.run(pipeline)
say({ kind: 'running', committedEpoch: (await db.metrics()).committedEpoch })

async function report() {
  while (!finished) {
    const { sourceEvents, committedEpoch } = await db.metrics()
    say({ kind: 'events', sourceEvents, committedEpoch })
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
async function flush() {
  while (!finished) {
    say({ kind: 'acknowledged', epoch: await db.flush() })
    await new Promise((resolve) => setTimeout(resolve, 300))
  }
}
const reporting = Promise.all([report(), flush()])
await db.exhausted()
finished = true
await reporting
const q3 = (await db.query('SELECT name, city, state, id FROM q3')).rows
const q5w = (await db.query('SELECT auction, window_start, n FROM q5w')).rows
say({
  kind: 'result',
  q3: hash(q3.map((row) => [row.name, row.city, row.state, Number(row.id)])),
  q5w: hash(q5w.map((row) => [Number(row.auction), row.window_start.getTime(), Number(row.n)])),
  rows: [q3.length, q5w.length],
})
await db.close()
