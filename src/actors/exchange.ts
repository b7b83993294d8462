/**
 * Exchanges: bounded channels between two actors, many of them over one ring per ordered pair of threads.
 * A sender may have `windowBytes` of chunks under way per channel; the receiver grants what it has consumed, so
 * a slow actor fills its own window and not the ring, and the other actors of its thread go on. Every worker
 * takes all frames out of its inbound rings in each step, whatever its own outbound rings look like, so two
 * workers that fill each other's rings cannot deadlock. Owned by one worker thread; nothing here waits and
 * nothing reads a clock: the loop sets `nowMs`.
 * Hot path: `sendRows` and `receive`, once per frame.
 *
 * ```
 * frame kind  body
 * 1 chunk     chunk-codec; or the last part of one
 * 2 part      bytes of a single row whose encoding is longer than a frame
 * 3 barrier   epoch f64 | next f64 | flags u32 (1 checkpoint) | starts u32 | stops u32 | 0 | job ids u32
 * 4 watermark column f64 | value f64
 * 5 end       -
 * 6 credit    bytes f64: travels against the channel's direction
 * ```
 * Only chunks need credit: barriers are few (the coordinator bounds them) and must not wait for it.
 */
import { Buffer } from 'node:buffer'
import { assert } from '../common/assert.ts'
import { epoch } from '../common/ids.ts'
import { Chunk, UPDATE_DELETE } from '../stream/chunk.ts'
import type { RowList } from '../stream/column-builder.ts'
import { gatherChunk } from '../stream/column-builder.ts'
import type { Barrier, Message } from '../stream/message.ts'
import { decodeChunk, encodedRowsBytes, encodeRows } from './chunk-codec.ts'
import { Queue } from './queue.ts'
import { RingConsumer, RingProducer } from './ring.ts'

const FRAME_CHUNK = 1
const FRAME_PART = 2
const FRAME_BARRIER = 3
const FRAME_WATERMARK = 4
const FRAME_END = 5
const FRAME_CREDIT = 6

/** Chunk bytes under way on one channel: at a slow 50 MB/s a barrier behind them waits 5 ms. */
export const CHANNEL_WINDOW_BYTES = 256 * 1024
/** Longest chunk body of a frame: larger frames gain no throughput. */
export const FRAME_BODY_BYTES = 64 * 1024

/** What has gone through one channel so far; kept by its sender. */
export interface ChannelStats {
  rows: number
  bytes: number
  frames: number
  /** Time the producer could not send, ms. */
  blockedMs: number
}

interface RowsEntry {
  readonly kind: 'rows'
  readonly chunk: Chunk
  readonly rows: RowList | null
  at: number
  readonly to: number
}
type Entry = RowsEntry | Exclude<Message, { kind: 'chunk' }>

/** The receiving end of one channel: messages in the order they were sent. */
export class InputChannel {
  /** Which input of the head it feeds. */
  readonly input: number
  private readonly messages = new Queue<Message>()
  private readonly sizes = new Queue<number>()
  private readonly consumed: (bytes: number) => void

  /** @param consumed is told the bytes of each chunk that was taken. */
  constructor(input: number, consumed: (bytes: number) => void) {
    this.input = input
    this.consumed = consumed
  }

  get length(): number {
    return this.messages.length
  }

  /** Senders only. @param bytes what it counts in the window; 0 for all but chunks. */
  push(message: Message, bytes: number): void {
    this.messages.push(message)
    this.sizes.push(bytes)
  }

  peek(): Message | undefined {
    return this.messages.peek()
  }

  shift(): Message | undefined {
    const bytes = this.sizes.shift()
    if (bytes !== undefined && bytes > 0) this.consumed(bytes)
    return this.messages.shift()
  }
}

/**
 * The sending end of one channel. What cannot go now stays in a backlog in order; the actor that owns the
 * channel does no further work until `drain` has emptied it.
 */
export abstract class OutputChannel {
  readonly stats: ChannelStats = { rows: 0, bytes: 0, frames: 0, blockedMs: 0 }
  protected readonly exchange: Exchange
  protected readonly windowBytes: number
  /** Chunk bytes sent and not yet consumed. */
  protected inFlightBytes = 0
  private readonly backlog = new Queue<Entry>()
  private blockedSinceMs = -1

