/**
 * Cursors over the layers of one table: a memtable or sealed run, or a sorted run of SSTs. Cursors never
 * block: an advance that misses a block says WAIT and is repeated later. table-merge.ts merges them.
 * Hot path: one advance per entry scanned.
 */
import { compareBytes, readEpochDescending } from '../common/bytes.ts'
import type { TableId } from '../common/ids.ts'
import type { BlockSource } from './block-source.ts'
import { copyBytes } from './byte-list.ts'
import { EPOCH_BYTES, TABLE_ID_BYTES } from './key.ts'
import {
  DELETED,
  ENTRY_OFFSET,
  ENTRY_SEGMENT,
  ENTRY_WORDS,
  EntryList,
  RECORD_HEADER_BYTES,
  type RunReader,
} from './run-reader.ts'
import { BlockCursor } from './sst/block.ts'
import type { SstTail } from './sst/sst-reader.ts'
import { findSst, type SortedRun, writeTableId } from './table-layers.ts'

export const READY = 0
export const END = 1
export const WAIT = 2
export type Step = typeof READY | typeof END | typeof WAIT

/** What reads have done so far; see storage.md 6. */
export interface ReadStats {
  filterProbes: number
  filterNegatives: number
  /** SSTs in whose data blocks a read looked. */
  sstsRead: number
  /** Blocks looked into, from wherever they came. */
  blockReads: number
}

export function newReadStats(): ReadStats {
  return { filterProbes: 0, filterNegatives: 0, sstsRead: 0, blockReads: 0 }
}

/** One input of a merge. After READY: `key[keyStart .. keyEnd]` is the table key of the entry. */
export interface TableCursor {
  readonly fromSst: boolean
  key: Uint8Array
  keyStart: number
  keyEnd: number
  body: Uint8Array
  valueStart: number
  valueEnd: number
  isDelete: boolean
  ended: boolean
  advance(): Step
  /** After `endRead` and before the next use in a new poll: finds its block again. */
  reacquire(): boolean
  /** True when it will look into this block again. */
  needs(sstId: string, blockIndex: number): boolean
}

/** Entries of a memtable or sealed run, as they were when it was opened. */
export class MemoryCursor implements TableCursor {
  readonly fromSst = false
  key: Uint8Array = EMPTY
  keyStart = 0
  keyEnd = 0
  body: Uint8Array = EMPTY
  valueStart = 0
  valueEnd = 0
  isDelete = false
  ended = true
  private run: RunReader | null = null
  private readonly entries = new EntryList()
  private readonly segments = new EntryList()
  private readonly offsets = new EntryList()
  private at = 0

  /** Entries below a prefix; false: there are none. */
  openPrefix(
    run: RunReader,
    prefix: Uint8Array,
    start: number,
    end: number,
    prefixEnd: number,
  ): boolean {
    run.entriesBelow(prefix, start, end, prefixEnd, this.entries)
    return this.begin(run)
  }

  openRange(run: RunReader, from: Uint8Array, to: Uint8Array): boolean {
    run.entriesBetween(from, to, this.entries)
    return this.begin(run)
  }

  /** Copies where the records are: later writes move entries, never records. */
  private begin(run: RunReader): boolean {
    const { entries, segments, offsets } = this
    segments.count = 0
    offsets.count = 0
    for (let i = 0; i < entries.count; i++) {
      const at = entries.items[i] * ENTRY_WORDS
      segments.add(run.entries[at + ENTRY_SEGMENT])
      offsets.add(run.entries[at + ENTRY_OFFSET])
    }
    this.run = run
    this.at = 0
    this.ended = entries.count === 0
    return entries.count > 0
  }

  advance(): Step {
    const { run, at } = this
    if (run === null || at === this.offsets.count) {
      this.ended = true
      return END
    }
    this.at = at + 1
    const segment = this.segments.items[at]
    const offset = this.offsets.items[at]
    const words = run.segmentWords[segment]
    const valueBytes = words[(offset >>> 2) + 1]
    this.key = this.body = run.segmentBytes[segment]
    this.keyStart = offset + RECORD_HEADER_BYTES
    this.keyEnd = this.keyStart + words[offset >>> 2]
    this.isDelete = valueBytes === DELETED
    this.valueStart = this.keyEnd
    this.valueEnd = this.isDelete ? this.keyEnd : this.keyEnd + valueBytes
    return READY
  }

  reacquire(): boolean {
    return true
  }

