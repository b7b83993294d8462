/**
 * The contract of operators: pure of threads and clocks. The actor that owns an operator calls it from
 * one thread, in this order: for each chunk `prepare` until nothing is missing, then `apply`; at a
 * barrier `prepareFlush` until nothing is missing, then `flush`.
 */
import type { Pending } from '../storage/state-store.ts'
import type { Chunk } from './chunk.ts'
import type { Barrier } from './message.ts'

/** Where an operator puts its output; chunks are not changed after they were emitted. */
export interface Output {
  emit(chunk: Chunk): void
}

export interface Operator {
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
