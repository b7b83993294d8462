/**
 * Writes the tail of an SST: index, filters, properties, footer. Once per object. The reader is sst-reader.ts; layout in
 * format.ts and docs/format.md.
 */
import { assert } from '../../common/assert.ts'
import { checksum } from '../../common/hash.ts'
import { writeU32 } from './block.ts'
import {
  FILTER_RECORD_BYTES,
  FOOTER_END_BYTES,
  FOOTER_OFFSETS_BYTES,
  FORMAT_MAJOR,
  FORMAT_MINOR,
  INDEX_RECORD_BYTES,
  SST_MAGIC,
  writeU64,
} from './format.ts'

export interface IndexRecord {
  readonly offset: number
  readonly storedBytes: number
  readonly bodyBytes: number
  readonly entryCount: number
  /** Full key. */
  readonly firstKey: Uint8Array
}

export interface TableFilter {
  readonly tableId: number
  readonly prefixCount: number
  readonly bits: Uint8Array
}

export interface TailParts {
  /** Where the tail begins in the object: after the last block. */
  readonly tailOffset: number
  readonly index: readonly IndexRecord[]
  /** Ascending by table. */
  readonly filters: readonly TableFilter[]
  readonly properties: Uint8Array
  readonly databaseId: string
  readonly sstId: string
}

/** The whole tail, its checksum included. */
export function encodeTail(parts: TailParts): Uint8Array {
  const index = encodeIndex(parts.index)
  const filters = encodeFilters(parts.filters)
  const propertiesAt = index.length + filters.length
  const ids = encodeIds(parts)
  const footerAt = propertiesAt + parts.properties.length
  const footerBytes = FOOTER_OFFSETS_BYTES + ids.length + FOOTER_END_BYTES
  const tail = new Uint8Array(footerAt + footerBytes)
  tail.set(index)
  tail.set(filters, index.length)
  tail.set(parts.properties, propertiesAt)
  writeU64(tail, footerAt, parts.tailOffset)
  writeU64(tail, footerAt + 8, parts.tailOffset + index.length)
  writeU64(tail, footerAt + 16, parts.tailOffset + propertiesAt)
  writeU64(tail, footerAt + 24, parts.tailOffset + tail.length)
  tail.set(ids, footerAt + FOOTER_OFFSETS_BYTES)
  writeEnd(tail, footerBytes)
  return tail
}

function encodeIndex(records: readonly IndexRecord[]): Uint8Array {
  const keysBytes = records.reduce((total, record) => total + record.firstKey.length, 0)
  const section = new Uint8Array(4 + records.length * INDEX_RECORD_BYTES + keysBytes)
  const keysAt = section.length - keysBytes
  writeU32(section, 0, records.length)
  let at = 4
  let keyEnd = 0
  for (const record of records) {
    section.set(record.firstKey, keysAt + keyEnd)
    keyEnd += record.firstKey.length
    writeU64(section, at, record.offset)
    writeU32(section, at + 8, record.storedBytes)
    writeU32(section, at + 12, record.bodyBytes)
    writeU32(section, at + 16, record.entryCount)
    writeU32(section, at + 20, keyEnd)
    at += INDEX_RECORD_BYTES
  }
  return section
}

function encodeFilters(filters: readonly TableFilter[]): Uint8Array {
  const headBytes = 4 + filters.length * FILTER_RECORD_BYTES
  const bitsBytes = filters.reduce((total, filter) => total + filter.bits.length, 0)
  const section = new Uint8Array(headBytes + bitsBytes)
  writeU32(section, 0, filters.length)
  let at = 4
  let bitsAt = headBytes
  for (const filter of filters) {
    writeU32(section, at, filter.tableId)
    writeU32(section, at + 4, bitsAt)
    writeU32(section, at + 8, filter.bits.length)
    writeU32(section, at + 12, filter.prefixCount)
    section.set(filter.bits, bitsAt)
    at += FILTER_RECORD_BYTES
    bitsAt += filter.bits.length
  }
  return section
}

function encodeIds(parts: TailParts): Uint8Array {
  const encoder = new TextEncoder()
  const databaseId = encoder.encode(parts.databaseId)
  const sstId = encoder.encode(parts.sstId)
  assert(databaseId.length < 256 && sstId.length < 256, 'ids are at most 255 bytes')
  const ids = new Uint8Array(2 + databaseId.length + sstId.length)
  ids[0] = databaseId.length
  ids.set(databaseId, 1)
  ids[1 + databaseId.length] = sstId.length
  ids.set(sstId, 2 + databaseId.length)
  return ids
}

/** Footer length, version, magic, checksum. */
function writeEnd(tail: Uint8Array, footerBytes: number): void {
  const end = tail.length
  writeU32(tail, end - FOOTER_END_BYTES, footerBytes)
  tail[end - 16] = FORMAT_MAJOR
  tail[end - 15] = FORMAT_MAJOR >>> 8
  tail[end - 14] = FORMAT_MINOR
  tail[end - 13] = FORMAT_MINOR >>> 8
  tail.set(SST_MAGIC, end - 12)
  writeU32(tail, end - 4, checksum(tail, 0, end - 4))
}
