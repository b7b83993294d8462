/** Entry of a pool thread: runs one job at a time and answers in wire form, as thrown errors lose code and context. */
import { setPriority } from 'node:os'
import { performance } from 'node:perf_hooks'
import { isMainThread } from 'node:worker_threads'
import { move, transferableSymbol, valueSymbol } from 'piscina'
import { toWire, type WireError } from '../common/errors.ts'
import type { Job, JobOutput } from './job.ts'
import { runJob } from './jobs.ts'

/** Engine threads yield to the user's thread when cores are short. On Linux alone this means a thread, not the process. */
const NICE = 5
if (process.platform === 'linux' && !isMainThread) setPriority(NICE)

/** What crosses back to the thread that asked. */
export type JobReply =
  | { readonly kind: 'done'; readonly output: JobOutput }
  | { readonly kind: 'failed'; readonly error: WireError }

/** Tells piscina which buffers of a reply move instead of being copied. */
class Moved {
  private readonly reply: JobReply
  private readonly buffers: ArrayBuffer[]

  constructor(output: JobOutput) {
    this.reply = { kind: 'done', output }
    this.buffers = output.ssts.map(({ body }) => body)
  }

  get [transferableSymbol](): ArrayBuffer[] {
    return this.buffers
  }

  get [valueSymbol](): JobReply {
    return this.reply
  }
}

/** Called by piscina. */
export default function answer(job: Job): JobReply | Moved {
  try {
    return move(new Moved(runJob(job, () => performance.now()))) as Moved
  } catch (error) {
    return { kind: 'failed', error: toWire(error) }
  }
}
