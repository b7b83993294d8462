/**
 * Drives epochs: injects barriers, collects them, commits checkpoints in the background, admits and
 * ends jobs, and brings the pipeline back to the last committed epoch after a failure. It owns the
 * worker threads. Control thread only; one per open database.
 */
import { workerOfSingle } from '../actors/placement.ts'
import type { Dataset, FromWorker, WorkerMetrics } from '../actors/protocol.ts'
import { assert, unreachable } from '../common/assert.ts'
import type { Env, Timer } from '../common/env.ts'
import { EngineError, toEngineError, toWire } from '../common/errors.ts'
import { type Epoch, nextEpoch, type TableId } from '../common/ids.ts'
import type { FetchFunction } from '../storage/cache/block-sources.ts'
import type { LsmStore } from '../storage/lsm-store.ts'
import type { SealedRun } from '../storage/state-store.ts'
import type { SstMeta } from '../storage/version/version.ts'
import type { Barrier } from '../stream/message.ts'
import type { JobPlan } from '../stream/plan.ts'
import type { SplitOffset } from '../stream/source.ts'
import { ChangeFeed, type Subscription } from './change-feed.ts'
import { CheckpointStats } from './checkpoint-stats.ts'
import { DmlLog } from './dml-log.ts'
import { EpochWaiters } from './epoch-waiters.ts'
import { LiveRuns, type VersionNews } from './live-runs.ts'
import { SourceOffsets } from './source-offsets.ts'
import { type SpawnWorker, WorkerPool } from './worker-pool.ts'

export interface CoordinatorOptions {
  readonly parallelism: number
  readonly barrierIntervalMs: number
  /** Every n-th barrier is a checkpoint. 0: only those that are asked for. */
  readonly checkpointEvery: number
  readonly checkpointsInFlightMax: number
  /** Memtables and sealed runs of all workers: sources pause above half of it. */
  readonly sharedBufferBytes: number
  readonly ringBytes: number
  readonly stateCacheBytes: number
  /** Parsed SST tails of each worker, bytes. */
  readonly tailBytesMax: number
  readonly chunkRows: number
  /** Uncommitted DML batches that are kept for recovery. */
  readonly dmlBytesMax: number
  /** Recoveries in a row without a commit between them, after which the pipeline stops. */
  readonly recoveriesMax: number
  readonly datasets: Readonly<Record<string, Dataset>>
}

export type CoordinatorEvent =
  | { readonly kind: 'recovering'; readonly error: EngineError; readonly attempt: number }
  | { readonly kind: 'recovered'; readonly epoch: Epoch }
  | { readonly kind: 'failed'; readonly error: EngineError }
  | { readonly kind: 'backpressure'; readonly active: boolean; readonly bufferedBytes: number }
  | { readonly kind: 'sourcesExhausted'; readonly epoch: Epoch }

/** What a coordinator is made of. `blockCache` makes the shared memory of a new incarnation. */
export interface CoordinatorParts {
  readonly env: Env
  readonly store: LsmStore
  readonly spawn: SpawnWorker
  readonly options: CoordinatorOptions
  readonly blockCache: () => SharedArrayBuffer
  /** Blocks from the cache or the store. */
  readonly fetch: FetchFunction
  readonly event: (event: CoordinatorEvent) => void
}

interface InFlightBarrier {
  readonly barrier: Barrier
  readonly openedMs: number
  readonly injectedMs: number
  waiting: number
  readonly runs: SealedRun[]
  readonly offsets: Record<string, SplitOffset>
  /** By source, the workers whose readers of it are all exhausted. */
  readonly sourcesDone: Map<number, number>
}

interface CatalogChange {
  readonly catalog: unknown
  /** Committed with the first checkpoint of a later epoch: the new job's first state goes with it. */
  readonly after: Epoch
  readonly droppedTables: readonly TableId[]
}

