/** Writes into a memtable, and what the first read after them pays for the index. */
import { epoch } from '../../../src/common/ids.ts'
import { Arena } from '../../../src/storage/arena.ts'
import { MemTable } from '../../../src/storage/memtable.ts'
import { DELETED, RECORD_HEADER_BYTES, recordBytes } from '../../../src/storage/run-reader.ts'
import type { SealedRun } from '../../../src/storage/state-store.ts'
import type { Benchmark, Prepared, Scale } from '../benchmark.ts'
import { digestOf, hashNumber, hashOfBytes } from '../digest.ts'
import {
  addWrites,
  hashOfEntry,
  KEY_BYTES,
  randomWrites,
  TABLE,
  VALUE_BYTES,
  type Versions,
  type Write,
} from './records.ts'

const EPOCH = 1

export const BENCHMARKS: readonly Benchmark[] = [
  { name: 'memtable/put', unit: 'entry', prepare: put },
  { name: 'memtable/index', unit: 'entry', prepare: index },
]

function writesOf({ seed, tiny }: Scale): Write[] {
  const count = tiny ? 1000 : 50_000
  return randomWrites({ seed, count, keyCount: count * 2, deleteEvery: 0 })
}

/** As operators have them: one buffer of keys, one of values. */
function columnsOf(writes: readonly Write[]): { keys: Uint8Array; values: Uint8Array } {
  const keys = new Uint8Array(writes.length * KEY_BYTES)
  const values = new Uint8Array(writes.length * VALUE_BYTES)
  writes.forEach(({ key, value }, i) => {
    keys.set(key, i * KEY_BYTES)
    if (value !== null) values.set(value, i * VALUE_BYTES)
  })
  return { keys, values }
}

function arenaOf(count: number): Arena {
  return new Arena(new SharedArrayBuffer(count * 64 + 1024 * 1024))
}

function putAll(memtable: MemTable, keys: Uint8Array, values: Uint8Array, count: number): void {
  for (let i = 0; i < count; i++) {
    const key = i * KEY_BYTES
    const value = i * VALUE_BYTES
    memtable.put(keys, key, key + KEY_BYTES, values, value, value + VALUE_BYTES)
  }
}

function put(scale: Scale): Prepared {
  const writes = writesOf(scale)
  const { keys, values } = columnsOf(writes)
  const arena = arenaOf(writes.length)
  let memtable = new MemTable(TABLE, arena)
  return {
    parameters: { entries: writes.length, keyBytes: KEY_BYTES, valueBytes: VALUE_BYTES },
    unitsPerRun: writes.length,
    bytesPerRun: keys.length + values.length,
    expected: digestOf(
      writes.map(({ key, value }) => hashOfEntry(hashOfBytes(key), EPOCH, hashOfValue(value))),
    ),
    reset() {
      memtable.free()
      memtable = new MemTable(TABLE, arena)
    },
    run() {
      putAll(memtable, keys, values, writes.length)
      return memtable.recordCount
    },
    checksum: () => digestOf(hashesOfRecords(memtable.seal(epoch(EPOCH), 0, 1))),
  }
}

function hashOfValue(value: Uint8Array | null): number | null {
  return value === null ? null : hashOfBytes(value)
}

function* hashesOfRecords(run: SealedRun): Generator<number> {
  for (const { buffer, offset, length } of run.segments) {
    const bytes = new Uint8Array(buffer, offset, length)
    const view = new DataView(buffer, offset, length)
    for (let at = 0; at < length; ) {
      const keyAt = at + RECORD_HEADER_BYTES
      const keyBytes = view.getUint32(at, true)
      const valueBytes = view.getUint32(at + 4, true)
      const valueAt = keyAt + keyBytes
      const value =
        valueBytes === DELETED ? null : hashOfBytes(bytes, valueAt, valueAt + valueBytes)
      yield hashOfEntry(hashOfBytes(bytes, keyAt, valueAt), run.epoch, value)
      at += recordBytes(keyBytes, valueBytes)
    }
  }
}

/** From nothing to all; operators that only write never pay for it. */
function index(scale: Scale): Prepared {
  const writes = writesOf(scale)
  const { keys, values } = columnsOf(writes)
  const arena = arenaOf(writes.length)
  const versions: Versions = new Map()
  addWrites(versions, writes, EPOCH)
  let memtable = new MemTable(TABLE, arena)
  return {
    parameters: { entries: writes.length, keys: versions.size },
    unitsPerRun: writes.length,
    expected: hashNumber(versions.size),
    reset() {
      memtable.free()
      memtable = new MemTable(TABLE, arena)
      putAll(memtable, keys, values, writes.length)
      memtable.sync()
    },
    run() {
      memtable.reader.index()
      return memtable.recordCount
    },
    checksum: () => hashNumber(memtable.reader.entryCount),
  }
}