  needs(): boolean {
    return false
  }
}

const EMPTY = new Uint8Array(0)

/** Where an SST cursor goes on: next SST, a seek or the first entry of a block, or it stands on an entry. */
const OPEN_SST = 0
const SEEK = 1
const FIRST = 2
const AT = 3
const DONE = 4

/** What all SST cursors of one table's reads share. */
export interface SstScope {
  readonly tableId: TableId
  readonly source: BlockSource
  readonly stats: ReadStats
}

/** A key range, as table keys; `to` is exclusive. */
export interface CursorRange {
  readonly from: Uint8Array
  readonly fromStart: number
  readonly fromEnd: number
  readonly to: Uint8Array
  readonly toEnd: number
  /** Versions above it are not seen. */
  readonly epoch: number
  /** `prefixHash` if the filter applies, else -1. */
  readonly filterHash: number
  /** Blocks to ask for ahead when one is missing. */
  readonly readAhead: number
}

/** All visible versions of one sorted run within a range, in versioned-key order. */
export class SstCursor implements TableCursor {
  readonly fromSst = true
  key: Uint8Array = EMPTY
  readonly keyStart = 0
  keyEnd = 0
  body: Uint8Array = EMPTY
  valueStart = 0
  valueEnd = 0
  isDelete = false
  ended = true

  private readonly scope: SstScope
  private readonly cursor = new BlockCursor()
  private run: SortedRun = []
  private sstIndex = 0
  private blockIndex = 0
  /** From this block on, entries may lie beyond the range. */
  private boundBlock = 0
  private tail: SstTail | null = null
  private mode = DONE
  private counted = false
  /** Full keys: where to seek, and the end of the range. */
  private seekKey = new Uint8Array(64)
  private seekEnd = 0
  private toKey = new Uint8Array(64)
  private toEnd = 0
  private from: Uint8Array = EMPTY
  private fromStart = 0
  private fromEnd = 0
  private checkFrom = false
  private epoch = 0
  private filterHash = -1
  private readAhead = 0

  constructor(scope: SstScope) {
    this.scope = scope
  }

  /** False: no SST of the run reaches into the range. `range.from` must stay unchanged while it is used. */
  open(run: SortedRun, range: CursorRange): boolean {
    const fromLength = range.fromEnd - range.fromStart
    this.seekKey = sized(this.seekKey, fromLength + TABLE_ID_BYTES)
    const prefix = writeTableId(this.seekKey, this.scope.tableId)
    copyBytes(range.from, range.fromStart, range.fromEnd, this.seekKey, prefix)
    this.seekEnd = prefix + fromLength
    this.toKey = sized(this.toKey, range.toEnd + TABLE_ID_BYTES)
    writeTableId(this.toKey, this.scope.tableId)
    copyBytes(range.to, 0, range.toEnd, this.toKey, prefix)
    this.toEnd = prefix + range.toEnd
    this.run = run
    this.sstIndex = findSst(run, this.seekKey, this.seekEnd)
    this.mode = DONE
    this.ended = true
    if (this.sstIndex === run.length || this.isBeyond(this.sstIndex)) return false
    this.from = range.from
    this.fromStart = range.fromStart
    this.fromEnd = range.fromEnd
    this.checkFrom = true
    this.epoch = range.epoch
    this.filterHash = range.filterHash
    this.readAhead = range.readAhead
    this.mode = OPEN_SST
    this.ended = false
    return true
  }

  private isBeyond(sstIndex: number): boolean {
    const smallest = this.run[sstIndex].smallest
    return compareBytes(smallest, 0, smallest.length - EPOCH_BYTES, this.toKey, 0, this.toEnd) >= 0
  }

  advance(): Step {
    if (this.mode === AT && !this.cursor.next()) this.nextBlock()
    for (;;) {
      if (this.mode !== AT) {
        const step = this.openBlock()
        if (step !== READY) return step
      }
      const step = this.accept()
      if (step !== WAIT) return step
      if (!this.cursor.next()) this.nextBlock()
    }
  }

  private nextBlock(): void {
    this.blockIndex++
    this.mode = FIRST
  }

