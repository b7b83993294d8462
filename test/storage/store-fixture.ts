/**
 * A database on a map of objects, with a model of what it must hold at each epoch: the oracle of the store's
 * tests. The model lives outside the store and is written as the design says it, not as the store does it.
 */
import { bytes, type Epoch, epoch, tableId } from '../../src/common/ids.ts'
import { InlineJobs } from '../../src/storage/job-pool.ts'
import { type CommitResult, LsmStore, type StoreEvent } from '../../src/storage/lsm-store.ts'
import { type MemoryObject, MemoryObjectStore } from '../../src/storage/object/memory.ts'
import type { ObjectStore } from '../../src/storage/object/object-store.ts'
import { BlockCursor } from '../../src/storage/sst/block.ts'
import { SstTail } from '../../src/storage/sst/sst-reader.ts'
import { sstKey } from '../../src/storage/sst-name.ts'
import type { SealedRun } from '../../src/storage/state-store.ts'
import { type StoreOptions, storeOptions } from '../../src/storage/store-options.ts'
import { eachSst, type Version } from '../../src/storage/version/version.ts'
import { VirtualEnv } from '../common/virtual-env.ts'
import { sealedRun } from './jobs/support.ts'
import { type Entry, entryAt, readBlock, tableKey } from './sst/support.ts'

/** `table/key` → value, or null for a delete. */
export type Changes = Readonly<Record<string, string | null>>

/** Tiny sizes, so that a few rows reach every path. */
export const TINY_STORE: StoreOptions = storeOptions({
  blockBytes: bytes(64),
  sstBytes: bytes(600),
  compaction: {
    ...storeOptions().compaction,
    tierSubLevelsMin: 3,
    tierSubLevelsMax: 4,
    baseBytesMin: bytes(2000),
    baseSubLevelsMax: 5,
    outputBytes: bytes(600),
  },
  keptCommitCount: 2,
  vacuumEveryCommits: 0,
  snapshotEvery: 4,
})

const text = new TextEncoder()
const untext = new TextDecoder()

/** What the database holds, as `table/key` → value. Tables below 100 are operators' state. */
export type Rows = ReadonlyMap<string, string>

export interface Expected {
  readonly rows: Rows
  readonly offset: number
}

/** One bucket, and all that was ever tried and acknowledged in it. */
export class World {
  readonly env: VirtualEnv
  readonly objects = new Map<string, MemoryObject>()
  readonly bucket: MemoryObjectStore
  readonly events: StoreEvent[] = []
  /** What each epoch that was handed over must read as, if it was committed. */
  readonly attempted = new Map<Epoch, Expected>([[epoch(0), { rows: new Map(), offset: 0 }]])
  acknowledged: Epoch = epoch(0)
  private runId = 0

  constructor(seed = 1) {
    this.env = new VirtualEnv(seed)
    this.bucket = new MemoryObjectStore(this.env, { objects: this.objects, pageKeys: 7 })
  }

  open(objects: ObjectStore = this.bucket, options: Partial<StoreOptions> = {}): Promise<LsmStore> {
    return LsmStore.open({
      env: this.env,
      objects,
      jobs: new InlineJobs(),
      options: { ...TINY_STORE, ...options },
      onEvent: (event) => this.events.push(event),
    })
  }

  /** Hands a checkpoint over; the model follows from the last one handed over to this store. */
  commit(
    store: LsmStore,
    at: number,
    changes: Changes,
    before: Epoch = store.committedEpoch,
  ): Promise<CommitResult> {
    const at2 = epoch(at)
    const base = this.attempted.get(before)
    if (base === undefined) throw new Error(`epoch ${before} was never tried`)
    const rows = new Map(base.rows)
    for (const [key, value] of Object.entries(changes)) {
      if (value === null) rows.delete(key)
      else rows.set(key, value)
    }
    this.attempted.set(at2, { rows, offset: at })
    const offsets = { '1/0': { position: at } }
    const done = store.commit({ epoch: at2, runs: this.runs(at, changes), offsets })
    return done.then((result) => {
      if (result.epoch > this.acknowledged) this.acknowledged = result.epoch
      return result
    })
  }

  runs(at: number, changes: Changes): SealedRun[] {
    const byTable = new Map<number, Entry[]>()
    for (const [key, value] of Object.entries(changes)) {
      const [table, name] = key.split('/')
      const entries = byTable.get(Number(table)) ?? []
      byTable.set(Number(table), entries)
      const bytesOrNull = value === null ? null : text.encode(value)
      const key_ = tableKey(name.length % 256, name)
      entries.push({ tableId: Number(table), key: key_, epoch: at, value: bytesOrNull })
    }
    return [...byTable].map(([table, entries]) => ({
      ...sealedRun(entries, { runId: this.runId++ }),
      group: table < 100 ? 'state' : 'materialized',
      tableId: tableId(table),
    }))
  }

  /**
   * Every row that a reader of `version` at `at` sees, straight from the objects. Checks what readers rely on when
   * they stop early: of each key newer versions stand in newer places.
   */
  read(version: Version, databaseId: string, at: Epoch = version.committedEpoch): Rows {
    const newest = new Map<string, Entry>()
    const oldestSeen = new Map<string, { epoch: number; sstId: string }>()
    for (const sst of eachSst(version)) {
      const object = this.objects.get(sstKey(sst.sstId))?.body
      if (object === undefined) throw new Error(`SST ${sst.sstId} is named but missing`)
      const tail = SstTail.parse(sst, object.subarray(sst.tailOffset), databaseId)
      for (let i = 0; i < tail.blockCount; i++) {
        const block = readBlock(object, tail, i)
        const cursor = new BlockCursor()
        for (let more = cursor.first(block); more; more = cursor.next()) {
          const entry = entryAt(cursor, block.tableId)
          const name = nameOf(entry)
          const above = oldestSeen.get(name)
          if (above !== undefined && above.epoch <= entry.epoch) {
            throw new Error(`${name}@${entry.epoch} of ${sst.sstId} lies beneath ${above.sstId}`)
          }
          oldestSeen.set(name, { epoch: entry.epoch, sstId: sst.sstId })
          const before = newest.get(name)
          if (entry.epoch > at || (before !== undefined && before.epoch >= entry.epoch)) continue
          newest.set(name, entry)
        }
      }
    }
    const dropped = new Set<number>(version.droppedTables)
    const rows = new Map<string, string>()
    for (const [name, entry] of newest) {
      if (entry.value === null || dropped.has(entry.tableId)) continue
      rows.set(name, untext.decode(entry.value))
    }
    return rows
  }

  sstKeys(): string[] {
    return [...this.objects.keys()].filter((key) => key.startsWith('sst/')).sort()
  }
}

/** Keys that a version names, to compare with what lies in the bucket. */
export function namedKeys(version: Version): string[] {
  return [...eachSst(version)].map((sst) => sstKey(sst.sstId)).sort()
}

/** The name within `table/name`, from the group-coded key. */
function nameOf(entry: Entry): string {
  const groups = entry.key.subarray(3)
  const parts: number[] = []
  for (let i = 0; i < groups.length; i += 9) {
    parts.push(...groups.subarray(i, i + Math.min(8, groups[i + 8])))
  }
  return `${entry.tableId}/${untext.decode(Uint8Array.from(parts))}`
}

/** Sorted, for a readable difference. */
export function listed(rows: Rows): string[] {
  return [...rows].map(([key, value]) => `${key}=${value}`).sort()
}
