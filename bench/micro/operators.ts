/**
 * Rows a second of the stateful operators alone, in the shapes of Nexmark's q5w (count by two keys) and q4 (bids
 * joining auctions), over a worker's store without checkpoints. One JSON line a case.
 *
 * Run: npx esbuild bench/micro/operators.ts --bundle --platform=node --format=esm | node --input-type=module
 */
import { epoch, tableId } from '../../src/common/ids.ts'
import type { BlockSource } from '../../src/storage/block-source.ts'
import { WorkerStore } from '../../src/storage/local-store.ts'
import { EMPTY_VERSION } from '../../src/storage/version/version.ts'
import { Chunk } from '../../src/stream/chunk.ts'
import { Column } from '../../src/stream/column.ts'
import type { Barrier } from '../../src/stream/message.ts'
import type { Operator, OperatorContext } from '../../src/stream/operator.ts'
import { HashAggregate } from '../../src/stream/operators/hash-aggregate.ts'
import { HashJoin } from '../../src/stream/operators/hash-join.ts'
import type { Expression, StateTableSpec } from '../../src/stream/plan.ts'
import type { Schema } from '../../src/stream/schema.ts'

const EVENTS = Number(process.argv[2] ?? 1_000_000)
const CHUNK = 2048
const EVENTS_PER_EPOCH = 100_000
const MEBIBYTE = 2 ** 20

const NO_BLOCKS: BlockSource = {
  tail: () => null,
  block: () => null,
  prefetch() {},
  beginRead() {},
  endRead() {},
  letGo() {},
}

function makeStore(): WorkerStore {
  return new WorkerStore({
    workerIndex: 0,
    arena: new SharedArrayBuffer(1024 * MEBIBYTE),
    version: EMPTY_VERSION,
    blocks: NO_BLOCKS,
  })
}

/** Mulberry32. */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

const bigint = (name: string) => ({ name, type: 'bigint' }) as const
const timestamp = (name: string) => ({ name, type: 'timestamp' }) as const
const AUCTION: Schema = [
  bigint('id'),
  bigint('category'),
  timestamp('date_time'),
  timestamp('expires'),
  bigint('_row_id'),
]
const BID: Schema = [bigint('auction'), bigint('price'), timestamp('date_time'), bigint('_row_id')]

interface Batch {
  readonly input: number
  readonly chunk: Chunk
  readonly endsEpoch: boolean
}

/** Auctions and bids in chunks, as proportions and skew of Nexmark have them. */
function makeEvents(): Batch[] {
  const random = randomOf(42)
  const batches: Batch[] = []
  let auctionCount = 0
  for (let event = 0; event < EVENTS; ) {
    const end = Math.min(EVENTS, event + CHUNK)
    const auctions: number[][] = []
    const bids: number[][] = []
    for (; event < end; event++) {
      const time = event * 100
      const kind = event % 50
      if (kind === 0) continue
      if (kind < 4) {
        const row = [1000 + auctionCount, 10 + Math.floor(random() * 5), time, time + 200_000]
        auctions.push([...row, event])
        auctionCount++
      } else {
        const hot = Math.floor(auctionCount / 100) * 100
        const near = auctionCount - 100 + Math.floor(random() * 111)
        const id = 1000 + (random() < 0.5 ? hot : Math.max(near, 0))
        bids.push([id, Math.floor(random() * 1e6), time, event])
      }
    }
    const endsEpoch =
      Math.floor(event / EVENTS_PER_EPOCH) !== Math.floor((event - CHUNK) / EVENTS_PER_EPOCH)
    batches.push({ input: 0, chunk: chunkOf(AUCTION, auctions), endsEpoch: false })
    batches.push({ input: 1, chunk: chunkOf(BID, bids), endsEpoch })
  }
  return batches
}

function chunkOf(schema: Schema, rows: number[][]): Chunk {
  const columns = schema.map((field, i) =>
    Column.narrow(
      field.type,
      Float64Array.from(rows, (row) => row[i]),
      null,
    ),
  )
  return new Chunk(rows.length, null, null, columns)
}

