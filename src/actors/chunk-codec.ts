/**
 * Chunk ↔ bytes, for rings, DML batches and change messages (never persisted). Encoding goes straight into the
 * target; decoding makes views of the source and copies nothing but wide columns.
 * Hot path: once per frame, with block copies or one tight loop per column.
 *
 * ```
 * chunk (8-byte aligned) = rowCount u32 | columnCount u16 | flags u16 (1 ops, 2 visible) | [ops] | [visible] | columns
 * ops, visible = one byte a row, padded to 8
 * column = type u8 | form u8 | nulls u8 | 0 u8 | scale u32 | dataBytes u32 | 0 u32 | [nulls: a byte a row] | values
 *   NARROW values = f64 a row
 *   TEXT values   = offsets u32, rowCount + 1, from 0 | data
 *   WIDE values   = offsets u32, rowCount + 1, from 0 | data: two's complement LE, as short as it can be
 * ```
 * Little-endian, as the machine is (all supported ones are). Every part is padded to 8 bytes.
 */
import { assert } from '../common/assert.ts'
import { Chunk } from '../stream/chunk.ts'
import { Column, NARROW, TEXT, WIDE } from '../stream/column.ts'
import type { RowList } from '../stream/column-builder.ts'
import type { DataType } from '../stream/schema.ts'

const CHUNK_HEADER_BYTES = 8
const COLUMN_HEADER_BYTES = 16
const FLAG_OPS = 1
const FLAG_VISIBLE = 2

/** Codes of types in the bytes: positions in this list. */
const TYPES: readonly DataType[] = [
  'boolean',
  'smallint',
  'integer',
  'bigint',
  'real',
  'double',
  'numeric',
  'varchar',
  'bytea',
  'date',
  'time',
  'timestamp',
  'timestamptz',
  'interval',
]
const TYPE_CODES: ReadonlyMap<DataType, number> = new Map(TYPES.map((type, code) => [type, code]))

function align8(bytes: number): number {
  return (bytes + 7) & ~7
}

/** Exact length of what `encodeChunk` writes for the whole chunk. A multiple of 8. */
export function encodedBytes(chunk: Chunk): number {
  return encodedRowsBytes(chunk, null, 0, chunk.rowCount)
}

/** Exact length of what `encodeRows` writes for the same rows. A multiple of 8. */
export function encodedRowsBytes(
  chunk: Chunk,
  rows: RowList | null,
  from: number,
  to: number,
): number {
  const rowCount = to - from
  let total = CHUNK_HEADER_BYTES
  if (chunk.ops !== null) total += align8(rowCount)
  if (chunk.visible !== null && rows === null) total += align8(rowCount)
  for (const column of chunk.columns) {
    total += COLUMN_HEADER_BYTES
    if (column.nulls !== null) total += align8(rowCount)
    if (column.form === NARROW) total += rowCount * 8
    else total += align8((rowCount + 1) * 4) + align8(dataBytes(column, rows, from, to))
  }
  return total
}

function dataBytes(column: Column, rows: RowList | null, from: number, to: number): number {
  let total = 0
  if (column.form === TEXT) {
    const offsets = column.offsets
    if (rows === null) return offsets[to] - offsets[from]
    for (let i = from; i < to; i++) total += offsets[rows[i] + 1] - offsets[rows[i]]
    return total
  }
  for (let i = from; i < to; i++) total += wideBytes(column.wide[rows === null ? i : rows[i]])
  return total
}

/** Encodes all rows; hidden ones stay hidden. `offset` and the target's own offset are multiples of 8. @returns the end. */
export function encodeChunk(chunk: Chunk, target: Uint8Array, offset: number): number {
  return encodeRows(chunk, null, 0, chunk.rowCount, target, offset)
}

/**
 * Encodes rows `rows[from .. to]`, or with `rows` null the rows `from .. to`. With a row list the visibility is left out: the list names rows that count.
 * @param target has `encodedRowsBytes` of room from `offset`; both it and `offset` are 8-byte aligned.
 * @returns where the encoding ends.
 */
