/**
 * The loop of a worker thread, as a function that never waits: `step` takes what has arrived, lets the
 * actors work for a bounded while, sends what is due, and says what it now waits for. Only the thread's entry
 * (`worker.ts`) waits; the simulator and tests call `step` themselves, with ports of their own.
 */
import { assert, unreachable } from '../common/assert.ts'
import type { Env } from '../common/env.ts'
import { toWire, type WireError } from '../common/errors.ts'
import type { Epoch } from '../common/ids.ts'
import type { LocalStore, SealedRun } from '../storage/state-store.ts'
import type { VersionDelta } from '../storage/version/delta.ts'
import type { SstMeta } from '../storage/version/version.ts'
import type { Barrier } from '../stream/message.ts'
import type { SplitOffset } from '../stream/source.ts'
import type { Actor, Passed } from './actor.ts'
import { Builder, type OperatorFactory } from './builder.ts'
import { decodeChunk } from './chunk-codec.ts'
import type { Exchange } from './exchange.ts'
import { DmlHead, SourceHead } from './head.ts'
import type { FromWorker, ToWorker, WorkerMetrics } from './protocol.ts'

/** What `step` waits for. */
export type Wait =
  /** Nothing: call again at once. */
  | { readonly kind: 'ready' }
  /** The doorbell, at the longest so many ms: a reader may have rows by then. */
  | { readonly kind: 'doorbell'; readonly timeoutMs: number }
  /** It was told to stop: never call again. */
  | { readonly kind: 'stopped' }

const READY: Wait = { kind: 'ready' }
/** Nothing changes by itself; the bound only keeps the thread responsive to its own event loop. */
const ASLEEP: Wait = { kind: 'doorbell', timeoutMs: 100 }
/** An open source was empty: it knows no doorbell, so it is asked again soon. */
const SOURCE_OPEN: Wait = { kind: 'doorbell', timeoutMs: 2 }
const STOPPED: Wait = { kind: 'stopped' }

/** Pieces of work of one actor before the next one has its turn: bounds how long a message waits to be seen. */
const TURNS_PER_ACTOR = 8

/** The store of a worker as its loop drives it. */
export interface WorkerStorage {
  readonly store: LocalStore
  /** Takes a newer version; the runs named are in it and their slabs free once no read uses them. */
  applyDelta(delta: VersionDelta, releasedRuns: readonly number[]): void
  /** Oldest version that an unfinished read uses, else the newest. */
  oldestVersionInUse(): number
  /** Fetches wanted since the last call. */
  takeRequests(): readonly {
    readonly sst: SstMeta
    readonly tail: boolean
    readonly blocks: readonly number[]
  }[]
  arrived(
    sstId: string,
    tail: Uint8Array | null,
    blocks: readonly { readonly blockIndex: number; readonly body: Uint8Array }[],
    error: WireError | null,
  ): void
}

export interface WorkerLoopOptions {
  readonly workerIndex: number
  readonly workerCount: number
  readonly env: Pick<Env, 'monotonicMs'>
  readonly exchange: Exchange
  readonly storage: WorkerStorage
  readonly factory: OperatorFactory
  readonly chunkRows: number
  readonly stateCacheBytes: number
  /** The oldest message of the control thread; undefined when there is none. */
  readonly receive: () => ToWorker | undefined
  readonly send: (message: FromWorker) => void
}

/** A barrier on its way through the actors of this worker. */
interface Collecting {
  /** Actors that have yet to pass it; null: the control thread's message has not been read yet. */
  waiting: Set<Actor> | null
  /** Actors that passed it before that: another worker's barrier was faster. */
  readonly early: Set<Actor>
  readonly runs: SealedRun[]
  readonly offsets: Record<string, SplitOffset>
  readonly sourcesDone: number[]
}

export class WorkerLoop {
  private readonly options: WorkerLoopOptions
  private readonly builder: Builder
  /** In the order of deployment, upstream before downstream. */
  private actors: Actor[] = []
  /** Actors whose job has started. */
  private readonly started = new Set<Actor>()
  /** Actors that a barrier already seen will stop. */
  private readonly stopping = new Set<Actor>()
  /** In the order of the epochs. */
  private readonly collecting: { readonly epoch: Epoch; readonly entry: Collecting }[] = []
  private subscriptions: ReadonlySet<number> = new Set()
  private paused = false
  private phase: 'running' | 'failed' | 'stopped' = 'running'
  private reportedVersion: number
  private busyMs = 0
  private idleMs = 0
  private lastEndMs: number
  /** Sources and rows of actors that have ended, so that totals never fall. */
  private endedSourceRows = 0
  private endedSourceEvents = 0

  constructor(options: WorkerLoopOptions) {
    this.options = options
    this.builder = new Builder({
      workerIndex: options.workerIndex,
      workerCount: options.workerCount,
      exchange: options.exchange,
      store: options.storage.store,
      factory: options.factory,
      chunkRows: options.chunkRows,
      stateCacheBytes: options.stateCacheBytes,
      passed: (actor, passed) => this.passed(actor, passed),
    })
    this.reportedVersion = options.storage.oldestVersionInUse()
    this.lastEndMs = options.env.monotonicMs()
    options.send({ kind: 'ready' })
  }

