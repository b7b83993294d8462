/**
 * What every object store must do, as tests: called once per store with a factory. A store is opened
 * empty for each test.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ObjectInfo, ObjectStore } from '../../src/storage/object/object-store.ts'

export interface ConformanceOptions {
  /** The store retries, so that `exists` may mean "an earlier attempt of mine". */
  readonly ambiguous?: boolean
  /** Size of a body that the store uploads in several parts, and one byte more than a whole part. */
  readonly largeBytes?: number
  /** Size of a page of a listing, when small enough to be tested. */
  readonly pageKeys?: number
  /** Objects to list; default 25. */
  readonly listedCount?: number
}

export function pattern(length: number, seed = 0): Uint8Array {
  const body = new Uint8Array(length)
  for (let i = 0; i < length; i++) body[i] = (i * 31 + (i >>> 8) * 7 + seed) & 0xff
  return body
}

async function listed(store: ObjectStore, prefix: string, after?: string): Promise<ObjectInfo[]> {
  const found: ObjectInfo[] = []
  for await (const page of store.list(prefix, after)) found.push(...page)
  return found
}

async function listedKeys(store: ObjectStore, prefix: string, after?: string): Promise<string[]> {
  return (await listed(store, prefix, after)).map((object) => object.key).sort()
}

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise
  } catch (error) {
    return error
  }
  return 'did not reject'
}

