/** The hash join against a nested loop over all live rows, at every barrier. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { LocalStore } from '../../src/storage/state-store.ts'
import type { OperatorContext } from '../../src/stream/operator.ts'
import { HashJoin } from '../../src/stream/operators/hash-join.ts'
import type { Expression, OperatorPlan, StateTableSpec } from '../../src/stream/plan.ts'
import type { Schema } from '../../src/stream/schema.ts'
import { FakeStore } from './fake-store.ts'
import { REAL_TABLE_IDS, RealStore } from './real-store.ts'
import {
  type Change,
  chunkOf,
  type Finish,
  flush,
  push,
  Result,
  type Row,
  rowText,
} from './rows.ts'

type HashJoinPlan = Extract<OperatorPlan, { kind: 'hash-join' }>

const LEFT: Schema = [
  { name: 'id', type: 'bigint' },
  { name: 'k', type: 'bigint' },
  { name: 't', type: 'varchar' },
  { name: 'v', type: 'bigint' },
]
const RIGHT: Schema = [
  { name: 't', type: 'varchar' },
  { name: 'w', type: 'bigint' },
  { name: 'k', type: 'bigint' },
  { name: 'id', type: 'bigint' },
]
/** v <= w over left columns then right columns. */
const CONDITION: Expression = {
  kind: 'call',
  name: 'less_equal',
  args: [
    { kind: 'column', index: 3, type: 'bigint' },
    { kind: 'column', index: 5, type: 'bigint' },
  ],
  type: 'boolean',
}

function tableOf(
  tableId: number,
  schema: Schema,
  keys: readonly number[],
  id: number,
): StateTableSpec {
  return {
    tableId,
    name: `t${tableId}`,
    group: 'state',
    schema,
    key: [...keys, id].map((column) => ({ column, descending: false })),
    distribution: keys,
    prefixColumns: keys.length,
  }
}

interface Setting {
  readonly keys: { readonly left: readonly number[]; readonly right: readonly number[] }
  readonly hasCondition: boolean
  readonly output: readonly number[]
  readonly cacheBytes: number
  readonly delay: number
  readonly isReal: boolean
}

function planOf(setting: Setting): HashJoinPlan {
  const { left, right } = setting.keys
  return {
    kind: 'hash-join',
    leftSchema: LEFT,
    rightSchema: RIGHT,
    leftKeys: left,
    rightKeys: right,
    condition: setting.hasCondition ? CONDITION : null,
    output: setting.output,
    leftTable: tableOf(setting.isReal ? REAL_TABLE_IDS[0] : 1, LEFT, left, 0),
    rightTable: tableOf(setting.isReal ? REAL_TABLE_IDS[2] : 2, RIGHT, right, 3),
  }
}

function contextOf(store: LocalStore, cacheBytes: number, fresh: boolean): OperatorContext {
  return { store, cacheBytes, chunkRows: 8, vnodes: { from: 0, to: 256 }, fresh }
}

function nestedLoop(setting: Setting, live: readonly (readonly Row[])[]): string[] {
  const lines: string[] = []
  for (const left of live[0])
    for (const right of live[1]) {
      const isMatch = setting.keys.left.every((column, i) => {
        const value = left[column]
        return value !== null && value === right[setting.keys.right[i]]
      })
      if (!isMatch) continue
      const [v, w] = [left[3], right[1]]
      if (setting.hasCondition && (v === null || w === null || BigInt(v) > BigInt(w))) continue
      const joined = [...left, ...right]
      lines.push(rowText(setting.output.map((column) => joined[column])))
    }
  return lines.sort()
}

const nullable = <T>(values: fc.Arbitrary<T>): fc.Arbitrary<T | null> =>
  fc.option(values, { freq: 6 })
const rowValues = fc.record({
  k: nullable(fc.oneof(fc.bigInt(0n, 4n), fc.constant(2n ** 60n))),
  t: nullable(fc.constantFrom('', 'x', 'a text that is long')),
  v: nullable(fc.oneof(fc.bigInt(-3n, 3n), fc.constantFrom(2n ** 53n, -(2n ** 63n)))),
})
type RowValues = typeof rowValues extends fc.Arbitrary<infer T> ? T : never
const toRow = (side: number, id: bigint, { k, t, v }: RowValues): Row =>
  side === 0 ? [id, k, t, v] : [t, v, k, id]