  /** One bounded piece of the worker's work. Never throws: a failure is sent, and the loop then only waits to be stopped. */
  step(): Wait {
    const startMs = this.options.env.monotonicMs()
    this.idleMs += startMs - this.lastEndMs
    this.options.exchange.nowMs = startMs
    let wait: Wait = ASLEEP
    try {
      wait = this.work()
    } catch (error) {
      this.phase = 'failed'
      this.options.send({ kind: 'failed', error: toWire(error) })
    }
    this.lastEndMs = this.options.env.monotonicMs()
    this.busyMs += this.lastEndMs - startMs
    return wait
  }

  private work(): Wait {
    const { exchange } = this.options
    // Rings before the port: whatever another worker did because of a message of the control thread, what the control
    // thread said to this worker before that is there by then.
    let progress = this.phase === 'running' && exchange.receive()
    for (let message = this.options.receive(); message; message = this.options.receive()) {
      if (message.kind === 'stop') this.phase = 'stopped'
      if (this.phase !== 'running') continue
      this.handle(message)
      progress = true
    }
    if (this.phase === 'stopped') return STOPPED
    if (this.phase === 'failed') return ASLEEP
    const more = this.runActors()
    this.sendRequests()
    exchange.flush()
    this.reportVersion()
    if (more || progress) return READY
    return this.sourceOpen() ? SOURCE_OPEN : ASLEEP
  }

  // ---- actors --------------------------------------------------------------------------------

  /** Lets every actor work in turn. @returns true when some could go on. */
  private runActors(): boolean {
    let progress = false
    // `this.actors` is replaced, not changed, when one ends.
    for (const actor of this.actors) progress = this.runActor(actor) || progress
    return progress
  }

  private runActor(actor: Actor): boolean {
    const startMs = this.options.env.monotonicMs()
    let progress = false
    for (let turns = 0; turns < TURNS_PER_ACTOR; turns++) {
      // A waiting read is polled once a step: polls are cheap, and every arrival makes a step.
      const turn = actor.turn(turns === 0)
      if (turn === 'progress') {
        progress = true
        continue
      }
      this.noteBlocked(actor, turn === 'blocked', startMs)
      if (turn === 'ended') this.ended(actor)
      break
    }
    if (progress) actor.busyMs += this.options.env.monotonicMs() - startMs
    return progress
  }

  private noteBlocked(actor: Actor, blocked: boolean, nowMs: number): void {
    if (blocked) {
      if (actor.blockedSinceMs < 0) actor.blockedSinceMs = nowMs
    } else if (actor.blockedSinceMs >= 0) {
      actor.blockedMs += nowMs - actor.blockedSinceMs
      actor.blockedSinceMs = -1
    }
  }

  private ended(actor: Actor): void {
    this.actors = this.actors.filter((other) => other !== actor)
    this.started.delete(actor)
    this.stopping.delete(actor)
    if (actor.head instanceof SourceHead) {
      this.endedSourceRows += actor.head.rowCount
      this.endedSourceEvents += actor.head.eventsRead()
    }
    this.forget(actor.jobId)
  }

  /** Channels and plans of a stopped job go with its last actor here. */
  private forget(jobId: number): void {
    if (!this.actors.some((other) => other.jobId === jobId)) this.builder.remove(jobId)
  }

  private sourceOpen(): boolean {
    for (const actor of this.actors) {
      if (actor.head instanceof SourceHead && actor.head.mayWake()) return true
    }
    return false
  }

  // ---- messages ------------------------------------------------------------------------------

  private handle(message: ToWorker): void {
    const { storage } = this.options
    switch (message.kind) {
      case 'deploy': {
        const built = this.builder.build(message.jobs, message.offsets, message.recovered)
        for (const actor of built) actor.subscribe(this.subscriptions)
        this.actors.push(...built)
        this.applyPause()
        this.options.send({ kind: 'deployed', deployId: message.deployId })
        return
      }
      case 'barrier':
        return this.inject(message.barrier)
      case 'dml':
        return this.addDml(message.tableId, message.batch)
      case 'version':
        return storage.applyDelta(message.delta, message.releasedRuns)
      case 'fetched':
        return storage.arrived(message.sstId, message.tail, message.blocks, message.error)
      case 'subscribe':
        return this.subscribe(message.tableId, message.on)
      case 'pause':
        this.paused = message.paused
        this.applyPause()
        return
      case 'stop':
        return
      default:
        return unreachable(message)
    }
  }

  private applyPause(): void {
    for (const { head } of this.actors) {
      if (head instanceof SourceHead) head.paused = this.paused
    }
  }

  private subscribe(tableId: number, on: boolean): void {
    const tables = new Set(this.subscriptions)
    if (on) tables.add(tableId)
    else tables.delete(tableId)
    this.subscriptions = tables
    for (const actor of this.actors) actor.subscribe(tables)
  }

