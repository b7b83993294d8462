/**
 * Random histories on the simulated engine: tables and views that come and go, rows that change, workers and whole
 * processes that die at any moment, slow commits. A model beside it knows what was accepted; every snapshot is
 * consistent in itself, and after a flush it is the model.
 */
import { isDeepStrictEqual } from 'node:util'
import { beforeAll, expect, test } from 'vitest'
import { decodeChunk } from '../../src/actors/chunk-codec.ts'
import { EngineError } from '../../src/common/errors.ts'
import type { ChangeBatch, Subscription } from '../../src/runtime/change-feed.ts'
import { loadParser } from '../../src/sql/parser.ts'
import { INSERT } from '../../src/stream/chunk.ts'
import { Dice } from '../actors/simulation.ts'
import { World } from '../storage/store-fixture.ts'
import { endOf } from './fake-workers.ts'
import { rowsOf, SimulatedEngine } from './simulated-engine.ts'

const SEEDS = Number(process.env['TUSSOCK_SEEDS'] ?? 12)
const FIRST_SEED = Number(process.env['TUSSOCK_SEED'] ?? 1)
const KEYS = 12

/** Views, and what they hold for given rows. */
const VIEWS: Readonly<
  Record<string, { readonly sql: string; readonly of: (model: Model) => string[] }>
> = {
  sums: {
    sql: 'SELECT g, count(*) AS n, sum(v) AS s, max(v) AS most FROM t GROUP BY g',
    of: ({ t }) => {
      const groups = new Map<number, number[]>()
      for (const { g, v } of t.values()) groups.set(g, [...(groups.get(g) ?? []), v])
      return [...groups].map(([g, values]) => {
        const sum = values.reduce((total, value) => total + value, 0)
        return `${g} ${values.length} ${sum} ${Math.max(...values)}`
      })
    },
  },
  pairs: {
    sql: 'SELECT t.id, u.n, u.w FROM t JOIN u ON t.g = u.g',
    of: ({ t, u }) =>
      [...t].flatMap(([id, { g }]) =>
        u.filter((row) => row.g === g).map((row) => `${id} ${row.n} ${row.w}`),
      ),
  },
  total: {
    sql: 'SELECT count(*) AS n, sum(w) AS s FROM u',
    of: ({ u }) => [
      `${u.length} ${u.length === 0 ? 'null' : u.reduce((sum, row) => sum + row.w, 0)}`,
    ],
  },
}

/** `t` has a primary key, `u` has none. */
interface Model {
  readonly t: Map<number, { g: number; v: number }>
  u: { g: number; w: number; n: number }[]
}

const copyOf = ({ t, u }: Model): Model => ({ t: new Map(t), u: [...u] })
const sorted = (model: Model): unknown => ({
  t: [...model.t].sort(([a], [b]) => a - b),
  u: model.u.toSorted((a, b) => a.n - b.n),
})

/** What a subscriber knows: the rows when it began, and all changes since. */
class Follower {
  readonly name: string
  isOver = false
  readonly reading: Promise<void>
  private readonly counts = new Map<string, number>()
  private readonly batches: ChangeBatch[] = []

  constructor(name: string, base: readonly string[], subscription: Subscription, after: number) {
    this.name = name
    for (const row of base) this.add(row, 1)
    this.reading = this.read(subscription, after).catch((error: unknown) => {
      this.isOver = error instanceof EngineError && error.code === 'CLOSED'
      if (!this.isOver) throw error
    })
  }

  private async read(subscription: Subscription, after: number): Promise<void> {
    let last = 0
    for (;;) {
      const batch = await subscription.next()
      if (batch === null) break
      expect(batch.epoch).toBeGreaterThan(last)
      last = batch.epoch
      if (batch.epoch > after) this.batches.push(batch)
    }
    this.isOver = true
  }

