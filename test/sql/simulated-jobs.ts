/**
 * Runs job plans as the runtime would, in one thread: of each 'all' fragment one actor a worker, rows
 * dispatched by vnode, each actor with a store of its own. What a plan gets wrong about keys or
 * distribution shows as wrong rows.
 */
import { assert } from '../../src/common/assert.ts'
import { vnodeOfHash } from '../../src/common/hash.ts'
import { epoch, tableId, VNODE_COUNT } from '../../src/common/ids.ts'
import { executeDml, executeQuery, type QueryIo } from '../../src/runtime/query.ts'
import type { Catalog } from '../../src/sql/catalog.ts'
import { parseStatement } from '../../src/sql/parser.ts'
import { planDml, planQuery } from '../../src/sql/query-planner.ts'
import { EphemeralStore } from '../../src/storage/ephemeral-store.ts'
import { Chunk, DELETE, INSERT } from '../../src/stream/chunk.ts'
import { ColumnBuilder, gatherChunk } from '../../src/stream/column-builder.ts'
import type { Barrier } from '../../src/stream/message.ts'
import type { Operator, OperatorContext } from '../../src/stream/operator.ts'
import { Filter } from '../../src/stream/operators/filter.ts'
import { HashAggregate } from '../../src/stream/operators/hash-aggregate.ts'
import { HashJoin } from '../../src/stream/operators/hash-join.ts'
import { Materialize } from '../../src/stream/operators/materialize.ts'
import { Project } from '../../src/stream/operators/project.ts'
import type {
  ExchangePlan,
  FragmentPlan,
  OperatorPlan,
  StateTableSpec,
} from '../../src/stream/plan.ts'
import { hashRows } from '../../src/stream/row-hash.ts'
import { rowDecoderOf } from '../../src/stream/state-table.ts'
import { rowsOf } from './harness.ts'

interface Actor {
  readonly worker: number
  readonly fragment: FragmentPlan
  readonly chain: readonly Operator[]
}

export class SimulatedJobs {
  readonly catalog: Catalog
  private readonly workers: number
  private readonly stores: readonly EphemeralStore[]
  private readonly actors = new Map<number, readonly Actor[]>()
  private readonly outputs = new Map<number, ExchangePlan[]>()
  private nextEpoch = 1
  private nextRowId = 1

  constructor(catalog: Catalog, workers: number, cacheBytes: number) {
    this.catalog = catalog
    this.workers = workers
    this.stores = Array.from({ length: workers }, () => new EphemeralStore(1e9))
    for (const { plan } of catalog.objects) {
      for (const fragment of plan?.fragments ?? []) this.deploy(fragment, cacheBytes)
      for (const exchange of plan?.exchanges ?? []) {
        const known = this.outputs.get(exchange.fromFragment) ?? []
        this.outputs.set(exchange.fromFragment, [...known, exchange])
      }
    }
  }

  private deploy(fragment: FragmentPlan, cacheBytes: number): void {
    const only = fragment.fragmentId % this.workers
    const workers =
      fragment.parallelism === 'single' ? [only] : this.stores.map((_, worker) => worker)
    const actors = workers.map((worker): Actor => {
      const from = Math.ceil((worker * VNODE_COUNT) / this.workers)
      const to = Math.ceil(((worker + 1) * VNODE_COUNT) / this.workers)
      const vnodes = workers.length === 1 ? { from: 0, to: VNODE_COUNT } : { from, to }
      const store = this.stores[worker]
      const context: OperatorContext = { store, cacheBytes, chunkRows: 16, vnodes, fresh: true }
      const chain = fragment.operators.flatMap((plan) => operatorOf(plan, context) ?? [])
      return { worker, fragment, chain }
    })
    this.actors.set(fragment.fragmentId, actors)
  }

  /** Runs one INSERT, UPDATE or DELETE. */
  async dml(sql: string): Promise<void> {
    const statement = parseStatement(sql)
    assert(
      statement.kind === 'insert' || statement.kind === 'update' || statement.kind === 'delete',
      'a change of rows',
    )
    const plan = planDml(statement, this.catalog, [])
    const { chunks } = await executeDml(plan, this.io)
    for (const fragment of plan.object.plan?.fragments ?? []) {
      const [head] = fragment.operators
      if (head.kind !== 'dml') continue
      const [actor] = this.actors.get(fragment.fragmentId) ?? []
      for (const chunk of chunks) this.run(actor, 0, 0, this.numbered(chunk, head.rowIdColumn))
    }
  }

  private numbered(chunk: Chunk, rowIdColumn: number): Chunk {
    if (rowIdColumn < 0) return chunk
    const given = chunk.columns[rowIdColumn]
    const builder = new ColumnBuilder('bigint')
    for (let row = 0; row < chunk.rowCount; row++) {
      if (given.nulls?.[row] === 1) builder.appendNumber(this.nextRowId++)
      else builder.appendFrom(given, row)
    }
    const columns = chunk.columns.with(rowIdColumn, builder.finish())
    return new Chunk(chunk.rowCount, chunk.ops, chunk.visible, columns)
  }

