/**
 * Worker threads as far as the coordinator can tell: they answer messages as real ones do, seal a run for each
 * batch of rows, count source rows, and die when told to. Every answer is a turn of the event loop later, and
 * can be held back. Also an environment whose clock moves only when the test says so.
 */
import { setImmediate } from 'node:timers/promises'
import type { FromWorker, ToWorker, WorkerMetrics } from '../../src/actors/protocol.ts'
import type { Timer } from '../../src/common/env.ts'
import { EngineError } from '../../src/common/errors.ts'
import type { Epoch } from '../../src/common/ids.ts'
import {
  Coordinator,
  type CoordinatorEvent,
  type CoordinatorOptions,
} from '../../src/runtime/coordinator.ts'
import type { SpawnWorker, WorkerCallbacks, WorkerHandle } from '../../src/runtime/worker-pool.ts'
import type { LsmStore } from '../../src/storage/lsm-store.ts'
import type { ObjectStore } from '../../src/storage/object/object-store.ts'
import type { SealedRun } from '../../src/storage/state-store.ts'
import type { Barrier } from '../../src/stream/message.ts'
import type { JobPlan } from '../../src/stream/plan.ts'
import type { SplitOffset } from '../../src/stream/source.ts'
import { VirtualEnv } from '../common/virtual-env.ts'
import { sealedRun } from '../storage/jobs/support.ts'
import { type Entry, tableKey } from '../storage/sst/support.ts'
import { World } from '../storage/store-fixture.ts'

/** Timers wait for `advance`. */
export class ManualEnv extends VirtualEnv {
  private clockMs = 0
  private waiting: { readonly atMs: number; readonly callback: () => void }[] = []

  override nowMs(): number {
    return Date.UTC(2026, 0, 1) + this.clockMs + this.skewMs
  }

  override monotonicMs(): number {
    return this.clockMs
  }

  override setTimer(delayMs: number, callback: () => void): Timer {
    const entry = { atMs: this.clockMs + delayMs, callback }
    this.waiting.push(entry)
    return {
      cancel: () => {
        this.waiting = this.waiting.filter((other) => other !== entry)
      },
    }
  }

  override async turn(): Promise<void> {
    await setImmediate()
  }

  /** Moves the clock, fires what is due, and lets everything settle. */
  async advance(ms: number): Promise<void> {
    this.tick(ms)
    await settled()
  }

  /** No timer fires any more. */
  stop(): void {
    this.waiting = []
    this.setTimer = () => ({ cancel: () => undefined })
  }

  /** Moves the clock and fires what is due. */
  tick(ms: number): void {
    this.clockMs += ms
    const due = this.waiting.filter(({ atMs }) => atMs <= this.clockMs)
    this.waiting = this.waiting.filter((entry) => !due.includes(entry))
    for (const { callback } of due) callback()
  }
}

