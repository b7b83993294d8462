import { describe, expect, test } from 'vitest'
import type { JobRunner } from '../../../src/storage/job-pool.ts'
import { InlineJobs, JobPool } from '../../../src/storage/job-pool.ts'
import type { Entry } from '../sst/support.ts'
import { describeEntry, tableKey } from '../sst/support.ts'
import { encodeJob, entriesOf, mergeJob, sealedRun } from './support.ts'

const BUILT = new URL('../../../dist/src/storage/job-worker.js', import.meta.url)
const entries: Entry[] = [1, 2, 3].map((id) => ({
  tableId: 1,
  key: tableKey(0, id),
  epoch: 5,
  value: Uint8Array.of(id),
}))
const encode = encodeJob([sealedRun(entries)], 0)
const closed = expect.objectContaining({ code: 'CLOSED' })
const died = expect.objectContaining({ code: 'WORKER_DIED', kind: 'unavailable' })

async function using(runner: JobRunner, body: (runner: JobRunner) => Promise<void>): Promise<void> {
  try {
    await body(runner)
  } finally {
    await runner.close()
  }
}

describe.each([
  ['threads', () => new JobPool({ threads: 1, workerFile: BUILT })],
  ['the calling thread', () => new InlineJobs(() => 0)],
] as const)('jobs on %s', (_, open) => {
  test('give their output', () =>
    using(open(), async (runner) => {
      const output = await runner.run(encode)
      expect(entriesOf(output).map(describeEntry)).toEqual(entries.map(describeEntry))
      const merged = await runner.run(mergeJob(output.ssts, 0))
      expect(entriesOf(merged).map(describeEntry)).toEqual(entries.map(describeEntry))
      expect(merged.ssts[0].body).toBeInstanceOf(ArrayBuffer)
    }))

  test('fail with the code and context of their error', () =>
    using(open(), async (runner) => {
      const { ssts } = await runner.run(encode)
      new Uint8Array(ssts[0].body)[3] ^= 1
      await expect(runner.run(mergeJob(ssts, 0))).rejects.toMatchObject({
        name: 'EngineError',
        code: 'CORRUPTION',
        context: { object: '3-10', offset: 0 },
      })
      expect((await runner.run(encode)).entriesOut).toBe(3)
    }))

  test('are refused after close', async () => {
    const runner = open()
    await runner.close()
    await runner.close()
    await expect(runner.run(encode)).rejects.toEqual(closed)
  })
})

describe('a pool', () => {
  test('runs many jobs on few threads', () =>
    using(new JobPool({ threads: 2, workerFile: BUILT }), async (runner) => {
      const outputs = await Promise.all(Array.from({ length: 20 }, () => runner.run(encode)))
      expect(outputs.map((output) => output.entriesOut)).toEqual(Array(20).fill(3))
    }))

  test('rejects the jobs under way when it is closed', async () => {
    const pool = new JobPool({ threads: 1, workerFile: BUILT })
    const outcomes = Promise.allSettled(Array.from({ length: 5 }, () => pool.run(encode)))
    await pool.close()
    for (const outcome of await outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toEqual(closed)
    }
  })

  test('rejects the job whose thread dies, and starts another thread', () =>
    using(
      new JobPool({ threads: 1, workerFile: new URL('./threads/dying.mjs', import.meta.url) }),
      async (runner) => {
        await expect(runner.run(encode)).rejects.toEqual(died)
        await expect(runner.run(encode)).rejects.toEqual(died)
      },
    ))

  test.each(['broken.mjs', 'missing.mjs'])(
    'rejects every job when threads cannot start: %s',
    (file) =>
      using(
        new JobPool({ threads: 2, workerFile: new URL(`./threads/${file}`, import.meta.url) }),
        async (runner) => {
          const jobs = Array.from({ length: 6 }, () => runner.run(encode))
          for (const outcome of await Promise.allSettled(jobs)) {
            expect(outcome).toEqual({ status: 'rejected', reason: died })
          }
          await expect(runner.run(encode)).rejects.toEqual(died)
        },
      ),
  )
})