const BARRIERS_IN_FLIGHT_MAX = 8
const FETCH_AGAIN_MS = 500
/** A barrier that has not passed for so long is stuck: behind blocks that do not come, or rows of a new view. */
const STUCK_MS = 2000

export class Coordinator {
  readonly feed: ChangeFeed
  readonly stats = new CheckpointStats()
  /** When the last commit was acknowledged, monotonic; 0: none yet. */
  committedMs = 0
  private readonly env: Env
  private readonly store: LsmStore
  private readonly parts: CoordinatorParts
  private readonly options: CoordinatorOptions
  private readonly dml: DmlLog

  private phase: 'idle' | 'running' | 'recovering' | 'closing' | 'failed' | 'closed' = 'idle'
  private failure: EngineError | null = null
  private pool: WorkerPool | null = null
  /** The newest one, dead or alive. */
  private lastPool: WorkerPool | null = null
  private readonly jobs = new Map<number, JobPlan>()
  private readonly workerMetrics: (WorkerMetrics | null)[] = []

  private opened: Epoch
  private openedMs = 0
  private collectedEpoch: Epoch
  private readonly inFlight: InFlightBarrier[] = []
  private timer: Timer | null = null
  private barriersSinceCheckpoint = 0
  private checkpointWanted = false
  private checkpointsInFlight = 0
  private commitTail: Promise<unknown> = Promise.resolve()

  private pendingRuns: SealedRun[] = []
  private readonly offsets = new SourceOffsets()
  private readonly liveRuns: LiveRuns
  private startJobs: number[] = []
  private stopJobs: number[] = []
  private catalogChange: CatalogChange | null = null
  private deployId = 0
  private deployment: {
    readonly id: number
    waiting: number
    readonly resolve: () => void
    readonly reject: (error: EngineError) => void
  } | null = null
  /** For their epoch's commit. */
  private readonly flushes = new EpochWaiters()
  /** For their epoch to be collected. */
  private readonly settlers = new EpochWaiters()
  private ddl: Promise<unknown> = Promise.resolve()

  private paused = false
  private stopping = false
  private sourcesDone: ReadonlyMap<number, number> = new Map()
  /** Set when all sources have said that they are at their end; a recovery may take that back. */
  private exhaustion: { committed: boolean } | null = null
  private recoveries = 0
  private recovery: Promise<void> | null = null

  constructor(parts: CoordinatorParts) {
    this.parts = parts
    this.env = parts.env
    this.store = parts.store
    this.options = parts.options
    this.dml = new DmlLog(parts.options.dmlBytesMax)
    this.opened = nextEpoch(this.store.committedEpoch, this.env.nowMs())
    this.collectedEpoch = this.store.committedEpoch
    this.feed = new ChangeFeed((tableId, on) =>
      this.pool?.postAll({ kind: 'subscribe', tableId, on }),
    )
    this.liveRuns = new LiveRuns((news) => this.tellVersion(news))
    this.store.onVersion((delta, released) =>
      this.liveRuns.versionChanged({ delta, released }, this.pool !== null),
    )
  }

  /** Starts the threads and the jobs that the catalog names. */
  async start(jobs: readonly JobPlan[]): Promise<void> {
    assert(this.phase === 'idle', 'a coordinator starts once')
    for (const job of jobs) this.jobs.set(job.jobId, job)
    this.offsets.reset(this.store.version.offsets)
    await this.startPool()
    this.phase = 'running'
    this.scheduleTick()
  }

  get committedEpoch(): Epoch {
    return this.store.committedEpoch
  }

  /** The newest epoch whose rows can be read before they are durable. */
  get latestEpoch(): Epoch {
    return this.collectedEpoch > this.store.committedEpoch
      ? this.collectedEpoch
      : this.store.committedEpoch
  }

  get metrics(): readonly (WorkerMetrics | null)[] {
    return this.workerMetrics
  }

  get bufferedBytes(): number {
    return this.liveRuns.bytes
  }

