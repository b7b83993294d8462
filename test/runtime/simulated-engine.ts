/**
 * The engine on one thread: the real coordinator, store, worker loops and operators, driven by a dice. Which
 * worker steps, when a message arrives, how long a commit takes, who dies: all drawn from one seed. SQL in, rows out.
 */
import { setImmediate } from 'node:timers/promises'
import { Exchange } from '../../src/actors/exchange.ts'
import { EngineOperatorFactory } from '../../src/actors/operator-factory.ts'
import type { FromWorker, ToWorker, WorkerInit } from '../../src/actors/protocol.ts'
import { WorkerLoop } from '../../src/actors/worker-loop.ts'
import { tableId } from '../../src/common/ids.ts'
import { chunkBytes, ioOf, type View } from '../../src/read-statements.ts'
import type { Subscription } from '../../src/runtime/change-feed.ts'
import { Coordinator, type CoordinatorEvent } from '../../src/runtime/coordinator.ts'
import { executeDml, executeQuery } from '../../src/runtime/query.ts'
import { SnapshotScan } from '../../src/runtime/snapshot-scan.ts'
import type { SpawnWorker, WorkerCallbacks, WorkerHandle } from '../../src/runtime/worker-pool.ts'
import {
  type Catalog,
  dropObject,
  emptyCatalog,
  getObject,
  stateTablesOf,
} from '../../src/sql/catalog.ts'
import { parseStatement } from '../../src/sql/parser.ts'
import { isCreate, planJob } from '../../src/sql/planner.ts'
import { planDml, planQuery } from '../../src/sql/query-planner.ts'
import {
  ControlBlockSource,
  fetchThroughCache,
  WorkerBlockSource,
} from '../../src/storage/cache/block-sources.ts'
import { BlockCache } from '../../src/storage/cache/memory.ts'
import { WorkerStore } from '../../src/storage/local-store.ts'
import type { LsmStore } from '../../src/storage/lsm-store.ts'
import type { ObjectStore } from '../../src/storage/object/object-store.ts'
import { SnapshotReader } from '../../src/storage/snapshot-reader.ts'
import { applyDelta } from '../../src/storage/version/delta.ts'
import type { Chunk } from '../../src/stream/chunk.ts'
import { jsonValueAt } from '../../src/stream/values.ts'
import { Dice } from '../actors/simulation.ts'
import type { World } from '../storage/store-fixture.ts'
import { ManualEnv } from './fake-workers.ts'

const SLOTS_BYTES = 2 ** 20

/** A worker loop whose port is two lists. */
class LoopWorker implements WorkerHandle {
  readonly inbox: ToWorker[] = []
  readonly outbox: FromWorker[] = []
  isGone = false
  /** Newest messages that came after the look at the port, if the rings are looked at later: then the thread has slept. */
  unseen = 0
  private hasSeenRings = false
  readonly callbacks: WorkerCallbacks
  readonly loop: WorkerLoop

  constructor(init: Omit<WorkerInit, 'port'>, callbacks: WorkerCallbacks, env: ManualEnv) {
    this.callbacks = callbacks
    const { workerIndex, workerCount, arena, version, datasets } = init
    const cache = new BlockCache(init.blockCache, 'reader')
    const blocks = new WorkerBlockSource({ cache, tailBytesMax: 4096 })
    const store = new WorkerStore({ workerIndex, arena, version, blocks, slabBytes: 1024 })
    const exchange = new Exchange({
      workerIndex,
      rings: init.rings,
      wake: () => undefined,
      windowBytes: 2048,
    })
    const receive = exchange.receive.bind(exchange)
    exchange.receive = () => {
      this.hasSeenRings = true
      return receive()
    }
    this.loop = new WorkerLoop({
      workerIndex,
      workerCount,
      env,
      exchange,
      storage: {
        store,
        applyDelta: (delta, runs) => store.applyVersion(applyDelta(store.version, delta), runs),
        oldestVersionInUse: () => store.oldestVersionInUse(),
        takeRequests: () => blocks.takeRequests(),
        arrived: (sstId, tail, found, error) => blocks.arrived(sstId, tail, found, error),
      },
      factory: new EngineOperatorFactory({ workerIndex, workerCount, env, datasets }),
      chunkRows: init.chunkRows,
      stateCacheBytes: init.stateCacheBytes,
      receive: () => this.receive(),
      send: (message) => this.outbox.push(structuredClone(message)),
    })
  }

  step(): void {
    this.hasSeenRings = false
    if (!this.isGone) this.loop.step()
  }

  private receive(): ToWorker | undefined {
    if (!this.hasSeenRings && this.inbox.length <= this.unseen) return undefined
    return this.inbox.shift()
  }

  post(message: ToWorker): void {
    this.inbox.push(structuredClone(message))
  }

  async terminate(): Promise<void> {
    this.isGone = true
  }
}

export interface SimulatedOptions {
  readonly seed: number
  readonly parallelism: number
  readonly stateCacheBytes: number
}

