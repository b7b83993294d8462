/**
 * A store for the length of one query: tables in this thread's memory, gone with it. Fulfils the
 * contract of operators, so that a query runs the very operators that streaming runs. Every read is
 * complete at its first poll.
 */
import { EngineError } from '../common/errors.ts'
import { skipColumns, VNODE_BYTES } from './key.ts'
import type {
  ByteList,
  GetManyResult,
  LocalStore,
  LocalTable,
  ScanManyResult,
  SealedRun,
  TableOptions,
  TableScan,
} from './state-store.ts'

/** What an entry costs beside its bytes: the map's slot, the string and the array headers. */
const ENTRY_OVERHEAD_BYTES = 160
const SCAN_BATCH = 1024

export class EphemeralStore implements LocalStore {
  private readonly tables = new Map<number, EphemeralTable>()
  private readonly bytesMax: number
  private bytesHeld = 0

  /** @param bytesMax of all tables together; beyond it writes fail with MEMORY_EXHAUSTED */
  constructor(bytesMax: number) {
    this.bytesMax = bytesMax
  }

  get arenaBytes(): number {
    return this.bytesHeld
  }

  open(options: TableOptions): LocalTable {
    const known = this.tables.get(options.tableId)
    if (known !== undefined) return known
    const table = new EphemeralTable(options, (byteCount) => this.account(byteCount))
    this.tables.set(options.tableId, table)
    return table
  }

  /** Nothing outlives the query: there is nothing to seal. */
  seal(): readonly SealedRun[] {
    return []
  }

  private account(byteCount: number): void {
    this.bytesHeld += byteCount
    if (this.bytesHeld <= this.bytesMax) return
    throw new EngineError('MEMORY_EXHAUSTED', 'the query needs more memory than it may have', {
      context: {
        bytesMax: this.bytesMax,
        hint: 'narrow it with WHERE, or make a materialized view of the join or aggregate',
      },
    })
  }
}

class EphemeralTable implements LocalTable {
  private readonly prefixColumns: number
  private readonly account: (byteCount: number) => void
  /** Writes that no read has needed yet. With room in the operators' caches none ever does. */
  private log: WriteLog | null = null
  /** Keys as strings of one character a byte: compared whole, ordered as their bytes. */
  private readonly rows = new Map<string, Uint8Array>()
  /** The keys below each filter prefix. */
  private readonly byPrefix = new Map<string, Set<string>>()

  constructor(options: TableOptions, account: (byteCount: number) => void) {
    this.prefixColumns = options.prefixColumns
    this.account = account
  }

  put(
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
  ): void {
    this.log ??= new WriteLog()
    this.log.append(key, keyStart, keyEnd)
    this.log.append(value, valueStart, valueEnd)
    this.account(keyEnd - keyStart + valueEnd - valueStart)
  }

  delete(key: Uint8Array, keyStart: number, keyEnd: number): void {
    this.log ??= new WriteLog()
    this.log.append(key, keyStart, keyEnd)
    this.log.appendDelete()
    this.account(keyEnd - keyStart)
  }

  /** Makes the logged writes readable. */
  private catchUp(): void {
    if (this.log === null) return
    const { data, ends } = this.log
    for (let record = 0, start = 0; record < ends.length; record += 2) {
      const keyEnd = ends[record]
      const valueEnd = ends[record + 1]
      if (valueEnd === DELETED) this.remove(data, start, keyEnd)
      else this.insert(data, start, keyEnd, valueEnd)
      start = Math.max(keyEnd, valueEnd)
    }
    this.log = null
  }

  private insert(data: Uint8Array, start: number, keyEnd: number, valueEnd: number): void {
    const text = textOf(data, start, keyEnd)
    const old = this.rows.get(text)
    this.account(old === undefined ? ENTRY_OVERHEAD_BYTES : -(text.length + old.length))
    this.rows.set(text, data.slice(keyEnd, valueEnd))
    if (old !== undefined || this.prefixColumns === 0) return
    const prefix = this.prefixOf(data, start, keyEnd)
    const keys = this.byPrefix.get(prefix)
    if (keys === undefined) this.byPrefix.set(prefix, new Set([text]))
    else keys.add(text)
  }

  private remove(data: Uint8Array, start: number, keyEnd: number): void {
    const text = textOf(data, start, keyEnd)
    this.account(-text.length)
    const old = this.rows.get(text)
    if (old === undefined) return
    this.account(-(text.length + old.length + ENTRY_OVERHEAD_BYTES))
    this.rows.delete(text)
    if (this.prefixColumns === 0) return
    const prefix = this.prefixOf(data, start, keyEnd)
    const keys = this.byPrefix.get(prefix)
    keys?.delete(text)
    if (keys?.size === 0) this.byPrefix.delete(prefix)
  }