  /** Some job reads a source. */
  get hasSources(): boolean {
    for (const { actors } of this.sources()) if (actors > 0) return true
    return false
  }

  /** Every source of every job is bounded, read to its end, and committed. */
  get exhausted(): boolean {
    return this.exhaustion?.committed === true
  }

  // ---- jobs ----------------------------------------------------------------------------------

  /** Runs DDL steps one after the other, whoever asks for them. */
  exclusive<T>(step: () => Promise<T>): Promise<T> {
    const result = this.ddl.then(step, step)
    this.ddl = result.catch(() => undefined)
    return result
  }

  /** Builds, admits and commits a job together with the catalog that names it. Within `exclusive`. */
  async createJob(job: JobPlan, catalog: unknown): Promise<Epoch> {
    await this.ready()
    await this.deploy([job], false)
    this.jobs.set(job.jobId, job)
    this.exhaustion = null
    try {
      this.startJobs.push(job.jobId)
      const admitted = this.inject()
      return await this.commitCatalog(catalog, admitted, [])
    } catch (error) {
      this.jobs.delete(job.jobId)
      throw error
    }
  }

  /** Ends jobs and commits the catalog without them. Within `exclusive`. */
  async dropJobs(
    jobIds: readonly number[],
    tableIds: readonly TableId[],
    catalog: unknown,
  ): Promise<Epoch> {
    await this.ready()
    this.stopJobs.push(...jobIds)
    const last = this.inject()
    const dropped = jobIds.flatMap((jobId) => this.jobs.get(jobId) ?? [])
    for (const jobId of jobIds) this.jobs.delete(jobId)
    try {
      const epoch = await this.commitCatalog(catalog, last, tableIds)
      this.feed.drop(tableIds) // A recovery may have taken the drop back before.
      return epoch
    } catch (error) {
      for (const job of dropped) this.jobs.set(job.jobId, job)
      throw error
    }
  }

  private *sourceIds(): Generator<number> {
    for (const { sourceId } of this.sources()) yield sourceId
  }

  /** Whose positions are kept: sources, with how many actors read them, and the row counters of tables. */
  private *sources(): Generator<{ readonly sourceId: number; readonly actors: number }> {
    for (const job of this.jobs.values()) {
      for (const { operators, parallelism } of job.fragments) {
        const head = operators[0]
        const actors = parallelism === 'single' ? 1 : this.options.parallelism
        if (head.kind === 'source') yield { sourceId: head.sourceId, actors }
        if (head.kind === 'dml') yield { sourceId: head.tableId, actors: 0 }
      }
    }
  }

  /** Commits a catalog that starts and ends nothing. Within `exclusive`. */
  async changeCatalog(catalog: unknown): Promise<Epoch> {
    await this.ready()
    return await this.commitCatalog(catalog, this.collectedEpoch, [])
  }

  private commitCatalog(
    catalog: unknown,
    after: Epoch,
    droppedTables: readonly TableId[],
  ): Promise<Epoch> {
    assert(this.catalogChange === null, 'catalog changes are exclusive')
    this.catalogChange = { catalog, after, droppedTables }
    return this.checkpoint(true)
  }

  private deploy(jobs: readonly JobPlan[], recovered: boolean): Promise<void> {
    const pool = this.pool
    assert(pool !== null && this.deployment === null, 'deployments come one at a time')
    return new Promise((resolve, reject) => {
      this.deployId++
      this.deployment = { id: this.deployId, waiting: pool.workerCount, resolve, reject }
      const offsets = this.store.version.offsets as Record<string, SplitOffset>
      pool.postAll({ kind: 'deploy', deployId: this.deployId, jobs, offsets, recovered })
    })
  }

  /** Changes of a table from an epoch on that has begun when it resolves, with all that are accepted afterwards. */
  async subscribe(tableId: number): Promise<Subscription> {
    // Each worker begins with its next epoch, so that of the epoch that is open now some rows may be missing.
    const subscription = this.feed.subscribe(tableId, this.opened)
    try {
      await this.settle()
      return subscription
    } catch (error) {
      subscription.close()
      throw error
    }
  }

