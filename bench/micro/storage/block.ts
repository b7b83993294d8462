/** Blocks of an SST: built from entries in order, walked, and sought in as point reads do. */
import { readEpochDescending, writeEpochDescending } from '../../../src/common/bytes.ts'
import { combineHash } from '../../../src/common/hash.ts'
import { epoch } from '../../../src/common/ids.ts'
import { EPOCH_BYTES } from '../../../src/storage/key.ts'
import { Block, BlockCursor, decodeBlock } from '../../../src/storage/sst/block.ts'
import { BlockBuilder } from '../../../src/storage/sst/block-builder.ts'
import type { Benchmark, Prepared, Scale } from '../benchmark.ts'
import { digestOf, hashOfBytes } from '../digest.ts'
import { integersOf } from '../random.ts'
import {
  addWrites,
  hashesOfVersions,
  hashOfEntry,
  KEY_BYTES,
  randomWrites,
  SST,
  TABLE,
  VALUE_BYTES,
  type Versions,
} from './records.ts'

const EPOCH = 1
const VERSIONED_BYTES = KEY_BYTES + EPOCH_BYTES

export const BENCHMARKS: readonly Benchmark[] = [
  { name: 'block/build', unit: 'entry', prepare: build },
  { name: 'block/scan', unit: 'entry', prepare: scan },
  { name: 'block/seek', unit: 'key', prepare: seek },
]

/** Entries in order, as a merge hands them to the builder. */
interface Entries {
  readonly versions: Versions
  readonly count: number
  readonly keys: readonly DataView[]
  readonly values: DataView
  /** Leading bytes that key i shares with the one before. */
  readonly shared: Uint8Array
}

function entriesOf({ seed, tiny }: Scale): Entries {
  const versions: Versions = new Map()
  const count = tiny ? 5000 : 50_000
  addWrites(versions, randomWrites({ seed, count, keyCount: count * 2, deleteEvery: 0 }), EPOCH)
  const texts = [...versions.keys()].sort()
  const values = new Uint8Array(texts.length * VALUE_BYTES)
  const keys = texts.map((text, i) => {
    const key = new Uint8Array(VERSIONED_BYTES)
    key.set(Buffer.from(text, 'latin1'))
    writeEpochDescending(key, KEY_BYTES, epoch(EPOCH))
    values.set(versions.get(text)?.get(EPOCH) ?? [], i * VALUE_BYTES)
    return new DataView(key.buffer)
  })
  const shared = Uint8Array.from(texts, (text, i) =>
    i === 0 ? 0 : sharedBytes(texts[i - 1], text),
  )
  return { versions, count: texts.length, keys, values: new DataView(values.buffer), shared }
}

function sharedBytes(left: string, right: string): number {
  let at = 0
  while (at < left.length && left[at] === right[at]) at++
  return at
}

/** Blocks one after the other in `target`. Returns how many entries they hold. */
function buildBlocks(entries: Entries, target: Uint8Array, starts: number[]): number {
  const { keys, values, shared } = entries
  const builder = new BlockBuilder(SST.blockBytes)
  builder.startTable(TABLE.tableId)
  starts.length = 0
  let at = 0
  let count = 0
  const finish = (): void => {
    count += builder.entryCount
    builder.finish()
    starts.push(at)
    target.set(builder.bytes.subarray(builder.start, builder.end), at)
    at += builder.length
    builder.reset(at)
  }
  for (let i = 0; i < entries.count; i++) {
    const valueAt = i * VALUE_BYTES
    const valueEnd = valueAt + VALUE_BYTES
    if (builder.isFullFor(VERSIONED_BYTES, VALUE_BYTES)) finish()
    builder.add(keys[i], VERSIONED_BYTES, shared[i], values, valueAt, valueEnd, false)
  }
  finish()
  starts.push(at)
  return count
}

function targetOf(entries: Entries): Uint8Array {
  return new Uint8Array(new SharedArrayBuffer(entries.count * 64))
}

