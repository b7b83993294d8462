/**
 * The reads of one table, for operators on worker threads and queries on the control thread alike:
 * own memtable, sealed runs, then the version's SSTs from newest to oldest. Nothing blocks: a poll goes as far
 * as the blocks in memory allow, asks for all that it misses, and says false.
 * Hot path: one probe per key and layer; one cursor step per row.
 */

import { assert } from '../common/assert.ts'
import { compareBytes, readEpochDescending, writeEpochDescending } from '../common/bytes.ts'
import { epoch as epochOf } from '../common/ids.ts'
import { type BlockSource, ReadHold } from './block-source.ts'
import { ByteListBuilder, copyBytes } from './byte-list.ts'
import { EPOCH_BYTES, TABLE_ID_BYTES } from './key.ts'
import {
  DELETED,
  ENTRY_OFFSET,
  ENTRY_SEGMENT,
  ENTRY_WORDS,
  prefixEndOf,
  RECORD_HEADER_BYTES,
  type RunReader,
  runKeyHash,
} from './run-reader.ts'
import { type Block, BlockCursor } from './sst/block.ts'
import { prefixHash, type SstTail } from './sst/sst-reader.ts'
import type {
  ByteList,
  GetManyResult,
  ScanManyResult,
  TableOptions,
  TableScan,
} from './state-store.ts'
import {
  END,
  MemoryCursor,
  READY,
  type ReadStats,
  SstCursor,
  type SstScope,
  type Step,
  WAIT,
} from './table-cursors.ts'
import {
  findSst,
  type SortedRun,
  type TableLayers,
  type Tier,
  writeTableId,
} from './table-layers.ts'
import { TableMerge } from './table-merge.ts'
import type { SstMeta } from './version/version.ts'

/** What a read sees from its beginning to its end. */
export interface TableView {
  readonly layers: TableLayers
  /** Newest first; an unsealed memtable is the first of them. */
  readonly runs: readonly RunReader[]
  /** Versions above it are not seen; Infinity: all are. */
  readonly epoch: number
  /** The read is over. Called once. */
  release(): void
}

/** Blocks used in one poll before their pins are dropped between two keys. */
const PINS_MAX = 128
const SCAN_BATCH_ROWS = 1024
const SCAN_BATCH_BYTES = 256 * 1024
/** Blocks asked for at once when a scan misses one: 1 MiB of adjacent blocks is one GET. */
const SCAN_READ_AHEAD = 16
const PREFIX_READ_AHEAD = 64

export interface TableReaderInit {
  readonly options: TableOptions
  readonly source: BlockSource
  readonly stats: ReadStats
  /** Takes what the table is now; every view is released by its read. */
  readonly acquire: () => TableView
}

/** Reads of one table through one handle. Results are used again once they are complete. */
export class TableReader {
  private readonly init: TableReaderInit
  private lastGet: GetManyRead | null = null
  private lastScan: ScanManyRead | null = null

  constructor(init: TableReaderInit) {
    this.init = init
  }

  getMany(keys: ByteList): GetManyResult {
    const last = this.lastGet
    const read = last?.isOver ? last : new GetManyRead(this.init)
    this.lastGet = read
    read.begin(keys)
    return read
  }

  scanMany(prefixes: ByteList, limit: number = Number.POSITIVE_INFINITY): ScanManyResult {
    const last = this.lastScan
    const read = last?.isOver ? last : new ScanManyRead(this.init)
    this.lastScan = read
    read.begin(prefixes, limit)
    return read
  }

  scan(from: Uint8Array, to: Uint8Array): TableScan {
    return new RangeScan(this.init, from, to)
  }

  /** Gives up the last batch of reads of either kind, if it is not complete. */
  giveUp(): void {
    this.lastGet?.close()
    this.lastScan?.close()
  }
}

/** The frame of every read: view, hold and the poll around the work. */
abstract class TableRead {
  protected readonly init: TableReaderInit
  protected view: TableView | null = null
  protected readonly hold: ReadHold
  /** Blocks taken since `beginRead`. */
  protected pins = 0

  constructor(init: TableReaderInit, reuses: boolean) {
    this.init = init
    this.hold = new ReadHold(reuses)
  }

  /** No view is held: complete, failed or given up. */
  get isOver(): boolean {
    return this.view === null
  }

  /** Goes on; true when there is something to show. Called between `beginRead` and `endRead`. */
  protected abstract work(): boolean
  /** Forgets all progress: the next poll begins anew. */
  protected abstract restart(): void