/** Many turns of the event loop: whatever can happen without the clock has happened. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 60; turn++) await setImmediate()
}

const NO_METRICS: WorkerMetrics = {
  arenaBytes: 0,
  stateBytes: 0,
  busyMs: 0,
  idleMs: 0,
  sourceRows: 0,
  sourceEvents: 0,
  fragments: [],
}

export class FakeWorker implements WorkerHandle {
  readonly index: number
  readonly posted: ToWorker[] = []
  /** Sources whose readers here are at their end. */
  readonly done = new Set<number>()
  /** Answers for which this is true wait until `deliver`. */
  hold: (message: FromWorker) => boolean = () => false
  isTerminated = false
  private readonly callbacks: WorkerCallbacks
  private readonly held: FromWorker[] = []
  private readonly jobs = new Map<number, JobPlan>()
  private readonly started = new Set<number>()
  private batches: { readonly tableId: number; readonly batch: Uint8Array }[] = []
  private offsets: { [key: string]: SplitOffset } = {}
  private nextRunId = 1

  constructor(index: number, callbacks: WorkerCallbacks) {
    this.index = index
    this.callbacks = callbacks
  }

  post(message: ToWorker): void {
    this.posted.push(message)
    switch (message.kind) {
      case 'deploy':
        for (const job of message.jobs) this.jobs.set(job.jobId, job)
        this.offsets = { ...this.offsets, ...message.offsets }
        return this.send({ kind: 'deployed', deployId: message.deployId })
      case 'dml':
        this.batches.push(message)
        return
      case 'barrier':
        return this.pass(message.barrier)
      case 'version':
        return this.send({ kind: 'versionApplied', versionId: message.delta.versionId })
    }
  }

  async terminate(): Promise<void> {
    this.isTerminated = true
  }

  /** Sends what was held back, and holds nothing more. */
  deliver(): void {
    this.hold = () => false
    for (const message of this.held.splice(0)) this.send(message)
  }

  die(): void {
    if (!this.isTerminated) this.callbacks.exit(new Error('killed by the test'))
  }

  send(message: FromWorker): void {
    if (this.hold(message)) {
      this.held.push(message)
      return
    }
    void setImmediate().then(() => {
      if (!this.isTerminated) this.callbacks.message(message)
    })
  }

  private pass(barrier: Barrier): void {
    const { epoch } = barrier
    const offsets: { [key: string]: SplitOffset } = {}
    const sourcesDone: number[] = []
    for (const jobId of this.started) {
      for (const { operators } of this.jobs.get(jobId)?.fragments ?? []) {
        const [head] = operators
        if (head.kind !== 'source') continue
        const key = `${head.sourceId}/${this.index}`
        const rows = Number(this.offsets[key]?.['rows'] ?? 0) + 1
        offsets[key] = this.offsets[key] = { rows }
        if (this.done.has(head.sourceId)) sourcesDone.push(head.sourceId)
      }
    }
    for (const jobId of barrier.stopJobs) this.started.delete(jobId)
    for (const jobId of barrier.startJobs) this.started.add(jobId)
    const runs = this.seal(epoch)
    this.send({ kind: 'collected', epoch, runs, offsets, sourcesDone, metrics: NO_METRICS })
  }

  private seal(epoch: Epoch): SealedRun[] {
    const byTable = new Map<number, Entry[]>()
    for (const { tableId, batch } of this.batches) {
      const entries = byTable.get(tableId) ?? []
      byTable.set(tableId, entries)
      const name = new TextDecoder().decode(batch)
      entries.push({ tableId, key: tableKey(name.length % 256, name), epoch, value: batch })
    }
    this.batches = []
    return [...byTable.values()].map((entries) =>
      sealedRun(entries, { workerIndex: this.index, runId: this.nextRunId++ }),
    )
  }
}

/** A table that takes rows: a batch is a row, its text the key. */
export function tableJob(jobId: number, tableId: number): JobPlan {
  const operators = [{ kind: 'dml', tableId, schema: [], rowIdColumn: -1 } as const]
  return {
    jobId,
    fragments: [{ fragmentId: jobId, parallelism: 'single', operators, schema: [] }],
    exchanges: [],
  }
}

/** A source read by all workers, one split each. */
export function sourceJob(jobId: number, sourceId: number): JobPlan {
  const common = { connector: 'fake', properties: {}, columns: [], rowIdColumn: -1 }
  const operators = [{ kind: 'source', sourceId, ...common } as const]
  return {
    jobId,
    fragments: [{ fragmentId: jobId, parallelism: 'all', operators, schema: [] }],
    exchanges: [],
  }
}

export const row = (text: string): Uint8Array => new TextEncoder().encode(text)

/** An object store whose creates of commits wait while the gate is shut. */
function gated(inner: ObjectStore, gate: { open: Promise<void> }): ObjectStore {
  return new Proxy(inner, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      if (name !== 'putIfAbsent') return value.bind(target)
      return async (key: string, body: Uint8Array) => {
        await gate.open
        return await target.putIfAbsent(key, body)
      }
    },
  })
}