  /** The rows as of an epoch that all changes up to have been told of. */
  rows(epoch: number): string[] {
    while (this.batches.length > 0 && this.batches[0].epoch <= epoch) {
      for (const bytes of this.batches.shift()!.chunks) {
        const chunk = decodeChunk(bytes, 0)
        const rows = rowsOf([chunk])
        for (let row = 0; row < chunk.rowCount; row++) {
          if (chunk.visible?.[row] === 0) continue
          this.add(rows[row], ((chunk.ops?.[row] ?? INSERT) & 1) === 1 ? -1 : 1)
        }
      }
    }
    return [...this.counts].flatMap(([row, count]) => Array<string>(count).fill(row)).sort()
  }

  private add(row: string, sign: number): void {
    const count = (this.counts.get(row) ?? 0) + sign
    if (count === 0) this.counts.delete(row)
    else this.counts.set(row, count)
  }
}

const EVENTS = 400
const SOURCE = `CREATE SOURCE bid (auction BIGINT, price BIGINT) WITH (connector = 'nexmark',
  nexmark.table.type = 'bid', nexmark.event.num = '${EVENTS}', nexmark.split.num = '3',
  nexmark.min.event.gap.in.ns = '1000000')`
const BIDS = `CREATE MATERIALIZED VIEW bids AS
  SELECT auction, count(*) AS n, sum(price) AS s FROM bid GROUP BY auction`

/** The view of the source when nothing goes wrong. */
let wantedBids: string[] = []
beforeAll(async () => {
  await loadParser()
  const engine = await SimulatedEngine.open(new World(), {
    seed: 1,
    parallelism: 1,
    stateCacheBytes: 100_000,
  })
  for (const sql of [SOURCE, BIDS]) await engine.until(engine.execute(sql))
  wantedBids = await bidsOf(engine)
})

async function bidsOf(engine: SimulatedEngine): Promise<string[]> {
  for (let turn = 0; !engine.coordinator.exhausted; turn++) {
    if (turn > 50_000) throw new RangeError('the source never ended')
    await engine.turn()
  }
  const view = engine.committed()
  const rows = await engine.until(engine.rows('bids', view))
  view.release()
  return rows
}

class History {
  readonly seed: number
  private readonly dice: Dice
  private readonly world = new World()
  private engine!: SimulatedEngine
  private model: Model = { t: new Map(), u: [] }
  /** What a crash may go back to: the model after each change since the last one known to be durable. */
  private past: Model[] = []
  private follower: Follower | null = null
  private readonly views = new Set<string>()
  private next = 1
  private durable: Promise<unknown>[] = []
  /** Changes that were accepted, and the newest of them that was said to be durable. */
  private count = 0
  private acknowledged = 0
  readonly log: string[] = []

  constructor(seed: number) {
    this.seed = seed
    this.dice = new Dice(seed * 7919)
  }

  async run(): Promise<void> {
    await this.open()
    await this.retried('CREATE TABLE t (id BIGINT PRIMARY KEY, g BIGINT, v BIGINT)')
    await this.retried('CREATE TABLE u (g BIGINT, w BIGINT, n BIGINT)')
    for (const sql of [SOURCE, BIDS]) await this.retried(sql)
    for (let step = 0; step < 60; step++) await this.step()
    await this.flush()
    expect(await bidsOf(this.engine)).toEqual(wantedBids)
    await this.engine.until(this.engine.coordinator.close(1e9))
    await this.engine.until(this.engine.store.close())
  }

  private async open(): Promise<void> {
    this.engine = await SimulatedEngine.open(this.world, {
      seed: this.seed * 31 + this.next,
      parallelism: 1 + this.dice.next(3),
      stateCacheBytes: this.dice.next(2) === 0 ? 2000 : 100_000,
    })
  }

