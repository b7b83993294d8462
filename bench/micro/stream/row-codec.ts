/** Rows of bids hashed, and to table keys and values and back: what every write to state and every read from it pays. */
import { combineHash, vnodeOfHash } from '../../../src/common/hash.ts'
import { TAG_8 } from '../../../src/storage/key.ts'
import type { ByteList } from '../../../src/storage/state-store.ts'
import { CHUNK_ROWS, Chunk } from '../../../src/stream/chunk.ts'
import { ColumnBuilder } from '../../../src/stream/column-builder.ts'
import {
  ByteListBuilder,
  KeyEncoder,
  RowDecoder,
  ValueEncoder,
} from '../../../src/stream/row-codec.ts'
import { hashRows } from '../../../src/stream/row-hash.ts'
import type { Benchmark, Prepared, Scale } from '../benchmark.ts'
import { digestOf, digestOfRows, hashNumber, hashOfBytes } from '../digest.ts'
import {
  AUCTION,
  BID,
  type BidRow,
  bidChunk,
  bidRows,
  CHANNEL,
  hashOfBid,
  PRICE,
  TIME,
} from './bids.ts'

export const BENCHMARKS: readonly Benchmark[] = [
  { name: 'row-hash/two numbers', unit: 'row', prepare: hash },
  { name: 'row-codec/encode keys', unit: 'row', prepare: encodeKeys },
  { name: 'row-codec/encode values', unit: 'row', prepare: encodeValues },
  { name: 'row-codec/decode', unit: 'row', prepare: decode },
]

const KEY = [AUCTION, TIME].map((column) => ({ column, descending: false }))
const VALUE = [PRICE, CHANNEL]
const DISTRIBUTION = [AUCTION]

/** One chunk, many times. */
interface Input {
  readonly rows: readonly BidRow[]
  readonly chunk: Chunk
  readonly rounds: number
}

function inputOf({ seed, tiny }: Scale): Input {
  const rows = bidRows(seed, tiny ? 100 : CHUNK_ROWS)
  return { rows, chunk: bidChunk(rows), rounds: tiny ? 2 : 16 }
}

function commonOf({ rows, rounds }: Input) {
  return { parameters: { rows: rows.length, rounds }, unitsPerRun: rows.length * rounds }
}

function hash(scale: Scale): Prepared {
  const input = inputOf(scale)
  const { rows, chunk, rounds } = input
  const columns = [chunk.columns[AUCTION], chunk.columns[TIME]]
  const hashes = new Uint32Array(rows.length)
  return {
    ...commonOf(input),
    expected: digestOf(
      rows.map(({ auction, time }) => combineHash(hashNumber(auction), hashNumber(time))),
    ),
    reset: () => void hashes.fill(0),
    run() {
      for (let round = 0; round < rounds; round++) hashRows(columns, rows.length, hashes)
      return rounds * hashes.length
    },
    checksum: () => digestOf(hashes),
  }
}

function encodeKeys(scale: Scale): Prepared {
  const input = inputOf(scale)
  const { rows, chunk, rounds } = input
  const encoder = new KeyEncoder(BID, KEY, DISTRIBUTION)
  const keys = new ByteListBuilder()
  return {
    ...commonOf(input),
    expected: digestOf(rows.map((row) => hashOfBytes(keyOf(row)))),
    run() {
      let count = 0
      for (let round = 0; round < rounds; round++) {
        keys.reset()
        encoder.encode(chunk.columns, null, rows.length, keys)
        count += keys.count
      }
      return count
    },
    checksum: () => digestOf(hashesOf(keys)),
  }
}

function encodeValues(scale: Scale): Prepared {
  const input = inputOf(scale)
  const { rows, chunk, rounds } = input
  const encoder = new ValueEncoder(BID, VALUE)
  const values = new ByteListBuilder()
  return {
    ...commonOf(input),
    expected: digestOf(rows.map((row) => hashOfBytes(valueOfBid(row)))),
    run() {
      let count = 0
      for (let round = 0; round < rounds; round++) {
        values.reset()
        encoder.encode(chunk.columns, null, rows.length, values)
        count += values.count
      }
      return count
    },
    checksum: () => digestOf(hashesOf(values)),
  }
}

function decode(scale: Scale): Prepared {
  const input = inputOf(scale)
  const { rows, rounds } = input
  const decoder = new RowDecoder(BID, KEY, VALUE)
  const keys = listOf(rows.map(keyOf))
  const values = listOf(rows.map(valueOfBid))
  const builders = BID.map((field) => new ColumnBuilder(field.type))
  return {
    ...commonOf(input),
    expected: digestOf(rows.map(hashOfBid)),
    run() {
      for (let round = 0; round < rounds; round++) {
        for (const builder of builders) builder.reset()
        decoder.decode(keys, values, 0, rows.length, builders)
      }
      return rounds * rows.length
    },
    checksum() {
      const columns = builders.map((builder) => builder.finish())
      return digestOfRows([new Chunk(rows.length, null, null, columns)])
    },
  }
}

/** vnode | int64 of the auction | int64 of the time, as row-codec.ts draws it */
function keyOf({ auction, time }: BidRow): Uint8Array {
  const key = new Uint8Array(20)
  const view = new DataView(key.buffer)
  view.setUint16(0, vnodeOfHash(hashNumber(auction)))
  key[2] = TAG_8
  view.setBigInt64(3, BigInt(auction) ^ -(2n ** 63n))
  key[11] = TAG_8
  view.setBigInt64(12, BigInt(time) ^ -(2n ** 63n))
  return key
}

/** The price as short as it can be, and a short text. */
function valueOfBid({ price, channel }: BidRow): Uint8Array {
  const byteCount = price < 2 ** 7 ? 1 : price < 2 ** 15 ? 2 : 4
  const number = [price, price >>> 8, price >>> 16, price >>> 24].slice(0, byteCount)
  const text = new TextEncoder().encode(channel)
  return Uint8Array.from([byteCount, ...number, 0x80 + text.length, ...text])
}

function listOf(items: readonly Uint8Array[]): ByteList {
  const list = new ByteListBuilder()
  for (const item of items) list.append(item, 0, item.length)
  return list
}

function hashesOf({ count, offsets, data }: ByteList): number[] {
  return Array.from({ length: count }, (_, i) => hashOfBytes(data, offsets[i], offsets[i + 1]))
}