  constructor(exchange: Exchange, windowBytes: number) {
    this.exchange = exchange
    this.windowBytes = windowBytes
  }

  /**
   * Sends rows `rows[from .. to]` of `chunk`, or with `rows` null its rows `from .. to`. A row list belongs to
   * the channel from now on: the caller does not write to it again.
   */
  sendRows(chunk: Chunk, rows: RowList | null, from: number, to: number): void {
    if (from === to) return
    this.stats.rows += to - from
    this.backlog.push({ kind: 'rows', chunk, rows, at: from, to })
    this.drain()
  }

  send(message: Exclude<Message, { kind: 'chunk' }>): void {
    this.backlog.push(message)
    this.drain()
  }

  /** Moves what it can. @returns true when nothing is left to send. */
  drain(): boolean {
    for (let entry = this.backlog.peek(); entry !== undefined; entry = this.backlog.peek()) {
      const sent = entry.kind === 'rows' ? this.trySendRows(entry) : this.trySend(entry)
      if (!sent) {
        if (this.blockedSinceMs < 0) this.blockedSinceMs = this.exchange.nowMs
        return false
      }
      this.backlog.shift()
    }
    if (this.blockedSinceMs >= 0) {
      this.stats.blockedMs += this.exchange.nowMs - this.blockedSinceMs
      this.blockedSinceMs = -1
    }
    return true
  }

  get blocked(): boolean {
    return this.backlog.length > 0
  }

  /** The receiver has consumed so many bytes of chunks. */
  granted(bytes: number): void {
    this.inFlightBytes -= bytes
    assert(this.inFlightBytes >= 0, 'credit is granted for what was sent')
  }

  /** A chunk larger than the window goes alone. */
  protected hasCredit(bytes: number): boolean {
    return this.inFlightBytes === 0 || this.inFlightBytes + bytes <= this.windowBytes
  }

  protected counted(bytes: number): void {
    this.inFlightBytes += bytes
    this.stats.bytes += bytes
    this.stats.frames++
  }

  /** Forgets the channel after its last message has left; credit that comes later is ignored. */
  abstract close(): void

  /** Sends as much of the entry as it can and moves its `at`. @returns true when all is sent. */
  protected abstract trySendRows(entry: RowsEntry): boolean
  protected abstract trySend(message: Exclude<Message, { kind: 'chunk' }>): boolean

  /** End of a piece `from .. end` that splits no update pair; at least one row, so a pair of huge rows may part. */
  protected cut(entry: RowsEntry, end: number): number {
    if (end >= entry.to || entry.chunk.ops === null || end - 1 <= entry.at) return end
    const last = entry.rows === null ? end - 1 : entry.rows[end - 1]
    return entry.chunk.ops[last] === UPDATE_DELETE ? end - 1 : end
  }
}

/** Between two actors of one worker: chunks by reference, with the same bound. */
class LocalOutput extends OutputChannel {
  private readonly target: InputChannel

  constructor(exchange: Exchange, windowBytes: number, target: InputChannel) {
    super(exchange, windowBytes)
    this.target = target
  }

  protected trySendRows(entry: RowsEntry): boolean {
    const { chunk, rows, at, to } = entry
    const bytes = encodedRowsBytes(chunk, rows, at, to)
    if (!this.hasCredit(bytes)) return false
    this.counted(bytes)
    this.target.push({ kind: 'chunk', chunk: pick(chunk, rows, at, to) }, bytes)
    return true
  }

  protected trySend(message: Exclude<Message, { kind: 'chunk' }>): boolean {
    this.target.push(message, 0)
    return true
  }

  close(): void {}
}

function pick(chunk: Chunk, rows: RowList | null, from: number, to: number): Chunk {
  if (rows === null && from === 0 && to === chunk.rowCount) return chunk
  const count = to - from
  const list = rows === null ? range(from, to) : rows.subarray(from, to)
  const ops = chunk.ops === null ? null : pickBytes(chunk.ops, list, count)
  const visible =
    chunk.visible === null || rows !== null ? null : pickBytes(chunk.visible, list, count)
  return new Chunk(count, ops, visible, gatherChunk(chunk, list, count))
}

function range(from: number, to: number): Uint32Array {
  const rows = new Uint32Array(to - from)
  for (let i = 0; i < rows.length; i++) rows[i] = from + i
  return rows
}

