/**
 * Rows to bytes and back: table keys (vnode | memcomparable columns, see storage/key.ts) and values.
 * Stands between operators and state tables. Hot path: a batch of rows per call, one pass per column
 * for sizes and one for bytes; `positions[i]` is where the next column of row i goes.
 *
 * ```
 * key column   boolean              TAG_1 | 0 or 1
 *              integers, times      TAG_8 | int64 BE, sign bit flipped
 *              real, double         TAG_8 | IEEE bits BE; negative: all flipped, else sign flipped; NaN = 0xff x 8
 *              varchar, bytea       TAG_GROUPS | bytes
 *              numeric              TAG_GROUPS | canonical decimal, see numeric-key.ts
 * value column 0xfe                 null
 *   integers,  0x00                 zero
 *   times,     0x01 | i8            0x02 | i16 LE   0x04 | i32 LE   0x08 | i64 LE
 *   boolean    0x0f | byteCount u16 LE | two's complement LE   beyond 64 bits
 *   doubles    0x00 | zero          0x08 | f64 LE
 *   numeric    0xfe null, else      scale u8 (0..250) | an integer as above
 *   text       0x80 + byteCount     below 64 bytes: | bytes
 *              0xc0 | byteCount u32 LE | bytes
 * value = value columns in order | for each numeric key column its display scale u8, if asked for
 * ```
 * The same value has the same bytes in the narrow and the wide form.
 */
import { assert } from '../common/assert.ts'
import { EngineError } from '../common/errors.ts'
import { vnodeOfHash } from '../common/hash.ts'
import { VNODE_COUNT } from '../common/ids.ts'
import {
  GROUP_BYTES,
  GROUP_CONTINUES,
  KEY_BYTES_MAX,
  TAG_1,
  TAG_8,
  TAG_GROUPS,
  TAG_NULL,
  VALUE_BYTES_MAX,
  VNODE_BYTES,
} from '../storage/key.ts'
import type { ByteList } from '../storage/state-store.ts'
import type { Chunk } from './chunk.ts'
import type { Column } from './column.ts'
import { NARROW, TEXT } from './column.ts'
import type { ColumnBuilder, RowList } from './column-builder.ts'
import {
  decodeNumericKey,
  encodeNumericKey,
  encodeWideNumericKey,
  NUMERIC_KEY_BYTES_MAX,
} from './numeric-key.ts'
import type { StateTableSpec } from './plan.ts'
import { hashRowsAt } from './row-hash.ts'
import type { DataType, Schema } from './schema.ts'

const VALUE_NULL = 0xfe
const WIDE_INTEGER = 0x0f
const TEXT_SHORT = 0x80
const TEXT_LONG = 0xc0
const TEXT_SHORT_MAX = 63
export const SCALE_MAX = 250
const TWO_32 = 2 ** 32
const TWO_32_INVERSE = 2 ** -32
const INT64_MAX = 2n ** 63n - 1n
const INT64_MIN = -(2n ** 63n)

const doubleScratch = new Float64Array(1)
const doubleBytes = new Uint8Array(doubleScratch.buffer)
const doubleHalves = new Uint32Array(doubleScratch.buffer)
const numericScratch = new Uint8Array(NUMERIC_KEY_BYTES_MAX)

export interface KeyColumn {
  readonly column: number
  readonly descending: boolean
}

/** Byte strings in one growing buffer; the writer side of `ByteList`. Offsets and data are raw for codecs. */
export class ByteListBuilder implements ByteList {
  count: number
  offsets: Uint32Array
  data: Uint8Array
  /** Of `data`: writes 32 bits at once. */
  view: DataView
  /** Bytes written; equals `offsets[count]` between items. */
  length: number

  constructor(itemCapacity = 256, byteCapacity = 8192) {
    this.count = 0
    this.offsets = new Uint32Array(itemCapacity + 1)
    this.data = new Uint8Array(byteCapacity)
    this.view = new DataView(this.data.buffer)
    this.length = 0
  }

  /** Forgets all items and keeps the memory. */
  reset(): void {
    this.count = 0
    this.length = 0
  }

  /** Room for so many more items and bytes. */
  reserve(itemCount: number, byteCount: number): void {
    if (this.count + itemCount + 1 > this.offsets.length) {
      const offsets = new Uint32Array(Math.max(this.count + itemCount + 1, this.offsets.length * 2))
      offsets.set(this.offsets)
      this.offsets = offsets
    }
    if (this.length + byteCount > this.data.length) {
      const data = new Uint8Array(Math.max(this.length + byteCount, this.data.length * 2))
      data.set(this.data)
      this.data = data
      this.view = new DataView(data.buffer)
    }
  }

  /** Appends bytes to the item that is being written. */
  write(source: Uint8Array, start: number, end: number): void {
    this.reserve(0, end - start)
    this.data.set(source.subarray(start, end), this.length)
    this.length += end - start
  }

  /** Ends the item that was being written. */
  endItem(): void {
    this.reserve(1, 0)
    this.offsets[++this.count] = this.length
  }

  append(source: Uint8Array, start: number, end: number): void {
    this.write(source, start, end)
    this.endItem()
  }
}

type Encoding = 'boolean' | 'integer' | 'double' | 'text' | 'numeric'

