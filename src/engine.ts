/**
 * The engine, on the control thread: SQL in, jobs and answers out. It owns the store, the pool of background
 * jobs, the caches and the coordinator, and lives as long as the database is open.
 */

import { unreachable } from './common/assert.ts'
import type { Env } from './common/env.ts'
import { EngineError, toWire } from './common/errors.ts'
import { bytes, tableId } from './common/ids.ts'
import { checkNexmarkSource } from './connectors/nexmark.ts'
import type {
  EngineEvent,
  EngineInit,
  EngineMetrics,
  ResultColumn,
  StatementResult,
  TableDescription,
  WireRows,
} from './engine-protocol.ts'
import type { ResolvedOptions } from './options.ts'
import {
  COMMITTED,
  chunkBytes,
  done,
  ioOf,
  type ReadAt,
  refuseChanges,
  runRead,
  type View,
  visibleColumns,
} from './read-statements.ts'
import type { Subscription } from './runtime/change-feed.ts'
import { Coordinator, type CoordinatorEvent } from './runtime/coordinator.ts'
import { executeDml } from './runtime/query.ts'
import { SnapshotScan } from './runtime/snapshot-scan.ts'
import { threadSpawner } from './runtime/threads.ts'
import { allocate } from './runtime/worker-pool.ts'
import type { StatementAst, StatementOf } from './sql/ast.ts'
import {
  type Catalog,
  type CatalogObject,
  dropObject,
  emptyCatalog,
  findObject,
  getObject,
  stateTablesOf,
} from './sql/catalog.ts'
import { loadParser, parseScript, parseStatement } from './sql/parser.ts'
import { type CreateStatement, isCreate, planJob } from './sql/planner.ts'
import { planDml } from './sql/query-planner.ts'
import {
  ControlBlockSource,
  type FetchFunction,
  fetchThroughCache,
} from './storage/cache/block-sources.ts'
import { BlockCache } from './storage/cache/memory.ts'
import { JobPool } from './storage/job-pool.ts'
import { LsmStore, type StoreEvent } from './storage/lsm-store.ts'
import type { ObjectStore } from './storage/object/object-store.ts'
import { openObjectStore } from './storage/object/open.ts'
import { SnapshotReader } from './storage/snapshot-reader.ts'
import { type StoreOptions, storeOptions } from './storage/store-options.ts'
import type { Pin } from './storage/version/snapshot.ts'
import { eachSst } from './storage/version/version.ts'
import { CHUNK_ROWS } from './stream/chunk.ts'
import { assertCodeGeneration } from './stream/expression.ts'
import type { JobPlan } from './stream/plan.ts'
import { checkKeySizes } from './stream/row-codec.ts'

const MIB = 1024 * 1024
/** Time that `close` gives the last checkpoint. */
const CLOSE_DEADLINE_MS = 5000
const RING_BYTES = MIB
/** Uncommitted rows kept for recovery. */
const DML_BYTES_MAX = 64 * MIB
const TAIL_BYTES_MAX = 32 * MIB
const OPEN_PATIENCE_MS = 10_000
/** A writer that has committed nothing for so long asks whether it still is the writer. */
const SILENT_MS = 10_000
/** Failed attempts of one call after which it is an event. */
const SLOW_ATTEMPTS = 3

interface Parts {
  readonly objects: ObjectStore
  readonly jobs: JobPool
  readonly store: LsmStore
  readonly coordinator: Coordinator
}

export class Engine {
  private readonly env: Env
  private readonly emit: (event: EngineEvent) => void
  private parts: Parts | null = null
  private catalog: Catalog = emptyCatalog()
  private cache: BlockCache | null = null
  private blocks: ControlBlockSource | null = null
  private fetchBlocks: FetchFunction | null = null
  private readonly snapshots = new Map<number, { readonly pin: Pin }>()
  private readonly subscriptions = new Map<number, Subscription>()
  private nextHandle = 1
  /** Ends of the queues of changes, by table. */
  private readonly tableQueues = new Map<number, Promise<unknown>>()
  /** The last checkpoint may still be under way … */
  private closing = false
  /** … and now it may not. */
  private closed = false
  private exhaustedWaiters: ((epoch: number) => void)[] = []
  private failedWaiters: ((error: EngineError) => void)[] = []
  private failure: EngineError | null = null
  /** When the store was last seen to be ours, monotonic. */
  private ownedMs = 0

