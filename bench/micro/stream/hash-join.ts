/** The join of Nexmark's q4: bids with the auction they were made on while it was open. */
import { HashJoin } from '../../../src/stream/operators/hash-join.ts'
import type { Expression, OperatorPlan, ScalarFunction } from '../../../src/stream/plan.ts'
import type { Benchmark, Prepared, Scale } from '../benchmark.ts'
import { digestOf, digestOfSet, hashNumber } from '../digest.ts'
import { AUCTION, BID, type EventRow, type Events, makeEvents } from './auction-events.ts'
import { MEBIBYTE, operatorBenchmark, tableSpec } from './stateful.ts'

export const BENCHMARKS: readonly Benchmark[] = [
  { name: 'hash-join/q4, cached', unit: 'row', prepare: (scale) => join(scale, 256 * MEBIBYTE) },
  { name: 'hash-join/q4, 1 MiB', unit: 'row', prepare: (scale) => join(scale, MEBIBYTE) },
]

/** Columns of the left side, then of the right one. */
const DATE_TIME = 2
const EXPIRES = 3
const BID_TIME = 7
const OUTPUT = [0, 1, 6, 4, 8]

function compare(name: ScalarFunction, left: number, right: number): Expression {
  const args: Expression[] = [left, right].map((index) => ({
    kind: 'column',
    index,
    type: 'timestamp',
  }))
  return { kind: 'call', name, args, type: 'boolean' }
}

const PLAN: Extract<OperatorPlan, { kind: 'hash-join' }> = {
  kind: 'hash-join',
  leftSchema: AUCTION,
  rightSchema: BID,
  leftKeys: [0],
  rightKeys: [0],
  condition: {
    kind: 'call',
    name: 'and',
    args: [compare('greater_equal', BID_TIME, DATE_TIME), compare('less_equal', BID_TIME, EXPIRES)],
    type: 'boolean',
  },
  output: OUTPUT,
  leftTable: tableSpec(1, AUCTION, { key: [0, 4], prefix: 1 }),
  rightTable: tableSpec(2, BID, { key: [0, 3], prefix: 1 }),
}

function join(scale: Scale, cacheBytes: number): Prepared {
  const events = makeEvents(scale)
  return operatorBenchmark(scale, {
    batches: events.batches,
    cacheBytes,
    make: (context) => new HashJoin(PLAN, context),
    expected: digestOfSet(joinNaively(events)),
  })
}

function* joinNaively({ auctions, bids }: Events): Generator<number> {
  const byId = new Map<number, EventRow>()
  for (const auction of auctions) byId.set(auction[0], auction)
  for (const bid of bids) {
    const auction = byId.get(bid[0])
    if (auction === undefined) continue
    const row = [...auction, ...bid]
    const isOpen = row[BID_TIME] >= row[DATE_TIME] && row[BID_TIME] <= row[EXPIRES]
    if (isOpen) yield digestOf(OUTPUT.map((column) => hashNumber(row[column])))
  }
}