function encodingOf(type: DataType): Encoding {
  switch (type) {
    case 'boolean':
      return 'boolean'
    case 'real':
    case 'double':
      return 'double'
    case 'varchar':
    case 'bytea':
      return 'text'
    case 'numeric':
      return 'numeric'
    default:
      return 'integer'
  }
}

/** Encodes table keys. One per state table and thread; its scratch grows to the largest batch. */
export class KeyEncoder {
  private readonly encodings: readonly Encoding[]
  private readonly inverts: readonly number[]
  private readonly keyColumns: readonly number[]
  private readonly distribution: readonly number[]
  /** Where each distribution column stands in the key, or -1. */
  private readonly distributionInKey: readonly number[]
  private hashes: Uint32Array
  private positions: Uint32Array

  constructor(schema: Schema, key: readonly KeyColumn[], distribution: readonly number[]) {
    this.keyColumns = key.map((part) => part.column)
    this.encodings = key.map((part) => encodingOf(schema[part.column].type))
    this.inverts = key.map((part) => (part.descending ? 0xff : 0))
    this.distribution = distribution
    this.distributionInKey = distribution.map((column) => this.keyColumns.indexOf(column))
    this.hashes = new Uint32Array(0)
    this.positions = new Uint32Array(0)
  }

  /**
   * Appends the key of each row: of `rows[0 .. count]`, or of rows `0 .. count` if `rows` is null.
   * @param columns all columns of the schema.
   * @throws KEY_TOO_LARGE; nothing was appended then.
   */
  encode(
    columns: readonly Column[],
    rows: RowList | null,
    count: number,
    target: ByteListBuilder,
  ): void {
    const hashed = this.distribution.map((column) => columns[column])
    const parts = this.keyColumns.map((column) => columns[column])
    this.encodeParts(hashed, parts, rows, count, target)
  }

  /**
   * Appends prefixes: the vnode and the first key columns, of which `columns` holds the values in key
   * order. All distribution columns must be among them.
   */
  encodePrefix(
    columns: readonly Column[],
    rows: RowList | null,
    count: number,
    target: ByteListBuilder,
  ): void {
    const hashed = this.distributionInKey.map((position) => {
      assert(
        position >= 0 && position < columns.length,
        'a key prefix holds the distribution columns',
      )
      return columns[position]
    })
    this.encodeParts(hashed, columns, rows, count, target)
  }

  private encodeParts(
    hashed: readonly Column[],
    parts: readonly Column[],
    rows: RowList | null,
    count: number,
    target: ByteListBuilder,
  ): void {
    if (this.positions.length < count) {
      this.positions = new Uint32Array(count * 2)
      this.hashes = new Uint32Array(count * 2)
    }
    hashRowsAt(hashed, rows, count, this.hashes)
    if (this.isFixed(parts)) {
      this.encodeFixed(parts, rows, count, target)
      return
    }
    const positions = this.positions
    positions.fill(VNODE_BYTES, 0, count)
    for (let index = 0; index < parts.length; index++) {
      addKeySizes(this.encodings[index], parts[index], rows, count, positions)
    }
    placeItems(target, positions, count, KEY_BYTES_MAX, 'KEY_TOO_LARGE')
    writeVnodes(this.hashes, count, target.data, positions)
    for (let index = 0; index < parts.length; index++) {
      writeKeyColumn(
        this.encodings[index],
        parts[index],
        this.inverts[index],
        rows,
        count,
        target,
        positions,
      )
    }
  }

  /** True where every column is non-null narrow integers, ascending: all keys have one length. */
  private isFixed(parts: readonly Column[]): boolean {
    for (let index = 0; index < parts.length; index++) {
      const column = parts[index]
      if (this.encodings[index] !== 'integer' || this.inverts[index] !== 0) return false
      if (column.form !== NARROW || column.nulls !== null) return false
    }
    return parts.length * 9 + VNODE_BYTES <= KEY_BYTES_MAX
  }

  private encodeFixed(
    parts: readonly Column[],
    rows: RowList | null,
    count: number,
    target: ByteListBuilder,
  ): void {
    const stride = VNODE_BYTES + parts.length * 9
    target.reserve(count, count * stride)
    const start = target.length
    writeFixedHeads(this.hashes, count, stride, target)
    for (let index = 0; index < parts.length; index++) {
      const at = start + VNODE_BYTES + index * 9
      const { numbers } = parts[index]
      if (rows === null) writeFixed(numbers, count, target.view, at, stride)
      else writeFixedAt(numbers, rows, count, target.view, at, stride)
    }
  }
}

/** Appends `count` items of `stride` bytes, of which only the vnode is written. */
function writeFixedHeads(
  hashes: Uint32Array,
  count: number,
  stride: number,
  target: ByteListBuilder,
): void {
  const { offsets, view } = target
  let item = target.count
  let at = target.length
  offsets[item] = at
  for (let i = 0; i < count; i++) {
    view.setUint16(at, vnodeOfHash(hashes[i]))
    at += stride
    offsets[++item] = at
  }
  target.count = item
  target.length = at
}

function writeFixed(
  numbers: Float64Array,
  count: number,
  view: DataView,
  start: number,
  stride: number,
): void {
  for (let i = 0, at = start; i < count; i++, at += stride) {
    const value = numbers[i]
    view.setUint8(at, TAG_8)
    view.setInt32(at + 1, (Math.floor(value * TWO_32_INVERSE) | 0) ^ 0x80000000)
    view.setInt32(at + 5, value | 0)
  }
}

