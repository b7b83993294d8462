/**
 * Records for the benchmarks of storage: table keys of two bigint columns, values of 16 bytes, and the naive view of
 * them, a map by the key's bytes as latin-1 text (whose order is that of the bytes).
 */
import { combineHash, hashInteger, vnodeOfHash } from '../../../src/common/hash.ts'
import { epoch, tableId } from '../../../src/common/ids.ts'
import type { Arena } from '../../../src/storage/arena.ts'
import type { SstOptions } from '../../../src/storage/job.ts'
import { TAG_8 } from '../../../src/storage/key.ts'
import { MemTable } from '../../../src/storage/memtable.ts'
import type { SealedRun, TableOptions } from '../../../src/storage/state-store.ts'
import { hashNumber, hashOfBytes } from '../digest.ts'
import { integersOf } from '../random.ts'

/** vnode | tag, first column | tag, second column */
export const KEY_BYTES = 20
/** vnode | tag, first column */
export const PREFIX_BYTES = 11
export const VALUE_BYTES = 16

export const TABLE: TableOptions = { tableId: tableId(7), group: 'state', prefixColumns: 1 }

export const SST: SstOptions = {
  databaseId: '0123456789abcdef0123456789abcdef',
  idPrefix: '1',
  firstNumber: 1,
  blockBytes: 64 * 1024,
  sstBytes: 32 * 1024 * 1024,
}

export interface Write {
  readonly key: Uint8Array
  /** Null: a delete. */
  readonly value: Uint8Array | null
}

/** Rows that share `first` share their vnode and their prefix. Both columns are below 2^32. */
export function keyOf(first: number, second: number): Uint8Array {
  const key = new Uint8Array(KEY_BYTES)
  const view = new DataView(key.buffer)
  view.setUint16(0, vnodeOfHash(hashInteger(first, 0)))
  key[2] = TAG_8
  view.setUint8(3, 0x80)
  view.setUint32(7, first)
  key[11] = TAG_8
  view.setUint8(12, 0x80)
  view.setUint32(16, second)
  return key
}

export function randomValue(integer: (limit: number) => number): Uint8Array {
  return Uint8Array.from({ length: VALUE_BYTES }, () => integer(256))
}

export interface WriteOptions {
  readonly seed: number
  readonly count: number
  /** Keys are drawn from so many, evenly; some come again and some never. */
  readonly keyCount: number
  /** One write in so many is a delete; 0: none. */
  readonly deleteEvery: number
}

/** Eight keys share a prefix. */
export function randomWrites({ seed, count, keyCount, deleteEvery }: WriteOptions): Write[] {
  const integer = integersOf(seed)
  return Array.from({ length: count }, () => {
    const key = integer(keyCount)
    const value = randomValue(integer)
    const isDelete = deleteEvery > 0 && integer(deleteEvery) === 0
    return { key: keyOf(key >>> 3, key & 7), value: isDelete ? null : value }
  })
}

/** The writes as one worker seals them. */
export function sealWrites(
  writes: readonly Write[],
  at: { readonly arena: Arena; readonly epoch: number; readonly runId: number },
): SealedRun {
  const memtable = new MemTable(TABLE, at.arena)
  for (const { key, value } of writes) {
    if (value === null) memtable.delete(key, 0, key.length)
    else memtable.put(key, 0, key.length, value, 0, value.length)
  }
  return memtable.seal(epoch(at.epoch), 0, at.runId)
}

/** The naive view: by key, epochs and what each left there last. */
export type Versions = Map<string, Map<number, Uint8Array | null>>

export function addWrites(versions: Versions, writes: readonly Write[], at: number): void {
  for (const { key, value } of writes) {
    const text = Buffer.from(key).toString('latin1')
    const ofKey = versions.get(text) ?? new Map<number, Uint8Array | null>()
    ofKey.set(at, value)
    versions.set(text, ofKey)
  }
}

/** Hashes of all versions in the order of keys, of one key the newest first. */
export function* hashesOfVersions(versions: Versions): Generator<number> {
  for (const key of [...versions.keys()].sort()) {
    const keyBytes = Buffer.from(key, 'latin1')
    const ofKey = versions.get(key) ?? new Map<number, Uint8Array | null>()
    for (const at of [...ofKey.keys()].sort((a, b) => b - a)) {
      const value = ofKey.get(at) ?? null
      yield hashOfEntry(hashOfBytes(keyBytes), at, value === null ? null : hashOfBytes(value))
    }
  }
}

/** @param value hash of the value, null for a delete. */
export function hashOfEntry(key: number, at: number, value: number | null): number {
  return combineHash(combineHash(key, hashNumber(at)), value ?? 1)
}