export function objectStoreConformance(
  name: string,
  open: () => Promise<ObjectStore>,
  options: ConformanceOptions = {},
): void {
  const created = options.ambiguous === true ? /^(created|exists)$/ : /^created$/

  describe(`object store: ${name}`, () => {
    let store: ObjectStore
    beforeEach(async () => {
      store = await open()
    })
    afterEach(() => store.close())

    test('put, then get the same bytes', async () => {
      const body = pattern(10_000)
      await store.put('a/b/c-1.sst', body)
      expect(await store.get('a/b/c-1.sst')).toEqual(body)
    })

    test('put replaces the whole object', async () => {
      await store.put('a', pattern(100))
      await store.put('a', pattern(7, 1))
      expect(await store.get('a')).toEqual(pattern(7, 1))
      expect((await store.head('a'))?.sizeBytes).toBe(7)
    })

    test('an empty object is an object', async () => {
      await store.put('empty', new Uint8Array(0))
      expect(await store.get('empty')).toEqual(new Uint8Array(0))
      expect((await store.head('empty'))?.sizeBytes).toBe(0)
      expect(await store.putIfAbsent('empty', pattern(1))).toBe('exists')
    })

    test('what is not there is null, also where a folder or a longer name is', async () => {
      await store.put('a/b', pattern(3))
      await store.put('abc', pattern(3))
      for (const key of ['a', 'a/b/c', 'ab', 'none', 'none/at/all']) {
        expect(await store.get(key), key).toBeNull()
        expect(await store.get(key, { offset: 0, length: 1 }), key).toBeNull()
        expect(await store.head(key), key).toBeNull()
      }
    })

    test('ranges, to the last byte', async () => {
      const body = pattern(1000)
      await store.put('a', body)
      for (const [offset, length] of [
        [0, 1],
        [0, 1000],
        [999, 1],
        [17, 300],
      ] as const) {
        expect(await store.get('a', { offset, length })).toEqual(
          body.slice(offset, offset + length),
        )
      }
    })

    test('a range beyond the end is corruption that names the object', async () => {
      await store.put('a/b', pattern(1000))
      for (const range of [
        { offset: 999, length: 2 },
        { offset: 1000, length: 1 },
        { offset: 5000, length: 10 },
      ]) {
        expect(await rejection(store.get('a/b', range))).toMatchObject({
          code: 'CORRUPTION',
          context: { key: 'a/b', offset: range.offset },
        })
      }
    })

    test('putIfAbsent creates once and never replaces', async () => {
      expect(await store.putIfAbsent('log/1', pattern(10))).toMatch(created)
      expect(await store.putIfAbsent('log/1', pattern(20, 1))).toBe('exists')
      expect(await store.get('log/1')).toEqual(pattern(10))
      await store.delete(['log/1'])
      expect(await store.putIfAbsent('log/1', pattern(20, 1))).toMatch(created)
    })

    test('of twenty that create one name, exactly one does', async () => {
      const results = await Promise.all(
        Array.from({ length: 20 }, (_, i) => store.putIfAbsent('log/1', pattern(500 + i, i))),
      )
      const body = await store.get('log/1')
      const winner = (body?.length ?? 0) - 500
      expect(body).toEqual(pattern(500 + winner, winner))
      const winners = results.flatMap((result, i) => (result === 'created' ? [i] : []))
      if (options.ambiguous !== true) expect(winners).toEqual([winner])
      else expect([[], [winner]]).toContainEqual(winners)
    })

    test('bodies may be views of shared memory, and the caller keeps them', async () => {
      const slab = new Uint8Array(new SharedArrayBuffer(5000))
      slab.set(pattern(5000))
      await store.put('a', slab.subarray(100, 1100))
      await store.putIfAbsent('b', slab.subarray(2000, 3000))
      slab.fill(0)
      expect(await store.get('a')).toEqual(pattern(5000).slice(100, 1100))
      expect(await store.get('b')).toEqual(pattern(5000).slice(2000, 3000))
    })

    test('what get returns is the caller’s own', async () => {
      await store.put('a', pattern(100))
      const first = await store.get('a')
      first?.fill(0)
      expect(await store.get('a')).toEqual(pattern(100))
    })

    test('list: prefixes, whole and partial, and startAfter', async () => {
      const keys = ['a/1', 'a/10', 'a/2', 'a/b/1', 'ab', 'b/1']
      for (const key of keys) await store.put(key, pattern(key.length))
      expect(await listedKeys(store, '')).toEqual(keys)
      expect(await listedKeys(store, 'a/')).toEqual(['a/1', 'a/10', 'a/2', 'a/b/1'])
      expect(await listedKeys(store, 'a')).toEqual(['a/1', 'a/10', 'a/2', 'a/b/1', 'ab'])
      expect(await listedKeys(store, 'a/1')).toEqual(['a/1', 'a/10'])
      expect(await listedKeys(store, 'a/', 'a/10')).toEqual(['a/2', 'a/b/1'])
      expect(await listedKeys(store, 'a/', 'a/11')).toEqual(['a/2', 'a/b/1'])
      expect(await listedKeys(store, 'c')).toEqual([])
      expect(await listedKeys(store, 'none/at/all/')).toEqual([])
    })

    test('list: sizes and times are those of head', async () => {
      await store.put('a/1', pattern(123))
      const [object] = await listed(store, 'a/')
      expect(object.sizeBytes).toBe(123)
      expect(object.modifiedMs).toBeGreaterThan(Date.UTC(2020, 0, 1))
      const head = await store.head('a/1')
      expect(head?.key).toBe('a/1')
      // S3 has seconds in one and milliseconds in the other.
      expect(Math.abs((head?.modifiedMs ?? 0) - object.modifiedMs)).toBeLessThan(1000)
    })

    test('list: pages hold each object once', async () => {
      const count = options.listedCount ?? 25
      const keys = Array.from({ length: count }, (_, i) => `p/${String(i).padStart(5, '0')}`)
      for (let at = 0; at < count; at += 50) {
        await Promise.all(keys.slice(at, at + 50).map((key) => store.put(key, pattern(1))))
      }
      let pageCount = 0
      const found: string[] = []
      for await (const page of store.list('p/')) {
        pageCount++
        expect(page.length).toBeGreaterThan(0)
        found.push(...page.map((object) => object.key))
      }
      expect(found.sort()).toEqual(keys)
      if (options.pageKeys !== undefined) {
        expect(pageCount).toBeGreaterThanOrEqual(Math.ceil(count / options.pageKeys))
      }
    })

    test('list: leaving early is fine', async () => {
      for (let i = 0; i < 5; i++) await store.put(`p/${i}`, pattern(1))
      for await (const page of store.list('p/')) {
        expect(page.length).toBeGreaterThan(0)
        break
      }
    })

    test('delete: many at once, absent ones too, none at all', async () => {
      for (const key of ['a/1', 'a/2', 'b']) await store.put(key, pattern(1))
      await store.delete(['a/1', 'a/3', 'b'])
      expect(await listedKeys(store, '')).toEqual(['a/2'])
      await store.delete(['a/2'])
      await store.delete(['a/2'])
      await store.delete([])
      expect(await listedKeys(store, '')).toEqual([])
    })

    test('keys that lead out of the root are refused', async () => {
      for (const key of [
        '../x',
        'a/../../x',
        '/etc/passwd',
        'a//b',
        'a/',
        '',
        '.tmp/x',
        'a\0b',
        'é',
      ]) {
        expect(await rejection(store.put(key, pattern(1))), key).toMatchObject({ code: 'INTERNAL' })
        expect(await rejection(store.get(key)), key).toMatchObject({ code: 'INTERNAL' })
        expect(await rejection(store.delete([key])), key).toMatchObject({ code: 'INTERNAL' })
      }
    })

    test('requests are counted', async () => {
      const before = { ...store.requests }
      await store.put('a', pattern(1))
      await store.putIfAbsent('a', pattern(1))
      await store.get('a')
      await store.head('a')
      await listed(store, '')
      await store.delete(['a'])
      const { put, get, list, delete: deletes } = store.requests
      const made = [put - before.put, get - before.get, list - before.list, deletes - before.delete]
      if (options.ambiguous === true) {
        for (const count of made) expect(count).toBeGreaterThan(0)
      } else {
        expect(made).toEqual([2, 2, 1, 1])
      }
    })

    test('a large object, whole and by ranges across its parts', async () => {
      const size = options.largeBytes ?? 3_000_001
      const body = pattern(size)
      await store.put('large', body)
      expect((await store.head('large'))?.sizeBytes).toBe(size)
      const back = await store.get('large')
      expect(back === null ? -1 : Buffer.compare(back, body)).toBe(0)
      for (const offset of [0, Math.floor(size / 2) - 500, size - 1000]) {
        const part = await store.get('large', { offset, length: 1000 })
        expect(part).toEqual(body.slice(offset, offset + 1000))
      }
    })
  })
}