function pickBytes(source: Uint8Array, rows: RowList, count: number): Uint8Array {
  const picked = new Uint8Array(count)
  for (let i = 0; i < count; i++) picked[i] = source[rows[i]]
  return picked
}

/** To an actor of another worker, through the ring to it. */
class RemoteOutput extends OutputChannel {
  private readonly link: Link
  private readonly channelId: number
  /** The encoding of one row longer than a frame, of which `partAt` bytes are sent. */
  private part: Uint8Array | null = null
  private partAt = 0

  constructor(exchange: Exchange, windowBytes: number, link: Link, channelId: number) {
    super(exchange, windowBytes)
    this.link = link
    this.channelId = channelId
  }

  protected trySendRows(entry: RowsEntry): boolean {
    const { producer } = this.link
    if (this.part !== null && !this.sendParts(entry)) return false
    while (entry.at < entry.to) {
      const end = this.fit(entry)
      const bytes = encodedRowsBytes(entry.chunk, entry.rows, entry.at, end)
      if (!this.hasCredit(bytes)) return false
      if (bytes > this.link.bodyBytesMax) {
        if (!this.beginParts(entry, end, bytes)) return false
        continue
      }
      const at = producer.reserve(bytes)
      if (at < 0) return false
      encodeRows(entry.chunk, entry.rows, entry.at, end, producer.bytes, at)
      this.commit(FRAME_CHUNK, bytes)
      this.counted(bytes)
      entry.at = end
    }
    return true
  }

  /** As many rows from `entry.at` on as one frame holds; one at the least. */
  private fit(entry: RowsEntry): number {
    const max = this.link.bodyBytesMax
    let end = entry.to
    for (;;) {
      const count = end - entry.at
      if (count === 1) return end
      const bytes = encodedRowsBytes(entry.chunk, entry.rows, entry.at, end)
      if (bytes <= max) return this.cut(entry, end)
      const guess = Math.floor((count * max) / bytes)
      end = entry.at + Math.max(1, Math.min(guess, count - 1))
    }
  }

  private beginParts(entry: RowsEntry, end: number, bytes: number): boolean {
    this.part = new Uint8Array(bytes)
    this.partAt = 0
    encodeRows(entry.chunk, entry.rows, entry.at, end, this.part, 0)
    this.counted(bytes)
    // The row is in `part` now; the entry is complete only when the parts are sent.
    entry.at = end
    return this.sendParts(entry)
  }

  private sendParts(entry: RowsEntry): boolean {
    const part = this.part
    assert(part !== null && entry.at <= entry.to, 'a row is being sent in parts')
    while (this.partAt < part.length) {
      const bytes = Math.min(this.link.bodyBytesMax, part.length - this.partAt)
      const at = this.link.producer.reserve(bytes)
      if (at < 0) return false
      this.link.producer.bytes.set(part.subarray(this.partAt, this.partAt + bytes), at)
      this.partAt += bytes
      this.commit(this.partAt < part.length ? FRAME_PART : FRAME_CHUNK, bytes)
    }
    this.part = null
    return true
  }

  protected trySend(message: Exclude<Message, { kind: 'chunk' }>): boolean {
    const { producer } = this.link
    const bytes = message.kind === 'barrier' ? barrierBytes(message.barrier) : 16
    const at = producer.reserve(bytes)
    if (at < 0) return false
    switch (message.kind) {
      case 'barrier':
        encodeBarrier(message.barrier, producer.bytes, at)
        this.commit(FRAME_BARRIER, bytes)
        break
      case 'watermark': {
        const values = new Float64Array(producer.bytes.buffer, at, 2)
        values[0] = message.column
        values[1] = message.value
        this.commit(FRAME_WATERMARK, bytes)
        break
      }
      case 'end':
        this.commit(FRAME_END, 0)
    }
    return true
  }

  close(): void {
    this.link.outputs.delete(this.channelId)
  }

  private commit(kind: number, bytes: number): void {
    this.link.producer.commit(this.channelId, kind, bytes)
    this.link.ring = true
  }
}

function barrierBytes(barrier: Barrier): number {
  return 32 + 4 * (barrier.startJobs.length + barrier.stopJobs.length)
}

