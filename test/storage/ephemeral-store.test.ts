/** The store of one query against a sorted map. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { tableId } from '../../src/common/ids.ts'
import { EphemeralStore } from '../../src/storage/ephemeral-store.ts'
import { GROUP_BYTES, TAG_4, TAG_GROUPS } from '../../src/storage/key.ts'
import type { ByteList, LocalTable } from '../../src/storage/state-store.ts'

/** vnode | one integer column | one text column. */
function keyOf(a: number, b: number): Uint8Array {
  const text = [TAG_GROUPS, ...new Array<number>(GROUP_BYTES).fill(b), 1]
  return Uint8Array.from([0, a % 2, TAG_4, 0, 0, 0, a, ...text])
}

function listOf(items: readonly Uint8Array[]): ByteList {
  const offsets = Uint32Array.from([
    0,
    ...items.map((_, i) => items.slice(0, i + 1).reduce((n, x) => n + x.length, 0)),
  ])
  return { count: items.length, offsets, data: Uint8Array.from(items.flatMap((item) => [...item])) }
}

function items(list: ByteList): string[] {
  return Array.from({ length: list.count }, (_, i) =>
    Buffer.from(list.data.subarray(list.offsets[i], list.offsets[i + 1])).toString('hex'),
  )
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const small = fc.nat({ max: 3 })
const step = fc.oneof(
  fc.record({
    kind: fc.constant('put' as const),
    a: small,
    b: small,
    value: fc.uint8Array({ maxLength: 5 }),
  }),
  fc.record({ kind: fc.constant('delete' as const), a: small, b: small }),
  fc.record({ kind: fc.constant('get' as const), a: small, b: small }),
  fc.record({
    kind: fc.constant('prefix' as const),
    a: small,
    columns: fc.constantFrom(0, 1),
    limit: fc.constantFrom(1, 99),
  }),
  fc.record({ kind: fc.constant('scan' as const), from: small }),
)

test.each([0, 1])('agrees with a sorted map, %d prefix columns', (prefixColumns) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const store = new EphemeralStore(1e6)
      const options = { tableId: tableId(1), group: 'state', prefixColumns } as const
      const table: LocalTable = store.open(options)
      const model = new Map<string, string>()
      const below = (prefix: string): [string, string][] =>
        [...model].filter(([key]) => key.startsWith(prefix)).sort()
      for (const item of steps) {
        if (item.kind === 'put') {
          const key = keyOf(item.a, item.b)
          table.put(key, 0, key.length, item.value, 0, item.value.length)
          model.set(hex(key), hex(item.value))
        } else if (item.kind === 'delete') {
          const key = keyOf(item.a, item.b)
          table.delete(key, 0, key.length)
          model.delete(hex(key))
        } else if (item.kind === 'get') {
          const key = keyOf(item.a, item.b)
          const result = table.getMany(listOf([key]))
          expect(result.poll()).toBe(true)
          expect(result.found[0] === 1).toBe(model.has(hex(key)))
          expect(items(result.values)).toEqual([model.get(hex(key)) ?? ''])
        } else if (item.kind === 'prefix') {
          const prefix = keyOf(item.a, 0).subarray(0, item.columns === 0 ? 2 : 7)
          const result = table.scanMany(listOf([prefix]), item.limit)
          expect(result.poll()).toBe(true)
          const wanted = below(hex(prefix)).slice(0, item.limit)
          expect(items(result.keys)).toEqual(wanted.map(([key]) => key))
          expect(items(result.values)).toEqual(wanted.map(([, value]) => value))
          expect([...result.rowStarts]).toEqual([0, wanted.length])
        } else {
          const from = keyOf(item.from, 0)
          const scan = table.scan(from, new Uint8Array([1]))
          expect(scan.poll()).toBe(true)
          const wanted = below('').filter(([key]) => key >= hex(from))
          expect(items(scan.keys)).toEqual(wanted.map(([key]) => key))
        }
      }
    }),
  )
})

test('writes beyond the bound fail with a typed error', () => {
  const store = new EphemeralStore(100)
  const table = store.open({ tableId: tableId(1), group: 'state', prefixColumns: 0 })
  const key = keyOf(1, 1)
  const value = new Uint8Array(90)
  expect(() => table.put(key, 0, key.length, value, 0, 90)).toThrow(
    expect.objectContaining({ code: 'MEMORY_EXHAUSTED' }),
  )
})
