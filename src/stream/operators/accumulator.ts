/**
 * What one aggregate call keeps per group, and how a chunk changes it. An accumulator holds no state of its own:
 * its cells lie in the generation that is passed in, at `first` and after, and are written to the store
 * with the group. Used by `HashAggregate` only.
 * Hot path: `update`, once per call and chunk; its loops are monomorphic.
 */
import { assert, unreachable } from '../../common/assert.ts'
import { Column, NARROW, WIDE } from '../column.ts'
import { ColumnBuilder } from '../column-builder.ts'
import {
  divideNumeric,
  divideRounded,
  divisionScale,
  overflow,
  powerOfTen,
} from '../functions-number.ts'
import type { AggregateCall } from '../plan.ts'
import type { DataType } from '../schema.ts'
import { isExact } from '../schema.ts'
import { CELL_NULL, CELL_VALUE, CELL_WIDE, type CellColumn, exactAt } from '../state-cache-cells.ts'

/** Column `ROW_COUNT` of every group's state: its input rows. */
export const ROW_COUNT = 0

const SAFE = Number.MAX_SAFE_INTEGER

/** Type of a state column; nullable ones begin as null, the others as 0. */
export interface StateColumn {
  readonly type: DataType
  readonly nullable: boolean
}

/** Rows of a chunk as an accumulator sees them. */
export interface AccumulatorInput {
  readonly rowCount: number
  /** Group of each row; -1 where the row does not count. */
  readonly groups: Int32Array
  /** 1 or -1 a row; null = all 1. */
  readonly signs: Int8Array | null
  /** The argument; any column for a call without one. */
  readonly argument: Column
}

/** Which groups to output, from which of two sets of cells. */
export interface OutputRequest {
  readonly current: readonly CellColumn[]
  readonly previous: readonly CellColumn[]
  readonly groups: Int32Array
  readonly count: number
  /** 1 where the row is to be as it was before this epoch. */
  readonly isPrevious: Uint8Array
}

export interface Accumulator {
  readonly columns: readonly StateColumn[]
  update(cells: readonly CellColumn[], input: AccumulatorInput): void
  /** Whether the output of the group differs between the two. */
  isChanged(current: readonly CellColumn[], previous: readonly CellColumn[], group: number): boolean
  output(request: OutputRequest): Column
}

/** @param first position of its first state column. */
export function makeAccumulator(
  call: AggregateCall,
  first: number,
  appendOnly: boolean,
): Accumulator {
  switch (call.name) {
    case 'count_star':
      return new CountAccumulator(call, call.filterColumn < 0 ? ROW_COUNT : first)
    case 'count':
      return new CountAccumulator(call, first)
    case 'sum':
    case 'avg':
      assert(call.argumentType !== null, 'sum and avg have an argument')
      return isExact(call.argumentType)
        ? new ExactSumAccumulator(call, first)
        : new DoubleSumAccumulator(call, first)
    case 'min':
    case 'max':
      assert(call.argumentType !== null, 'min and max have an argument')
      return new ExtremeAccumulator(call, call.argumentType, first, appendOnly)
    default:
      return unreachable(call.name)
  }
}

/** count(*) and count(x), with or without FILTER: the operator has taken out the rows that do not count. */
class CountAccumulator implements Accumulator {
  readonly columns: readonly StateColumn[]
  private readonly at: number
  private readonly type: DataType

  constructor(call: AggregateCall, at: number) {
    this.columns = at === ROW_COUNT ? [] : [{ type: 'bigint', nullable: false }]
    this.at = at
    this.type = call.type
  }

  update(cells: readonly CellColumn[], input: AccumulatorInput): void {
    if (this.at !== ROW_COUNT) addCounts(cells[this.at].numbers, input)
  }

  isChanged(
    current: readonly CellColumn[],
    previous: readonly CellColumn[],
    group: number,
  ): boolean {
    return current[this.at].numbers[group] !== previous[this.at].numbers[group]
  }

  output(request: OutputRequest): Column {
    return gatherState(request, this.at, this.type)
  }
}

/** Adds each row's sign to its group. */
export function addCounts(counts: Float64Array, input: AccumulatorInput): void {
  const { rowCount, groups, signs } = input
  if (signs === null) {
    for (let row = 0; row < rowCount; row++) if (groups[row] >= 0) counts[groups[row]]++
  } else {
    for (let row = 0; row < rowCount; row++) if (groups[row] >= 0) counts[groups[row]] += signs[row]
  }
}

