/**
 * The properties section of an SST's tail: what the SST says about itself to tools and compaction. Little-endian;
 * drawn in docs/format.md ("Properties").
 *
 * ```
 * properties = entries u64 | keys u64 | tombstones u64 | stale u64 | min epoch u64 | max epoch u64
 *            | creation epoch u64 | raw bytes u64
 *            | writer (length u32, UTF-8) | smallest (length u32, bytes) | largest (length u32, bytes)
 *            | t u32 | per table: id u32, prefix columns u32, entries u64, keys u64, tombstones u64, stale u64
 * ```
 */
import { readU32, writeU32 } from './block.ts'
import { readText, readU64, type SstProperties, type TableProperties, writeU64 } from './format.ts'

const COUNTERS_BYTES = 64
const TABLE_RECORD_BYTES = 40

/** The section as bytes. */
export function encodeProperties(properties: SstProperties): Uint8Array {
  const writer = new TextEncoder().encode(properties.writer)
  const strings = [writer, properties.smallest, properties.largest]
  const stringBytes = strings.reduce((sum, item) => sum + 4 + item.length, 0)
  const tables = properties.tables
  const target = new Uint8Array(
    COUNTERS_BYTES + stringBytes + 4 + tables.length * TABLE_RECORD_BYTES,
  )
  writeU64(target, 0, properties.entryCount)
  writeU64(target, 8, properties.keyCount)
  writeU64(target, 16, properties.tombstoneCount)
  writeU64(target, 24, properties.staleCount)
  writeU64(target, 32, properties.minEpoch)
  writeU64(target, 40, properties.maxEpoch)
  writeU64(target, 48, properties.creationEpoch)
  writeU64(target, 56, properties.rawBytes)
  let at = COUNTERS_BYTES
  for (const item of strings) {
    writeU32(target, at, item.length)
    target.set(item, at + 4)
    at += 4 + item.length
  }
  writeU32(target, at, tables.length)
  at += 4
  for (const table of tables) {
    writeTable(target, at, table)
    at += TABLE_RECORD_BYTES
  }
  return target
}

function writeTable(target: Uint8Array, at: number, table: TableProperties): void {
  writeU32(target, at, table.tableId)
  writeU32(target, at + 4, table.prefixColumns)
  writeU64(target, at + 8, table.entryCount)
  writeU64(target, at + 16, table.keyCount)
  writeU64(target, at + 24, table.tombstoneCount)
  writeU64(target, at + 32, table.staleCount)
}

/** Decodes `source[start ..]`; the caller has verified the tail's checksum. */
export function readProperties(source: Uint8Array, start: number): SstProperties {
  let at = start + COUNTERS_BYTES
  const strings: Uint8Array[] = []
  for (let i = 0; i < 3; i++) {
    const end = at + 4 + readU32(source, at)
    strings.push(source.slice(at + 4, end))
    at = end
  }
  const tables: TableProperties[] = []
  const tableCount = readU32(source, at)
  at += 4
  for (let i = 0; i < tableCount; i++, at += TABLE_RECORD_BYTES) {
    tables.push({
      tableId: readU32(source, at),
      prefixColumns: readU32(source, at + 4),
      entryCount: readU64(source, at + 8),
      keyCount: readU64(source, at + 16),
      tombstoneCount: readU64(source, at + 24),
      staleCount: readU64(source, at + 32),
    })
  }
  return {
    entryCount: readU64(source, start),
    keyCount: readU64(source, start + 8),
    tombstoneCount: readU64(source, start + 16),
    staleCount: readU64(source, start + 24),
    minEpoch: readU64(source, start + 32),
    maxEpoch: readU64(source, start + 40),
    creationEpoch: readU64(source, start + 48),
    rawBytes: readU64(source, start + 56),
    writer: readText(strings[0], 0, strings[0].length),
    smallest: strings[1],
    largest: strings[2],
    tables,
  }
}