  // ---- rows ----------------------------------------------------------------------------------

  /**
   * Hands a batch to the table's actor. Resolves when it was accepted: it is in every later flush.
   * `durably` asks for a checkpoint of it and resolves when it is committed.
   */
  async accept(
    tableId: number,
    batch: Uint8Array,
  ): Promise<{ readonly durably: () => Promise<void> }> {
    await this.ready()
    if (this.dml.isFull) this.wantCheckpoint()
    await this.dml.room()
    await this.ready()
    // First: a batch that is refused must not be in the log, which recoveries hand out again.
    const worker = this.workerOf(tableId)
    const committed = new Promise<void>((resolve, reject) => {
      this.dml.append({ tableId, batch, epoch: this.opened, committed: resolve, failed: reject })
    })
    committed.catch(() => undefined) // Who did not ask for durability learns of a failure by the next call.
    this.pool?.post(worker, { kind: 'dml', tableId, batch })
    return {
      durably: () => {
        this.wantCheckpoint()
        return committed
      },
    }
  }

  /** Resolves when everything accepted so far can be read at the latest epoch. */
  async settle(): Promise<void> {
    await this.ready()
    const settled = this.settlers.wait(this.opened)
    this.inject()
    await settled
  }

  /** The worker that takes the table's rows. @throws SQL_UNDEFINED_TABLE */
  private workerOf(tableId: number): number {
    for (const job of this.jobs.values()) {
      for (const { fragmentId, operators } of job.fragments) {
        const head = operators[0]
        if (head.kind === 'dml' && head.tableId === tableId) {
          return workerOfSingle(fragmentId, this.options.parallelism)
        }
      }
    }
    throw new EngineError('SQL_UNDEFINED_TABLE', `there is no table ${tableId} to insert into`, {
      context: { tableId },
    })
  }

  /** Forces a checkpoint of everything accepted so far; resolves with the committed epoch. */
  async flush(): Promise<Epoch> {
    await this.ready()
    return await this.checkpoint(false)
  }

  private checkpoint(ddl: boolean): Promise<Epoch> {
    const committed = this.flushes.wait(this.opened, ddl)
    this.wantCheckpoint()
    return committed
  }

  /** Group commit: while a checkpoint is under way, further wishes share the next one. */
  private wantCheckpoint(): void {
    this.checkpointWanted = true
    if (this.phase !== 'running' && this.phase !== 'closing') return
    if (this.checkpointsInFlight === 0) this.inject()
  }

  /** Resolves when the pipeline runs; rejects when it will not run again. */
  private async ready(): Promise<void> {
    if (this.phase === 'running') return
    while (this.phase === 'recovering' && this.recovery !== null) await this.recovery
    if (!this.isRunning()) throw this.whyNot()
  }

  private isRunning(): boolean {
    return this.phase === 'running'
  }

  private isRecovering(): boolean {
    return this.phase === 'recovering'
  }

  private whyNot(): EngineError {
    if (this.failure !== null) return this.failure
    return new EngineError('CLOSED', 'the database is closed')
  }

  // ---- barriers ------------------------------------------------------------------------------

  private scheduleTick(): void {
    this.timer?.cancel()
    this.timer = this.env.setTimer(this.options.barrierIntervalMs, () => {
      if (this.phase !== 'running') return
      this.scheduleTick()
      if (this.inFlight.length < BARRIERS_IN_FLIGHT_MAX) this.inject()
      this.applyBackPressure()
    })
  }

