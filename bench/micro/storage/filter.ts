/** The filter of an SST: built, and asked for prefixes that are there and for others that are not. */
import { mix32 } from '../../../src/common/hash.ts'
import {
  FILTER_PROBES,
  fillFilter,
  filterBytes,
  prefixHash,
  probeFilter,
} from '../../../src/storage/sst/filter.ts'
import type { Benchmark, Prepared, Scale } from '../benchmark.ts'
import { hashNumber, hashOfBytes } from '../digest.ts'
import { keyOf, PREFIX_BYTES } from './records.ts'

export const BENCHMARKS: readonly Benchmark[] = [
  { name: 'filter/fill', unit: 'prefix', prepare: fill },
  { name: 'filter/probe, there', unit: 'probe', prepare: (scale) => probe(scale, 0) },
  { name: 'filter/probe, absent', unit: 'probe', prepare: (scale) => probe(scale, 1) },
]

const FALSE_POSITIVES_MAX = 0.02

function countOf({ tiny }: Scale): number {
  return tiny ? 2000 : 100_000
}

/** Prefixes of `count` keys, one after the other. The parts of a seed have none in common. */
function prefixesOf(seed: number, count: number, part: number): Uint8Array {
  const prefixes = new Uint8Array(count * PREFIX_BYTES)
  const first = (mix32(seed) & 0xffff) + part * 2 ** 30
  for (let i = 0; i < count; i++) {
    prefixes.set(keyOf(first + i, 0).subarray(0, PREFIX_BYTES), i * PREFIX_BYTES)
  }
  return prefixes
}

function hashesOf(prefixes: Uint8Array, count: number): Uint32Array {
  return Uint32Array.from({ length: count }, (_, i) =>
    prefixHash(prefixes, i * PREFIX_BYTES, (i + 1) * PREFIX_BYTES),
  )
}

/** The bits as docs/format.md has them, by exact arithmetic. */
function* bitsOf(hash: number, bitCount: number): Generator<number> {
  let position = BigInt(hash)
  let step = BigInt(mix32(hash ^ 0x9e37_79b9))
  for (let probe = 0n; probe < FILTER_PROBES; probe++) {
    yield Number((position * BigInt(bitCount)) >> 32n)
    position = BigInt.asUintN(32, position + step)
    step = BigInt.asUintN(32, step + probe)
  }
}

function fillNaively(hashes: Uint32Array, byteCount: number): Uint8Array {
  const filter = new Uint8Array(byteCount)
  for (const hash of hashes) {
    for (const bit of bitsOf(hash, byteCount * 8)) filter[bit >>> 3] |= 1 << (bit & 7)
  }
  return filter
}

function probeNaively(filter: Uint8Array, hash: number): boolean {
  for (const bit of bitsOf(hash, filter.length * 8)) {
    if (((filter[bit >>> 3] >>> (bit & 7)) & 1) === 0) return false
  }
  return true
}

function fill(scale: Scale): Prepared {
  const count = countOf(scale)
  const hashes = hashesOf(prefixesOf(scale.seed, count, 0), count)
  const filter = new Uint8Array(filterBytes(count))
  return {
    parameters: { prefixes: count, filterBytes: filter.length },
    unitsPerRun: count,
    expected: hashOfBytes(fillNaively(hashes, filter.length)),
    reset: () => void filter.fill(0),
    run() {
      fillFilter(filter, 0, filter.length, hashes, count)
      return count
    },
    checksum: () => hashOfBytes(filter),
  }
}

/** Hash and probe, as a reader pays them. @param part 0: what was put in; 1: nothing of it. */
function probe(scale: Scale, part: number): Prepared {
  const count = countOf(scale)
  const filter = fillNaively(hashesOf(prefixesOf(scale.seed, count, 0), count), filterBytes(count))
  const prefixes = prefixesOf(scale.seed, count, part)
  const positives = hashesOf(prefixes, count).filter((hash) => probeNaively(filter, hash)).length
  const isRight = part === 0 ? positives === count : positives < count * FALSE_POSITIVES_MAX
  let found = 0
  return {
    parameters: { prefixes: count, filterBytes: filter.length, positives },
    unitsPerRun: count,
    expected: isRight ? hashNumber(positives) : 0,
    run() {
      found = 0
      for (let at = 0; at < prefixes.length; at += PREFIX_BYTES) {
        const hash = prefixHash(prefixes, at, at + PREFIX_BYTES)
        if (probeFilter(filter, 0, filter.length, hash)) found++
      }
      return count
    },
    checksum: () => hashNumber(found),
  }
}