  protected run(): boolean {
    if (this.hold.pending > 0) return false
    if (this.view === null) {
      this.restart()
      this.view = this.init.acquire()
    }
    const source = this.init.source
    this.pins = 0
    let begun = false
    let completed = false
    let failed = true
    try {
      source.beginRead(this.hold)
      begun = true
      completed = this.work()
      failed = false
    } finally {
      if (begun) source.endRead()
      if (failed) this.fail()
    }
    return completed
  }

  /** Something could not be had: the next poll begins anew. */
  protected fail(): void {
    this.close()
  }

  /** Ends the read, complete or not. */
  close(): void {
    if (this.view === null) return
    this.init.source.letGo(this.hold)
    this.hold.failure = null
    this.view.release()
    this.view = null
  }

  /** Between two keys, whose results are copied: lets blocks be evicted again. */
  protected limitPins(): boolean {
    if (this.pins < PINS_MAX) return false
    this.init.source.endRead()
    this.init.source.beginRead(this.hold)
    this.pins = 0
    return true
  }
}

const NO_KEYS: ByteList = { count: 0, offsets: new Uint32Array(1), data: new Uint8Array(0) }
const FOUND = 1
const ABSENT = 0
const MISSING = 2
const UNRESOLVED = -2
const NOT_FOUND = -1

class GetManyRead extends TableRead implements GetManyResult {
  found = new Uint8Array(0)
  values: ByteList = NO_KEYS
  private done = false
  private fresh = true
  private keys: ByteList = NO_KEYS
  /** Values in the order in which they were found, and in the order of the keys when that differs. */
  private readonly arrived = new ByteListBuilder()
  private readonly ordered = new ByteListBuilder()
  /** Place of key i in `arrived`. */
  private places = new Int32Array(0)
  private inOrder = true
  /** Keys not decided yet, and the tier in which each goes on. */
  private open = new Uint32Array(0)
  private openCount = 0
  private nextTier = new Uint16Array(0)
  /** Full key of the key at work: table id | key | read epoch. */
  private fullKey = new Uint8Array(64)
  private fullEnd = 0
  private readonly cursor = new BlockCursor()
  /** The newest version found so far in a tier of several runs. */
  private bestEpoch = -1
  private bestBody: Uint8Array = new Uint8Array(0)
  private bestStart = 0
  private bestEnd = 0
  private bestIsDelete = false
  /** Where the last key was found to belong, valid within one poll. */
  private lastSst: SstMeta | null = null
  private lastTail: SstTail | null = null
  private lastBlockIndex = -1
  private lastBlock: Block | null = null

  constructor(init: TableReaderInit) {
    super(init, true)
  }

  begin(keys: ByteList): void {
    this.keys = keys
    this.done = false
    this.view = this.init.acquire()
    this.restart()
  }

  protected restart(): void {
    const count = this.keys.count
    if (this.found.length < count) {
      this.found = new Uint8Array(count * 2)
      this.places = new Int32Array(count * 2)
      this.open = new Uint32Array(count * 2)
      this.nextTier = new Uint16Array(count * 2)
    }
    this.arrived.clear()
    this.inOrder = true
    this.openCount = 0
    this.fresh = true
  }

  poll(): boolean {
    if (this.done) return true
    if (!this.run()) return false
    this.settle()
    this.close()
    this.done = true
    return true
  }

  protected work(): boolean {
    this.forgetLast()
    if (this.fresh) {
      this.readRuns(this.view!)
      this.fresh = false
    }
    const tiers = this.view!.layers.tiers
    for (let tier = 0; tier < tiers.length && this.openCount > 0; tier++) {
      this.readTier(tiers[tier], tier)
    }
    let missing = 0
    for (let i = 0; i < this.openCount; i++) {
      const key = this.open[i]
      if (this.nextTier[key] === tiers.length) this.places[key] = NOT_FOUND
      else this.open[missing++] = key
    }
    this.openCount = missing
    return missing === 0
  }

  private forgetLast(): void {
    this.lastSst = null
    this.lastTail = null
    this.lastBlock = null
    this.lastBlockIndex = -1
  }

