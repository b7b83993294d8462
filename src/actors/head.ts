/**
 * Where an actor's messages come from: outside readers, DML batches, or the channels of other actors.
 * Heads that have no channels get their barriers from the worker's loop and put them behind what they have
 * given out.
 */
import { assert } from '../common/assert.ts'
import { Chunk } from '../stream/chunk.ts'
import { Column, WIDE } from '../stream/column.ts'
import type { Barrier } from '../stream/message.ts'
import type { SplitOffset, SplitReader } from '../stream/source.ts'
import type { InputChannel } from './exchange.ts'
import { Merge } from './merge.ts'
import { Queue } from './queue.ts'

/** What `Head.next` found; the fields of the head hold it. */
export type Pulled = 'chunk' | 'barrier' | 'end' | 'nothing'

export interface Head {
  /** After 'chunk': the chunk, and which input of the first operator it is for. */
  readonly chunk: Chunk | null
  readonly input: number
  /** After 'barrier'. */
  readonly barrier: Barrier | null
  next(): Pulled
  /** For heads without channels: the barrier that the control thread sent. */
  inject(barrier: Barrier): void
  /** True for heads that get their barriers by `inject`. */
  readonly injected: boolean
}

/** One split of an outside source, and under which name its offset is committed. */
export interface SourceSplit {
  /** `<sourceId>/<split>`. */
  readonly offsetKey: string
  readonly reader: SplitReader
}

/** Reads the splits in turn. */
export class SourceHead implements Head {
  readonly injected = true
  readonly input = 0
  readonly sourceId: number
  chunk: Chunk | null = null
  barrier: Barrier | null = null
  /** Set by the loop: no rows while true, barriers still flow. */
  paused = false
  /** Set by the loop at the barrier that starts the job. */
  started = false
  /** Rows given out so far. */
  rowCount = 0
  private readonly splits: readonly SourceSplit[]
  private readonly chunkRows: number
  private readonly barriers = new Queue<Barrier>()
  private turn = 0

  constructor(sourceId: number, splits: readonly SourceSplit[], chunkRows: number) {
    this.sourceId = sourceId
    this.splits = splits
    this.chunkRows = chunkRows
  }

  inject(barrier: Barrier): void {
    this.barriers.push(barrier)
  }

  next(): Pulled {
    this.barrier = this.barriers.shift() ?? null
    if (this.barrier !== null) return 'barrier'
    if (this.paused || !this.started) return 'nothing'
    for (let tried = 0; tried < this.splits.length; tried++) {
      const { reader } = this.splits[this.turn]
      this.turn = (this.turn + 1) % this.splits.length
      const chunk = reader.next(this.chunkRows)
      if (chunk === null) continue
      this.chunk = chunk
      this.rowCount += chunk.rowCount
      return 'chunk'
    }
    return 'nothing'
  }

  /** Every split is exhausted; also when there are none here. */
  done(): boolean {
    return this.splits.every((split) => split.reader.done())
  }

  /** True when rows may come by themselves, without anybody ringing. */
  mayWake(): boolean {
    return this.started && !this.paused && !this.done()
  }

  eventsRead(): number {
    return this.splits.reduce((sum, split) => sum + split.reader.eventsRead(), 0)
  }

  offsets(): Record<string, SplitOffset> {
    const offsets: Record<string, SplitOffset> = {}
    for (const split of this.splits) offsets[split.offsetKey] = split.reader.offset()
    return offsets
  }
}

/** Rows of DML statements, in the order in which they came, barriers between them. */
export class DmlHead implements Head {
  readonly injected = true
  readonly input = 0
  readonly tableId: number
  chunk: Chunk | null = null
  barrier: Barrier | null = null
  private readonly rowIdColumn: number
  private readonly queue = new Queue<Chunk | Barrier>()
  /** Next row id; part of the epoch's state as the offset of source `tableId`. */
  private nextRowId: number

  /** @param rowIdColumn column that gets a number where it is null, or -1. */
  constructor(tableId: number, rowIdColumn: number, offset: SplitOffset | null) {
    this.tableId = tableId
    this.rowIdColumn = rowIdColumn
    this.nextRowId = offset === null ? 0 : Number(offset['nextRowId'])
    assert(Number.isSafeInteger(this.nextRowId), 'an offset is whole')
  }

  inject(barrier: Barrier): void {
    this.queue.push(barrier)
  }

  add(chunk: Chunk): void {
    if (chunk.rowCount > 0) this.queue.push(chunk)
  }

  next(): Pulled {
    const item = this.queue.shift()
    if (item === undefined) return 'nothing'
    if (item instanceof Chunk) {
      this.chunk = this.rowIdColumn < 0 ? item : this.number(item)
      return 'chunk'
    }
    this.barrier = item
    return 'barrier'
  }

  offsets(): Record<string, SplitOffset> {
    if (this.rowIdColumn < 0) return {}
    return { [`${this.tableId}/0`]: { nextRowId: this.nextRowId } }
  }

  /** The chunk with row ids where it has none; rows that are named already keep theirs. */
  private number(chunk: Chunk): Chunk {
    const column = chunk.columns[this.rowIdColumn]
    if (column.nulls === null) return chunk
    assert(column.form !== WIDE, 'row ids are safe integers')
    const numbers = column.numbers.slice(0, chunk.rowCount)
    for (let row = 0; row < chunk.rowCount; row++) {
      if (column.nulls[row] === 1) numbers[row] = this.nextRowId++
    }
    const columns = [...chunk.columns]
    columns[this.rowIdColumn] = Column.narrow(column.type, numbers, null)
    return new Chunk(chunk.rowCount, chunk.ops, chunk.visible, columns)
  }
}

/** Channels of other actors. */
export class MergeHead implements Head {
  readonly injected = false
  chunk: Chunk | null = null
  input = 0
  barrier: Barrier | null = null
  private readonly merge: Merge

  constructor(channels: readonly InputChannel[]) {
    this.merge = new Merge(channels)
  }

  next(): Pulled {
    const found = this.merge.next()
    if (found === 'chunk') {
      this.chunk = this.merge.chunk
      this.input = this.merge.input
    } else if (found === 'barrier') this.barrier = this.merge.barrier
    return found
  }

  inject(): void {
    assert(false, 'barriers of this head come through its channels')
  }
}
