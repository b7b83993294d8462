/** Compiled expressions over chunks of bids: conditions as filters have them, arithmetic as projections do. */
import { CHUNK_ROWS, type Chunk } from '../../../src/stream/chunk.ts'
import type { Column } from '../../../src/stream/column.ts'
import { compileExpressions, compilePredicate } from '../../../src/stream/expression.ts'
import type { Expression, ScalarFunction } from '../../../src/stream/plan.ts'
import type { DataType } from '../../../src/stream/schema.ts'
import type { Benchmark, Prepared, Scale } from '../benchmark.ts'
import { digestOf, hashNumber } from '../digest.ts'
import { AUCTION, type BidRow, bidChunk, bidRows, CHANNEL, PRICE } from './bids.ts'

const column = (index: number, type: DataType): Expression => ({ kind: 'column', index, type })
const literal = (type: DataType, value: number | string, scale = 0): Expression => ({
  kind: 'literal',
  type,
  value,
  scale,
})
const call = (name: ScalarFunction, type: DataType, ...args: Expression[]): Expression => ({
  kind: 'call',
  name,
  type,
  args,
})
const auction = column(AUCTION, 'bigint')
const price = column(PRICE, 'bigint')
const whole = (value: number): Expression => literal('bigint', value)

/** `auction % 123 = 0 OR price > 9000000` */
const SELECTIVE = call(
  'or',
  'boolean',
  call('equal', 'boolean', call('modulo', 'bigint', auction, whole(123)), whole(0)),
  call('greater', 'boolean', price, whole(9_000_000)),
)
/** `channel = 'Apple'` */
const ON_TEXT = call('equal', 'boolean', column(CHANNEL, 'varchar'), literal('varchar', 'Apple'))
/** `(price * 3 + auction) / 7` */
const ON_BIGINT = call(
  'divide',
  'bigint',
  call('add', 'bigint', call('multiply', 'bigint', price, whole(3)), auction),
  whole(7),
)
/** `0.908 * price`, as in Nexmark's q1 */
const ON_NUMERIC = call('multiply', 'numeric', literal('numeric', 908, 3), {
  kind: 'cast',
  argument: price,
  type: 'numeric',
})

export const BENCHMARKS: readonly Benchmark[] = [
  {
    name: 'expression/filter, bigint',
    unit: 'row',
    prepare: (scale) =>
      filter(scale, SELECTIVE, (row) => row.auction % 123 === 0 || row.price > 9_000_000),
  },
  {
    name: 'expression/filter, text',
    unit: 'row',
    prepare: (scale) => filter(scale, ON_TEXT, (row) => row.channel === 'Apple'),
  },
  {
    name: 'expression/arithmetic, bigint',
    unit: 'row',
    prepare: (scale) =>
      project(scale, ON_BIGINT, (row) => (BigInt(row.price) * 3n + BigInt(row.auction)) / 7n),
  },
  {
    name: 'expression/arithmetic, numeric',
    unit: 'row',
    prepare: (scale) => project(scale, ON_NUMERIC, (row) => 908n * BigInt(row.price)),
  },
]

function inputsOf({ seed, tiny }: Scale): { rows: BidRow[]; chunks: Chunk[] } {
  const chunkRows = tiny ? 100 : CHUNK_ROWS
  const rows: BidRow[] = []
  const chunks: Chunk[] = []
  for (let i = 0; i < (tiny ? 2 : 128); i++) {
    const part = bidRows(seed + i, chunkRows)
    rows.push(...part)
    chunks.push(bidChunk(part))
  }
  return { rows, chunks }
}

function commonOf(rows: readonly BidRow[], chunks: readonly Chunk[]) {
  return {
    parameters: { chunks: chunks.length, rowsPerChunk: chunks[0].rowCount },
    unitsPerRun: rows.length,
  }
}

function filter(scale: Scale, condition: Expression, holds: (row: BidRow) => boolean): Prepared {
  const { rows, chunks } = inputsOf(scale)
  const predicate = compilePredicate(condition)
  const masks = chunks.map((chunk) => new Uint8Array(chunk.rowCount))
  return {
    ...commonOf(rows, chunks),
    expected: digestOf(rows.map((row) => Number(holds(row)))),
    reset() {
      for (const mask of masks) mask.fill(2)
    },
    run() {
      let count = 0
      for (let i = 0; i < chunks.length; i++) {
        predicate(chunks[i], masks[i])
        count += masks[i].length
      }
      return count
    },
    checksum: () => digestOf(masks.flatMap((mask) => [...mask])),
  }
}

function project(scale: Scale, expression: Expression, value: (row: BidRow) => bigint): Prepared {
  const { rows, chunks } = inputsOf(scale)
  const evaluate = compileExpressions([expression])
  let columns: Column[] = []
  return {
    ...commonOf(rows, chunks),
    expected: digestOf(rows.map((row) => hashNumber(Number(value(row))))),
    run() {
      columns = []
      let count = 0
      for (const chunk of chunks) {
        columns.push(evaluate(chunk)[0])
        count += chunk.rowCount
      }
      return count
    },
    checksum: () => digestOf(columns.flatMap(({ numbers }) => [...numbers]).map(hashNumber)),
  }
}
