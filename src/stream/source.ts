/** The contract that source connectors fulfil. One reader per split, called by one actor. */
import type { Chunk } from './chunk.ts'

/** Where a split stands: plain data, committed with the epoch. */
export type SplitOffset = Readonly<Record<string, number | string>>

export interface SplitReader {
  /**
   * The next rows, at most `rowCountMax`; null when there are none now. Every call moves the offset.
   * Must return quickly and never block.
   */
  next(rowCountMax: number): Chunk | null
  /** Position after the last row returned: a reader opened with it goes on with exactly the next row. */
  offset(): SplitOffset
  /** True when a bounded source is exhausted. */
  done(): boolean
  /** Events of the outside stream that were passed so far, also those not wanted. */
  eventsRead(): number
}
