/**
 * A worker thread's part of the store: the memtables of its actors, their sealed runs until a version holds them,
 * and reads over these and the committed version. One per worker thread; does no I/O and never waits.
 */
import { assert } from '../common/assert.ts'
import { EngineError } from '../common/errors.ts'
import type { Epoch, TableId } from '../common/ids.ts'
import { Arena } from './arena.ts'
import type { BlockSource } from './block-source.ts'
import { KEY_BYTES_MAX, VALUE_BYTES_MAX } from './key.ts'
import { MemTable } from './memtable.ts'
import type { RunReader } from './run-reader.ts'
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
import { newReadStats, type ReadStats } from './table-cursors.ts'
import { type TableLayers, tableLayers } from './table-layers.ts'
import { TableReader, type TableView } from './table-reader.ts'
import type { Version } from './version/version.ts'

/** A sealed memtable, kept until its rows are in the version and nobody reads it. */
interface KeptRun {
  readonly runId: number
  readonly memtable: MemTable
  released: boolean
}

/** What all handles of one table share. */
interface TableState {
  readonly options: TableOptions
  memtable: MemTable
  /** Newest first; without the released ones. */
  runs: KeptRun[]
  layers: TableLayers | null
}

export interface WorkerStoreInit {
  readonly workerIndex: number
  /** The worker's slabs, see `Arena`. */
  readonly arena: SharedArrayBuffer
  readonly version: Version
  readonly blocks: BlockSource
  /** Default `SLAB_BYTES`. */
  readonly slabBytes?: number
}

export class WorkerStore implements LocalStore {
  readonly stats: ReadStats = newReadStats()
  private readonly workerIndex: number
  private readonly arena: Arena
  private readonly blocks: BlockSource
  private currentVersion: Version
  private readonly tables = new Map<TableId, TableState>()
  private readonly runs = new Map<number, { readonly state: TableState; readonly run: KeptRun }>()
  /** Released runs that reads under way still use. */
  private lingering: KeptRun[] = []
  private nextRunId = 1
  /** Unfinished reads by version id. */
  private readonly readsByVersion = new Map<number, number>()

  constructor(init: WorkerStoreInit) {
    this.workerIndex = init.workerIndex
    this.arena = new Arena(init.arena, init.slabBytes)
    this.blocks = init.blocks
    this.currentVersion = init.version
  }

  get version(): Version {
    return this.currentVersion
  }

  get arenaBytes(): number {
    return this.arena.heldBytes
  }

  /** Part of `arenaBytes` outside the reserved buffer. */
  get overflowBytes(): number {
    return this.arena.overflowBytes
  }

  /** A handle on a table; all handles of one id share its memtable and must be opened with the same options. */
  open(options: TableOptions): LocalTable {
    let state = this.tables.get(options.tableId)
    if (state === undefined) {
      const memtable = new MemTable(options, this.arena)
      state = { options, memtable, runs: [], layers: null }
      this.tables.set(options.tableId, state)
    }
    assert(
      state.options.group === options.group &&
        state.options.prefixColumns === options.prefixColumns,
      'a table is opened with one set of options',
    )
    const table = state
    return new WorkerTable(table, this.readerOf(table))
  }

  private readerOf(state: TableState): TableReader {
    return new TableReader({
      options: state.options,
      source: this.blocks,
      stats: this.stats,
      acquire: () => this.acquire(state),
    })
  }

  seal(tables: readonly LocalTable[], epoch: Epoch): readonly SealedRun[] {
    const sealed: SealedRun[] = []
    for (const table of tables) {
      assert(table instanceof WorkerTable, 'a store seals its own tables')
      const state = table.state
      assert(this.tables.get(state.options.tableId) === state, 'a store seals its own tables')
      const memtable = state.memtable
      if (memtable.recordCount === 0) continue
      const newest = state.runs[0]
      assert(
        newest === undefined || newest.memtable.reader.epoch <= epoch,
        'epochs are sealed in order',
      )
      const run: KeptRun = { runId: this.nextRunId++, memtable, released: false }
      sealed.push(memtable.seal(epoch, this.workerIndex, run.runId))
      state.runs = [run, ...state.runs]
      state.memtable = new MemTable(state.options, this.arena)
      this.runs.set(run.runId, { state, run })
    }
    return sealed
  }

