/**
 * The reader's side of an SST's tail: which block may hold a key, where it lies, and whether a table's filter
 * excludes a prefix. It keeps the tail's bytes (which may be shared memory) and a few typed arrays. See
 * format.ts and docs/format.md ("Index" to "Footer").
 * Hot path: `findBlock` and `mayContain` run once per SST and key looked up.
 */
import { compareBytes } from '../../common/bytes.ts'
import { EngineError } from '../../common/errors.ts'
import { checksum } from '../../common/hash.ts'
import { sstKey } from '../sst-name.ts'
import type { SstMeta } from '../version/version.ts'
import { readU32 } from './block.ts'
import { probeFilter } from './filter.ts'
import {
  FILTER_RECORD_BYTES,
  FOOTER_END_BYTES,
  FOOTER_OFFSETS_BYTES,
  FORMAT_MAJOR,
  FORMAT_MINOR,
  INDEX_RECORD_BYTES,
  readText,
  readU64,
  SST_MAGIC,
  type SstProperties,
} from './format.ts'
import { readProperties } from './properties.ts'

export { prefixHash } from './filter.ts'

interface Footer {
  readonly indexAt: number
  readonly filtersAt: number
  readonly propertiesAt: number
  readonly footerAt: number
}

/** The parsed tail of one SST. Immutable; belongs to one thread, its bytes may be shared. */
export class SstTail {
  readonly blockCount: number
  /** What it costs to keep, the tail's bytes included. */
  readonly memoryBytes: number
  readonly sstId: string
  private readonly bytes: Uint8Array
  private readonly largest: Uint8Array
  private readonly propertiesAt: number
  private readonly offsets: Float64Array
  private readonly storedLengths: Uint32Array
  private readonly bodyLengths: Uint32Array
  private readonly entryCounts: Uint32Array
  private readonly tableIds: Uint32Array
  /** First key of block i is `bytes[keyStarts[i] .. keyStarts[i + 1]]`. */
  private readonly keyStarts: Uint32Array
  private readonly filterTables: Uint32Array
  private readonly filterStarts: Uint32Array
  private readonly filterLengths: Uint32Array

  private constructor(meta: SstMeta, tail: Uint8Array, footer: Footer) {
    this.sstId = meta.sstId
    this.bytes = tail
    this.largest = meta.largest
    this.propertiesAt = footer.propertiesAt
    const blockCount = boundedCount(
      meta,
      tail,
      footer.indexAt,
      footer.filtersAt,
      INDEX_RECORD_BYTES,
    )
    if (blockCount !== meta.blockCount) throw corruptTail(meta, 'block count')
    this.blockCount = blockCount
    this.offsets = new Float64Array(blockCount)
    this.storedLengths = new Uint32Array(blockCount)
    this.bodyLengths = new Uint32Array(blockCount)
    this.entryCounts = new Uint32Array(blockCount)
    this.tableIds = new Uint32Array(blockCount)
    this.keyStarts = new Uint32Array(blockCount + 1)
    this.readIndex(meta, footer)
    const start = footer.filtersAt
    const count = boundedCount(meta, tail, start, footer.propertiesAt, FILTER_RECORD_BYTES)
    this.filterTables = new Uint32Array(count)
    this.filterStarts = new Uint32Array(count)
    this.filterLengths = new Uint32Array(count)
    this.readFilters(meta, footer)
    this.memoryBytes = tail.length + 28 * blockCount + 12 * count + 512
  }

  /**
   * @param tail the object's bytes from `meta.tailOffset` to its end; kept, so they must not change.
   * @param databaseId when given, the one that the footer must name.
   * @throws CORRUPTION when bytes or identity are wrong; STORE_FORMAT_NEWER naming both versions
   */
  static parse(meta: SstMeta, tail: Uint8Array, databaseId?: string): SstTail {
    return new SstTail(meta, tail, readFooter(meta, tail, databaseId))
  }