  /** @param emit Tells the user's thread what happens inside. */
  constructor(env: Env, emit: (event: EngineEvent) => void) {
    this.env = env
    this.emit = emit
  }

  async open(init: EngineInit): Promise<{ generation: number; databaseId: string }> {
    assertCodeGeneration()
    const { options } = init
    const parsing = loadParser()
    const objects = await openObjectStore(init.url, this.env, {
      deadlineMs: () => this.patienceMs(),
      onRetry: (operation, attempts, error) => {
        if (attempts !== SLOW_ATTEMPTS) return
        this.emit({ kind: 'storage', name: 'storeSlow', detail: `${operation}: ${error.message}` })
      },
    })
    const jobs = new JobPool({
      threads: options.poolThreads,
      workerFile: new URL(init.poolFile),
      youngGenerationMb: options.youngGenerationMb,
    })
    let store: LsmStore | null = null
    try {
      store = await LsmStore.open({
        env: this.env,
        objects,
        jobs,
        options: storeOptionsOf(options),
        cache: {
          insert: (sstId, blockIndex, body) => {
            this.cache?.insert(sstId, blockIndex, body)
          },
          evictSst: (sstId) => this.cache?.evictSst(sstId),
        },
        onEvent: (event) => this.storeEvent(event),
      })
      this.ownedMs = this.env.monotonicMs()
      this.catalog = (store.version.catalog as Catalog | null) ?? emptyCatalog()
      const coordinator = this.makeCoordinator(store, init)
      this.parts = { objects, jobs, store, coordinator }
      await coordinator.start(this.jobsOf(this.catalog))
      await parsing
      return { generation: store.generation, databaseId: store.databaseId }
    } catch (error) {
      await this.parts?.coordinator.close(0)
      this.parts = null
      await store?.close()
      await jobs.close()
      await objects.close()
      throw error
    }
  }

  /**
   * How long an object-store call may be tried again. Opening answers soon; after that an outage is waited out, with
   * the sources paused behind it (queries have a limit of their own); closing waits for nothing.
   */
  private patienceMs(): number {
    if (this.closed) return 0
    return this.parts === null ? OPEN_PATIENCE_MS : Number.POSITIVE_INFINITY
  }

  private makeCoordinator(store: LsmStore, init: EngineInit): Coordinator {
    const { options } = init
    return new Coordinator({
      env: this.env,
      store,
      spawn: threadSpawner(new URL(init.workerFile), options.youngGenerationMb),
      options: {
        parallelism: options.parallelism,
        barrierIntervalMs: options.barrierIntervalMs,
        checkpointEvery: options.checkpointEvery,
        checkpointsInFlightMax: 8,
        sharedBufferBytes: options.sharedBufferBytes,
        ringBytes: RING_BYTES,
        stateCacheBytes: options.stateCacheBytes,
        tailBytesMax: tailBytesOf(options),
        chunkRows: CHUNK_ROWS,
        dmlBytesMax: DML_BYTES_MAX,
        recoveriesMax: 5,
        datasets: init.datasets,
      },
      blockCache: () => this.renewCache(store, options),
      fetch: (sst, want) => this.fetchBlocks!(sst, want),
      event: (event) => this.coordinatorEvent(event),
    })
  }

  /** A new cache for a new incarnation: the old one may hold pins of threads that died. */
  private renewCache(store: LsmStore, options: ResolvedOptions): SharedArrayBuffer {
    const buffer = allocate(BlockCache.bytesFor(options.blockCacheBytes))
    const cache = new BlockCache(buffer, 'owner')
    this.cache = cache
    const fetch = fetchThroughCache(cache, (sst, want) => store.fetch(sst, want))
    this.fetchBlocks = fetch
    this.blocks = new ControlBlockSource({ cache, tailBytesMax: tailBytesOf(options), fetch })
    return buffer
  }