  /** Ends the open epoch with a barrier to all workers; returns the epoch that it ends. */
  private inject(): Epoch {
    const pool = this.pool
    assert(pool !== null, 'barriers need workers')
    const now = this.env.monotonicMs()
    const due =
      this.options.checkpointEvery > 0 &&
      this.barriersSinceCheckpoint + 1 >= this.options.checkpointEvery
    const checkpoint =
      (this.checkpointWanted || due || this.catalogChange !== null) &&
      this.checkpointsInFlight < this.options.checkpointsInFlightMax &&
      this.startJobs.length === 0
    const epoch = this.opened
    const barrier: Barrier = {
      epoch,
      next: nextEpoch(epoch, this.env.nowMs()),
      checkpoint,
      startJobs: this.startJobs,
      stopJobs: this.stopJobs,
    }
    this.startJobs = []
    this.stopJobs = []
    this.inFlight.push({
      barrier,
      openedMs: this.openedMs,
      injectedMs: now,
      waiting: pool.workerCount,
      runs: [],
      offsets: {},
      sourcesDone: new Map(),
    })
    this.opened = barrier.next
    this.openedMs = now
    if (checkpoint) {
      this.checkpointWanted = false
      this.barriersSinceCheckpoint = 0
      this.checkpointsInFlight++
    } else this.barriersSinceCheckpoint++
    pool.postAll({ kind: 'barrier', barrier })
    return epoch
  }

  private collected(
    workerIndex: number,
    message: Extract<FromWorker, { readonly kind: 'collected' }>,
  ): void {
    this.workerMetrics[workerIndex] = message.metrics
    const entry = this.inFlight.find((candidate) => candidate.barrier.epoch === message.epoch)
    assert(entry !== undefined, 'a collected barrier was injected')
    entry.waiting--
    entry.runs.push(...message.runs)
    Object.assign(entry.offsets, message.offsets)
    for (const sourceId of message.sourcesDone) {
      entry.sourcesDone.set(sourceId, (entry.sourcesDone.get(sourceId) ?? 0) + 1)
    }
    while (this.inFlight.length > 0 && this.inFlight[0].waiting === 0) {
      this.completed(this.inFlight.shift()!)
    }
  }

  /** Every worker has passed the barrier: its epoch can be read, and committed if it is a checkpoint. */
  private completed(entry: InFlightBarrier): void {
    const { barrier } = entry
    assert(barrier.epoch > this.collectedEpoch, 'epochs are collected in order')
    this.collectedEpoch = barrier.epoch
    this.stats.collected(entry.openedMs, entry.injectedMs, this.env.monotonicMs())
    this.pendingRuns.push(...entry.runs)
    this.liveRuns.add(entry.runs)
    this.offsets.collected(entry.offsets)
    this.sourcesDone = entry.sourcesDone
    this.settlers.serve(barrier.epoch, barrier.epoch)
    this.applyBackPressure()
    if (barrier.checkpoint) this.commit(entry)
    else if (this.checkpointWanted && this.checkpointsInFlight === 0) this.inject()
    this.watchSources(barrier)
  }

  private commit(entry: InFlightBarrier): void {
    const { epoch } = entry.barrier
    const change =
      this.catalogChange !== null && this.catalogChange.after < epoch ? this.catalogChange : null
    const input = {
      epoch,
      runs: this.pendingRuns,
      offsets: this.offsets.takeChanged(),
      ...(change === null ? {} : { catalog: change.catalog, droppedTables: change.droppedTables }),
    }
    if (change !== null) Object.assign(input.offsets, this.offsets.takeForgotten(this.sourceIds()))
    this.pendingRuns = []
    if (change !== null) this.catalogChange = null
    const done = this.store.commit(input).then(
      (result) => {
        this.recoveries = 0
        this.checkpointsInFlight--
        this.committedMs = this.env.monotonicMs()
        this.stats.committed(entry.injectedMs, this.env.monotonicMs(), result.phases)
        this.committed(epoch, result.epoch)
      },
      (error: unknown) => this.stop(toEngineError(error)),
    )
    // Without the values: each would hold the one before it.
    this.commitTail = Promise.all([this.commitTail, done]).then(() => undefined)
  }

