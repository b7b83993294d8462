/** Materialize against a Map by key: exact changes, stored rows, snapshots. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { OperatorContext } from '../../src/stream/operator.ts'
import { Materialize } from '../../src/stream/operators/materialize.ts'
import type { StateTableSpec } from '../../src/stream/plan.ts'
import type { Schema } from '../../src/stream/schema.ts'
import { FakeStore } from './fake-store.ts'
import { type Change, changesOf, chunkOf, push, Result, type Row, rowText } from './rows.ts'

const SCHEMA: Schema = [
  { name: 'value', type: 'varchar' },
  { name: 'a', type: 'bigint' },
  { name: 'b', type: 'numeric' },
  { name: 'n', type: 'double' },
]
const TABLE: StateTableSpec = {
  tableId: 7,
  name: 't',
  group: 'materialized',
  schema: SCHEMA,
  key: [
    { column: 2, descending: true },
    { column: 1, descending: false },
  ],
  distribution: [2],
  prefixColumns: 0,
}

function contextOf(
  store: FakeStore,
  fresh: boolean,
  vnodes = { from: 0, to: 256 },
): OperatorContext {
  return { store, cacheBytes: 100, chunkRows: 8, vnodes, fresh }
}

function snapshotOf(operator: Materialize): string[] {
  const lines: string[] = []
  const snapshot = operator.startSnapshot()
  for (;;) {
    while (!snapshot.poll());
    if (snapshot.chunk === null) return lines.sort()
    for (const { op, row } of changesOf(snapshot.chunk)) {
      expect(op).toBe(0)
      lines.push(rowText(row))
    }
  }
}

const row = fc.tuple(
  fc.option(fc.constantFrom('', 'x', 'longer than eight'), { freq: 4 }),
  fc.bigInt(0n, 2n),
  fc.constantFrom('0', '1', '15e-1', '-3'),
  fc.constantFrom(1, 2.5, Number.NaN),
)
const change = fc.oneof(
  { weight: 3, arbitrary: row.map((values): Change[] => [{ op: 0, row: values }]) },
  { weight: 1, arbitrary: row.map((values): Change[] => [{ op: 1, row: values }]) },
  {
    weight: 1,
    arbitrary: fc.tuple(row, fc.constantFrom('p', 'q')).map(([values, text]): Change[] => [
      { op: 3, row: values },
      { op: 2, row: [text, values[1], values[2], values[3]] },
    ]),
  },
)
const chunks = fc.array(
  fc.tuple(fc.array(change, { maxLength: 8 }), fc.boolean(), fc.boolean(), fc.nat(3)),
  { maxLength: 20 },
)

describe('materialize', () => {
  it('makes exact changes of what is overwritten', () => {
    fc.assert(
      fc.property(chunks, fc.nat(2), (batches, delay) => {
        const store = new FakeStore(delay)
        const plan = { kind: 'materialize', table: TABLE, overwrite: true } as const
        let operator = new Materialize(plan, contextOf(store, true))
        const model = new Map<string, Row>()
        const result = new Result()
        for (const [batch, wide, hidden, dice] of batches) {
          const restart = dice === 0
          for (const { op, row: values } of batch.flat()) {
            const key = rowText([values[1], values[2]])
            if ((op & 1) === 0) model.set(key, values)
            // An update of a key sends both halves; the first alone takes nothing away.
            else if (op === 1) model.delete(key)
          }
          push(operator, 0, chunkOf(SCHEMA, batch.flat(), { wide, hidden }), result)
          const expected = [...model.values()].map(rowText).sort()
          expect(result.sorted()).toEqual(expected)
          expect(snapshotOf(operator)).toEqual(expected)
          if (restart) operator = new Materialize(plan, contextOf(store, false))
        }
      }),
      { numRuns: 300 },
    )
  })

  it('passes exact changes on and keeps them; snapshots hold the own vnodes', () => {
    fc.assert(
      fc.property(chunks, fc.integer({ min: 0, max: 256 }), (batches, split) => {
        const store = new FakeStore()
        const plan = { kind: 'materialize', table: TABLE, overwrite: false } as const
        const operator = new Materialize(plan, contextOf(store, true))
        const model = new Map<string, Row>()
        const result = new Result()
        for (const [batch, wide, hidden] of batches) {
          const exact: Change[] = []
          for (const { op, row: values } of batch.flat()) {
            const key = rowText([values[1], values[2]])
            const before = model.get(key)
            if (before !== undefined) exact.push({ op: op === 0 ? 3 : 1, row: before })
            if (op === 0) exact.push({ op: before === undefined ? 0 : 2, row: values })
            if (op === 0) model.set(key, values)
            else model.delete(key)
          }
          push(operator, 0, chunkOf(SCHEMA, exact, { wide, hidden }), result)
        }
        const expected = [...model.values()].map(rowText).sort()
        expect(result.sorted()).toEqual(expected)
        const below = new Materialize(plan, contextOf(store, false, { from: 0, to: split }))
        const above = new Materialize(plan, contextOf(store, false, { from: split, to: 256 }))
        expect([...snapshotOf(below), ...snapshotOf(above)].sort()).toEqual(expected)
      }),
      { numRuns: 200 },
    )
  })

  it('reads nothing for the first rows of a new table', () => {
    const plan = { kind: 'materialize', table: TABLE, overwrite: true } as const
    const store = new FakeStore()
    const operator = new Materialize(plan, contextOf(store, true))
    const result = new Result()
    const insert = (value: string): void =>
      push(operator, 0, chunkOf(SCHEMA, [{ op: 0, row: [value, 1n, '1', 1] }]), result)
    insert('x')
    expect(store.readCount).toBe(0)
    insert('y')
    expect(store.readCount).toBe(1)
    expect(result.changes.map((change) => change.op)).toEqual([0, 3, 2])
  })
})