  getMany(keys: ByteList): GetManyResult {
    this.catchUp()
    const found = new Uint8Array(keys.count)
    const values: Uint8Array[] = []
    for (let i = 0; i < keys.count; i++) {
      const value = this.rows.get(textOf(keys.data, keys.offsets[i], keys.offsets[i + 1]))
      found[i] = value === undefined ? 0 : 1
      values.push(value ?? NOTHING)
    }
    return { found, values: listOf(values), poll: isComplete }
  }

  scanMany(prefixes: ByteList, limit = Number.POSITIVE_INFINITY): ScanManyResult {
    this.catchUp()
    const rowStarts = new Uint32Array(prefixes.count + 1)
    const keys: string[] = []
    for (let i = 0; i < prefixes.count; i++) {
      const prefix = textOf(prefixes.data, prefixes.offsets[i], prefixes.offsets[i + 1])
      const below = this.below(prefix)
      for (let row = 0; row < below.length && row < limit; row++) keys.push(below[row])
      rowStarts[i + 1] = keys.length
    }
    return { rowStarts, ...this.listsOf(keys), poll: isComplete }
  }

  scan(from: Uint8Array, to: Uint8Array): TableScan {
    this.catchUp()
    const first = textOf(from, 0, from.length)
    const end = textOf(to, 0, to.length)
    const keys = [...this.rows.keys()].filter((key) => key >= first && key < end).sort(byText)
    return new EphemeralScan(keys, (batch) => this.listsOf(batch))
  }

  /** Keys below a prefix, in order. */
  private below(prefix: string): string[] {
    const keys =
      this.byPrefix.get(prefix) ?? [...this.rows.keys()].filter((key) => key.startsWith(prefix))
    return [...keys].sort(byText)
  }

  private prefixOf(key: Uint8Array, start: number, end: number): string {
    return textOf(key, start, skipColumns(key, start + VNODE_BYTES, end, this.prefixColumns))
  }

  private listsOf(keys: readonly string[]): { readonly keys: ByteList; readonly values: ByteList } {
    return {
      keys: listOf(keys.map((key) => Buffer.from(key, 'latin1'))),
      values: listOf(keys.map((key) => this.rows.get(key) ?? NOTHING)),
    }
  }
}

const DELETED = -1
const LOG_BYTES_MIN = 4096

/** Keys and values in write order, one behind the other. */
class WriteLog {
  data = new Uint8Array(LOG_BYTES_MIN)
  /** Of each record the end of the key and the end of the value, or DELETED. */
  readonly ends: number[] = []
  private used = 0

  append(source: Uint8Array, start: number, end: number): void {
    const length = end - start
    if (this.used + length > this.data.length) {
      const grown = new Uint8Array(Math.max(this.data.length * 2, this.used + length))
      grown.set(this.data)
      this.data = grown
    }
    for (let i = 0; i < length; i++) this.data[this.used + i] = source[start + i]
    this.used += length
    this.ends.push(this.used)
  }

  appendDelete(): void {
    this.ends.push(DELETED)
  }
}

class EphemeralScan implements TableScan {
  keys: ByteList
  values: ByteList
  private readonly rest: readonly string[]
  private readonly load: (keys: readonly string[]) => { keys: ByteList; values: ByteList }
  private at = 0

  constructor(
    rest: readonly string[],
    load: (keys: readonly string[]) => { keys: ByteList; values: ByteList },
  ) {
    this.rest = rest
    this.load = load
    this.keys = listOf([])
    this.values = this.keys
  }

  close(): void {}

  poll(): boolean {
    const batch = this.rest.slice(this.at, this.at + SCAN_BATCH)
    this.at += batch.length
    const { keys, values } = this.load(batch)
    this.keys = keys
    this.values = values
    return true
  }
}

const NOTHING = new Uint8Array(0)
const isComplete = (): boolean => true
const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

function textOf(source: Uint8Array, start: number, end: number): string {
  return Buffer.from(source.buffer, source.byteOffset + start, end - start).toString('latin1')
}

function listOf(items: readonly Uint8Array[]): ByteList {
  const offsets = new Uint32Array(items.length + 1)
  for (let i = 0; i < items.length; i++) offsets[i + 1] = offsets[i] + items[i].length
  const data = new Uint8Array(offsets[items.length])
  for (let i = 0; i < items.length; i++) data.set(items[i], offsets[i])
  return { count: items.length, offsets, data }
}