  barrier(): void {
    const next = this.nextEpoch + 1
    const barrier: Barrier = {
      epoch: epoch(this.nextEpoch),
      next: epoch(next),
      checkpoint: true,
      startJobs: [],
      stopJobs: [],
    }
    this.nextEpoch = next
    for (const { plan } of this.catalog.objects) {
      for (const { fragmentId } of plan?.fragments ?? []) {
        for (const actor of this.actors.get(fragmentId) ?? []) this.flush(actor, barrier)
      }
    }
  }

  private flush(actor: Actor, barrier: Barrier): void {
    actor.chain.forEach((operator, index) => {
      const pending = operator.prepareFlush(barrier)
      while (pending !== null && !pending.poll());
      operator.flush(barrier, { emit: (chunk) => this.run(actor, index + 1, 0, chunk) })
    })
  }

  private run(actor: Actor, index: number, input: number, chunk: Chunk): void {
    if (chunk.rowCount === 0) return
    const operator = actor.chain[index]
    if (operator === undefined) return this.dispatch(actor, chunk)
    const pending = operator.prepare(input, chunk)
    while (pending !== null && !pending.poll());
    operator.apply(input, chunk, { emit: (made) => this.run(actor, index + 1, 0, made) })
  }

  private dispatch(actor: Actor, chunk: Chunk): void {
    for (const { toFragment, input, distribution } of this.outputs.get(actor.fragment.fragmentId) ??
      []) {
      const targets = this.actors.get(toFragment) ?? []
      if (distribution.kind === 'single') {
        assert(targets.length === 1, 'a single fragment has one actor')
        this.run(targets[0], 0, input, chunk)
      } else if (distribution.kind === 'forward') {
        const target = targets.find((item) => item.worker === actor.worker) ?? targets[0]
        const same = targets.length === (this.actors.get(actor.fragment.fragmentId) ?? []).length
        assert(same, 'forward joins fragments of equal parallelism')
        this.run(target, 0, input, chunk)
      } else if (distribution.kind === 'hash')
        this.spread(chunk, distribution.columns, targets, input)
    }
  }

  private spread(
    chunk: Chunk,
    columns: readonly number[],
    targets: readonly Actor[],
    input: number,
  ): void {
    const hashes = new Uint32Array(chunk.rowCount)
    hashRows(
      columns.map((index) => chunk.columns[index]),
      chunk.rowCount,
      hashes,
    )
    for (const target of targets) {
      const rows: number[] = []
      for (let row = 0; row < chunk.rowCount; row++) {
        if (chunk.visible !== null && chunk.visible[row] === 0) continue
        if (this.ownerOf(vnodeOfHash(hashes[row])) === target.worker) rows.push(row)
      }
      const list = Uint32Array.from(rows)
      const ops = list.map((row) => ((chunk.ops?.[row] ?? INSERT) & 1 ? DELETE : INSERT))
      const made = gatherChunk(chunk, list, list.length)
      this.run(target, 0, input, new Chunk(list.length, Uint8Array.from(ops), null, made))
    }
  }

  private ownerOf(vnode: number): number {
    return Math.floor((vnode * this.workers) / VNODE_COUNT)
  }

  async query(sql: string): Promise<unknown[][]> {
    const statement = parseStatement(sql)
    assert(statement.kind === 'select', 'a query')
    return rowsOf(
      (await executeQuery(planQuery(statement.query, this.catalog, []), this.io)).chunks,
    )
  }

  private readonly io: QueryIo = {
    scan: (table, prefix) => this.scan(table, prefix),
    pause: () => Promise.resolve(),
  }

  /** What the stores of all workers hold; each row must lie with the worker that owns its vnode. */
  private async *scan(spec: StateTableSpec, prefix: Uint8Array | null): AsyncGenerator<Chunk> {
    const { group, prefixColumns } = spec
    for (const [worker, store] of this.stores.entries()) {
      const table = store.open({ tableId: tableId(spec.tableId), group, prefixColumns })
      const scan = table.scan(new Uint8Array([0, 0]), new Uint8Array([1, 0]))
      for (scan.poll(); scan.keys.count > 0; scan.poll()) {
        const builders = spec.schema.map((field) => new ColumnBuilder(field.type))
        for (let i = 0; i < scan.keys.count; i++) {
          const start = scan.keys.offsets[i]
          const vnode = scan.keys.data[start] * 256 + scan.keys.data[start + 1]
          assert(
            spec.distribution.length === 0 || this.ownerOf(vnode) === worker,
            'rows lie with the owner of their vnode',
          )
          const key = scan.keys.data.subarray(start, scan.keys.offsets[i + 1])
          if (prefix !== null && !Buffer.from(key).subarray(0, prefix.length).equals(prefix))
            continue
          rowDecoderOf(spec).decode(scan.keys, scan.values, i, i + 1, builders)
        }
        const rowCount = builders[0].length
        const columns = builders.map((builder) => builder.finish())
        yield new Chunk(rowCount, null, null, columns)
      }
    }
  }
}

function operatorOf(plan: OperatorPlan, context: OperatorContext): Operator | null {
  switch (plan.kind) {
    case 'filter':
      return new Filter(plan, context)
    case 'project':
      return new Project(plan, context)
    case 'hash-join':
      return new HashJoin(plan, context)
    case 'hash-aggregate':
      return new HashAggregate(plan, context)
    case 'materialize':
      return new Materialize(plan, context)
    default:
      return null
  }
}
