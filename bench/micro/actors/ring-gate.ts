/** The shared words by which the consumer of a measured ring starts and stops its producer thread. */
import type { FrameRun } from './ring-frames.ts'

/** How many runs were asked for; the thread waits on it. */
export const RUNS_ASKED = 0
/** 1: end. */
export const STOPPED = 1
/** 1: the thread met an error and sends nothing more. */
export const FAILED = 2
export const GATE_BYTES = 12

export interface RingThreadData {
  readonly ring: SharedArrayBuffer
  readonly gate: SharedArrayBuffer
  readonly run: FrameRun
}
