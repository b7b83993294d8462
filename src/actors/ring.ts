/**
 * One-way byte ring between two threads in a SharedArrayBuffer: exactly one producer thread, exactly one
 * consumer thread. Rows are encoded straight into the ring (`reserve`, write, `commit`) and copied out by the
 * consumer (`peek`, read, `release`). Neither side ever waits here: a full ring says so.
 * Hot path: once per frame, up to some 5M small frames a second.
 *
 * ```
 * buffer = HEAD i32, 64 bytes on TAIL i32, 64 bytes on the data: the rest, in whole multiples of 16
 * frame (16-byte aligned) = bodyBytes u32 | channel u32 | kind u32 | 0 u32 | body | padding to 16
 * ```
 * A frame never wraps: where the end of the data is too near, a frame of kind 0 fills the rest. HEAD and TAIL
 * are positions in 0 .. 2 x capacity, so that full and empty differ; modulo the capacity they are offsets.
 *
 * Memory order. HEAD is written by the producer only, TAIL by the consumer only, both by `Atomics` (sequentially
 * consistent). Frame bytes are plain accesses: those before `Atomics.store(HEAD)` happen before those after the
 * `Atomics.load(HEAD)` that sees it, so the consumer reads whole frames; those before `Atomics.store(TAIL)`
 * happen before the producer's writes that follow a load of it, so no frame is overwritten while it is read.
 */
import { assert } from '../common/assert.ts'

/** Indices of the shared Int32 words: a cache line each, so that the sides do not slow each other. */
const HEAD = 0
const TAIL = 16
/** 1 while the producer waits for room: the consumer then rings its doorbell. */
const STARVED = 17
const CONTROL_BYTES = 128
const FRAME_HEADER_BYTES = 16
const FRAME_ALIGN = 16
const KIND_PADDING = 0

/** Bytes of the buffer of a ring between two worker threads. Fresh (zeroed) shared memory is an empty ring. */
export const RING_BYTES = 1024 * 1024
/** Fewest bytes a ring's buffer may have. */
export const RING_BYTES_MIN = CONTROL_BYTES + 64

function capacityOf(buffer: SharedArrayBuffer): number {
  assert(buffer.byteLength >= RING_BYTES_MIN, 'a ring has room for a frame')
  return (buffer.byteLength - CONTROL_BYTES) & -FRAME_ALIGN
}

function frameBytes(bodyBytes: number): number {
  return (FRAME_HEADER_BYTES + bodyBytes + FRAME_ALIGN - 1) & -FRAME_ALIGN
}

/** The sending end; belongs to one thread. */
export class RingProducer {
  /** The whole buffer; bodies begin at the offsets that `reserve` returns, 16-byte aligned. */
  readonly bytes: Uint8Array
  readonly capacity: number
  /** Longest body that always fits once the consumer has caught up. */
  readonly bodyBytesMax: number
  private readonly control: Int32Array
  private readonly words: Uint32Array
  private head: number
  /** The consumer's position when last looked at: never ahead of the truth. */
  private tailSeen: number
  private reservedAt = -1
  private reservedBytes = 0

  constructor(buffer: SharedArrayBuffer) {
    this.bytes = new Uint8Array(buffer)
    this.words = new Uint32Array(buffer)
    this.control = new Int32Array(buffer, 0, CONTROL_BYTES / 4)
    this.capacity = capacityOf(buffer)
    // Half of the ring: wherever the head stands, either the rest of the data or what lies before the
    // head is at least this long, so a frame and the padding before it fit together in an empty ring.
    this.bodyBytesMax = ((this.capacity / 2) & -FRAME_ALIGN) - FRAME_HEADER_BYTES
    this.head = Atomics.load(this.control, HEAD)
    this.tailSeen = Atomics.load(this.control, TAIL)
  }

  /**
   * Room for a frame with a body of `bodyBytes`; the frame is not visible before `commit`.
   * @returns where in `bytes` the body goes, or -1 when the ring is too full now.
   */
  reserve(bodyBytes: number): number {
    assert(bodyBytes <= this.bodyBytesMax, 'a frame fits into half of the ring')
    const need = frameBytes(bodyBytes)
    const at = this.head < this.capacity ? this.head : this.head - this.capacity
    const rest = this.capacity - at
    const padding = rest < need ? rest : 0
    if (!this.hasRoom(padding + need)) return -1
    if (padding > 0) {
      const word = (CONTROL_BYTES + at) >>> 2
      this.words[word] = padding - FRAME_HEADER_BYTES
      this.words[word + 2] = KIND_PADDING
      // Published on its own: a padding frame is whole already.
      this.publish(padding)
    }
    this.reservedAt = padding > 0 ? 0 : at
    this.reservedBytes = bodyBytes
    return CONTROL_BYTES + this.reservedAt + FRAME_HEADER_BYTES
  }