function specOf(
  id: number,
  schema: Schema,
  key: readonly number[],
  prefix: number,
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

function contextOf(store: WorkerStore, cacheBytes: number): OperatorContext {
  return { store, cacheBytes, chunkRows: CHUNK, vnodes: { from: 0, to: 256 }, fresh: true }
}

function between(): Expression {
  const column = (index: number): Expression => ({ kind: 'column', index, type: 'timestamp' })
  const call = (
    name: 'and' | 'greater_equal' | 'less_equal',
    ...args: Expression[]
  ): Expression => ({
    kind: 'call',
    name,
    args,
    type: 'boolean',
  })
  return call(
    'and',
    call('greater_equal', column(7), column(2)),
    call('less_equal', column(7), column(3)),
  )
}

function makeJoin(store: WorkerStore, cacheBytes: number): HashJoin {
  return new HashJoin(
    {
      kind: 'hash-join',
      leftSchema: AUCTION,
      rightSchema: BID,
      leftKeys: [0],
      rightKeys: [0],
      condition: between(),
      output: [0, 1, 6, 4, 8],
      leftTable: specOf(1, AUCTION, [0, 4], 1),
      rightTable: specOf(2, BID, [0, 3], 1),
    },
    contextOf(store, cacheBytes),
  )
}

function makeAggregate(store: WorkerStore, cacheBytes: number): HashAggregate {
  return new HashAggregate(
    {
      kind: 'hash-aggregate',
      inputSchema: [bigint('auction'), timestamp('window_start')],
      groupKeys: [0, 1],
      streamKey: [],
      calls: [
        { name: 'count_star', column: -1, argumentType: null, type: 'bigint', filterColumn: -1 },
      ],
      appendOnly: true,
      table: specOf(3, [bigint('auction'), timestamp('window_start')], [0, 1], 2),
      valueTables: [null],
    },
    contextOf(store, cacheBytes),
  )
}

function barrierOf(index: number): Barrier {
  const ends = { epoch: epoch(index), next: epoch(index + 1) }
  return { ...ends, checkpoint: true, startJobs: [], stopJobs: [] }
}

function measure(
  name: string,
  batches: readonly Batch[],
  make: (store: WorkerStore) => Operator,
): void {
  const store = makeStore()
  const operator = make(store)
  let rowsOut = 0
  let reads = 0
  const output = { emit: (chunk: Chunk) => void (rowsOut += chunk.rowCount) }
  let rowsIn = 0
  let barriers = 1
  const cpu = process.cpuUsage()
  const start = process.hrtime.bigint()
  for (const { input, chunk, endsEpoch } of batches) {
    const wait = operator.prepare(input, chunk)
    if (wait !== null) reads++
    while (wait !== null && !wait.poll());
    operator.apply(input, chunk, output)
    rowsIn += chunk.rowCount
    if (!endsEpoch) continue
    const barrier = barrierOf(barriers++)
    operator.prepareFlush(barrier)
    operator.flush(barrier, output)
    store.seal(operator.tables, barrier.epoch)
  }
  const seconds = Number(process.hrtime.bigint() - start) / 1e9
  const used = process.cpuUsage(cpu)
  /** All threads, collectors too: what is left of the machine's noise. */
  const cpuNsPerRow = Math.round(((used.user + used.system) * 1000) / rowsIn)
  const stateMb = Math.round(operator.stateBytes() / MEBIBYTE)
  const rowsPerSecond = Math.round(rowsIn / seconds)
  const nsPerRow = Math.round((seconds * 1e9) / rowsIn)
  console.log(
    JSON.stringify({ name, rowsIn, rowsOut, rowsPerSecond, nsPerRow, cpuNsPerRow, reads, stateMb }),
  )
}

function windowed(batches: readonly Batch[]): Batch[] {
  return batches
    .filter((batch) => batch.input === 1)
    .map(({ chunk, endsEpoch }) => {
      const { rowCount, columns } = chunk
      const starts = columns[2].numbers.map((time) => time - (time % 10_000_000))
      const window = Column.narrow('timestamp', starts, null)
      return { input: 0, chunk: new Chunk(rowCount, null, null, [columns[0], window]), endsEpoch }
    })
}

const events = makeEvents()
const windows = windowed(events)
for (let round = 0; round < 3; round++) {
  measure('aggregate q5w, cached', windows, (store) => makeAggregate(store, 256 * MEBIBYTE))
  measure('aggregate q5w, 1 MiB', windows, (store) => makeAggregate(store, MEBIBYTE))
  measure('join q4, cached', events, (store) => makeJoin(store, 256 * MEBIBYTE))
  measure('join q4, 8 MiB', events, (store) => makeJoin(store, 8 * MEBIBYTE))
}