  private committed(epoch: Epoch, committedEpoch: Epoch): void {
    this.dml.committed(epoch)
    this.feed.committed(epoch)
    this.flushes.serve(epoch, committedEpoch)
    if (this.phase !== 'running' && this.phase !== 'closing') return
    const wanted = this.checkpointWanted || !this.flushes.isEmpty || this.dml.isFull
    if (wanted && this.checkpointsInFlight === 0) this.wantCheckpoint()
  }

  /** A bounded source's end forces the last checkpoint; once it is committed, that is an event. */
  private watchSources(barrier: Barrier): void {
    if (this.exhaustion !== null) return
    // A source is exhausted when every worker that runs an actor of it says so, with or without splits.
    if (!this.hasSources || barrier.startJobs.length > 0) return
    for (const { sourceId, actors } of this.sources()) {
      if ((this.sourcesDone.get(sourceId) ?? 0) < actors) return
    }
    const exhaustion = { committed: false }
    this.exhaustion = exhaustion
    this.flush().then(
      (epoch) => {
        // Forgotten meanwhile: after a recovery, and with a new job, the sources say it again.
        if (this.exhaustion !== exhaustion) return
        exhaustion.committed = true
        this.parts.event({ kind: 'sourcesExhausted', epoch })
      },
      () => undefined, // The failure was reported where it happened.
    )
  }

  private applyBackPressure(): void {
    const limit = this.options.sharedBufferBytes / 2
    let arenaBytes = 0
    for (const metrics of this.workerMetrics) arenaBytes += metrics?.arenaBytes ?? 0
    const buffered = Math.max(this.liveRuns.bytes, arenaBytes)
    if (buffered > limit / 2) this.checkpointWanted = true
    // Too many sub-levels are as bad as too many bytes: reads and memory grow with them.
    const pause = buffered > limit || this.store.pressure === 'stop' || this.isStuck()
    if (pause !== this.paused) {
      this.paused = pause
      this.pool?.postAll({ kind: 'pause', paused: pause || this.stopping })
      this.parts.event({ kind: 'backpressure', active: pause, bufferedBytes: buffered })
    }
    if (this.checkpointWanted && this.checkpointsInFlight === 0 && this.inFlight.length === 0) {
      this.inject()
    }
  }

  /** Until the oldest barrier has passed, no report of memory comes, and sources could fill all of it. */
  private isStuck(): boolean {
    const oldest = this.inFlight.at(0)
    return oldest !== undefined && this.env.monotonicMs() - oldest.injectedMs > STUCK_MS
  }

  // ---- versions and runs ---------------------------------------------------------------------

  /**
   * The uncommitted runs for a read at the latest collected epoch, over the version of now. Until `release`
   * the workers do not get the runs' slabs back.
   */
  pinLatest(): { readonly epoch: Epoch; readonly runs: readonly SealedRun[]; release(): void } {
    return { epoch: this.latestEpoch, ...this.liveRuns.pin() }
  }

  private tellVersion({ delta, released }: VersionNews): void {
    const { pool } = this
    if (pool === null) return
    for (let worker = 0; worker < pool.workerCount; worker++) {
      const own = released.filter((run) => run.workerIndex === worker)
      pool.post(worker, { kind: 'version', delta, releasedRuns: own.map((run) => run.runId) })
    }
  }

  /** Blocks for a worker: an outage of the store is waited out, for the operator can do nothing else. */
  private async fetch(
    workerIndex: number,
    sst: SstMeta,
    want: { readonly tail: boolean; readonly blocks: readonly number[] },
  ): Promise<void> {
    const pool = this.pool
    const { sstId } = sst
    for (;;) {
      try {
        const found = await this.parts.fetch(sst, want)
        pool?.post(workerIndex, { kind: 'fetched', sstId, ...found, error: null })
        return
      } catch (thrown) {
        const error = toEngineError(thrown)
        if (error.kind !== 'unavailable' || error.code === 'OBJECT_MISSING') {
          const nothing = { tail: null, blocks: [], error: toWire(error) }
          pool?.post(workerIndex, { kind: 'fetched', sstId, ...nothing })
          return
        }
        await this.env.sleep(FETCH_AGAIN_MS)
        if (this.pool !== pool) return
      }
    }
  }

