import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  compareBytes,
  equalBytes,
  readEpochDescending,
  writeEpochDescending,
} from '../../src/common/bytes.ts'
import { EPOCH_ZERO, epoch } from '../../src/common/ids.ts'

/** Few different bytes, so that long common prefixes are common. */
const text = fc.uint8Array({ maxLength: 12 }).map((bytes) => bytes.map((byte) => byte % 3 && byte))

test('bytes compare as memcmp does, in the middle of other bytes', () => {
  fc.assert(
    fc.property(text, text, fc.nat(5), fc.nat(5), (a, b, aStart, bStart) => {
      const around = (bytes: Uint8Array, start: number) => {
        const all = new Uint8Array(start + bytes.length + 3).fill(0x55)
        all.set(bytes, start)
        return all
      }
      const aAll = around(a, aStart)
      const bAll = around(b, bStart)
      const ends = [aStart + a.length, bStart + b.length]
      const found = compareBytes(aAll, aStart, ends[0], bAll, bStart, ends[1])
      expect(Math.sign(found)).toBe(Buffer.compare(a, b))
      expect(equalBytes(aAll, aStart, ends[0], bAll, bStart, ends[1])).toBe(found === 0)
    }),
  )
})

describe('epochs in keys', () => {
  const anyEpoch = fc.oneof(fc.maxSafeNat(), fc.nat(1000)).map(epoch)
  const written = (value: number) => {
    const bytes = new Uint8Array(12).fill(0xaa)
    writeEpochDescending(bytes, 2, epoch(value))
    return bytes
  }

  test('come back, and touch eight bytes', () => {
    fc.assert(
      fc.property(anyEpoch, (value) => {
        const bytes = written(value)
        expect(readEpochDescending(bytes, 2)).toBe(value)
        expect([bytes[0], bytes[1], bytes[10], bytes[11]]).toEqual([0xaa, 0xaa, 0xaa, 0xaa])
        const stored = new DataView(bytes.buffer).getBigUint64(2)
        expect(stored).toBe(2n ** 64n - 1n - BigInt(value))
      }),
    )
    expect(readEpochDescending(written(EPOCH_ZERO), 2)).toBe(0)
    expect(readEpochDescending(written(Number.MAX_SAFE_INTEGER), 2)).toBe(Number.MAX_SAFE_INTEGER)
  })

  test('the newest sorts first', () => {
    fc.assert(
      fc.property(anyEpoch, anyEpoch, (a, b) => {
        const order = Math.sign(Buffer.compare(written(a), written(b)))
        expect(order).toBe(Math.sign(b - a) + 0)
      }),
    )
  })
})
