/**
 * Entry of a worker thread: builds the loop from `workerData` and is the only place that waits. Between
 * steps it spins for a moment, because the next reason to look mostly comes soon and waking a sleeper costs 50 µs;
 * then it sleeps on the doorbell. Now and then it returns to Node's event loop, which the loop itself never does.
 */
import { setPriority } from 'node:os'
import { receiveMessageOnPort, workerData } from 'node:worker_threads'
import { nodeEnv } from '../common/node-env.ts'
import { WorkerBlockSource } from '../storage/cache/block-sources.ts'
import { BlockCache } from '../storage/cache/memory.ts'
import { WorkerStore } from '../storage/local-store.ts'
import { applyDelta } from '../storage/version/delta.ts'
import { readDoorbell, ringDoorbell, sleepOnDoorbell } from './doorbell.ts'
import { Exchange } from './exchange.ts'
import { EngineOperatorFactory } from './operator-factory.ts'
import type { FromWorker, ToWorker, WorkerInit } from './protocol.ts'
import { WorkerLoop, type WorkerStorage } from './worker-loop.ts'

/** How long it spins before it sleeps: about what a wake-up costs. */
const SPIN_MS = 0.04
/** How long it stays away from Node's event loop, which ends threads and frees what ports hold. */
const SLICE_MS = 50

function storageOf(init: WorkerInit): WorkerStorage {
  const blocks = new WorkerBlockSource({
    cache: new BlockCache(init.blockCache, 'reader'),
    tailBytesMax: init.tailBytesMax,
  })
  const { workerIndex, arena, version } = init
  const store = new WorkerStore({ workerIndex, arena, version, blocks })
  return {
    store,
    applyDelta: (delta, runs) => store.applyVersion(applyDelta(store.version, delta), runs),
    oldestVersionInUse: () => store.oldestVersionInUse(),
    takeRequests: () => blocks.takeRequests(),
    arrived: (sstId, tail, found, error) => blocks.arrived(sstId, tail, found, error),
  }
}

/** Engine threads yield to the user's thread when cores are short. On Linux alone this means a thread, not the process. */
const NICE = 5

function lowerPriority(): void {
  try {
    setPriority(NICE)
  } catch {
    // A sandbox may forbid even this; the engine works the same, only less politely.
  }
}

function main(init: WorkerInit): void {
  const { workerIndex, workerCount, port } = init
  const env = nodeEnv()
  if (process.platform === 'linux') lowerPriority()
  const doorbells = new Int32Array(init.doorbells)
  const loop = new WorkerLoop({
    workerIndex,
    workerCount,
    env,
    exchange: new Exchange({
      workerIndex,
      rings: init.rings,
      wake: (peer) => ringDoorbell(doorbells, peer),
    }),
    storage: storageOf(init),
    factory: new EngineOperatorFactory({
      workerIndex,
      workerCount,
      env,
      datasets: init.datasets,
    }),
    chunkRows: init.chunkRows,
    stateCacheBytes: init.stateCacheBytes,
    receive: (): ToWorker | undefined => receiveMessageOnPort(port)?.message,
    send: (message: FromWorker) => port.postMessage(message),
  })

  /** @returns false when the loop has stopped. */
  const slice = (): boolean => {
    const endMs = env.monotonicMs() + SLICE_MS
    for (;;) {
      // Read first: whatever rings after this makes the wait below return at once.
      const seen = readDoorbell(doorbells, workerIndex)
      const wait = loop.step()
      if (wait.kind === 'stopped') return false
      const now = env.monotonicMs()
      if (wait.kind === 'doorbell') {
        const spinEndMs = now + SPIN_MS
        while (readDoorbell(doorbells, workerIndex) === seen && env.monotonicMs() < spinEndMs);
        sleepOnDoorbell(doorbells, workerIndex, { seen, timeoutMs: wait.timeoutMs })
      }
      if (now >= endMs) return true
    }
  }
  const run = (): void => {
    if (slice()) setImmediate(run)
    else port.close()
  }
  run()
}

main(workerData as WorkerInit)