function writeFixedAt(
  numbers: Float64Array,
  rows: RowList,
  count: number,
  view: DataView,
  start: number,
  stride: number,
): void {
  for (let i = 0, at = start; i < count; i++, at += stride) {
    const value = numbers[rows[i]]
    view.setUint8(at, TAG_8)
    view.setInt32(at + 1, (Math.floor(value * TWO_32_INVERSE) | 0) ^ 0x80000000)
    view.setInt32(at + 5, value | 0)
  }
}

/** Turns sizes into starts, appends the items and grows the target. */
function placeItems(
  target: ByteListBuilder,
  positions: Uint32Array,
  count: number,
  itemBytesMax: number,
  code: 'KEY_TOO_LARGE' | 'VALUE_TOO_LARGE',
): void {
  let total = 0
  for (let i = 0; i < count; i++) {
    const size = positions[i]
    if (size > itemBytesMax) throw tooLarge(code, size, itemBytesMax)
    total += size
  }
  target.reserve(count, total)
  const offsets = target.offsets
  let item = target.count
  let at = target.length
  offsets[item] = at
  for (let i = 0; i < count; i++) {
    const size = positions[i]
    positions[i] = at
    at += size
    offsets[++item] = at
  }
  target.count = item
  target.length = at
}

/** Text of a key that is escaped and stands beside numbers is surely small enough below this. */
const KEY_TEXT_BYTES_SAFE = KEY_BYTES_MAX / 4

/**
 * Looks at the keys that the rows will have, where they may be long: a row that is refused before it is accepted
 * does not stop the pipeline. @throws KEY_TOO_LARGE
 */
export function checkKeySizes(spec: StateTableSpec, chunk: Chunk): void {
  const texts = spec.key
    .map((part) => chunk.columns[part.column])
    .filter((column) => column.form === TEXT)
  if (texts.length === 0) return
  let longest = 0
  for (let row = 0; row < chunk.rowCount; row++) {
    let bytes = 0
    for (const { offsets } of texts) bytes += offsets[row + 1] - offsets[row]
    if (bytes > longest) longest = bytes
  }
  if (longest <= KEY_TEXT_BYTES_SAFE) return
  const encoder = new KeyEncoder(spec.schema, spec.key, spec.distribution)
  encoder.encode(chunk.columns, null, chunk.rowCount, new ByteListBuilder())
}

function tooLarge(
  code: 'KEY_TOO_LARGE' | 'VALUE_TOO_LARGE',
  byteCount: number,
  byteCountMax: number,
): EngineError {
  return new EngineError(
    code,
    `a row's ${code === 'KEY_TOO_LARGE' ? 'key' : 'value'} is too large`,
    {
      context: { bytes: byteCount, bytesMax: byteCountMax },
    },
  )
}

function writeVnodes(
  hashes: Uint32Array,
  count: number,
  data: Uint8Array,
  positions: Uint32Array,
): void {
  // VNODE_COUNT fits a byte or two; the field is two bytes.
  assert(VNODE_COUNT <= 0x10000, 'a vnode is a u16')
  for (let i = 0; i < count; i++) {
    const vnode = vnodeOfHash(hashes[i])
    const at = positions[i]
    data[at] = vnode >>> 8
    data[at + 1] = vnode
    positions[i] = at + VNODE_BYTES
  }
}

function addKeySizes(
  encoding: Encoding,
  column: Column,
  rows: RowList | null,
  count: number,
  sizes: Uint32Array,
): void {
  const nulls = column.nulls
  if (encoding === 'text') {
    const offsets = column.offsets
    for (let i = 0; i < count; i++) {
      const row = rows === null ? i : rows[i]
      if (nulls !== null && nulls[row] === 1) sizes[i] += 1
      else sizes[i] += groupsBytes(offsets[row + 1] - offsets[row])
    }
  } else if (encoding === 'numeric') {
    for (let i = 0; i < count; i++) {
      const row = rows === null ? i : rows[i]
      if (nulls !== null && nulls[row] === 1) sizes[i] += 1
      else sizes[i] += groupsBytes(numericKey(column, row))
    }
  } else {
    const size = encoding === 'boolean' ? 2 : 9
    if (nulls === null) for (let i = 0; i < count; i++) sizes[i] += size
    else {
      for (let i = 0; i < count; i++)
        sizes[i] += nulls[rows === null ? i : rows[i]] === 1 ? 1 : size
    }
  }
}

/** Tag and groups of so many bytes. */
function groupsBytes(byteCount: number): number {
  const groups = byteCount <= GROUP_BYTES ? 1 : Math.ceil(byteCount / GROUP_BYTES)
  return 1 + groups * (GROUP_BYTES + 1)
}

/** Puts the canonical bytes into `numericScratch`; returns their count. */
function numericKey(column: Column, row: number): number {
  return column.form === NARROW
    ? encodeNumericKey(column.numbers[row], column.scale, numericScratch)
    : encodeWideNumericKey(column.wide[row], column.scale, numericScratch)
}