function decodeBlocks(stored: Uint8Array, starts: readonly number[]): Block[] {
  return starts
    .slice(0, -1)
    .map((offset, i) => stored.subarray(offset, starts[i + 1]))
    .map((bytes, i) => new Block(decodeBlock(bytes, { object: 'benchmark', offset: starts[i] })))
}

function blocksOf(entries: Entries): Block[] {
  const stored = targetOf(entries)
  const starts: number[] = []
  buildBlocks(entries, stored, starts)
  return decodeBlocks(stored, starts)
}

function* hashesOfBlocks(blocks: readonly Block[]): Generator<number> {
  const cursor = new BlockCursor()
  for (const block of blocks) {
    for (let more = cursor.first(block); more; more = cursor.next()) {
      const userEnd = cursor.keyLength - EPOCH_BYTES
      const at = readEpochDescending(cursor.key, userEnd)
      const value = hashOfBytes(cursor.body, cursor.valueStart, cursor.valueEnd)
      yield hashOfEntry(hashOfBytes(cursor.key, 0, userEnd), at, cursor.isDelete ? null : value)
    }
  }
}

function build(scale: Scale): Prepared {
  const entries = entriesOf(scale)
  const target = targetOf(entries)
  const starts: number[] = []
  return {
    parameters: { entries: entries.count, blockBytes: SST.blockBytes },
    unitsPerRun: entries.count,
    bytesPerRun: entries.count * (VERSIONED_BYTES + VALUE_BYTES),
    expected: digestOf(hashesOfVersions(entries.versions)),
    reset: () => void target.fill(0),
    run: () => buildBlocks(entries, target, starts),
    checksum: () => digestOf(hashesOfBlocks(decodeBlocks(target, starts))),
  }
}

function scan(scale: Scale): Prepared {
  const entries = entriesOf(scale)
  const blocks = blocksOf(entries)
  let sum = 0
  return {
    parameters: { entries: entries.count, blocks: blocks.length },
    unitsPerRun: entries.count,
    bytesPerRun: entries.count * (VERSIONED_BYTES + VALUE_BYTES),
    expected: expectedOfScan(entries),
    run() {
      const cursor = new BlockCursor()
      let count = 0
      sum = 0
      for (const block of blocks) {
        for (let more = cursor.first(block); more; more = cursor.next()) {
          count++
          sum = combineHash(sum, cursor.key[KEY_BYTES - 1] + cursor.body[cursor.valueStart])
        }
      }
      return count
    },
    checksum: () => sum,
  }
}

/** The last byte of each key and the first of its value. */
function expectedOfScan({ keys, values }: Entries): number {
  return digestOf(
    keys.map((key, i) => key.getUint8(KEY_BYTES - 1) + values.getUint8(i * VALUE_BYTES)),
  )
}

/** Keys in random order, each in the block that the index of its SST would name. */
function seek(scale: Scale): Prepared {
  const entries = entriesOf(scale)
  const blocks = blocksOf(entries)
  const integer = integersOf(scale.seed + 1)
  const count = scale.tiny ? 500 : 5000
  const chosen = Array.from({ length: count }, () => integer(entries.count))
  const blockOf = blocks.flatMap((block) => Array<Block>(block.entryCount).fill(block))
  const targets = chosen.map((entry) => blockOf[entry])
  const keys = new Uint8Array(count * VERSIONED_BYTES)
  chosen.forEach((entry, i) => {
    keys.set(new Uint8Array(entries.keys[entry].buffer), i * VERSIONED_BYTES)
  })
  let sum = 0
  return {
    parameters: { entries: entries.count, blocks: blocks.length, keys: count },
    unitsPerRun: count,
    expected: digestOf(chosen.map((entry) => entries.values.getUint8(entry * VALUE_BYTES))),
    run() {
      const cursor = new BlockCursor()
      let found = 0
      sum = 0
      for (let i = 0; i < count; i++) {
        const at = i * VERSIONED_BYTES
        if (!cursor.seek(targets[i], keys, at, at + VERSIONED_BYTES)) continue
        sum = combineHash(sum, cursor.body[cursor.valueStart])
        found++
      }
      return found
    },
    checksum: () => sum,
  }
}
