/**
 * Several `WorkerLoop`s on one thread, with fake ports, stores and operators, stepped in an order drawn from a
 * seed: every interleaving of threads at the grain of steps, repeatable.
 */

import type { OperatorFactory, SourcePlan } from '../../src/actors/builder.ts'
import { Exchange } from '../../src/actors/exchange.ts'
import type { SourceSplit } from '../../src/actors/head.ts'
import type { FromWorker, ToWorker } from '../../src/actors/protocol.ts'
import { WorkerLoop, type WorkerStorage } from '../../src/actors/worker-loop.ts'
import { type Epoch, epoch, generation, tableId } from '../../src/common/ids.ts'
import type { LocalStore, LocalTable, Pending, SealedRun } from '../../src/storage/state-store.ts'
import type { SstMeta } from '../../src/storage/version/version.ts'
import { Chunk } from '../../src/stream/chunk.ts'
import type { Barrier } from '../../src/stream/message.ts'
import type { Operator, OperatorContext, Output } from '../../src/stream/operator.ts'
import type { JobPlan, OperatorPlan } from '../../src/stream/plan.ts'
import type { SplitOffset, SplitReader } from '../../src/stream/source.ts'
import { columnFrom, plainRows } from './chunk-generators.ts'

/** Draws whole numbers below a bound, the same for the same seed. */
export class Dice {
  private state: number
  constructor(seed: number) {
    this.state = (seed ^ 0x9e3779b9) >>> 0
  }
  next(below: number): number {
    this.state = (Math.imul(this.state, 1664525) + 1013904223) >>> 0
    return Math.floor((this.state / 2 ** 32) * below)
  }
}

/** Row n of split s of a source: three columns. */
export const sourceRow = (sourceId: number, split: number, n: number): string =>
  `${(n * 7 + split) % 13},${n},${sourceId * 100 + split}`

class NumbersReader implements SplitReader {
  private readonly plan: SourcePlan
  private readonly split: number
  private readonly total: number
  private readonly dice: Dice
  private at: number

  constructor(plan: SourcePlan, split: number, offset: SplitOffset | null, dice: Dice) {
    this.plan = plan
    this.split = split
    this.total = Number(plan.properties['rows'])
    this.dice = dice
    this.at = offset === null ? 0 : Number(offset['n'])
  }
  next(rowCountMax: number): Chunk | null {
    if (this.at >= this.total || this.dice.next(4) === 0) return null
    const count = Math.min(this.total - this.at, 1 + this.dice.next(rowCountMax))
    const rows = Array.from({ length: count }, (_, i) =>
      sourceRow(this.plan.sourceId, this.split, this.at + i)
        .split(',')
        .map(Number),
    )
    this.at += count
    const columns = [0, 1, 2].map((column) =>
      columnFrom(
        'bigint',
        rows.map((row) => row[column]),
      ),
    )
    return new Chunk(count, null, null, columns)
  }
  offset(): SplitOffset {
    return { n: this.at }
  }
  done(): boolean {
    return this.at >= this.total
  }
  eventsRead(): number {
    return this.at
  }
}

/** Rows that one fragment's actors have applied, by the epoch in which they did. */
export type Record = {
  readonly worker: number
  readonly input: number
  readonly row: string
  epoch: number
}

/** Notes what it sees, passes it on, now and then waits for a block, and holds its rows for snapshots. */
class RecordingOperator implements Operator {
  readonly tables: readonly LocalTable[]
  private readonly worker: SimulatedWorker
  private readonly name: string
  private readonly held: string[] = []
  private current: Record[] = []
  private prepared: Chunk | Barrier | null = null
  private read: Pending | null = null

  constructor(worker: SimulatedWorker, name: string) {
    this.worker = worker
    this.name = name
    this.tables = [{ name } as unknown as LocalTable]
  }
  prepare(_input: number, chunk: Chunk): Pending | null {
    this.prepared = chunk
    return (this.read = this.worker.maybeRead())
  }
  /** The contract: prepared for exactly this, and what it asked for has come. */
  private checkPrepared(what: Chunk | Barrier): void {
    if (this.prepared !== what) throw new RangeError('applied what was not prepared')
    if (this.read !== null && !this.read.poll()) throw new RangeError('applied before the read')
    this.prepared = null
  }
  apply(input: number, chunk: Chunk, output: Output): void {
    this.checkPrepared(chunk)
    for (const { cells } of plainRows(chunk)) {
      const record = { worker: this.worker.index, input, row: cells.join(','), epoch: -1 }
      this.current.push(record)
      this.held.push(record.row)
      this.worker.simulation.recordsOf(this.name).push(record)
    }
    output.emit(chunk)
  }
  prepareFlush(barrier: Barrier): Pending | null {
    this.prepared = barrier
    return (this.read = this.worker.maybeRead())
  }
  flush(barrier: Barrier): void {
    this.checkPrepared(barrier)
    for (const record of this.current) record.epoch = barrier.epoch
    this.current = []
  }
  stateBytes(): number {
    return this.held.length
  }
  startSnapshot(): { poll(): boolean; readonly chunk: Chunk | null } {
    const rows = this.held.map((row) => row.split(',').map(Number))
    const worker = this.worker
    const cursor = {
      chunk: null as Chunk | null,
      poll(): boolean {
        if (worker.dice.next(3) === 0) {
          // As a scan that misses a block: asks, and goes on when it came.
          worker.requests.push(worker.nextRequest++)
          return false
        }
        const part = rows.splice(0, 1 + worker.dice.next(5))
        cursor.chunk =
          part.length === 0
            ? null
            : new Chunk(
                part.length,
                null,
                null,
                [0, 1, 2].map((c) =>
                  columnFrom(
                    'bigint',
                    part.map((row) => row[c]),
                  ),
                ),
              )
        return true
      },
    }
    return cursor
  }
}

