/**
 * Reads of a worker's store in batches, as operators make them: from the memtable and a sealed run, and from SSTs
 * whose blocks are in the cache. Nothing is fetched in the measured time.
 */
import { assert } from '../../../src/common/assert.ts'
import { combineHash } from '../../../src/common/hash.ts'
import { epoch, generation } from '../../../src/common/ids.ts'
import { type FetchRequest, WorkerBlockSource } from '../../../src/storage/cache/block-sources.ts'
import { BlockCache } from '../../../src/storage/cache/memory.ts'
import type { JobOutput } from '../../../src/storage/job.ts'
import { runJob } from '../../../src/storage/jobs.ts'
import { WorkerStore } from '../../../src/storage/local-store.ts'
import { decodeBlock } from '../../../src/storage/sst/block.ts'
import { SstTail } from '../../../src/storage/sst/sst-reader.ts'
import type { ByteList, LocalTable, Pending, SealedRun } from '../../../src/storage/state-store.ts'
import { EMPTY_VERSION, type SstMeta, type Version } from '../../../src/storage/version/version.ts'
import type { Benchmark, Prepared, Scale } from '../benchmark.ts'
import { digestOf } from '../digest.ts'
import { integersOf } from '../random.ts'
import { KEY_BYTES, keyOf, PREFIX_BYTES, randomValue, SST, TABLE, VALUE_BYTES } from './records.ts'

const ROWS_PER_PREFIX = 8
/** Of the rows, so many are written again after the first seal. */
const REWRITTEN_SHARE = 0.1
const MEBIBYTE = 2 ** 20

type Place = 'memory' | 'cached SSTs'

export const BENCHMARKS: readonly Benchmark[] = [
  { name: 'local-store/getMany, memory', unit: 'key', prepare: (s) => getMany(s, 'memory') },
  { name: 'local-store/getMany, SSTs', unit: 'key', prepare: (s) => getMany(s, 'cached SSTs') },
  { name: 'local-store/scanMany, memory', unit: 'prefix', prepare: (s) => scanMany(s, 'memory') },
  {
    name: 'local-store/scanMany, SSTs',
    unit: 'prefix',
    prepare: (s) => scanMany(s, 'cached SSTs'),
  },
]

/** A table of prefixes 0 .. prefixCount, each with rows 0 .. 8. */
interface World {
  readonly table: LocalTable
  readonly prefixCount: number
  /** Value of row `prefix * 8 + row`. */
  readonly values: readonly Uint8Array[]
  /** Polls to the end; whatever is missing is brought in. */
  finish(read: Pending): void
  /** How many times something was missing. */
  readonly fetches: () => number
}

function makeWorld({ seed, tiny }: Scale, place: Place): World {
  const prefixCount = tiny ? 100 : 8000
  const rowCount = prefixCount * ROWS_PER_PREFIX
  const cacheBytes = BlockCache.bytesFor((tiny ? 2 : 32) * MEBIBYTE)
  const cache = new BlockCache(new SharedArrayBuffer(cacheBytes), 'owner')
  const source = new WorkerBlockSource({ cache, tailBytesMax: MEBIBYTE })
  const store = new WorkerStore({
    workerIndex: 0,
    arena: new SharedArrayBuffer(rowCount * 128 + MEBIBYTE),
    version: EMPTY_VERSION,
    blocks: source,
  })
  const table = store.open(TABLE)
  const integer = integersOf(seed)
  const values = Array.from({ length: rowCount }, () => randomValue(integer))
  for (let row = 0; row < rowCount; row++) putRow(table, row, values[row])
  const first = store.seal([table], epoch(1))
  for (let i = 0; i < rowCount * REWRITTEN_SHARE; i++) {
    const row = integer(rowCount)
    values[row] = randomValue(integer)
    putRow(table, row, values[row])
  }
  const objects = new Map<string, Uint8Array>()
  if (place === 'cached SSTs') {
    const second = store.seal([table], epoch(2))
    const outputs = [first, second].map((runs, i) => encodeRuns(runs, i + 1, objects))
    store.applyVersion(
      versionOf(outputs),
      [...first, ...second].map((run) => run.runId),
    )
  }
  let fetches = 0
  const finish = (read: Pending): void => {
    while (!read.poll()) {
      const requests = source.takeRequests()
      assert(requests.length > 0, 'a read that waits has asked for something')
      for (const request of requests) answer(request, { cache, source, objects })
      fetches++
    }
  }
  return { table, prefixCount, values, finish, fetches: () => fetches }
}

