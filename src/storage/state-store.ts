/**
 * The contract between operators (worker threads), queries (control thread) and the store.
 * Keys here are table keys, vnode u16 BE | user key; values are bytes. Nothing blocks: reads that need
 * a block which is not in memory return unfinished and are polled again, so that one loop serves the
 * worker threads, the control thread and the simulator.
 */
import type { Epoch, TableId } from '../common/ids.ts'

/** Work that may wait for blocks. */
export interface Pending {
  /** Goes on as far as it can; true when complete. Throws what went wrong. Cheap when nothing has arrived. */
  poll(): boolean
}

/** Several byte strings in one buffer: item i is `data[offsets[i] .. offsets[i + 1]]`. */
export interface ByteList {
  readonly count: number
  readonly offsets: Uint32Array
  readonly data: Uint8Array
}

/** Values of a batch of keys, complete after `poll()` was true. Views are valid until the next call on the table. */
export interface GetManyResult extends Pending {
  /** 1 where the key exists. */
  readonly found: Uint8Array
  /** Item i is the value of key i; empty where not found. */
  readonly values: ByteList
}

/** Rows below each of a batch of prefixes, in key order per prefix. */
export interface ScanManyResult extends Pending {
  /** Rows of prefix i are items `rowStarts[i] .. rowStarts[i + 1]` of `keys` and `values`. */
  readonly rowStarts: Uint32Array
  readonly keys: ByteList
  readonly values: ByteList
}

export interface TableOptions {
  readonly tableId: TableId
  readonly group: 'state' | 'materialized'
  /** Leading user-key columns that the filter covers; 0 = no filter. */
  readonly prefixColumns: number
}

/**
 * One table as one actor sees it: it alone writes the vnodes it owns. Reads see its own writes at
 * once, its sealed runs, and the committed version.
 */
export interface LocalTable {
  put(
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
  ): void
  delete(key: Uint8Array, keyStart: number, keyEnd: number): void
  /** Starts a batch of point reads. `keys` must stay unchanged until complete. */
  getMany(keys: ByteList): GetManyResult
  /**
   * Starts a batch of prefix reads: each item is vnode | whole leading columns. With `limit` at most so
   * many rows each. Uses the filter when an item spells at least `prefixColumns` columns.
   */
  scanMany(prefixes: ByteList, limit?: number): ScanManyResult
  /** Everything with `from <= table key < to` in key order, in batches. */
  scan(from: Uint8Array, to: Uint8Array): TableScan
}

/** A cursor over a key range; each poll that returns true offers the next batch (empty = the end). */
export interface TableScan extends Pending {
  readonly keys: ByteList
  readonly values: ByteList
  /** Gives the scan up before its end, or after an error; harmless afterwards. */
  close(): void
}

/** A worker thread's part of the store. */
export interface LocalStore {
  open(options: TableOptions): LocalTable
  /**
   * Ends `epoch` for the tables given: their memtables become immutable runs, readable in place by
   * every thread. Tables without writes give no run.
   */
  seal(tables: readonly LocalTable[], epoch: Epoch): readonly SealedRun[]
  /** Bytes of the arena that unsealed and sealed runs hold. */
  readonly arenaBytes: number
}

/**
 * A sealed memtable: the entries that one actor wrote to one table in one epoch, in write order, as
 * records in slabs of shared memory. Plain data: it crosses threads by message, its bytes by reference.
 *
 * ```
 * record (4-byte aligned) = keyBytes u32 LE | valueBytes u32 LE (0xffffffff = delete) | key | value | padding to 4
 * ```
 * A later record of a key replaces an earlier one. Key = vnode | user key.
 */
export interface SealedRun {
  readonly tableId: TableId
  readonly group: 'state' | 'materialized'
  readonly prefixColumns: number
  readonly epoch: Epoch
  /** Which worker's arena the slabs belong to. */
  readonly workerIndex: number
  /** Number of this run within its worker; the handle by which its slabs are given back. */
  readonly runId: number
  readonly entryCount: number
  readonly byteCount: number
  readonly segments: readonly RunSegment[]
}

/** `buffer[offset .. offset + length]` holds whole records. */
export interface RunSegment {
  readonly buffer: SharedArrayBuffer
  readonly offset: number
  readonly length: number
}