  private addDml(tableId: number, batch: Uint8Array): void {
    const actor = this.actors.find(
      ({ head }) => head instanceof DmlHead && head.tableId === tableId,
    )
    assert(actor?.head instanceof DmlHead, 'DML is sent to the worker of its table')
    // Small arrays that came by message may stand anywhere in their buffer.
    actor.head.add(decodeChunk((batch.byteOffset & 7) === 0 ? batch : batch.slice(), 0))
  }

  // ---- barriers ------------------------------------------------------------------------------

  private inject(barrier: Barrier): void {
    const entry = this.collectingOf(barrier.epoch)
    assert(entry.waiting === null, 'a barrier is injected once')
    entry.waiting = new Set()
    for (const actor of this.started) {
      if (this.stopping.has(actor)) continue
      if (!entry.early.has(actor)) entry.waiting.add(actor)
      if (actor.head.injected) actor.head.inject(barrier)
      if (barrier.stopJobs.includes(actor.jobId)) this.stopping.add(actor)
    }
    // New actors begin behind this barrier: the next one is the first that they see.
    for (const actor of this.actors) {
      if (!barrier.startJobs.includes(actor.jobId)) continue
      this.started.add(actor)
      if (actor.head instanceof SourceHead) actor.head.started = true
    }
    for (const jobId of barrier.stopJobs) this.forget(jobId)
    this.sendCollected()
  }

  private passed(actor: Actor, passed: Passed): void {
    const { barrier } = passed
    const entry = this.collectingOf(barrier.epoch)
    if (entry.waiting === null) entry.early.add(actor)
    else entry.waiting.delete(actor)
    entry.runs.push(...passed.runs)
    Object.assign(entry.offsets, passed.offsets)
    if (passed.sourceDone >= 0) entry.sourcesDone.push(passed.sourceDone)
    for (const { tableId, chunk } of passed.changes) {
      this.options.send({ kind: 'changes', tableId, epoch: barrier.epoch, chunk })
    }
    this.sendCollected()
  }

  /** Another worker's barrier may reach an actor here before the control thread's message is read. */
  private collectingOf(epoch: Epoch): Collecting {
    let entry = this.collecting.find((other) => other.epoch === epoch)?.entry
    if (entry === undefined) {
      entry = { waiting: null, early: new Set(), runs: [], offsets: {}, sourcesDone: [] }
      this.collecting.push({ epoch, entry })
      this.collecting.sort((left, right) => left.epoch - right.epoch)
    }
    return entry
  }

  private sendCollected(): void {
    for (let first = this.collecting[0]; first !== undefined; first = this.collecting[0]) {
      const { epoch, entry } = first
      if (entry.waiting === null || entry.waiting.size > 0) return
      this.collecting.shift()
      const { runs, offsets, sourcesDone } = entry
      const metrics = this.metrics()
      this.options.send({ kind: 'collected', epoch, runs, offsets, sourcesDone, metrics })
    }
  }

  // ---- storage -------------------------------------------------------------------------------

  private sendRequests(): void {
    for (const { sst, tail, blocks } of this.options.storage.takeRequests()) {
      this.options.send({ kind: 'fetch', sst, tail, blocks })
    }
  }

  private reportVersion(): void {
    const versionId = this.options.storage.oldestVersionInUse()
    if (versionId === this.reportedVersion) return
    assert(versionId > this.reportedVersion, 'versions advance')
    this.reportedVersion = versionId
    this.options.send({ kind: 'versionApplied', versionId })
  }

  private metrics(): WorkerMetrics {
    let stateBytes = 0
    let sourceRows = this.endedSourceRows
    let sourceEvents = this.endedSourceEvents
    for (const actor of this.actors) {
      stateBytes += actor.stateBytes()
      if (!(actor.head instanceof SourceHead)) continue
      sourceRows += actor.head.rowCount
      sourceEvents += actor.head.eventsRead()
    }
    return {
      arenaBytes: this.options.storage.store.arenaBytes,
      stateBytes,
      busyMs: this.busyMs,
      idleMs: this.idleMs,
      sourceRows,
      sourceEvents,
      channels: this.channelMetrics(),
      fragments: this.actors.map((actor) => ({
        fragmentId: actor.fragmentId,
        rowsIn: actor.rowsIn,
        rowsOut: actor.rowsOut,
        busyMs: actor.busyMs,
        blockedMs: actor.blockedMs,
      })),
    }
  }

  private channelMetrics(): NonNullable<WorkerMetrics['channels']> {
    const channels: {
      fromFragment: number
      toFragment: number
      rows: number
      bytes: number
      blockedMs: number
    }[] = []
    for (const actor of this.actors) {
      for (const { outputs, toFragment } of actor.exchanges()) {
        for (const { stats } of outputs) {
          const { rows, bytes, blockedMs } = stats
          channels.push({ fromFragment: actor.fragmentId, toFragment, rows, bytes, blockedMs })
        }
      }
    }
    return channels
  }
}
