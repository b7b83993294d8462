/** One run of a Nexmark query through the public API, measured; the JSON line of `tussock bench nexmark`. */
import { cpus } from 'node:os'
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import { Database } from '../../src/database.ts'
import { EngineError, type OpenOptions, type Row } from '../../src/index.ts'
import { makeDataset, makeRows } from './dataset.ts'
import {
  capitalized,
  createRelation,
  KNOWN_HASHES,
  type NexmarkQuery,
  QUERIES,
  type QueryName,
  type TableName,
} from './queries.ts'
import { hashRows, MultisetHash } from './result-hash.ts'

export interface NexmarkRunOptions {
  readonly query: QueryName
  /** Instead of the query's own text; its result is counted, not judged. */
  readonly select?: string
  readonly events: number
  readonly seed: number
  readonly input: 'replay' | 'rows' | 'generate'
  readonly sink: 'view' | 'blackhole'
  readonly store: string
  /** Pace of replay and generate; 0: as fast as possible. */
  readonly eventsPerSecond: number
  readonly open: OpenOptions
}

export type NexmarkResult = Readonly<Record<string, unknown>> & {
  readonly resultHash: string | null
  readonly hashRight: boolean | null
}

const ROWS_BATCH = 1000
const S3_DOLLARS = { put: 5e-6, get: 0.4e-6, gigabyteMonth: 0.023 }

/** @throws INTERNAL when the answer of a judged run (1M events, seed 42) is wrong. */
export async function runNexmark(options: NexmarkRunOptions): Promise<NexmarkResult> {
  const query = QUERIES[options.query]
  const dataset =
    options.input === 'replay' ? makeDataset(query, options.events, options.seed) : null
  const loopDelay = monitorEventLoopDelay({ resolution: 1 })
  const db = await Database.open(options.store, {
    ...options.open,
    ...(dataset === null ? {} : { datasets: { nexmark: dataset } }),
  })
  try {
    const tables = Object.keys(query.columns) as TableName[]
    await db.execute(
      tables.map((table) => createRelation(table, propertiesOf(table, options))).join('\n'),
    )
    const select = options.select ?? query.select
    const create =
      options.sink === 'blackhole'
        ? `CREATE SINK result AS ${select} WITH (connector = 'blackhole')`
        : `CREATE MATERIALIZED VIEW result AS ${select}`
    // Objects are made before the clock starts, as an application would have them.
    const batches =
      options.input === 'rows' ? [...makeRows(query, options.events, options.seed, ROWS_BATCH)] : []
    const before = await db.metrics()
    loopDelay.enable()
    const started = performance.now()
    await db.execute(create)
    const running = performance.now()
    const progress = watchFirstSecond(db, started)
    if (options.input === 'rows') await insertRows(db, query, batches)
    else await db.exhausted()
    const seconds = (performance.now() - started) / 1000
    loopDelay.disable()
    const firstSecond = await progress.stop()
    const metrics = await db.metrics()
    // Before the result is read: that is the application's memory, not the pipeline's.
    const rssMb = Math.round(process.memoryUsage.rss() / 1e6)
    const peakRssMb = Math.round(process.resourceUsage().maxRSS / 1000)
    const storage = metrics.storage as { readonly liveBytes: number }
    const result = options.sink === 'view' ? await readResult(db, options, query) : null
    const put = metrics.requests.put - before.requests.put
    const get = metrics.requests.get - before.requests.get
    const judged = options.select === undefined && options.events === 1e6 && options.seed === 42
    const known = judged && result !== null ? KNOWN_HASHES[options.query] : null
    const { checkpoints } = metrics
    return {
      system: 'tussock',
      query: options.query,
      events: options.events,
      seed: options.seed,
      input: options.input,
      sink: options.sink,
      store: options.store.replace(/^(\w+:\/\/)?.*$/, '$1') || 'directory',
      parallelism: options.open.parallelism ?? null,
      checkpointIntervalMs: options.open.checkpointIntervalMs ?? 1000,
      barrierIntervalMs: options.open.barrierIntervalMs ?? 100,
      stateCacheBytes: options.open.cache?.stateBytes ?? null,
      memoryBytes: options.open.memoryBytes ?? null,
      seconds: round(seconds, 3),
      startSeconds: round((running - started) / 1000, 3),
      eventsPerSecond: Math.round(options.events / seconds),
      firstSecondEventsPerSecond: firstSecond,
      sourceRowsRead: metrics.sourceRows,
      resultRows: result?.rows ?? null,
      resultHash: result?.hash ?? null,
      hashRight: known === null ? null : result?.hash === known,
      freshnessMsP50: roundOrNull(checkpoints.freshnessMsP50),
      freshnessMsP99: roundOrNull(checkpoints.freshnessMsP99),
      barrierMsP50: roundOrNull(checkpoints.barrierMsP50),
      barrierMsP99: roundOrNull(checkpoints.barrierMsP99),
      checkpointMsP50: roundOrNull(checkpoints.checkpointMsP50),
      checkpointMsP99: roundOrNull(checkpoints.checkpointMsP99),
      checkpoints: checkpoints.checkpoints,
      phases: checkpoints.phases,
      loopDelayMsP99: round(loopDelay.percentile(99) / 1e6, 2),
      rssMb,
      peakRssMb,
      storeBytes: storage.liveBytes,
      requests: metrics.requests,
      estimatedDollarsPerMonth: round(
        ((put * S3_DOLLARS.put + get * S3_DOLLARS.get) / seconds) * 2_592_000 +
          (storage.liveBytes / 1e9) * S3_DOLLARS.gigabyteMonth,
        2,
      ),
      storage,
      machine: `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}`,
    }
  } finally {
    await db.close()
  }
}

