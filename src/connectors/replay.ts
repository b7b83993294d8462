/**
 * Columns made beforehand in shared memory, read as a stream: what benchmarks measure the engine with, without the
 * cost of making events. A split is every n-th block of rows; nothing is copied.
 * Hot path: one call per chunk.
 */
import { EngineError } from '../common/errors.ts'
import { Chunk } from '../stream/chunk.ts'
import { Column } from '../stream/column.ts'
import type { Field } from '../stream/schema.ts'
import type { SplitOffset, SplitReader } from '../stream/source.ts'

/** A table of a dataset. Numbers are a Float64Array; text is Uint32Array offsets and UTF-8 data. */
export interface ReplayTable {
  readonly rowCount: number
  /** Number of the event that each row was, ascending (Float64Array): one order over all tables. */
  readonly eventNumbers: SharedArrayBuffer
  readonly columns: Readonly<
    Record<
      string,
      | { readonly kind: 'numbers'; readonly values: SharedArrayBuffer }
      | {
          readonly kind: 'text'
          readonly offsets: SharedArrayBuffer
          readonly data: SharedArrayBuffer
        }
    >
  >
}

const BLOCK_ROWS = 2048

type Source =
  | { readonly kind: 'numbers'; readonly field: Field; readonly values: Float64Array }
  | {
      readonly kind: 'text'
      readonly field: Field
      readonly offsets: Uint32Array
      readonly data: Uint8Array
    }

export class ReplayReader implements SplitReader {
  private readonly sources: readonly Source[]
  private readonly eventNumbers: Float64Array
  private readonly rowCount: number
  private readonly splitCount: number
  private readonly eventsPerSecond: number
  private readonly monotonicMs: () => number
  private readonly startMs: number
  private block: number
  private within: number
  private events = 0
  private readonly startEvents: number

  /** @param eventsPerSecond Pace by event number; 0: as fast as possible. */
  constructor(init: {
    readonly table: ReplayTable
    readonly columns: readonly Field[]
    readonly rowIdColumn: number
    readonly split: number
    readonly splitCount: number
    readonly offset: SplitOffset | null
    readonly eventsPerSecond: number
    readonly monotonicMs: () => number
  }) {
    const { table, offset } = init
    this.rowCount = table.rowCount
    this.splitCount = init.splitCount
    this.eventNumbers = new Float64Array(table.eventNumbers)
    this.sources = init.columns.map((field, index) =>
      index === init.rowIdColumn
        ? { kind: 'numbers', field, values: this.eventNumbers }
        : sourceOf(table, field),
    )
    this.block = offset === null ? init.split : Number(offset['block'])
    this.within = offset === null ? 0 : Number(offset['within'])
    this.eventsPerSecond = init.eventsPerSecond
    this.monotonicMs = init.monotonicMs
    this.startMs = init.monotonicMs()
    this.startEvents = this.position() < this.rowCount ? this.eventNumbers[this.position()] : 0
  }

  next(rowCountMax: number): Chunk | null {
    const from = this.position()
    if (from >= this.rowCount) return null
    let to = Math.min(from + Math.min(rowCountMax, BLOCK_ROWS - this.within), this.rowCount)
    if (this.eventsPerSecond > 0) {
      const elapsedMs = this.monotonicMs() - this.startMs
      const due = this.startEvents + (elapsedMs / 1000) * this.eventsPerSecond
      if (this.eventNumbers[from] > due) return null
      while (this.eventNumbers[to - 1] > due) to--
    }
    const rows = to - from
    this.within += rows
    if (this.within === BLOCK_ROWS || to === this.rowCount) {
      this.within = 0
      this.block += this.splitCount
    }
    this.events = this.eventNumbers[to - 1] + 1
    return new Chunk(
      rows,
      null,
      null,
      this.sources.map((source) =>
        source.kind === 'numbers'
          ? Column.narrow(source.field.type, source.values.subarray(from, to), null)
          : Column.text(
              source.field.type,
              source.offsets.subarray(from, to + 1),
              source.data,
              null,
            ),
      ),
    )
  }

  offset(): SplitOffset {
    return { block: this.block, within: this.within }
  }

  done(): boolean {
    return this.position() >= this.rowCount
  }

  eventsRead(): number {
    return this.events
  }

  private position(): number {
    return this.block * BLOCK_ROWS + this.within
  }
}

function sourceOf(table: ReplayTable, field: Field): Source {
  const column = table.columns[field.name]
  if (column === undefined) {
    throw new EngineError('SQL_UNDEFINED_COLUMN', `the dataset has no column ${field.name}`, {
      context: { sqlState: '42703', column: field.name },
    })
  }
  return column.kind === 'numbers'
    ? { kind: 'numbers', field, values: new Float64Array(column.values) }
    : {
        kind: 'text',
        field,
        offsets: new Uint32Array(column.offsets),
        data: new Uint8Array(column.data),
      }
}
