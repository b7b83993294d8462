/**
 * One parallel instance of a fragment: a head, a chain of operators run as plain calls, and the dispatchers
 * of its output. It never blocks its thread: a full channel or a missing block suspends it, and `turn` says
 * so. Outputs go down the chain deepest first, so at most one chunk's output per operator is held.
 *
 * At a barrier, in this order: each operator is flushed and what it emits goes through all later ones; the
 * state is sealed; the barrier goes downstream; the loop is told. So whoever sees the barrier can rely on the
 * state of its epoch.
 * Hot path: `turn`, a few times per chunk.
 */
import { assert } from '../common/assert.ts'
import type { LocalStore, LocalTable, Pending, SealedRun } from '../storage/state-store.ts'
import type { Chunk } from '../stream/chunk.ts'
import type { Barrier } from '../stream/message.ts'
import type { Operator, Output } from '../stream/operator.ts'
import type { SplitOffset } from '../stream/source.ts'
import { encodeChunk, encodedBytes } from './chunk-codec.ts'
import type { Dispatcher } from './dispatch.ts'
import { DmlHead, type Head, SourceHead } from './head.ts'
import { Queue } from './queue.ts'

/** Streams the rows that an operator holds; after a true poll with `chunk` null it is over. */
export interface SnapshotCursor {
  poll(): boolean
  readonly chunk: Chunk | null
}

/** What a materialize operator offers beside the contract of operators. */
export interface SnapshotOperator extends Operator {
  startSnapshot(): SnapshotCursor
}

function hasSnapshot(operator: Operator | undefined): operator is SnapshotOperator {
  return operator !== undefined && 'startSnapshot' in operator
}

/** What an actor hands over when it has passed a barrier. */
export interface Passed {
  readonly barrier: Barrier
  readonly runs: readonly SealedRun[]
  readonly offsets: Readonly<Record<string, SplitOffset>>
  /** Source id whose readers here are exhausted as of the barrier, or -1. */
  readonly sourceDone: number
  /** Encoded changes of the epoch, of the tables that are subscribed to. */
  readonly changes: readonly { readonly tableId: number; readonly chunk: Uint8Array }[]
}

export interface ActorInit {
  readonly jobId: number
  readonly fragmentId: number
  readonly head: Head
  readonly operators: readonly Operator[]
  /** Per operator the id of the table it materializes, or -1. */
  readonly materializes: readonly number[]
  readonly store: LocalStore
  readonly passed: (actor: Actor, passed: Passed) => void
}

/** A downstream exchange that begins at the barrier that starts its job. */
export interface Attachment {
  readonly jobId: number
  readonly dispatcher: Dispatcher
  /** The rows held are sent first. */
  readonly snapshot: boolean
}

export type Turn =
  /** It did something. */
  | 'progress'
  /** Nothing to read. */
  | 'idle'
  /** A channel is full. */
  | 'blocked'
  /** A read waits for blocks. */
  | 'reading'
  /** It has passed the barrier that stops its job, and all of it has left. */
  | 'ended'

export class Actor {
  readonly jobId: number
  readonly fragmentId: number
  readonly head: Head
  rowsIn = 0
  rowsOut = 0
  /** Kept by the loop, ms. */
  busyMs = 0
  blockedMs = 0
  /** When it was found blocked, or -1; kept by the loop. */
  blockedSinceMs = -1
  private readonly operators: readonly Operator[]
  private readonly materializes: readonly number[]
  private readonly store: LocalStore
  private readonly passed: (actor: Actor, passed: Passed) => void
  private readonly tables: readonly LocalTable[]
  /** `queues[i]`: what operator i has yet to apply. */
  private readonly queues: Queue<Chunk>[]
  private readonly outputs: readonly Output[]
  private firstInput = 0
  private dispatchers: { readonly jobId: number; readonly dispatcher: Dispatcher }[] = []
  private attachments: Attachment[] = []

  private pending: Pending | null = null
  /** The chunk or flush that `pending` is for has been prepared. */
  private prepared = false
  private barrier: Barrier | null = null
  private offsets: Readonly<Record<string, SplitOffset>> = {}
  private sourceDone = -1
  /** Operator to flush next while a barrier is being passed. */
  private flushing = 0
  private snapshots: { readonly dispatcher: Dispatcher; readonly cursor: SnapshotCursor }[] = []
  private closing: Dispatcher[] = []
  private stopped = false
  private staged = false
  /** Anything was pulled. */
  private begun = false