  /** Memtable and sealed runs: never anything to wait for. */
  private readRuns(view: TableView): void {
    const { count, offsets, data } = this.keys
    const runs = view.runs
    for (let i = 0; i < runs.length; i++) runs[i].index()
    const decided = view.layers.tiers.length === 0
    for (let i = 0; i < count; i++) {
      const start = offsets[i]
      const end = offsets[i + 1]
      const hash = runs.length > 0 ? runKeyHash(data, start, end) : 0
      let run = 0
      let entry = -1
      for (; run < runs.length && entry < 0; run++) entry = runs[run].find(hash, data, start, end)
      this.found[i] = 0
      this.places[i] = NOT_FOUND
      if (entry >= 0) this.takeRecord(i, runs[run - 1], entry)
      else if (!decided) {
        this.places[i] = UNRESOLVED
        this.nextTier[i] = 0
        this.open[this.openCount++] = i
        this.inOrder = false
      }
      // Keeps item i at place i as long as nothing is open.
      if (this.inOrder && this.arrived.count === i) this.arrived.append(data, 0, 0)
    }
  }

  private takeRecord(key: number, run: RunReader, entry: number): void {
    const segment = run.entries[entry * ENTRY_WORDS + ENTRY_SEGMENT]
    const offset = run.entries[entry * ENTRY_WORDS + ENTRY_OFFSET]
    const words = run.segmentWords[segment]
    const valueBytes = words[(offset >>> 2) + 1]
    if (valueBytes === DELETED) return
    const start = offset + RECORD_HEADER_BYTES + words[offset >>> 2]
    this.take(key, run.segmentBytes[segment], start, start + valueBytes)
  }

  private take(key: number, body: Uint8Array, start: number, end: number): void {
    this.found[key] = 1
    this.places[key] = this.arrived.count
    this.arrived.append(body, start, end)
  }

  /** All open keys that have come to this tier. */
  private readTier(tier: Tier, index: number): void {
    let kept = 0
    for (let i = 0; i < this.openCount; i++) {
      const key = this.open[i]
      if (this.nextTier[key] !== index) {
        this.open[kept++] = key
        continue
      }
      const result = this.readKey(tier, key)
      if (result === FOUND) {
        this.places[key] = NOT_FOUND
        if (!this.bestIsDelete) this.take(key, this.bestBody, this.bestStart, this.bestEnd)
      } else {
        this.open[kept++] = key
        if (result === ABSENT) this.nextTier[key] = index + 1
      }
      if (this.limitPins()) this.forgetLast()
    }
    this.openCount = kept
  }

  private readKey(tier: Tier, key: number): number {
    this.spellKey(key)
    this.bestEpoch = -1
    let missing = false
    const filterHash = this.filterHashOf()
    for (let i = 0; i < tier.runs.length; i++) {
      if (!this.readRun(tier.runs[i], filterHash)) missing = true
    }
    if (missing) return MISSING
    return this.bestEpoch >= 0 ? FOUND : ABSENT
  }

  private spellKey(key: number): void {
    const { offsets, data } = this.keys
    const start = offsets[key]
    const end = offsets[key + 1]
    const length = TABLE_ID_BYTES + (end - start) + EPOCH_BYTES
    if (this.fullKey.length < length) this.fullKey = new Uint8Array(length * 2)
    writeTableId(this.fullKey, this.init.options.tableId)
    copyBytes(data, start, end, this.fullKey, TABLE_ID_BYTES)
    this.fullEnd = length
    writeReadEpoch(this.fullKey, length - EPOCH_BYTES, this.view!.epoch)
  }

  private filterHashOf(): number {
    const columns = this.init.options.prefixColumns
    if (columns === 0) return -1
    const end = prefixEndOf(this.fullKey, TABLE_ID_BYTES, this.fullEnd - EPOCH_BYTES, columns)
    return end < 0 ? -1 : prefixHash(this.fullKey, TABLE_ID_BYTES, end)
  }

