/** The hash aggregate against a naive recomputation from all live rows, at every barrier. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { LocalStore } from '../../src/storage/state-store.ts'
import type { OperatorContext } from '../../src/stream/operator.ts'
import { averageOf } from '../../src/stream/operators/accumulator.ts'
import {
  aggregateStateSchema,
  HashAggregate,
  type HashAggregatePlan,
} from '../../src/stream/operators/hash-aggregate.ts'
import type { AggregateCall, StateTableSpec } from '../../src/stream/plan.ts'
import type { DataType, Schema } from '../../src/stream/schema.ts'
import { FakeStore } from './fake-store.ts'
import { REAL_TABLE_IDS, RealStore } from './real-store.ts'
import {
  type Change,
  chunkOf,
  decimal,
  decimalText,
  type Finish,
  flush,
  push,
  Result,
  type Row,
  rowText,
  type Value,
} from './rows.ts'

const SCHEMA: Schema = [
  { name: 'id', type: 'bigint' },
  { name: 'small', type: 'integer' },
  { name: 'name', type: 'varchar' },
  { name: 'big', type: 'bigint' },
  { name: 'number', type: 'double' },
  { name: 'price', type: 'numeric' },
  { name: 'flag', type: 'boolean' },
]
const [ID, SMALL, NAME, BIG, NUMBER, PRICE, FLAG] = [0, 1, 2, 3, 4, 5, 6]

function call(
  name: AggregateCall['name'],
  column: number,
  type: DataType,
  filterColumn = -1,
): AggregateCall {
  const argumentType = column < 0 ? null : SCHEMA[column].type
  return { name, column, argumentType, type, filterColumn }
}

const CALLS: readonly AggregateCall[] = [
  call('count_star', -1, 'bigint'),
  call('count_star', -1, 'bigint', FLAG),
  call('count', NAME, 'bigint'),
  call('sum', SMALL, 'bigint'),
  call('sum', BIG, 'numeric'),
  call('sum', PRICE, 'numeric', FLAG),
  call('sum', NUMBER, 'double'),
  call('avg', BIG, 'numeric'),
  call('avg', NUMBER, 'double'),
  call('min', BIG, 'bigint'),
  call('max', BIG, 'bigint', FLAG),
  call('max', NAME, 'varchar'),
  call('min', NUMBER, 'double'),
  call('max', PRICE, 'numeric'),
]

const FEW_CALLS: readonly AggregateCall[] = [
  call('count_star', -1, 'bigint'),
  call('sum', BIG, 'numeric'),
  call('min', BIG, 'bigint'),
  call('max', NAME, 'varchar'),
]

function planOf(
  groupKeys: readonly number[],
  calls: readonly AggregateCall[],
  appendOnly: boolean,
  tableIds: readonly number[] = [1, 2, 3, 4, 5, 6],
): HashAggregatePlan {
  let nextTable = 1
  const group = groupKeys.map((column) => SCHEMA[column])
  const key = groupKeys.map((_, i) => ({ column: i, descending: false }))
  const distribution = groupKeys.map((_, i) => i)
  const base = { name: 't', group: 'state', distribution, prefixColumns: groupKeys.length } as const
  const valueTable = (aggregate: AggregateCall): StateTableSpec | null => {
    if (appendOnly || (aggregate.name !== 'min' && aggregate.name !== 'max')) return null
    const schema = [...group, SCHEMA[aggregate.column], SCHEMA[ID]]
    const descending = aggregate.name === 'max'
    const valueKey = [
      ...key,
      { column: group.length, descending },
      { column: group.length + 1, descending: false },
    ]
    return { ...base, tableId: tableIds[nextTable++], schema, key: valueKey }
  }
  return {
    kind: 'hash-aggregate',
    inputSchema: SCHEMA,
    groupKeys,
    streamKey: [ID],
    calls,
    appendOnly,
    table: { ...base, tableId: tableIds[0], schema: group, key },
    valueTables: calls.map(valueTable),
  }
}

function contextOf(store: LocalStore, cacheBytes: number, fresh: boolean): OperatorContext {
  return { store, cacheBytes, chunkRows: 8, vnodes: { from: 0, to: 256 }, fresh }
}

/** PostgreSQL: NaN is largest. */
const doubleLess = (a: number, b: number): boolean => !Number.isNaN(a) && (Number.isNaN(b) || a < b)