export class SimulatedEngine {
  readonly env: ManualEnv
  readonly store: LsmStore
  readonly coordinator: Coordinator
  readonly events: CoordinatorEvent[] = []
  catalog: Catalog
  /** The newest incarnation. */
  workers: LoopWorker[] = []
  private readonly dice: Dice
  private readonly slow: SlowStore
  private blocks: ControlBlockSource | null = null
  private turns = 0
  private killAt = -1

  private constructor(
    env: ManualEnv,
    store: LsmStore,
    slow: SlowStore,
    dice: Dice,
    options: SimulatedOptions,
  ) {
    this.env = env
    this.store = store
    this.slow = slow
    this.dice = dice
    this.catalog = (store.version.catalog as Catalog | null) ?? emptyCatalog()
    this.coordinator = new Coordinator({
      env,
      store,
      spawn: this.spawn,
      options: {
        parallelism: options.parallelism,
        barrierIntervalMs: 10,
        checkpointEvery: 3,
        checkpointsInFlightMax: 3,
        sharedBufferBytes: 2 ** 18,
        ringBytes: 8192,
        stateCacheBytes: options.stateCacheBytes,
        tailBytesMax: 1 << 20,
        chunkRows: 8,
        dmlBytesMax: 4096,
        recoveriesMax: 1000,
        datasets: {},
      },
      blockCache: () => this.renewCache(),
      fetch: (sst, want) => store.fetch(sst, want),
      event: (event) => this.events.push(event),
    })
  }

  static async open(world: World, options: SimulatedOptions): Promise<SimulatedEngine> {
    const env = new ManualEnv(options.seed)
    const dice = new Dice(options.seed)
    const slow = new SlowStore(dice)
    const store = await world.open(slow.around(world.bucket), { vacuumEveryCommits: 5 })
    const engine = new SimulatedEngine(env, store, slow, dice, options)
    slow.on = true
    const jobs = engine.catalog.objects.flatMap(({ plan }) => (plan === null ? [] : [plan]))
    await engine.until(engine.coordinator.start(jobs))
    return engine
  }

  private readonly spawn: SpawnWorker = (init, callbacks) => {
    const worker = new LoopWorker(init, callbacks, this.env)
    if (init.workerIndex === 0) this.workers = []
    this.workers.push(worker)
    return worker
  }

  private renewCache(): SharedArrayBuffer {
    const buffer = new SharedArrayBuffer(BlockCache.bytesFor(SLOTS_BYTES))
    const cache = new BlockCache(buffer, 'owner')
    const fetch = fetchThroughCache(cache, (sst, want) => this.store.fetch(sst, want))
    this.blocks = new ControlBlockSource({ cache, tailBytesMax: 4096, fetch })
    return buffer
  }

  /** Drives everything until the promise settles; fails after far more than enough. */
  async until<T>(work: Promise<T>): Promise<T> {
    let isOver = false
    const over = (): void => {
      isOver = true
    }
    work.then(over, over)
    for (let turn = 0; turn < 20_000; turn++) {
      if (isOver) return await work
      await this.turn()
    }
    throw new RangeError('it never settled')
  }

  /** One turn of the event loop, in which a few things happen. */
  async turn(): Promise<void> {
    for (const worker of this.workers) {
      for (let steps = this.dice.next(4); steps > 0; steps--) {
        worker.unseen = this.dice.next(2) === 0 ? 0 : this.dice.next(1 + worker.inbox.length)
        worker.step()
      }
    }
    const speaker = this.workers[this.dice.next(Math.max(1, this.workers.length))]
    for (let said = this.dice.next(4); said > 0; said--) {
      const message = speaker?.isGone === false ? speaker.outbox.shift() : undefined
      if (message === undefined) break
      speaker.callbacks.message(message)
      // Between two events all promises settle.
      await setImmediate()
    }
    this.slow.turn()
    await setImmediate()
    if (this.killAt === this.turns++) this.kill()
    await setImmediate()
    if (this.dice.next(4) === 0) this.env.tick(this.dice.next(8))
  }

  /** The process is gone: nothing of it goes on, requests under way included. */
  crash(): void {
    for (const worker of this.workers) worker.isGone = true
    this.env.stop()
    this.slow.stop()
  }

  /** A worker dies some turns from now. */
  killWithin(turns: number): void {
    this.killAt = this.turns + this.dice.next(turns)
  }

  private kill(): void {
    const worker = this.workers[this.dice.next(this.workers.length)]
    if (!worker.isGone) worker.callbacks.exit(new Error('killed by the test'))
  }

  // ---- statements ----------------------------------------------------------------------------

