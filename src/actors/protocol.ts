/**
 * What the control thread and a worker thread say to each other: one union each way, over a
 * MessagePort. Rows never travel so: they cross in rings and slabs of shared memory. After each message the
 * control thread rings the worker's doorbell; a worker polls its port with `receiveMessageOnPort`.
 */
import type { MessagePort } from 'node:worker_threads'
import type { WireError } from '../common/errors.ts'
import type { Epoch } from '../common/ids.ts'
import type { ReplayTable } from '../connectors/replay.ts'
import type { SealedRun } from '../storage/state-store.ts'
import type { VersionDelta } from '../storage/version/delta.ts'
import type { SstMeta, Version } from '../storage/version/version.ts'
import type { Barrier } from '../stream/message.ts'
import type { JobPlan } from '../stream/plan.ts'
import type { SplitOffset } from '../stream/source.ts'

/** `workerData` of a worker thread. */
export interface WorkerInit {
  readonly workerIndex: number
  readonly workerCount: number
  readonly port: MessagePort
  /** One Int32 a worker: raised for every reason to look, see `doorbell.ts`. The control thread adds 1 and notifies. */
  readonly doorbells: SharedArrayBuffer
  /** `rings[from][to]`, null where from = to. */
  readonly rings: readonly (readonly (SharedArrayBuffer | null)[])[]
  /** This worker's slabs; touched lazily, so it may be reserved large. */
  readonly arena: SharedArrayBuffer
  /** The block cache of the process. */
  readonly blockCache: SharedArrayBuffer
  readonly version: Version
  /** Sum of the caches of all state tables of this worker, bytes. */
  readonly stateCacheBytes: number
  /** Parsed SST tails (indexes and filters) that this worker keeps, bytes. */
  readonly tailBytesMax: number
  readonly chunkRows: number
  /** Columns made before the start, by name, for the replay connector: `name → table → column`. */
  readonly datasets: Readonly<Record<string, Dataset>>
}

/** Columns made before the start, in shared memory, by table. */
export interface Dataset {
  readonly tables: Readonly<Record<string, ReplayTable>>
}

export type ToWorker =
  /** Builds the actors of these jobs; they begin with the barrier that names them in `startJobs`. */
  | {
      readonly kind: 'deploy'
      readonly deployId: number
      readonly jobs: readonly JobPlan[]
      /** Committed offsets, `<sourceId>/<split>`. */
      readonly offsets: Readonly<Record<string, SplitOffset>>
      /** No snapshot of upstream rows: the jobs' state already holds them (recovery). */
      readonly recovered: boolean
    }
  /** Heads without inputs put it behind what they have emitted. */
  | { readonly kind: 'barrier'; readonly barrier: Barrier }
  /** A batch of rows for the table's DML actor (sent to its worker only): a chunk in `chunk-codec` bytes. */
  | { readonly kind: 'dml'; readonly tableId: number; readonly batch: Uint8Array }
  /** A newer version; the runs named are in it, their slabs are free again. */
  | {
      readonly kind: 'version'
      readonly delta: VersionDelta
      readonly releasedRuns: readonly number[]
    }
  | {
      readonly kind: 'fetched'
      readonly sstId: string
      /** Tail bytes, if the tail was asked for. */
      readonly tail: Uint8Array | null
      /** Verified, decoded blocks. */
      readonly blocks: readonly { readonly blockIndex: number; readonly body: Uint8Array }[]
      readonly error: WireError | null
    }
  /** Changes of this table's materialize actors are sent as `changes` from the next epoch on, or no more. */
  | { readonly kind: 'subscribe'; readonly tableId: number; readonly on: boolean }
  /** Sources stop reading (back-pressure by memory, or shutdown) or go on; barriers still flow. */
  | { readonly kind: 'pause'; readonly paused: boolean }
  | { readonly kind: 'stop' }

export type FromWorker =
  | { readonly kind: 'ready' }
  | { readonly kind: 'deployed'; readonly deployId: number }
  /** Every actor of this worker has passed the barrier that ends `epoch`. */
  | {
      readonly kind: 'collected'
      readonly epoch: Epoch
      readonly runs: readonly SealedRun[]
      readonly offsets: Readonly<Record<string, SplitOffset>>
      /** Sources with an actor on this worker whose readers here are all exhausted, also when there are none here. */
      readonly sourcesDone: readonly number[]
      readonly metrics: WorkerMetrics
    }
  | {
      readonly kind: 'fetch'
      readonly sst: SstMeta
      readonly tail: boolean
      readonly blocks: readonly number[]
    }
  /** No read of an older version is under way on this worker any more. */
  | { readonly kind: 'versionApplied'; readonly versionId: number }
  | {
      readonly kind: 'changes'
      readonly tableId: number
      readonly epoch: Epoch
      readonly chunk: Uint8Array
    }
  /** An actor failed; the worker has stopped working and waits for its end. */
  | { readonly kind: 'failed'; readonly error: WireError }

export interface WorkerMetrics {
  readonly arenaBytes: number
  readonly stateBytes: number
  readonly busyMs: number
  readonly idleMs: number
  /** Rows that sources emitted (after column pruning, before filters) and outside events passed, so far. */
  readonly sourceRows: number
  readonly sourceEvents: number
  readonly fragments: readonly {
    readonly fragmentId: number
    readonly rowsIn: number
    readonly rowsOut: number
    readonly busyMs: number
    readonly blockedMs: number
  }[]
  /** Per sending end of a channel, since its job began here. */
  readonly channels?: readonly {
    readonly fromFragment: number
    readonly toFragment: number
    readonly rows: number
    readonly bytes: number
    /** Time in which the producer had rows that could not leave. */
    readonly blockedMs: number
  }[]
}
