/**
 * Fan-in: the channels of all inputs of a head as one stream, aligned on barriers. After a channel's barrier
 * nothing is read from it until every other channel has brought that barrier, so that what the operator has
 * applied when it sees the barrier is exactly the epoch. A join's two inputs align across both.
 */
import { assert } from '../common/assert.ts'
import type { Chunk } from '../stream/chunk.ts'
import type { Barrier } from '../stream/message.ts'
import type { InputChannel } from './exchange.ts'

/** What `Merge.next` found; `chunk` with `input`, or `barrier`, are set by it. */
export type Merged = 'chunk' | 'barrier' | 'end' | 'nothing'

export class Merge {
  /** The chunk found last, and which input of the head it is for. */
  chunk: Chunk | null = null
  input = 0
  /** The barrier found last. */
  barrier: Barrier | null = null
  private channels: InputChannel[]
  /** 1 where the channel has brought the barrier that is being aligned. */
  private arrived: Uint8Array
  private arrivedCount = 0
  private aligning: Barrier | null = null
  private turn = 0

  constructor(channels: readonly InputChannel[]) {
    this.channels = [...channels]
    this.arrived = new Uint8Array(this.channels.length)
  }

  /** Takes the next message, channels in turn. Watermarks are dropped: no operator uses them yet. */
  next(): Merged {
    const count = this.channels.length
    for (let tried = 0; tried < count; tried++) {
      const index = this.turn
      this.turn = index + 1 === count ? 0 : index + 1
      if (this.arrived[index] === 1) continue
      const message = this.channels[index].shift()
      if (message === undefined) continue
      switch (message.kind) {
        case 'chunk':
          this.chunk = message.chunk
          this.input = this.channels[index].input
          return 'chunk'
        case 'barrier':
          if (this.arrive(index, message.barrier)) return 'barrier'
          break
        case 'end':
          return this.ended(index)
        case 'watermark':
          return this.next()
      }
    }
    return 'nothing'
  }

  /** @returns true when the barrier is complete. */
  private arrive(index: number, barrier: Barrier): boolean {
    assert(
      this.aligning === null || this.aligning.epoch === barrier.epoch,
      'every channel brings the same barriers',
    )
    this.aligning = barrier
    this.arrived[index] = 1
    this.arrivedCount++
    return this.complete()
  }

  private complete(): boolean {
    if (this.aligning === null || this.arrivedCount < this.channels.length) return false
    this.barrier = this.aligning
    this.aligning = null
    this.arrived.fill(0)
    this.arrivedCount = 0
    return true
  }

  /** The channel is over: it is not waited for any more, which may complete a barrier. */
  private ended(index: number): Merged {
    const arrived = [...this.arrived].filter((_, other) => other !== index)
    this.channels = this.channels.filter((_, other) => other !== index)
    this.arrived = Uint8Array.from(arrived)
    this.turn = 0
    if (this.channels.length === 0) return 'end'
    return this.complete() ? 'barrier' : this.next()
  }
}