  /** Looks for the key in one sorted run; false: something is missing. */
  private readRun(run: SortedRun, filterHash: number): boolean {
    const keyEnd = this.fullEnd - EPOCH_BYTES
    const index = run.length === 1 ? 0 : findSst(run, this.fullKey, this.fullEnd)
    if (index === run.length) return true
    const sst = run[index]
    const { smallest } = sst
    const smallestEnd = Math.min(smallest.length, keyEnd)
    if (compareBytes(this.fullKey, 0, keyEnd, smallest, 0, smallestEnd) < 0) return true
    const tail = this.tailOf(sst)
    if (tail === null) return false
    const { stats, options } = this.init
    if (filterHash >= 0) {
      stats.filterProbes++
      if (!tail.mayContain(options.tableId, filterHash)) {
        stats.filterNegatives++
        return true
      }
    }
    const blockIndex = tail.findBlock(this.fullKey, 0, this.fullEnd)
    if (blockIndex === tail.blockCount) return true
    const block = this.blockOf(sst, tail, blockIndex)
    if (block === null) {
      const last = this.lastBlockOf(tail)
      for (let i = blockIndex + 1; i <= last; i++) this.init.source.prefetch(sst, tail, i)
      return false
    }
    stats.sstsRead++
    if (
      block.tableId === options.tableId &&
      this.cursor.seek(block, this.fullKey, TABLE_ID_BYTES, this.fullEnd)
    ) {
      this.takeVersion()
      return true
    }
    return this.readNextBlock(sst, tail, blockIndex)
  }

  /** The key may be the first of the following block, or its versions go on there. */
  private readNextBlock(sst: SstMeta, tail: SstTail, blockIndex: number): boolean {
    const next = blockIndex + 1
    if (this.lastBlockOf(tail) < next) return true
    const block = this.blockOf(sst, tail, next)
    if (block === null) return false
    if (this.cursor.first(block)) this.takeVersion()
    return true
  }

  /** The last block that may hold a version of the key: of this table. */
  private lastBlockOf(tail: SstTail): number {
    const epochAt = this.fullEnd - EPOCH_BYTES
    writeReadEpoch(this.fullKey, epochAt, 0)
    const block = tail.findBlock(this.fullKey, 0, this.fullEnd)
    writeReadEpoch(this.fullKey, epochAt, this.view!.epoch)
    // A key above all others: the last version of all is below the oldest possible one.
    const last = block === tail.blockCount ? block - 1 : block
    return tail.blockTableId(last) === this.init.options.tableId ? last : -1
  }

  /** The cursor stands on the newest entry that may be seen of this key, or on another key. */
  private takeVersion(): void {
    const cursor = this.cursor
    const userEnd = cursor.keyLength - EPOCH_BYTES
    const keyEnd = this.fullEnd - EPOCH_BYTES
    const differs = compareBytes(cursor.key, 0, userEnd, this.fullKey, TABLE_ID_BYTES, keyEnd)
    if (differs !== 0) return
    const epoch = readEpochDescending(cursor.key, userEnd)
    if (epoch <= this.bestEpoch) return
    this.bestEpoch = epoch
    this.bestBody = cursor.body
    this.bestStart = cursor.valueStart
    this.bestEnd = cursor.valueEnd
    this.bestIsDelete = cursor.isDelete
  }

  private tailOf(sst: SstMeta): SstTail | null {
    if (sst === this.lastSst) return this.lastTail
    const tail = this.init.source.tail(sst)
    if (tail === null) return null
    this.lastSst = sst
    this.lastTail = tail
    this.lastBlockIndex = -1
    this.lastBlock = null
    return tail
  }

  private blockOf(sst: SstMeta, tail: SstTail, blockIndex: number): Block | null {
    if (blockIndex === this.lastBlockIndex) return this.lastBlock
    const block = this.init.source.block(sst, tail, blockIndex)
    if (block === null) return null
    this.pins++
    this.init.stats.blockReads++
    this.lastBlockIndex = blockIndex
    this.lastBlock = block
    return block
  }

  /** Shows the values in the order of the keys. */
  private settle(): void {
    if (this.inOrder) {
      this.values = this.arrived
      return
    }
    const { arrived, ordered } = this
    ordered.clear()
    for (let i = 0; i < this.keys.count; i++) {
      const place = this.places[i]
      if (place < 0) ordered.append(arrived.data, 0, 0)
      else ordered.append(arrived.data, arrived.offsets[place], arrived.offsets[place + 1])
    }
    this.values = ordered
  }
}

/** The epoch part of a key to seek: Infinity comes before every version. */
function writeReadEpoch(target: Uint8Array, at: number, epoch: number): void {
  if (epoch === Number.POSITIVE_INFINITY) target.fill(0, at, at + EPOCH_BYTES)
  else writeEpochDescending(target, at, epochOf(epoch))
}

/** First byte string after all that begin with `prefix[start .. end]`; returns its length, 0 = none. */
function writeSuccessor(
  prefix: Uint8Array,
  start: number,
  end: number,
  target: Uint8Array,
): number {
  let length = end - start
  while (length > 0 && prefix[start + length - 1] === 0xff) length--
  if (length === 0) return 0
  copyBytes(prefix, start, start + length, target, 0)
  target[length - 1]++
  return length
}

