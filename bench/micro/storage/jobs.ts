/** The jobs of the pool: a checkpoint's runs to an SST, and SSTs of several levels to the bottom one. */
import { assert } from '../../../src/common/assert.ts'
import { readEpochDescending } from '../../../src/common/bytes.ts'
import { epoch } from '../../../src/common/ids.ts'
import { Arena } from '../../../src/storage/arena.ts'
import type { EncodeJob, JobOutput, MergeJob } from '../../../src/storage/job.ts'
import { runJob } from '../../../src/storage/jobs.ts'
import { EPOCH_BYTES } from '../../../src/storage/key.ts'
import { Block, BlockCursor, decodeBlock } from '../../../src/storage/sst/block.ts'
import { SstTail } from '../../../src/storage/sst/sst-reader.ts'
import type { SealedRun } from '../../../src/storage/state-store.ts'
import type { Benchmark, Prepared, Scale } from '../benchmark.ts'
import { digestOf, hashOfBytes } from '../digest.ts'
import {
  addWrites,
  hashesOfVersions,
  hashOfEntry,
  randomWrites,
  SST,
  sealWrites,
  TABLE,
  type Versions,
} from './records.ts'

const RUN_COUNT = 4
const DELETE_EVERY = 10

export const BENCHMARKS: readonly Benchmark[] = [
  { name: 'jobs/encode', unit: 'entry', prepare: encode },
  { name: 'jobs/merge', unit: 'entry', prepare: merge },
]

/** Runs of consecutive epochs from 1 on, oldest first; each writes about half of the keys, some twice. */
interface Epochs {
  readonly runs: readonly SealedRun[]
  readonly versions: Versions
}

function epochsOf({ seed, tiny }: Scale): Epochs {
  const count = tiny ? 1000 : 25_000
  const arena = new Arena(new SharedArrayBuffer(RUN_COUNT * count * 64 + 1024 * 1024))
  const versions: Versions = new Map()
  const runs: SealedRun[] = []
  for (let i = 0; i < RUN_COUNT; i++) {
    const options = { seed: seed + i, count, keyCount: count * 2, deleteEvery: DELETE_EVERY }
    const writes = randomWrites(options)
    runs.push(sealWrites(writes, { arena, epoch: i + 1, runId: i + 1 }))
    addWrites(versions, writes, i + 1)
  }
  return { runs, versions }
}

function encodeJob(runs: readonly SealedRun[], firstNumber: number): EncodeJob {
  const sst = { ...SST, firstNumber }
  return { kind: 'encode', group: TABLE.group, runs, safeEpoch: epoch(0), sst }
}

function* hashesOfOutput(output: JobOutput): Generator<number> {
  const cursor = new BlockCursor()
  for (const { meta, body, length } of output.ssts) {
    const bytes = new Uint8Array(body, 0, length)
    const tail = SstTail.parse(meta, bytes.subarray(meta.tailOffset), SST.databaseId)
    for (let i = 0; i < tail.blockCount; i++) {
      const offset = tail.blockOffset(i)
      const stored = bytes.subarray(offset, offset + tail.blockLength(i))
      const block = new Block(decodeBlock(stored, { object: tail.sstId, offset }))
      for (let more = cursor.first(block); more; more = cursor.next()) yield hashAt(cursor)
    }
  }
}

function hashAt(cursor: BlockCursor): number {
  const userEnd = cursor.keyLength - EPOCH_BYTES
  const at = readEpochDescending(cursor.key, userEnd)
  const value = hashOfBytes(cursor.body, cursor.valueStart, cursor.valueEnd)
  return hashOfEntry(hashOfBytes(cursor.key, 0, userEnd), at, cursor.isDelete ? null : value)
}

function encode(scale: Scale): Prepared {
  const { runs, versions } = epochsOf(scale)
  const job = encodeJob(runs, 1)
  const entries = runs.reduce((sum, run) => sum + run.entryCount, 0)
  let output: JobOutput | null = null
  return {
    parameters: { runs: runs.length, entries, keys: versions.size },
    unitsPerRun: entries,
    bytesPerRun: runs.reduce((sum, run) => sum + run.byteCount, 0),
    // No reader is below any of the epochs: every version stays.
    expected: digestOf(hashesOfVersions(versions)),
    run() {
      output = runJob(job)
      return output.entriesIn
    },
    checksum() {
      assert(output !== null, 'the job ran')
      return digestOf(hashesOfOutput(output))
    },
  }
}

function merge(scale: Scale): Prepared {
  const { runs, versions } = epochsOf(scale)
  // Newest first, as compactions have them.
  const inputs = runs.map((run, i) => runJob(encodeJob([run], i + 1)).ssts[0]).reverse()
  const job: MergeJob = {
    kind: 'merge',
    group: TABLE.group,
    inputs: inputs.map(({ meta, body }) => ({ meta, body })),
    safeEpoch: epoch(RUN_COUNT),
    bottom: true,
    tables: [{ tableId: TABLE.tableId, prefixColumns: TABLE.prefixColumns }],
    droppedTables: [],
    sst: { ...SST, firstNumber: RUN_COUNT + 1 },
  }
  const entries = inputs.reduce((sum, { meta }) => sum + meta.entryCount, 0)
  let output: JobOutput | null = null
  return {
    parameters: { inputs: inputs.length, entries, keys: versions.size },
    unitsPerRun: entries,
    bytesPerRun: inputs.reduce((sum, { meta }) => sum + meta.sizeBytes, 0),
    expected: digestOf(hashesOfVersions(newestOf(versions))),
    run() {
      output = runJob(job)
      return output.entriesIn
    },
    checksum() {
      assert(output !== null, 'the job ran')
      return digestOf(hashesOfOutput(output))
    },
  }
}

/** What is left at the bottom when every epoch is safe: of each key the newest, unless it is a delete. */
function newestOf(versions: Versions): Versions {
  const newest: Versions = new Map()
  for (const [key, ofKey] of versions) {
    const at = Math.max(...ofKey.keys())
    const value = ofKey.get(at) ?? null
    if (value !== null) newest.set(key, new Map([[at, value]]))
  }
  return newest
}
