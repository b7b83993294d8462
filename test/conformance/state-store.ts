/** What every `LocalStore` promises its operators, wherever the rows are. */
import { describe, expect, it } from 'vitest'
import { epoch, tableId } from '../../src/common/ids.ts'
import type {
  LocalStore,
  LocalTable,
  Pending,
  TableOptions,
} from '../../src/storage/state-store.ts'
import { item, listOf, rowsOf } from '../storage/local-store-world.ts'
import { hex, tableKey } from '../storage/sst/support.ts'

export interface Subject {
  readonly store: LocalStore
  /** Called between groups of writes: seals, commits, or does nothing. */
  settle(): void
  /** Polls to the end. */
  finish(read: Pending): void
}

const OPTIONS: TableOptions = { tableId: tableId(7), group: 'state', prefixColumns: 1 }

export function stateStoreConformance(name: string, open: () => Subject): void {
  describe(`state store: ${name}`, () => {
    const value = (n: number) => Uint8Array.of(n, n + 1)
    const put = (table: LocalTable, key: Uint8Array, n: number) =>
      table.put(key, 0, key.length, value(n), 0, 2)

    it('gives the last write of each key, whichever epoch it was in', () => {
      const { store, settle, finish } = open()
      const table = store.open(OPTIONS)
      const keys = Array.from({ length: 30 }, (_, i) => tableKey(i % 3, i, 'k'))
      for (const key of keys) put(table, key, 1)
      settle()
      for (const key of keys.slice(0, 20)) put(table, key, 2)
      settle()
      for (const key of keys.slice(0, 10)) table.delete(key, 0, key.length)
      settle()
      for (const key of keys.slice(0, 5)) put(table, key, 3)
      const read = table.getMany(listOf([...keys, tableKey(1, 99, 'none')]))
      finish(read)
      const wanted = keys.map((_, i) => (i < 5 ? 3 : i < 10 ? null : i < 20 ? 2 : 1))
      wanted.push(null)
      expect(read.values.count).toBe(wanted.length)
      for (const [i, n] of wanted.entries()) {
        expect(read.found[i]).toBe(n === null ? 0 : 1)
        expect(item(read.values, i)).toBe(n === null ? '' : hex(value(n)))
      }
    })

    it('gives the rows below each prefix in key order, up to the limit', () => {
      const { store, settle, finish } = open()
      const table = store.open(OPTIONS)
      for (const name of ['c', 'a', 'e']) put(table, tableKey(1, 5, name), 1)
      settle()
      for (const name of ['d', 'b', 'a']) put(table, tableKey(1, 5, name), 2)
      const gone = tableKey(1, 5, 'c')
      table.delete(gone, 0, gone.length)
      put(table, tableKey(1, 6, 'x'), 3)
      const row = (part: number, name: string, n: number) =>
        `${hex(tableKey(1, part, name))}=${hex(value(n))}`
      const five = [row(5, 'a', 2), row(5, 'b', 2), row(5, 'd', 2), row(5, 'e', 1)]
      const prefixes = [tableKey(1, 6), tableKey(1, 5), tableKey(1, 7), tableKey(1), tableKey(2)]
      for (const limit of [undefined, 1, 3]) {
        const read = table.scanMany(listOf(prefixes), limit)
        finish(read)
        const starts = read.rowStarts
        const found = prefixes.map((_, i) =>
          rowsOf(read.keys, read.values, starts[i], starts[i + 1]),
        )
        const six = [row(6, 'x', 3)]
        const all = [six, five, [], [...five, ...six], []]
        expect(found).toEqual(all.map((rows) => rows.slice(0, limit)))
      }
    })

    it('scans a range as it was when the scan began', () => {
      const { store, settle, finish } = open()
      const table = store.open(OPTIONS)
      for (let i = 0; i < 40; i++) put(table, tableKey(0, i, 'k'), i)
      settle()
      const scan = table.scan(tableKey(0, 5), tableKey(0, 30))
      for (let i = 0; i < 40; i++) put(table, tableKey(0, i, 'k'), 100)
      put(table, tableKey(0, 7, 'new'), 100)
      const rows: string[] = []
      do {
        finish(scan)
        rows.push(...rowsOf(scan.keys, scan.values, 0, scan.keys.count))
      } while (scan.keys.count > 0)
      const wanted = Array.from({ length: 25 }, (_, i) => i + 5)
      expect(rows).toEqual(wanted.map((i) => `${hex(tableKey(0, i, 'k'))}=${hex(value(i))}`))
      scan.close()
    })

    it('keeps tables apart, and gives two handles of one table the same rows', () => {
      const { store, settle, finish } = open()
      const table = store.open(OPTIONS)
      const again = store.open(OPTIONS)
      const other = store.open({ ...OPTIONS, tableId: tableId(8) })
      const key = tableKey(0, 1, 'k')
      put(table, key, 1)
      for (const step of [0, 1]) {
        const reads = [again, other].map((handle) => handle.getMany(listOf([key])))
        for (const read of reads) finish(read)
        expect(reads.map((read) => read.found[0])).toEqual([1, 0])
        if (step === 0) settle()
      }
    })

    it('answers empty batches', () => {
      const { store, finish } = open()
      const table = store.open(OPTIONS)
      const gets = table.getMany(listOf([]))
      const scans = table.scanMany(listOf([]))
      finish(gets)
      finish(scans)
      expect([gets.values.count, scans.keys.count, scans.rowStarts[0]]).toEqual([0, 0, 0])
      expect(store.seal([table], epoch(5000))).toEqual([])
    })
  })
}
