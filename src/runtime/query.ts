/**
 * Runs a query over a snapshot, on the control thread: scans feed the same operators that streaming
 * runs, one barrier ends the input, and what was emitted is the result. Rows stay columns.
 *
 * ```ts
 * executeQuery(plan: QueryPlan, io: QueryIo): Promise<QueryResult>        // plan of sql/query-planner.ts planQuery
 * executeDml(plan: DmlPlan, io: QueryIo): Promise<DmlResult>              // planDml; chunks for the table's DML actor
 * // io: { scan: (spec, prefix) => snapshotScan.rows(spec, prefix), pause: () => setImmediate, memoryBytesMax }
 * ```
 */
import { assert } from '../common/assert.ts'
import { EngineError } from '../common/errors.ts'
import { epoch, VNODE_COUNT } from '../common/ids.ts'
import type { QueryScan, QueryValues } from '../sql/fragmenter.ts'
import type { DmlPlan, QueryPlan } from '../sql/query-planner.ts'
import { EphemeralStore } from '../storage/ephemeral-store.ts'
import type { Pending } from '../storage/state-store.ts'
import { CHUNK_ROWS, Chunk, DELETE, UPDATE_DELETE, UPDATE_INSERT } from '../stream/chunk.ts'
import type { Column } from '../stream/column.ts'
import { ColumnBuilder } from '../stream/column-builder.ts'
import { compileExpressions } from '../stream/expression.ts'
import type { Barrier } from '../stream/message.ts'
import type { Operator, OperatorContext, Output } from '../stream/operator.ts'
import { Filter } from '../stream/operators/filter.ts'
import { HashAggregate } from '../stream/operators/hash-aggregate.ts'
import { HashJoin } from '../stream/operators/hash-join.ts'
import { Project } from '../stream/operators/project.ts'
import type { Expression, FragmentPlan, OperatorPlan, StateTableSpec } from '../stream/plan.ts'
import { ByteListBuilder, KeyEncoder } from '../stream/row-codec.ts'
import type { Schema } from '../stream/schema.ts'
import { ResultCollector } from './query-result.ts'

/** What a query needs from outside. */
export interface QueryIo {
  /**
   * All columns of the table's rows at the snapshot; with a prefix (vnode and whole leading key
   * columns) only those below it. Chunks are not kept by the query.
   */
  scan(table: StateTableSpec, prefix: Uint8Array | null): AsyncIterable<Chunk>
  /** Lets the event loop run; called between chunks. */
  pause(): Promise<void>
  /** Bound of operator state and of the result, each. Default 256 MiB. */
  readonly memoryBytesMax?: number
}

export interface QueryResult {
  readonly schema: Schema
  readonly chunks: readonly Chunk[]
  readonly rowCount: number
}

export interface DmlResult {
  /** In the table's column order, hidden columns too; an update is pairs of rows. */
  readonly chunks: readonly Chunk[]
  /** Rows inserted, changed or deleted. */
  readonly rowCount: number
}

const MEMORY_BYTES_MAX = 256 * 1024 * 1024

/** @throws what expressions throw (22003, 22012, …), MEMORY_EXHAUSTED, what `scan` throws */
export async function executeQuery(plan: QueryPlan, io: QueryIo): Promise<QueryResult> {
  const memoryBytesMax = io.memoryBytesMax ?? MEMORY_BYTES_MAX
  const collector = new ResultCollector(plan, memoryBytesMax)
  const pipeline = new Pipeline(plan, collector, memoryBytesMax)
  for (const values of plan.values) pipeline.push(values.fragmentId, valuesChunk(plan, values))
  for (const scan of plan.scans) {
    if (collector.isFull) break
    for await (const chunk of io.scan(scan.table, prefixOf(scan))) {
      const columns = scan.columns.map((index) => chunk.columns[index])
      pipeline.push(scan.fragmentId, new Chunk(chunk.rowCount, null, chunk.visible, columns))
      if (collector.isFull) break
      await io.pause()
    }
  }
  if (!collector.isFull) pipeline.flush()
  return { schema: plan.schema, ...collector.finish() }
}

