/**
 * Whole plans as SQL makes them, run by the operators on one thread without channels: what the planner writes
 * into a plan is what the operators expect. Views with retractions, compared with loops over the tables' rows.
 */
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { emptyCatalog } from '../../src/sql/catalog.ts'
import { loadParser, parseScript } from '../../src/sql/parser.ts'
import { isCreate, planJob } from '../../src/sql/planner.ts'
import type { Chunk } from '../../src/stream/chunk.ts'
import type { Operator, OperatorContext, Output } from '../../src/stream/operator.ts'
import { Filter } from '../../src/stream/operators/filter.ts'
import { HashAggregate } from '../../src/stream/operators/hash-aggregate.ts'
import { HashJoin } from '../../src/stream/operators/hash-join.ts'
import { Materialize } from '../../src/stream/operators/materialize.ts'
import { Project } from '../../src/stream/operators/project.ts'
import type { ExchangePlan, FragmentPlan, JobPlan, OperatorPlan } from '../../src/stream/plan.ts'
import { FakeStore } from './fake-store.ts'
import { type Change, chunkOf, flush, push, Result, type Row, rowText } from './rows.ts'

const SCRIPT = `
  CREATE TABLE auction (id BIGINT PRIMARY KEY, category INT, note VARCHAR);
  CREATE TABLE bid (id BIGINT PRIMARY KEY, auction BIGINT, price BIGINT);
  CREATE MATERIALIZED VIEW best AS
    SELECT category, count(*) AS n, sum(final) AS total, min(final) AS low
    FROM (SELECT max(b.price) AS final, a.category FROM auction a, bid b
          WHERE a.id = b.auction AND b.price > 1 GROUP BY a.id, a.category) q
    GROUP BY category;
  CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n, max(price) AS top FROM bid;
`

type Build = (plan: OperatorPlan, context: OperatorContext) => Operator | null

const build: Build = (plan, context) => {
  switch (plan.kind) {
    case 'filter':
      return new Filter(plan, context)
    case 'project':
      return new Project(plan, context)
    case 'hash-join':
      return new HashJoin(plan, context)
    case 'hash-aggregate':
      return new HashAggregate(plan, context)
    case 'materialize':
      return new Materialize(plan, context)
    default:
      return null
  }
}

/** All fragments of some jobs, one instance each, upstream before downstream. */
class Runner {
  /** What each materialized table passed on, by table id. */
  readonly results = new Map<number, Result>()
  private readonly fragments: { plan: FragmentPlan; operators: Operator[] }[] = []
  private readonly exchanges: ExchangePlan[] = []

  constructor(jobs: readonly JobPlan[], context: OperatorContext) {
    const plans = jobs.flatMap((job) => job.fragments)
    this.exchanges = jobs.flatMap((job) => job.exchanges)
    while (this.fragments.length < plans.length) {
      const placed = new Set(this.fragments.map(({ plan }) => plan.fragmentId))
      const next = plans.find(
        (plan) =>
          !placed.has(plan.fragmentId) &&
          this.exchanges.every(
            (edge) => edge.toFragment !== plan.fragmentId || placed.has(edge.fromFragment),
          ),
      )
      if (next === undefined) throw new TypeError('the plan has a cycle')
      const operators = next.operators
        .map((operator) => build(operator, context))
        .filter((operator) => operator !== null)
      this.fragments.push({ plan: next, operators })
    }
  }

  feed(tableId: number, chunk: Chunk): void {
    for (const { plan, operators } of this.fragments) {
      const [head] = plan.operators
      if (head.kind === 'dml' && head.tableId === tableId) this.enter(plan, operators, 0, 0, chunk)
    }
  }

  flush(epoch: number): void {
    for (const { plan, operators } of this.fragments)
      for (let at = 0; at < operators.length; at++)
        flush(operators[at], epoch, this.outputOf(plan, operators, at))
  }

  private enter(
    plan: FragmentPlan,
    operators: Operator[],
    at: number,
    input: number,
    chunk: Chunk,
  ): void {
    if (at < operators.length) push(operators[at], input, chunk, this.outputOf(plan, operators, at))
    else this.leave(plan, chunk)
  }

  private outputOf(plan: FragmentPlan, operators: Operator[], at: number): Output {
    return { emit: (chunk) => this.enter(plan, operators, at + 1, 0, chunk) }
  }