class FailingOperator implements Operator {
  readonly tables = []
  prepare(): null {
    return null
  }
  apply(): void {
    throw new RangeError('the operator is broken')
  }
  prepareFlush(): null {
    return null
  }
  flush(): void {}
  stateBytes(): number {
    return 0
  }
}

export class SimulatedWorker {
  readonly index: number
  readonly simulation: Simulation
  readonly dice: Dice
  readonly loop: WorkerLoop
  /** Posted, not yet there: each worker's port has its own delay. */
  readonly transit: ToWorker[] = []
  readonly inbox: ToWorker[] = []
  readonly outbox: FromWorker[] = []
  readonly requests: number[] = []
  readonly contexts: OperatorContext[] = []
  nextRequest = 1
  private readonly arrived = new Set<string>()
  private nextRunId = 1
  versionId = 1

  constructor(simulation: Simulation, index: number, exchange: Exchange, chunkRows: number) {
    this.index = index
    this.simulation = simulation
    this.dice = new Dice(simulation.seed * 31 + index)
    this.loop = new WorkerLoop({
      workerIndex: index,
      workerCount: simulation.workerCount,
      env: { monotonicMs: () => simulation.clockMs },
      exchange,
      storage: this.storage(),
      factory: this.factory(),
      chunkRows,
      stateCacheBytes: 1000,
      receive: () => this.inbox.shift(),
      send: (message) => this.outbox.push(message),
    })
  }

  /** A read that is complete at once, or when a block has arrived. */
  maybeRead(): Pending | null {
    if (this.dice.next(4) > 0) return null
    const request = this.nextRequest++
    this.requests.push(request)
    return { poll: () => this.arrived.has(`sst-${request}`) }
  }

  private storage(): WorkerStorage {
    const store: LocalStore = {
      open: () => {
        throw new RangeError('not used')
      },
      seal: (tables, sealed) => {
        if (this.dice.next(3) === 0) return []
        return tables.map((table) => this.run(table, sealed))
      },
      arenaBytes: 0,
    }
    return {
      store,
      applyDelta: (delta) => {
        this.versionId = delta.versionId
      },
      oldestVersionInUse: () => this.versionId,
      takeRequests: () =>
        this.requests.splice(0).map((request) => ({
          sst: { sstId: `sst-${request}` } as SstMeta,
          tail: true,
          blocks: [],
        })),
      arrived: (sstId) => {
        this.arrived.add(sstId)
      },
    }
  }

  private run(table: LocalTable, sealed: Epoch): SealedRun {
    this.simulation.sealed.push({ table, worker: this.index, epoch: sealed })
    return {
      tableId: tableId(1),
      group: 'state',
      prefixColumns: 0,
      epoch: sealed,
      workerIndex: this.index,
      runId: this.nextRunId++,
      entryCount: 1,
      byteCount: 8,
      segments: [],
    }
  }

  private factory(): OperatorFactory {
    return {
      createOperator: (plan: OperatorPlan, context: OperatorContext) => {
        this.contexts.push(context)
        if (plan.kind === 'sink' && plan.connector === 'broken') return new FailingOperator()
        const name =
          plan.kind === 'sink'
            ? `sink-${plan.sinkId}`
            : plan.kind === 'materialize'
              ? `table-${plan.table.tableId}`
              : plan.kind
        return new RecordingOperator(this, name)
      },
      createSplits: (plan, offsets) => {
        const splits: SourceSplit[] = []
        for (let split = 0; split < Number(plan.properties['splits']); split++) {
          if (split % this.simulation.workerCount !== this.index) continue
          const offsetKey = `${plan.sourceId}/${split}`
          const reader = new NumbersReader(plan, split, offsets[offsetKey] ?? null, this.dice)
          splits.push({ offsetKey, reader })
        }
        return splits
      },
    }
  }
}