/** @throws as `executeQuery`, and NOT_NULL (23502) */
export async function executeDml(plan: DmlPlan, io: QueryIo): Promise<DmlResult> {
  const { chunks, rowCount } = await executeQuery(plan.query, io)
  const width = plan.table.schema.length
  const made = chunks.map((chunk) => {
    if (plan.kind === 'insert') {
      checkNotNull(plan, chunk, 0)
      return chunk
    }
    if (plan.kind === 'delete') {
      return new Chunk(
        chunk.rowCount,
        new Uint8Array(chunk.rowCount).fill(DELETE),
        null,
        chunk.columns,
      )
    }
    checkNotNull(plan, chunk, width)
    return updatePairs(chunk, width)
  })
  return { chunks: made, rowCount }
}

/** Old columns then new ones, side by side → pairs of rows. */
function updatePairs(chunk: Chunk, width: number): Chunk {
  const { rowCount, columns } = chunk
  const ops = new Uint8Array(rowCount * 2)
  for (let row = 0; row < rowCount; row++) {
    ops[row * 2] = UPDATE_DELETE
    ops[row * 2 + 1] = UPDATE_INSERT
  }
  const made = columns.slice(0, width).map((old, index) => {
    const builder = new ColumnBuilder(old.type)
    for (let row = 0; row < rowCount; row++) {
      builder.appendFrom(old, row)
      builder.appendFrom(columns[width + index], row)
    }
    return builder.finish()
  })
  return new Chunk(rowCount * 2, ops, null, made)
}

function checkNotNull(plan: DmlPlan, chunk: Chunk, offset: number): void {
  plan.object.columns.forEach((column, index) => {
    const { nulls } = chunk.columns[offset + index]
    if (column.hidden || !column.notNull || nulls === null) return
    const row = nulls.subarray(0, chunk.rowCount).indexOf(1)
    if (row < 0) return
    const message = `null value in column "${column.name}" of relation "${plan.object.name}" violates not-null constraint`
    throw new EngineError('NOT_NULL', message, {
      context: { sqlState: '23502', table: plan.object.name, column: column.name },
    })
  })
}

/** Row values of VALUES as one chunk. */
function valuesChunk(plan: QueryPlan, values: QueryValues): Chunk {
  const fragment = plan.fragments.find((item) => item.fragmentId === values.fragmentId)
  assert(fragment !== undefined && fragment.operators[0].kind === 'merge', 'VALUES feed a head')
  const builders = fragment.operators[0].schema.map((field) => new ColumnBuilder(field.type))
  const one = new Chunk(1, null, null, [])
  for (const row of values.rows) {
    builders.forEach((builder, index) => {
      appendValue(builder, row[index], one)
    })
  }
  const columns = builders.map((builder) => builder.finish())
  return new Chunk(values.rows.length, null, null, columns)
}

function appendValue(builder: ColumnBuilder, value: Expression, one: Chunk): void {
  if (value.kind !== 'literal') {
    builder.appendFrom(compileExpressions([value])(one)[0], 0)
    return
  }
  // Literals are nearly all of a long VALUES list: not one compiled function for each.
  const { type, value: given, scale } = value
  if (given === null) builder.appendNull()
  else if (type === 'varchar' || type === 'bytea') {
    const bytes = Buffer.from(String(given), type === 'bytea' ? 'hex' : 'utf8')
    builder.appendText(bytes, 0, bytes.length)
  } else if (type === 'numeric') builder.appendScaled(BigInt(given), scale)
  else if (typeof given === 'string') builder.appendBigint(BigInt(given))
  else builder.appendNumber(Number(given))
}