function putRow(table: LocalTable, row: number, value: Uint8Array): void {
  const key = keyOf(Math.floor(row / ROWS_PER_PREFIX), row % ROWS_PER_PREFIX)
  table.put(key, 0, key.length, value, 0, value.length)
}

function encodeRuns(
  runs: readonly SealedRun[],
  firstNumber: number,
  objects: Map<string, Uint8Array>,
): JobOutput {
  const sst = { ...SST, firstNumber }
  const output = runJob({ kind: 'encode', group: TABLE.group, runs, safeEpoch: epoch(0), sst })
  for (const { meta, body, length } of output.ssts) {
    objects.set(meta.sstId, new Uint8Array(body, 0, length))
  }
  return output
}

/** The first output is the last level, the second a sub-level above it. */
function versionOf([oldest, newest]: readonly JobOutput[]): Version {
  const metas = ({ ssts }: JobOutput): SstMeta[] => ssts.map(({ meta }) => meta)
  const { groups } = EMPTY_VERSION
  const subLevels = [{ subLevelId: 1, overlapping: true, ssts: metas(newest) }]
  const levels = [...groups.state.levels.slice(0, -1), metas(oldest)]
  return {
    ...EMPTY_VERSION,
    versionId: 1,
    generation: generation(1),
    committedEpoch: epoch(2),
    groups: { ...groups, state: { subLevels, levels } },
  }
}

interface Answerer {
  readonly cache: BlockCache
  readonly source: WorkerBlockSource
  readonly objects: ReadonlyMap<string, Uint8Array>
}

/** What the control thread does with a request. */
function answer({ sst, tail, blocks }: FetchRequest, by: Answerer): void {
  const object = by.objects.get(sst.sstId)
  assert(object !== undefined, 'an SST that is read exists')
  const tailBytes = object.subarray(sst.tailOffset)
  const parsed = SstTail.parse(sst, tailBytes, SST.databaseId)
  const bodies = blocks.map((blockIndex) => {
    const offset = parsed.blockOffset(blockIndex)
    const stored = object.subarray(offset, offset + parsed.blockLength(blockIndex))
    return { blockIndex, body: decodeBlock(stored, { object: sst.sstId, offset }) }
  })
  for (const { blockIndex, body } of bodies) by.cache.insert(sst.sstId, blockIndex, body)
  by.source.arrived(sst.sstId, tail ? tailBytes : null, bodies, null)
}

function listOf(items: readonly Uint8Array[], itemBytes: number): ByteList {
  const data = new Uint8Array(items.length * itemBytes)
  items.forEach((item, i) => {
    data.set(item.subarray(0, itemBytes), i * itemBytes)
  })
  const offsets = Uint32Array.from({ length: items.length + 1 }, (_, i) => i * itemBytes)
  return { count: items.length, offsets, data }
}