  private readIndex(meta: SstMeta, footer: Footer): void {
    const tail = this.bytes
    const keysAt = footer.indexAt + 4 + this.blockCount * INDEX_RECORD_BYTES
    this.keyStarts[0] = keysAt
    let expected = 0
    for (let i = 0, at = footer.indexAt + 4; i < this.blockCount; i++, at += INDEX_RECORD_BYTES) {
      this.offsets[i] = readU64(tail, at)
      this.storedLengths[i] = readU32(tail, at + 8)
      this.bodyLengths[i] = readU32(tail, at + 12)
      this.entryCounts[i] = readU32(tail, at + 16)
      this.keyStarts[i + 1] = keysAt + readU32(tail, at + 20)
      if (this.offsets[i] !== expected) throw corruptTail(meta, 'block offsets')
      if (this.keyStarts[i + 1] > footer.filtersAt) throw corruptTail(meta, 'first keys')
      const key = this.keyStarts[i]
      this.tableIds[i] =
        ((tail[key] << 24) | (tail[key + 1] << 16) | (tail[key + 2] << 8) | tail[key + 3]) >>> 0
      expected += this.storedLengths[i]
    }
    if (expected !== meta.tailOffset) throw corruptTail(meta, 'tail offset')
  }

  private readFilters(meta: SstMeta, footer: Footer): void {
    const tail = this.bytes
    for (let i = 0, at = footer.filtersAt + 4; i < this.filterTables.length; i++) {
      this.filterTables[i] = readU32(tail, at)
      this.filterStarts[i] = footer.filtersAt + readU32(tail, at + 4)
      this.filterLengths[i] = readU32(tail, at + 8)
      if (this.filterStarts[i] + this.filterLengths[i] > footer.propertiesAt) {
        throw corruptTail(meta, 'filters')
      }
      at += FILTER_RECORD_BYTES
    }
  }

  /**
   * Index of the block that may hold the first entry at or after the full key (table id first) in
   * `key[start .. end]`; `blockCount` if there is none. When that block has no such entry, the first one of the next
   * block is it.
   */
  findBlock(key: Uint8Array, start: number, end: number): number {
    const largest = this.largest
    if (compareBytes(key, start, end, largest, 0, largest.length) > 0) return this.blockCount
    const bytes = this.bytes
    const keyStarts = this.keyStarts
    let low = 0
    let high = this.blockCount - 1
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      const at = keyStarts[middle]
      if (compareBytes(bytes, at, keyStarts[middle + 1], key, start, end) <= 0) low = middle
      else high = middle - 1
    }
    return low
  }

  /** Where the block begins in the object, in bytes. */
  blockOffset(index: number): number {
    return this.offsets[index]
  }

  /** Stored bytes, trailer included. */
  blockLength(index: number): number {
    return this.storedLengths[index]
  }

  /** Bytes of the decoded body. */
  blockBodyLength(index: number): number {
    return this.bodyLengths[index]
  }

  blockEntryCount(index: number): number {
    return this.entryCounts[index]
  }

  blockTableId(index: number): number {
    return this.tableIds[index]
  }

  /** A copy of the block's first full key. */
  blockFirstKey(index: number): Uint8Array {
    return this.bytes.slice(this.keyStarts[index], this.keyStarts[index + 1])
  }

  /**
   * False only when no entry of the table has this prefix. True for tables without filter.
   * @param hash `prefixHash` of vnode and the table's declared prefix.
   */
  mayContain(tableId: number, hash: number): boolean {
    const tables = this.filterTables
    let low = 0
    let high = tables.length - 1
    while (low < high) {
      const middle = (low + high) >>> 1
      if (tables[middle] < tableId) low = middle + 1
      else high = middle
    }
    if (high < 0 || tables[low] !== tableId) return true
    return probeFilter(this.bytes, this.filterStarts[low], this.filterLengths[low], hash)
  }

  /** Decodes the properties; for tools and compaction pickers, not for readers. */
  properties(): SstProperties {
    return readProperties(this.bytes, this.propertiesAt)
  }
}

