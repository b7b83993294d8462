import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  EPOCH_ORIGIN_MS,
  EPOCH_ZERO,
  epoch,
  epochTimeMs,
  generation,
  nextEpoch,
  tableId,
  VNODE_COUNT,
  vnode,
} from '../../src/common/ids.ts'

describe('epochs', () => {
  test('fault 21: increase whatever the clock does', () => {
    const clock = fc.integer({ min: -1e12, max: 8e12 })
    fc.assert(
      fc.property(fc.array(clock, { minLength: 1 }), (clocks) => {
        let last = EPOCH_ZERO
        for (const nowMs of clocks) {
          const next = nextEpoch(last, nowMs)
          expect(next).toBeGreaterThan(last)
          expect(Number.isSafeInteger(next)).toBe(true)
          last = next
        }
      }),
    )
  })

  test('tell their time when the clock was right', () => {
    const nowMs = EPOCH_ORIGIN_MS + 123_456_789
    expect(epochTimeMs(nextEpoch(EPOCH_ZERO, nowMs))).toBe(nowMs)
    expect(epochTimeMs(nextEpoch(nextEpoch(EPOCH_ZERO, nowMs), nowMs))).toBe(nowMs)
  })

  test('fault 43: stay safe integers for a thousand years, and stop at the end', () => {
    const inThousandYears = EPOCH_ORIGIN_MS + 1000 * 366 * 86_400_000
    expect(Number.isSafeInteger(nextEpoch(EPOCH_ZERO, inThousandYears))).toBe(true)
    expect(() => nextEpoch(epoch(Number.MAX_SAFE_INTEGER), 0)).toThrow('safe integer')
  })
})

test('numbers out of range are refused', () => {
  for (const wrong of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
    expect(() => epoch(wrong)).toThrow('assertion failed')
    expect(() => generation(wrong)).toThrow('assertion failed')
    expect(() => tableId(wrong)).toThrow('assertion failed')
    expect(() => vnode(wrong)).toThrow('assertion failed')
  }
  expect(() => tableId(0)).toThrow('assertion failed')
  expect(() => tableId(2 ** 32)).toThrow('assertion failed')
  expect(() => vnode(VNODE_COUNT)).toThrow('assertion failed')
  expect([tableId(2 ** 32 - 1), vnode(VNODE_COUNT - 1)]).toEqual([2 ** 32 - 1, VNODE_COUNT - 1])
})