/** A coordinator over a real store in memory and workers that are not real. */
export class Pipeline {
  readonly env = new ManualEnv()
  readonly world = new World()
  /** Oldest incarnation first. */
  readonly incarnations: FakeWorker[][] = []
  readonly events: CoordinatorEvent[] = []
  /** Told of each new worker. */
  onSpawn: (worker: FakeWorker) => void = () => undefined
  readonly store: LsmStore
  readonly coordinator: Coordinator
  private readonly gate: { open: Promise<void> }
  private openGate: () => void = () => undefined

  private constructor(
    store: LsmStore,
    gate: { open: Promise<void> },
    options: Partial<CoordinatorOptions>,
  ) {
    this.store = store
    this.gate = gate
    this.coordinator = new Coordinator({
      env: this.env,
      store,
      spawn: this.spawn,
      options: {
        parallelism: 2,
        barrierIntervalMs: 100,
        checkpointEvery: 0,
        checkpointsInFlightMax: 8,
        sharedBufferBytes: 2 ** 20,
        ringBytes: 4096,
        stateCacheBytes: 2 ** 16,
        tailBytesMax: 1 << 20,
        chunkRows: 16,
        dmlBytesMax: 2 ** 20,
        recoveriesMax: 3,
        datasets: {},
        ...options,
      },
      blockCache: () => new SharedArrayBuffer(64),
      fetch: (sst, want) => store.fetch(sst, want),
      event: (event) => this.events.push(event),
    })
  }

  static async start(
    jobs: readonly JobPlan[],
    options: Partial<CoordinatorOptions> = {},
  ): Promise<Pipeline> {
    const gate = { open: Promise.resolve() }
    const world = new World()
    const store = await world.open(gated(world.bucket, gate))
    const pipeline = new Pipeline(store, gate, options)
    Object.assign(pipeline, { world })
    await pipeline.coordinator.start(jobs)
    await settled()
    return pipeline
  }

  private readonly spawn: SpawnWorker = (init, callbacks) => {
    const worker = new FakeWorker(init.workerIndex, callbacks)
    if (init.workerIndex === 0) this.incarnations.push([])
    this.incarnations[this.incarnations.length - 1].push(worker)
    this.onSpawn(worker)
    return worker
  }

  get workers(): FakeWorker[] {
    return this.incarnations[this.incarnations.length - 1]
  }

  /** Commits wait from now on, as in an outage of the store. */
  shutGate(): void {
    this.gate.open = new Promise((resolve) => {
      this.openGate = resolve
    })
  }

  async liftGate(): Promise<void> {
    this.openGate()
    await settled()
  }

  /** Kills a worker and waits out the recovery. */
  async recover(): Promise<void> {
    this.workers[0].die()
    await settled()
    await this.env.advance(10_000)
  }

  /** Rows of all tables in the committed version, by text. */
  rows(): string[] {
    const { version, databaseId } = this.store
    return [...this.world.read(version, databaseId).keys()].sort()
  }

  /** Messages of one kind that a worker got, in order. */
  posted<Kind extends ToWorker['kind']>(
    worker: FakeWorker,
    kind: Kind,
  ): Extract<ToWorker, { kind: Kind }>[] {
    return worker.posted.filter(
      (message): message is Extract<ToWorker, { kind: Kind }> => message.kind === kind,
    )
  }
}

/** What a promise comes to in the end. */
export function endOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'done',
    (error: unknown) => (error instanceof EngineError ? error.code : String(error)),
  )
}

/** What a promise comes to while the clock stands still. */
export async function stateOf(promise: Promise<unknown>): Promise<string> {
  let state = 'pending'
  void endOf(promise).then((end) => {
    state = end
  })
  await settled()
  return state
}