  private jobsOf(catalog: Catalog): JobPlan[] {
    return catalog.objects.flatMap((object) => (object.plan === null ? [] : [object.plan]))
  }

  private live(): Parts {
    if (this.parts === null) throw new EngineError('CLOSED', 'the database is closed')
    return this.parts
  }

  // ---- events --------------------------------------------------------------------------------

  private coordinatorEvent(event: CoordinatorEvent): void {
    switch (event.kind) {
      case 'recovering':
        this.emit({ ...event, error: toWire(event.error) })
        return
      case 'failed': {
        this.failure = event.error
        for (const fail of this.failedWaiters) fail(event.error)
        this.failedWaiters = []
        this.exhaustedWaiters = []
        this.emit({ kind: 'failed', error: toWire(event.error) })
        return
      }
      case 'sourcesExhausted':
        this.wakeExhausted(event.epoch)
        this.emit(event)
        return
      case 'recovered':
      case 'backpressure':
        this.emit(event)
        return
      default:
        return unreachable(event)
    }
  }

  private wakeExhausted(epoch: number): void {
    for (const wake of this.exhaustedWaiters) wake(epoch)
    this.exhaustedWaiters = []
    this.failedWaiters = []
  }

  private storeEvent(event: StoreEvent): void {
    // What a close gives up is no news.
    if (this.closed) return
    const detail = JSON.stringify(event, (_key, value: unknown) =>
      value instanceof EngineError ? { code: value.code, message: value.message } : value,
    )
    this.emit({ kind: 'storage', name: event.kind, detail })
  }

  // ---- statements ----------------------------------------------------------------------------

  async execute(sql: string, parameters: readonly unknown[]): Promise<StatementResult[]> {
    const results: StatementResult[] = []
    for (const statement of parseScript(sql)) {
      results.push(await this.executeOne(statement, parameters))
    }
    return results
  }

  /** As `execute`; a CREATE of what is there with the same text is passed over. */
  async run(sql: string): Promise<StatementResult[]> {
    const results: StatementResult[] = []
    for (const statement of parseScript(sql)) {
      if (isCreate(statement)) {
        const existing = findObject(this.catalog, statement.name.name)
        if (existing !== null && existing.sql === statement.text) continue
      }
      results.push(await this.executeOne(statement, []))
    }
    return results
  }

  private async executeOne(
    statement: StatementAst,
    parameters: readonly unknown[],
  ): Promise<StatementResult> {
    const { coordinator } = this.live()
    switch (statement.kind) {
      case 'create-source':
      case 'create-table':
      case 'create-view':
      case 'create-sink':
        return await coordinator.exclusive(() => this.create(statement))
      case 'drop':
        return await coordinator.exclusive(() => this.drop(statement))
      case 'flush':
        await coordinator.flush()
        return done('FLUSH')
      default:
        return await this.runBatch(statement, parameters)
    }
  }

  private async create(statement: CreateStatement): Promise<StatementResult> {
    const { coordinator } = this.live()
    const { plan, object, catalog } = planJob(statement, this.catalog)
    if (catalog !== this.catalog) {
      checkSource(object)
      if (plan === null) await coordinator.changeCatalog(catalog)
      else await coordinator.createJob(plan, catalog)
      this.catalog = catalog
    }
    const names = { source: 'SOURCE', table: 'TABLE', view: 'MATERIALIZED VIEW', sink: 'SINK' }
    return done(`CREATE ${names[object.kind]}`)
  }