const side = fc.nat(1)
const pick = fc.nat()
const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant('insert' as const), side, values: rowValues }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('delete' as const), side, pick }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('update' as const), side, pick, values: rowValues }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('chunk' as const),
      side,
      wide: fc.boolean(),
      hidden: fc.boolean(),
      ops: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('barrier' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

function run(setting: Setting, steps: readonly Step[]): void {
  const plan = planOf(setting)
  const schemas = [LEFT, RIGHT]
  const idColumns = [0, 3]
  const real = setting.isReal ? new RealStore() : null
  const store = real?.store ?? new FakeStore(setting.delay)
  const finish: Finish | undefined = real === null ? undefined : (read) => real.finish(read)
  const result = new Result()
  let operator = new HashJoin(plan, contextOf(store, setting.cacheBytes, true))
  const live: Row[][] = [[], []]
  const changes: Change[][] = [[], []]
  let nextId = 0n
  let barriers = 0
  const send = (to: number, shape: { wide?: boolean; hidden?: boolean; ops?: boolean }): void => {
    const chunk = chunkOf(schemas[to], changes[to], shape)
    if (chunk.rowCount > 0) push(operator, to, chunk, result, finish)
    changes[to] = []
  }
  const endEpoch = (): void => {
    send(0, {})
    send(1, {})
    flush(operator, barriers++, result, finish)
    real?.endEpoch(barriers + live[0].length)
    expect(result.sorted()).toEqual(nestedLoop(setting, live))
    expect(result.chunkRowsMax).toBeLessThanOrEqual(8)
  }
  for (const item of steps) {
    switch (item.kind) {
      case 'insert': {
        const row = toRow(item.side, nextId++, item.values)
        live[item.side].push(row)
        changes[item.side].push({ op: 0, row })
        break
      }
      case 'delete': {
        const rows = live[item.side]
        if (rows.length === 0) break
        const [row] = rows.splice(item.pick % rows.length, 1)
        changes[item.side].push({ op: 1, row })
        break
      }
      case 'update': {
        const rows = live[item.side]
        if (rows.length === 0) break
        const at = item.pick % rows.length
        const id = BigInt(rows[at][idColumns[item.side]] ?? 0)
        const row = toRow(item.side, id, item.values)
        changes[item.side].push({ op: 3, row: rows[at] }, { op: 2, row })
        rows[at] = row
        break
      }
      case 'chunk':
        send(item.side, item)
        break
      case 'barrier':
        endEpoch()
        break
      case 'restart':
        endEpoch()
        operator = new HashJoin(plan, contextOf(store, setting.cacheBytes, false))
        break
    }
  }
  endEpoch()
}

const setting = fc.record({
  keys: fc.constantFrom(
    { left: [1], right: [2] },
    { left: [2], right: [0] },
    { left: [1, 2], right: [2, 0] },
  ),
  hasCondition: fc.boolean(),
  output: fc.constantFrom([0, 1, 2, 3, 4, 5, 6, 7], [7, 0], [2, 5, 0, 7]),
  cacheBytes: fc.constantFrom(0, 1500, 6000, 1 << 20),
  delay: fc.nat(2),
  isReal: fc.constant(false),
})
const realSetting = setting.map((options) => ({ ...options, isReal: true }))

describe('hash join', () => {
  it('equals a nested loop at every barrier', () => {
    fc.assert(
      fc.property(setting, fc.array(step, { maxLength: 150, size: 'max' }), (options, steps) =>
        run(options, steps),
      ),
      { numRuns: 150 },
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

  it('does not read while nothing was dropped, and stays within its budget', () => {
    const options = {
      keys: { left: [1], right: [2] },
      hasCondition: false,
      output: [0],
      cacheBytes: 200_000,
      delay: 0,
      isReal: false,
    }
    const store = new FakeStore()
    const operator = new HashJoin(planOf(options), contextOf(store, options.cacheBytes, true))
    const result = new Result()
    const rows = (from: number, to: number): Change[] => {
      const changes: Change[] = []
      for (let i = from; i < to; i++)
        changes.push({ op: 0, row: ['text', 1n, BigInt(i), BigInt(i)] })
      return changes
    }
    push(operator, 1, chunkOf(RIGHT, rows(0, 100)), result)
    push(operator, 0, chunkOf(LEFT, [{ op: 0, row: [1n, 50n, null, null] }]), result)
    expect(store.readCount).toBe(0)
    expect(result.sorted()).toEqual(['bigint 1'])
    for (let i = 1; i < 200; i++)
      push(operator, 1, chunkOf(RIGHT, rows(i * 100, i * 100 + 100)), result)
    expect(operator.stateBytes()).toBeLessThan(250_000)
    push(operator, 0, chunkOf(LEFT, [{ op: 0, row: [2n, 50n, null, null] }]), result)
    expect(store.readCount).toBe(1)
    // A key that never was is known to be absent, unless it falls on bits of those that were dropped.
    push(operator, 0, chunkOf(LEFT, [{ op: 0, row: [3n, 50_000n, null, null] }]), result)
    expect(result.sorted()).toEqual(['bigint 1', 'bigint 2'])
  })
})