  /**
   * Reads that begin from now on see this version. The runs named are in it: their slabs are free as soon
   * as no read under way uses them.
   */
  applyVersion(version: Version, releasedRuns: readonly number[]): void {
    assert(version.versionId >= this.currentVersion.versionId, 'versions are applied in order')
    if (version !== this.currentVersion) {
      this.currentVersion = version
      for (const state of this.tables.values()) state.layers = null
    }
    for (const runId of releasedRuns) {
      const known = this.runs.get(runId)
      assert(known !== undefined, 'a run is released once')
      this.runs.delete(runId)
      const { state, run } = known
      state.runs = state.runs.filter((candidate) => candidate !== run)
      run.released = true
      this.lingering.push(run)
    }
    this.freeRuns()
  }

  /** Oldest version that an unfinished read still uses; the current one when none does. */
  oldestVersionInUse(): number {
    let oldest = this.currentVersion.versionId
    for (const versionId of this.readsByVersion.keys()) {
      if (versionId < oldest) oldest = versionId
    }
    return oldest
  }

  private acquire(state: TableState): TableView {
    const readers: RunReader[] = []
    if (state.memtable.recordCount > 0) {
      state.memtable.sync()
      readers.push(state.memtable.reader)
    }
    for (const run of state.runs) readers.push(run.memtable.reader)
    for (const reader of readers) reader.pins++
    const { versionId } = this.currentVersion
    this.readsByVersion.set(versionId, (this.readsByVersion.get(versionId) ?? 0) + 1)
    state.layers ??= tableLayers(this.currentVersion, state.options.group, state.options.tableId)
    return {
      layers: state.layers,
      runs: readers,
      epoch: Number.POSITIVE_INFINITY,
      release: () => this.release(readers, versionId),
    }
  }

  private release(readers: readonly RunReader[], versionId: number): void {
    for (const reader of readers) reader.pins--
    const count = this.readsByVersion.get(versionId)
    assert(count !== undefined, 'a read is released once')
    if (count === 1) this.readsByVersion.delete(versionId)
    else this.readsByVersion.set(versionId, count - 1)
    if (this.lingering.length > 0) this.freeRuns()
  }

  private freeRuns(): void {
    const lingering: KeptRun[] = []
    for (const run of this.lingering) {
      if (run.memtable.reader.pins > 0) lingering.push(run)
      else run.memtable.free()
    }
    this.lingering = lingering
  }
}

class WorkerTable implements LocalTable {
  readonly state: TableState
  private readonly reader: TableReader

  constructor(state: TableState, reader: TableReader) {
    this.state = state
    this.reader = reader
  }

  put(
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
  ): void {
    if (keyEnd - keyStart > KEY_BYTES_MAX) throw tooLarge('KEY_TOO_LARGE', keyEnd - keyStart)
    if (valueEnd - valueStart > VALUE_BYTES_MAX) {
      throw tooLarge('VALUE_TOO_LARGE', valueEnd - valueStart)
    }
    this.state.memtable.put(key, keyStart, keyEnd, value, valueStart, valueEnd)
  }

  delete(key: Uint8Array, keyStart: number, keyEnd: number): void {
    if (keyEnd - keyStart > KEY_BYTES_MAX) throw tooLarge('KEY_TOO_LARGE', keyEnd - keyStart)
    this.state.memtable.delete(key, keyStart, keyEnd)
  }

  getMany(keys: ByteList): GetManyResult {
    return this.reader.getMany(keys)
  }

  scanMany(prefixes: ByteList, limit?: number): ScanManyResult {
    return this.reader.scanMany(prefixes, limit)
  }

  scan(from: Uint8Array, to: Uint8Array): TableScan {
    return this.reader.scan(from, to)
  }
}

function tooLarge(code: 'KEY_TOO_LARGE' | 'VALUE_TOO_LARGE', bytes: number): EngineError {
  const [what, limit] =
    code === 'KEY_TOO_LARGE' ? ['key', KEY_BYTES_MAX] : ['value', VALUE_BYTES_MAX]
  return new EngineError(code, `a ${what} of ${bytes} bytes is above the limit of ${limit}`, {
    context: { bytes, limit },
  })
}