  private async drop(statement: StatementOf<'drop'>): Promise<StatementResult> {
    const { coordinator } = this.live()
    const { name, objectKind, ifExists } = statement
    const { catalog, dropped } = dropObject(this.catalog, name, { kind: objectKind, ifExists })
    if (dropped !== null) {
      if (dropped.plan === null) await coordinator.changeCatalog(catalog)
      else {
        const tables = stateTablesOf(dropped.plan).map((table) => tableId(table.tableId))
        const epoch = await coordinator.dropJobs([dropped.plan.jobId], tables, catalog)
        // Who waits for the end of sources that are no more is at it.
        if (!coordinator.hasSources) this.wakeExhausted(epoch)
      }
      this.catalog = catalog
    }
    return done('DROP')
  }

  private async runBatch(
    statement: StatementAst,
    parameters: readonly unknown[],
  ): Promise<StatementResult> {
    switch (statement.kind) {
      case 'insert':
      case 'update':
      case 'delete':
        return await this.change(statement, parameters)
      default:
        return await this.read(statement, parameters, COMMITTED)
    }
  }

  // ---- changing rows -------------------------------------------------------------------------

  /** INSERT, UPDATE and DELETE: rows are found at the newest epoch and changed, one statement after the other. */
  private async change(
    statement: StatementOf<'insert' | 'update' | 'delete'>,
    parameters: readonly unknown[],
  ): Promise<StatementResult> {
    const { coordinator } = this.live()
    const plan = planDml(statement, this.catalog, parameters)
    const { tableId: id } = plan.table
    return await this.alone(id, async () => {
      // What was inserted before must be seen: it is, once the epoch that is open now was collected.
      if (plan.query.scans.length > 0) await coordinator.settle()
      const view = this.view(null, 'latest')
      try {
        const { chunks, rowCount } = await executeDml(
          plan,
          ioOf(view, () => this.env.turn()),
        )
        for (const chunk of chunks) checkKeySizes(plan.table, chunk)
        for (const chunk of chunks) await coordinator.accept(id, chunkBytes(chunk))
        return done(plan.kind.toUpperCase(), rowCount)
      } finally {
        view.release()
      }
    })
  }

  /** Changes of one table come one after the other: an UPDATE reads what it changes. */
  private alone<T>(id: number, work: () => Promise<T>): Promise<T> {
    const before = this.tableQueues.get(id) ?? Promise.resolve()
    const result = before.then(work, work)
    const settled = result.catch(() => undefined) // Its caller has the error; the queue goes on.
    this.tableQueues.set(id, settled)
    void settled.then(() => {
      if (this.tableQueues.get(id) === settled) this.tableQueues.delete(id)
    })
    return result
  }

  // ---- reading -------------------------------------------------------------------------------

  async query(sql: string, parameters: readonly unknown[], at: ReadAt): Promise<WireRows> {
    const { rows } = await this.read(refuseChanges(parseStatement(sql)), parameters, at)
    return rows!
  }

  private async read(
    statement: StatementAst,
    parameters: readonly unknown[],
    at: ReadAt,
  ): Promise<StatementResult> {
    await this.checkOwner()
    return await runRead(statement, parameters, {
      catalog: this.catalog,
      view: () => this.view(at.snapshotId, at.visibility),
      turn: () => this.env.turn(),
    })
  }

  /** A writer that was silent for long may have been replaced: it looks before it serves a read. */
  private async checkOwner(): Promise<void> {
    const { store, coordinator } = this.live()
    if (this.failure?.code === 'FENCED') throw this.failure
    const now = this.env.monotonicMs()
    if (now - Math.max(coordinator.committedMs, this.ownedMs) < SILENT_MS) return
    await store.checkOwner()
    this.ownedMs = now
  }

  async snapshot(): Promise<{ snapshotId: number; epoch: number }> {
    const pin = this.live().store.pin()
    const snapshotId = this.nextHandle++
    this.snapshots.set(snapshotId, { pin })
    return { snapshotId, epoch: pin.epoch }
  }

  async releaseSnapshot(snapshotId: number): Promise<null> {
    this.snapshots.get(snapshotId)?.pin.release()
    this.snapshots.delete(snapshotId)
    return null
  }