/** Checks from the end inwards: checksum, magic, version, identity, offsets. */
function readFooter(meta: SstMeta, tail: Uint8Array, databaseId: string | undefined): Footer {
  const end = tail.length
  if (end < FOOTER_END_BYTES || end !== meta.sizeBytes - meta.tailOffset) {
    throw corruptTail(meta, 'length')
  }
  if (checksum(tail, 0, end - 4) !== readU32(tail, end - 4)) throw corruptTail(meta, 'checksum')
  for (let i = 0; i < SST_MAGIC.length; i++) {
    if (tail[end - 12 + i] !== SST_MAGIC[i]) throw corruptTail(meta, 'magic')
  }
  checkVersion(meta, tail[end - 16] | (tail[end - 15] << 8), tail[end - 14] | (tail[end - 13] << 8))
  const footerAt = end - readU32(tail, end - FOOTER_END_BYTES)
  if (footerAt < 0 || footerAt + FOOTER_OFFSETS_BYTES + 2 + FOOTER_END_BYTES > end) {
    throw corruptTail(meta, 'footer length')
  }
  checkIdentity(meta, tail, footerAt, databaseId)
  const indexAt = readU64(tail, footerAt) - meta.tailOffset
  const filtersAt = readU64(tail, footerAt + 8) - meta.tailOffset
  const propertiesAt = readU64(tail, footerAt + 16) - meta.tailOffset
  const ordered = indexAt === 0 && indexAt + 4 <= filtersAt && filtersAt + 4 <= propertiesAt
  if (!ordered || propertiesAt > footerAt) throw corruptTail(meta, 'section offsets')
  if (readU64(tail, footerAt + 24) !== meta.sizeBytes) throw corruptTail(meta, 'object size')
  return { indexAt, filtersAt, propertiesAt, footerAt }
}

function checkVersion(meta: SstMeta, major: number, minor: number): void {
  if (major <= FORMAT_MAJOR) return
  const found = `${major}.${minor}`
  const known = `${FORMAT_MAJOR}.${FORMAT_MINOR}`
  throw new EngineError(
    'STORE_FORMAT_NEWER',
    `SST ${meta.sstId} has format ${found}, this version reads up to ${known}`,
    { context: { object: sstKey(meta.sstId), found, known } },
  )
}

function checkIdentity(
  meta: SstMeta,
  tail: Uint8Array,
  footerAt: number,
  databaseId: string | undefined,
): void {
  const limit = tail.length - FOOTER_END_BYTES
  const databaseAt = footerAt + FOOTER_OFFSETS_BYTES
  const databaseEnd = databaseAt + 1 + tail[databaseAt]
  const sstEnd = databaseEnd + 1 + tail[databaseEnd]
  if (databaseEnd >= limit || sstEnd !== limit) throw corruptTail(meta, 'ids')
  const sstId = readText(tail, databaseEnd + 1, sstEnd)
  if (sstId !== meta.sstId) throw corruptTail(meta, `it is SST ${sstId}`)
  const owner = readText(tail, databaseAt + 1, databaseEnd)
  if (databaseId !== undefined && owner !== databaseId) {
    throw corruptTail(meta, `it belongs to database ${owner}`)
  }
}

/** The count at the head of a section, refused when its records would not fit into the section. */
function boundedCount(
  meta: SstMeta,
  tail: Uint8Array,
  start: number,
  end: number,
  recordBytes: number,
): number {
  const count = readU32(tail, start)
  if (start + 4 + count * recordBytes > end) throw corruptTail(meta, 'record count')
  return count
}

function corruptTail(meta: SstMeta, what: string): EngineError {
  return new EngineError('CORRUPTION', `the tail of SST ${meta.sstId} is damaged: ${what}`, {
    context: { object: sstKey(meta.sstId), offset: meta.tailOffset, what },
  })
}
