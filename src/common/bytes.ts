/**
 * Byte comparison and 64-bit helpers, used on every level below.
 * Hot path: called per key comparison (tens of millions a second).
 */
import type { Epoch } from './ids.ts'

/** Negative, zero, positive as memcmp; a proper prefix is smaller. Ranges are half-open. */
export function compareBytes(
  a: Uint8Array,
  aStart: number,
  aEnd: number,
  b: Uint8Array,
  bStart: number,
  bEnd: number,
): number {
  const aLength = aEnd - aStart
  const bLength = bEnd - bStart
  const shared = aLength < bLength ? aLength : bLength
  for (let i = 0; i < shared; i++) {
    const difference = a[aStart + i] - b[bStart + i]
    if (difference !== 0) return difference
  }
  return aLength - bLength
}

export function equalBytes(
  a: Uint8Array,
  aStart: number,
  aEnd: number,
  b: Uint8Array,
  bStart: number,
  bEnd: number,
): boolean {
  if (aEnd - aStart !== bEnd - bStart) return false
  for (let i = aStart, j = bStart; i < aEnd; i++, j++) if (a[i] !== b[j]) return false
  return true
}

/** Writes 8 bytes, `2^64 - 1 - epoch` big-endian, so that the newest version of a key sorts first. */
export function writeEpochDescending(target: Uint8Array, offset: number, epoch: Epoch): void {
  const high = ~Math.floor(epoch / 2 ** 32)
  const low = ~epoch
  target[offset] = high >>> 24
  target[offset + 1] = high >>> 16
  target[offset + 2] = high >>> 8
  target[offset + 3] = high
  target[offset + 4] = low >>> 24
  target[offset + 5] = low >>> 16
  target[offset + 6] = low >>> 8
  target[offset + 7] = low
}

/** The inverse of `writeEpochDescending`. */
export function readEpochDescending(source: Uint8Array, offset: number): Epoch {
  const high =
    ~(
      (source[offset] << 24) |
      (source[offset + 1] << 16) |
      (source[offset + 2] << 8) |
      source[offset + 3]
    ) >>> 0
  const low =
    ~(
      (source[offset + 4] << 24) |
      (source[offset + 5] << 16) |
      (source[offset + 6] << 8) |
      source[offset + 7]
    ) >>> 0
  return (high * 2 ** 32 + low) as Epoch
}