export function encodeRows(
  chunk: Chunk,
  rows: RowList | null,
  from: number,
  to: number,
  target: Uint8Array,
  offset: number,
): number {
  assert(((target.byteOffset + offset) & 7) === 0, 'a chunk is encoded 8-byte aligned')
  const rowCount = to - from
  const buffer = target.buffer
  const visible = rows === null ? chunk.visible : null
  const head = new Uint32Array(buffer, target.byteOffset + offset, 2)
  head[0] = rowCount
  head[1] =
    chunk.columns.length |
    (((chunk.ops === null ? 0 : FLAG_OPS) | (visible === null ? 0 : FLAG_VISIBLE)) << 16)
  let at = offset + CHUNK_HEADER_BYTES
  if (chunk.ops !== null) at = encodeFlags(chunk.ops, rows, from, to, target, at)
  if (visible !== null) at = encodeFlags(visible, null, from, to, target, at)
  for (const column of chunk.columns) at = encodeColumn(column, rows, from, to, target, at)
  return at
}

function encodeFlags(
  source: Uint8Array,
  rows: RowList | null,
  from: number,
  to: number,
  target: Uint8Array,
  at: number,
): number {
  if (rows === null) target.set(source.subarray(from, to), at)
  else for (let i = from, j = at; i < to; i++, j++) target[j] = source[rows[i]]
  return at + align8(to - from)
}

function encodeColumn(
  column: Column,
  rows: RowList | null,
  from: number,
  to: number,
  target: Uint8Array,
  offset: number,
): number {
  const code = TYPE_CODES.get(column.type)
  assert(code !== undefined, 'a column has a type')
  const rowCount = to - from
  const base = target.byteOffset
  const head = new Uint32Array(target.buffer, base + offset, 4)
  head[0] = code | (column.form << 8) | (column.nulls === null ? 0 : 1 << 16)
  head[1] = column.scale
  head[2] = 0
  head[3] = 0
  let at = offset + COLUMN_HEADER_BYTES
  if (column.nulls !== null) at = encodeFlags(column.nulls, rows, from, to, target, at)
  if (column.form === NARROW) {
    const values = new Float64Array(target.buffer, base + at, rowCount)
    if (rows === null) values.set(column.numbers.subarray(from, to))
    else gatherNumbers(column.numbers, rows, from, values, rowCount)
    return at + rowCount * 8
  }
  const offsets = new Uint32Array(target.buffer, base + at, rowCount + 1)
  at += align8((rowCount + 1) * 4)
  head[2] =
    column.form === TEXT
      ? encodeText(column, rows, from, offsets, rowCount, target, at)
      : encodeWide(column, rows, from, offsets, rowCount, target, at)
  return at + align8(head[2])
}

function gatherNumbers(
  source: Float64Array,
  rows: RowList,
  from: number,
  target: Float64Array,
  count: number,
): void {
  for (let i = 0; i < count; i++) target[i] = source[rows[from + i]]
}

function encodeText(
  column: Column,
  rows: RowList | null,
  from: number,
  offsets: Uint32Array,
  count: number,
  target: Uint8Array,
  start: number,
): number {
  const source = column.offsets
  const data = column.data
  if (rows === null) {
    const first = source[from]
    for (let i = 0; i <= count; i++) offsets[i] = source[from + i] - first
    target.set(data.subarray(first, source[from + count]), start)
    return source[from + count] - first
  }
  let at = start
  for (let i = 0; i < count; i++) {
    offsets[i] = at - start
    const row = rows[from + i]
    const end = source[row + 1]
    for (let j = source[row]; j < end; j++) target[at++] = data[j]
  }
  offsets[count] = at - start
  return at - start
}

/** Bytes of the shortest two's complement of a value; zero takes none. */
function wideBytes(value: bigint): number {
  let length = 0
  let rest = value
  while (rest !== 0n && rest !== -1n) {
    rest >>= 8n
    length++
  }
  if (length === 0) return value === 0n ? 0 : 1
  // The top bit of the last byte must be the sign.
  const top = (value >> BigInt(8 * length - 1)) & 1n
  return (top === 1n) === value < 0n ? length : length + 1
}

