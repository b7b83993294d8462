/** The ring between threads: single-threaded schedules to exhaustion, then two real threads. */
import { Worker } from 'node:worker_threads'
import { build } from 'esbuild'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { RING_BYTES_MIN, RingConsumer, RingProducer } from '../../src/actors/ring.ts'

const HEADER = 128

function ringOf(capacity: number): SharedArrayBuffer {
  return new SharedArrayBuffer(HEADER + capacity)
}

/** As `expect`, but cheap enough for millions of calls. */
function check(condition: boolean, rule: string): void {
  if (!condition) expect.fail(rule)
}

/** Sends frame number `n`: its body is filled with n. */
function produce(producer: RingProducer, n: number, bodyBytes: number): boolean {
  const at = producer.reserve(bodyBytes)
  if (at < 0) return false
  producer.bytes.fill(n & 0xff, at, at + bodyBytes)
  producer.commit(n, 1 + (n % 7), bodyBytes)
  return true
}

/** Takes one frame and checks that it is frame `n` of that size. */
function consume(consumer: RingConsumer, n: number, bodyBytes: number): boolean {
  if (!consumer.peek()) return false
  check(consumer.channel === n && consumer.kind === 1 + (n % 7), `frame ${n} comes next`)
  check(consumer.bodyBytes === bodyBytes, `frame ${n} has its length`)
  check(consumer.bodyStart % 16 === 0, 'bodies are aligned')
  for (let i = 0; i < bodyBytes; i++) {
    if (consumer.bytes[consumer.bodyStart + i] !== (n & 0xff))
      expect.fail(`byte ${i} of frame ${n}`)
  }
  consumer.release()
  return true
}

const framed = (bodyBytes: number): number => (16 + bodyBytes + 15) & ~15

afterEach(() => {
  vi.restoreAllMocks()
})