  private readonly subscribed = new Set<number>()
  private wanted: ReadonlySet<number> = new Set()
  private changes: { tableId: number; chunk: Uint8Array }[] = []

  constructor(init: ActorInit) {
    this.jobId = init.jobId
    this.fragmentId = init.fragmentId
    this.head = init.head
    this.operators = init.operators
    this.materializes = init.materializes
    this.store = init.store
    this.passed = init.passed
    this.tables = init.operators.flatMap((operator) => operator.tables)
    this.queues = init.operators.map(() => new Queue<Chunk>())
    this.outputs = init.operators.map((_, index) => ({
      emit: (chunk: Chunk) => this.emitted(index, chunk),
    }))
  }

  /** Output to an exchange whose downstream begins together with this actor. */
  attach(jobId: number, dispatcher: Dispatcher): void {
    this.dispatchers.push({ jobId, dispatcher })
  }

  /** Output to an exchange that begins at the barrier that starts its job. */
  attachAtStart(attachment: Attachment): void {
    this.attachments.push(attachment)
  }

  /** Tables whose changes are handed over from the next epoch on; an actor that has not begun begins with them. */
  subscribe(tables: ReadonlySet<number>): void {
    this.wanted = tables
    if (!this.begun) this.applySubscriptions()
  }

  private applySubscriptions(): void {
    this.subscribed.clear()
    for (const tableId of this.wanted) this.subscribed.add(tableId)
  }

  stateBytes(): number {
    let sum = 0
    for (const operator of this.operators) sum += operator.stateBytes()
    return sum
  }

  /** Visits the dispatchers, for metrics. */
  *exchanges(): IterableIterator<Dispatcher> {
    for (const { dispatcher } of this.dispatchers) yield dispatcher
  }

  /**
   * Does one piece of work: at most one chunk through one operator.
   * @param arrived blocks may have arrived since the last turn: a waiting read is polled again.
   */
  turn(arrived: boolean): Turn {
    if (!this.drain()) return 'blocked'
    if (this.stopped) return 'ended'
    if (this.pending !== null) {
      if (!arrived || !this.pending.poll()) return 'reading'
      this.pending = null
    }
    for (let index = this.operators.length - 1; index >= 0; index--) {
      const chunk = this.queues[index].peek()
      if (chunk !== undefined) return this.process(index, chunk)
    }
    if (this.barrier !== null) return this.passBarrier(this.barrier)
    if (this.snapshots.length > 0) return this.sendSnapshot()
    return this.pull()
  }

  private drain(): boolean {
    let empty = true
    for (const { dispatcher } of this.dispatchers) empty = dispatcher.drain() && empty
    if (this.closing.length > 0) {
      this.closing = this.closing.filter((dispatcher) => {
        if (!dispatcher.drain()) return true
        dispatcher.close()
        return false
      })
      empty = this.closing.length === 0 && empty
    }
    return empty
  }

  private pull(): Turn {
    const { head } = this
    switch (head.next()) {
      case 'chunk': {
        const { chunk } = head
        assert(chunk !== null, 'a pulled chunk is there')
        this.begun = true
        this.rowsIn += chunk.rowCount
        this.firstInput = head.input
        this.emitted(-1, chunk)
        return 'progress'
      }
      case 'barrier':
        this.begun = true
        this.barrier = head.barrier
        this.flushing = 0
        this.noteSource()
        return 'progress'
      case 'end':
        this.stopped = true
        return 'progress'
      case 'nothing':
        return this.flushStaged() ? 'progress' : 'idle'
    }
  }

  /** Exactly what was given out before the barrier counts. */
  private noteSource(): void {
    const { head } = this
    if (head instanceof SourceHead) {
      this.offsets = head.offsets()
      this.sourceDone = head.done() ? head.sourceId : -1
    } else if (head instanceof DmlHead) this.offsets = head.offsets()
  }

