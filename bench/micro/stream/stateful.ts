/**
 * What the benchmarks of stateful operators share: a worker's store of its own, and the order of calls that an actor
 * keeps. Nothing is committed, so that state outside the caches is read from sealed runs.
 */
import { assert } from '../../../src/common/assert.ts'
import { epoch, tableId } from '../../../src/common/ids.ts'
import type { BlockSource } from '../../../src/storage/block-source.ts'
import { WorkerStore } from '../../../src/storage/local-store.ts'
import { EMPTY_VERSION } from '../../../src/storage/version/version.ts'
import { CHUNK_ROWS, type Chunk } from '../../../src/stream/chunk.ts'
import type { Operator, OperatorContext } from '../../../src/stream/operator.ts'
import type { StateTableSpec } from '../../../src/stream/plan.ts'
import type { Schema } from '../../../src/stream/schema.ts'
import type { Prepared, Scale } from '../benchmark.ts'
import { digestOfChanges } from '../digest.ts'
import type { Batch } from './auction-events.ts'

export const MEBIBYTE = 2 ** 20

/** The version is empty: nobody asks. */
const NO_BLOCKS: BlockSource = {
  tail: () => null,
  block: () => null,
  prefetch() {},
  beginRead() {},
  endRead() {},
  letGo() {},
}

/** A table keyed by the columns `key`, distributed and looked up by the first `prefix` of them. */
export function tableSpec(
  id: number,
  schema: Schema,
  { key, prefix }: { readonly key: readonly number[]; readonly prefix: number },
): StateTableSpec {
  return {
    tableId: tableId(id),
    name: `t${id}`,
    group: 'state',
    schema,
    key: key.map((column) => ({ column, descending: false })),
    distribution: key.slice(0, prefix),
    prefixColumns: prefix,
  }
}

export interface OperatorRun {
  readonly batches: readonly Batch[]
  readonly cacheBytes: number
  readonly make: (context: OperatorContext) => Operator
  /** By a naive model: `digestOfChanges` of all that is put out. */
  readonly expected: number
}

/** A run: a fresh operator takes all batches. */
export function operatorBenchmark(scale: Scale, options: OperatorRun): Prepared {
  const { batches, cacheBytes, make, expected } = options
  const arena = new SharedArrayBuffer((scale.tiny ? 8 : 256) * MEBIBYTE)
  const rows = batches.reduce((sum, { chunk }) => sum + chunk.rowCount, 0)
  let store = makeStore(arena)
  let operator: Operator | null = null
  let chunks: Chunk[] = []
  return {
    parameters: { rows, chunks: batches.length, cacheBytes },
    unitsPerRun: rows,
    expected,
    reset() {
      chunks = []
      store = makeStore(arena)
      const context = { store, cacheBytes, chunkRows: CHUNK_ROWS, fresh: true }
      operator = make({ ...context, vnodes: { from: 0, to: 256 } })
    },
    run() {
      assert(operator !== null, 'an operator was made')
      return drive(operator, store, batches, chunks)
    },
    checksum: () => digestOfChanges(chunks),
  }
}

function makeStore(arena: SharedArrayBuffer): WorkerStore {
  return new WorkerStore({ workerIndex: 0, arena, version: EMPTY_VERSION, blocks: NO_BLOCKS })
}

/** As an actor does it. Returns how many rows went in. */
function drive(
  operator: Operator,
  store: WorkerStore,
  batches: readonly Batch[],
  chunks: Chunk[],
): number {
  const output = { emit: (chunk: Chunk) => void chunks.push(chunk) }
  let rows = 0
  let barriers = 0
  for (const { input, chunk, endsEpoch } of batches) {
    const read = operator.prepare(input, chunk)
    assert(read === null || read.poll(), 'all state is in memory')
    operator.apply(input, chunk, output)
    rows += chunk.rowCount
    if (!endsEpoch) continue
    barriers++
    const ends = { epoch: epoch(barriers), next: epoch(barriers + 1) }
    const barrier = { ...ends, checkpoint: true, startJobs: [], stopJobs: [] }
    const flushRead = operator.prepareFlush(barrier)
    assert(flushRead === null || flushRead.poll(), 'all state is in memory')
    operator.flush(barrier, output)
    store.seal(operator.tables, barrier.epoch)
  }
  return rows
}