function writeKeyColumn(
  encoding: Encoding,
  column: Column,
  invert: number,
  rows: RowList | null,
  count: number,
  target: ByteListBuilder,
  positions: Uint32Array,
): void {
  const { data } = target
  if (encoding === 'integer' && column.form === NARROW && column.nulls === null && invert === 0) {
    if (rows === null) writeIntegers(column.numbers, count, target.view, positions)
    else writeIntegersAt(column.numbers, rows, count, target.view, positions)
    return
  }
  const nulls = column.nulls
  for (let i = 0; i < count; i++) {
    const row = rows === null ? i : rows[i]
    const start = positions[i]
    let end = start + 1
    if (nulls !== null && nulls[row] === 1) data[start] = TAG_NULL
    else end = writeKeyValue(encoding, column, row, data, start)
    if (invert !== 0) for (let at = start; at < end; at++) data[at] ^= 0xff
    positions[i] = end
  }
}

/** Non-null narrow integers ascending: the usual key. */
function writeIntegers(
  numbers: Float64Array,
  count: number,
  view: DataView,
  positions: Uint32Array,
): void {
  for (let i = 0; i < count; i++) {
    const at = positions[i]
    const value = numbers[i]
    view.setUint8(at, TAG_8)
    view.setInt32(at + 1, (Math.floor(value * TWO_32_INVERSE) | 0) ^ 0x80000000)
    view.setInt32(at + 5, value | 0)
    positions[i] = at + 9
  }
}

function writeIntegersAt(
  numbers: Float64Array,
  rows: RowList,
  count: number,
  view: DataView,
  positions: Uint32Array,
): void {
  for (let i = 0; i < count; i++) {
    const at = positions[i]
    const value = numbers[rows[i]]
    view.setUint8(at, TAG_8)
    view.setInt32(at + 1, (Math.floor(value * TWO_32_INVERSE) | 0) ^ 0x80000000)
    view.setInt32(at + 5, value | 0)
    positions[i] = at + 9
  }
}

function writeOrderedInteger(value: number, data: Uint8Array, at: number): void {
  const low = value | 0
  const high = (Math.floor(value * TWO_32_INVERSE) | 0) ^ 0x80000000
  writeTagged8(low, high, data, at)
}

function writeTagged8(low: number, high: number, data: Uint8Array, at: number): void {
  data[at] = TAG_8
  data[at + 1] = high >>> 24
  data[at + 2] = high >>> 16
  data[at + 3] = high >>> 8
  data[at + 4] = high
  data[at + 5] = low >>> 24
  data[at + 6] = low >>> 16
  data[at + 7] = low >>> 8
  data[at + 8] = low
}

/** Writes tag and body of a non-null value; returns the position behind it. */
function writeKeyValue(
  encoding: Encoding,
  column: Column,
  row: number,
  data: Uint8Array,
  at: number,
): number {
  switch (encoding) {
    case 'boolean':
      data[at] = TAG_1
      data[at + 1] = column.numbers[row]
      return at + 2
    case 'integer':
      if (column.form === NARROW) writeOrderedInteger(column.numbers[row], data, at)
      else {
        const value = column.wide[row]
        const low = Number(BigInt.asIntN(32, value))
        const high = Number(BigInt.asIntN(32, value >> 32n)) ^ 0x80000000
        writeTagged8(low, high, data, at)
      }
      return at + 9
    case 'double':
      writeOrderedDouble(column.numbers[row], data, at)
      return at + 9
    case 'text':
      return writeGroups(column.data, column.offsets[row], column.offsets[row + 1], data, at)
    case 'numeric':
      return writeGroups(numericScratch, 0, numericKey(column, row), data, at)
  }
}

function writeOrderedDouble(value: number, data: Uint8Array, at: number): void {
  if (Number.isNaN(value)) {
    writeTagged8(-1, -1, data, at)
    return
  }
  doubleScratch[0] = value + 0
  const low = doubleHalves[0]
  const high = doubleHalves[1]
  if (high >>> 31 === 1) writeTagged8(~low, ~high, data, at)
  else writeTagged8(low, high ^ 0x80000000, data, at)
}

function writeGroups(
  source: Uint8Array,
  start: number,
  end: number,
  data: Uint8Array,
  at: number,
): number {
  let out = at
  data[out++] = TAG_GROUPS
  let from = start
  while (end - from > GROUP_BYTES) {
    for (let i = 0; i < GROUP_BYTES; i++) data[out++] = source[from++]
    data[out++] = GROUP_CONTINUES
  }
  const last = end - from
  for (let i = 0; i < GROUP_BYTES; i++) data[out++] = i < last ? source[from++] : 0
  data[out++] = last
  return out
}

/** Encodes the value part of rows. One per state table and thread. */
export class ValueEncoder {
  private readonly encodings: readonly Encoding[]
  private readonly columns: readonly number[]
  private readonly scaleColumns: readonly number[]
  private positions: Uint32Array

  /**
   * @param columns the columns of the value, in order.
   * @param keyColumns give the columns of the key here (and to the decoder) to keep the display scale
   *   of numeric key columns: the key itself has only the canonical value.
   */
  constructor(schema: Schema, columns: readonly number[], keyColumns: readonly number[] = []) {
    this.columns = columns
    this.encodings = columns.map((column) => encodingOf(schema[column].type))
    this.scaleColumns = keyColumns.filter((column) => schema[column].type === 'numeric')
    this.positions = new Uint32Array(0)
  }

