/**
 * GROUP BY: keeps accumulators per group in a two-generation cache over a state table, and at each barrier
 * emits per changed group what changed against the epoch before. One actor owns it and all groups of its vnodes.
 *
 * A group's entry lives in the young generation as soon as a row touches it; when the young one has half
 * the budget it becomes the old one, and the old one is dropped. Dirty groups of a dropped generation are emitted
 * and written at once, in the middle of the epoch: downstream sees two changes instead of one.
 * Hot path: one hash, one probe and one addition a row; no object per row.
 */
import { assert } from '../../common/assert.ts'
import type { LocalTable, Pending } from '../../storage/state-store.ts'
import { Chunk, DELETE, INSERT, UPDATE_DELETE, UPDATE_INSERT } from '../chunk.ts'
import { type Column, WIDE } from '../column.ts'
import type { Barrier } from '../message.ts'
import type { Operator, OperatorContext, Output } from '../operator.ts'
import type { AggregateCall, OperatorPlan, StateTableSpec } from '../plan.ts'
import { hashRows } from '../row-hash.ts'
import type { DataType, Schema } from '../schema.ts'
import { CellColumn } from '../state-cache-cells.ts'
import { AbsenceFilter, KeyIndex } from '../state-cache-index.ts'
import { type RowsByKey, type RowsByPrefix, StateTable } from '../state-table.ts'
import {
  type Accumulator,
  type AccumulatorInput,
  addCounts,
  ExtremeAccumulator,
  makeAccumulator,
  ROW_COUNT,
  type StateColumn,
} from './accumulator.ts'

export type HashAggregatePlan = Extract<OperatorPlan, { kind: 'hash-aggregate' }>

const CLEAN = 0
/** Touched in this epoch: `previous` holds the state before, and the group is in the dirty list. */
const DIRTY = 1
/** Copied to the young generation: this entry is out of date. */
const MOVED = 2

/** The schema that the state rows really have: the group columns, then the accumulators. */
export function aggregateStateSchema(plan: HashAggregatePlan): Schema {
  const schema = plan.groupKeys.map((column) => plan.inputSchema[column])
  const { stateColumns } = makeAccumulators(plan)
  return [...schema, ...stateColumns.map((column, i) => ({ name: `state${i}`, type: column.type }))]
}

function makeAccumulators(plan: HashAggregatePlan): {
  readonly accumulators: readonly Accumulator[]
  readonly stateColumns: readonly StateColumn[]
} {
  const stateColumns: StateColumn[] = [{ type: 'bigint', nullable: false }]
  const accumulators: Accumulator[] = []
  for (const call of plan.calls) {
    const accumulator = makeAccumulator(call, stateColumns.length, plan.appendOnly)
    stateColumns.push(...accumulator.columns)
    accumulators.push(accumulator)
  }
  return { accumulators, stateColumns }
}

/** Groups that entered the cache at about the same time, as columns by entry number. */
class Generation {
  readonly index: KeyIndex
  readonly current: CellColumn[]
  readonly previous: CellColumn[]
  status = new Uint8Array(0)
  /** 1: downstream and the store have the group. */
  isEmitted = new Uint8Array(0)
  dirty = new Int32Array(64)
  dirtyCount = 0

  constructor(keyTypes: readonly DataType[], stateColumns: readonly StateColumn[]) {
    this.index = new KeyIndex(keyTypes)
    this.current = stateColumns.map((part) => new CellColumn(part.type, 0, part.nullable))
    this.previous = stateColumns.map((part) => new CellColumn(part.type, 0, part.nullable))
    this.grow()
  }

  get bytes(): number {
    let bytes = this.index.bytes + this.index.count * 6
    for (let i = 0; i < this.current.length; i++) {
      bytes += this.index.count * 2 * this.current[i].cellBytes
      bytes += this.current[i].heapBytes + this.previous[i].heapBytes
    }
    return bytes
  }

  /** Makes room for as many groups as the index has: call after each insert. */
  grow(): void {
    const capacity = this.index.capacity
    if (this.status.length >= capacity) return
    const status = new Uint8Array(capacity)
    const isEmitted = new Uint8Array(capacity)
    status.set(this.status)
    isEmitted.set(this.isEmitted)
    this.status = status
    this.isEmitted = isEmitted
    for (let i = 0; i < this.current.length; i++) {
      this.current[i].reserve(capacity)
      this.previous[i].reserve(capacity)
    }
  }

