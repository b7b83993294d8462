/**
 * The end of a query: collects what the operators emit, sorts it by PostgreSQL's rules (C collation,
 * nulls last ascending) and cuts it to LIMIT and OFFSET. With both ORDER BY and LIMIT only the rows that can
 * still be in the result are kept.
 */
import { assert } from '../common/assert.ts'
import { compareBytes } from '../common/bytes.ts'
import { EngineError } from '../common/errors.ts'
import type { QueryPlan } from '../sql/query-planner.ts'
import { CHUNK_ROWS, Chunk } from '../stream/chunk.ts'
import { type Column, NARROW, TEXT } from '../stream/column.ts'
import { ColumnBuilder, compactChunk, gatherChunk } from '../stream/column-builder.ts'
import type { Output } from '../stream/operator.ts'

/** Rows beyond the limit that are gathered before the next cut: cuts then cost little a row. */
const SLACK_ROWS = 64 * 1024

export class ResultCollector implements Output {
  private readonly plan: QueryPlan
  private readonly bytesMax: number
  /** Rows needed at the most; infinite without LIMIT. */
  private readonly needed: number
  private chunks: Chunk[] = []
  private rowCount = 0
  private byteCount = 0

  constructor(plan: QueryPlan, bytesMax: number) {
    this.plan = plan
    this.bytesMax = bytesMax
    this.needed = plan.limit === null ? Number.POSITIVE_INFINITY : plan.limit + plan.offset
  }

  /** True when no further row can change the result. */
  get isFull(): boolean {
    return this.rowCount >= this.needed && (this.plan.order.length === 0 || this.needed === 0)
  }

  emit(chunk: Chunk): void {
    if (this.isFull) return
    const columns = this.plan.columns.map((index) => chunk.columns[index])
    const rows = compactChunk(new Chunk(chunk.rowCount, chunk.ops, chunk.visible, columns))
    if (rows.ops !== null) {
      for (let row = 0; row < rows.rowCount; row++) {
        assert((rows.ops[row] & 1) === 0, 'a query only inserts')
      }
    }
    this.chunks.push(new Chunk(rows.rowCount, null, null, rows.columns))
    this.rowCount += rows.rowCount
    this.byteCount += bytesOf(rows)
    if (this.plan.order.length > 0 && this.rowCount > this.needed + SLACK_ROWS) this.cut()
    if (this.byteCount > this.bytesMax) {
      throw new EngineError('MEMORY_EXHAUSTED', 'the result needs more memory than it may have', {
        context: { bytesMax: this.bytesMax, hint: 'add a LIMIT, or select fewer columns' },
      })
    }
  }

  finish(): { readonly chunks: readonly Chunk[]; readonly rowCount: number } {
    const all = this.joined()
    const order = this.sorted(all)
    const end = Math.min(order.length, this.needed)
    const start = Math.min(this.plan.offset, end)
    const width = this.plan.schema.length
    const visible = new Chunk(all.rowCount, null, null, all.columns.slice(0, width))
    const chunks: Chunk[] = []
    for (let from = start; from < end; from += CHUNK_ROWS) {
      const rows = order.subarray(from, Math.min(from + CHUNK_ROWS, end))
      chunks.push(new Chunk(rows.length, null, null, gatherChunk(visible, rows, rows.length)))
    }
    return { chunks, rowCount: end - start }
  }

  /** Keeps the first `needed` rows in order. */
  private cut(): void {
    const all = this.joined()
    const rows = this.sorted(all).subarray(0, this.needed)
    const kept = new Chunk(rows.length, null, null, gatherChunk(all, rows, rows.length))
    this.chunks = [kept]
    this.rowCount = kept.rowCount
    this.byteCount = bytesOf(kept)
  }

  private joined(): Chunk {
    if (this.chunks.length === 1) return this.chunks[0]
    const [first] = this.chunks
    const types = first?.columns.map((column) => column.type) ?? []
    const columns = types.map((type, index) => {
      const builder = new ColumnBuilder(type)
      for (const { columns, rowCount } of this.chunks)
        builder.appendRange(columns[index], 0, rowCount)
      return builder.finish()
    })
    return new Chunk(this.rowCount, null, null, columns)
  }

  /** Row numbers in result order; rows that compare equal stay in the order they came. */
  private sorted(rows: Chunk): Uint32Array {
    const order = new Uint32Array(rows.rowCount)
    for (let row = 0; row < order.length; row++) order[row] = row
    const { order: keys } = this.plan
    if (keys.length === 0 || rows.rowCount === 0) return order
    const comparisons = keys.map((key) =>
      comparison(rows.columns[key.column], key.descending, key.nullsFirst),
    )
    return order.sort((a, b) => {
      for (const compare of comparisons) {
        const difference = compare(a, b)
        if (difference !== 0) return difference
      }
      return a - b
    })
  }
}

type Comparison = (a: number, b: number) => number

function comparison(column: Column, descending: boolean, nullsFirst: boolean): Comparison {
  const sign = descending ? -1 : 1
  const compare = valueComparison(column)
  const { nulls } = column
  if (nulls === null) return (a, b) => sign * compare(a, b)
  const nullSign = nullsFirst ? -1 : 1
  return (a, b) => {
    const difference = nulls[a] - nulls[b]
    if (difference !== 0) return nullSign * difference
    return nulls[a] === 1 ? 0 : sign * compare(a, b)
  }
}

function valueComparison({ form, numbers, wide, offsets, data }: Column): Comparison {
  if (form === TEXT) {
    return (a, b) =>
      compareBytes(data, offsets[a], offsets[a + 1], data, offsets[b], offsets[b + 1])
  }
  if (form === NARROW) return (a, b) => compareNumbers(numbers[a], numbers[b])
  return (a, b) => (wide[a] < wide[b] ? -1 : wide[a] > wide[b] ? 1 : 0)
}

/** NaN equals itself and is larger than all else. */
function compareNumbers(a: number, b: number): number {
  if (a < b) return -1
  if (a > b) return 1
  return Number(Number.isNaN(a)) - Number(Number.isNaN(b))
}

function bytesOf(chunk: Chunk): number {
  let bytes = 0
  for (const { form, offsets } of chunk.columns) {
    if (form === TEXT) bytes += offsets[chunk.rowCount] - offsets[0] + 4 * chunk.rowCount
    else bytes += (form === NARROW ? 8 : 32) * chunk.rowCount
  }
  return bytes
}
