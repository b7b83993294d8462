/**
 * A worker's store over SSTs made by the real jobs, with block arrivals that the test delays at will, and
 * a model beside it: every version of every key, written down as the design says it.
 */
import { type Epoch, epoch, generation, tableId } from '../../src/common/ids.ts'
import {
  ControlBlockSource,
  type FetchRequest,
  WorkerBlockSource,
} from '../../src/storage/cache/block-sources.ts'
import { BlockCache } from '../../src/storage/cache/memory.ts'
import type { JobOutput, SstOptions } from '../../src/storage/job.ts'
import { runJob } from '../../src/storage/jobs.ts'
import { WorkerStore } from '../../src/storage/local-store.ts'
import { SnapshotReader } from '../../src/storage/snapshot-reader.ts'
import { decodeBlock } from '../../src/storage/sst/block.ts'
import { SstTail } from '../../src/storage/sst/sst-reader.ts'
import type {
  ByteList,
  LocalTable,
  Pending,
  SealedRun,
  TableOptions,
  TableScan,
} from '../../src/storage/state-store.ts'
import {
  EMPTY_VERSION,
  type GroupLevels,
  type SstMeta,
  type SubLevel,
  type Version,
} from '../../src/storage/version/version.ts'
import { DATABASE_ID, hex } from './sst/support.ts'

export interface WorldOptions {
  /** Slots of the block cache. */
  readonly slots: number
  readonly blockBytes: number
  readonly sstBytes: number
  readonly tailBytesMax: number
  readonly arenaBytes: number
  readonly slabBytes: number
}

export const TABLES: readonly TableOptions[] = [
  { tableId: tableId(7), group: 'state', prefixColumns: 1 },
  { tableId: tableId(9), group: 'state', prefixColumns: 0 },
  { tableId: tableId(300), group: 'state', prefixColumns: 2 },
]

const SLOT_BYTES = 4096

interface ModelVersion {
  /** Infinity: not sealed yet. */
  epoch: number
  value: string | null
}

type Model = Map<string, ModelVersion[]>

export class World {
  readonly source: WorkerBlockSource
  readonly cache: BlockCache
  readonly store: WorkerStore
  readonly tables: readonly LocalTable[]
  /** Requests that were made and not answered. */
  readonly requests: FetchRequest[] = []
  readonly objects = new Map<string, Uint8Array>()
  /** By table, then key in hex: oldest version first. */
  readonly models: readonly Model[] = TABLES.map(() => new Map())
  version: Version = EMPTY_VERSION
  runs: SealedRun[] = []
  lastEpoch = 100
  /** The first fetch of these is refused. */
  failures = 0
  private nextSst = 1
  private readonly options: WorldOptions

  constructor(options: WorldOptions) {
    this.options = options
    const bytes = BlockCache.bytesFor(options.slots * (SLOT_BYTES + 136), SLOT_BYTES)
    this.cache = new BlockCache(new SharedArrayBuffer(bytes), 'owner', SLOT_BYTES)
    const { tailBytesMax } = options
    this.source = new WorkerBlockSource({ cache: this.cache, tailBytesMax })
    this.store = new WorkerStore({
      workerIndex: 0,
      arena: new SharedArrayBuffer(options.arenaBytes),
      version: this.version,
      blocks: this.source,
      slabBytes: options.slabBytes,
    })
    this.tables = TABLES.map((table) => this.store.open(table))
  }

  write(table: number, key: Uint8Array, value: Uint8Array | null): void {
    const handle = this.tables[table]
    if (value === null) handle.delete(key, 0, key.length)
    else handle.put(key, 0, key.length, value, 0, value.length)
    const model = this.models[table]
    const versions = model.get(hex(key)) ?? []
    model.set(hex(key), versions)
    const last = versions[versions.length - 1]
    const entry = { epoch: Number.POSITIVE_INFINITY, value: value === null ? null : hex(value) }
    if (last?.epoch === Number.POSITIVE_INFINITY) versions[versions.length - 1] = entry
    else versions.push(entry)
  }

