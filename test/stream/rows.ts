/** Rows as plain values and chunks of them, and a driver of one operator, for tests of operators. */
import { EPOCH_ZERO, epoch } from '../../src/common/ids.ts'
import type { Pending } from '../../src/storage/state-store.ts'
import { Chunk } from '../../src/stream/chunk.ts'
import { type Column, TEXT, WIDE } from '../../src/stream/column.ts'
import { ColumnBuilder } from '../../src/stream/column-builder.ts'
import type { Barrier } from '../../src/stream/message.ts'
import type { Operator, Output } from '../../src/stream/operator.ts'
import type { Schema } from '../../src/stream/schema.ts'
import { isExact, isText } from '../../src/stream/schema.ts'

/** Numerics are written as decimal text, other exact values as bigint, doubles as number. */
export type Value = bigint | number | string | null
export type Row = readonly Value[]
export interface Change {
  readonly op: number
  readonly row: Row
}

/** Canonical text of `value x 10^-scale`. */
export function decimalText(value: bigint, scale: number): string {
  let digits = value
  let left = scale
  while (left > 0 && digits % 10n === 0n) {
    digits /= 10n
    left--
  }
  return left === 0 ? `${digits}` : `${digits}e-${left}`
}

export function decimal(value: string): { value: bigint; scale: number } {
  const [digits, scale] = value.split('e-')
  return { value: BigInt(digits), scale: Number(scale ?? 0) }
}

export interface ChunkShape {
  /** Turn exact columns into the wide form. */
  readonly wide?: boolean
  /** Put a hidden row behind each one. */
  readonly hidden?: boolean
  /** Never leave out the op column. */
  readonly ops?: boolean
}

export function chunkOf(schema: Schema, changes: readonly Change[], shape: ChunkShape = {}): Chunk {
  const all: Change[] = []
  const visible: number[] = []
  for (const change of changes) {
    // The halves of an update stay adjacent.
    if (shape.hidden === true && change.op !== 2) {
      all.push(change)
      visible.push(0)
    }
    all.push(change)
    visible.push(1)
  }
  const ops = Uint8Array.from(all, (change) => change.op)
  const hasOps = shape.ops === true || ops.some((op) => op !== 0)
  return new Chunk(
    all.length,
    hasOps ? ops : null,
    shape.hidden === true ? Uint8Array.from(visible) : null,
    schema.map((field, i) => {
      const builder = new ColumnBuilder(field.type)
      if (shape.wide === true && isExact(field.type)) builder.widen()
      for (const { row } of all) appendValue(builder, row[i])
      return builder.finish()
    }),
  )
}

function appendValue(builder: ColumnBuilder, value: Value): void {
  if (value === null) builder.appendNull()
  else if (isText(builder.type)) {
    const bytes = Buffer.from(String(value))
    builder.appendText(bytes, 0, bytes.length)
  } else if (builder.type === 'numeric') {
    const parts = decimal(String(value))
    builder.appendScaled(parts.value, parts.scale)
  } else if (typeof value === 'bigint') builder.appendBigint(value)
  else builder.appendNumber(Number(value))
}

export function cellOf(column: Column, row: number): Value {
  if (column.nulls !== null && column.nulls[row] === 1) return null
  if (column.form === TEXT)
    return Buffer.from(
      column.data.subarray(column.offsets[row], column.offsets[row + 1]),
    ).toString()
  if (!isExact(column.type)) return column.numbers[row]
  const value = column.form === WIDE ? column.wide[row] : BigInt(column.numbers[row])
  return column.type === 'numeric' ? decimalText(value, column.scale) : value
}

export function changesOf(chunk: Chunk): Change[] {
  const changes: Change[] = []
  for (let row = 0; row < chunk.rowCount; row++) {
    if (chunk.visible !== null && chunk.visible[row] === 0) continue
    changes.push({
      op: chunk.ops === null ? 0 : chunk.ops[row],
      row: chunk.columns.map((column) => cellOf(column, row)),
    })
  }
  return changes
}

export const rowText = (row: Row): string =>
  row.map((value) => (value === null ? 'null' : `${typeof value} ${value}`)).join(' | ')

/** Applies changes to a multiset of rows; a delete of a row that is not there fails. */
export class Result implements Output {
  readonly rows = new Map<string, number>()
  readonly changes: Change[] = []
  chunkRowsMax = 0

  emit(chunk: Chunk): void {
    this.chunkRowsMax = Math.max(this.chunkRowsMax, chunk.rowCount)
    const changes = changesOf(chunk)
    for (let i = 0; i < changes.length; i++) {
      const { op, row } = changes[i]
      if (op === 3 && changes[i + 1]?.op !== 2) throw new TypeError('half of an update')
      if (op === 2 && changes[i - 1]?.op !== 3) throw new TypeError('half of an update')
      const key = rowText(row)
      const count = (this.rows.get(key) ?? 0) + ((op & 1) === 1 ? -1 : 1)
      if (count < 0) throw new TypeError(`deleted what is not there: ${key}`)
      if (count === 0) this.rows.delete(key)
      else this.rows.set(key, count)
      this.changes.push(changes[i])
    }
  }

  sorted(): string[] {
    const lines: string[] = []
    for (const [key, count] of this.rows) for (let i = 0; i < count; i++) lines.push(key)
    return lines.sort()
  }
}

export function barrierOf(index: number): Barrier {
  return {
    epoch: epoch(index + 1),
    next: epoch(index + 2),
    checkpoint: EPOCH_ZERO === 0 && index % 3 === 0,
    startJobs: [],
    stopJobs: [],
  }
}

/** Completes reads; `RealStore` has blocks to fetch in between. */
export type Finish = (pending: Pending) => void

export function push(
  operator: Operator,
  input: number,
  chunk: Chunk,
  output: Output,
  finish: Finish = waitFor,
): void {
  const pending = operator.prepare(input, chunk)
  if (pending !== null) finish(pending)
  operator.apply(input, chunk, output)
}

export function flush(
  operator: Operator,
  index: number,
  output: Output,
  finish: Finish = waitFor,
): void {
  const barrier = barrierOf(index)
  const pending = operator.prepareFlush(barrier)
  if (pending !== null) finish(pending)
  operator.flush(barrier, output)
}

function waitFor(pending: Pending): void {
  for (let polls = 0; !pending.poll(); polls++)
    if (polls > 1000) throw new TypeError('a read never completes')
}