function encodeWide(
  column: Column,
  rows: RowList | null,
  from: number,
  offsets: Uint32Array,
  count: number,
  target: Uint8Array,
  start: number,
): number {
  let at = start
  for (let i = 0; i < count; i++) {
    offsets[i] = at - start
    let rest = column.wide[rows === null ? from + i : rows[from + i]]
    for (let left = wideBytes(rest); left > 0; left--) {
      target[at++] = Number(rest & 0xffn)
      rest >>= 8n
    }
  }
  offsets[count] = at - start
  return at - start
}

/**
 * A chunk whose columns are views of `source`: it lives as long as those bytes stay as they are.
 * @param offset with the source's own offset a multiple of 8.
 */
export function decodeChunk(source: Uint8Array, offset = 0): Chunk {
  const base = source.byteOffset
  assert(((base + offset) & 7) === 0, 'a chunk is decoded 8-byte aligned')
  const head = new Uint32Array(source.buffer, base + offset, 2)
  const rowCount = head[0]
  const columnCount = head[1] & 0xffff
  const flags = head[1] >>> 16
  let at = offset + CHUNK_HEADER_BYTES
  let ops: Uint8Array | null = null
  let visible: Uint8Array | null = null
  if ((flags & FLAG_OPS) !== 0) {
    ops = new Uint8Array(source.buffer, base + at, rowCount)
    at += align8(rowCount)
  }
  if ((flags & FLAG_VISIBLE) !== 0) {
    visible = new Uint8Array(source.buffer, base + at, rowCount)
    at += align8(rowCount)
  }
  const columns: Column[] = []
  for (let i = 0; i < columnCount; i++) {
    const words = new Uint32Array(source.buffer, base + at, 4)
    columns.push(decodeColumn(words, rowCount, source, at + COLUMN_HEADER_BYTES))
    at += columnBytes(words, rowCount)
  }
  return new Chunk(rowCount, ops, visible, columns)
}

function columnBytes(head: Uint32Array, rowCount: number): number {
  const form = (head[0] >>> 8) & 0xff
  const nulls = head[0] >>> 16 === 0 ? 0 : align8(rowCount)
  if (form === NARROW) return COLUMN_HEADER_BYTES + nulls + rowCount * 8
  return COLUMN_HEADER_BYTES + nulls + align8((rowCount + 1) * 4) + align8(head[2])
}

function decodeColumn(
  head: Uint32Array,
  rowCount: number,
  source: Uint8Array,
  start: number,
): Column {
  const buffer = source.buffer
  const base = source.byteOffset
  const type = TYPES[head[0] & 0xff]
  const form = (head[0] >>> 8) & 0xff
  assert(type !== undefined && form <= TEXT, 'an encoded column has a known type and form')
  let at = start
  let nulls: Uint8Array | null = null
  if (head[0] >>> 16 !== 0) {
    nulls = new Uint8Array(buffer, base + at, rowCount)
    at += align8(rowCount)
  }
  if (form === NARROW) {
    return Column.narrow(type, new Float64Array(buffer, base + at, rowCount), nulls, head[1])
  }
  const offsets = new Uint32Array(buffer, base + at, rowCount + 1)
  at += align8((rowCount + 1) * 4)
  if (form === WIDE) {
    return Column.wide(type, decodeWide(offsets, rowCount, source, at), nulls, head[1])
  }
  return Column.text(type, offsets, new Uint8Array(buffer, base + at, head[2]), nulls)
}

function decodeWide(
  offsets: Uint32Array,
  rowCount: number,
  source: Uint8Array,
  start: number,
): bigint[] {
  const wide: bigint[] = []
  for (let row = 0; row < rowCount; row++) {
    let value = 0n
    const end = start + offsets[row + 1]
    for (let at = end - 1; at >= start + offsets[row]; at--) {
      value = (value << 8n) | BigInt(source[at])
    }
    const bits = 8 * (offsets[row + 1] - offsets[row])
    wide.push(bits === 0 ? 0n : BigInt.asIntN(bits, value))
  }
  return wide
}
