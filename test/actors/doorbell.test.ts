/** The doorbell: only sleepers are notified, and no wake-up is lost. */
import { Worker } from 'node:worker_threads'
import { build } from 'esbuild'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { readDoorbell, ringDoorbell, sleepOnDoorbell } from '../../src/actors/doorbell.ts'

const make = (): Int32Array => new Int32Array(new SharedArrayBuffer(8))

afterEach(() => {
  vi.restoreAllMocks()
})

describe('doorbell', () => {
  test('a ring since the owner looked keeps it awake, whoever rang', () => {
    const byWorker = (doorbells: Int32Array): void => ringDoorbell(doorbells, 1)
    const byControl = (doorbells: Int32Array): void => {
      Atomics.add(doorbells, 1, 1)
      Atomics.notify(doorbells, 1)
    }
    for (const first of [byWorker, byControl]) {
      for (const second of [byWorker, byControl]) {
        const doorbells = make()
        first(doorbells)
        const seen = readDoorbell(doorbells, 1)
        second(doorbells)
        expect(sleepOnDoorbell(doorbells, 1, { seen, timeoutMs: 60_000 })).toBe(true)
      }
    }
  })

  test('without a ring it sleeps for the time given', () => {
    const doorbells = make()
    expect(sleepOnDoorbell(doorbells, 1, { seen: 0, timeoutMs: 1 })).toBe(false)
  })

  test('an awake owner costs no notify', () => {
    const doorbells = make()
    sleepOnDoorbell(doorbells, 1, { seen: 0, timeoutMs: 1 })
    const notify = vi.spyOn(Atomics, 'notify')
    ringDoorbell(doorbells, 1)
    expect(notify).not.toHaveBeenCalled()
  })

  test('two threads wake each other in turn, and a third way of ringing joins in', async () => {
    const { outputFiles } = await build({
      entryPoints: [new URL('../../src/actors/doorbell.ts', import.meta.url).pathname],
      bundle: true,
      write: false,
      format: 'esm',
      platform: 'node',
    })
    const rounds = 5000
    const doorbells = new Int32Array(new SharedArrayBuffer(8))
    const turns = new Int32Array(new SharedArrayBuffer(8))
    const source = `${outputFiles[0].text}
      import { parentPort, workerData } from 'node:worker_threads'
      const { me, doorbells, turns, rounds } = workerData
      let timeouts = 0
      for (let round = 0; round < rounds; ) {
        const seen = readDoorbell(doorbells, me)
        const turn = Atomics.load(turns, 0)
        if (turn % 2 === me) {
          Atomics.store(turns, 0, turn + 1)
          round++
          if (round % 3 === 0) { Atomics.add(doorbells, 1 - me, 1); Atomics.notify(doorbells, 1 - me) }
          else ringDoorbell(doorbells, 1 - me)
        } else if (!sleepOnDoorbell(doorbells, me, { seen, timeoutMs: 20000 })) timeouts++
      }
      parentPort.postMessage(timeouts)`
    const url = new URL(`data:text/javascript,${encodeURIComponent(source)}`)
    const timeouts = await Promise.all(
      [0, 1].map(
        (me) =>
          new Promise((resolve, reject) => {
            const worker = new Worker(url, { workerData: { me, doorbells, turns, rounds } })
            worker.on('message', resolve)
            worker.on('error', reject)
          }),
      ),
    )
    expect(timeouts).toEqual([0, 0])
    expect(turns[0]).toBe(2 * rounds)
  })
})
