/**
 * Reads of queries: one table at one epoch, over a version and the sealed runs that are not in it yet. For
 * the control thread, or any other that has a block source. The caller pins the version and keeps
 * the runs' slabs from being given back until its reads are over.
 */
import type { Epoch, TableId } from '../common/ids.ts'
import type { BlockSource } from './block-source.ts'
import { RunReader } from './run-reader.ts'
import type {
  ByteList,
  GetManyResult,
  ScanManyResult,
  SealedRun,
  TableOptions,
  TableScan,
} from './state-store.ts'
import { newReadStats, type ReadStats } from './table-cursors.ts'
import { tableLayers } from './table-layers.ts'
import { TableReader, type TableView } from './table-reader.ts'
import type { Version } from './version/version.ts'

export interface SnapshotInit {
  readonly version: Version
  /** Rows of later epochs are not seen. */
  readonly epoch: Epoch
  /** Sealed runs that `version` does not hold, of any tables, in any order. */
  readonly runs: readonly SealedRun[]
  readonly blocks: BlockSource
}

/** Indexes of runs are kept as long as their descriptors. */
const readers = new WeakMap<SealedRun, RunReader>()

export class SnapshotReader {
  readonly stats: ReadStats = newReadStats()
  private readonly init: SnapshotInit
  private readonly tables = new Map<TableId, TableReader>()

  constructor(init: SnapshotInit) {
    this.init = init
  }

  getMany(options: TableOptions, keys: ByteList): GetManyResult {
    return this.table(options).getMany(keys)
  }

  scanMany(options: TableOptions, prefixes: ByteList, limit?: number): ScanManyResult {
    return this.table(options).scanMany(prefixes, limit)
  }

  scan(options: TableOptions, from: Uint8Array, to: Uint8Array): TableScan {
    return this.table(options).scan(from, to)
  }

  /** Gives up what `getMany` and `scanMany` have begun and not completed. */
  giveUp(): void {
    for (const table of this.tables.values()) table.giveUp()
  }

  private table(options: TableOptions): TableReader {
    let table = this.tables.get(options.tableId)
    if (table === undefined) {
      const view = this.viewOf(options)
      const { stats } = this
      table = new TableReader({ options, source: this.init.blocks, stats, acquire: () => view })
      this.tables.set(options.tableId, table)
    }
    return table
  }

  private viewOf(options: TableOptions): TableView {
    const { version, epoch } = this.init
    const runs = this.init.runs
      .filter((run) => run.tableId === options.tableId && run.epoch <= epoch)
      // Of one worker and epoch, a later run replaces an earlier one; workers own different keys.
      .sort((a, b) => b.epoch - a.epoch || b.runId - a.runId)
      .map(readerOf)
    const layers = tableLayers(version, options.group, options.tableId)
    return { layers, runs, epoch, release: () => undefined }
  }
}

function readerOf(run: SealedRun): RunReader {
  let reader = readers.get(run)
  if (reader === undefined) {
    reader = RunReader.of(run)
    readers.set(run, reader)
  }
  return reader
}
