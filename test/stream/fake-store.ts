/** A `LocalStore` in a Map per table, for tests of operators: complete at once, or after some polls. */
import type { Epoch } from '../../src/common/ids.ts'
import type {
  ByteList,
  GetManyResult,
  LocalStore,
  LocalTable,
  ScanManyResult,
  SealedRun,
  TableOptions,
  TableScan,
} from '../../src/storage/state-store.ts'
import { ByteListBuilder } from '../../src/stream/row-codec.ts'

const text = (data: Uint8Array, start: number, end: number): string =>
  Buffer.from(data.buffer, data.byteOffset + start, end - start).toString('latin1')

export class FakeStore implements LocalStore {
  readonly tables = new Map<number, FakeTable>()
  readonly arenaBytes = 0
  /** Polls that each read says no to, first. */
  delay: number
  /** Batches of reads so far. */
  readCount = 0

  constructor(delay = 0) {
    this.delay = delay
  }

  open(options: TableOptions): LocalTable {
    let table = this.tables.get(options.tableId)
    if (table === undefined) this.tables.set(options.tableId, (table = new FakeTable(this)))
    return table
  }

  seal(_tables: readonly LocalTable[], _epoch: Epoch): readonly SealedRun[] {
    return []
  }
}

export class FakeTable implements LocalTable {
  readonly rows = new Map<string, string>()
  private sorted: string[] | null = null
  private readonly store: FakeStore

  constructor(store: FakeStore) {
    this.store = store
  }

  put(
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
  ): void {
    const name = text(key, keyStart, keyEnd)
    if (!this.rows.has(name)) this.sorted = null
    this.rows.set(name, text(value, valueStart, valueEnd))
  }

  delete(key: Uint8Array, keyStart: number, keyEnd: number): void {
    if (this.rows.delete(text(key, keyStart, keyEnd))) this.sorted = null
  }

  getMany(keys: ByteList): GetManyResult {
    const found = new Uint8Array(keys.count)
    const values = new ByteListBuilder()
    for (let i = 0; i < keys.count; i++) {
      const value = this.rows.get(text(keys.data, keys.offsets[i], keys.offsets[i + 1]))
      if (value !== undefined) found[i] = 1
      append(values, value ?? '')
    }
    return { found, values, poll: this.poller() }
  }

  scanMany(prefixes: ByteList, limit = Number.POSITIVE_INFINITY): ScanManyResult {
    const rowStarts = new Uint32Array(prefixes.count + 1)
    const keys = new ByteListBuilder()
    const values = new ByteListBuilder()
    for (let i = 0; i < prefixes.count; i++) {
      const prefix = text(prefixes.data, prefixes.offsets[i], prefixes.offsets[i + 1])
      let left = limit
      for (let at = this.seek(prefix); left > 0 && at < this.keys().length; at++, left--) {
        const key = this.keys()[at]
        if (!key.startsWith(prefix)) break
        append(keys, key)
        append(values, this.rows.get(key) ?? '')
      }
      rowStarts[i + 1] = keys.count
    }
    return { rowStarts, keys, values, poll: this.poller() }
  }

  scan(from: Uint8Array, to: Uint8Array): TableScan {
    const end = text(to, 0, to.length)
    const names = this.keys().filter((key) => key >= text(from, 0, from.length) && key < end)
    const rows = names.map((key) => [key, this.rows.get(key) ?? ''] as const)
    const scan = {
      keys: new ByteListBuilder(),
      values: new ByteListBuilder(),
      poll: () => {
        scan.keys = new ByteListBuilder()
        scan.values = new ByteListBuilder()
        for (const [key, value] of rows.splice(0, 3)) {
          append(scan.keys, key)
          append(scan.values, value)
        }
        return true
      },
      close: () => rows.splice(0),
    }
    return scan
  }

  private poller(): () => boolean {
    this.store.readCount++
    let left = this.store.delay
    return () => left-- <= 0
  }

  private keys(): string[] {
    this.sorted ??= [...this.rows.keys()].sort((a, b) => (a < b ? -1 : 1))
    return this.sorted
  }

  private seek(prefix: string): number {
    const keys = this.keys()
    let low = 0
    for (let high = keys.length; low < high; ) {
      const middle = (low + high) >> 1
      if (keys[middle] < prefix) low = middle + 1
      else high = middle
    }
    return low
  }
}

function append(list: ByteListBuilder, item: string): void {
  const bytes = Buffer.from(item, 'latin1')
  list.append(bytes, 0, bytes.length)
}
