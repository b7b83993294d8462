import fc from 'fast-check'
import { expect, test } from 'vitest'
import { mix32 } from '../../../src/common/hash.ts'
import {
  fillFilter,
  filterBytes,
  prefixHash,
  probeFilter,
} from '../../../src/storage/sst/filter.ts'
import { tableKey } from './support.ts'

test('a filter has every hash that was put into it', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(0xffff_ffff), { minLength: 1, maxLength: 500 }), (hashes) => {
      const length = filterBytes(hashes.length)
      const bits = new Uint8Array(length + 6)
      fillFilter(bits, 3, length, Uint32Array.from(hashes), hashes.length)
      for (const hash of hashes) expect(probeFilter(bits, 3, length, hash)).toBe(true)
      expect([bits[0], bits[1], bits[2], ...bits.subarray(length + 3)]).toEqual([0, 0, 0, 0, 0, 0])
    }),
  )
})

test.each([1_000, 30_000, 300_000])(
  '%d prefixes: at most 10 bits each, below 1 percent wrong',
  (count) => {
    const hashes = new Uint32Array(count)
    for (let i = 0; i < count; i++) {
      const key = tableKey(i & 255, i)
      hashes[i] = prefixHash(key, 0, key.length)
    }
    const length = filterBytes(count)
    expect(length * 8).toBeLessThanOrEqual(count * 10 + 7)
    const bits = new Uint8Array(length)
    fillFilter(bits, 0, length, hashes, count)
    let wrong = 0
    const probes = 200_000
    for (let i = 0; i < probes; i++) {
      const key = tableKey(i & 255, i + count)
      if (probeFilter(bits, 0, length, prefixHash(key, 0, key.length))) wrong++
    }
    expect(wrong / probes).toBeLessThan(0.01)
    expect(wrong).toBeGreaterThan(0)
  },
)

test('hashes that differ in little spread as well', () => {
  const count = 10_000
  const hashes = Uint32Array.from({ length: count }, (_, i) => i)
  const bits = new Uint8Array(filterBytes(count))
  fillFilter(bits, 0, bits.length, hashes, count)
  let wrong = 0
  for (let i = 0; i < 100_000; i++) if (probeFilter(bits, 0, bits.length, mix32(i + 77))) wrong++
  expect(wrong).toBeLessThan(2_000)
})