  seal(): void {
    const sealed = epoch(++this.lastEpoch)
    this.runs.push(...this.store.seal(this.tables, sealed))
    for (const model of this.models) {
      for (const versions of model.values()) {
        const last = versions[versions.length - 1]
        if (last.epoch === Number.POSITIVE_INFINITY) last.epoch = sealed
      }
    }
  }

  /**
   * Encodes all sealed runs and applies the version. `split`: one SST per run, in an odd order in one
   * overlapping sub-level, so that the newest version of a key may be in any of them.
   */
  checkpoint(split: boolean): void {
    if (this.runs.length === 0) return
    const parts = split ? this.runs.map((run) => [run]).reverse() : [this.runs]
    const ssts = parts.flatMap((runs) =>
      this.keep(
        runJob({
          kind: 'encode',
          group: 'state',
          runs,
          safeEpoch: this.version.safeEpoch,
          sst: this.sstOptions(),
        }),
      ),
    )
    const released = this.runs.map((run) => run.runId)
    this.runs = []
    const { subLevels, levels } = this.version.groups.state
    const subLevel = { subLevelId: this.nextSst++, overlapping: true, ssts }
    this.apply({ subLevels: [subLevel, ...subLevels], levels }, released)
  }

  /** Merges the `count` oldest sub-levels: into one sub-level, or with the last level into it. */
  compact(count: number, toBottom: boolean): void {
    const { subLevels, levels } = this.version.groups.state
    const taken = subLevels.slice(Math.max(0, subLevels.length - count))
    if (taken.length === 0) return
    const bottomLevel = levels[levels.length - 1]
    const inputs = [...taken.flatMap((level) => level.ssts), ...(toBottom ? bottomLevel : [])]
    const output = runJob({
      kind: 'merge',
      group: 'state',
      inputs: inputs.map((meta) => ({ meta, body: this.bodyOf(meta) })),
      safeEpoch: this.version.safeEpoch,
      bottom: toBottom,
      tables: TABLES.map(({ tableId, prefixColumns }) => ({ tableId, prefixColumns })),
      droppedTables: [],
      sst: this.sstOptions(),
    })
    const ssts = this.keep(output)
    const kept = subLevels.slice(0, subLevels.length - taken.length)
    const merged: SubLevel = { subLevelId: this.nextSst++, overlapping: false, ssts }
    const groups: GroupLevels = toBottom
      ? { subLevels: kept, levels: [...levels.slice(0, -1), ssts] }
      : { subLevels: ssts.length > 0 ? [...kept, merged] : kept, levels }
    this.apply(groups, [])
    for (const input of inputs) this.cache.evictSst(input.sstId)
  }

  /** Moves the safe epoch: later compactions drop what it hides. */
  raiseSafeEpoch(value: Epoch): void {
    const safeEpoch = epoch(Math.max(value, this.version.safeEpoch))
    this.version = { ...this.version, versionId: this.version.versionId + 1, safeEpoch }
    this.store.applyVersion(this.version, [])
  }

  /** Collects what the source asks for, as the worker's loop does. */
  drain(): void {
    this.requests.push(...this.source.takeRequests())
  }

  /** Answers one of the open requests; `cached`: it also goes into the shared cache. */
  deliver(index: number, cached: boolean): void {
    const [request] = this.requests.splice(index % this.requests.length, 1)
    const { sst } = request
    if (this.failures > 0) {
      this.failures--
      this.source.arrived(sst.sstId, null, [], {
        code: 'OBJECT_MISSING',
        message: 'refused by the test',
        context: {},
        stack: undefined,
        cause: undefined,
      })
      return
    }
    const blocks = this.blocksOf(sst, request.blocks)
    for (const { blockIndex, body } of blocks) {
      if (cached) this.cache.insert(sst.sstId, blockIndex, body)
    }
    this.source.arrived(sst.sstId, request.tail ? this.tailBytes(sst) : null, blocks, null)
  }

  /** Polls to the end; everything asked for arrives between two polls. */
  finish(read: Pending): void {
    for (let polls = 0; !read.poll(); polls++) {
      if (polls > 10_000) throw new Error('a read does not get on')
      this.drain()
      while (this.requests.length > 0) this.deliver(0, polls % 2 === 0)
    }
  }

