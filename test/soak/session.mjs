// Runs a workload against tussock and against the mirror, and compares after each flush: every view equals the
// same SELECT as a batch query over its inputs at the same snapshot, and the mirror's view.
import { BroadcastChannel } from 'node:worker_threads'
import { open } from 'tussock'
import { canonicalRows, canonicalTuples, difference } from './compare.mjs'
import { Duck, literal } from './duck.mjs'

const DEATHS = new BroadcastChannel('tussock-dying-workers')
DEATHS.unref?.()
const STEP_MS = 60_000
const CATCH_UP_MS = 10_000

/** What a workload found: `where` is the step's number. */
export class Finding extends Error {
  constructor(message, where, cause) {
    super(message, { cause })
    this.where = where
  }
}

async function within(milliseconds, what, work) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} takes too long: it hangs`)), milliseconds)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

/** A subscriber with the rows it has put together from a state and the changes after it. */
class Follower {
  constructor(db, relation) {
    this.relation = relation
    this.sets = []
    this.failure = null
    this.ended = false
    this.counts = null
    this.generator = db.subscribe(relation.name)
    this.reading = this.read()
  }

  async read() {
    try {
      for await (const set of this.generator) {
        this.sets.push(set)
        if (this.counts !== null) this.apply()
      }
    } catch (error) {
      this.failure = error
    }
    this.ended = true
  }

  /** Begins with these rows; changes up to their epoch are in them. */
  start(rows, epoch) {
    this.counts = new Map()
    this.from = epoch
    for (const row of rows) this.counts.set(row, (this.counts.get(row) ?? 0) + 1)
    this.apply()
  }

  apply() {
    const { columns } = this.relation
    for (const { epoch, changes } of this.sets.splice(0)) {
      if (epoch <= this.from) continue
      this.from = epoch
      const rows = canonicalRows(
        changes.map(({ row }) => row),
        columns,
      )
      rows.forEach((row, index) => {
        const step = changes[index].op.endsWith('insert') ? 1 : -1
        this.counts.set(row, (this.counts.get(row) ?? 0) + step)
      })
      // Within an epoch rows may come and go in any order; at its end none can be there less than never.
      for (const row of rows) {
        const count = this.counts.get(row)
        if (count === 0) this.counts.delete(row)
        else if (count < 0 && this.failure === null) {
          this.failure = new Error(`epoch ${epoch} takes away a row that is not there: ${row}`)
        }
      }
    }
  }

  rows() {
    return [...this.counts].flatMap(([row, count]) => Array(Math.max(count, 0)).fill(row))
  }
}

export class Session {
  /**
   * @param store URL, a directory if the workload opens it again.
   * @param tell Called with each statement, for the script that is printed.
   */
  constructor(workload, store, tell = () => undefined) {
    this.workload = workload
    this.store = store
    this.tell = tell
    this.tables = new Map()
    this.views = new Map()
    this.held = new Map()
    this.followers = []
    this.events = []
    this.at = -1
    this.checks = 0
    this.deaths = false
  }

  async run() {
    this.duck = await Duck.open()
    try {
      await this.openAgain(this.workload.options)
      for (const [index, step] of this.workload.steps.entries()) {
        this.at = index
        await within(STEP_MS, step.do, this.step(step))
        this.lookAtEvents()
      }
      await this.endFollowers()
      await within(STEP_MS, 'close', this.db.close())
    } catch (error) {
      throw new Finding(error.message, this.at, error)
    } finally {
      await this.db?.close().catch(() => undefined)
      this.duck.close()
    }
  }

  lookAtEvents() {
    const bad = this.events.find(
      ({ kind }) => kind === 'failed' || (kind === 'recovering' && !this.deaths),
    )
    if (bad !== undefined) {
      throw new Error(`${bad.kind}: ${bad.error.code} ${bad.error.message}`, { cause: bad.error })
    }
  }

  async openAgain(options) {
    this.tell(`-- open ${JSON.stringify(options)}`)
    this.db = await open(this.store, { ...options, onEvent: (event) => this.events.push(event) })
  }

  relation(name) {
    return this.tables.get(name) ?? this.views.get(name)
  }

  async step(step) {
    switch (step.do) {
      case 'createTable':
        return await this.createTable(step)
      case 'createView':
        return await this.createView(step)
      case 'recreate':
        await this.drop({ kind: 'VIEW', name: step.name })
        return await this.createView(step)
      case 'drop':
        return await this.drop(step)
      case 'insert':
        return await this.insert(step)
      case 'update':
      case 'delete':
        return await this.change(step)
      case 'flush':
        return await this.check()
      case 'peek':
        return await this.peek()
      case 'flushOnly':
        await this.db.flush()
        return
      case 'together':
        await Promise.all(step.steps.map((one) => this.step(one)))
        return
      case 'hold':
        return await this.hold(step)
      case 'checkHeld':
        return await this.checkHeld(step)
      case 'subscribe':
        return await this.subscribe(step)
      case 'settle':
        return await new Promise((resolve) => setTimeout(resolve, step.milliseconds))
      case 'die':
        this.deaths = true
        this.tell('-- a thread dies')
        DEATHS.postMessage(step.which)
        return
      case 'reopen':
        return await this.reopen(step)
      default:
        throw new Error(`no step ${step.do}`)
    }
  }

  async execute(sql) {
    this.tell(`${sql};`)
    for (;;) {
      try {
        await this.db.execute(sql)
        return
      } catch (error) {
        // A statement that a recovery took back did not happen.
        if (!this.deaths || error.code !== 'RECOVERING') throw error
        this.tell('-- again')
      }
    }
  }

  async createTable(table) {
    const { name, columns, key } = table
    if (this.relation(name) !== undefined) return
    const types = { wide: 'BIGINT', double: 'DOUBLE PRECISION' }
    const fields = columns.map((column) => `${column.name} ${types[column.type] ?? column.type}`)
    if (key.length > 0) fields.push(`PRIMARY KEY (${key.join(', ')})`)
    await this.execute(`CREATE TABLE ${name} (${fields.join(', ')})`)
    await this.duck.createTable(table)
    this.tables.set(name, table)
  }

  async createView(view) {
    const { name, sql, duck, inputs } = view
    if (this.relation(name) !== undefined) return
    if (inputs.some((input) => this.relation(input) === undefined)) return
    await this.execute(`CREATE MATERIALIZED VIEW ${name} AS ${sql}`)
    await this.duck.createView(name, duck)
    this.views.set(name, view)
  }

  async drop({ kind, name }) {
    if (this.relation(name) === undefined) return
    for (const view of this.views.values()) if (view.inputs.includes(name)) return
    const followed = this.followers.filter(({ relation }) => relation.name === name)
    await this.execute(`DROP ${kind === 'VIEW' ? 'MATERIALIZED VIEW' : kind} ${name}`)
    await this.duck.drop(kind, name)
    this.tables.delete(name)
    this.views.delete(name)
    // Nobody waits for changes of what is gone.
    this.followers = this.followers.filter((follower) => !followed.includes(follower))
    for (const held of this.held.values()) held.wanted.delete(name)
  }

  async insert({ table: name, rows, how }) {
    const table = this.tables.get(name)
    if (table === undefined) return
    const { columns } = table
    const tuples = rows.map(
      (row) => `(${columns.map((column) => literal(row[column.name], column.type)).join(', ')})`,
    )
    const sql = `INSERT INTO ${name} VALUES ${tuples.join(', ')}`
    if (how === 'sql') await this.execute(sql)
    else {
      this.tell(`${sql};${how === 'durable' ? ' -- durable' : ''}`)
      await this.db.table(name).insert(rows, { durable: how === 'durable' })
    }
    await this.duck.insert(table, rows)
  }

  async change(step) {
    if (!this.tables.has(step.table)) return
    const sql =
      step.do === 'delete'
        ? `DELETE FROM ${step.table} WHERE ${step.where}`
        : `UPDATE ${step.table} SET ${step.set} WHERE ${step.where}`
    await this.execute(sql)
    await this.duck.run(sql)
  }

  async check() {
    this.tell('FLUSH;')
    const flushed = await this.db.flush()
    const snapshot = await this.db.snapshot()
    if (snapshot.epoch < flushed) {
      throw new Error(`a snapshot of epoch ${snapshot.epoch} after a flush of ${flushed}`)
    }
    this.checks++
    for (const relation of [...this.tables.values(), ...this.views.values()]) {
      const { name, columns, sql } = relation
      const read = async (query) => canonicalRows((await snapshot.query(query)).rows, columns)
      const rows = await read(`SELECT * FROM ${name}`)
      // The oracle that shares no code first: it says whether the other one is to be believed.
      const mirror = canonicalTuples(await this.duck.rows(`SELECT * FROM ${name}`), columns)
      this.compare(rows, mirror, `${name} and DuckDB${sql === undefined ? '' : `: ${sql}`}`)
      if (sql !== undefined) this.compare(rows, await read(sql), `${name} and its query: ${sql}`)
      const latest = await this.db.query(`SELECT * FROM ${name}`, [], { visibility: 'latest' })
      this.compare(canonicalRows(latest.rows, columns), rows, `${name} latest and committed`)
      await this.checkFollowers(name, rows)
    }
    await snapshot.release()
  }

  /** Between flushes too, every view is its query at each epoch. */
  async peek() {
    this.tell('-- a look at the newest epoch')
    const snapshot = await this.db.snapshot()
    for (const { name, columns, sql } of this.views.values()) {
      const read = async (query) => canonicalRows((await snapshot.query(query)).rows, columns)
      this.compare(
        await read(`SELECT * FROM ${name}`),
        await read(sql),
        `${name} in between: ${sql}`,
      )
    }
    await snapshot.release()
  }

  compare(got, wanted, what) {
    const found = difference(got, wanted)
    if (found !== null) throw new Error(`${what}\n${found}`)
  }

  async checkFollowers(name, rows) {
    for (const follower of this.followers) {
      if (follower.relation.name !== name) continue
      const until = performance.now() + CATCH_UP_MS
      for (;;) {
        if (follower.failure !== null) throw follower.failure
        const found = difference(follower.rows(), rows)
        if (found === null) break
        if (performance.now() > until) throw new Error(`changes of ${name} and its rows\n${found}`)
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    }
  }

  async hold({ id }) {
    this.tell('-- a snapshot is held')
    const snapshot = await this.db.snapshot()
    const wanted = new Map()
    for (const { name, columns } of [...this.tables.values(), ...this.views.values()]) {
      const { rows } = await snapshot.query(`SELECT * FROM ${name}`)
      wanted.set(name, { columns, rows: canonicalRows(rows, columns) })
    }
    this.held.set(id, { snapshot, wanted })
  }

  async checkHeld({ release }) {
    for (const [id, { snapshot, wanted }] of this.held) {
      for (const [name, { columns, rows }] of wanted) {
        const again = await snapshot.query(`SELECT * FROM ${name}`)
        this.compare(canonicalRows(again.rows, columns), rows, `${name} in a held snapshot`)
      }
      if (!release) continue
      await snapshot.release()
      this.held.delete(id)
    }
  }

  async subscribe({ name }) {
    const relation = this.relation(name)
    if (relation === undefined) return
    this.tell(`-- subscribe ${name}`)
    const follower = new Follower(this.db, relation)
    // Its changes are complete from the epoch after the one that is open now.
    await this.db.flush()
    await this.db.flush()
    const snapshot = await this.db.snapshot()
    const { rows } = await snapshot.query(`SELECT * FROM ${name}`)
    follower.start(canonicalRows(rows, relation.columns), snapshot.epoch)
    await snapshot.release()
    this.followers.push(follower)
  }

  async endFollowers() {
    for (const follower of this.followers) if (follower.failure !== null) throw follower.failure
  }

  async reopen({ options }) {
    if (this.store.startsWith('memory:')) return
    await this.endFollowers()
    await this.db.close()
    for (const follower of this.followers) {
      await within(CATCH_UP_MS, 'the end of a subscription', follower.reading)
    }
    this.followers = []
    this.held.clear()
    await this.openAgain(options)
  }
}