/** Nine keys of ten are there. */
function getMany(scale: Scale, place: Place): Prepared {
  const world = makeWorld(scale, place)
  const integer = integersOf(scale.seed + 1)
  const batchKeys = scale.tiny ? 200 : 2048
  const batches: ByteList[] = []
  const hashes: number[] = []
  for (let batch = 0; batch < (scale.tiny ? 2 : 8); batch++) {
    const keys = Array.from({ length: batchKeys }, () => {
      const prefix = integer(world.prefixCount)
      const row = integer(10) === 0 ? ROWS_PER_PREFIX : integer(ROWS_PER_PREFIX)
      const value = row < ROWS_PER_PREFIX ? world.values[prefix * ROWS_PER_PREFIX + row] : null
      hashes.push(value === null ? 0 : markOf(value, 0, value.length))
      return keyOf(prefix, row)
    })
    batches.push(listOf(keys, KEY_BYTES))
  }
  let sum = 0
  const run = (): number => {
    let count = 0
    sum = 0
    for (const batch of batches) {
      const result = world.table.getMany(batch)
      world.finish(result)
      const { found, values } = result
      for (let i = 0; i < batch.count; i++) {
        const mark =
          found[i] === 0 ? 0 : markOf(values.data, values.offsets[i], values.offsets[i + 1])
        sum = combineHash(sum, mark)
      }
      count += batch.count
    }
    return count
  }
  return {
    ...commonOf(world, run),
    parameters: { rows: world.values.length, batchKeys, batches: batches.length },
    expected: digestOf(hashes),
    checksum: () => sum,
  }
}

/** All rows below each prefix; one prefix in ten has none. */
function scanMany(scale: Scale, place: Place): Prepared {
  const world = makeWorld(scale, place)
  const integer = integersOf(scale.seed + 1)
  const batchPrefixes = scale.tiny ? 20 : 256
  const batches: ByteList[] = []
  const hashes: number[] = []
  for (let batch = 0; batch < (scale.tiny ? 2 : 8); batch++) {
    const prefixes = Array.from({ length: batchPrefixes }, () => {
      const prefix = integer(10) === 0 ? world.prefixCount : integer(world.prefixCount)
      const rows = prefix === world.prefixCount ? 0 : ROWS_PER_PREFIX
      for (let row = 0; row < rows; row++) {
        const value = world.values[prefix * ROWS_PER_PREFIX + row]
        hashes.push(row + markOf(value, 0, value.length))
      }
      hashes.push(rows)
      return keyOf(prefix, 0)
    })
    batches.push(listOf(prefixes, PREFIX_BYTES))
  }
  let sum = 0
  const run = (): number => {
    let count = 0
    sum = 0
    for (const batch of batches) {
      const result = world.table.scanMany(batch)
      world.finish(result)
      const { rowStarts, keys, values } = result
      for (let i = 0; i < batch.count; i++) {
        for (let row = rowStarts[i]; row < rowStarts[i + 1]; row++) {
          const last = keys.data[keys.offsets[row + 1] - 1]
          const mark = markOf(values.data, values.offsets[row], values.offsets[row + 1])
          sum = combineHash(sum, last + mark)
        }
        sum = combineHash(sum, rowStarts[i + 1] - rowStarts[i])
      }
      count += batch.count
    }
    return count
  }
  return {
    ...commonOf(world, run),
    parameters: {
      rows: world.values.length,
      rowsPerPrefix: ROWS_PER_PREFIX,
      batchPrefixes,
      batches: batches.length,
    },
    expected: digestOf(hashes),
    checksum: () => sum,
  }
}

/** Runs once, which brings in all that is missing; later runs must find everything. */
function commonOf(world: World, run: () => number): Pick<Prepared, 'unitsPerRun' | 'run'> {
  const unitsPerRun = run()
  const fetches = world.fetches()
  return {
    unitsPerRun,
    run() {
      const units = run()
      assert(world.fetches() === fetches, 'all that is read is in memory')
      return units
    },
  }
}

/** Cheap enough for the measured time: length, first and last bytes. */
function markOf(data: Uint8Array, start: number, end: number): number {
  return (
    (end - start === VALUE_BYTES ? 1 : 0) +
    (data[start] << 1) +
    (data[start + 1] << 9) +
    (data[end - 1] << 17)
  )
}