  private leave(plan: FragmentPlan, chunk: Chunk): void {
    const last = plan.operators[plan.operators.length - 1]
    if (last.kind === 'materialize') {
      const result = this.results.get(last.table.tableId) ?? new Result()
      this.results.set(last.table.tableId, result)
      result.emit(chunk)
    }
    for (const edge of this.exchanges) {
      if (edge.fromFragment !== plan.fragmentId) continue
      const to = this.fragments.find((other) => other.plan.fragmentId === edge.toFragment)
      if (to !== undefined) this.enter(to.plan, to.operators, 0, edge.input, chunk)
    }
  }
}

function plansOf(script: string): { jobs: JobPlan[]; tables: Map<string, JobPlan> } {
  let catalog = emptyCatalog()
  const jobs: JobPlan[] = []
  const tables = new Map<string, JobPlan>()
  for (const statement of parseScript(script)) {
    if (!isCreate(statement)) throw new TypeError('the script only creates')
    const planned = planJob(statement, catalog)
    catalog = planned.catalog
    if (planned.plan === null) continue
    jobs.push(planned.plan)
    tables.set(statement.name.name, planned.plan)
  }
  return { jobs, tables }
}

const dmlOf = (job: JobPlan | undefined): Extract<OperatorPlan, { kind: 'dml' }> => {
  for (const fragment of job?.fragments ?? [])
    for (const operator of fragment.operators) if (operator.kind === 'dml') return operator
  throw new TypeError('the job has no DML head')
}

const tableIdOf = (job: JobPlan | undefined): number => {
  for (const fragment of job?.fragments ?? [])
    for (const operator of fragment.operators)
      if (operator.kind === 'materialize') return operator.table.tableId
  throw new TypeError('the job materializes nothing')
}

const auction = fc.record({
  table: fc.constant('auction' as const),
  op: fc.nat(1),
  row: fc.tuple(fc.bigInt(0n, 4n), fc.bigInt(0n, 2n), fc.constantFrom('x', null)),
})
const bid = fc.record({
  table: fc.constant('bid' as const),
  op: fc.nat(1),
  row: fc.tuple(fc.bigInt(0n, 9n), fc.bigInt(0n, 4n), fc.bigInt(0n, 5n)),
})
const steps = fc.array(fc.oneof(auction, bid, bid, fc.constant({ table: 'barrier' as const })), {
  maxLength: 80,
  size: 'max',
})

function expectedBest(auctions: Map<string, Row>, bids: Map<string, Row>): string[] {
  const finals = new Map<string, bigint[]>()
  for (const [id, category] of auctions.values()) {
    const prices = [...bids.values()]
      .filter((row) => row[1] === id)
      .map((row) => BigInt(row[2] ?? 0))
    const counted = prices.filter((price) => price > 1n)
    if (counted.length === 0) continue
    const final = counted.reduce((a, b) => (a > b ? a : b))
    finals.set(`${category}`, [...(finals.get(`${category}`) ?? []), final])
  }
  return [...finals]
    .map(([category, all]) => {
      const total = all.reduce((a, b) => a + b, 0n)
      const low = all.reduce((a, b) => (a < b ? a : b))
      return rowText([BigInt(category), BigInt(all.length), `${total}`, low])
    })
    .sort()
}

describe('operators under plans from SQL', () => {
  beforeAll(() => loadParser())

  it('keep views over tables with updates and deletes', () => {
    const { jobs, tables } = plansOf(SCRIPT)
    fc.assert(
      fc.property(steps, fc.constantFrom(0, 4000, 1 << 20), (items, cacheBytes) => {
        const store = new FakeStore()
        const vnodes = { from: 0, to: 256 }
        const runner = new Runner(jobs, { store, cacheBytes, chunkRows: 16, vnodes, fresh: true })
        const model = { auction: new Map<string, Row>(), bid: new Map<string, Row>() }
        let epoch = 0
        for (const item of [...items, { table: 'barrier' as const }]) {
          if (item.table !== 'barrier') {
            const key = `${item.row[0]}`
            if (item.op === 0) model[item.table].set(key, item.row)
            else model[item.table].delete(key)
            const dml = dmlOf(tables.get(item.table))
            const changes: Change[] = [{ op: item.op, row: item.row }]
            runner.feed(dml.tableId, chunkOf(dml.schema, changes))
            continue
          }
          runner.flush(epoch++)
          const best = runner.results.get(tableIdOf(tables.get('best')))?.sorted() ?? []
          expect(best).toEqual(expectedBest(model.auction, model.bid))
          const prices = [...model.bid.values()].map((row) => BigInt(row[2] ?? 0))
          const top = prices.length === 0 ? null : prices.reduce((a, b) => (a > b ? a : b))
          const totals = runner.results.get(tableIdOf(tables.get('totals')))?.sorted()
          expect(totals).toEqual([rowText([BigInt(prices.length), top])])
        }
      }),
      { numRuns: 80 },
    )
  })
})
