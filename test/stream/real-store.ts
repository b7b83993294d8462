/**
 * The real store of a worker under operators: memtables, sealed runs and SSTs, blocks that arrive late.
 * Tables 7, 9 and 300 of the world are there to be used.
 */
import type { LocalStore, Pending } from '../../src/storage/state-store.ts'
import { TABLES, World } from '../storage/local-store-world.ts'

export const REAL_TABLE_IDS: readonly number[] = [7, 9, 300]

export class RealStore {
  readonly world = new World({
    slots: 4,
    blockBytes: 256,
    sstBytes: 4096,
    tailBytesMax: 2000,
    arenaBytes: 1 << 20,
    slabBytes: 8192,
  })
  /** Opens the world's tables with the world's own filter options. */
  readonly store: LocalStore = {
    open: (options) =>
      this.world.store.open(TABLES.find((table) => table.tableId === options.tableId) ?? options),
    seal: (tables, epoch) => this.world.store.seal(tables, epoch),
    arenaBytes: 0,
  }

  finish(pending: Pending): void {
    this.world.finish(pending)
  }

  /** Ends an epoch: sealed, sometimes committed, sometimes compacted. @param choice which. */
  endEpoch(choice: number): void {
    this.world.seal()
    if (choice % 2 === 0) this.world.checkpoint(choice % 3 === 0)
    if (choice % 5 === 0) this.world.compact(2, choice % 4 === 0)
  }
}
