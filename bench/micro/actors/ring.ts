/**
 * The ring, alone on one thread (what the code costs) and between two threads (what the cores add). Bodies are
 * written and summed word by word, so that a frame that is lost, torn or seen twice changes the checksum. Both
 * sides spin: the doorbell is not part of it.
 */
import { Worker } from 'node:worker_threads'
import { RING_BYTES, RingConsumer, RingProducer } from '../../../src/actors/ring.ts'
import { assert } from '../../../src/common/assert.ts'
import type { Benchmark, Prepared, Scale } from '../benchmark.ts'
import { expectedSum, type FrameRun, type FrameTaker, sendFrame, takeFrame } from './ring-frames.ts'
import { FAILED, GATE_BYTES, type RingThreadData, RUNS_ASKED, STOPPED } from './ring-gate.ts'

/** Some control message, and a chunk of 2048 rows of one column. */
const SMALL_BYTES = 64
const CHUNK_BYTES = 16 * 1024

export const BENCHMARKS: readonly Benchmark[] = [
  { name: 'ring/one thread, 64 B', unit: 'frame', prepare: (scale) => alone(scale, SMALL_BYTES) },
  { name: 'ring/one thread, 16 KiB', unit: 'frame', prepare: (scale) => alone(scale, CHUNK_BYTES) },
  {
    name: 'ring/two threads, 64 B',
    unit: 'frame',
    prepare: (scale) => between(scale, SMALL_BYTES),
  },
  {
    name: 'ring/two threads, 16 KiB',
    unit: 'frame',
    prepare: (scale) => between(scale, CHUNK_BYTES),
  },
]

function frameRun({ seed, tiny }: Scale, bodyBytes: number): FrameRun {
  // More than the ring holds; short, so that some runs of two threads are not interrupted on a busy machine.
  const frameCount = Math.ceil(((tiny ? 2 : 4) * RING_BYTES) / (bodyBytes + 16))
  return { seed, frameCount, bodyBytes }
}

function commonOf(run: FrameRun) {
  const { frameCount, bodyBytes } = run
  return {
    parameters: { frameCount, bodyBytes, ringBytes: RING_BYTES },
    unitsPerRun: frameCount,
    bytesPerRun: frameCount * bodyBytes,
    expected: expectedSum(run),
  }
}

function takerOf(ring: SharedArrayBuffer): FrameTaker {
  return { consumer: new RingConsumer(ring), words: new Uint32Array(ring) }
}

/** Fills the ring, empties it, and so on. */
function alone(scale: Scale, bodyBytes: number): Prepared {
  const run = frameRun(scale, bodyBytes)
  const ring = new SharedArrayBuffer(RING_BYTES)
  const sender = { producer: new RingProducer(ring), words: new Uint32Array(ring) }
  const taker = takerOf(ring)
  let sum = 0
  return {
    ...commonOf(run),
    run() {
      sum = 0
      let taken = 0
      for (let n = 0; n < run.frameCount; ) {
        while (n < run.frameCount && sendFrame(sender, run, n)) n++
        for (; taker.consumer.peek(); taken++) sum = (sum + takeFrame(taker)) | 0
      }
      return taken
    },
    checksum: () => sum,
  }
}

async function between(scale: Scale, bodyBytes: number): Promise<Prepared> {
  const run = frameRun(scale, bodyBytes)
  const ring = new SharedArrayBuffer(RING_BYTES)
  const gate = new SharedArrayBuffer(GATE_BYTES)
  const words = new Int32Array(gate)
  const taker = takerOf(ring)
  const thread = await startThread({ ring, gate, run })
  let sum = 0
  return {
    ...commonOf(run),
    run() {
      Atomics.add(words, RUNS_ASKED, 1)
      Atomics.notify(words, RUNS_ASKED)
      sum = 0
      let taken = 0
      while (taken < run.frameCount) {
        if (taker.consumer.peek()) {
          sum = (sum + takeFrame(taker)) | 0
          taken++
        } else assert(Atomics.load(words, FAILED) === 0, 'the producer thread lives')
      }
      return taken
    },
    checksum: () => sum,
    async close() {
      Atomics.store(words, STOPPED, 1)
      Atomics.add(words, RUNS_ASKED, 1)
      Atomics.notify(words, RUNS_ASKED)
      await new Promise((resolve) => thread.once('exit', resolve))
    },
  }
}

/** Resolves when the thread runs. */
function startThread(data: RingThreadData): Promise<Worker> {
  // Threads run what was built, also when this file runs from source.
  const folder = import.meta.url.endsWith('.ts') ? '../../../dist/bench/micro/actors/' : './'
  const file = new URL('ring-thread.js', new URL(folder, import.meta.url))
  const thread = new Worker(file, { workerData: data, name: 'tussock-bench-ring' })
  return new Promise((resolve, reject) => {
    thread.once('online', () => resolve(thread))
    thread.once('error', reject)
  })
}
