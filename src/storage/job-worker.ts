/** Entry of a pool thread: runs one job at a time and answers in wire form, as thrown errors lose code and context. */
import { performance } from 'node:perf_hooks'
import { toWire, type WireError } from '../common/errors.ts'
import type { Job, JobOutput } from './job.ts'
import { runJob } from './jobs.ts'

/** What crosses back to the thread that asked. */
export type JobReply =
  | { readonly kind: 'done'; readonly output: JobOutput }
  | { readonly kind: 'failed'; readonly error: WireError }

/** Called by piscina. */
export default function answer(job: Job): JobReply {
  try {
    return { kind: 'done', output: runJob(job, () => performance.now()) }
  } catch (error) {
    return { kind: 'failed', error: toWire(error) }
  }
}
