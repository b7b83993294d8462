/**
 * Entries in key order → one SST object in shared memory, with the metadata that the version keeps of it. It
 * drops nothing: what to write is decided before (jobs.ts). Layout: format.ts and docs/format.md.
 * Hot path: `add` runs once per entry that a checkpoint or a compaction writes.
 */
import { assert } from '../../common/assert.ts'
import { epoch, type TableId, tableId } from '../../common/ids.ts'
import { EPOCH_BYTES, skipColumns, TABLE_ID_BYTES, VNODE_BYTES } from '../key.ts'
import type { Group, SstMeta } from '../version/version.ts'
import { Block, BlockCursor } from './block.ts'
import { BlockBuilder } from './block-builder.ts'
import { FILTER_BITS_PER_KEY, fillFilter, filterBytes, prefixHash } from './filter.ts'
import { INDEX_RECORD_BYTES, type SstProperties, type TableProperties } from './format.ts'
import { encodeProperties } from './properties.ts'
import { encodeTail, type IndexRecord, type TableFilter } from './tail.ts'

export interface SstBuilderOptions {
  readonly databaseId: string
  readonly sstId: string
  readonly writer: string
  readonly group: Group
  readonly creationEpoch: number
  /** Body size of a block in bytes; only a single larger entry exceeds it. */
  readonly blockBytes: number
  /** Expected size of the object in bytes; the buffer grows beyond it at the price of a copy. */
  readonly expectedBytes: number
}

/** A finished object: `body[0 .. length]`. */
export interface BuiltSst {
  readonly meta: SstMeta
  readonly body: ArrayBuffer
  readonly length: number
}

export class SstBuilder {
  entryCount: number
  private readonly options: SstBuilderOptions
  private readonly block: BlockBuilder
  private body: ArrayBuffer
  private bytes: Uint8Array
  private length: number
  private readonly index: IndexRecord[]
  private readonly filters: TableFilter[]
  private readonly tables: TableProperties[]
  private firstKey: Uint8Array
  private tableId: number
  private prefixColumns: number
  /** Vnode and prefix of the entry added last are its first `prefixBytes` bytes. */
  private prefixBytes: number
  private lastKeyLength: number
  private hashes: Uint32Array
  private hashCount: number
  private tableEntries: number
  private tableTombstones: number
  private tableStale: number
  private minEpoch: number
  private maxEpoch: number
  private rawBytes: number

  constructor(options: SstBuilderOptions) {
    this.entryCount = 0
    this.options = options
    this.block = new BlockBuilder(options.blockBytes)
    this.body = new ArrayBuffer(options.expectedBytes)
    this.bytes = new Uint8Array(this.body)
    this.length = 0
    this.index = []
    this.filters = []
    this.tables = []
    this.firstKey = new Uint8Array(0)
    this.tableId = 0
    this.prefixColumns = 0
    this.prefixBytes = 0
    this.lastKeyLength = 0
    this.hashes = new Uint32Array(1024)
    this.hashCount = 0
    this.tableEntries = 0
    this.tableTombstones = 0
    this.tableStale = 0
    this.minEpoch = Number.MAX_SAFE_INTEGER
    this.maxEpoch = 0
    this.rawBytes = 0
  }

  /** Bytes that the object would have about now, its tail included. */
  get estimatedBytes(): number {
    return (
      this.length +
      this.block.length +
      (this.hashCount * FILTER_BITS_PER_KEY) / 8 +
      this.index.length * (INDEX_RECORD_BYTES + this.firstKey.length) +
      256
    )
  }

  get hasEntries(): boolean {
    return this.entryCount + this.block.entryCount > 0
  }

  /** Entries that follow are of this table; tables come in ascending order. */
  startTable(table: number, prefixColumns: number): void {
    this.finishTable()
    this.tableId = table
    this.prefixColumns = prefixColumns
    this.prefixBytes = 1
    this.lastKeyLength = 0
    this.block.startTable(table)
  }

  /**
   * Appends an entry. The caller (sst-writer.ts) has checked the order.
   * @param key the versioned key, vnode | user key | inverted epoch, is `key[0 .. keyLength]`, the same bytes as `keyView`.
   * @param shared leading bytes in common with the entry before it in this table; 0 for the first.
   */
  add(
    key: Uint8Array,
    keyView: DataView,
    keyLength: number,
    shared: number,
    entryEpoch: number,
    value: DataView,
    valueStart: number,
    valueEnd: number,
    isDelete: boolean,
  ): void {
    const block = this.block
    if (block.isFullFor(keyLength, valueEnd - valueStart)) this.finishBlock()
    if (block.entryCount === 0) this.firstKey = fullKey(this.tableId, key, keyLength)
    block.add(keyView, keyLength, shared, value, valueStart, valueEnd, isDelete)
    if (entryEpoch < this.minEpoch) this.minEpoch = entryEpoch
    if (entryEpoch > this.maxEpoch) this.maxEpoch = entryEpoch
    this.rawBytes += keyLength + valueEnd - valueStart
    this.tableEntries++
    if (isDelete) this.tableTombstones++
    if (keyLength === this.lastKeyLength && shared >= keyLength - EPOCH_BYTES) this.tableStale++
    this.lastKeyLength = keyLength
    if (this.prefixColumns > 0 && shared < this.prefixBytes) this.addPrefix(key, keyLength)
  }

