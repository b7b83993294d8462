/**
 * The background jobs: a checkpoint's sealed runs → SSTs, and SSTs → SSTs by the drop rule. Pure functions of
 * their job, run by pool threads (job-worker.ts) or, in tests, by the caller. Bytes are read in place from
 * shared memory.
 * Hot path: millions of entries a second.
 */
import { assert } from '../common/assert.ts'
import { writeEpochDescending } from '../common/bytes.ts'
import { EngineError } from '../common/errors.ts'
import { RECORD_WORDS, sortKeys } from './iterator/key-sort.ts'
import { SstCursor } from './iterator/sst-cursor.ts'
import { chainInputs, SstMerge } from './iterator/sst-merge.ts'
import type { EncodeJob, Job, JobOutput, MergeJob } from './job.ts'
import { EPOCH_BYTES } from './key.ts'
import { SstWriter } from './sst/sst-writer.ts'
import type { SealedRun } from './state-store.ts'

/** `valueBytes` of a record that deletes its key. */
const DELETE_MARK = 0xffff_ffff
const RECORD_HEAD_BYTES = 8
/** Records whose memory is asked for together. */
const TOUCH_RECORDS = 32

/** Monotonic milliseconds. */
export type JobClock = () => number

/**
 * Runs a job to its end on this thread.
 * @param clock measures `durationMs`; without one it is 0.
 * @throws CORRUPTION when an input SST is damaged
 */
export function runJob(job: Job, clock: JobClock = () => 0): JobOutput {
  const start = clock()
  const output = job.kind === 'encode' ? runEncode(job) : runMerge(job)
  return { ...output, durationMs: clock() - start }
}

type Untimed = Omit<JobOutput, 'durationMs'>

function runEncode(job: EncodeJob): Untimed {
  const runs = [...job.runs].sort(byTableAndAge)
  const bytesIn = runs.reduce((sum, run) => sum + runBytes(run), 0)
  const entriesIn = runs.reduce((sum, run) => sum + run.entryCount, 0)
  const writer = new SstWriter({
    sst: job.sst,
    group: job.group,
    safeEpoch: job.safeEpoch,
    // Older versions may lie in the tree beneath: a checkpoint's deletes always stay.
    bottom: false,
    creationEpoch: runs.reduce((newest, run) => Math.max(newest, run.epoch), 0),
    expectedBytes: expectedBytes(bytesIn + entriesIn * EPOCH_BYTES, entriesIn, job.sst.blockBytes),
  })
  for (let from = 0; from < runs.length; ) {
    let to = from + 1
    while (to < runs.length && runs[to].tableId === runs[from].tableId) to++
    writeTable(runs.slice(from, to), writer)
    from = to
  }
  return finishJob(writer, entriesIn, bytesIn)
}

/** By table; within one oldest first, as records of a later run replace those of an earlier one of the same epoch. */
function byTableAndAge(left: SealedRun, right: SealedRun): number {
  return (
    left.tableId - right.tableId ||
    left.epoch - right.epoch ||
    left.workerIndex - right.workerIndex ||
    left.runId - right.runId
  )
}

function runBytes(run: SealedRun): number {
  return run.segments.reduce((sum, segment) => sum + segment.length, 0)
}

/** Sorts all records of one table by key and epoch and writes them. */
function writeTable(runs: readonly SealedRun[], writer: SstWriter): void {
  const { prefixColumns, tableId } = runs[0]
  const batch = new RecordBatch(runs)
  for (const run of runs) {
    assert(run.prefixColumns === prefixColumns, 'runs of a table have one layout')
    batch.addRun(run)
  }
  assert(batch.isFull, 'runs hold as many records as they say')
  writer.startTable(tableId, prefixColumns)
  const order = sortKeys(batch)
  const { bytes, records, buffers } = batch
  const keys = new DataView(bytes.buffer)
  for (let i = 0; i < order.length; i++) {
    if (i % TOUCH_RECORDS === 0) touch(batch, order, i)
    const record = order[i] * RECORD_WORDS
    const keyStart = records[record]
    const keyEnd = keyStart + records[record + 1]
    const buffer = buffers[records[record + 2]]
    const valueStart = records[record + 3]
    const valueLength = buffer.getUint32(valueStart - (keyEnd - keyStart - EPOCH_BYTES) - 4, true)
    const isDelete = valueLength === DELETE_MARK
    const valueEnd = isDelete ? valueStart : valueStart + valueLength
    writer.add(keys, keyStart, keyEnd, buffer, valueStart, valueEnd, isDelete)
  }
}

/**
 * Reads a byte of each cache line that the next records will need. Records lie in random order, and these reads, which do
 * not wait for one another, bring them in together: encoding is a quarter faster.
 */
function touch(batch: RecordBatch, order: Uint32Array, from: number): void {
  const { bytes, records, buffers } = batch
  const to = Math.min(from + TOUCH_RECORDS, order.length)
  let sum = 0
  for (let i = from; i < to; i++) {
    const record = order[i] * RECORD_WORDS
    const buffer = buffers[records[record + 2]]
    const value = records[record + 3]
    const last = buffer.byteLength - 1
    sum += bytes[records[record]] + buffer.getUint8(value - 4)
    sum +=
      buffer.getUint8(Math.min(value + 60, last)) + buffer.getUint8(Math.min(value + 124, last))
  }
  batch.touched = sum
}

/**
 * The records of one table's runs as columns. Versioned keys are copied together (they are compared often), values
 * stay where they are. Filled from the back: a stable sort then has the newest of equal keys first.
 */
