/** State tables: batches of rows to the store and back, against a Map by key. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { StateTableSpec } from '../../src/stream/plan.ts'
import type { Schema } from '../../src/stream/schema.ts'
import { StateTable } from '../../src/stream/state-table.ts'
import { FakeStore } from './fake-store.ts'
import { cellOf, chunkOf, type Row, rowText } from './rows.ts'

const SCHEMA: Schema = [
  { name: 'value', type: 'varchar' },
  { name: 'group', type: 'bigint' },
  { name: 'order', type: 'numeric' },
  { name: 'wide', type: 'bigint' },
]
const SPEC: StateTableSpec = {
  tableId: 3,
  name: 't',
  group: 'state',
  schema: SCHEMA,
  key: [
    { column: 1, descending: false },
    { column: 2, descending: true },
  ],
  distribution: [1],
  prefixColumns: 1,
}
const decimals = ['-2', '-15e-1', '0', '1e-2', '3', '9007199254740993'] as const
const row = fc.tuple(
  fc.option(fc.constantFrom('', 'x', 'yy'), { freq: 5 }),
  fc.bigInt(0n, 3n),
  fc.constantFrom(...decimals),
  fc.option(fc.constantFrom(0n, -7n, 2n ** 62n), { freq: 5 }),
)
const batches = fc.array(
  fc.tuple(fc.array(fc.tuple(fc.nat(1), row), { maxLength: 15 }), fc.boolean()),
  { maxLength: 8 },
)
const keyOf = (values: Row): string => rowText([values[1], values[2]])

function rowsOf(columns: readonly Parameters<typeof cellOf>[0][], from: number, to: number): Row[] {
  const rows: Row[] = []
  for (let at = from; at < to; at++) rows.push(columns.map((column) => cellOf(column, at)))
  return rows
}

describe('state table', () => {
  it('finds by key and by prefix what was written, in the order of the key', () => {
    fc.assert(
      fc.property(batches, fc.nat(2), fc.nat(3), (chunks, delay, limit) => {
        const table = new StateTable(SPEC, new FakeStore(delay))
        const model = new Map<string, Row>()
        for (const [changes, wide] of chunks) {
          const chunk = chunkOf(
            SCHEMA,
            changes.map(([op, values]) => ({ op, row: values })),
            { wide },
          )
          table.write(chunk.columns, chunk.ops, null, chunk.rowCount)
          for (const [op, values] of changes)
            if (op === 0) model.set(keyOf(values), values)
            else model.delete(keyOf(values))
        }
        const probes: Row[] = []
        for (let group = 0n; group <= 3n; group++)
          for (const order of decimals) probes.push([null, group, order, null])
        const probe = chunkOf(
          SCHEMA,
          probes.map((values) => ({ op: 0, row: values })),
        )
        const [, groups, orders] = probe.columns
        const byKey = table.get([groups, orders], null, probes.length)
        for (let polls = 0; !byKey.poll(); polls++) expect(polls).toBeLessThan(delay)
        const stored = probes.filter((values) => model.has(keyOf(values)))
        const found = byKey.columns()
        expect([...byKey.found]).toEqual(probes.map((values) => Number(model.has(keyOf(values)))))
        expect(rowsOf(found, 0, stored.length)).toEqual(stored.map((p) => model.get(keyOf(p))))

        const firsts = Int32Array.from([0, 1, 2, 3], (group) => group * decimals.length)
        const byPrefix = table.scanPrefixes([groups], firsts, 4, limit === 0 ? undefined : limit)
        while (!byPrefix.poll());
        const columns = byPrefix.columns()
        for (let group = 0; group < 4; group++) {
          const [from, to] = [byPrefix.rowStarts[group], byPrefix.rowStarts[group + 1]]
          const expected = stored
            .filter((values) => values[1] === BigInt(group))
            .reverse()
            .map((values) => model.get(keyOf(values)))
          expect(rowsOf(columns, from, to)).toEqual(
            limit === 0 ? expected : expected.slice(0, limit),
          )
        }
      }),
      { numRuns: 200 },
    )
  })

  it('keeps the display scale of numeric keys', () => {
    const store = new FakeStore()
    const table = new StateTable(SPEC, store)
    const chunk = chunkOf(SCHEMA, [{ op: 0, row: [null, 1n, '1', null] }])
    const [value, group, order, wide] = chunk.columns
    const scaled = chunkOf(SCHEMA, [{ op: 0, row: [null, 1n, '105e-2', null] }]).columns[2]
    expect(scaled.scale).toBe(2)
    table.write([value, group, scaled, wide], null, null, 1)
    const read = table.get([group, order], null, 1)
    while (!read.poll());
    expect([...read.found]).toEqual([0])
    const scan = table.scanVnodes(0, 256)
    while (!scan.poll());
    expect(scan.rowCount).toBe(1)
    expect(scan.columns[2].scale).toBe(2)
    while (!scan.poll());
    expect(scan.rowCount).toBe(0)
  })

  it('writes an update of one key once, and of two keys twice', () => {
    const store = new FakeStore()
    const table = new StateTable(SPEC, store)
    let deletes = 0
    const local = store.tables.get(3)
    if (local === undefined) throw new TypeError('the table is not open')
    const original = local.delete.bind(local)
    local.delete = (key, start, end) => {
      deletes++
      original(key, start, end)
    }
    const write = (before: Row, after: Row): void => {
      const chunk = chunkOf(SCHEMA, [
        { op: 3, row: before },
        { op: 2, row: after },
      ])
      table.write(chunk.columns, chunk.ops, null, 2)
    }
    write(['a', 1n, '1', null], ['b', 1n, '1', null])
    expect([deletes, local.rows.size]).toEqual([0, 1])
    write(['b', 1n, '1', null], ['c', 1n, '2', null])
    expect([deletes, local.rows.size]).toEqual([1, 1])
  })
})