  private async step(): Promise<void> {
    const kind = this.dice.next(21)
    if (kind === 20) return await this.follow()
    if (kind < 10) await this.change()
    else if (kind < 12) await this.toggleView()
    else if (kind < 14) await this.check()
    else if (kind < 16) await this.flush()
    else if (kind < 18) {
      this.log.push('kill')
      this.engine.killWithin(40)
    } else if (kind < 19) await Promise.all([this.toggleView(), this.change()])
    else await this.restart()
  }

  private async follow(): Promise<void> {
    const { engine } = this
    const names = ['t', 'u', 'bids', ...this.views]
    const name = names[this.dice.next(names.length)]
    this.log.push(`follow ${name}`)
    const subscription = await engine.until(engine.subscribe(name))
    await engine.until(engine.coordinator.flush())
    const view = engine.committed()
    const base = await engine.until(engine.rows(name, view))
    view.release()
    this.follower = new Follower(name, base, subscription, view.epoch)
  }

  private async change(): Promise<void> {
    const id = this.dice.next(KEYS)
    const g = this.dice.next(3)
    const v = this.dice.next(100)
    const n = this.next++
    this.past.push(copyOf(this.model))
    const { t } = this.model
    switch (this.dice.next(7)) {
      case 0:
      case 1:
        await this.changed(`INSERT INTO t VALUES (${id}, ${g}, ${v})`)
        t.set(id, { g, v })
        return
      case 2:
      case 3:
        await this.changed(`INSERT INTO u VALUES (${g}, ${v}, ${n})`)
        this.model.u.push({ g, w: v, n })
        return
      case 4:
        await this.changed(`UPDATE t SET v = v + 1, g = ${g} WHERE id < ${id}`)
        for (const [key, row] of t) if (key < id) t.set(key, { g, v: row.v + 1 })
        return
      case 5:
        await this.changed(`DELETE FROM u WHERE w < ${v} AND g = ${g}`)
        this.model.u = this.model.u.filter((row) => row.w >= v || row.g !== g)
        return
      default:
        await this.changed(`UPDATE u SET w = w + 1 WHERE g = ${g}`)
        this.model.u = this.model.u.map((row) => (row.g === g ? { ...row, w: row.w + 1 } : row))
    }
  }

  private async changed(sql: string): Promise<void> {
    this.log.push(sql)
    const { durable } = await this.engine.until(this.engine.change(sql))
    this.count++
    if (durable === null) return
    this.durable.push(durable)
    const number = this.count
    const note = (): void => {
      if (number > this.acknowledged) this.acknowledged = number
    }
    durable.then(note, () => undefined)
  }

  private async toggleView(): Promise<void> {
    const names = Object.keys(VIEWS)
    const name = names[this.dice.next(names.length)]
    if (this.views.delete(name)) await this.retried(`DROP MATERIALIZED VIEW ${name}`)
    else {
      await this.retried(`CREATE MATERIALIZED VIEW ${name} AS ${VIEWS[name].sql}`)
      this.views.add(name)
    }
  }

  /** DDL that a recovery took back is run again. */
  private async retried(sql: string): Promise<void> {
    for (;;) {
      this.log.push(sql)
      try {
        return await this.engine.until(this.engine.execute(sql))
      } catch (error) {
        if (!(error instanceof EngineError) || error.code !== 'RECOVERING') throw error
      }
    }
  }

  /** The views of one snapshot follow from its tables. */
  private async check(): Promise<void> {
    this.log.push('check')
    const { engine } = this
    const view = this.dice.next(2) === 0 ? engine.committed() : engine.latest()
    try {
      await this.expectViews(view, await this.modelOf(view))
    } finally {
      view.release()
    }
  }

  private async modelOf(view: ReturnType<SimulatedEngine['committed']>): Promise<Model> {
    const numbers = async (sql: string): Promise<number[][]> =>
      (await this.engine.until(this.engine.query(sql, view))).map((row) =>
        row.split(' ').map(Number),
      )
    const t = new Map<number, { g: number; v: number }>()
    for (const [id, g, v] of await numbers('SELECT id, g, v FROM t')) t.set(id, { g, v })
    const u = (await numbers('SELECT g, w, n FROM u')).map(([g, w, n]) => ({ g, w, n }))
    return { t, u }
  }

