// Preloaded by `node --import` into every thread of a process: threads of one kind then end at random moments, as
// if they had crashed. A file per death bounds how many there are: threads share nothing else.
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { isMainThread, threadId, workerData } from 'node:worker_threads'

const { DYING_THREAD, DYING_TOKENS, DYING_COUNT, DYING_SEED } = process.env

function kind() {
  if (isMainThread || workerData === null || typeof workerData !== 'object') return 'other'
  if ('workerIndex' in workerData) return 'worker'
  return 'calls' in workerData ? 'control' : 'other'
}

/** True for `DYING_COUNT` threads in all. */
function mayDie() {
  for (let death = 0; death < Number(DYING_COUNT); death++) {
    try {
      closeSync(openSync(join(DYING_TOKENS, String(death)), 'wx'))
      return true
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
  }
  return false
}

if (kind() === DYING_THREAD) {
  const draw = Math.imul(Number(DYING_SEED) + threadId, 0x9e3779b1) >>> 0
  setTimeout(
    () => {
      // In a worker this ends the thread, not the process; nothing in it runs any more.
      if (mayDie()) process.exit(1)
    },
    200 + (draw / 2 ** 32) * 1000,
  ).unref()
}