  // ---- threads -------------------------------------------------------------------------------

  private async startPool(): Promise<void> {
    const { options } = this
    this.opened = nextEpoch(
      this.opened > this.store.committedEpoch ? this.opened : this.store.committedEpoch,
      this.env.nowMs(),
    )
    this.openedMs = this.env.monotonicMs()
    this.workerMetrics.length = 0
    const version = this.store.version
    const pool: WorkerPool = new WorkerPool(
      this.parts.spawn,
      {
        workerCount: options.parallelism,
        arenaBytes: options.sharedBufferBytes,
        ringBytes: options.ringBytes,
        stateCacheBytes: options.stateCacheBytes,
        tailBytesMax: options.tailBytesMax,
        chunkRows: options.chunkRows,
        blockCache: this.parts.blockCache(),
        version,
        datasets: options.datasets,
      },
      {
        message: (workerIndex, message) => {
          if (this.pool === pool) this.received(workerIndex, message)
        },
        failed: (error) => {
          if (this.pool === pool) this.workersFailed(error)
        },
      },
    )
    this.pool = pool
    this.lastPool = pool
    for (let worker = 0; worker < options.parallelism; worker++) {
      this.store.threadApplied(`worker-${worker}`, version.versionId)
    }
    await this.deploy([...this.jobs.values()], true)
    if (this.paused || this.stopping) pool.postAll({ kind: 'pause', paused: true })
    this.startJobs = [...this.jobs.keys()]
    for (const tableId of this.feed.tables) pool.postAll({ kind: 'subscribe', tableId, on: true })
    this.inject()
    for (const { tableId, batch } of this.dml.replay(this.opened)) {
      pool.post(this.workerOf(tableId), { kind: 'dml', tableId, batch })
    }
    this.flushes.moveTo(this.opened)
    this.settlers.moveTo(this.opened)
    // Who waits for a row's durability, or for room in the log, waits for the next checkpoint.
    if (!this.flushes.isEmpty || !this.dml.isEmpty) this.checkpointWanted = true
    if (!this.settlers.isEmpty) this.inject()
  }

  private forgetThreads(): void {
    for (let worker = 0; worker < this.options.parallelism; worker++) {
      this.store.threadGone(`worker-${worker}`)
    }
  }

  private received(workerIndex: number, message: FromWorker): void {
    switch (message.kind) {
      case 'ready':
        return
      case 'deployed':
        if (this.deployment?.id === message.deployId && --this.deployment.waiting === 0) {
          const { resolve } = this.deployment
          this.deployment = null
          resolve()
        }
        return
      case 'collected':
        return this.collected(workerIndex, message)
      case 'fetch':
        void this.fetch(workerIndex, message.sst, message)
        return
      case 'versionApplied':
        return this.store.threadApplied(`worker-${workerIndex}`, message.versionId)
      case 'changes':
        return this.feed.changed(message.tableId, message.epoch, message.chunk)
      case 'failed':
        return
      default:
        return unreachable(message)
    }
  }

  private workersFailed(error: EngineError): void {
    this.pool = null
    const runs = this.phase === 'running' || this.phase === 'closing'
    if (this.deployment !== null) {
      const { reject } = this.deployment
      this.deployment = null
      reject(runs ? refusalOf(error) : error)
    }
    if (!runs) return
    const wasClosing = this.phase === 'closing'
    this.phase = 'recovering'
    this.recovery = this.recover(error).then(() => {
      this.recovery = null
      if (wasClosing && this.phase === 'running') this.phase = 'closing'
    })
  }

