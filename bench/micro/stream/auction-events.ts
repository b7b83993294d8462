/** Auctions and the bids on them in the proportions, the skew and the order of Nexmark's events. */
import { CHUNK_ROWS, Chunk } from '../../../src/stream/chunk.ts'
import { Column } from '../../../src/stream/column.ts'
import type { Schema } from '../../../src/stream/schema.ts'
import type { Scale } from '../benchmark.ts'
import { randomOf } from '../random.ts'

export const AUCTION: Schema = [
  { name: 'id', type: 'bigint' },
  { name: 'category', type: 'bigint' },
  { name: 'date_time', type: 'timestamp' },
  { name: 'expires', type: 'timestamp' },
  { name: '_row_id', type: 'bigint' },
]
export const BID: Schema = [
  { name: 'auction', type: 'bigint' },
  { name: 'price', type: 'bigint' },
  { name: 'date_time', type: 'timestamp' },
  { name: '_row_id', type: 'bigint' },
]
/** The inputs of the join that batches go to. */
const AUCTIONS = 0
export const BIDS = 1

/** Columns as in the schemas. */
export type EventRow = readonly number[]

export interface Events {
  readonly auctions: readonly EventRow[]
  readonly bids: readonly EventRow[]
  readonly batches: readonly Batch[]
}

export interface Batch {
  readonly input: number
  readonly chunk: Chunk
  /** A barrier follows. */
  readonly endsEpoch: boolean
}

const GAP_US = 100
const LIFETIME_US = 200_000
const FIRST_ID = 1000

/** Of 50 events 3 are auctions and 46 bids; half of the bids go to the hot auction. */
export function makeEvents({ seed, tiny }: Scale): Events {
  const random = randomOf(seed)
  const eventCount = tiny ? 4000 : 100_000
  const chunkEvents = tiny ? 500 : CHUNK_ROWS
  const chunksPerEpoch = tiny ? 2 : 12
  const auctions: EventRow[] = []
  const bids: EventRow[] = []
  const batches: Batch[] = []
  const chunkCount = Math.ceil(eventCount / chunkEvents)
  for (let chunk = 0; chunk < chunkCount; chunk++) {
    const firstAuction = auctions.length
    const firstBid = bids.length
    for (let event = chunk * chunkEvents; event < (chunk + 1) * chunkEvents; event++) {
      if (event % 50 === 0) continue
      if (event % 50 < 4) auctions.push(makeAuction(auctions.length, event, random))
      else bids.push(makeBid(auctions.length, event, random))
    }
    const endsEpoch = (chunk + 1) % chunksPerEpoch === 0 || chunk + 1 === chunkCount
    const auctionChunk = eventChunk(AUCTION, auctions.slice(firstAuction))
    batches.push({ input: AUCTIONS, chunk: auctionChunk, endsEpoch: false })
    batches.push({ input: BIDS, chunk: eventChunk(BID, bids.slice(firstBid)), endsEpoch })
  }
  return { auctions, bids, batches }
}

function makeAuction(index: number, event: number, random: () => number): EventRow {
  const time = event * GAP_US
  return [FIRST_ID + index, 10 + Math.floor(random() * 5), time, time + LIFETIME_US, event]
}

function makeBid(auctionCount: number, event: number, random: () => number): EventRow {
  const hot = Math.floor(auctionCount / 100) * 100
  const near = Math.max(auctionCount - 100 + Math.floor(random() * 111), 0)
  const auction = FIRST_ID + (random() < 0.5 ? hot : near)
  return [auction, Math.floor(random() * 1e6), event * GAP_US, event]
}

export function eventChunk(schema: Schema, rows: readonly EventRow[]): Chunk {
  const columns = schema.map(({ type }, i) =>
    Column.narrow(
      type,
      Float64Array.from(rows, (row) => row[i]),
      null,
    ),
  )
  return new Chunk(rows.length, null, null, columns)
}
