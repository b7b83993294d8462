/**
 * The mutable writes of one epoch to one table by one actor: an append-only log of records (layout:
 * `SealedRun`) in slabs of the worker's arena. A write is an append and nothing else; the reader beside
 * it indexes when somebody reads. Sealing gives the log a name; its bytes stay where they are.
 * Hot path: one `append` per row written.
 */
import type { Epoch } from '../common/ids.ts'
import type { Arena, Slab } from './arena.ts'
import { copyBytes } from './byte-list.ts'
import { DELETED, RECORD_HEADER_BYTES, RunReader, recordBytes } from './run-reader.ts'
import type { RunSegment, SealedRun, TableOptions } from './state-store.ts'

interface Segment {
  readonly slab: Slab
  readonly start: number
  end: number
}

export class MemTable {
  readonly options: TableOptions
  /** Sees every record up to the last `sync()`. */
  readonly reader: RunReader
  recordCount = 0

  private readonly arena: Arena
  private readonly segments: Segment[] = []
  private slab: Slab | null = null
  private bytes: Uint8Array = new Uint8Array(0)
  private words: Uint32Array = new Uint32Array(0)
  private position = 0
  private limit = 0

  constructor(options: TableOptions, arena: Arena) {
    this.options = options
    this.arena = arena
    this.reader = new RunReader(options.prefixColumns, Number.POSITIVE_INFINITY)
  }

  put(
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
  ): void {
    const keyBytes = keyEnd - keyStart
    const valueBytes = valueEnd - valueStart
    const size = (RECORD_HEADER_BYTES + keyBytes + valueBytes + 3) & ~3
    if (this.position + size > this.limit) this.makeRoom(size)
    const at = this.position
    this.words[at >>> 2] = keyBytes
    this.words[(at >>> 2) + 1] = valueBytes
    const keyAt = at + RECORD_HEADER_BYTES
    copyBytes(key, keyStart, keyEnd, this.bytes, keyAt)
    copyBytes(value, valueStart, valueEnd, this.bytes, keyAt + keyBytes)
    this.position = at + size
    this.recordCount++
  }

  delete(key: Uint8Array, keyStart: number, keyEnd: number): void {
    const keyBytes = keyEnd - keyStart
    const size = recordBytes(keyBytes, DELETED)
    if (this.position + size > this.limit) this.makeRoom(size)
    const at = this.position
    this.words[at >>> 2] = keyBytes
    this.words[(at >>> 2) + 1] = DELETED
    copyBytes(key, keyStart, keyEnd, this.bytes, at + RECORD_HEADER_BYTES)
    this.position = at + size
    this.recordCount++
  }

  /** Lets the reader see all that was written. */
  sync(): void {
    if (this.slab !== null) this.reader.extend(this.position)
  }

  /** No more writes: names the log. The caller frees it with `free()` when nobody reads it any more. */
  seal(epoch: Epoch, workerIndex: number, runId: number): SealedRun {
    this.closeSegment()
    if (this.slab !== null) this.arena.offerRest(this.slab, this.position)
    this.slab = null
    this.limit = 0
    this.reader.epoch = epoch
    const segments: RunSegment[] = []
    let byteCount = 0
    for (const segment of this.segments) {
      const length = segment.end - segment.start
      byteCount += length
      if (length === 0) continue
      const { slab, start } = segment
      segments.push({ buffer: slab.buffer, offset: slab.offset + start, length })
    }
    return {
      tableId: this.options.tableId,
      group: this.options.group,
      prefixColumns: this.options.prefixColumns,
      epoch,
      workerIndex,
      runId,
      entryCount: this.recordCount,
      byteCount,
      segments,
    }
  }

  /** Gives the slabs back. Nothing may read the log after it. */
  free(): void {
    for (const segment of this.segments) this.arena.release(segment.slab)
    this.segments.length = 0
  }

  private closeSegment(): void {
    if (this.slab === null) return
    this.segments[this.segments.length - 1].end = this.position
    this.reader.extend(this.position)
  }

  private makeRoom(size: number): void {
    this.closeSegment()
    // A record with a buffer of its own goes between: the slab it interrupts is filled up after it.
    if (this.slab !== null && size > this.slab.bytes.length) {
      this.arena.offerRest(this.slab, this.position)
    }
    const { slab, from } = this.arena.allocate(size)
    this.openSegment(slab, from)
  }

  private openSegment(slab: Slab, start: number): void {
    this.slab = slab
    this.bytes = slab.bytes
    this.words = slab.words
    this.position = start
    this.limit = slab.bytes.length
    this.segments.push({ slab, start, end: start })
    this.reader.addSegment(slab.bytes, slab.words, start, start)
  }
}