  /** Appends the value of each row; arguments as in `KeyEncoder.encode`. */
  encode(
    columns: readonly Column[],
    rows: RowList | null,
    count: number,
    target: ByteListBuilder,
  ): void {
    if (this.positions.length < count) this.positions = new Uint32Array(count * 2)
    const positions = this.positions
    positions.fill(this.scaleColumns.length, 0, count)
    for (let index = 0; index < this.columns.length; index++) {
      addValueSizes(this.encodings[index], columns[this.columns[index]], rows, count, positions)
    }
    placeItems(target, positions, count, VALUE_BYTES_MAX, 'VALUE_TOO_LARGE')
    for (let index = 0; index < this.columns.length; index++) {
      const column = columns[this.columns[index]]
      writeValueColumn(this.encodings[index], column, rows, count, target.data, positions)
    }
    for (const column of this.scaleColumns) {
      const scale = checkScale(columns[column].scale)
      for (let i = 0; i < count; i++) target.data[positions[i]++] = scale
    }
  }
}

function checkScale(scale: number): number {
  if (scale > SCALE_MAX) {
    throw new EngineError('VALUE_OVERFLOW', 'a numeric has too many digits after the point', {
      context: { sqlState: '22003', scale, scaleMax: SCALE_MAX },
    })
  }
  return scale
}

function addValueSizes(
  encoding: Encoding,
  column: Column,
  rows: RowList | null,
  count: number,
  sizes: Uint32Array,
): void {
  const nulls = column.nulls
  if (encoding === 'text') {
    const offsets = column.offsets
    for (let i = 0; i < count; i++) {
      const row = rows === null ? i : rows[i]
      const length = offsets[row + 1] - offsets[row]
      // A null is an empty range: one byte as well.
      sizes[i] += length <= TEXT_SHORT_MAX ? 1 + length : 5 + length
    }
    return
  }
  if (encoding === 'numeric') checkScale(column.scale)
  const extra = encoding === 'numeric' ? 1 : 0
  for (let i = 0; i < count; i++) {
    const row = rows === null ? i : rows[i]
    if (nulls !== null && nulls[row] === 1) sizes[i] += 1
    else if (encoding === 'double') sizes[i] += column.numbers[row] === 0 ? 1 : 9
    else if (column.form === NARROW) sizes[i] += extra + integerBytes(column.numbers[row])
    else sizes[i] += extra + wideBytes(column.wide[row])
  }
}

function integerBytes(value: number): number {
  const small = value | 0
  if (small === value) {
    if (small === 0) return 1
    if ((small << 24) >> 24 === small) return 2
    return (small << 16) >> 16 === small ? 3 : 5
  }
  return 9
}

function wideBytes(value: bigint): number {
  if (value >= INT64_MIN && value <= INT64_MAX) {
    return integerBytes(value >= -0x80000000n && value <= 0x7fffffffn ? Number(value) : TWO_32)
  }
  return 3 + bigByteCount(value)
}

/** Bytes of the two's complement, sign bit included. */
function bigByteCount(value: bigint): number {
  const magnitude = value < 0n ? ~value : value
  return Math.floor((magnitude.toString(16).length * 4) / 8) + 1
}

function writeValueColumn(
  encoding: Encoding,
  column: Column,
  rows: RowList | null,
  count: number,
  data: Uint8Array,
  positions: Uint32Array,
): void {
  if (encoding === 'text') {
    writeTexts(column, rows, count, data, positions)
    return
  }
  const { nulls, numbers, wide, scale } = column
  const narrow = column.form === NARROW
  for (let i = 0; i < count; i++) {
    const row = rows === null ? i : rows[i]
    let at = positions[i]
    if (nulls !== null && nulls[row] === 1) {
      data[at] = VALUE_NULL
      positions[i] = at + 1
      continue
    }
    if (encoding === 'double') {
      positions[i] = writeDouble(numbers[row], data, at)
      continue
    }
    if (encoding === 'numeric') data[at++] = scale
    positions[i] = narrow ? writeInteger(numbers[row], data, at) : writeWide(wide[row], data, at)
  }
}

function writeTexts(
  column: Column,
  rows: RowList | null,
  count: number,
  data: Uint8Array,
  positions: Uint32Array,
): void {
  const { nulls, offsets, data: source } = column
  for (let i = 0; i < count; i++) {
    const row = rows === null ? i : rows[i]
    const at = positions[i]
    if (nulls !== null && nulls[row] === 1) {
      data[at] = VALUE_NULL
      positions[i] = at + 1
    } else positions[i] = writeText(source, offsets[row], offsets[row + 1], data, at)
  }
}

function writeText(
  source: Uint8Array,
  start: number,
  end: number,
  data: Uint8Array,
  at: number,
): number {
  const length = end - start
  let out = at
  if (length <= TEXT_SHORT_MAX) {
    data[out++] = TEXT_SHORT + length
    for (let i = start; i < end; i++) data[out++] = source[i]
    return out
  }
  data[out++] = TEXT_LONG
  data[out++] = length
  data[out++] = length >>> 8
  data[out++] = length >>> 16
  data[out++] = length >>> 24
  data.set(source.subarray(start, end), out)
  return out + length
}