  scanAll(scan: TableScan): string[] {
    const rows: string[] = []
    for (;;) {
      this.finish(scan)
      if (scan.keys.count === 0) return rows
      rows.push(...rowsOf(scan.keys, scan.values, 0, scan.keys.count))
    }
  }

  /** A reader as queries have it, with a source of its own over the same cache. */
  snapshot(at: number): { reader: SnapshotReader; source: ControlBlockSource } {
    const source = new ControlBlockSource({
      cache: this.cache,
      tailBytesMax: this.options.tailBytesMax,
      fetch: async (sst, want) => ({
        tail: want.tail ? this.tailBytes(sst) : null,
        blocks: this.blocksOf(sst, want.blocks),
      }),
    })
    const { version, runs } = this
    const reader = new SnapshotReader({ version, runs, epoch: epoch(at), blocks: source })
    return { reader, source }
  }

  /** Rows of the model at an epoch (Infinity: with what is not sealed), in key order. */
  expected(table: number, at: number): Map<string, string> {
    const rows = new Map<string, string>()
    for (const key of [...this.models[table].keys()].sort()) {
      const versions = this.models[table].get(key) ?? []
      const newest = versions.filter((version) => version.epoch <= at).pop()
      if (newest !== undefined && newest.value !== null) rows.set(key, newest.value)
    }
    return rows
  }

  private apply(state: GroupLevels, released: readonly number[]): void {
    this.version = {
      ...this.version,
      versionId: this.version.versionId + 1,
      generation: generation(1),
      committedEpoch: epoch(this.lastEpoch),
      groups: { ...this.version.groups, state },
    }
    this.store.applyVersion(this.version, released)
  }

  private keep(output: JobOutput): SstMeta[] {
    for (const { meta, body, length } of output.ssts) {
      this.objects.set(meta.sstId, new Uint8Array(body, 0, length))
    }
    return output.ssts.map((sst) => sst.meta)
  }

  private sstOptions(): SstOptions {
    const { blockBytes, sstBytes } = this.options
    const firstNumber = this.nextSst
    this.nextSst += 1000
    return { databaseId: DATABASE_ID, idPrefix: '5', firstNumber, blockBytes, sstBytes }
  }

  private objectOf(sst: SstMeta): Uint8Array {
    const object = this.objects.get(sst.sstId)
    if (object === undefined) throw new Error('no such object')
    return object
  }

  private bodyOf(sst: SstMeta): ArrayBuffer {
    const body = new ArrayBuffer(sst.sizeBytes)
    new Uint8Array(body).set(this.objectOf(sst))
    return body
  }

  private tailBytes(sst: SstMeta): Uint8Array {
    return this.objectOf(sst).slice(sst.tailOffset)
  }

  private blocksOf(sst: SstMeta, blocks: readonly number[]) {
    const tail = SstTail.parse(sst, this.tailBytes(sst))
    return blocks.map((blockIndex) => {
      const offset = tail.blockOffset(blockIndex)
      const stored = this.objectOf(sst).slice(offset, offset + tail.blockLength(blockIndex))
      return { blockIndex, body: decodeBlock(stored, { object: sst.sstId, offset }) }
    })
  }
}

export function listOf(items: readonly Uint8Array[]): ByteList {
  const offsets = new Uint32Array(items.length + 1)
  for (let i = 0; i < items.length; i++) offsets[i + 1] = offsets[i] + items[i].length
  const data = new Uint8Array(offsets[items.length])
  items.forEach((item, i) => {
    data.set(item, offsets[i])
  })
  return { count: items.length, offsets, data }
}

export function item(list: ByteList, index: number): string {
  return hex(list.data.subarray(list.offsets[index], list.offsets[index + 1]))
}

export function rowsOf(keys: ByteList, values: ByteList, from: number, to: number): string[] {
  const rows: string[] = []
  for (let i = from; i < to; i++) rows.push(`${item(keys, i)}=${item(values, i)}`)
  return rows
}