/** sum and avg of integers, numerics and intervals: count of values, and their exact sum. */
class ExactSumAccumulator implements Accumulator {
  readonly columns: readonly StateColumn[] = [
    { type: 'bigint', nullable: false },
    { type: 'numeric', nullable: false },
  ]
  private readonly at: number
  private readonly call: AggregateCall

  constructor(call: AggregateCall, at: number) {
    this.at = at
    this.call = call
  }

  update(cells: readonly CellColumn[], input: AccumulatorInput): void {
    addCounts(cells[this.at].numbers, input)
    const sums = cells[this.at + 1]
    const { argument } = input
    sums.raiseScale(argument.scale)
    if (argument.form === NARROW && argument.scale === sums.scale) addNarrow(sums, input)
    else addExact(sums, input)
  }

  isChanged(
    current: readonly CellColumn[],
    previous: readonly CellColumn[],
    group: number,
  ): boolean {
    const count = current[this.at].numbers[group]
    const before = previous[this.at].numbers[group]
    if (count !== before && (this.call.name === 'avg' || count === 0 || before === 0)) return true
    return !current[this.at + 1].equalsCell(group, previous[this.at + 1], group)
  }

  output(request: OutputRequest): Column {
    const counts = gatherState(request, this.at, 'bigint')
    const sums = gatherState(request, this.at + 1, this.call.type)
    if (this.call.name === 'avg') return divideExact(this.call.type, sums, counts, request.count)
    const nulls = nullsOfZero(counts.numbers, request.count)
    checkRange(this.call.type, sums, request.count)
    return sums.form === WIDE
      ? Column.wide(this.call.type, sums.wide, nulls, sums.scale)
      : Column.narrow(this.call.type, sums.numbers, nulls, sums.scale)
  }
}

/** Both operands are below 2^53, so that the sum is exact whenever it is below 2^53 too. */
function addNarrow(sums: CellColumn, input: AccumulatorInput): void {
  const { rowCount, groups, signs, argument } = input
  const values = argument.numbers
  const numbers = sums.numbers
  const flags = sums.flags
  for (let row = 0; row < rowCount; row++) {
    const group = groups[row]
    if (group < 0) continue
    const value = signs === null ? values[row] : values[row] * signs[row]
    const sum = numbers[group] + value
    if (sum <= SAFE && sum >= -SAFE && (flags === null || flags[group] === CELL_VALUE))
      numbers[group] = sum
    else {
      sums.setExact(group, sums.exact(group) + BigInt(value))
      if (sums.flags !== flags) {
        // The first wide sum of this column: go on with the flags that there are now.
        addNarrowFrom(sums, input, row + 1)
        return
      }
    }
  }
}

function addNarrowFrom(sums: CellColumn, input: AccumulatorInput, from: number): void {
  const groups = input.groups.slice(0, input.rowCount)
  groups.fill(-1, 0, from)
  addNarrow(sums, { ...input, groups })
}

function addExact(sums: CellColumn, input: AccumulatorInput): void {
  const { rowCount, groups, signs, argument } = input
  const factor = powerOfTen(sums.scale - argument.scale)
  for (let row = 0; row < rowCount; row++) {
    const group = groups[row]
    if (group < 0) continue
    const value = exactAt(argument, row) * factor
    const isTaken = signs !== null && signs[row] < 0
    sums.setExact(group, sums.exact(group) + (isTaken ? -value : value))
  }
}

/**
 * sum and avg of real and double: count of values, sum of the finite ones, and counts of NaN and the
 * infinities, so that these can be retracted.
 */
class DoubleSumAccumulator implements Accumulator {
  readonly columns: readonly StateColumn[] = [
    { type: 'bigint', nullable: false },
    { type: 'double', nullable: false },
    { type: 'bigint', nullable: false },
    { type: 'bigint', nullable: false },
    { type: 'bigint', nullable: false },
  ]
  private readonly at: number
  private readonly call: AggregateCall

  constructor(call: AggregateCall, at: number) {
    this.at = at
    this.call = call
  }