  /** Back to the last committed epoch: whatever is not committed is forgotten and done again. */
  private async recover(first: EngineError): Promise<void> {
    let error = first
    for (;;) {
      this.recoveries++
      await this.lastPool?.terminate()
      this.forgetThreads()
      await this.commitTail
      if (!this.isRecovering()) return
      this.forgetUncommitted(error)
      if (this.recoveries > this.options.recoveriesMax) {
        this.stop(
          new EngineError(
            'PIPELINE_FAILED',
            `the pipeline failed ${this.recoveries} times without progress: ${first.message}`,
            { cause: first },
          ),
        )
        return
      }
      this.parts.event({ kind: 'recovering', error, attempt: this.recoveries })
      await this.env.sleep(Math.min(20 * 2 ** this.recoveries, 5000) * (0.5 + this.env.random()))
      if (!this.isRecovering()) return
      try {
        await this.startPool()
        this.phase = 'running'
        this.scheduleTick()
        this.parts.event({ kind: 'recovered', epoch: this.store.committedEpoch })
        return
      } catch (again) {
        void this.lastPool?.terminate()
        this.pool = null
        error = toEngineError(again)
      }
    }
  }

  private forgetUncommitted(error: EngineError): void {
    this.timer?.cancel()
    this.inFlight.length = 0
    this.pendingRuns = []
    this.liveRuns.forget()
    this.checkpointsInFlight = 0
    this.startJobs = []
    this.stopJobs = []
    this.collectedEpoch = this.store.committedEpoch
    this.exhaustion = null
    this.paused = false
    this.feed.forget()
    this.offsets.reset(this.store.version.offsets)
    if (this.catalogChange === null) return
    this.catalogChange = null
    this.flushes.rejectDdl(refusalOf(error))
  }

  /** The end, with its reason: nothing is acknowledged any more. */
  private stop(error: EngineError): void {
    if (this.phase === 'failed' || this.phase === 'closed') return
    this.phase = 'failed'
    this.failure = error
    this.timer?.cancel()
    const pool = this.pool
    this.pool = null
    void pool?.terminate()
    this.refuseAll(error)
    this.parts.event({ kind: 'failed', error })
  }

  private refuseAll(error: EngineError): void {
    this.dml.fail(error)
    this.feed.fail(error)
    this.flushes.rejectAll(error)
    this.settlers.rejectAll(error)
    this.deployment?.reject(error)
    this.deployment = null
  }

  /**
   * Ends with a checkpoint of everything accepted, then the threads. @param deadlineMs After so long the
   * checkpoint is given up; what was acknowledged is safe all the same.
   */
  async close(deadlineMs: number): Promise<void> {
    if (this.phase === 'closed' || this.phase === 'closing') return
    if (this.recovery !== null) {
      await Promise.race([this.recovery, this.env.sleep(deadlineMs)])
    }
    if (this.isRunning()) {
      // From here on nothing is accepted: what came after the checkpoint's barrier would be lost.
      this.phase = 'closing'
      this.stopping = true
      this.timer?.cancel()
      this.pool?.postAll({ kind: 'pause', paused: true })
      await Promise.race([
        this.checkpoint(false).catch(() => undefined), // The close goes on; committed state is not touched.
        this.env.sleep(deadlineMs),
      ])
    }
    const failed = this.phase === 'failed'
    this.phase = 'closed'
    this.timer?.cancel()
    this.pool = null
    await this.lastPool?.terminate()
    this.forgetThreads()
    if (!failed) this.refuseAll(new EngineError('CLOSED', 'the database is closed'))
  }
}

/** To a statement that did not happen. If that was its own fault, trying again would not help. */
function refusalOf(error: EngineError): EngineError {
  if (error.kind === 'invalid') return error
  return new EngineError('RECOVERING', 'the pipeline recovered; run the statement again', {
    cause: error,
  })
}
