/** Filter, project and sink against plain loops over rows. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Chunk } from '../../src/stream/chunk.ts'
import type { OperatorContext } from '../../src/stream/operator.ts'
import { Filter } from '../../src/stream/operators/filter.ts'
import { Project } from '../../src/stream/operators/project.ts'
import { Sink } from '../../src/stream/operators/sink.ts'
import type { Expression } from '../../src/stream/plan.ts'
import type { Schema } from '../../src/stream/schema.ts'
import { FakeStore } from './fake-store.ts'
import { type Change, changesOf, chunkOf, push, type Row } from './rows.ts'

const SCHEMA: Schema = [
  { name: 'a', type: 'bigint' },
  { name: 'b', type: 'varchar' },
]
const CONTEXT: OperatorContext = {
  store: new FakeStore(),
  cacheBytes: 0,
  chunkRows: 8,
  vnodes: { from: 0, to: 256 },
  fresh: true,
}
const column = (index: number): Expression => ({ kind: 'column', index, type: SCHEMA[index].type })
const PREDICATE: Expression = {
  kind: 'call',
  name: 'greater',
  args: [column(0), { kind: 'literal', type: 'bigint', value: 0, scale: 0 }],
  type: 'boolean',
}

const row = fc.tuple(
  fc.option(fc.constantFrom(-1n, 0n, 1n, 2n ** 60n), { freq: 4 }),
  fc.constantFrom('x', 'yy'),
)
const change = fc.oneof(
  fc.tuple(fc.nat(1), row).map(([op, values]): Change[] => [{ op, row: values }]),
  fc.tuple(row, row).map(([before, after]): Change[] => [
    { op: 3, row: before },
    { op: 2, row: after },
  ]),
)
const shape = fc.record({ wide: fc.boolean(), hidden: fc.boolean(), ops: fc.boolean() })

function collect(): { readonly chunks: Chunk[]; emit(chunk: Chunk): void } {
  const chunks: Chunk[] = []
  return { chunks, emit: (chunk) => void chunks.push(chunk) }
}

const isKept = ([a]: Row): boolean => a !== null && BigInt(a) > 0n

describe('stateless operators', () => {
  it('filter keeps what is true and splits pairs of which one half is left', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 20 }), shape, (changes, options) => {
        const output = collect()
        const filter = new Filter({ kind: 'filter', predicate: PREDICATE }, CONTEXT)
        push(filter, 0, chunkOf(SCHEMA, changes.flat(), options), output)
        const expected: Change[] = []
        for (const [first, second] of changes) {
          if (second === undefined) {
            if (isKept(first.row)) expected.push(first)
            continue
          }
          const isPair = isKept(first.row) && isKept(second.row)
          if (isKept(first.row)) expected.push(isPair ? first : { op: 1, row: first.row })
          if (isKept(second.row)) expected.push(isPair ? second : { op: 0, row: second.row })
        }
        expect(output.chunks.flatMap(changesOf)).toEqual(expected)
        expect(output.chunks.length).toBe(expected.length === 0 ? 0 : 1)
      }),
      { numRuns: 300 },
    )
  })

  it('project computes its columns and keeps ops and hidden rows', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 20 }), shape, (changes, options) => {
        const output = collect()
        const expressions = [column(1), PREDICATE]
        const project = new Project({ kind: 'project', expressions }, CONTEXT)
        push(project, 0, chunkOf(SCHEMA, changes.flat(), options), output)
        const expected = changes.flat().map(({ op, row: values }) => {
          const flag = values[0] === null ? null : isKept(values) ? 1n : 0n
          return { op, row: [values[1], flag] }
        })
        expect(output.chunks.flatMap(changesOf)).toEqual(expected)
      }),
      { numRuns: 200 },
    )
  })

  it('sink counts visible rows and refuses what it does not know', () => {
    const plan = { kind: 'sink', sinkId: 1, properties: {}, schema: SCHEMA } as const
    const sink = new Sink({ ...plan, connector: 'blackhole' }, CONTEXT)
    const rows = [0, 1, 0].map((op) => ({ op, row: [1n, 'x'] }))
    push(sink, 0, chunkOf(SCHEMA, rows), collect())
    push(sink, 0, chunkOf(SCHEMA, rows, { hidden: true }), collect())
    expect(sink.rowCount).toBe(6)
    expect(() => new Sink({ ...plan, connector: 'kafka' }, CONTEXT)).toThrowError(
      expect.objectContaining({ code: 'SQL_UNSUPPORTED' }),
    )
  })
})
