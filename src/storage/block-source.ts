/** How readers get at SSTs, wherever the bytes are; implemented by worker and control threads. */
import type { EngineError } from '../common/errors.ts'
import type { Block } from './sst/block.ts'
import type { SstTail } from './sst/sst-reader.ts'
import type { SstMeta } from './version/version.ts'

/** Something that a source was asked for and does not have yet. */
export interface Want {
  readonly sst: SstMeta
  /** -1: the tail. */
  readonly blockIndex: number
  tail: SstTail | null
  block: Block | null
  /** Reads that asked for it; it is kept until all of them let go. */
  readonly holds: ReadHold[]
}

/**
 * What one read waits for. What arrives is kept until the read lets go, however small the cache, so
 * that a read that needs more than the cache holds still gets on.
 */
export class ReadHold {
  readonly wants: Want[] = []
  /** Wants that have neither arrived nor failed. Poll again when it is 0. */
  pending = 0
  /** The first failure, thrown by the next `beginRead`. */
  failure: EngineError | null = null
  /** False for scans: what they read is not kept in the cache for having been read. */
  readonly reuses: boolean

  constructor(reuses: boolean) {
    this.reuses = reuses
  }
}

export interface BlockSource {
  /** The index and filter of an SST; null: not here yet, asked for. */
  tail(sst: SstMeta): SstTail | null
  /**
   * One decoded block; null: not here yet, asked for. A block is valid until `endRead`: between the two
   * calls it cannot be evicted.
   */
  block(sst: SstMeta, tail: SstTail, blockIndex: number): Block | null
  /** Asks for a block that will be needed soon, unless it is here. */
  prefetch(sst: SstMeta, tail: SstTail, blockIndex: number): void
  /** Begins one poll of a read. Throws, once, if something that the read waited for could not be had. */
  beginRead(hold: ReadHold): void
  endRead(): void
  /** The read no longer needs what arrived for it, except what `keep` names (tails have index -1). */
  letGo(hold: ReadHold, keep?: (sstId: string, blockIndex: number) => boolean): void
}