export interface Collected {
  readonly epoch: Epoch
  readonly offsets: { [key: string]: SplitOffset }
  readonly runs: SealedRun[]
  readonly sourcesDone: number[]
  workers: number
}

export class Simulation {
  readonly seed: number
  readonly workerCount: number
  readonly workers: SimulatedWorker[]
  readonly dice: Dice
  readonly records = new Map<string, Record[]>()
  readonly collected = new Map<number, Collected>()
  readonly changes: {
    readonly tableId: number
    readonly epoch: number
    readonly chunk: Uint8Array
  }[] = []
  readonly failures: FromWorker[] = []
  readonly sealed: {
    readonly table: LocalTable
    readonly worker: number
    readonly epoch: Epoch
  }[] = []
  clockMs = 0
  deployed = 0
  nextEpoch = 1
  private fetches: { readonly worker: number; readonly sstId: string }[] = []
  private deployId = 0

  constructor(
    seed: number,
    options: { workerCount: number; ringBytes: number; windowBytes: number; chunkRows: number },
  ) {
    this.seed = seed
    this.workerCount = options.workerCount
    this.dice = new Dice(seed)
    const rings = Array.from({ length: this.workerCount }, (_, from) =>
      Array.from({ length: this.workerCount }, (_, to) =>
        from === to ? null : new SharedArrayBuffer(options.ringBytes),
      ),
    )
    this.workers = Array.from({ length: this.workerCount }, (_, workerIndex) => {
      const { windowBytes } = options
      const exchange = new Exchange({ workerIndex, rings, wake: () => undefined, windowBytes })
      return new SimulatedWorker(this, workerIndex, exchange, options.chunkRows)
    })
  }

  recordsOf(name: string): Record[] {
    let records = this.records.get(name)
    if (records === undefined) this.records.set(name, (records = []))
    return records
  }

  post(message: ToWorker): void {
    for (const worker of this.workers) worker.transit.push(message)
  }

  deploy(jobs: readonly JobPlan[], offsets = {}, recovered = false): void {
    this.deployId++
    this.deployed = 0
    this.post({ kind: 'deploy', deployId: this.deployId, jobs, offsets, recovered })
    this.until('deployed', () => this.deployed === this.workerCount)
  }

  /** @returns the epoch that it ends. */
  barrier(jobs: { start?: number[]; stop?: number[] } = {}): number {
    const ends = this.nextEpoch++
    this.post({
      kind: 'barrier',
      barrier: {
        epoch: epoch(ends),
        next: epoch(ends + 1),
        checkpoint: false,
        startJobs: jobs.start ?? [],
        stopJobs: jobs.stop ?? [],
      },
    })
    return ends
  }

  isCollected(number: number): boolean {
    return this.collected.get(number)?.workers === this.workerCount
  }

  /** Random steps of random workers until it is so; fails after far more than enough. */
  until(what: string, condition: () => boolean): void {
    for (let step = 0; step < 200_000; step++) {
      if (condition()) return
      this.random()
    }
    throw new RangeError(`seed ${this.seed}: never ${what}`)
  }

  random(): void {
    this.clockMs += 0.5
    if (this.fetches.length > 0 && this.dice.next(3) === 0) {
      const [{ worker, sstId }] = this.fetches.splice(this.dice.next(this.fetches.length), 1)
      this.workers[worker].transit.push({
        kind: 'fetched',
        sstId,
        tail: null,
        blocks: [],
        error: null,
      })
    }
    const worker = this.workers[this.dice.next(this.workerCount)]
    if (this.dice.next(3) === 0) worker.inbox.push(...worker.transit.splice(0))
    worker.loop.step()
    for (const message of worker.outbox.splice(0)) this.handle(worker.index, message)
  }

  private handle(worker: number, message: FromWorker): void {
    switch (message.kind) {
      case 'deployed':
        this.deployed++
        break
      case 'fetch':
        this.fetches.push({ worker, sstId: message.sst.sstId })
        break
      case 'changes':
        this.changes.push(message)
        break
      case 'failed':
        this.failures.push(message)
        break
      case 'collected': {
        let entry = this.collected.get(message.epoch)
        if (entry === undefined) {
          entry = { epoch: message.epoch, offsets: {}, runs: [], sourcesDone: [], workers: 0 }
          this.collected.set(message.epoch, entry)
        }
        entry.workers++
        Object.assign(entry.offsets, message.offsets)
        entry.runs.push(...message.runs)
        entry.sourcesDone.push(...message.sourcesDone)
      }
    }
  }
}

export const NO_DELTA = (versionId: number) => ({
  versionId,
  generation: generation(1),
  committedEpoch: epoch(1),
  safeEpoch: epoch(1),
  groups: {},
  offsets: {},
})