  /** READY: the entry is seen; END: beyond the range; WAIT: skip it. */
  private accept(): Step {
    const cursor = this.cursor
    const key = cursor.key
    const keyEnd = cursor.keyLength - EPOCH_BYTES
    if (
      this.blockIndex >= this.boundBlock &&
      compareBytes(key, 0, keyEnd, this.toKey, TABLE_ID_BYTES, this.toEnd) >= 0
    ) {
      return this.finish()
    }
    if (this.checkFrom) {
      // Versioned keys end in an epoch, so that a seek can stop at a user key just before the range.
      if (compareBytes(key, 0, keyEnd, this.from, this.fromStart, this.fromEnd) < 0) return WAIT
      this.checkFrom = false
    }
    if (this.epoch !== Number.POSITIVE_INFINITY && readEpochDescending(key, keyEnd) > this.epoch) {
      return WAIT
    }
    this.key = key
    this.keyEnd = keyEnd
    this.body = cursor.body
    this.valueStart = cursor.valueStart
    this.valueEnd = cursor.valueEnd
    this.isDelete = cursor.isDelete
    return READY
  }

  private finish(): Step {
    this.mode = DONE
    this.ended = true
    return END
  }

  /** Stands on the next entry at all, seen or not. */
  private openBlock(): Step {
    const { source, tableId, stats } = this.scope
    for (;;) {
      if (this.mode === DONE) return END
      if (this.mode === OPEN_SST) {
        const step = this.openSst()
        if (step !== READY) return step
      }
      const tail = this.tail!
      if (this.blockIndex >= tail.blockCount) {
        this.nextSst()
        continue
      }
      const blockTable = tail.blockTableId(this.blockIndex)
      if (blockTable > tableId) return this.finish()
      if (blockTable < tableId) {
        this.nextBlock()
        continue
      }
      const sst = this.run[this.sstIndex]
      const block = source.block(sst, tail, this.blockIndex)
      if (block === null) {
        const end = Math.min(this.boundBlock, tail.blockCount - 1, this.blockIndex + this.readAhead)
        for (let i = this.blockIndex + 1; i <= end; i++) source.prefetch(sst, tail, i)
        return WAIT
      }
      stats.blockReads++
      if (!this.counted) {
        this.counted = true
        stats.sstsRead++
      }
      const found =
        this.mode === SEEK
          ? this.cursor.seek(block, this.seekKey, TABLE_ID_BYTES, this.seekEnd)
          : this.cursor.first(block)
      if (found) {
        this.mode = AT
        return READY
      }
      this.nextBlock()
    }
  }

  private nextSst(): void {
    this.sstIndex++
    this.mode = OPEN_SST
    this.tail = null
  }

  /** READY: the next SST that may hold keys of the range is open at its first block of the range. */
  private openSst(): Step {
    const { source, stats, tableId } = this.scope
    for (;;) {
      if (this.sstIndex === this.run.length || this.isBeyond(this.sstIndex)) return this.finish()
      const tail = source.tail(this.run[this.sstIndex])
      if (tail === null) return WAIT
      if (this.filterHash >= 0) {
        stats.filterProbes++
        if (!tail.mayContain(tableId, this.filterHash)) {
          stats.filterNegatives++
          this.sstIndex++
          continue
        }
      }
      this.tail = tail
      this.blockIndex = tail.findBlock(this.seekKey, 0, this.seekEnd)
      this.boundBlock = tail.findBlock(this.toKey, 0, this.toEnd)
      this.mode = SEEK
      this.counted = false
      return READY
    }
  }

  reacquire(): boolean {
    if (this.mode !== AT) return true
    const block = this.scope.source.block(this.run[this.sstIndex], this.tail!, this.blockIndex)
    if (block === null) return false
    // `seek` writes the cursor's key while it compares: the target must be a copy.
    const length = this.cursor.keyLength
    this.seekKey = sized(this.seekKey, length + TABLE_ID_BYTES)
    copyBytes(this.cursor.key, 0, length, this.seekKey, TABLE_ID_BYTES)
    this.seekEnd = TABLE_ID_BYTES + length
    this.cursor.seek(block, this.seekKey, TABLE_ID_BYTES, this.seekEnd)
    this.accept()
    return true
  }

  needs(sstId: string, blockIndex: number): boolean {
    if (this.mode === DONE || this.sstIndex === this.run.length) return false
    if (this.run[this.sstIndex].sstId !== sstId) return false
    return blockIndex < 0 || this.tail === null || blockIndex >= this.blockIndex
  }
}

function sized(buffer: Uint8Array<ArrayBuffer>, bytes: number): Uint8Array<ArrayBuffer> {
  if (buffer.length >= bytes) return buffer
  const larger = new Uint8Array(bytes * 2)
  larger.set(buffer)
  return larger
}