  update(cells: readonly CellColumn[], input: AccumulatorInput): void {
    const { rowCount, groups, signs, argument } = input
    const counts = cells[this.at].numbers
    const sums = cells[this.at + 1].numbers
    const values = argument.numbers
    for (let row = 0; row < rowCount; row++) {
      const group = groups[row]
      if (group < 0) continue
      const sign = signs === null ? 1 : signs[row]
      const value = values[row]
      counts[group] += sign
      if (Number.isFinite(value)) sums[group] += value * sign
      else cells[this.at + specialOffset(value)].numbers[group] += sign
      // What was lost to rounding ends with the group's last value.
      if (counts[group] === 0) sums[group] = 0
    }
  }

  isChanged(
    current: readonly CellColumn[],
    previous: readonly CellColumn[],
    group: number,
  ): boolean {
    return !Object.is(this.value(current, group), this.value(previous, group))
  }

  output(request: OutputRequest): Column {
    const numbers = new Float64Array(request.count)
    let nulls: Uint8Array | null = null
    for (let i = 0; i < request.count; i++) {
      const cells = request.isPrevious[i] === 1 ? request.previous : request.current
      const value = this.value(cells, request.groups[i])
      if (value === null) {
        nulls ??= new Uint8Array(request.count)
        nulls[i] = 1
      } else numbers[i] = value
    }
    return Column.narrow(this.call.type, numbers, nulls)
  }

  private value(cells: readonly CellColumn[], group: number): number | null {
    const count = cells[this.at].numbers[group]
    if (count === 0) return null
    const isNan = cells[this.at + 2].numbers[group] !== 0
    const isUp = cells[this.at + 3].numbers[group] !== 0
    const isDown = cells[this.at + 4].numbers[group] !== 0
    if (isNan || (isUp && isDown)) return Number.NaN
    if (isUp || isDown) return isUp ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY
    const sum = cells[this.at + 1].numbers[group]
    const value = (this.call.name === 'avg' ? sum / count : sum) + 0
    if (!Number.isFinite(value)) throw overflow(this.call.type)
    return this.call.type === 'real' ? Math.fround(value) : value
  }
}

function specialOffset(value: number): number {
  if (Number.isNaN(value)) return 2
  return value > 0 ? 3 : 4
}

/**
 * min and max. Append-only: the value. Else also the count of values, and a mark that the extreme was
 * deleted, upon which the operator reads the next one from the value table.
 */
export class ExtremeAccumulator implements Accumulator {
  readonly columns: readonly StateColumn[]
  readonly at: number
  readonly isMax: boolean
  private readonly call: AggregateCall
  private readonly appendOnly: boolean

  constructor(call: AggregateCall, argumentType: DataType, at: number, appendOnly: boolean) {
    const value: StateColumn = { type: argumentType, nullable: true }
    this.columns = appendOnly
      ? [value]
      : [value, { type: 'bigint', nullable: false }, { type: 'boolean', nullable: false }]
    this.call = call
    this.at = at
    this.isMax = call.name === 'max'
    this.appendOnly = appendOnly
  }

  update(cells: readonly CellColumn[], input: AccumulatorInput): void {
    const best = cells[this.at]
    const { argument } = input
    best.raiseScale(argument.scale)
    if (!this.appendOnly) this.updateRetractable(cells, input)
    else if (argument.form === NARROW && isExact(argument.type) && argument.scale === best.scale)
      this.updateNarrow(best, input)
    else this.updateAny(best, input)
  }

  isStale(cells: readonly CellColumn[], group: number): boolean {
    return !this.appendOnly && cells[this.at + 2].numbers[group] === 1
  }

  setFromTable(cells: readonly CellColumn[], group: number, values: Column, row: number): void {
    cells[this.at].set(group, values, row)
    cells[this.at + 2].numbers[group] = 0
  }

  isChanged(
    current: readonly CellColumn[],
    previous: readonly CellColumn[],
    group: number,
  ): boolean {
    return !current[this.at].equalsCell(group, previous[this.at], group)
  }

  output(request: OutputRequest): Column {
    return gatherState(request, this.at, this.call.type)
  }