  /** Notes groups as dirty that are not so yet, and keeps their state from before. */
  touchAll(groups: Int32Array, rowCount: number): void {
    const from = this.dirtyCount
    if (from + rowCount > this.dirty.length) {
      const dirty = new Int32Array(Math.max(from + rowCount, this.dirty.length * 2))
      dirty.set(this.dirty)
      this.dirty = dirty
    }
    const { status, dirty } = this
    let to = from
    for (let row = 0; row < rowCount; row++) {
      const group = groups[row]
      if (group < 0 || status[group] === DIRTY) continue
      status[group] = DIRTY
      dirty[to++] = group
    }
    this.dirtyCount = to
    for (let i = 0; i < this.current.length; i++)
      this.previous[i].copySame(this.current[i], dirty, from, to)
  }
}

export class HashAggregate implements Operator {
  readonly tables: readonly LocalTable[]
  private readonly plan: HashAggregatePlan
  private readonly keyTypes: readonly DataType[]
  private readonly accumulators: readonly Accumulator[]
  private readonly stateColumns: readonly StateColumn[]
  private readonly table: StateTable
  private readonly valueTables: readonly (StateTable | null)[]
  private readonly absence: AbsenceFilter
  private readonly generationBytes: number
  private readonly chunkRows: number
  private readonly isGlobal: boolean
  private young: Generation
  private old: Generation
  private hashes = new Uint32Array(0)
  private groups = new Int32Array(0)
  private masked = new Int32Array(0)
  private signs = new Int8Array(0)
  /** What `prepare` looked at; `apply` uses its groups. */
  private prepared: Chunk | null = null

  constructor(plan: HashAggregatePlan, context: OperatorContext) {
    const { accumulators, stateColumns } = makeAccumulators(plan)
    assert(
      plan.table.key.length === plan.groupKeys.length &&
        plan.table.key.every((part, i) => part.column === i),
      'the key of a group table is its first columns',
    )
    this.plan = plan
    this.keyTypes = plan.groupKeys.map((column) => plan.inputSchema[column].type)
    this.accumulators = accumulators
    this.stateColumns = stateColumns
    this.table = new StateTable(
      { ...plan.table, schema: aggregateStateSchema(plan) },
      context.store,
    )
    this.valueTables = plan.calls.map((call, i) => openValueTable(plan, call, i, context))
    this.tables = [
      this.table.local,
      ...this.valueTables.filter((table) => table !== null).map((table) => table.local),
    ]
    this.absence = new AbsenceFilter(context.fresh, context.cacheBytes / 8)
    this.generationBytes = context.cacheBytes / 2
    this.chunkRows = context.chunkRows
    this.isGlobal = plan.groupKeys.length === 0
    this.young = this.newGeneration()
    this.old = this.newGeneration()
  }

  stateBytes(): number {
    return this.young.bytes + this.old.bytes + this.absence.bytes
  }

  prepare(_input: number, chunk: Chunk): Pending | null {
    const { rowCount } = chunk
    this.reserveRows(rowCount)
    const keys = this.plan.groupKeys.map((column) => chunk.columns[column])
    hashRows(keys, rowCount, this.hashes)
    this.prepared = chunk
    const { index } = this.young
    if (index.findAll(keys, this.hashes, chunk.visible, rowCount, this.groups) === 0) return null
    return this.admitMissing(keys, chunk.visible, rowCount)
  }

  apply(_input: number, chunk: Chunk, output: Output): void {
    assert(this.prepared === chunk, 'a chunk is applied right after it was prepared')
    this.prepared = null
    const { rowCount } = chunk
    const { young, groups } = this
    const signs = this.signsOf(chunk)
    young.touchAll(groups, rowCount)
    const { current } = young
    addCounts(current[ROW_COUNT].numbers, { rowCount, groups, signs, argument: chunk.columns[0] })
    for (let i = 0; i < this.accumulators.length; i++) this.accumulate(i, chunk, signs)
    if (young.bytes > this.generationBytes) this.rotate(output)
  }

  prepareFlush(_barrier: Barrier): Pending | null {
    const waits: Pending[] = []
    if (this.isGlobal) this.admitGlobal(waits)
    for (let i = 0; i < this.accumulators.length; i++)
      for (const generation of [this.young, this.old]) this.refreshExtremes(i, generation, waits)
    return all(waits)
  }