  /** Notes a new prefix. Equal prefixes are neighbours, so each is noted once. */
  private addPrefix(key: Uint8Array, keyLength: number): void {
    const end = skipColumns(key, VNODE_BYTES, keyLength - EPOCH_BYTES, this.prefixColumns)
    this.prefixBytes = end
    if (this.hashCount === this.hashes.length) {
      const grown = new Uint32Array(this.hashCount * 2)
      grown.set(this.hashes)
      this.hashes = grown
    }
    this.hashes[this.hashCount++] = prefixHash(key, 0, end)
  }

  private finishBlock(): void {
    const block = this.block
    const bodyBytes = block.finish()
    this.index.push({
      offset: this.length,
      storedBytes: block.length,
      bodyBytes,
      entryCount: block.entryCount,
      firstKey: this.firstKey,
    })
    this.append(block.bytes.subarray(block.start, block.end))
    this.entryCount += block.entryCount
    block.reset(this.length)
  }

  private finishTable(): void {
    if (this.tableEntries === 0) return
    if (this.block.entryCount > 0) this.finishBlock()
    this.tables.push({
      tableId: this.tableId,
      prefixColumns: this.prefixColumns,
      entryCount: this.tableEntries,
      keyCount: this.tableEntries - this.tableStale,
      tombstoneCount: this.tableTombstones,
      staleCount: this.tableStale,
    })
    if (this.prefixColumns > 0) {
      const bits = new Uint8Array(filterBytes(this.hashCount))
      fillFilter(bits, 0, bits.length, this.hashes, this.hashCount)
      this.filters.push({ tableId: this.tableId, prefixCount: this.hashCount, bits })
    }
    this.hashCount = 0
    this.tableEntries = 0
    this.tableTombstones = 0
    this.tableStale = 0
  }

  private append(part: Uint8Array): void {
    this.ensure(part.length)
    this.bytes.set(part, this.length)
    this.length += part.length
  }

  private ensure(more: number): void {
    if (this.length + more <= this.bytes.length) return
    const body = new ArrayBuffer((this.length + more) * 2)
    const bytes = new Uint8Array(body)
    bytes.set(this.bytes.subarray(0, this.length))
    this.body = body
    this.bytes = bytes
  }

  /** The finished object. There must be entries: an SST without rows is never made. */
  finish(): BuiltSst {
    this.finishTable()
    assert(this.entryCount > 0, 'an SST has rows')
    const meta = this.makeMeta()
    const tailOffset = this.length
    const properties = encodeProperties(this.makeProperties(meta))
    const { databaseId, sstId } = this.options
    this.append(
      encodeTail({
        tailOffset,
        index: this.index,
        filters: this.filters,
        properties,
        databaseId,
        sstId,
      }),
    )
    return {
      meta: { ...meta, sizeBytes: this.length, tailOffset },
      body: this.body,
      length: this.length,
    }
  }

  private makeMeta(): SstMeta {
    return {
      sstId: this.options.sstId,
      group: this.options.group,
      sizeBytes: 0,
      tailOffset: 0,
      blockCount: this.index.length,
      smallest: this.index[0].firstKey,
      largest: this.largestKey(),
      tableIds: this.tables.map((table): TableId => tableId(table.tableId)),
      entryCount: this.entryCount,
      tombstoneCount: sum(this.tables, 'tombstoneCount'),
      minEpoch: epoch(this.minEpoch),
      maxEpoch: epoch(this.maxEpoch),
    }
  }

  /**
   * Read back from the last block: cheaper than to copy every key that might be the last. The table is the block's: another
   * one may have begun since.
   */
  private largestKey(): Uint8Array {
    const { offset, bodyBytes } = this.index[this.index.length - 1]
    const block = new Block(this.bytes.subarray(offset, offset + bodyBytes))
    const cursor = new BlockCursor()
    for (let more = cursor.first(block); more; ) more = cursor.next()
    return fullKey(block.tableId, cursor.key, cursor.keyLength)
  }

  private makeProperties(meta: SstMeta): SstProperties {
    return {
      entryCount: meta.entryCount,
      keyCount: sum(this.tables, 'keyCount'),
      tombstoneCount: meta.tombstoneCount,
      staleCount: sum(this.tables, 'staleCount'),
      minEpoch: this.minEpoch,
      maxEpoch: this.maxEpoch,
      creationEpoch: this.options.creationEpoch,
      rawBytes: this.rawBytes,
      writer: this.options.writer,
      smallest: meta.smallest,
      largest: meta.largest,
      tables: this.tables,
    }
  }
}

function fullKey(table: number, key: Uint8Array, keyLength: number): Uint8Array {
  const full = new Uint8Array(TABLE_ID_BYTES + keyLength)
  new DataView(full.buffer).setUint32(0, table)
  full.set(key.subarray(0, keyLength), TABLE_ID_BYTES)
  return full
}

function sum(
  tables: readonly TableProperties[],
  field: 'keyCount' | 'tombstoneCount' | 'staleCount',
): number {
  return tables.reduce((total, table) => total + table[field], 0)
}