function encodeBarrier(barrier: Barrier, target: Uint8Array, at: number): void {
  const { startJobs, stopJobs } = barrier
  const epochs = new Float64Array(target.buffer, at, 2)
  epochs[0] = barrier.epoch
  epochs[1] = barrier.next
  const words = new Uint32Array(target.buffer, at + 16, 4 + startJobs.length + stopJobs.length)
  words[0] = barrier.checkpoint ? 1 : 0
  words[1] = startJobs.length
  words[2] = stopJobs.length
  words.set(startJobs, 4)
  words.set(stopJobs, 4 + startJobs.length)
}

function decodeBarrier(source: Uint8Array, at: number, bytes: number): Barrier {
  const epochs = new Float64Array(source.buffer, at, 2)
  const words = new Uint32Array(source.buffer, at + 16, (bytes - 16) / 4)
  const stops = 4 + words[1]
  assert(stops + words[2] === words.length, 'a barrier frame is whole')
  return {
    epoch: epoch(epochs[0]),
    next: epoch(epochs[1]),
    checkpoint: words[0] === 1,
    startJobs: [...words.subarray(4, stops)],
    stopJobs: [...words.subarray(stops)],
  }
}

/** One channel's end on this worker that a peer sends to. */
interface RemoteInput {
  readonly channel: InputChannel
  readonly channelId: number
  /** Consumed bytes that the sender was not told of yet. */
  owedBytes: number
  parts: Uint8Array[]
}

/** Both rings between this worker and one peer, and the channels over them. */
class Link {
  readonly producer: RingProducer
  readonly consumer: RingConsumer
  readonly bodyBytesMax: number
  /** The peer must be woken: it has frames, or room, that it did not have. */
  ring = false
  readonly inputs = new Map<number, RemoteInput>()
  readonly outputs = new Map<number, OutputChannel>()

  constructor(outbound: SharedArrayBuffer, inbound: SharedArrayBuffer) {
    this.producer = new RingProducer(outbound)
    this.consumer = new RingConsumer(inbound)
    this.bodyBytesMax = Math.min(this.producer.bodyBytesMax & -8, FRAME_BODY_BYTES)
  }
}

export interface ExchangeOptions {
  readonly workerIndex: number
  /** `rings[from][to]`, null where from = to. */
  readonly rings: readonly (readonly (SharedArrayBuffer | null)[])[]
  /** Rings a peer's doorbell. */
  readonly wake: (workerIndex: number) => void
  readonly windowBytes?: number
}

/** All channels of one worker. */
export class Exchange {
  /** Monotonic time as of the current step, ms; set by the loop. */
  nowMs = 0
  private readonly links: (Link | null)[]
  private readonly wake: (workerIndex: number) => void
  private readonly windowBytes: number
  /** Where bodies of small frames are copied to; whole chunks are garbage together. */
  private slab = new Uint8Array(0)
  private slabAt = 0

  constructor(options: ExchangeOptions) {
    const { workerIndex, rings } = options
    this.wake = options.wake
    this.windowBytes = options.windowBytes ?? CHANNEL_WINDOW_BYTES
    this.links = rings[workerIndex].map((outbound, peer) => {
      const inbound = rings[peer][workerIndex]
      return outbound === null || inbound === null ? null : new Link(outbound, inbound)
    })
  }

  /** A channel within this worker. @returns both ends. */
  openLocal(input: number): { readonly input: InputChannel; readonly output: OutputChannel } {
    const receiver = new InputChannel(input, (bytes) => output.granted(bytes))
    const output = new LocalOutput(this, this.windowBytes, receiver)
    return { input: receiver, output }
  }

  /** The end here of a channel from another worker. */
  openInput(from: number, channelId: number, input: number): InputChannel {
    const link = this.link(from)
    assert(!link.inputs.has(channelId), 'a channel is opened once')
    const channel = new InputChannel(input, (bytes) => {
      remote.owedBytes += bytes
    })
    const remote: RemoteInput = { channel, channelId, owedBytes: 0, parts: [] }
    link.inputs.set(channelId, remote)
    return channel
  }

  /** The end here of a channel to another worker. */
  openOutput(to: number, channelId: number): OutputChannel {
    const link = this.link(to)
    assert(!link.outputs.has(channelId), 'a channel is opened once')
    const output = new RemoteOutput(this, this.windowBytes, link, channelId)
    link.outputs.set(channelId, output)
    return output
  }

  /** Forgets a channel after its last message. */
  closeInput(from: number, channelId: number): void {
    this.link(from).inputs.delete(channelId)
  }

