/**
 * The worker threads of one incarnation of the pipeline, and the shared memory between them. After the
 * death of any thread the whole pool is replaced, memory included: a thread may have died holding half a
 * frame or a pin. Control thread only.
 */
import type { Dataset, FromWorker, ToWorker, WorkerInit } from '../actors/protocol.ts'
import { EngineError, fromWire } from '../common/errors.ts'
import type { Version } from '../storage/version/version.ts'

/** A started thread, as the pool needs it: real, or one of the simulator's. */
export interface WorkerHandle {
  post(message: ToWorker): void
  /** Ends the thread at once; resolves when it is gone. */
  terminate(): Promise<void>
}

export interface WorkerCallbacks {
  message(message: FromWorker): void
  /** The thread is gone, asked or not. `error` is what it died of, if it is known. */
  exit(error: unknown): void
}

/** Starts one worker thread; `init` lacks the port, which the starter makes. */
export type SpawnWorker = (
  init: Omit<WorkerInit, 'port'>,
  callbacks: WorkerCallbacks,
) => WorkerHandle

export interface WorkerPoolOptions {
  readonly workerCount: number
  /** Slabs of all workers together, bytes. */
  readonly arenaBytes: number
  readonly ringBytes: number
  /** Caches of all state tables of all workers together, bytes. */
  readonly stateCacheBytes: number
  readonly tailBytesMax: number
  readonly chunkRows: number
  readonly blockCache: SharedArrayBuffer
  readonly version: Version
  readonly datasets: Readonly<Record<string, Dataset>>
}

export interface PoolCallbacks {
  message(workerIndex: number, message: FromWorker): void
  /** First failure of the pool, reported once; later ones are its consequences. */
  failed(error: EngineError): void
}

export class WorkerPool {
  readonly workerCount: number
  private readonly doorbells: Int32Array
  private readonly handles: WorkerHandle[] = []
  private readonly callbacks: PoolCallbacks
  private over = false
  private ending: Promise<void> | null = null

  constructor(spawn: SpawnWorker, options: WorkerPoolOptions, callbacks: PoolCallbacks) {
    const count = options.workerCount
    this.workerCount = count
    this.callbacks = callbacks
    const doorbells = allocate(Int32Array.BYTES_PER_ELEMENT * count)
    this.doorbells = new Int32Array(doorbells)
    const rings = Array.from({ length: count }, (_, from) =>
      Array.from({ length: count }, (_, to) => (from === to ? null : allocate(options.ringBytes))),
    )
    const slab = 64 * 1024
    const arenaBytes = Math.max(slab, Math.floor(options.arenaBytes / count / slab) * slab)
    try {
      this.start(spawn, options, { doorbells, rings, arenaBytes })
    } catch (error) {
      void this.terminate() // Those that were started know nobody.
      throw error
    }
  }

  private start(
    spawn: SpawnWorker,
    options: WorkerPoolOptions,
    memory: Pick<WorkerInit, 'doorbells' | 'rings'> & { readonly arenaBytes: number },
  ): void {
    const { doorbells, rings, arenaBytes } = memory
    const count = this.workerCount
    for (let workerIndex = 0; workerIndex < count; workerIndex++) {
      const init: Omit<WorkerInit, 'port'> = {
        workerIndex,
        workerCount: count,
        doorbells,
        rings,
        arena: allocate(arenaBytes),
        blockCache: options.blockCache,
        version: options.version,
        stateCacheBytes: Math.floor(options.stateCacheBytes / count),
        tailBytesMax: options.tailBytesMax,
        chunkRows: options.chunkRows,
        datasets: options.datasets,
      }
      this.handles.push(
        spawn(init, {
          message: (message) => this.received(workerIndex, message),
          exit: (error) => this.exited(workerIndex, error),
        }),
      )
    }
  }

  post(workerIndex: number, message: ToWorker): void {
    if (this.over) return
    this.handles[workerIndex].post(message)
    Atomics.add(this.doorbells, workerIndex, 1)
    Atomics.notify(this.doorbells, workerIndex)
  }

  postAll(message: ToWorker): void {
    for (let worker = 0; worker < this.workerCount; worker++) this.post(worker, message)
  }

  /** Ends every thread; nothing is reported after the call. Resolves when all are gone. */
  terminate(): Promise<void> {
    this.over = true
    this.ending ??= Promise.all(this.handles.map((handle) => handle.terminate())).then(
      () => undefined,
    )
    return this.ending
  }

  private received(workerIndex: number, message: FromWorker): void {
    if (this.over) return
    if (message.kind === 'failed') this.fail(fromWire(message.error))
    else this.callbacks.message(workerIndex, message)
  }

  private exited(workerIndex: number, error: unknown): void {
    if (this.over) return
    this.fail(
      new EngineError('WORKER_DIED', `worker thread ${workerIndex} ended unexpectedly`, {
        context: { workerIndex },
        cause: error ?? undefined,
      }),
    )
  }

  private fail(error: EngineError): void {
    void this.terminate() // One dead thread makes the others worthless.
    this.callbacks.failed(error)
  }
}

/** Shared memory, or a typed error where the process has no more. Pages cost nothing until touched. */
export function allocate(byteLength: number): SharedArrayBuffer {
  try {
    return new SharedArrayBuffer(byteLength)
  } catch (cause) {
    throw new EngineError(
      'MEMORY_EXHAUSTED',
      `cannot allocate ${byteLength} bytes of shared memory`,
      {
        context: { byteLength },
        cause,
      },
    )
  }
}
