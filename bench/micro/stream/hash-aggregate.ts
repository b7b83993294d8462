/** The aggregate of Nexmark's q5: bids counted by auction and window. */
import {
  HashAggregate,
  type HashAggregatePlan,
} from '../../../src/stream/operators/hash-aggregate.ts'
import type { Schema } from '../../../src/stream/schema.ts'
import type { Benchmark, Prepared, Scale } from '../benchmark.ts'
import { digestOf, digestOfSet, hashNumber } from '../digest.ts'
import { type Batch, BIDS, type EventRow, eventChunk, makeEvents } from './auction-events.ts'
import { MEBIBYTE, operatorBenchmark, tableSpec } from './stateful.ts'

export const BENCHMARKS: readonly Benchmark[] = [
  {
    name: 'hash-aggregate/count by two, cached',
    unit: 'row',
    prepare: (scale) => count(scale, 256 * MEBIBYTE),
  },
  {
    name: 'hash-aggregate/count by two, 256 KiB',
    unit: 'row',
    prepare: (scale) => count(scale, MEBIBYTE / 4),
  },
]

const WINDOW_US = 1_000_000
const INPUT: Schema = [
  { name: 'auction', type: 'bigint' },
  { name: 'window_start', type: 'timestamp' },
]

const PLAN: HashAggregatePlan = {
  kind: 'hash-aggregate',
  inputSchema: INPUT,
  groupKeys: [0, 1],
  streamKey: [],
  calls: [{ name: 'count_star', column: -1, argumentType: null, type: 'bigint', filterColumn: -1 }],
  appendOnly: true,
  table: tableSpec(3, INPUT, { key: [0, 1], prefix: 2 }),
  valueTables: [null],
}

function count(scale: Scale, cacheBytes: number): Prepared {
  const { bids, batches } = makeEvents(scale)
  const windowed = bids.map(([auction, , time]) => [auction, time - (time % WINDOW_US)])
  return operatorBenchmark(scale, {
    batches: batchesOf(windowed, batches),
    cacheBytes,
    make: (context) => new HashAggregate(PLAN, context),
    expected: digestOfSet(countNaively(windowed)),
  })
}

/** The rows in chunks as the bids came, with the same barriers. */
function batchesOf(rows: readonly EventRow[], bids: readonly Batch[]): Batch[] {
  const batches: Batch[] = []
  let at = 0
  for (const { input, chunk, endsEpoch } of bids) {
    if (input !== BIDS) continue
    const end = at + chunk.rowCount
    batches.push({ input: 0, chunk: eventChunk(INPUT, rows.slice(at, end)), endsEpoch })
    at = end
  }
  return batches
}

function* countNaively(rows: readonly EventRow[]): Generator<number> {
  const counts = new Map<string, number>()
  for (const row of rows) counts.set(row.join(), (counts.get(row.join()) ?? 0) + 1)
  for (const [group, rowCount] of counts) {
    yield digestOf([...group.split(',').map(Number), rowCount].map(hashNumber))
  }
}