  private async expectViews(
    view: ReturnType<SimulatedEngine['committed']>,
    model: Model,
  ): Promise<void> {
    for (const name of this.views) {
      const columns = { sums: 'g, n, s, most', pairs: 'id, n, w', total: 'n, s' }[name]
      const found = await this.engine.until(
        this.engine.query(`SELECT ${columns} FROM ${name}`, view),
      )
      expect({ name, rows: found }).toEqual({ name, rows: VIEWS[name].of(model).sort() })
    }
  }

  private async flush(): Promise<void> {
    this.log.push('flush')
    const { engine } = this
    await engine.until(engine.coordinator.flush())
    await engine.until(Promise.all(this.durable))
    this.durable = []
    this.past = []
    const view = engine.committed()
    try {
      const found = await this.modelOf(view)
      expect(sorted(found)).toEqual(sorted(this.model))
      await this.expectViews(view, this.model)
      const { follower } = this
      if (follower !== null && !follower.isOver) {
        const rows = await engine.until(engine.rows(follower.name, view))
        expect(follower.rows(view.epoch)).toEqual(rows)
      }
    } finally {
      view.release()
    }
  }

  /** Statements of all kinds at once; resolves when all have ended, as they may when the database closes. */
  private async busy(): Promise<void> {
    const { engine } = this
    const { coordinator } = engine
    const ends: (string | Promise<string>)[] = [
      endOf(coordinator.flush()),
      endOf(coordinator.settle()),
      endOf(engine.subscribe('t').then((subscription) => subscription.next())),
      endOf(engine.execute('CREATE TABLE other (a BIGINT)')),
      endOf(engine.execute('DROP TABLE other')),
    ]
    for (let id = 0; id < 3; id++) {
      const end = await endOf(engine.change(`INSERT INTO t VALUES (${id}, 1, 1)`))
      ends.push(end)
      if (end === 'done') this.model.t.set(id, { g: 1, v: 1 })
    }
    for (const end of await Promise.all(ends)) {
      expect(['done', 'CLOSED', 'RECOVERING', 'SQL_UNDEFINED_TABLE', 'SQL_DUPLICATE']).toContain(
        end,
      )
    }
  }

  /** A clean end, or the process is gone: then what was not said to be durable may be gone, too, from some point on. */
  private async restart(): Promise<void> {
    const { engine } = this
    const closes = this.dice.next(2) === 0
    if (closes) {
      this.log.push('close')
      const busy = this.busy()
      for (let turn = this.dice.next(20); turn > 0; turn--) await engine.turn()
      await engine.until(engine.coordinator.close(1e9))
      await engine.until(busy)
      await engine.until(engine.store.close())
    } else {
      this.log.push('crash')
      engine.crash()
    }
    this.durable = []
    this.follower = null
    const lostMax = closes ? 0 : Math.min(this.count - this.acknowledged, this.past.length)
    const possible = [...this.past, this.model].slice(this.past.length - lostMax)
    this.past = []
    await this.open()
    const view = this.engine.committed()
    const found = sorted(await this.modelOf(view))
    view.release()
    const match = possible.findLast((model) => isDeepStrictEqual(sorted(model), found))
    if (match === undefined) expect(found).toEqual(sorted(this.model))
    else this.model = copyOf(match)
    this.acknowledged = this.count
  }
}

const seeds = Array.from({ length: SEEDS }, (_, index) => FIRST_SEED + index)
test.each(seeds)('seed %i', async (seed) => {
  const history = new History(seed)
  try {
    await history.run()
  } catch (error) {
    console.log(`seed ${seed}:\n${history.log.join('\n')}`)
    throw error
  }
})