class RecordBatch {
  readonly count: number
  bytes: Uint8Array
  /** Per record: key start and length, the buffer, and where in it the value begins. */
  readonly records: Int32Array
  readonly buffers: DataView[]
  /** Means nothing; written so that the reads of `touch` are not optimised away. */
  touched: number
  private next: number
  private keyBytes: number

  constructor(runs: readonly SealedRun[]) {
    const count = runs.reduce((sum, run) => sum + run.entryCount, 0)
    this.count = count
    this.bytes = new Uint8Array(count * 32 + 64)
    this.records = new Int32Array(count * RECORD_WORDS)
    this.buffers = []
    this.touched = 0
    this.next = count
    this.keyBytes = 0
  }

  get isFull(): boolean {
    return this.next === 0
  }

  addRun(run: SealedRun): void {
    const inverted = new Uint8Array(EPOCH_BYTES)
    writeEpochDescending(inverted, 0, run.epoch)
    for (const segment of run.segments) {
      const source = new Uint8Array(segment.buffer, segment.offset, segment.length)
      const view = new DataView(segment.buffer, segment.offset, segment.length)
      this.buffers.push(view)
      this.addSegment(source, view, inverted)
    }
  }

  private addSegment(source: Uint8Array, view: DataView, inverted: Uint8Array): void {
    const buffer = this.buffers.length - 1
    for (let at = 0; at < source.length; ) {
      const keyLength = view.getUint32(at, true)
      const valueLength = view.getUint32(at + 4, true)
      const keyAt = at + RECORD_HEAD_BYTES
      const valueAt = keyAt + keyLength
      const end = valueAt + (valueLength === DELETE_MARK ? 0 : valueLength)
      if (end > source.length || this.next === 0) throw damagedRun(at)
      this.ensureKeyBytes(keyLength + EPOCH_BYTES)
      const record = --this.next * RECORD_WORDS
      this.records[record] = this.keyBytes
      this.records[record + 1] = keyLength + EPOCH_BYTES
      this.records[record + 2] = buffer
      this.records[record + 3] = valueAt
      const bytes = this.bytes
      let target = this.keyBytes
      for (let i = keyAt; i < valueAt; i++) bytes[target++] = source[i]
      for (let i = 0; i < EPOCH_BYTES; i++) bytes[target++] = inverted[i]
      this.keyBytes = target
      at = (end + 3) & ~3
    }
  }

  private ensureKeyBytes(more: number): void {
    if (this.keyBytes + more <= this.bytes.length) return
    assert(this.keyBytes + more < 2 ** 31, 'the keys of one table and checkpoint are below 2 GiB')
    const grown = new Uint8Array((this.keyBytes + more) * 2)
    grown.set(this.bytes.subarray(0, this.keyBytes))
    this.bytes = grown
  }
}

function damagedRun(offset: number): EngineError {
  return new EngineError('INTERNAL', 'a sealed run does not hold the records it should', {
    context: { offset },
  })
}

function runMerge(job: MergeJob): Untimed {
  const bytesIn = job.inputs.reduce((sum, input) => sum + input.meta.sizeBytes, 0)
  const inputEntries = job.inputs.reduce((sum, input) => sum + input.meta.entryCount, 0)
  const newest = job.inputs.reduce((epoch, input) => Math.max(epoch, input.meta.maxEpoch), 0)
  const writer = new SstWriter({
    sst: job.sst,
    group: job.group,
    safeEpoch: job.safeEpoch,
    bottom: job.bottom,
    creationEpoch: Math.max(newest, job.safeEpoch),
    expectedBytes: expectedBytes(bytesIn, inputEntries, job.sst.blockBytes),
  })
  if (job.inputs.length === 0) return finishJob(writer, 0, 0)
  return finishJob(writer, mergeInputs(job, writer), bytesIn)
}

/** Returns how many entries were read. */
function mergeInputs(job: MergeJob, writer: SstWriter): number {
  const dropped = new Set<number>(job.droppedTables)
  const prefixColumns = new Map<number, number>()
  for (const table of job.tables) prefixColumns.set(table.tableId, table.prefixColumns)
  const cursors = chainInputs(job.inputs).map(
    (chain) => new SstCursor(chain, dropped, job.sst.databaseId),
  )
  const merge = new SstMerge(cursors)
  let table = 0
  let entriesIn = 0
  for (let cursor = merge.current; !cursor.isDone; cursor = merge.current) {
    if (cursor.tableId !== table) {
      table = cursor.tableId
      // The job's view of the catalog may be older than a table: it keeps the filter that its SST has.
      writer.startTable(table, prefixColumns.get(table) ?? cursor.prefixColumns)
    }
    const entry = cursor.entry
    writer.add(
      entry.keyView,
      0,
      entry.keyLength,
      cursor.view,
      cursor.valueStart,
      cursor.valueEnd,
      entry.isDelete,
    )
    entriesIn++
    merge.next()
  }
  return entriesIn
}

function finishJob(writer: SstWriter, entriesIn: number, bytesIn: number): Untimed {
  const ssts = writer.finish()
  return {
    ssts,
    entriesIn,
    entriesOut: writer.entriesOut,
    bytesIn,
    bytesOut: ssts.reduce((sum, sst) => sum + sst.length, 0),
  }
}

/** A bound that holds for ordinary keys: bytes plus restarts, block trailers, index and filter. */
function expectedBytes(bytes: number, entries: number, blockBytes: number): number {
  return Math.ceil(bytes * 1.02 + entries * 3 + (bytes / blockBytes + 1) * 160 + 4096)
}