function writeInteger(value: number, data: Uint8Array, at: number): number {
  const low = value | 0
  const size = integerBytes(value) - 1
  data[at] = size
  if (size === 0) return at + 1
  data[at + 1] = low
  if (size === 1) return at + 2
  data[at + 2] = low >>> 8
  if (size === 2) return at + 3
  data[at + 3] = low >>> 16
  data[at + 4] = low >>> 24
  if (size === 4) return at + 5
  const high = Math.floor(value * TWO_32_INVERSE) | 0
  data[at + 5] = high
  data[at + 6] = high >>> 8
  data[at + 7] = high >>> 16
  data[at + 8] = high >>> 24
  return at + 9
}

function writeWide(value: bigint, data: Uint8Array, at: number): number {
  if (value >= -0x80000000n && value <= 0x7fffffffn) return writeInteger(Number(value), data, at)
  if (value >= INT64_MIN && value <= INT64_MAX) {
    data[at] = 8
    return writeBig(value, 8, data, at + 1)
  }
  const size = bigByteCount(value)
  data[at] = WIDE_INTEGER
  data[at + 1] = size
  data[at + 2] = size >>> 8
  return writeBig(value, size, data, at + 3)
}

function writeBig(value: bigint, size: number, data: Uint8Array, at: number): number {
  let rest = value
  for (let i = 0; i < size; i++) {
    data[at + i] = Number(BigInt.asUintN(8, rest))
    rest >>= 8n
  }
  return at + size
}

function writeDouble(value: number, data: Uint8Array, at: number): number {
  if (value === 0) {
    data[at] = 0
    return at + 1
  }
  data[at] = 8
  doubleScratch[0] = Number.isNaN(value) ? Number.NaN : value
  for (let i = 0; i < 8; i++) data[at + 1 + i] = doubleBytes[i]
  return at + 9
}

/** Decodes table keys and values into one builder per schema column. */
export class RowDecoder {
  private readonly keyEncodings: readonly Encoding[]
  private readonly keyColumns: readonly number[]
  private readonly keyInverts: readonly number[]
  private readonly valueEncodings: readonly Encoding[]
  private readonly valueColumns: readonly number[]
  private readonly withScales: boolean
  private positions: Uint32Array

  /** @param withScales the encoder was given the key columns, and so wrote their display scales. */
  constructor(
    schema: Schema,
    key: readonly KeyColumn[],
    valueColumns: readonly number[],
    withScales = false,
  ) {
    this.keyColumns = key.map((part) => part.column)
    this.keyEncodings = key.map((part) => encodingOf(schema[part.column].type))
    this.keyInverts = key.map((part) => (part.descending ? 0xff : 0))
    this.valueColumns = valueColumns
    this.valueEncodings = valueColumns.map((column) => encodingOf(schema[column].type))
    this.withScales = withScales
    this.positions = new Uint32Array(0)
  }

  /**
   * Appends items `from .. to` to `builders`, one per column of the schema. A column in both key and
   * value is not allowed; builders of columns in neither stay as they are.
   * @throws CORRUPTION when the bytes are not of this schema.
   */
  decode(
    keys: ByteList,
    values: ByteList,
    from: number,
    to: number,
    builders: readonly ColumnBuilder[],
  ): void {
    this.decodeValues(values, from, to, builders)
    this.decodeKeys(keys, from, to, builders)
  }

  /** The key columns alone. */
  decodeKeys(keys: ByteList, from: number, to: number, builders: readonly ColumnBuilder[]): void {
    const positions = this.start(keys, from, to, VNODE_BYTES)
    const count = to - from
    for (let index = 0; index < this.keyColumns.length; index++) {
      const builder = builders[this.keyColumns[index]]
      builder.reserve(count)
      const encoding = this.keyEncodings[index]
      readKeyColumn(encoding, this.keyInverts[index], keys.data, positions, count, builder)
    }
    this.checkEnds(keys, from, count)
  }

  /** The value columns alone (and the scales of key columns). */
  decodeValues(
    values: ByteList,
    from: number,
    to: number,
    builders: readonly ColumnBuilder[],
  ): void {
    const positions = this.start(values, from, to, 0)
    const count = to - from
    for (let index = 0; index < this.valueColumns.length; index++) {
      const builder = builders[this.valueColumns[index]]
      builder.reserve(count)
      readValueColumn(this.valueEncodings[index], values.data, positions, count, builder)
    }
    if (this.withScales) {
      for (let index = 0; index < this.keyColumns.length; index++) {
        if (this.keyEncodings[index] !== 'numeric') continue
        const builder = builders[this.keyColumns[index]]
        for (let i = 0; i < count; i++) builder.raiseScale(values.data[positions[i]++])
      }
    }
    this.checkEnds(values, from, count)
  }

  private start(list: ByteList, from: number, to: number, skip: number): Uint32Array {
    if (this.positions.length < to - from) this.positions = new Uint32Array((to - from) * 2)
    const positions = this.positions
    const offsets = list.offsets
    for (let item = from; item < to; item++) positions[item - from] = offsets[item] + skip
    return positions
  }

  private checkEnds(list: ByteList, from: number, count: number): void {
    for (let i = 0; i < count; i++) {
      if (this.positions[i] !== list.offsets[from + i + 1]) throw corruptRow(this.positions[i])
    }
  }
}

