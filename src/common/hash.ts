/**
 * Hashes and checksums. All of them are part of the persisted format or of placement: changing one
 * changes where rows live. See docs/format.md.
 * Hot path: once per key.
 */
import { crc32 } from 'node:zlib'
import { VNODE_COUNT } from './ids.ts'

/** Final mix of MurmurHash3 (Appleby, public domain): every input bit reaches every output bit. u32. */
export function mix32(value: number): number {
  let h = value | 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/** u32 hash of a byte range: MurmurHash3 body with 32-bit lanes, inlined (no call per byte). */
export function hashBytes(source: Uint8Array, start: number, end: number, seed: number): number {
  let h = seed | 0
  let i = start
  for (; i + 4 <= end; i += 4) {
    let k = source[i] | (source[i + 1] << 8) | (source[i + 2] << 16) | (source[i + 3] << 24)
    k = Math.imul(k, 0xcc9e2d51)
    k = Math.imul((k << 15) | (k >>> 17), 0x1b873593)
    h ^= k
    h = Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64
  }
  let tail = 0
  for (let shift = 0; i < end; i++, shift += 8) tail |= source[i] << shift
  if (tail !== 0) {
    tail = Math.imul(tail, 0xcc9e2d51)
    h ^= Math.imul((tail << 15) | (tail >>> 17), 0x1b873593)
  }
  h ^= end - start
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/** u32 hash of a 64-bit integer given as its two's complement halves. */
export function hashInteger(low: number, high: number): number {
  return mix32(Math.imul(low, 0x9e3779b1) ^ Math.imul(high ^ (low >>> 15), 0x85ebca77))
}

/** Folds one column's hash into a row's. */
export function combineHash(left: number, right: number): number {
  return mix32(Math.imul(left, 31) + right)
}

/** The vnode of a row, from the hash of its distribution key: `hash mod VNODE_COUNT`, a power of two. */
export function vnodeOfHash(hash: number): number {
  // A remainder of u32 values takes about 3 times as long, and far longer before it is optimized.
  return hash & (VNODE_COUNT - 1)
}

/** CRC-32 (IEEE) of a range; takes shared memory. */
export function checksum(source: Uint8Array, start = 0, end = source.length): number {
  return crc32(start === 0 && end === source.length ? source : source.subarray(start, end))
}