/** Beyond every vnode. */
const TABLE_END = 0xff

interface MutableRange {
  from: Uint8Array
  fromStart: number
  fromEnd: number
  to: Uint8Array
  toEnd: number
  epoch: number
  filterHash: number
  readAhead: number
}

function newRange(): MutableRange {
  const none = new Uint8Array(0)
  return {
    from: none,
    fromStart: 0,
    fromEnd: 0,
    to: none,
    toEnd: 0,
    epoch: 0,
    filterHash: -1,
    readAhead: 0,
  }
}

class ScanManyRead extends TableRead implements ScanManyResult {
  rowStarts = new Uint32Array(1)
  keys: ByteList = NO_KEYS
  values: ByteList = NO_KEYS
  private done = false
  private prefixes: ByteList = NO_KEYS
  private limit = 0
  /** Rows as they were found, and in the order of the prefixes when that differs. */
  private readonly arrived = { keys: new ByteListBuilder(), values: new ByteListBuilder() }
  private readonly ordered = { keys: new ByteListBuilder(), values: new ByteListBuilder() }
  /** First row of prefix i in `arrived`, and how many there are. */
  private firstRows = new Uint32Array(0)
  private rowCounts = new Uint32Array(0)
  private open = new Uint32Array(0)
  private openCount = 0
  private inOrder = true
  private readonly merge = new TableMerge()
  private readonly memoryCursors: MemoryCursor[] = []
  private readonly sstCursors: SstCursor[] = []
  private readonly range = newRange()
  private successor = new Uint8Array(64)
  private readonly scope: SstScope

  constructor(init: TableReaderInit) {
    super(init, true)
    const { options, source, stats } = init
    this.scope = { tableId: options.tableId, source, stats }
  }

  begin(prefixes: ByteList, limit: number): void {
    this.prefixes = prefixes
    this.limit = limit
    this.done = false
    this.view = this.init.acquire()
    this.restart()
  }

  protected restart(): void {
    const count = this.prefixes.count
    if (this.open.length < count) {
      this.open = new Uint32Array(count * 2)
      this.firstRows = new Uint32Array(count * 2)
      this.rowCounts = new Uint32Array(count * 2)
      this.rowStarts = new Uint32Array(count * 2 + 1)
    }
    for (let i = 0; i < count; i++) this.open[i] = i
    this.openCount = count
    this.inOrder = true
    this.arrived.keys.clear()
    this.arrived.values.clear()
  }

  poll(): boolean {
    if (this.done) return true
    if (!this.run()) return false
    this.settle()
    this.close()
    this.done = true
    return true
  }

  protected work(): boolean {
    const { keys, values } = this.arrived
    let kept = 0
    for (let i = 0; i < this.openCount; i++) {
      const prefix = this.open[i]
      const first = keys.count
      if (this.readPrefix(prefix)) {
        this.firstRows[prefix] = first
        this.rowCounts[prefix] = keys.count - first
      } else {
        keys.truncate(first)
        values.truncate(first)
        this.open[kept++] = prefix
        this.inOrder = false
      }
      this.limitPins()
    }
    this.openCount = kept
    return kept === 0
  }

  /** All rows of one prefix, or false with everything asked for that is known to be missing. */
  private readPrefix(index: number): boolean {
    const { offsets, data } = this.prefixes
    const start = offsets[index]
    const end = offsets[index + 1]
    const { runs, layers, epoch } = this.view!
    const columns = this.init.options.prefixColumns
    const prefixEnd = columns === 0 ? -1 : prefixEndOf(data, start, end, columns)
    this.merge.clear()
    for (let i = 0; i < runs.length; i++) {
      const cursor = (this.memoryCursors[i] ??= new MemoryCursor())
      if (cursor.openPrefix(runs[i], data, start, end, prefixEnd)) this.merge.add(cursor)
    }
    if (layers.runs.length > 0) this.openSsts(layers, data, start, end, prefixEnd, epoch)
    if (this.merge.start() === WAIT) return false
    const { keys } = this.arrived
    const step = this.merge.fill(this.arrived, keys.count + this.limit, Number.POSITIVE_INFINITY)
    return step !== WAIT
  }