  /** Makes the reserved frame visible. @param bodyBytes as reserved, or fewer. @param kind above 0. */
  commit(channel: number, kind: number, bodyBytes: number): void {
    assert(this.reservedAt >= 0 && bodyBytes <= this.reservedBytes, 'a frame was reserved')
    const word = (CONTROL_BYTES + this.reservedAt) >>> 2
    this.words[word] = bodyBytes
    this.words[word + 1] = channel
    this.words[word + 2] = kind
    this.reservedAt = -1
    this.publish(frameBytes(bodyBytes))
  }

  /** True when the consumer has taken everything. */
  isEmpty(): boolean {
    return Atomics.load(this.control, TAIL) === this.head
  }

  private hasRoom(bytes: number): boolean {
    if (this.freeBytes() >= bytes) return true
    // Only now touch the consumer's cache line.
    this.tailSeen = Atomics.load(this.control, TAIL)
    if (this.freeBytes() >= bytes) return true
    // Say so first, then look again: the consumer moves TAIL first, then looks at the flag. The order of the
    // four is total, so at least one side sees the other and no wake-up is lost.
    Atomics.store(this.control, STARVED, 1)
    this.tailSeen = Atomics.load(this.control, TAIL)
    return this.freeBytes() >= bytes
  }

  private freeBytes(): number {
    const used = this.head - this.tailSeen
    return this.capacity - (used < 0 ? used + 2 * this.capacity : used)
  }

  private publish(bytes: number): void {
    const next = this.head + bytes
    this.head = next >= 2 * this.capacity ? next - 2 * this.capacity : next
    // Release: what was written above is seen by whoever sees this.
    Atomics.store(this.control, HEAD, this.head)
  }
}

/** The receiving end; belongs to one thread. `channel`, `kind`, `bodyStart`, `bodyBytes` describe the peeked frame. */
export class RingConsumer {
  readonly bytes: Uint8Array
  channel = 0
  kind = 0
  /** Where in `bytes` the body begins, 16-byte aligned; valid until `release`. */
  bodyStart = 0
  bodyBytes = 0
  private readonly control: Int32Array
  private readonly words: Uint32Array
  private readonly capacity: number
  private tail: number
  /** The producer's position when last looked at. */
  private headSeen: number

  constructor(buffer: SharedArrayBuffer) {
    this.bytes = new Uint8Array(buffer)
    this.words = new Uint32Array(buffer)
    this.control = new Int32Array(buffer, 0, CONTROL_BYTES / 4)
    this.capacity = capacityOf(buffer)
    this.tail = Atomics.load(this.control, TAIL)
    this.headSeen = this.tail
  }

  /** Looks at the oldest frame. @returns false when there is none. */
  peek(): boolean {
    for (;;) {
      if (this.headSeen === this.tail) {
        // Acquire: frames up to this position are whole.
        this.headSeen = Atomics.load(this.control, HEAD)
        if (this.headSeen === this.tail) return false
      }
      const at = this.tail < this.capacity ? this.tail : this.tail - this.capacity
      const word = (CONTROL_BYTES + at) >>> 2
      this.bodyBytes = this.words[word]
      this.kind = this.words[word + 2]
      if (this.kind !== KIND_PADDING) {
        this.channel = this.words[word + 1]
        this.bodyStart = CONTROL_BYTES + at + FRAME_HEADER_BYTES
        assert(this.bodyBytes <= this.capacity - at, 'a frame lies within the ring')
        return true
      }
      this.release()
    }
  }

  /** Gives the room of the peeked frame back to the producer. */
  release(): void {
    const next = this.tail + frameBytes(this.bodyBytes)
    this.tail = next >= 2 * this.capacity ? next - 2 * this.capacity : next
    // Release: our reads of the frame are done before the producer can see the room.
    Atomics.store(this.control, TAIL, this.tail)
  }

  /** True once after frames were released for which the producer waits: its doorbell must be rung. */
  takeStarved(): boolean {
    if (Atomics.load(this.control, STARVED) === 0) return false
    Atomics.store(this.control, STARVED, 0)
    return true
  }
}