function corruptRow(at: number): EngineError {
  return new EngineError('CORRUPTION', 'the bytes of a row do not fit its table', {
    context: { offset: at },
  })
}

function readKeyColumn(
  encoding: Encoding,
  invert: number,
  data: Uint8Array,
  positions: Uint32Array,
  count: number,
  builder: ColumnBuilder,
): void {
  const nullTag = TAG_NULL ^ invert
  let first = 0
  if (encoding === 'integer' && invert === 0 && builder.form === NARROW) {
    first = readIntegerKeys(data, positions, count, builder)
  }
  for (let i = first; i < count; i++) {
    const at = positions[i]
    if (data[at] === nullTag) {
      builder.appendNull()
      positions[i] = at + 1
    } else positions[i] = readKeyValue(encoding, invert, data, at, builder)
  }
}

function viewOf(data: Uint8Array): DataView {
  return new DataView(data.buffer, data.byteOffset, data.byteLength)
}

/** Reads ascending narrow integers until something else comes; returns how many. */
function readIntegerKeys(
  data: Uint8Array,
  positions: Uint32Array,
  count: number,
  builder: ColumnBuilder,
): number {
  const view = viewOf(data)
  const { numbers, length } = builder
  let i = 0
  for (; i < count; i++) {
    const at = positions[i]
    if (data[at] !== TAG_8 || at + 9 > data.length) break
    const high = view.getInt32(at + 1) ^ 0x80000000
    if (high <= -0x200000 || high >= 0x200000) break
    numbers[length + i] = high * TWO_32 + view.getUint32(at + 5)
    positions[i] = at + 9
  }
  builder.length = length + i
  return i
}

function readKeyValue(
  encoding: Encoding,
  invert: number,
  data: Uint8Array,
  at: number,
  builder: ColumnBuilder,
): number {
  const tag = data[at] ^ invert
  switch (encoding) {
    case 'boolean':
      if (tag !== TAG_1) throw corruptRow(at)
      builder.appendNumber(data[at + 1] ^ invert)
      return at + 2
    case 'integer': {
      if (tag !== TAG_8) throw corruptRow(at)
      const mask = invert === 0 ? 0 : -1
      const high = readU32(data, at + 1) ^ mask ^ 0x80000000
      appendHalves((readU32(data, at + 5) ^ mask) >>> 0, high, builder)
      return at + 9
    }
    case 'double':
      if (tag !== TAG_8) throw corruptRow(at)
      readOrderedDouble(invert === 0 ? 0 : -1, data, at, builder)
      return at + 9
    default:
      if (tag !== TAG_GROUPS) throw corruptRow(at)
      return readGroups(encoding === 'numeric', invert, data, at + 1, builder)
  }
}

function readU32(data: Uint8Array, at: number): number {
  return (data[at] << 24) | (data[at + 1] << 16) | (data[at + 2] << 8) | data[at + 3]
}

/** @param low unsigned. @param high signed. */
function appendHalves(low: number, high: number, builder: ColumnBuilder): void {
  if (high >= -0x200000 && high < 0x200000) {
    const value = high * TWO_32 + low
    if (value !== Number.MIN_SAFE_INTEGER - 1) {
      builder.appendNumber(value)
      return
    }
  }
  builder.appendBigint((BigInt(high) << 32n) | BigInt(low))
}

function readOrderedDouble(
  mask: number,
  data: Uint8Array,
  at: number,
  builder: ColumnBuilder,
): void {
  const high = readU32(data, at + 1) ^ mask
  const low = readU32(data, at + 5) ^ mask
  if (high === -1 && low === -1) {
    builder.appendNumber(Number.NaN)
    return
  }
  doubleHalves[0] = high < 0 ? low : ~low
  doubleHalves[1] = high < 0 ? high ^ 0x80000000 : ~high
  builder.appendNumber(doubleScratch[0])
}

let groupScratch = new Uint8Array(256)

function readGroups(
  numeric: boolean,
  invert: number,
  data: Uint8Array,
  start: number,
  builder: ColumnBuilder,
): number {
  let at = start
  let length = 0
  for (;;) {
    if (at + GROUP_BYTES >= data.length) throw corruptRow(at)
    if (length + GROUP_BYTES > groupScratch.length) {
      const larger = new Uint8Array(groupScratch.length * 2)
      larger.set(groupScratch)
      groupScratch = larger
    }
    for (let i = 0; i < GROUP_BYTES; i++) groupScratch[length + i] = data[at + i] ^ invert
    const count = data[at + GROUP_BYTES] ^ invert
    at += GROUP_BYTES + 1
    if (count < GROUP_CONTINUES) {
      length += count
      break
    }
    if (count !== GROUP_CONTINUES) throw corruptRow(at)
    length += GROUP_BYTES
  }
  if (numeric) decodeNumericKey(groupScratch, length, builder)
  else builder.appendText(groupScratch, 0, length)
  return at
}