  flush(_barrier: Barrier, output: Output): void {
    this.emitDirty(this.old, this.old.dirty, this.old.dirtyCount, output)
    this.emitDirty(this.young, this.young.dirty, this.young.dirtyCount, output)
    this.old.dirtyCount = 0
    this.young.dirtyCount = 0
  }

  private newGeneration(): Generation {
    return new Generation(this.keyTypes, this.stateColumns)
  }

  private reserveRows(rowCount: number): void {
    if (this.groups.length >= rowCount) return
    this.hashes = new Uint32Array(rowCount)
    this.groups = new Int32Array(rowCount)
    this.masked = new Int32Array(rowCount)
    this.signs = new Int8Array(rowCount)
  }

  /** Gives each row's group an entry in the young generation; those that the store may hold are read. */
  private admitMissing(
    keys: readonly Column[],
    visible: Uint8Array | null,
    rowCount: number,
  ): Pending | null {
    const { groups, hashes, young, old } = this
    const { index } = young
    const loads: number[] = []
    for (let row = 0; row < rowCount; row++) {
      if (groups[row] >= 0 || (visible !== null && visible[row] === 0)) continue
      const hash = hashes[row]
      let group = index.find(keys, row, hash)
      if (group < 0) {
        const oldGroup = old.index.find(keys, row, hash)
        if (oldGroup >= 0) group = this.move(oldGroup)
        else {
          group = index.insert(keys, row, hash)
          young.grow()
          if (this.absence.mayExist(hash)) loads.push(group)
        }
      }
      groups[row] = group
    }
    return loads.length === 0 ? null : this.load(Int32Array.from(loads))
  }

  /** Takes a group over from the old generation, with what it owes to this epoch. */
  private move(oldGroup: number): number {
    const { old, young } = this
    const group = young.index.insertFrom(old.index, oldGroup)
    young.grow()
    for (let i = 0; i < young.current.length; i++) {
      young.current[i].copy(group, old.current[i], oldGroup)
      if (old.status[oldGroup] === DIRTY) young.previous[i].copy(group, old.previous[i], oldGroup)
    }
    young.isEmitted[group] = old.isEmitted[oldGroup]
    if (old.status[oldGroup] === DIRTY) {
      if (young.dirtyCount === young.dirty.length) {
        const dirty = new Int32Array(young.dirty.length * 2)
        dirty.set(young.dirty)
        young.dirty = dirty
      }
      young.dirty[young.dirtyCount++] = group
      young.status[group] = DIRTY
    }
    old.status[oldGroup] = MOVED
    return group
  }

  private load(groups: Int32Array): Pending {
    const { young } = this
    const keys = young.index.cells.map((cells) => cells.gather(groups, groups.length))
    const rows = this.table.get(keys, null, groups.length)
    return { poll: () => rows.poll() && this.loaded(young, groups, rows) }
  }

  private loaded(generation: Generation, groups: Int32Array, rows: RowsByKey): boolean {
    const columns = rows.columns()
    const first = this.keyTypes.length
    for (let i = 0, row = 0; i < groups.length; i++) {
      if (rows.found[i] === 0) continue
      for (let part = 0; part < generation.current.length; part++)
        generation.current[part].set(groups[i], columns[first + part], row)
      generation.isEmitted[groups[i]] = 1
      row++
    }
    return true
  }

  private signsOf(chunk: Chunk): Int8Array | null {
    const { ops, rowCount } = chunk
    if (ops === null) return null
    const { signs } = this
    for (let row = 0; row < rowCount; row++) signs[row] = 1 - 2 * (ops[row] & 1)
    return signs
  }

  private accumulate(i: number, chunk: Chunk, signs: Int8Array | null): void {
    const call = this.plan.calls[i]
    const argument = chunk.columns[Math.max(call.column, 0)]
    const groups = this.maskedGroups(call, chunk)
    const input: AccumulatorInput = { rowCount: chunk.rowCount, groups, signs, argument }
    this.accumulators[i].update(this.young.current, input)
    const valueTable = this.valueTables[i]
    if (valueTable !== null) this.writeValues(valueTable, call, chunk, groups)
  }

