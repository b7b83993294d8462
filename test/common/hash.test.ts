import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  checksum,
  combineHash,
  hashBytes,
  hashInteger,
  mix32,
  vnodeOfHash,
} from '../../src/common/hash.ts'
import { VNODE_COUNT } from '../../src/common/ids.ts'

const encode = (text: string) => new TextEncoder().encode(text)

/** Largest share of `count` values that meet in one vnode, over the fair share. */
function unevenness(hashes: Iterable<number>): number {
  const counts = new Uint32Array(VNODE_COUNT)
  let count = 0
  for (const hash of hashes) {
    counts[vnodeOfHash(hash)]++
    count++
  }
  return Math.max(...counts) / (count / VNODE_COUNT)
}

function* range(count: number): Iterable<number> {
  for (let i = 0; i < count; i++) yield i
}

describe('hashes', () => {
  test('are part of the format: these values never change', () => {
    const known = [
      mix32(1),
      hashBytes(encode(''), 0, 0, 0),
      hashBytes(encode('hello'), 0, 5, 0),
      hashBytes(encode('hello, world'), 0, 12, 7),
      hashInteger(1, 0),
      hashInteger(-1, -1),
      combineHash(1, 2),
      checksum(encode('123456789')),
    ]
    expect(known).toEqual([
      0x514e28b7, 0x0, 0x248bfa47, 0xa1106a83, 0x11fd02eb, 0x27af14fe, 0xfaed0e12, 0xcbf43926,
    ])
  })

  test('are u32, and depend on the range only', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 20 }), fc.nat(9), fc.integer(), (bytes, pad, seed) => {
        const alone = hashBytes(bytes, 0, bytes.length, seed)
        const inside = new Uint8Array(bytes.length + 2 * pad).fill(0xee)
        inside.set(bytes, pad)
        expect(hashBytes(inside, pad, pad + bytes.length, seed)).toBe(alone)
        expect(Number.isInteger(alone) && alone >= 0 && alone < 2 ** 32).toBe(true)
      }),
    )
  })

  test('trailing zero bytes count', () => {
    const hashes = [0, 1, 2, 3, 4, 5].map((n) => hashBytes(new Uint8Array(8), 0, n, 0))
    expect(new Set(hashes).size).toBe(6)
  })

  test('spread what keys look like over the vnodes', () => {
    const count = 100_000
    const name = (i: number) => encode(`user-${i}`)
    const integers = [...range(count)]
    expect(unevenness(integers.map((i) => hashInteger(i, 0)))).toBeLessThan(1.3)
    expect(unevenness(integers.map((i) => hashInteger(i * 256, 0)))).toBeLessThan(1.3)
    expect(unevenness(integers.map((i) => hashInteger(0, i)))).toBeLessThan(1.3)
    expect(unevenness(integers.map((i) => hashInteger(-i, -1)))).toBeLessThan(1.3)
    expect(unevenness(integers.map((i) => hashBytes(name(i), 0, name(i).length, 0)))).toBeLessThan(
      1.3,
    )
    expect(
      unevenness(
        integers.map((i) => combineHash(hashInteger(i % 300, 0), hashInteger(i / 300, 0))),
      ),
    ).toBeLessThan(1.3)
  })

  test('vnodes are within their count', () => {
    for (const hash of [0, 1, 255, 256, 2 ** 31, 2 ** 32 - 1]) {
      expect(vnodeOfHash(hash)).toBeGreaterThanOrEqual(0)
      expect(vnodeOfHash(hash)).toBeLessThan(VNODE_COUNT)
    }
  })

  test('checksum is CRC-32, of ranges and of shared memory', () => {
    const shared = new Uint8Array(new SharedArrayBuffer(100)).map((_, i) => i)
    const copy = Buffer.from(shared)
    const view = new Uint8Array(new SharedArrayBuffer(100))
    view.set(shared)
    expect(checksum(view)).toBe(crc32(copy))
    expect(checksum(view, 10, 20)).toBe(crc32(copy.subarray(10, 20)))
    expect(checksum(view, 5, 5)).toBe(0)
  })
})
