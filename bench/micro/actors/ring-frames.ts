/** Frames whose every word is known, for both ends of a measured ring. */
import type { RingConsumer, RingProducer } from '../../../src/actors/ring.ts'
import { mix32 } from '../../../src/common/hash.ts'

const KIND = 1

export interface FrameRun {
  readonly seed: number
  readonly frameCount: number
  /** A multiple of 4. */
  readonly bodyBytes: number
}

/** A producer with the words of its ring. */
export interface FrameSender {
  readonly producer: RingProducer
  readonly words: Uint32Array
}

/** A consumer with the words of its ring. */
export interface FrameTaker {
  readonly consumer: RingConsumer
  readonly words: Uint32Array
}

/** Sends frame `n`; false: the ring is full. */
export function sendFrame(sender: FrameSender, run: FrameRun, n: number): boolean {
  const { producer, words } = sender
  const at = producer.reserve(run.bodyBytes)
  if (at < 0) return false
  const first = mix32(run.seed + n)
  const start = at >>> 2
  const end = (at + run.bodyBytes) >>> 2
  for (let i = start; i < end; i++) words[i] = first + (i - start)
  producer.commit(n, KIND, run.bodyBytes)
  return true
}

/** Takes the peeked frame. Returns the sum of its words, modulo 2^32. */
export function takeFrame(taker: FrameTaker): number {
  const { consumer, words } = taker
  const start = consumer.bodyStart >>> 2
  const end = (consumer.bodyStart + consumer.bodyBytes) >>> 2
  let sum = consumer.channel
  for (let i = start; i < end; i++) sum = (sum + words[i]) | 0
  consumer.release()
  return sum
}

/** Sum of what `takeFrame` returns for all frames of a run, by the sums of arithmetic series. */
export function expectedSum({ seed, frameCount, bodyBytes }: FrameRun): number {
  const count = bodyBytes / 4
  let sum = 0n
  for (let n = 0; n < frameCount; n++) {
    sum += BigInt(n) + BigInt(mix32(seed + n)) * BigInt(count) + BigInt((count * (count - 1)) / 2)
  }
  return Number(BigInt.asUintN(32, sum))
}