  private view(snapshotId: number | null, visibility: 'committed' | 'latest'): View {
    const { store, coordinator } = this.live()
    const blocks = this.blocks!
    if (snapshotId !== null) {
      const held = this.snapshots.get(snapshotId)
      if (held === undefined) {
        throw new EngineError('SNAPSHOT_EXPIRED', 'the snapshot was released', {
          context: { snapshotId },
        })
      }
      const { version, epoch } = held.pin
      const reader = new SnapshotReader({ version, epoch, runs: [], blocks })
      return { epoch, scan: new SnapshotScan(reader, blocks, this.env), release: () => undefined }
    }
    const pin = store.pin()
    if (visibility === 'committed') {
      const { version, epoch } = pin
      const reader = new SnapshotReader({ version, epoch, runs: [], blocks })
      return {
        epoch,
        scan: new SnapshotScan(reader, blocks, this.env),
        release: () => pin.release(),
      }
    }
    const latest = coordinator.pinLatest()
    const { epoch, runs } = latest
    const reader = new SnapshotReader({ version: pin.version, epoch, runs, blocks })
    return {
      epoch,
      scan: new SnapshotScan(reader, blocks, this.env),
      release: () => {
        latest.release()
        pin.release()
      },
    }
  }

  // ---- rows in -------------------------------------------------------------------------------

  async describe(name: string): Promise<TableDescription> {
    this.live()
    const object = getObject(this.catalog, { name, position: 0 })
    if (object.kind !== 'table') {
      throw new EngineError('SQL_OBJECT_TYPE', `${name} is no table: rows cannot be inserted`, {
        context: { sqlState: '42809' },
      })
    }
    const table = object.table!
    return { tableId: table.tableId, catalogVersion: object.id, columns: object.columns, table }
  }

  async insert(
    table: { readonly tableId: number; readonly catalogVersion: number },
    batch: Uint8Array,
    durable: boolean,
  ): Promise<null> {
    const { coordinator } = this.live()
    const object = this.catalog.objects.find((candidate) => candidate.id === table.catalogVersion)
    if (object === undefined) {
      throw new EngineError('SQL_UNDEFINED_TABLE', 'the table was dropped', {
        context: { sqlState: '42P01', tableId: table.tableId },
      })
    }
    const accepted = this.alone(table.tableId, () => coordinator.accept(table.tableId, batch))
    const { durably } = await accepted
    if (durable) await durably()
    return null
  }

  // ---- changes out ---------------------------------------------------------------------------

  async subscribe(name: string): Promise<{ subscriptionId: number; columns: ResultColumn[] }> {
    const { coordinator } = this.live()
    const object = getObject(this.catalog, { name, position: 0 })
    if (object.table === null) {
      throw new EngineError('SQL_OBJECT_TYPE', `${name} is no table or view: it has no changes`, {
        context: { sqlState: '42809' },
      })
    }
    const subscription = await coordinator.subscribe(object.table.tableId)
    const subscriptionId = this.nextHandle++
    this.subscriptions.set(subscriptionId, subscription)
    return { subscriptionId, columns: visibleColumns(object) }
  }

  async nextChanges(
    subscriptionId: number,
  ): Promise<{ epoch: number; chunks: readonly Uint8Array[] } | null> {
    const subscription = this.subscriptions.get(subscriptionId)
    return subscription === undefined ? null : await subscription.next()
  }

  async unsubscribe(subscriptionId: number): Promise<null> {
    this.subscriptions.get(subscriptionId)?.close()
    this.subscriptions.delete(subscriptionId)
    return null
  }

  // ---- the rest ------------------------------------------------------------------------------

  async flush(): Promise<number> {
    return await this.live().coordinator.flush()
  }

  /** Resolves when every bounded source is read to its end and committed. */
  exhausted(): Promise<number> {
    const { coordinator } = this.live()
    if (coordinator.exhausted || !coordinator.hasSources) return coordinator.flush()
    return new Promise((resolve, reject) => {
      if (this.failure !== null) return reject(this.failure)
      this.exhaustedWaiters.push(resolve)
      this.failedWaiters.push(reject)
    })
  }

