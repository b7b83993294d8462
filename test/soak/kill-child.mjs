// One life of a workload that is killed: opens the store, finds out how far the lives before came, checks that
// this is a whole prefix of the statements and not less than was acknowledged, and goes on.
// usage: node kill-child.mjs store seed steps acknowledged optionsSeed. Prints JSON lines.
import { canonicalRows, canonicalTuples, difference } from './compare.mjs'
import { Duck } from './duck.mjs'
import { Random } from './rng.mjs'
import { Session } from './session.mjs'
import { killableSteps, randomOptions } from './workload.mjs'

const [store, seed, count, acknowledged, optionsSeed] = process.argv.slice(2)
const steps = killableSteps(Number(seed), Number(count))
const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`)
const nothing = async () => undefined
/** Takes the statements of a life before: only the mirror hears of them. */
const past = { execute: nothing, table: () => ({ insert: nothing }) }

/** The mirror after these steps. */
async function mirrorOf(made) {
  const session = new Session({ steps: [] }, store)
  session.duck = await Duck.open()
  session.db = past
  for (const step of made) if (!step.do.startsWith('flush')) await session.step(step)
  return session
}

/** What differs between the store and a mirror; null if they are equal. */
async function differenceOf(db, session) {
  const there = []
  for (const kind of ['TABLES', 'MATERIALIZED VIEWS']) {
    const [{ rows }] = await db.execute(`SHOW ${kind}`)
    there.push(...rows.map(({ name }) => name).filter((name) => name !== 'progress'))
  }
  const wanted = [...session.tables.keys(), ...session.views.keys()]
  const names = difference(there, wanted)
  if (names !== null) return `tables and views\n${names}`
  for (const { name, columns } of [...session.tables.values(), ...session.views.values()]) {
    const { rows } = await db.query(`SELECT * FROM ${name}`)
    const mirror = canonicalTuples(await session.duck.rows(`SELECT * FROM ${name}`), columns)
    const found = difference(canonicalRows(rows, columns), mirror)
    if (found !== null) return `${name}\n${found}`
  }
  return null
}

const live = new Session({ steps: [] }, store)
await live.openAgain(randomOptions(new Random(Number(optionsSeed))))
const { db } = live
say({ kind: 'opened' })
await db.run('CREATE TABLE progress (i BIGINT PRIMARY KEY)')
const [{ n }] = (await db.query('SELECT max(i) AS n FROM progress')).rows
const marked = n === null ? -1 : Number(n)
let session = null
const found = []
// The last statement may be there without its mark, and some change nothing.
for (const last of [Math.min(marked + 1, steps.length - 1), marked]) {
  const candidate = await mirrorOf(steps.slice(0, last + 1))
  const wrong = await differenceOf(db, candidate)
  if (wrong === null) {
    candidate.at = last
    session = candidate
    break
  }
  found.push(`after step ${last}: ${wrong}`)
  candidate.duck.close()
}
if (session === null)
  throw new Error(`the store is no prefix of the statements\n${found.join('\n')}`)
if (session.at < Number(acknowledged)) {
  throw new Error(`step ${acknowledged} was acknowledged, the store has ${session.at}`)
}
session.db = db
session.events = live.events
if (session.at > marked) await db.table('progress').insert([{ i: session.at }])
await session.check()
say({ kind: 'running', at: session.at, tables: session.tables.size, views: session.views.size })
for (let at = session.at + 1; at < steps.length; at++) {
  const step = steps[at]
  await session.step(step)
  session.lookAtEvents()
  const durable = !['insert', 'update', 'delete'].includes(step.do) || step.how === 'durable'
  if (durable) say({ kind: 'acknowledged', at })
  await db.table('progress').insert([{ i: at }])
}
await session.check()
await db.close()
session.duck.close()
say({ kind: 'done', checks: session.checks })
