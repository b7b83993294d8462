/**
 * Inner join of two streams on equal columns, with a condition over the pairs: each chunk is joined with all
 * rows of the other side so far and then kept for those to come. One actor owns it and all rows of its vnodes.
 * Nulls in join columns never match, so that such rows are not even kept.
 * Hot path: matching pairs are collected as two lists of row numbers, then gathered column by column.
 */
import { assert } from '../../common/assert.ts'
import type { LocalTable, Pending } from '../../storage/state-store.ts'
import { Chunk, DELETE, INSERT } from '../chunk.ts'
import { Column } from '../column.ts'
import { ColumnBuilder } from '../column-builder.ts'
import { columnsOf, compilePredicate } from '../expression.ts'
import type { Operator, OperatorContext, Output } from '../operator.ts'
import type { OperatorPlan } from '../plan.ts'
import { hashRows } from '../row-hash.ts'
import type { JoinGeneration } from './join-side.ts'
import { JoinSide } from './join-side.ts'

type HashJoinPlan = Extract<OperatorPlan, { kind: 'hash-join' }>

/** Stands for columns that neither the condition nor the output looks at. */
const NO_COLUMN = Column.narrow('bigint', new Float64Array(0), null)

export class HashJoin implements Operator {
  readonly tables: readonly LocalTable[]
  private readonly sides: readonly [JoinSide, JoinSide]
  private readonly leftWidth: number
  private readonly width: number
  private readonly output: readonly number[]
  private readonly condition: ((chunk: Chunk, out: Uint8Array) => void) | null
  /** Joined columns that the condition reads. */
  private readonly conditionColumns: readonly number[]
  private readonly chunkRows: number
  private hashes = new Uint32Array(0)
  /** Of each row of the chunk, the other side's key. */
  private matches = new Int32Array(0)
  private own = new Int32Array(0)
  private active: Uint8Array | null = null
  private prepared: Chunk | null = null
  /** The pairs collected: rows of the chunk, and cached rows of the other side. */
  private readonly pairRows: Int32Array
  private readonly pairCells: Int32Array
  private readonly mask: Uint8Array

  constructor(plan: HashJoinPlan, context: OperatorContext) {
    const cacheBytes = context.cacheBytes / 2
    const left = { table: plan.leftTable, keys: plan.leftKeys, cacheBytes }
    const right = { table: plan.rightTable, keys: plan.rightKeys, cacheBytes }
    this.sides = [new JoinSide(left, context), new JoinSide(right, context)]
    this.tables = this.sides.map((side) => side.table.local)
    this.leftWidth = plan.leftSchema.length
    this.width = plan.leftSchema.length + plan.rightSchema.length
    this.output = plan.output
    this.condition = plan.condition === null ? null : compilePredicate(plan.condition)
    this.conditionColumns = plan.condition === null ? [] : [...new Set(columnsOf(plan.condition))]
    this.chunkRows = context.chunkRows
    this.pairRows = new Int32Array(context.chunkRows)
    this.pairCells = new Int32Array(context.chunkRows)
    this.mask = new Uint8Array(context.chunkRows)
  }

  stateBytes(): number {
    return this.sides[0].bytes + this.sides[1].bytes
  }

  prepare(input: number, chunk: Chunk): Pending | null {
    const { rowCount } = chunk
    if (this.matches.length < rowCount) {
      this.hashes = new Uint32Array(rowCount)
      this.matches = new Int32Array(rowCount)
      this.own = new Int32Array(rowCount)
    }
    const keys = this.keysOf(input, chunk)
    hashRows(keys, rowCount, this.hashes)
    this.active = activeRows(chunk, keys)
    this.prepared = chunk
    return this.sides[1 - input].find(keys, this.hashes, this.active, rowCount, this.matches)
  }

