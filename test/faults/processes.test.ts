/** Processes and threads that end at any moment: nothing acknowledged is lost, nothing is there twice. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { killLoop, terminateOnce, threadsDie } from './kill-loop.mjs'

const folders: string[] = []
afterEach(() => {
  for (const path of folders.splice(0)) rmSync(path, { recursive: true, force: true })
})

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'tussock-processes-'))
  folders.push(path)
  return path
}

describe('processes', () => {
  test('three kills lose nothing; `scripts/test-kill.mjs` does it more often', async () => {
    const result = await killLoop({ kills: 3, store: folder(), seed: 7 })
    expect(result).toMatchObject({ kills: 3, lostAcknowledgements: 0, right: true })
    expect(result.replayedEventsMax).toBeGreaterThan(0)
  }, 120_000)

  test('SIGTERM ends with a checkpoint, soon', async () => {
    const result = await terminateOnce(folder())
    expect(result).toMatchObject({ code: 0, right: true })
    expect(result.milliseconds).toBeLessThan(5000)
    expect(result.eventsKept).toBeGreaterThanOrEqual(result.eventsRead)
  }, 120_000)
})

describe('threads', () => {
  test.each([1])(
    'workers that die are replaced, and the answers are the same (seed %i)',
    async (seed) => {
      const result = await threadsDie({ store: folder(), thread: 'worker', deaths: 4, seed })
      expect(result).toMatchObject({ code: 0, deaths: 4, right: true })
      // One recovery may answer two deaths.
      expect(result.recovered).toBeGreaterThanOrEqual(1)
      expect(result.recovering).toBeGreaterThanOrEqual(result.recovered)
      expect(result.failures).toEqual(['WORKER_DIED'])
    },
    120_000,
  )

  test('rows that were accepted and not committed outlive the threads, in a store that is lost anyway', async () => {
    const result = await threadsDie({ store: 'memory://', thread: 'worker', deaths: 3, seed: 3 })
    expect(result).toMatchObject({ code: 0, deaths: 3, right: true })
    expect(result.marks).toBe(result.inserted)
  }, 120_000)

  test('the control thread is not replaced: every call says so, and the process ends', async () => {
    const result = await threadsDie({ store: 'memory://', thread: 'control', deaths: 1, seed: 4 })
    expect(result).toMatchObject({ code: 1, deaths: 1, recovered: 0 })
    expect(result.failures).toEqual(['PIPELINE_FAILED'])
  }, 60_000)
})
