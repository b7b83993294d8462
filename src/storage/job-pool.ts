/**
 * Where background jobs run: a fixed set of threads (piscina) beside the control thread, or the calling thread in
 * tests. A job is plain data with bytes in shared memory, so handing one over copies next to nothing. Used by the
 * control thread.
 */
import { fileURLToPath } from 'node:url'
import { Piscina } from 'piscina'
import { assert } from '../common/assert.ts'
import { EngineError, fromWire, toEngineError } from '../common/errors.ts'
import type { Job, JobOutput } from './job.ts'
import type { JobReply } from './job-worker.ts'
import { type JobClock, runJob } from './jobs.ts'

export interface JobRunner {
  /**
   * @throws CORRUPTION, INTERNAL: the job itself failed. WORKER_DIED: its thread did; the job has no effects, so it
   * may be run again. CLOSED
   */
  run(job: Job): Promise<JobOutput>
  /** Ends the threads; jobs under way reject with CLOSED. May be called twice. */
  close(): Promise<void>
}

export interface JobPoolOptions {
  /** Threads kept for the pool's whole life, at least 1. */
  readonly threads: number
  /** The thread's entry; by default job-worker beside this module. */
  readonly workerFile?: URL | string
  /** Bound of each thread's young generation; null or left out: V8's own. */
  readonly youngGenerationMb?: number | null
}

export class JobPool implements JobRunner {
  private readonly pool: Piscina<Job, JobReply>
  /** Rejects a job under way; called when no thread is left that could answer it. */
  private readonly underWay: Set<(error: EngineError) => void>
  private closing: Promise<void> | null
  private lastError: unknown

  constructor(options: JobPoolOptions) {
    assert(Number.isInteger(options.threads) && options.threads > 0, 'a pool has threads')
    this.underWay = new Set()
    this.closing = null
    this.pool = new Piscina<Job, JobReply>({
      filename: fileName(options.workerFile ?? defaultWorkerFile()),
      // A thread that ends while idle would take its compiled code with it.
      minThreads: options.threads,
      maxThreads: options.threads,
      concurrentTasksPerWorker: 1,
      // Jobs are synchronous and set no timers: sleeping in Atomics.wait saves a turn of the thread's event loop per
      // job, and what it freezes (timers, promises left behind) does not exist there.
      atomics: 'sync',
      ...(options.youngGenerationMb == null
        ? {}
        : { resourceLimits: { maxYoungGenerationSizeMb: options.youngGenerationMb } }),
    })
    this.pool.on('error', (error: unknown) => this.threadFailed(error))
    this.pool.on('workerDestroy', () => this.threadFailed(undefined))
  }

  async run(job: Job): Promise<JobOutput> {
    if (this.closing !== null) throw closedError()
    const reply = await this.runOrFail(job)
    if (reply.kind === 'failed') throw fromWire(reply.error)
    return reply.output
  }

  private runOrFail(job: Job): Promise<JobReply> {
    return new Promise((resolve, reject) => {
      const fail = (error: EngineError): void => {
        this.underWay.delete(fail)
        reject(error)
      }
      this.underWay.add(fail)
      this.pool.run(job, { transferList: transfersOf(job) }).then(
        (reply) => {
          this.underWay.delete(fail)
          resolve(reply)
        },
        (error: unknown) => fail(this.closing === null ? diedError(error) : closedError()),
      )
    })
  }

  /** piscina replaces a thread that dies, but not one that cannot even start: then nobody would ever answer. */
  private threadFailed(error: unknown): void {
    if (error !== undefined) this.lastError = error
    queueMicrotask(() => {
      if (this.closing !== null || this.pool.threads.length > 0) return
      for (const fail of [...this.underWay]) fail(diedError(this.lastError))
    })
  }

  close(): Promise<void> {
    this.closing ??= this.pool.destroy()
    return this.closing
  }
}

/** The inputs of a merge move to the pool's thread: whoever asked for it no longer has them. */
function transfersOf(job: Job): ArrayBuffer[] {
  return job.kind === 'merge' ? job.inputs.map(({ body }) => body) : []
}

/** The same on the calling thread: jobs run in the order they are asked for, each to its end. */
export class InlineJobs implements JobRunner {
  private readonly clock: JobClock | undefined
  private isClosed: boolean

  constructor(clock?: JobClock) {
    this.clock = clock
    this.isClosed = false
  }

  async run(job: Job): Promise<JobOutput> {
    if (this.isClosed) throw closedError()
    return runJob(job, this.clock)
  }

  async close(): Promise<void> {
    this.isClosed = true
  }
}

/** The built file beside the built module; the source beside the source, where Node runs TypeScript itself. */
function defaultWorkerFile(): URL {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  return new URL(`./job-worker.${extension}`, import.meta.url)
}

function fileName(file: URL | string): string {
  return file instanceof URL || file.startsWith('file:') ? fileURLToPath(file) : file
}

function closedError(): EngineError {
  return new EngineError('CLOSED', 'the job pool is closed')
}

function diedError(cause: unknown): EngineError {
  return new EngineError('WORKER_DIED', 'a thread of the job pool died', {
    cause: cause === undefined ? undefined : toEngineError(cause),
  })
}
