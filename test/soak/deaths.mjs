// Threads die while rows wait for their durability and only they ask for checkpoints. Prints how many rows there
// are at the end. Run with --import ./dying-workers.mjs.
import { BroadcastChannel } from 'node:worker_threads'
import { open } from 'tussock'

const ROUNDS = 8
const channel = new BroadcastChannel('tussock-dying-workers')
const db = await open('memory://', {
  parallelism: 2,
  checkpointIntervalMs: 0,
  barrierIntervalMs: 5,
})
await db.execute('CREATE TABLE t (id BIGINT PRIMARY KEY)')
const table = db.table('t')
for (let round = 0; round < ROUNDS; round++) {
  await table.insert([{ id: round }])
  channel.postMessage(round)
  // The death falls before, into or behind the checkpoint.
  for (let turn = 0; turn < round % 4; turn++) await db.metrics()
  await table.insert([{ id: ROUNDS + round }], { durable: true })
}
const { rows } = await db.query('SELECT count(*) AS n FROM t')
await db.close()
channel.close()
console.log(JSON.stringify({ rows: Number(rows[0].n), wanted: 2 * ROUNDS }))