  private updateNarrow(best: CellColumn, input: AccumulatorInput): void {
    const { rowCount, groups } = input
    const values = input.argument.numbers
    const numbers = best.numbers
    const flags = best.flagged()
    const sign = this.isMax ? 1 : -1
    for (let row = 0; row < rowCount; row++) {
      const group = groups[row]
      if (group < 0) continue
      const value = values[row]
      if (flags[group] === CELL_VALUE) {
        if ((value - numbers[group]) * sign > 0) numbers[group] = value
      } else if (flags[group] === CELL_NULL) {
        numbers[group] = value
        flags[group] = CELL_VALUE
      } else if (flags[group] === CELL_WIDE) this.take(best, group, input.argument, row)
    }
  }

  private updateAny(best: CellColumn, input: AccumulatorInput): void {
    const { rowCount, groups, argument } = input
    for (let row = 0; row < rowCount; row++)
      if (groups[row] >= 0) this.take(best, groups[row], argument, row)
  }

  private take(best: CellColumn, group: number, argument: Column, row: number): void {
    if (best.isNull(group)) best.set(group, argument, row)
    else {
      const order = best.compare(group, argument, row)
      if (this.isMax ? order < 0 : order > 0) best.set(group, argument, row)
    }
  }

  private updateRetractable(cells: readonly CellColumn[], input: AccumulatorInput): void {
    const { rowCount, groups, signs, argument } = input
    const best = cells[this.at]
    const counts = cells[this.at + 1].numbers
    const stale = cells[this.at + 2].numbers
    for (let row = 0; row < rowCount; row++) {
      const group = groups[row]
      if (group < 0) continue
      if (signs === null || signs[row] > 0) {
        counts[group]++
        if (stale[group] === 0) this.take(best, group, argument, row)
      } else {
        counts[group]--
        if (stale[group] === 0 && !this.isBehind(best, group, argument, row)) stale[group] = 1
      }
      if (counts[group] === 0) {
        best.setNull(group)
        stale[group] = 0
      }
    }
  }

  /** True when the value of the row is strictly worse than the extreme: its deletion changes nothing. */
  private isBehind(best: CellColumn, group: number, argument: Column, row: number): boolean {
    if (best.isNull(group)) return false
    const order = best.compare(group, argument, row)
    return this.isMax ? order > 0 : order < 0
  }
}

function gatherState(request: OutputRequest, at: number, type: DataType): Column {
  return request.current[at].gather(
    request.groups,
    request.count,
    request.previous[at],
    request.isPrevious,
    type,
  )
}

function nullsOfZero(counts: Float64Array, count: number): Uint8Array | null {
  let nulls: Uint8Array | null = null
  for (let i = 0; i < count; i++)
    if (counts[i] === 0) {
      nulls ??= new Uint8Array(count)
      nulls[i] = 1
    }
  return nulls
}

const INT64_MAX = 2n ** 63n - 1n
const INT64_MIN = -(2n ** 63n)

/** A sum that is a bigint may leave its range; a numeric may not. */
function checkRange(type: DataType, sums: Column, count: number): void {
  if (sums.form !== WIDE || type === 'numeric') return
  for (let i = 0; i < count; i++)
    if (sums.wide[i] > INT64_MAX || sums.wide[i] < INT64_MIN) throw overflow(type)
}

/** avg of exact values: numeric with PostgreSQL's scale of divisions; of intervals an interval. */
function divideExact(type: DataType, sums: Column, counts: Column, count: number): Column {
  const result = new ColumnBuilder(type)
  for (let i = 0; i < count; i++) {
    const divisor = BigInt(counts.numbers[i])
    if (divisor === 0n) result.appendNull()
    else if (type === 'numeric') {
      const quotient = averageOf(exactAt(sums, i), sums.scale, divisor)
      result.appendScaled(quotient.value, quotient.scale)
    } else result.appendBigint(divideRounded(exactAt(sums, i), divisor))
  }
  return result.finish()
}

/**
 * `sum x 10^-scale / count` with PostgreSQL's digits. The scale follows from the number alone (trailing zeros of
 * the sum do not count), so that the same sum and count give the same digits in every epoch.
 */
export function averageOf(
  sum: bigint,
  scale: number,
  count: bigint,
): { readonly value: bigint; readonly scale: number } {
  let digits = sum
  let sumScale = scale
  while (sumScale > 0 && digits % 10n === 0n) {
    digits /= 10n
    sumScale--
  }
  const resultScale = divisionScale(digits, sumScale, count, 0)
  return { value: divideNumeric(digits, sumScale, count, 0, resultScale), scale: resultScale }
}
