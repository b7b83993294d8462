/**
 * What the piscina pool is asked to do, and what it answers: plain data. Runs are read where they lie, in shared memory.
 * Whole SSTs change hands instead: only one thread ever holds one, and memory that is not shared is given back
 * as soon as that thread is done with it, without waiting for the other threads' collectors.
 */
import type { Epoch, TableId } from '../common/ids.ts'
import type { SealedRun } from './state-store.ts'
import type { Group, SstMeta } from './version/version.ts'

export interface SstOptions {
  /** 32 hex digits; stands in every footer. */
  readonly databaseId: string
  /** Ids are `<prefix>-<n>`: generation (or claim token), then `firstNumber`, `firstNumber + 1`, … */
  readonly idPrefix: string
  readonly firstNumber: number
  /** Uncompressed size at which a block is closed, and object size at which an SST is. */
  readonly blockBytes: number
  readonly sstBytes: number
}

export interface TableLayout {
  readonly tableId: TableId
  readonly prefixColumns: number
}

/** A checkpoint's runs of one group → SSTs. */
export interface EncodeJob {
  readonly kind: 'encode'
  readonly group: Group
  readonly runs: readonly SealedRun[]
  readonly safeEpoch: Epoch
  readonly sst: SstOptions
}

/** Whole SSTs merged into new ones by the drop rule. Inputs newest first (their order breaks ties). */
export interface MergeJob {
  readonly kind: 'merge'
  readonly group: Group
  readonly inputs: readonly { readonly meta: SstMeta; readonly body: ArrayBuffer }[]
  readonly safeEpoch: Epoch
  /** Nothing older lies beneath the target: a delete at or below the safe epoch goes too. */
  readonly bottom: boolean
  readonly tables: readonly TableLayout[]
  readonly droppedTables: readonly TableId[]
  readonly sst: SstOptions
}

export type Job = EncodeJob | MergeJob

export interface JobOutput {
  /** In key order, not overlapping. Empty when nothing was left. */
  readonly ssts: readonly {
    readonly meta: SstMeta
    readonly body: ArrayBuffer
    readonly length: number
  }[]
  readonly entriesIn: number
  readonly entriesOut: number
  readonly bytesIn: number
  readonly bytesOut: number
  /** Milliseconds of the pool thread. */
  readonly durationMs: number
}
