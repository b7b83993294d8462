/** Chunks of a Nexmark bid to bytes and back, as exchanges do it: whole, and the rows that one receiver gets. */
import {
  decodeChunk,
  encodeChunk,
  encodedBytes,
  encodedRowsBytes,
  encodeRows,
} from '../../../src/actors/chunk-codec.ts'
import { CHUNK_ROWS, type Chunk } from '../../../src/stream/chunk.ts'
import type { Benchmark, Prepared, Scale } from '../benchmark.ts'
import { digestOf, digestOfRows } from '../digest.ts'
import { type BidRow, bidChunk, bidRows, hashOfBid } from '../stream/bids.ts'

export const BENCHMARKS: readonly Benchmark[] = [
  { name: 'chunk-codec/encode', unit: 'row', prepare: encodeWhole },
  { name: 'chunk-codec/encode every other row', unit: 'row', prepare: encodePart },
  { name: 'chunk-codec/decode', unit: 'chunk', prepare: decode },
]

function chunksOf({ seed, tiny }: Scale): { chunks: Chunk[]; rows: BidRow[][] } {
  const rows: BidRow[][] = []
  for (let i = 0; i < (tiny ? 2 : 64); i++) rows.push(bidRows(seed + i, tiny ? 50 : CHUNK_ROWS))
  return { chunks: rows.map(bidChunk), rows }
}

function digestOfBids(rows: readonly (readonly BidRow[])[]): number {
  return digestOf(rows.flat().map(hashOfBid))
}

function digestOfTarget(target: Uint8Array, starts: readonly number[]): number {
  return digestOfRows(starts.map((start) => decodeChunk(target, start)))
}

function encodeWhole(scale: Scale): Prepared {
  const { chunks, rows } = chunksOf(scale)
  const sizes = chunks.map(encodedBytes)
  const target = new Uint8Array(new SharedArrayBuffer(sizes.reduce((sum, size) => sum + size, 0)))
  const starts: number[] = []
  return {
    parameters: { chunks: chunks.length, rowsPerChunk: chunks[0].rowCount, columns: 4 },
    unitsPerRun: chunks.reduce((sum, chunk) => sum + chunk.rowCount, 0),
    bytesPerRun: target.length,
    expected: digestOfBids(rows),
    reset: () => void target.fill(0),
    run() {
      starts.length = 0
      let at = 0
      let count = 0
      for (const chunk of chunks) {
        starts.push(at)
        at = encodeChunk(chunk, target, at)
        count += chunk.rowCount
      }
      return count
    },
    checksum: () => digestOfTarget(target, starts),
  }
}

/** What a sender to two receivers does for one of them. */
function encodePart(scale: Scale): Prepared {
  const { chunks, rows } = chunksOf(scale)
  const list = Uint32Array.from({ length: chunks[0].rowCount / 2 }, (_, i) => 2 * i + 1)
  const sizes = chunks.map((chunk) => encodedRowsBytes(chunk, list, 0, list.length))
  const target = new Uint8Array(new SharedArrayBuffer(sizes.reduce((sum, size) => sum + size, 0)))
  const starts: number[] = []
  return {
    parameters: { chunks: chunks.length, rowsPerChunk: list.length, columns: 4 },
    unitsPerRun: chunks.length * list.length,
    bytesPerRun: target.length,
    expected: digestOfBids(rows.map((bids) => bids.filter((_, i) => i % 2 === 1))),
    reset: () => void target.fill(0),
    run() {
      starts.length = 0
      let at = 0
      let count = 0
      for (const chunk of chunks) {
        starts.push(at)
        at = encodeRows(chunk, list, 0, list.length, target, at)
        count += list.length
      }
      return count
    },
    checksum: () => digestOfTarget(target, starts),
  }
}

function decode(scale: Scale): Prepared {
  const { chunks, rows } = chunksOf(scale)
  const encoded = chunks.map((chunk) => {
    const bytes = new Uint8Array(new SharedArrayBuffer(encodedBytes(chunk)))
    encodeChunk(chunk, bytes, 0)
    return bytes
  })
  let decoded: Chunk[] = []
  return {
    parameters: { chunks: chunks.length, rowsPerChunk: chunks[0].rowCount, columns: 4 },
    unitsPerRun: chunks.length,
    expected: digestOfBids(rows),
    run() {
      decoded = []
      for (const bytes of encoded) decoded.push(decodeChunk(bytes))
      return decoded.length
    },
    checksum: () => digestOfRows(decoded),
  }
}