  private process(index: number, chunk: Chunk): Turn {
    const operator = this.operators[index]
    const input = index === 0 ? this.firstInput : 0
    if (!this.prepared) {
      this.prepared = true
      const pending = operator.prepare(input, chunk)
      if (pending !== null && !pending.poll()) return this.suspend(pending)
    }
    this.prepared = false
    this.queues[index].shift()
    operator.apply(input, chunk, this.outputs[index])
    return 'progress'
  }

  private suspend(pending: Pending): Turn {
    this.pending = pending
    this.flushStaged()
    return 'progress'
  }

  /** Rows out of operator `index` (-1: the head). */
  private emitted(index: number, chunk: Chunk): void {
    if (chunk.rowCount === 0) return
    if (index >= 0 && this.subscribed.size > 0 && this.subscribed.has(this.materializes[index])) {
      const body = new Uint8Array(encodedBytes(chunk))
      encodeChunk(chunk, body, 0)
      this.changes.push({ tableId: this.materializes[index], chunk: body })
    }
    if (index + 1 < this.operators.length) {
      this.queues[index + 1].push(chunk)
      return
    }
    this.rowsOut += chunk.rowCount
    for (const { dispatcher } of this.dispatchers) dispatcher.push(chunk)
    this.staged = this.dispatchers.length > 0
  }

  private flushStaged(): boolean {
    if (!this.staged) return false
    this.staged = false
    let any = false
    for (const { dispatcher } of this.dispatchers) any = dispatcher.flushStaged() || any
    return any
  }

  private passBarrier(barrier: Barrier): Turn {
    if (this.flushing === this.operators.length) {
      this.complete(barrier)
      return 'progress'
    }
    const operator = this.operators[this.flushing]
    if (!this.prepared) {
      this.prepared = true
      const pending = operator.prepareFlush(barrier)
      if (pending !== null && !pending.poll()) return this.suspend(pending)
    }
    this.prepared = false
    operator.flush(barrier, this.outputs[this.flushing])
    this.flushing++
    return 'progress'
  }

  private complete(barrier: Barrier): void {
    // Seal first: whoever sees the barrier may read the state of its epoch.
    const runs = this.tables.length === 0 ? [] : this.store.seal(this.tables, barrier.epoch)
    this.barrier = null
    this.staged = false
    for (const { dispatcher } of this.dispatchers) dispatcher.send({ kind: 'barrier', barrier })
    const passed: Passed = {
      barrier,
      runs,
      offsets: this.offsets,
      sourceDone: this.sourceDone,
      changes: this.changes,
    }
    this.changes = []
    if (barrier.stopJobs.length > 0) this.stopJobs(barrier)
    if (barrier.startJobs.length > 0) this.startJobs(barrier)
    this.applySubscriptions()
    this.passed(this, passed)
  }

  private stopJobs(barrier: Barrier): void {
    const stops = (jobId: number): boolean => barrier.stopJobs.includes(jobId)
    this.closing.push(
      ...this.dispatchers.filter((entry) => stops(entry.jobId)).map((entry) => entry.dispatcher),
    )
    this.dispatchers = this.dispatchers.filter((entry) => !stops(entry.jobId))
    this.attachments = this.attachments.filter((entry) => !stops(entry.jobId))
    if (stops(this.jobId)) this.stopped = true
  }

  private startJobs(barrier: Barrier): void {
    const starting = this.attachments.filter((entry) => barrier.startJobs.includes(entry.jobId))
    if (starting.length === 0) return
    this.attachments = this.attachments.filter((entry) => !starting.includes(entry))
    for (const { jobId, dispatcher, snapshot } of starting) {
      this.dispatchers.push({ jobId, dispatcher })
      if (!snapshot) continue
      const operator = this.operators[this.operators.length - 1]
      assert(hasSnapshot(operator), 'a snapshot is taken of what a fragment materializes last')
      this.snapshots.push({ dispatcher, cursor: operator.startSnapshot() })
    }
  }

  /** The rows held, to the new channel only; the actor's input waits meanwhile, so nothing is missed or doubled. */
  private sendSnapshot(): Turn {
    const { cursor, dispatcher } = this.snapshots[0]
    // Cheap when nothing has arrived, so no need to remember that it waits.
    if (!cursor.poll()) return 'reading'
    if (cursor.chunk === null) {
      this.snapshots.shift()
      return 'progress'
    }
    dispatcher.push(cursor.chunk)
    this.staged = true
    return 'progress'
  }
}
