/**
 * Nanoseconds per row of the column loops: filter, arithmetic, hash, key and value encoding, decoding,
 * gathering, over one chunk of Nexmark-like rows. Prints one JSON line. Arguments: `--rounds n`.
 */
import { Chunk } from '../../src/stream/chunk.ts'
import { Column } from '../../src/stream/column.ts'
import { ColumnBuilder } from '../../src/stream/column-builder.ts'
import { compileExpressions, compilePredicate } from '../../src/stream/expression.ts'
import type { Expression, ScalarFunction } from '../../src/stream/plan.ts'
import {
  ByteListBuilder,
  KeyEncoder,
  RowDecoder,
  ValueEncoder,
} from '../../src/stream/row-codec.ts'
import { hashRows } from '../../src/stream/row-hash.ts'
import type { DataType, Schema } from '../../src/stream/schema.ts'

const ROWS = 2048
const at = process.argv.indexOf('--rounds')
const rounds = at < 0 ? 20 : Number(process.argv[at + 1])

// The generator of Numerical Recipes: the same rows in every run.
let state = 42
const next = (below: number): number => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return state % below
}

const schema: Schema = [
  { name: 'auction', type: 'bigint' },
  { name: 'bidder', type: 'bigint' },
  { name: 'price', type: 'bigint' },
  { name: 'date_time', type: 'timestamp' },
  { name: 'state', type: 'varchar' },
  { name: 'extra', type: 'varchar' },
]
const states = ['OR', 'ID', 'CA', 'NY', 'WA', 'AZ', 'WY']
const builders = schema.map((field) => new ColumnBuilder(field.type))
const encoder = new TextEncoder()
for (let row = 0; row < ROWS; row++) {
  builders[0].appendNumber(1000 + next(5000))
  builders[1].appendNumber(1000 + next(100000))
  builders[2].appendNumber(100 + next(10000000))
  builders[3].appendNumber(1436918400000000 + row * 100000)
  const word = encoder.encode(states[next(states.length)])
  builders[4].appendText(word, 0, word.length)
  const extra = encoder.encode('x'.repeat(next(40)))
  builders[5].appendText(extra, 0, extra.length)
}
const columns = builders.map((builder) => builder.finish())
const chunk = new Chunk(ROWS, null, null, columns)
const withNulls = new Chunk(
  ROWS,
  null,
  null,
  columns.map((column) =>
    column.type === 'varchar'
      ? column
      : Column.narrow(column.type, column.numbers, new Uint8Array(ROWS), column.scale),
  ),
)

const col = (index: number, type: DataType): Expression => ({ kind: 'column', index, type })
const lit = (type: DataType, value: number | string): Expression => ({
  kind: 'literal',
  type,
  value,
  scale: 0,
})
const call = (name: ScalarFunction, type: DataType, ...args: Expression[]): Expression => ({
  kind: 'call',
  name,
  type,
  args,
})

const category = call(
  'equal',
  'boolean',
  call('modulo', 'bigint', col(0, 'bigint'), lit('bigint', 123)),
  lit('bigint', 0),
)
const range = call(
  'and',
  'boolean',
  call('greater', 'boolean', col(2, 'bigint'), lit('bigint', 5000000)),
  call('less', 'boolean', col(0, 'bigint'), lit('bigint', 4000)),
)
const inStates = call(
  'in',
  'boolean',
  col(4, 'varchar'),
  lit('varchar', 'OR'),
  lit('varchar', 'ID'),
  lit('varchar', 'CA'),
)
const mask = new Uint8Array(ROWS)
const filterModulo = compilePredicate(category)
const filterRange = compilePredicate(range)
const filterText = compilePredicate(inStates)
const multiply = compileExpressions([
  call('multiply', 'bigint', col(2, 'bigint'), lit('bigint', 908)),
])
const tumble = compileExpressions([
  call('tumble_start', 'timestamp', col(3, 'timestamp'), lit('interval', 10000000)),
])
const hashes = new Uint32Array(ROWS)
const keyEncoder = new KeyEncoder(
  schema,
  [
    { column: 0, descending: false },
    { column: 3, descending: false },
  ],
  [0],
)
const valueEncoder = new ValueEncoder(schema, [1, 2, 4, 5])
const decoder = new RowDecoder(
  schema,
  [
    { column: 0, descending: false },
    { column: 3, descending: false },
  ],
  [1, 2, 4, 5],
)
const keys = new ByteListBuilder()
const values = new ByteListBuilder()
const out = schema.map((field) => new ColumnBuilder(field.type))
const picks = Int32Array.from({ length: ROWS }, () => next(ROWS))

const cases: readonly (readonly [string, () => void])[] = [
  ['filterModulo', () => filterModulo(chunk, mask)],
  ['filterRange', () => filterRange(chunk, mask)],
  ['filterRangeNullable', () => filterRange(withNulls, mask)],
  ['filterTextIn', () => filterText(chunk, mask)],
  ['multiply', () => multiply(chunk)],
  ['tumbleStart', () => tumble(chunk)],
  ['hashBigint', () => hashRows([columns[0]], ROWS, hashes)],
  ['hashText', () => hashRows([columns[5]], ROWS, hashes)],
  [
    'keyEncode2',
    () => {
      keys.reset()
      keyEncoder.encode(columns, null, ROWS, keys)
    },
  ],
  [
    'valueEncode4',
    () => {
      values.reset()
      valueEncoder.encode(columns, null, ROWS, values)
    },
  ],
  [
    'rowDecode6',
    () => {
      for (const builder of out) builder.reset()
      decoder.decode(keys, values, 0, ROWS, out)
    },
  ],
  [
    'gather6',
    () => {
      for (let c = 0; c < out.length; c++) {
        out[c].reset()
        out[c].gather(columns[c], picks, ROWS)
      }
    },
  ],
]

const result: Record<string, number> = {}
for (const [name, run] of cases) {
  for (let i = 0; i < rounds * 5; i++) run()
  let best = Infinity
  for (let sample = 0; sample < 60; sample++) {
    const start = process.hrtime.bigint()
    for (let i = 0; i < rounds; i++) run()
    best = Math.min(best, Number(process.hrtime.bigint() - start) / rounds / ROWS)
  }
  result[name] = Math.round(best * 100) / 100
}
let checksum = 0
for (let i = 0; i < values.length; i++) checksum = (Math.imul(checksum, 31) + values.data[i]) >>> 0
console.log(
  JSON.stringify({
    bench: 'columns',
    unit: 'ns/row',
    node: process.version,
    rows: ROWS,
    rounds,
    ...result,
    checksum,
  }),
)
