// Preloaded by `node --import` into every thread: a worker thread dies when the main thread says so on a
// broadcast channel, as if it had crashed.
import { BroadcastChannel, isMainThread, workerData } from 'node:worker_threads'

const isControl =
  !isMainThread && workerData !== null && typeof workerData === 'object' && 'calls' in workerData

if (isControl) {
  const alive = []
  process.on('worker', (worker) => {
    // Threads of the pool take part too: a job that dies is as bad as an operator that does.
    alive.push(worker)
    worker.on('exit', () => alive.splice(alive.indexOf(worker), 1))
  })
  const channel = new BroadcastChannel('tussock-dying-workers')
  channel.onmessage = ({ data }) => {
    if (alive.length > 0) alive[data % alive.length].terminate()
  }
  channel.unref()
}