function readValueColumn(
  encoding: Encoding,
  data: Uint8Array,
  positions: Uint32Array,
  count: number,
  builder: ColumnBuilder,
): void {
  let first = 0
  if (encoding === 'text') first = readTexts(data, positions, count, builder)
  else if (encoding === 'integer' && builder.form === NARROW) {
    first = readIntegers(data, positions, count, builder)
  }
  for (let i = first; i < count; i++) {
    const at = positions[i]
    if (data[at] === VALUE_NULL) {
      builder.appendNull()
      positions[i] = at + 1
    } else if (encoding === 'text') positions[i] = readText(data, at, builder)
    else if (encoding === 'double') positions[i] = readDouble(data, at, builder)
    else if (encoding === 'numeric') positions[i] = readNumeric(data, at, builder)
    else positions[i] = readInteger(data, at, builder)
  }
}

/** Reads narrow integers until something else comes; returns how many. */
function readIntegers(
  data: Uint8Array,
  positions: Uint32Array,
  count: number,
  builder: ColumnBuilder,
): number {
  const view = viewOf(data)
  const { numbers, length } = builder
  // The last value may end where the data does: then its bytes are read one by one.
  const last = data.length - 9
  let i = 0
  for (; i < count; i++) {
    const at = positions[i]
    if (at > last) break
    const size = data[at]
    if (size === 4) numbers[length + i] = view.getInt32(at + 1, true)
    else if (size === 2) numbers[length + i] = view.getInt16(at + 1, true)
    else if (size === 8) {
      const high = view.getInt32(at + 5, true)
      if (high <= -0x200000 || high >= 0x200000) break
      numbers[length + i] = high * TWO_32 + view.getUint32(at + 1, true)
    } else if (size === 1) numbers[length + i] = view.getInt8(at + 1)
    else if (size === 0) numbers[length + i] = 0
    else break
    positions[i] = at + 1 + size
  }
  builder.length = length + i
  return i
}

/** Reads short texts until something else comes; returns how many. */
function readTexts(
  data: Uint8Array,
  positions: Uint32Array,
  count: number,
  builder: ColumnBuilder,
): number {
  let total = 0
  let short = 0
  for (; short < count; short++) {
    const length = data[positions[short]] - TEXT_SHORT
    if (length < 0 || length > TEXT_SHORT_MAX) break
    total += length
  }
  builder.reserveData(total)
  const { data: target, offsets, length: row } = builder
  let out = offsets[row]
  for (let i = 0; i < short; i++) {
    const start = positions[i] + 1
    const end = start + data[start - 1] - TEXT_SHORT
    if (end > data.length) throw corruptRow(start)
    for (let at = start; at < end; at++) target[out++] = data[at]
    offsets[row + i + 1] = out
    positions[i] = end
  }
  builder.length = row + short
  return short
}

function readText(data: Uint8Array, at: number, builder: ColumnBuilder): number {
  const tag = data[at]
  let start = at + 1
  let length = tag - TEXT_SHORT
  if (tag === TEXT_LONG) {
    length = readU32LE(data, start) >>> 0
    start += 4
  } else if (length < 0 || length > TEXT_SHORT_MAX) throw corruptRow(at)
  if (start + length > data.length) throw corruptRow(at)
  builder.appendText(data, start, start + length)
  return start + length
}

function readU32LE(data: Uint8Array, at: number): number {
  return data[at] | (data[at + 1] << 8) | (data[at + 2] << 16) | (data[at + 3] << 24)
}

function readDouble(data: Uint8Array, at: number, builder: ColumnBuilder): number {
  if (data[at] === 0) {
    builder.appendNumber(0)
    return at + 1
  }
  if (data[at] !== 8) throw corruptRow(at)
  for (let i = 0; i < 8; i++) doubleBytes[i] = data[at + 1 + i]
  builder.appendNumber(doubleScratch[0])
  return at + 9
}

function readNumeric(data: Uint8Array, at: number, builder: ColumnBuilder): number {
  const scale = data[at]
  if (scale === builder.scale && builder.form === NARROW) return readInteger(data, at + 1, builder)
  if (scale > SCALE_MAX) throw corruptRow(at)
  const size = data[at + 1]
  const body = at + 2
  if (size === WIDE_INTEGER) {
    const count = data[body] | (data[body + 1] << 8)
    builder.appendScaled(readBig(data, body + 2, count), scale)
    return body + 2 + count
  }
  if (size > 8) throw corruptRow(at)
  builder.appendScaled(readBig(data, body, size), scale)
  return body + size
}

function readInteger(data: Uint8Array, at: number, builder: ColumnBuilder): number {
  const body = at + 1
  switch (data[at]) {
    case 0:
      builder.appendNumber(0)
      return body
    case 1:
      builder.appendNumber((data[body] << 24) >> 24)
      return body + 1
    case 2:
      builder.appendNumber(((data[body] | (data[body + 1] << 8)) << 16) >> 16)
      return body + 2
    case 4:
      builder.appendNumber(readU32LE(data, body))
      return body + 4
    case 8:
      appendHalves(readU32LE(data, body) >>> 0, readU32LE(data, body + 4), builder)
      return body + 8
    case WIDE_INTEGER: {
      const count = data[body] | (data[body + 1] << 8)
      builder.appendBigint(readBig(data, body + 2, count))
      return body + 2 + count
    }
    default:
      throw corruptRow(at)
  }
}

function readBig(data: Uint8Array, at: number, size: number): bigint {
  if (at + size > data.length) throw corruptRow(at)
  let value = 0n
  for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(data[at + i])
  return size === 0 ? 0n : BigInt.asIntN(size * 8, value)
}