function propertiesOf(
  table: TableName,
  options: NexmarkRunOptions,
): Readonly<Record<string, string>> | null {
  if (options.input === 'rows') return null
  if (options.input === 'replay') {
    return {
      connector: 'replay',
      'replay.dataset': 'nexmark',
      'replay.table': table,
      'replay.events.per.second': String(options.eventsPerSecond),
    }
  }
  return {
    connector: 'nexmark',
    'nexmark.table.type': capitalized(table),
    'nexmark.event.num': String(options.events),
    'nexmark.seed': String(options.seed),
    ...(options.eventsPerSecond === 0
      ? {}
      : { 'nexmark.min.event.gap.in.ns': String(Math.round(1e9 / options.eventsPerSecond)) }),
  }
}

async function insertRows(
  db: Database,
  query: NexmarkQuery,
  batches: readonly { readonly table: TableName; readonly row: Row }[][],
): Promise<void> {
  const tables = new Map(
    (Object.keys(query.columns) as TableName[]).map((name) => [name, db.table(name)]),
  )
  for (const batch of batches) {
    const routed = new Map<TableName, Row[]>()
    for (const { table, row } of batch) {
      if (!tables.has(table)) continue
      const rows = routed.get(table)
      if (rows === undefined) routed.set(table, [row])
      else rows.push(row)
    }
    await Promise.all([...routed].map(([table, rows]) => tables.get(table)!.insert(rows)))
  }
  await db.flush()
}

async function readResult(
  db: Database,
  options: NexmarkRunOptions,
  query: NexmarkQuery,
): Promise<{ readonly rows: number; readonly hash: string | null }> {
  const { rows } = await db.query('SELECT * FROM result')
  if (options.select !== undefined) return { rows: rows.length, hash: null }
  if (options.query === 'q1') {
    const hash = new MultisetHash()
    for (const row of rows) hash.add(query.spell(row))
    return { rows: rows.length, hash: hash.digest() }
  }
  return { rows: rows.length, hash: hashRows(rows.map(query.spell)) }
}

/** Events that the sources passed in the first second: the warm-up, reported apart. */
function watchFirstSecond(db: Database, started: number): { stop(): Promise<number | null> } {
  let events: number | null = null
  const timer = setTimeout(
    () => {
      db.metrics().then(
        (metrics) => {
          events = Math.round(metrics.sourceEvents / ((performance.now() - started) / 1000))
        },
        () => undefined, // The run itself reports what went wrong.
      )
    },
    Math.max(0, 1000 - (performance.now() - started)),
  )
  return {
    stop: async () => {
      clearTimeout(timer)
      return events
    },
  }
}

export function assertRight(result: NexmarkResult): void {
  if (result.hashRight !== false) return
  throw new EngineError('INTERNAL', `wrong answer: hash ${result.resultHash}`)
}

function round(value: number, digits: number): number {
  return Math.round(value * 10 ** digits) / 10 ** digits
}

function roundOrNull(value: number | null): number | null {
  return value === null ? null : round(value, 2)
}
