/**
 * The contract of operators: pure of threads and clocks. The actor that owns an operator calls it from
 * one thread, in this order: for each chunk `prepare` until nothing is missing, then `apply`; at a
 * barrier `prepareFlush` until nothing is missing, then `flush`.
 */
import type { LocalStore, LocalTable, Pending } from '../storage/state-store.ts'
import type { Chunk } from './chunk.ts'
import type { Barrier } from './message.ts'

/** What an operator is built with. */
export interface OperatorContext {
  readonly store: LocalStore
  /** Budget of this operator's caches, bytes. The smallest sizes work, slowly. */
  readonly cacheBytes: number
  /** Rows of an output chunk at the most. */
  readonly chunkRows: number
  /** The vnodes `from <= v < to` that the actor owns: 0..256 for a fragment with one actor. */
  readonly vnodes: { readonly from: number; readonly to: number }
  /** True when the tables are known to hold nothing: a new job, not one that was recovered. Saves reads. */
  readonly fresh: boolean
}

/** Where an operator puts its output; chunks are not changed after they were emitted. */
export interface Output {
  emit(chunk: Chunk): void
}

export interface Operator {
  /** The state tables that it writes: what the actor seals at a barrier. Empty for stateless operators. */
  readonly tables: readonly LocalTable[]
  /**
   * Asks for the state rows that `chunk` needs, all at once. Null: they are here, `apply` may run. Else
   * the actor waits until `poll()` is true and then calls `apply`.
   */
  prepare(input: number, chunk: Chunk): Pending | null
  /** Applies the chunk to the state and emits what follows from it. Synchronous. */
  apply(input: number, chunk: Chunk, output: Output): void
  /** As `prepare`, for what the flush at this barrier needs. */
  prepareFlush(barrier: Barrier): Pending | null
  /** Writes dirty state into the memtables and emits what the epoch still owes. The actor then seals. */
  flush(barrier: Barrier, output: Output): void
  /** Bytes of state that it holds in memory, for the memory manager and metrics. */
  stateBytes(): number
}
