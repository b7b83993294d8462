/** Bids as rows of plain values, which naive code looks at, and as chunks, which the code under test does. */
import { combineHash } from '../../../src/common/hash.ts'
import { Chunk } from '../../../src/stream/chunk.ts'
import { Column } from '../../../src/stream/column.ts'
import type { Schema } from '../../../src/stream/schema.ts'
import { hashNumber, hashOfBytes } from '../digest.ts'
import { integersOf } from '../random.ts'

export interface BidRow {
  readonly auction: number
  /** Cents. */
  readonly price: number
  readonly channel: string
  /** Microseconds. */
  readonly time: number
}

/** Positions of the columns of `bidChunk`. */
export const AUCTION = 0
export const PRICE = 1
export const CHANNEL = 2
export const TIME = 3

export const BID: Schema = [
  { name: 'auction', type: 'bigint' },
  { name: 'price', type: 'bigint' },
  { name: 'channel', type: 'varchar' },
  { name: 'date_time', type: 'timestamp' },
]

const CHANNELS = ['Google', 'Facebook', 'Baidu', 'Apple', 'channel-4711', 'channel-12']
const encoder = new TextEncoder()

export function bidRows(seed: number, count: number): BidRow[] {
  const integer = integersOf(seed)
  return Array.from({ length: count }, (_, i) => ({
    auction: 1000 + integer(20_000),
    price: 100 + integer(10_000_000),
    channel: CHANNELS[integer(CHANNELS.length)],
    time: 1_600_000_000_000_000 + i * 100,
  }))
}

export function bidChunk(rows: readonly BidRow[]): Chunk {
  const texts = rows.map((row) => encoder.encode(row.channel))
  const offsets = new Uint32Array(rows.length + 1)
  for (let i = 0; i < rows.length; i++) offsets[i + 1] = offsets[i] + texts[i].length
  const data = new Uint8Array(offsets[rows.length])
  for (let i = 0; i < rows.length; i++) data.set(texts[i], offsets[i])
  return new Chunk(rows.length, null, null, [
    Column.narrow(
      'bigint',
      Float64Array.from(rows, (row) => row.auction),
      null,
    ),
    Column.narrow(
      'bigint',
      Float64Array.from(rows, (row) => row.price),
      null,
    ),
    Column.text('varchar', offsets, data, null),
    Column.narrow(
      'timestamp',
      Float64Array.from(rows, (row) => row.time),
      null,
    ),
  ])
}

/** As `digestOfRows` has it of a row. */
export function hashOfBid(row: BidRow): number {
  let digest = combineHash(0, hashNumber(row.auction))
  digest = combineHash(digest, hashNumber(row.price))
  digest = combineHash(digest, hashOfBytes(encoder.encode(row.channel)))
  return combineHash(digest, hashNumber(row.time))
}
