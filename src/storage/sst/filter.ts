/**
 * The schema-aware filter of an SST: one Bloom filter per table over the prefix of the key that its readers
 * look up by (`prefixColumns`). Ten bits a prefix and seven probes give 0.8 % false positives; there are no
 * false negatives. A Bloom filter and not a fuse filter: it has no failing construction, the same cost at
 * every size, and a miss, which is what it is for, ends after two probes on average. See docs/format.md
 * ("Filter").
 * Hot path: one probe per SST and key looked up (20M a second); one insertion per distinct prefix written.
 * @see Bloom, "Space/time trade-offs in hash coding with allowable errors", 1970; Kirsch and Mitzenmacher,
 * "Less hashing, same performance", 2006 (enhanced double hashing)
 */
import { hashBytes, mix32 } from '../../common/hash.ts'

const PREFIX_SEED = 0x7475_7373
export const FILTER_BITS_PER_KEY = 10
export const FILTER_PROBES = 7

/**
 * What filters are asked with: a u32 of `key[start .. end]` = vnode | the leading columns of the user key
 * that the table's filter covers (`skipColumns(key, start + 2, end, prefixColumns)` gives the end).
 */
export function prefixHash(key: Uint8Array, start: number, end: number): number {
  return hashBytes(key, start, end, PREFIX_SEED)
}

/** Bytes of a filter over so many distinct prefixes. */
export function filterBytes(prefixCount: number): number {
  return Math.ceil((Math.max(prefixCount, 1) * FILTER_BITS_PER_KEY) / 8)
}

/** Sets the bits of `count` hashes in `target[start .. start + length]`, which must be zero before. */
export function fillFilter(
  target: Uint8Array,
  start: number,
  length: number,
  hashes: Uint32Array,
  count: number,
): void {
  const scale = (length * 8) / 2 ** 32
  for (let i = 0; i < count; i++) {
    let position = hashes[i]
    let step = mix32(position ^ 0x9e37_79b9)
    for (let probe = 0; probe < FILTER_PROBES; probe++) {
      const bit = (position * scale) >>> 0
      target[start + (bit >>> 3)] |= 1 << (bit & 7)
      position = (position + step) >>> 0
      step = (step + probe) >>> 0
    }
  }
}

/** False only when no prefix with this hash was put into the filter at `source[start .. start + length]`. */
export function probeFilter(
  source: Uint8Array,
  start: number,
  length: number,
  hash: number,
): boolean {
  const scale = (length * 8) / 2 ** 32
  let position = hash
  let step = mix32(position ^ 0x9e37_79b9)
  for (let probe = 0; probe < FILTER_PROBES; probe++) {
    const bit = (position * scale) >>> 0
    if ((source[start + (bit >>> 3)] & (1 << (bit & 7))) === 0) return false
    position = (position + step) >>> 0
    step = (step + probe) >>> 0
  }
  return true
}