  /** DDL, or one change of rows. */
  async execute(sql: string): Promise<void> {
    const statement = parseStatement(sql)
    const { coordinator } = this
    if (isCreate(statement)) {
      await coordinator.exclusive(async () => {
        const { plan, catalog } = planJob(statement, this.catalog)
        if (plan === null) await coordinator.changeCatalog(catalog)
        else await coordinator.createJob(plan, catalog)
        this.catalog = catalog
      })
    } else if (statement.kind === 'drop') {
      await coordinator.exclusive(async () => {
        const { name, objectKind: kind, ifExists } = statement
        const { catalog, dropped } = dropObject(this.catalog, name, { kind, ifExists })
        if (dropped === null || dropped.plan === null) return
        const tables = stateTablesOf(dropped.plan).map((table) => tableId(table.tableId))
        await coordinator.dropJobs([dropped.plan.jobId], tables, catalog)
        this.catalog = catalog
      })
    } else await this.change(sql)
  }

  /** INSERT, UPDATE or DELETE. @returns a promise for its durability; null when no row changes. */
  async change(sql: string): Promise<{ readonly durable: Promise<void> | null }> {
    const statement = parseStatement(sql)
    if (statement.kind !== 'insert' && statement.kind !== 'update' && statement.kind !== 'delete') {
      throw new TypeError(`no change: ${sql}`)
    }
    const plan = planDml(statement, this.catalog, [])
    if (plan.query.scans.length > 0) await this.coordinator.settle()
    const view = this.latest()
    let durable: Promise<void> | null = null
    try {
      const { chunks } = await executeDml(
        plan,
        ioOf(view, () => this.env.turn()),
      )
      for (const chunk of chunks) {
        const accepted = await this.coordinator.accept(plan.table.tableId, chunkBytes(chunk))
        durable = accepted.durably()
      }
    } finally {
      view.release()
    }
    return { durable }
  }

  async query(sql: string, view: View): Promise<string[]> {
    const statement = parseStatement(sql)
    if (statement.kind !== 'select') throw new TypeError(`no query: ${sql}`)
    const plan = planQuery(statement.query, this.catalog, [])
    const { chunks } = await executeQuery(
      plan,
      ioOf(view, () => this.env.turn()),
    )
    return rowsOf(chunks).sort()
  }

  /** All columns of a table or view, hidden ones too. */
  async rows(name: string, view: View): Promise<string[]> {
    const { table } = getObject(this.catalog, { name, position: 0 })
    if (table === null) throw new TypeError(`${name} has no rows`)
    const rows: string[] = []
    for await (const chunk of view.scan.rows(table, null)) rows.push(...rowsOf([chunk]))
    return rows.sort()
  }

  subscribe(name: string): Promise<Subscription> {
    const { table } = getObject(this.catalog, { name, position: 0 })
    if (table === null) throw new TypeError(`${name} has no changes`)
    return this.coordinator.subscribe(table.tableId)
  }

  committed(): View {
    const pin = this.store.pin()
    const { version, epoch } = pin
    const blocks = this.blocks!
    const reader = new SnapshotReader({ version, epoch, runs: [], blocks })
    return {
      epoch,
      scan: new SnapshotScan(reader, blocks, this.env),
      release: () => pin.release(),
    }
  }

  latest(): View {
    const pin = this.store.pin()
    const { epoch, runs, release } = this.coordinator.pinLatest()
    const blocks = this.blocks!
    const reader = new SnapshotReader({ version: pin.version, epoch, runs, blocks })
    return {
      epoch,
      scan: new SnapshotScan(reader, blocks, this.env),
      release: () => {
        release()
        pin.release()
      },
    }
  }
}

export function rowsOf(chunks: readonly Chunk[]): string[] {
  return chunks.flatMap((chunk) =>
    Array.from({ length: chunk.rowCount }, (_, row) =>
      chunk.columns.map((column) => String(jsonValueAt(column, row))).join(' '),
    ),
  )
}

/** Calls of the object store take some turns, and now and then many. */
class SlowStore {
  on = false
  private isStopped = false
  private readonly dice: Dice
  private waiting: { turns: number; readonly go: () => void }[] = []

  constructor(dice: Dice) {
    this.dice = dice
  }

  /** Calls under way are never answered; whether they were applied is chance. */
  stop(): void {
    this.isStopped = true
    this.waiting = []
  }

  turn(): void {
    const due = this.waiting.filter((entry) => --entry.turns <= 0)
    this.waiting = this.waiting.filter((entry) => entry.turns > 0)
    for (const { go } of due) go()
  }

  private wait(): Promise<void> {
    if (this.isStopped) return new Promise(() => undefined)
    if (!this.on) return Promise.resolve()
    const turns = this.dice.next(10) === 0 ? this.dice.next(60) : this.dice.next(4)
    return new Promise((go) => this.waiting.push({ turns, go }))
  }

  around(inner: ObjectStore): ObjectStore {
    return new Proxy(inner, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name)
        if (typeof value !== 'function') return value
        if (name === 'list' || name === 'close') return value.bind(target)
        return async (...parameters: unknown[]) => {
          await this.wait()
          const result: unknown = await value.apply(target, parameters)
          await this.wait()
          return result
        }
      },
    })
  }
}
