/**
 * A worker's memory for memtables: slabs within one shared buffer, counted by the runs that lie in them.
 * Reserved large and touched lazily; freed slabs are used again first, so that the resident size follows
 * what is held. Owned by one worker thread; other threads only read what a `SealedRun` names.
 */
import { assert } from '../common/assert.ts'

export const SLAB_BYTES = 64 * 1024
/** A rest smaller than this is not worth handing to the next memtable. */
const REST_BYTES_MIN = 512

/** Memory for records. `users` counts the segments that lie in it; at zero it is free. */
export interface Slab {
  readonly buffer: SharedArrayBuffer
  /** Where it begins in `buffer`. */
  readonly offset: number
  readonly bytes: Uint8Array
  readonly words: Uint32Array
  /** Outside the arena's buffer: dropped, not used again, when free. */
  readonly overflow: boolean
  users: number
}

/** A slab and where the free part of it begins. */
export interface SlabRest {
  readonly slab: Slab
  readonly from: number
}

export class Arena {
  private readonly buffer: SharedArrayBuffer
  private readonly slabBytes: number
  private readonly slabCount: number
  /** Slabs below it have been touched. */
  private touched = 0
  private readonly free: Slab[] = []
  private readonly rests: SlabRest[] = []
  /** Bytes of all slabs in use. */
  heldBytes = 0
  /** Part of `heldBytes` that did not fit the reserved buffer, or is a record with a buffer of its own. */
  overflowBytes = 0

  constructor(buffer: SharedArrayBuffer, slabBytes: number = SLAB_BYTES) {
    assert(slabBytes % 8 === 0, 'slabs are whole words')
    this.buffer = buffer
    this.slabBytes = slabBytes
    this.slabCount = Math.floor(buffer.byteLength / slabBytes)
  }

  /** Memory for at least `bytesMin` bytes, with one user; larger than a slab: a buffer of its own. */
  allocate(bytesMin: number): SlabRest {
    if (bytesMin > this.slabBytes) return { slab: this.overflowSlab(bytesMin), from: 0 }
    const rest = this.rests.pop()
    if (rest !== undefined) {
      if (rest.slab.bytes.length - rest.from >= bytesMin) {
        rest.slab.users++
        return rest
      }
      this.rests.push(rest)
    }
    return { slab: this.wholeSlab(), from: 0 }
  }

  /** Another segment begins in a slab that is in use. */
  retain(slab: Slab): void {
    assert(slab.users > 0, 'only a slab in use is retained')
    slab.users++
  }

  /** A segment of this slab is no longer needed. */
  release(slab: Slab): void {
    assert(slab.users > 0, 'a slab is released once per user')
    if (--slab.users > 0) return
    const rest = this.rests.findIndex((candidate) => candidate.slab === slab)
    if (rest >= 0) this.rests.splice(rest, 1)
    this.heldBytes -= slab.bytes.length
    if (slab.overflow) this.overflowBytes -= slab.bytes.length
    else this.free.push(slab)
  }

  /** The bytes from `from` on are unused: the next memtable may begin there while the slab lives. */
  offerRest(slab: Slab, from: number): void {
    if (slab.bytes.length - from >= REST_BYTES_MIN && slab.users > 0) {
      this.rests.push({ slab, from })
    }
  }

  private wholeSlab(): Slab {
    const slab = this.free.pop() ?? this.untouchedSlab() ?? this.overflowSlab(this.slabBytes)
    if (!slab.overflow) {
      slab.users = 1
      this.heldBytes += slab.bytes.length
    }
    return slab
  }

  private untouchedSlab(): Slab | null {
    if (this.touched === this.slabCount) return null
    return makeSlab(this.buffer, this.touched++ * this.slabBytes, this.slabBytes, false)
  }

  private overflowSlab(bytesMin: number): Slab {
    const length = (bytesMin + 7) & ~7
    const slab = makeSlab(new SharedArrayBuffer(length), 0, length, true)
    slab.users = 1
    this.heldBytes += length
    this.overflowBytes += length
    return slab
  }
}

function makeSlab(
  buffer: SharedArrayBuffer,
  offset: number,
  length: number,
  overflow: boolean,
): Slab {
  return {
    buffer,
    offset,
    bytes: new Uint8Array(buffer, offset, length),
    words: new Uint32Array(buffer, offset, length >>> 2),
    overflow,
    users: 0,
  }
}