  /** The groups of the chunk with -1 where the call's argument is null or its FILTER is not true. */
  private maskedGroups(call: AggregateCall, chunk: Chunk): Int32Array {
    const nulls = call.column < 0 ? null : chunk.columns[call.column].nulls
    if (nulls === null && call.filterColumn < 0) return this.groups
    const { groups, masked } = this
    const { rowCount } = chunk
    masked.set(groups.subarray(0, rowCount))
    if (nulls !== null)
      for (let row = 0; row < rowCount; row++) if (nulls[row] === 1) masked[row] = -1
    if (call.filterColumn >= 0) {
      const filter = chunk.columns[call.filterColumn]
      // A null of the filter holds 0, as false does.
      if (filter.form === WIDE) {
        for (let row = 0; row < rowCount; row++) if (filter.wide[row] !== 1n) masked[row] = -1
      } else
        for (let row = 0; row < rowCount; row++) if (filter.numbers[row] !== 1) masked[row] = -1
    }
    return masked
  }

  private writeValues(
    table: StateTable,
    call: AggregateCall,
    chunk: Chunk,
    groups: Int32Array,
  ): void {
    const rows = new Int32Array(chunk.rowCount)
    let count = 0
    for (let row = 0; row < chunk.rowCount; row++) if (groups[row] >= 0) rows[count++] = row
    const parts = [...this.plan.groupKeys, call.column, ...this.plan.streamKey]
    const columns = parts.map((column) => chunk.columns[column])
    table.write(columns, chunk.ops, rows, count)
  }

  /** Reads the next extreme of the dirty groups that lost theirs. */
  private refreshExtremes(i: number, generation: Generation, waits: Pending[]): void {
    const accumulator = this.accumulators[i]
    const table = this.valueTables[i]
    if (table === null || !(accumulator instanceof ExtremeAccumulator)) return
    const stale = new Int32Array(generation.dirtyCount)
    let count = 0
    for (let at = 0; at < generation.dirtyCount; at++) {
      const group = generation.dirty[at]
      if (generation.status[group] === DIRTY && accumulator.isStale(generation.current, group))
        stale[count++] = group
    }
    if (count === 0) return
    const keys = generation.index.cells.map((cells) => cells.gather(stale, count))
    const rows = table.scanPrefixes(keys, null, count, 1)
    waits.push({
      poll: () =>
        rows.poll() && this.setExtremes(accumulator, generation, stale.subarray(0, count), rows),
    })
  }

  private setExtremes(
    accumulator: ExtremeAccumulator,
    generation: Generation,
    groups: Int32Array,
    rows: RowsByPrefix,
  ): boolean {
    const values = rows.columns()[this.keyTypes.length]
    for (let i = 0; i < groups.length; i++) {
      const row = rows.rowStarts[i]
      assert(row < rows.rowStarts[i + 1], 'a group with values has one in its value table')
      accumulator.setFromTable(generation.current, groups[i], values, row)
    }
    return true
  }

  /** The one group of an aggregate without keys exists also when no row ever came. */
  private admitGlobal(waits: Pending[]): void {
    this.reserveRows(1)
    const { groups, young } = this
    this.hashes[0] = 0
    groups[0] = young.index.find([], 0, 0)
    const wait = groups[0] >= 0 ? null : this.admitMissing([], null, 1)
    if (wait === null) this.touchGlobal()
    else waits.push({ poll: () => wait.poll() && this.touchGlobal() })
  }

  private touchGlobal(): boolean {
    if (this.young.isEmitted[this.groups[0]] === 0) this.young.touchAll(this.groups, 1)
    return true
  }

  /** The young generation becomes the old one; what the old one owes is emitted and written first. */
  private rotate(output: Output): void {
    const { old } = this
    const settled = new Int32Array(old.dirtyCount)
    let settledCount = 0
    const kept: number[] = []
    for (let at = 0; at < old.dirtyCount; at++) {
      const group = old.dirty[at]
      if (old.status[group] !== DIRTY) continue
      if (this.isUnsettled(old, group)) kept.push(group)
      else settled[settledCount++] = group
    }
    this.emitDirty(old, settled, settledCount, output)
    for (const group of kept) this.move(group)
    for (let group = 0; group < old.index.count; group++)
      if (old.status[group] !== MOVED && old.isEmitted[group] === 1)
        this.absence.add(old.index.hashes[group])
    this.old = this.young
    this.young = this.newGeneration()
  }

  /** True for a group that cannot be emitted in the middle of the epoch. */
  private isUnsettled(generation: Generation, group: number): boolean {
    if (generation.current[ROW_COUNT].numbers[group] < 0) return true
    return this.accumulators.some(
      (accumulator) =>
        accumulator instanceof ExtremeAccumulator && accumulator.isStale(generation.current, group),
    )
  }