  async metrics(): Promise<EngineMetrics> {
    const { coordinator, store, objects } = this.live()
    const workers = coordinator.metrics
    const sum = (pick: (metrics: NonNullable<(typeof workers)[number]>) => number): number =>
      workers.reduce((total, metrics) => total + (metrics === null ? 0 : pick(metrics)), 0)
    let liveBytes = 0
    for (const sst of eachSst(store.version)) liveBytes += sst.sizeBytes
    return {
      committedEpoch: store.committedEpoch,
      latestEpoch: coordinator.latestEpoch,
      generation: store.generation,
      sourceRows: sum((metrics) => metrics.sourceRows),
      sourceEvents: sum((metrics) => metrics.sourceEvents),
      committedOffsets: store.version.offsets,
      stateBytes: sum((metrics) => metrics.stateBytes),
      arenaBytes: sum((metrics) => metrics.arenaBytes),
      bufferedBytes: coordinator.bufferedBytes,
      sourcesExhausted: coordinator.exhausted,
      checkpoints: coordinator.stats.summary(),
      requests: { ...objects.requests },
      storage: { ...store.metrics(), liveBytes },
      fragments: workers.flatMap((metrics, worker) =>
        (metrics?.fragments ?? []).map((fragment) => ({ worker, ...fragment })),
      ),
    }
  }

  async inspect(what: string): Promise<unknown> {
    const { store } = this.live()
    return what === 'catalog' ? this.catalog : store.version.groups
  }

  async close(): Promise<null> {
    const { parts } = this
    if (this.closing || parts === null) return null
    this.closing = true
    for (const subscription of this.subscriptions.values()) subscription.close()
    await parts.coordinator.close(CLOSE_DEADLINE_MS)
    this.closed = true
    for (const { pin } of this.snapshots.values()) pin.release()
    this.parts = null
    // First: in an outage, a request under way would keep the rest waiting until its time is up.
    await parts.objects.close()
    await parts.store.close()
    await parts.jobs.close()
    return null
  }
}

/** Indexes and filters that one thread keeps parsed: in proportion to the blocks that they lead to. */
function tailBytesOf(options: ResolvedOptions): number {
  return Math.min(TAIL_BYTES_MAX, Math.ceil(options.blockCacheBytes / 4))
}

/** A merge holds its inputs and outputs in memory, so its size follows the budget of the memtables. */
function storeOptionsOf(options: ResolvedOptions): Partial<StoreOptions> {
  const { compaction } = storeOptions()
  const budget = options.sharedBufferBytes
  return {
    // Without compaction they would stop the sources for good.
    ...(options.compaction
      ? {}
      : { subLevelsSoft: Number.POSITIVE_INFINITY, subLevelsHard: Number.POSITIVE_INFINITY }),
    tailCacheBytes: bytes(tailBytesOf(options)),
    sharedBufferSoftBytes: bytes(Math.floor(budget / 2)),
    sharedBufferHardBytes: bytes(budget),
    blockBytes: bytes(options.blockBytes),
    sstBytes: bytes(options.sstBytes),
    compactAutomatically: options.compaction,
    compaction: {
      ...compaction,
      baseBytesMin: bytes(Math.min(compaction.baseBytesMin, Math.ceil(budget / 4))),
      inputBytesMax: bytes(Math.min(compaction.inputBytesMax, budget)),
      outputBytes: bytes(Math.min(compaction.outputBytes, Math.ceil(budget / 16))),
    },
  }
}

/** Connectors check their own options before anything is started. */
function checkSource(object: CatalogObject): void {
  if (object.kind !== 'source') return
  const connector = object.properties['connector']
  if (connector === 'nexmark') {
    checkNexmarkSource(object.properties, object.columns)
    return
  }
  if (connector === 'replay') return
  throw new EngineError('SQL_UNSUPPORTED', `there is no source connector '${connector ?? ''}'`, {
    context: { sqlState: '0A000', hint: "Connectors are 'nexmark'." },
  })
}