  /** Takes everything out of the inbound rings. @returns true if there was anything. */
  receive(): boolean {
    let any = false
    for (const link of this.links) {
      if (link === null || !link.consumer.peek()) continue
      any = true
      do {
        this.take(link)
        link.consumer.release()
      } while (link.consumer.peek())
      if (link.consumer.takeStarved()) link.ring = true
    }
    return any
  }

  /** Grants credit for what was consumed and wakes the peers that have a reason to look. Ends each step. */
  flush(): void {
    for (let peer = 0; peer < this.links.length; peer++) {
      const link = this.links[peer]
      if (link === null) continue
      for (const remote of link.inputs.values()) {
        if (remote.owedBytes > 0) this.grant(link, remote)
      }
      if (link.ring) {
        link.ring = false
        this.wake(peer)
      }
    }
  }

  private grant(link: Link, remote: RemoteInput): void {
    // Not for each little chunk: only when the sender may need it.
    if (remote.owedBytes * 4 < this.windowBytes && remote.channel.length > 0) return
    const at = link.producer.reserve(8)
    if (at < 0) return
    new Float64Array(link.producer.bytes.buffer, at, 1)[0] = remote.owedBytes
    link.producer.commit(remote.channelId, FRAME_CREDIT, 8)
    remote.owedBytes = 0
    link.ring = true
  }

  private take(link: Link): void {
    const { kind, channel, bytes, bodyStart, bodyBytes } = link.consumer
    if (kind === FRAME_CREDIT) {
      const granted = new Float64Array(bytes.buffer, bodyStart, 1)[0]
      link.outputs.get(channel)?.granted(granted)
      return
    }
    const remote = link.inputs.get(channel)
    assert(remote !== undefined, 'a frame belongs to an open channel')
    switch (kind) {
      case FRAME_CHUNK:
        this.takeChunk(remote, this.copy(bytes, bodyStart, bodyBytes))
        break
      case FRAME_PART:
        remote.parts.push(bytes.slice(bodyStart, bodyStart + bodyBytes))
        break
      case FRAME_BARRIER: {
        const barrier = decodeBarrier(bytes, bodyStart, bodyBytes)
        remote.channel.push({ kind: 'barrier', barrier }, 0)
        break
      }
      case FRAME_WATERMARK: {
        const [column, value] = new Float64Array(bytes.buffer, bodyStart, 2)
        remote.channel.push({ kind: 'watermark', column, value }, 0)
        break
      }
      default:
        assert(kind === FRAME_END, 'a frame has a known kind')
        remote.channel.push({ kind: 'end' }, 0)
    }
  }

  private takeChunk(remote: RemoteInput, last: Uint8Array): void {
    let body = last
    if (remote.parts.length > 0) {
      const parts = [...remote.parts, last]
      remote.parts = []
      body = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
      let at = 0
      for (const part of parts) {
        body.set(part, at)
        at += part.length
      }
    }
    remote.channel.push({ kind: 'chunk', chunk: decodeChunk(body, 0) }, body.length)
  }

  /**
   * A copy in memory of this thread, so that the ring is free at once. Operators and channels keep columns as
   * long as they like, so nobody can say when such memory may be used again: the collector does. It is not
   * zeroed, and small bodies share a slab, which keeps it cheap.
   */
  private copy(source: Uint8Array, start: number, length: number): Uint8Array {
    if (length > SLAB_BYTES / 4) {
      const own = uninitialized(length)
      own.set(source.subarray(start, start + length))
      return own
    }
    if (this.slabAt + length > this.slab.length) {
      this.slab = uninitialized(SLAB_BYTES)
      this.slabAt = 0
    }
    const at = this.slabAt
    this.slab.set(source.subarray(start, start + length), at)
    this.slabAt = (at + length + 7) & ~7
    return this.slab.subarray(at, at + length)
  }

  private link(peer: number): Link {
    const link = this.links[peer]
    assert(link !== undefined && link !== null, 'a channel leads to another worker')
    return link
  }
}

const SLAB_BYTES = 64 * 1024

function uninitialized(bytes: number): Uint8Array<ArrayBuffer> {
  const buffer = Buffer.allocUnsafeSlow(bytes)
  return new Uint8Array(buffer.buffer, buffer.byteOffset, bytes)
}
