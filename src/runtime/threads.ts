/** Starts real worker threads. The one place of the runtime that knows `worker_threads`. */
import { MessageChannel, Worker } from 'node:worker_threads'
import type { FromWorker, ToWorker, WorkerInit } from '../actors/protocol.ts'
import type { SpawnWorker } from './worker-pool.ts'

/**
 * @param file The built `actors/worker.js`.
 * @param youngGenerationMb Bound of each thread's young generation; null: V8's own.
 */
export function threadSpawner(file: URL, youngGenerationMb: number | null): SpawnWorker {
  return (init, callbacks) => {
    const { port1, port2 } = new MessageChannel()
    const workerData: WorkerInit = { ...init, port: port2 }
    const worker = new Worker(file, {
      workerData,
      transferList: [port2],
      name: `tussock-worker-${init.workerIndex}`,
      stdin: false,
      ...(youngGenerationMb === null
        ? {}
        : { resourceLimits: { maxYoungGenerationSizeMb: youngGenerationMb } }),
    })
    let cause: unknown = null
    port1.on('message', (message: FromWorker) => callbacks.message(message))
    worker.on('error', (error) => {
      cause = error
    })
    worker.on('exit', () => {
      port1.close()
      callbacks.exit(cause)
    })
    return {
      post: (message: ToWorker) => port1.postMessage(message),
      terminate: async () => {
        await worker.terminate()
      },
    }
  }
}
