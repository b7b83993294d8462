/** Checksums of outputs, made outside the measured time: u32, folded value by value. */
import { combineHash, hashBytes, hashInteger } from '../../src/common/hash.ts'
import type { Chunk } from '../../src/stream/chunk.ts'
import { TEXT } from '../../src/stream/column.ts'

const BYTES_SEED = 0x6265_6e63

/** Of a safe integer. */
export function hashNumber(value: number): number {
  return hashInteger(value | 0, Math.floor(value / 2 ** 32) | 0)
}

export function hashOfBytes(source: Uint8Array, start = 0, end = source.length): number {
  return hashBytes(source, start, end, BYTES_SEED)
}

/** Of the hashes of a sequence, whose order matters. */
export function digestOf(hashes: Iterable<number>): number {
  let digest = 0
  for (const hash of hashes) digest = combineHash(digest, hash)
  return digest
}

/** Of the hashes of a set, in any order. */
export function digestOfSet(hashes: Iterable<number>): number {
  let digest = 0
  for (const hash of hashes) digest = (digest + hash) | 0
  return digest >>> 0
}

/**
 * Of the rows that are left when all changes were applied, in any order: each row is added when it comes and
 * subtracted when it goes.
 */
export function digestOfChanges(chunks: Iterable<Chunk>): number {
  let digest = 0
  for (const chunk of chunks) {
    for (let row = 0; row < chunk.rowCount; row++) {
      if (chunk.visible !== null && chunk.visible[row] === 0) continue
      const taken = chunk.ops !== null && (chunk.ops[row] & 1) === 1
      digest = (digest + (taken ? -1 : 1) * digestOfRow(chunk, row)) | 0
    }
  }
  return digest >>> 0
}

/** Of all rows in their order, visible or not. */
export function digestOfRows(chunks: Iterable<Chunk>): number {
  let digest = 0
  for (const chunk of chunks) {
    for (let row = 0; row < chunk.rowCount; row++) {
      digest = combineHash(digest, digestOfRow(chunk, row))
    }
  }
  return digest
}

function digestOfRow(chunk: Chunk, row: number): number {
  let digest = 0
  for (const { form, numbers, offsets, data } of chunk.columns) {
    const hash =
      form === TEXT ? hashOfBytes(data, offsets[row], offsets[row + 1]) : hashNumber(numbers[row])
    digest = combineHash(digest, hash)
  }
  return digest
}