/** The key prefix that the conditions name; null when it does not say where the rows live. */
function prefixOf(scan: QueryScan): Uint8Array | null {
  const { table, keyPrefix } = scan
  if (keyPrefix.length === 0) return null
  const named = table.key.slice(0, keyPrefix.length).map((item) => item.column)
  if (!table.distribution.every((column) => named.includes(column))) return null
  const one = new Chunk(1, null, null, [])
  const columns: Column[] = compileExpressions(keyPrefix)(one)
  const encoder = new KeyEncoder(table.schema, table.key, table.distribution)
  const target = new ByteListBuilder()
  encoder.encodePrefix(columns, null, 1, target)
  return target.data.slice(target.offsets[0], target.offsets[1])
}

/** The operators of all fragments; a chunk runs through as plain calls. */
class Pipeline {
  private readonly stages = new Map<number, Stage>()
  private readonly order: Stage[] = []

  constructor(plan: QueryPlan, collector: ResultCollector, memoryBytesMax: number) {
    const context: OperatorContext = {
      store: new EphemeralStore(memoryBytesMax),
      // Nothing may be dropped from a cache while memory lasts: the store would only hold it again.
      cacheBytes: memoryBytesMax,
      chunkRows: CHUNK_ROWS,
      vnodes: { from: 0, to: VNODE_COUNT },
      fresh: true,
    }
    for (const fragment of plan.fragments) {
      const stage = new Stage(fragment, context)
      this.stages.set(fragment.fragmentId, stage)
      this.order.push(stage)
    }
    for (const { fromFragment, toFragment, input } of plan.exchanges) {
      const target = this.stage(toFragment)
      this.stage(fromFragment).output = { emit: (chunk) => target.push(input, chunk) }
    }
    this.stage(plan.outputFragment).output = collector
  }

  push(fragmentId: number, chunk: Chunk): void {
    this.stage(fragmentId).push(0, chunk)
  }

  /** The end of all input: fragments stand behind those that feed them. */
  flush(): void {
    const barrier: Barrier = {
      epoch: epoch(1),
      next: epoch(2),
      checkpoint: false,
      startJobs: [],
      stopJobs: [],
    }
    for (const stage of this.order) stage.flush(barrier)
  }

  private stage(fragmentId: number): Stage {
    const stage = this.stages.get(fragmentId)
    assert(stage !== undefined, 'exchanges and scans name fragments of the plan')
    return stage
  }
}

/** The chain of operators of one fragment. */
class Stage {
  output: Output | null = null
  private readonly chain: readonly Operator[]

  constructor(fragment: FragmentPlan, context: OperatorContext) {
    this.chain = fragment.operators.flatMap((operator) => createOperator(operator, context) ?? [])
  }

  push(input: number, chunk: Chunk): void {
    this.run(0, input, chunk)
  }

  private run(index: number, input: number, chunk: Chunk): void {
    if (chunk.rowCount === 0) return
    const operator = this.chain[index]
    if (operator === undefined) {
      assert(this.output !== null, 'every fragment has an output')
      this.output.emit(chunk)
      return
    }
    complete(operator.prepare(input, chunk))
    operator.apply(input, chunk, this.after(index))
  }

  flush(barrier: Barrier): void {
    this.chain.forEach((operator, index) => {
      complete(operator.prepareFlush(barrier))
      operator.flush(barrier, this.after(index))
    })
  }

  private after(index: number): Output {
    return { emit: (chunk) => this.run(index + 1, 0, chunk) }
  }
}

function createOperator(plan: OperatorPlan, context: OperatorContext): Operator | null {
  switch (plan.kind) {
    case 'merge':
      return null
    case 'filter':
      return new Filter(plan, context)
    case 'project':
      return new Project(plan, context)
    case 'hash-join':
      return new HashJoin(plan, context)
    case 'hash-aggregate':
      return new HashAggregate(plan, context)
    default:
      throw new EngineError('INTERNAL', `a query has no operator ${plan.kind}`)
  }
}

function complete(pending: Pending | null): void {
  if (pending === null) return
  // A read may need several polls when one answer asks for the next; none ever waits.
  for (let polls = 0; polls < 1000; polls++) if (pending.poll()) return
  throw new EngineError('INTERNAL', 'a read of an ephemeral store did not complete')
}
