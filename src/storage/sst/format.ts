/**
 * The tail of an SST: index, filters, properties and footer, as bytes. Shared by the writer (tail.ts)
 * and the reader (sst-reader.ts); drawn in docs/format.md ("Index" to "Footer").
 *
 * ```
 * object     = block × n | tail
 * tail       = index | filters | properties | footer
 * index      = n u32 | per block: offset u64, stored bytes u32, body bytes u32, entries u32, key end u32 | first keys
 * filters    = f u32 | per table: table id u32, offset u32, bytes u32, distinct prefixes u32 | bit arrays
 * footer     = index offset u64 | filters offset u64 | properties offset u64 | object bytes u64
 *            | database id (length u8, UTF-8) | SST id (length u8, UTF-8) | footer bytes u32
 *            | format major u16 | format minor u16 | magic 8 bytes | crc32 u32 over the tail before it
 * ```
 * The last 16 bytes keep their place in every later format, so that an old reader can name the newer version.
 */
import { readU32, writeU32 } from './block.ts'

export const FORMAT_MAJOR = 1
export const FORMAT_MINOR = 0
/** `tussSST` and a byte that text transfers damage. */
export const SST_MAGIC = Uint8Array.of(0x74, 0x75, 0x73, 0x73, 0x53, 0x53, 0x54, 0x8a)

/** Footer bytes u32, major u16, minor u16, magic, checksum. */
export const FOOTER_END_BYTES = 20
/** Four offsets before the ids. */
export const FOOTER_OFFSETS_BYTES = 32
/** Offset, stored bytes, body bytes, entries, key end. */
export const INDEX_RECORD_BYTES = 24
/** Table id, offset, bytes, distinct prefixes. */
export const FILTER_RECORD_BYTES = 16

/** What an SST says about itself; for tools and for compaction, no reader needs it. */
export interface SstProperties {
  readonly entryCount: number
  /** Distinct user keys. */
  readonly keyCount: number
  readonly tombstoneCount: number
  /** Entries that are not the newest of their user key here. */
  readonly staleCount: number
  readonly minEpoch: number
  readonly maxEpoch: number
  /** Newest epoch that the job which wrote it knew of. */
  readonly creationEpoch: number
  /** Sum of key and value bytes, uncompressed. */
  readonly rawBytes: number
  /** Generation or claim token of who wrote it. */
  readonly writer: string
  readonly smallest: Uint8Array
  readonly largest: Uint8Array
  readonly tables: readonly TableProperties[]
}

export interface TableProperties {
  readonly tableId: number
  readonly prefixColumns: number
  readonly entryCount: number
  readonly keyCount: number
  readonly tombstoneCount: number
  readonly staleCount: number
}

/** A u64 LE below 2^53. */
export function readU64(source: Uint8Array, at: number): number {
  return readU32(source, at + 4) * 2 ** 32 + readU32(source, at)
}

export function writeU64(target: Uint8Array, at: number, value: number): void {
  writeU32(target, at, value)
  writeU32(target, at + 4, Math.floor(value / 2 ** 32))
}

/** Short text out of a tail; TextDecoder refuses shared memory, so the bytes are copied. */
export function readText(source: Uint8Array, start: number, end: number): string {
  return new TextDecoder().decode(source.slice(start, end))
}
