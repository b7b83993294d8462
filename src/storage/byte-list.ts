/**
 * A growable `ByteList`: results of batch reads are appended to it and it is used again for the next
 * batch, so that a read allocates nothing once its buffers have grown.
 * Hot path: once per row read.
 */
import type { ByteList } from './state-store.ts'

/** Below this a byte loop beats the call of `set` and its view (measured on Node 20). */
const LOOP_BYTES_MAX = 48

/** Copies `source[start .. end]` to `target[at ..]`. */
export function copyBytes(
  source: Uint8Array,
  start: number,
  end: number,
  target: Uint8Array,
  at: number,
): void {
  if (end - start <= LOOP_BYTES_MAX) {
    for (let i = start, j = at; i < end; i++, j++) target[j] = source[i]
  } else if (start === 0 && end === source.length) {
    target.set(source, at)
  } else {
    target.set(source.subarray(start, end), at)
  }
}

export class ByteListBuilder implements ByteList {
  count = 0
  offsets = new Uint32Array(64)
  data = new Uint8Array(1024)

  /** Empties the list and keeps its buffers. */
  clear(): void {
    this.count = 0
    this.offsets[0] = 0
  }

  /** Forgets all items from `count` on. */
  truncate(count: number): void {
    this.count = count
  }

  /** Bytes of all items. */
  get byteLength(): number {
    return this.offsets[this.count]
  }

  append(source: Uint8Array, start: number, end: number): void {
    const at = this.offsets[this.count]
    const next = at + (end - start)
    if (next > this.data.length) this.growData(next)
    if (this.count + 2 > this.offsets.length) this.growOffsets()
    copyBytes(source, start, end, this.data, at)
    this.offsets[++this.count] = next
  }

  private growData(needed: number): void {
    const grown = new Uint8Array(Math.max(needed, this.data.length * 2))
    grown.set(this.data.subarray(0, this.offsets[this.count]))
    this.data = grown
  }

  private growOffsets(): void {
    const grown = new Uint32Array(this.offsets.length * 2)
    grown.set(this.offsets)
    this.offsets = grown
  }
}
