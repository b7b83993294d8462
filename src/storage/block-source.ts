/** How readers get at SSTs, wherever the bytes are; implemented by worker and control threads. */
import type { Block } from './sst/block.ts'
import type { SstTail } from './sst/sst-reader.ts'
import type { SstMeta } from './version/version.ts'

export interface BlockSource {
  /** The index and filter of an SST; null: not here yet, asked for. Throws if the last attempt failed. */
  tail(sst: SstMeta): SstTail | null
  /**
   * One decoded block; null: not here yet, asked for. A block is valid until `endRead`: between the two
   * calls it cannot be evicted. Throws if the last attempt to get it failed.
   */
  block(sst: SstMeta, tail: SstTail, blockIndex: number): Block | null
  beginRead(): void
  endRead(): void
}