  private openSsts(
    layers: TableLayers,
    data: Uint8Array,
    start: number,
    end: number,
    prefixEnd: number,
    epoch: number,
  ): void {
    if (this.successor.length < end - start + 1) this.successor = new Uint8Array((end - start) * 2)
    const range = this.range
    range.from = data
    range.fromStart = start
    range.fromEnd = end
    range.to = this.successor
    range.toEnd = writeSuccessor(data, start, end, this.successor)
    if (range.toEnd === 0) {
      this.successor[0] = TABLE_END
      range.toEnd = 1
    }
    range.epoch = epoch
    range.filterHash = prefixEnd < 0 ? -1 : prefixHash(data, start, prefixEnd)
    range.readAhead = this.limit === Number.POSITIVE_INFINITY ? PREFIX_READ_AHEAD : 0
    for (let i = 0; i < layers.runs.length; i++) {
      const cursor = (this.sstCursors[i] ??= new SstCursor(this.scope))
      if (cursor.open(layers.runs[i], range)) this.merge.add(cursor)
    }
    this.pins += layers.runs.length
  }

  private settle(): void {
    const count = this.prefixes.count
    const { arrived, ordered } = this
    this.rowStarts[0] = 0
    for (let i = 0; i < count; i++) this.rowStarts[i + 1] = this.rowStarts[i] + this.rowCounts[i]
    const shown = this.inOrder ? arrived : ordered
    if (!this.inOrder) {
      ordered.keys.clear()
      ordered.values.clear()
      for (let i = 0; i < count; i++) this.copyRows(this.firstRows[i], this.rowCounts[i])
    }
    this.keys = shown.keys
    this.values = shown.values
  }

  private copyRows(first: number, count: number): void {
    const { arrived, ordered } = this
    for (let row = first; row < first + count; row++) {
      ordered.keys.append(
        arrived.keys.data,
        arrived.keys.offsets[row],
        arrived.keys.offsets[row + 1],
      )
      const { data, offsets } = arrived.values
      ordered.values.append(data, offsets[row], offsets[row + 1])
    }
  }
}

/** A range in batches. It sees the state as of its beginning, however long it takes. */
class RangeScan extends TableRead implements TableScan {
  readonly keys = new ByteListBuilder()
  readonly values = new ByteListBuilder()
  private readonly from: Uint8Array
  private readonly to: Uint8Array
  private readonly merge = new TableMerge()
  private step: Step = READY
  /** The batch at hand waits for a block. */
  private filling = false

  constructor(init: TableReaderInit, from: Uint8Array, to: Uint8Array) {
    super(init, false)
    this.from = from.slice()
    this.to = to.slice()
    this.view = init.acquire()
    // Now, not at the first poll: later writes of the caller are not seen.
    this.open(this.view)
  }

  /** A scan that failed keeps its view and goes on where it stood, or is closed. */
  protected override fail(): void {
    this.init.source.letGo(this.hold)
  }

  protected restart(): void {
    assert(false, 'a scan has its view until it is over')
  }

  poll(): boolean {
    if (this.isOver) {
      this.clear()
      return true
    }
    if (!this.run()) return false
    if (this.step === END) this.close()
    else if (this.hold.wants.length > 0) {
      this.init.source.letGo(this.hold, (sst, block) => this.merge.needs(sst, block))
    }
    return true
  }

  private clear(): void {
    this.keys.clear()
    this.values.clear()
  }

  protected work(): boolean {
    if (!this.filling) {
      this.clear()
      this.filling = true
    }
    if (!this.merge.reacquire()) return false
    if (this.merge.start() === WAIT) return false
    this.step = this.merge.fill(this, SCAN_BATCH_ROWS, SCAN_BATCH_BYTES)
    if (this.step === WAIT) return false
    this.filling = false
    return true
  }

  private open(view: TableView): void {
    const { options, source, stats } = this.init
    const { runs, layers, epoch } = view
    for (const run of runs) {
      const cursor = new MemoryCursor()
      if (cursor.openRange(run, this.from, this.to)) this.merge.add(cursor)
    }
    const range = newRange()
    range.from = this.from
    range.fromEnd = this.from.length
    range.to = this.to
    range.toEnd = this.to.length
    range.epoch = epoch
    range.readAhead = SCAN_READ_AHEAD
    for (const run of layers.runs) {
      const cursor = new SstCursor({ tableId: options.tableId, source, stats })
      if (cursor.open(run, range)) this.merge.add(cursor)
    }
  }
}