  apply(input: number, chunk: Chunk, output: Output): void {
    assert(this.prepared === chunk, 'a chunk is applied right after it was prepared')
    this.prepared = null
    this.probe(input, chunk, output)
    const keys = this.keysOf(input, chunk)
    this.sides[input].write(chunk, keys, this.hashes, this.active, this.own)
    this.sides[0].rotateIfFull()
    this.sides[1].rotateIfFull()
  }

  prepareFlush(): Pending | null {
    return null
  }

  flush(): void {}

  private keysOf(input: number, chunk: Chunk): Column[] {
    return this.sides[input].keys.map((column) => chunk.columns[column])
  }

  private probe(input: number, chunk: Chunk, output: Output): void {
    const other = this.sides[1 - input].young
    const { matches, pairRows, pairCells, chunkRows } = this
    const { heads, next } = other
    let count = 0
    for (let row = 0; row < chunk.rowCount; row++) {
      const key = matches[row]
      if (key < 0) continue
      for (let cell = heads[key]; cell >= 0; cell = next[cell]) {
        pairRows[count] = row
        pairCells[count++] = cell
        if (count === chunkRows) {
          this.emitPairs(input, chunk, other, count, output)
          count = 0
        }
      }
    }
    if (count > 0) this.emitPairs(input, chunk, other, count, output)
  }

  private emitPairs(
    input: number,
    chunk: Chunk,
    other: JoinGeneration,
    pairCount: number,
    output: Output,
  ): void {
    const count = this.condition === null ? pairCount : this.select(input, chunk, other, pairCount)
    if (count === 0) return
    const columns = this.output.map((column) => this.gather(input, chunk, other, column, count))
    output.emit(new Chunk(count, this.pairOps(chunk, count), null, columns))
  }

  /** Moves the pairs that fulfil the condition to the front. Returns how many. */
  private select(input: number, chunk: Chunk, other: JoinGeneration, pairCount: number): number {
    if (this.condition === null) return pairCount
    const columns: Column[] = new Array(this.width).fill(NO_COLUMN)
    for (const column of this.conditionColumns)
      columns[column] = this.gather(input, chunk, other, column, pairCount)
    const { mask, pairRows, pairCells } = this
    this.condition(new Chunk(pairCount, null, null, columns), mask)
    let count = 0
    for (let pair = 0; pair < pairCount; pair++) {
      pairRows[count] = pairRows[pair]
      pairCells[count] = pairCells[pair]
      count += mask[pair]
    }
    return count
  }

  /** One joined column of the first `count` pairs. */
  private gather(
    input: number,
    chunk: Chunk,
    other: JoinGeneration,
    column: number,
    count: number,
  ): Column {
    const isLeft = column < this.leftWidth
    const index = isLeft ? column : column - this.leftWidth
    if (isLeft !== (input === 0)) return other.cells[index].gather(this.pairCells, count)
    const source = chunk.columns[index]
    const builder = new ColumnBuilder(source.type, source.scale)
    builder.gather(source, this.pairRows, count)
    return builder.finish()
  }

  /** A pair comes or goes with the row of the chunk; halves of updates are plain deletes and inserts. */
  private pairOps(chunk: Chunk, count: number): Uint8Array | null {
    if (chunk.ops === null) return null
    const ops = new Uint8Array(count)
    let taken = 0
    for (let pair = 0; pair < count; pair++) {
      const isTaken = chunk.ops[this.pairRows[pair]] & 1
      ops[pair] = isTaken === 1 ? DELETE : INSERT
      taken += isTaken
    }
    return taken === 0 ? null : ops
  }
}

/** 1 where a row is visible and none of its join columns is null; null when all are so. */
function activeRows(chunk: Chunk, keys: readonly Column[]): Uint8Array | null {
  let active: Uint8Array | null = null
  for (const { nulls } of keys) {
    if (nulls === null) continue
    active ??= chunk.visible?.slice(0, chunk.rowCount) ?? new Uint8Array(chunk.rowCount).fill(1)
    for (let row = 0; row < chunk.rowCount; row++) active[row] &= nulls[row] ^ 1
  }
  return active ?? chunk.visible
}
