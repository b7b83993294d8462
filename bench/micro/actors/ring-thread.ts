/** Entry of the thread that fills a measured ring, a run each time the gate opens (see ring.ts). */
import { workerData } from 'node:worker_threads'
import { RingProducer } from '../../../src/actors/ring.ts'
import { type FrameSender, sendFrame } from './ring-frames.ts'
import { FAILED, type RingThreadData, RUNS_ASKED, STOPPED } from './ring-gate.ts'

const { ring, gate, run }: RingThreadData = workerData
const words = new Int32Array(gate)

try {
  const sender: FrameSender = { producer: new RingProducer(ring), words: new Uint32Array(ring) }
  for (let done = 0; ; done++) {
    Atomics.wait(words, RUNS_ASKED, done)
    if (Atomics.load(words, STOPPED) === 1) break
    for (let n = 0; n < run.frameCount; ) if (sendFrame(sender, run, n)) n++
  }
} catch (error) {
  // The other side spins and hears no events.
  Atomics.store(words, FAILED, 1)
  throw error
}