describe('ring', () => {
  test('every schedule of sends and takes over tiny rings keeps order and loses nothing', () => {
    let schedules = 0
    for (const capacity of [64, 80, 112]) {
      const sizes = [0, 8, 16, 17].filter(
        (size) => size <= new RingProducer(ringOf(capacity)).bodyBytesMax,
      )
      const choices = sizes.length + 1
      const depth = choices > 4 ? 7 : 8
      for (let schedule = 0; schedule < choices ** depth; schedule++) {
        const buffer = ringOf(capacity)
        const producer = new RingProducer(buffer)
        const consumer = new RingConsumer(buffer)
        const queue: { n: number; size: number }[] = []
        let n = 0
        for (
          let step = 0, rest = schedule;
          step < depth;
          step++, rest = Math.floor(rest / choices)
        ) {
          const choice = rest % choices
          if (choice === sizes.length) {
            const expected = queue.shift()
            if (expected === undefined) check(!consumer.peek(), 'an empty ring gives nothing')
            else check(consume(consumer, expected.n, expected.size), 'what was sent is there')
          } else if (produce(producer, n, sizes[choice]))
            queue.push({ n: n++, size: sizes[choice] })
          else {
            // A refusal is only right when the ring holds something.
            check(queue.length > 0, 'an empty ring takes every frame')
          }
        }
        for (const { n: next, size } of queue)
          check(consume(consumer, next, size), 'nothing is lost')
        check(!consumer.peek() && producer.isEmpty(), 'nothing is left')
        schedules++
      }
    }
    expect(schedules).toBeGreaterThan(100_000)
  })

  test('the longest frame fits into an empty ring wherever the head stands', () => {
    for (const capacity of [64, 96, 160, 1008]) {
      for (let shift = 0; shift < capacity / 16; shift++) {
        const buffer = ringOf(capacity)
        const producer = new RingProducer(buffer)
        const consumer = new RingConsumer(buffer)
        for (let i = 0; i < shift; i++) {
          expect(produce(producer, i, 0)).toBe(true)
          expect(consume(consumer, i, 0)).toBe(true)
        }
        expect(produce(producer, 99, producer.bodyBytesMax)).toBe(true)
        expect(consume(consumer, 99, producer.bodyBytesMax)).toBe(true)
      }
    }
  })

  test('the other side may act at any atomic access: nothing torn, no wake-up lost', () => {
    const capacity = 64
    for (let size = 0; size <= 16; size += 16) {
      for (let access = 0; access < 12; access++) {
        const buffer = ringOf(capacity)
        const producer = new RingProducer(buffer)
        const consumer = new RingConsumer(buffer)
        let sent = 0
        while (framed(size) * (sent + 1) <= capacity && produce(producer, sent, size)) sent++
        let taken = 0
        let woken = false
        let seen = 0
        // The consumer drains everything, then looks whether it must ring: in the midst of the producer's call.
        const interrupt = (): void => {
          if (seen++ !== access) return
          vi.restoreAllMocks()
          while (consume(consumer, taken, size)) taken++
          woken = consumer.takeStarved()
        }
        const { load, store } = Atomics
        vi.spyOn(Atomics, 'load').mockImplementation(((array: Int32Array, index: number) => {
          interrupt()
          return load(array, index)
        }) as typeof Atomics.load)
        vi.spyOn(Atomics, 'store').mockImplementation(((
          array: Int32Array,
          index: number,
          value: number,
        ) => {
          interrupt()
          return store(array, index, value)
        }) as typeof Atomics.store)
        const done = produce(producer, sent, size)
        vi.restoreAllMocks()
        if (done) sent++
        else {
          // The consumer looks again only if there are frames left to take.
          if (taken < sent) {
            while (consume(consumer, taken, size)) taken++
            woken = consumer.takeStarved()
          }
          expect(woken).toBe(true)
          expect(produce(producer, sent, size)).toBe(true)
          sent++
        }
        while (consume(consumer, taken, size)) taken++
        expect(taken).toBe(sent)
      }
    }
  })

  test('two threads pass frames of all sizes through a small ring', async () => {
    const { outputFiles } = await build({
      entryPoints: [new URL('../../src/actors/ring.ts', import.meta.url).pathname],
      bundle: true,
      write: false,
      format: 'esm',
      platform: 'node',
    })
    const count = 50_000
    const buffer = ringOf(4096)
    const source = `${outputFiles[0].text}
      import { workerData } from 'node:worker_threads'
      const producer = new RingProducer(workerData.buffer)
      let random = 7
      for (let n = 0; n < workerData.count; n++) {
        random = (Math.imul(random, 1103515245) + 12345) >>> 0
        const size = random % 3 === 0 ? random % (producer.bodyBytesMax + 1) : random % 64
        let at = producer.reserve(size)
        while (at < 0) at = producer.reserve(size)
        producer.bytes.fill(n & 0xff, at, at + size)
        producer.commit(n, 1, size)
      }`
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), {
      workerData: { buffer, count },
    })
    const exit = new Promise<number>((resolve, reject) => {
      worker.on('exit', resolve)
      worker.on('error', reject)
    })
    const consumer = new RingConsumer(buffer)
    let random = 7
    for (let n = 0; n < count; ) {
      if (!consumer.peek()) {
        await new Promise((resolve) => setImmediate(resolve))
        continue
      }
      random = (Math.imul(random, 1103515245) + 12345) >>> 0
      const size = random % 3 === 0 ? random % (2048 - 16 + 1) : random % 64
      if (consumer.channel !== n || consumer.bodyBytes !== size) {
        expect.fail(
          `frame ${n}: got ${consumer.channel} of ${consumer.bodyBytes} bytes, not ${size}`,
        )
      }
      for (let i = 0; i < size; i++) {
        if (consumer.bytes[consumer.bodyStart + i] !== (n & 0xff)) expect.fail(`byte ${i} of ${n}`)
      }
      consumer.release()
      n++
    }
    expect(await exit).toBe(0)
    expect(consumer.peek()).toBe(false)
  })

  test('refuses what is no ring and frames that can never fit', () => {
    expect(() => new RingProducer(new SharedArrayBuffer(RING_BYTES_MIN - 16))).toThrow(/room/)
    const producer = new RingProducer(ringOf(1024))
    expect(() => producer.reserve(producer.bodyBytesMax + 1)).toThrow(/half/)
    expect(() => producer.commit(1, 1, 0)).toThrow(/reserved/)
  })
})