  /** Emits and writes the dirty ones among the groups, and makes them clean. */
  private emitDirty(generation: Generation, list: Int32Array, count: number, output: Output): void {
    const step = Math.max(1, this.chunkRows >>> 1)
    for (let from = 0; from < count; from += step)
      this.emitSlice(generation, list, { from, to: Math.min(count, from + step) }, output)
  }

  private emitSlice(
    generation: Generation,
    list: Int32Array,
    range: { readonly from: number; readonly to: number },
    output: Output,
  ): void {
    const size = range.to - range.from
    const changes = new Changes(size * 2)
    const writes = new Int32Array(size)
    const writeOps = new Uint8Array(size)
    let writeCount = 0
    for (let at = range.from; at < range.to; at++) {
      const group = list[at]
      if (generation.status[group] !== DIRTY) continue
      generation.status[group] = CLEAN
      const rowCount = generation.current[ROW_COUNT].numbers[group]
      assert(rowCount >= 0, 'no more rows leave a group than came')
      const was = generation.isEmitted[group] === 1
      const is = this.isGlobal || rowCount > 0
      if (!was && !is) continue
      if (!was) changes.add(group, INSERT, 0)
      else if (!is) changes.add(group, DELETE, 1)
      else if (this.isChanged(generation, group)) {
        changes.add(group, UPDATE_DELETE, 1)
        changes.add(group, UPDATE_INSERT, 0)
      }
      generation.isEmitted[group] = is ? 1 : 0
      writeOps[writeCount] = is ? INSERT : DELETE
      writes[writeCount++] = group
    }
    if (writeCount > 0) this.writeGroups(generation, writes, writeOps, writeCount)
    if (changes.count > 0) output.emit(this.changeChunk(generation, changes))
  }

  private isChanged(generation: Generation, group: number): boolean {
    for (const accumulator of this.accumulators)
      if (accumulator.isChanged(generation.current, generation.previous, group)) return true
    return false
  }

  private writeGroups(
    generation: Generation,
    groups: Int32Array,
    ops: Uint8Array,
    count: number,
  ): void {
    const keys = generation.index.cells.map((cells) => cells.gather(groups, count))
    const state = generation.current.map((cells) => cells.gather(groups, count))
    this.table.write([...keys, ...state], ops, null, count)
  }

  private changeChunk(generation: Generation, changes: Changes): Chunk {
    const { groups, count, isPrevious } = changes
    const { current, previous } = generation
    const columns = generation.index.cells.map((cells) => cells.gather(groups, count))
    for (const accumulator of this.accumulators)
      columns.push(accumulator.output({ current, previous, groups, count, isPrevious }))
    return new Chunk(count, changes.hasOps ? changes.ops : null, null, columns)
  }
}

/** Output rows as they are decided. */
class Changes {
  readonly groups: Int32Array
  readonly ops: Uint8Array
  readonly isPrevious: Uint8Array
  count = 0
  hasOps = false

  constructor(capacity: number) {
    this.groups = new Int32Array(capacity)
    this.ops = new Uint8Array(capacity)
    this.isPrevious = new Uint8Array(capacity)
  }

  add(group: number, op: number, isPrevious: number): void {
    this.groups[this.count] = group
    this.ops[this.count] = op
    this.isPrevious[this.count] = isPrevious
    this.count++
    if (op !== INSERT) this.hasOps = true
  }
}

function openValueTable(
  plan: HashAggregatePlan,
  call: AggregateCall,
  i: number,
  context: OperatorContext,
): StateTable | null {
  const isExtreme = call.name === 'min' || call.name === 'max'
  if (plan.appendOnly || !isExtreme) return null
  const spec: StateTableSpec | null = plan.valueTables[i]
  assert(spec !== null, 'min and max over a stream with deletes have a value table')
  const columnCount = plan.groupKeys.length + 1 + plan.streamKey.length
  assert(spec.schema.length === columnCount, 'a value table has group, value and stream key')
  return new StateTable(spec, context.store)
}

/** Done when all are; null for none. */
function all(waits: Pending[]): Pending | null {
  if (waits.length === 0) return null
  const isDone = waits.map(() => false)
  return {
    poll: () => {
      let left = 0
      for (let i = 0; i < waits.length; i++) {
        if (!isDone[i]) isDone[i] = waits[i].poll()
        left += Number(!isDone[i])
      }
      return left === 0
    },
  }
}
