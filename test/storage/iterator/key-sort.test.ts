import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type KeyList, RECORD_WORDS, sortKeys } from '../../../src/storage/iterator/key-sort.ts'
import { tableKey, versionedKey } from '../sst/support.ts'

function listOf(keys: readonly Uint8Array[]): KeyList {
  const records = new Int32Array(keys.length * RECORD_WORDS)
  let start = 0
  keys.forEach((key, i) => {
    records.set([start, key.length], i * RECORD_WORDS)
    start += key.length
  })
  return { bytes: Uint8Array.from(Buffer.concat(keys)), records, count: keys.length }
}

function expectSorted(keys: readonly Uint8Array[]): void {
  const expected = keys
    .map((_, i) => i)
    .sort((left, right) => Buffer.compare(keys[left], keys[right]) || left - right)
  expect([...sortKeys(listOf(keys))]).toEqual(expected)
}

test('sorts versioned keys as memcmp does, equal ones in their order', () => {
  const key = fc
    .tuple(fc.nat(3), fc.oneof(fc.nat(5), fc.nat(2 ** 40), fc.string({ maxLength: 30 })), fc.nat(3))
    .map(([vnode, part, epoch]) => versionedKey(tableKey(vnode, part), epoch))
  fc.assert(fc.property(fc.array(key, { maxLength: 600 }), expectSorted))
})

test('sorts many keys with long common parts', () => {
  const keys: Uint8Array[] = []
  for (let i = 0; i < 5000; i++) {
    const scattered = (i * 7919) % 1250
    keys.push(versionedKey(tableKey(scattered % 3, 'common '.repeat(9), scattered), 77))
  }
  expectSorted(keys)
})

test('sorts keys of one length that are no table keys', () => {
  const key = fc.uint8Array({ minLength: 5, maxLength: 5, max: 2 })
  fc.assert(fc.property(fc.array(key, { maxLength: 2000 }), expectSorted))
})

test('sorts nothing, one key and equal keys', () => {
  expectSorted([])
  expectSorted([Uint8Array.of(1)])
  expectSorted(Array.from({ length: 100 }, () => versionedKey(tableKey(1, 1), 1)))
})