function less(type: DataType, a: Value, b: Value): boolean {
  if (type === 'double') return doubleLess(Number(a), Number(b))
  if (type === 'varchar') return Buffer.compare(Buffer.from(String(a)), Buffer.from(String(b))) < 0
  if (type !== 'numeric') return BigInt(a ?? 0) < BigInt(b ?? 0)
  const left = decimal(String(a))
  const right = decimal(String(b))
  return left.value * 10n ** BigInt(right.scale) < right.value * 10n ** BigInt(left.scale)
}

function sumOf(type: DataType, values: readonly Value[]): { value: bigint; scale: number } {
  const scale = 6
  let value = 0n
  for (const item of values) {
    const part = type === 'numeric' ? decimal(String(item)) : { value: BigInt(item ?? 0), scale: 0 }
    value += part.value * 10n ** BigInt(scale - part.scale)
  }
  return { value, scale }
}

function evaluate(aggregate: AggregateCall, rows: readonly Row[]): Value {
  let counted = rows
  if (aggregate.filterColumn >= 0)
    counted = rows.filter((row) => row[aggregate.filterColumn] === 1n)
  if (aggregate.name === 'count_star') return BigInt(counted.length)
  const values = counted.map((row) => row[aggregate.column]).filter((value) => value !== null)
  if (aggregate.name === 'count') return BigInt(values.length)
  if (values.length === 0) return null
  const type = SCHEMA[aggregate.column].type
  if (aggregate.name === 'min') return values.reduce((a, b) => (less(type, b, a) ? b : a))
  if (aggregate.name === 'max') return values.reduce((a, b) => (less(type, a, b) ? b : a))
  if (type === 'double') {
    const sum = values.reduce<number>((a, b) => a + Number(b), 0)
    return aggregate.name === 'avg' ? sum / values.length + 0 : sum + 0
  }
  const sum = sumOf(type, values)
  if (aggregate.name === 'avg') {
    const quotient = averageOf(sum.value, sum.scale, BigInt(values.length))
    return decimalText(quotient.value, quotient.scale)
  }
  const text = decimalText(sum.value, sum.scale)
  return aggregate.type === 'numeric' ? text : BigInt(text)
}

function recompute(plan: HashAggregatePlan, rows: readonly Row[]): string[] {
  const groups = new Map<string, { key: Row; rows: Row[] }>()
  if (plan.groupKeys.length === 0) groups.set('', { key: [], rows: [] })
  for (const row of rows) {
    const key = plan.groupKeys.map((column) => row[column])
    const group = groups.get(rowText(key)) ?? { key, rows: [] }
    group.rows.push(row)
    groups.set(rowText(key), group)
  }
  return [...groups.values()]
    .map((group) =>
      rowText([...group.key, ...plan.calls.map((aggregate) => evaluate(aggregate, group.rows))]),
    )
    .sort()
}

const nullable = <T>(values: fc.Arbitrary<T>): fc.Arbitrary<T | null> =>
  fc.option(values, { freq: 5 })
const columnValues = {
  small: nullable(fc.bigInt(-2n, 3n)),
  name: nullable(fc.constantFrom('', 'a', 'b', 'ü', '😀', '\uffee', 'a longer text than 8 bytes')),
  big: nullable(
    fc.oneof(
      fc.bigInt(-3n, 3n),
      fc.constantFrom(2n ** 53n - 1n, 2n ** 62n, -(2n ** 63n), 2n ** 53n),
    ),
  ),
  number: nullable(fc.constantFrom(0, 1, -2, 0.5, Number.NaN, Number.POSITIVE_INFINITY)),
  price: nullable(fc.constantFrom('0', '1', '15e-1', '-225e-2', '9007199254740991', '1e-3')),
  flag: nullable(fc.bigInt(0n, 1n)),
}
const rowValues = fc.record(columnValues)
type RowValues = typeof rowValues extends fc.Arbitrary<infer T> ? T : never
const toRow = (id: bigint, values: RowValues): Row => [
  id,
  values.small,
  values.name,
  values.big,
  values.number,
  values.price,
  values.flag,
]

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('insert' as const), values: rowValues }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('delete' as const), pick: fc.nat() }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('update' as const),
      pick: fc.nat(),
      values: rowValues,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('chunk' as const),
      wide: fc.boolean(),
      hidden: fc.boolean(),
      ops: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('barrier' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

interface Setting {
  readonly groupKeys: readonly number[]
  readonly appendOnly: boolean
  readonly cacheBytes: number
  readonly delay: number
  readonly isReal: boolean
}

function run(setting: Setting, steps: readonly Step[]): void {
  const real = setting.isReal ? new RealStore() : null
  const store = real?.store ?? new FakeStore(setting.delay)
  const plan =
    real === null
      ? planOf(setting.groupKeys, CALLS, setting.appendOnly)
      : planOf(setting.groupKeys, FEW_CALLS, setting.appendOnly, REAL_TABLE_IDS)
  const finish: Finish | undefined = real === null ? undefined : (read) => real.finish(read)
  const result = new Result()
  let operator = new HashAggregate(plan, contextOf(store, setting.cacheBytes, true))
  const live: Row[] = []
  let changes: Change[] = []
  let nextId = 0n
  let barriers = 0
  const send = (shape: { wide: boolean; hidden: boolean; ops: boolean }): void => {
    if (changes.length > 0) push(operator, 0, chunkOf(SCHEMA, changes, shape), result, finish)
    changes = []
  }
  const endEpoch = (): void => {
    send({ wide: false, hidden: false, ops: false })
    flush(operator, barriers++, result, finish)
    real?.endEpoch(barriers + live.length)
    expect(result.sorted()).toEqual(recompute(plan, live))
    expect(result.chunkRowsMax).toBeLessThanOrEqual(8)
  }
  for (const item of steps) {
    switch (item.kind) {
      case 'insert': {
        const row = toRow(nextId++, item.values)
        live.push(row)
        changes.push({ op: 0, row })
        break
      }
      case 'delete': {
        if (setting.appendOnly || live.length === 0) break
        const [row] = live.splice(item.pick % live.length, 1)
        changes.push({ op: 1, row })
        break
      }
      case 'update': {
        if (setting.appendOnly || live.length === 0) break
        const at = item.pick % live.length
        const row = toRow(live[at][0] as bigint, item.values)
        changes.push({ op: 3, row: live[at] }, { op: 2, row })
        live[at] = row
        break
      }
      case 'chunk':
        send(item)
        break
      case 'barrier':
        endEpoch()
        break
      case 'restart':
        endEpoch()
        operator = new HashAggregate(plan, contextOf(store, setting.cacheBytes, false))
        break
    }
  }
  endEpoch()
}

const setting = fc.record({
  groupKeys: fc.constantFrom([], [SMALL], [SMALL, BIG], [NAME], [PRICE, NAME], [BIG], [NUMBER]),
  appendOnly: fc.boolean(),
  cacheBytes: fc.constantFrom(0, 3000, 1 << 20),
  delay: fc.nat(2),
  isReal: fc.constant(false),
})
const realSetting = fc.record({
  groupKeys: fc.constantFrom([SMALL], [SMALL, BIG], [NAME], [PRICE, NAME]),
  appendOnly: fc.boolean(),
  cacheBytes: fc.constantFrom(0, 3000),
  delay: fc.constant(0),
  isReal: fc.constant(true),
})

describe('hash aggregate', () => {
  it('equals a recomputation at every barrier', () => {
    fc.assert(
      fc.property(setting, fc.array(step, { maxLength: 150, size: 'max' }), (options, steps) =>
        run(options, steps),
      ),
      { numRuns: 120 },
    )
  })

  it('does so over memtables, sealed runs and SSTs', () => {
    fc.assert(
      fc.property(realSetting, fc.array(step, { maxLength: 150, size: 'max' }), (options, steps) =>
        run(options, steps),
      ),
      { numRuns: 60 },
    )
  })

  it('emits one row for no input without group keys, and nothing when nothing changes', () => {
    const plan = planOf([], CALLS.slice(0, 4), true)
    const store = new FakeStore()
    const operator = new HashAggregate(plan, contextOf(store, 1000, true))
    const result = new Result()
    flush(operator, 0, result)
    expect(result.changes).toEqual([{ op: 0, row: [0n, 0n, 0n, null] }])
    flush(operator, 1, result)
    const row = [1n, 2n, null, null, null, null, null]
    const both = [
      { op: 0, row },
      { op: 1, row },
    ]
    push(operator, 0, chunkOf(SCHEMA, both), result)
    flush(operator, 2, result)
    expect(result.changes.length).toBe(1)
    const again = new HashAggregate(plan, contextOf(store, 1000, false))
    flush(again, 3, result)
    expect(result.changes.length).toBe(1)
  })

  it('does not read while nothing was dropped, and reads after', () => {
    const plan = planOf([BIG], CALLS.slice(0, 1), true)
    const rows = (from: number, to: number): Change[] => {
      const changes: Change[] = []
      for (let i = from; i < to; i++)
        changes.push({ op: 0, row: [0n, null, null, BigInt(i), null, null, null] })
      return changes
    }
    const store = new FakeStore()
    const operator = new HashAggregate(plan, contextOf(store, 40_000, true))
    const result = new Result()
    for (let i = 0; i < 50; i++) push(operator, 0, chunkOf(SCHEMA, rows(i * 2, i * 2 + 20)), result)
    expect(store.readCount).toBe(0)
    for (let i = 0; i < 100; i++)
      push(operator, 0, chunkOf(SCHEMA, rows(i * 10, i * 10 + 10)), result)
    for (let i = 0; i < 100; i++)
      push(operator, 0, chunkOf(SCHEMA, rows(i * 10, i * 10 + 10)), result)
    expect(store.readCount).toBeGreaterThan(0)
    expect(operator.stateBytes()).toBeLessThan(60_000)
  })

  it('refuses a bigint sum out of range', () => {
    const plan = planOf([], [call('sum', BIG, 'bigint')], true)
    const operator = new HashAggregate(plan, contextOf(new FakeStore(), 1000, true))
    const row = [1n, null, null, 2n ** 62n, null, null, null]
    const chunk = chunkOf(
      SCHEMA,
      [0, 0].map((op) => ({ op, row })),
    )
    push(operator, 0, chunk, new Result())
    expect(() => flush(operator, 0, new Result())).toThrowError(
      expect.objectContaining({ code: 'VALUE_OVERFLOW' }),
    )
  })

  it('divides with the digits that PostgreSQL gives', () => {
    const texts = [
      [3n, 0, 2n, '15000000000000000', 16],
      [1n, 0, 3n, '33333333333333333333', 20],
      [100_000n, 0, 3n, '33333333333333333', 12],
      [-5n, 3, 3n, '-166666666666666667', 20],
      [330n, 2, 3n, '110000000000000000000', 20],
    ] as const
    for (const [sum, scale, count, digits, resultScale] of texts)
      expect(averageOf(sum, scale, count)).toEqual({ value: BigInt(digits), scale: resultScale })
  })

  it('names the columns of its state', () => {
    expect(aggregateStateSchema(planOf([SMALL], CALLS.slice(0, 4), true)).length).toBe(6)
  })
})
