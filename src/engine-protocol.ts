/**
 * What the user's thread and the control thread say to each other, over comlink. Errors travel in
 * their wire form, since class and code are lost otherwise; rows as chunk-codec bytes.
 */
import type { Dataset } from './actors/protocol.ts'
import type { WireError } from './common/errors.ts'
import type { ResolvedOptions } from './options.ts'
import type { CheckpointSummary } from './runtime/checkpoint-stats.ts'
import type { StateTableSpec } from './stream/plan.ts'
import type { DataType } from './stream/schema.ts'

export type Answer<T> = { readonly value: T } | { readonly error: WireError }

export interface EngineInit {
  readonly url: string
  readonly options: ResolvedOptions
  readonly datasets: Readonly<Record<string, Dataset>>
  readonly workerFile: string
  readonly poolFile: string
}

export interface ResultColumn {
  readonly name: string
  readonly type: DataType
}

/** Rows of one statement. */
export interface WireRows {
  readonly columns: readonly ResultColumn[]
  /** Chunk-codec bytes, in order. */
  readonly chunks: readonly Uint8Array[]
  readonly epoch: number
}

export interface StatementResult {
  /** As PostgreSQL names what was done: `CREATE TABLE`, `INSERT`, `SELECT`, … */
  readonly command: string
  /** Rows inserted, changed, deleted or selected; null where that means nothing. */
  readonly rowCount: number | null
  readonly rows: WireRows | null
}

export interface TableDescription {
  readonly tableId: number
  readonly catalogVersion: number
  /** All columns in order; hidden ones are numbered by the engine. */
  readonly columns: readonly {
    readonly name: string
    readonly type: DataType
    readonly hidden: boolean
    readonly notNull: boolean
  }[]
  /** Where its rows are kept. */
  readonly table: StateTableSpec
}

export type EngineEvent =
  | { readonly kind: 'recovering'; readonly error: WireError; readonly attempt: number }
  | { readonly kind: 'recovered'; readonly epoch: number }
  | { readonly kind: 'failed'; readonly error: WireError }
  | { readonly kind: 'backpressure'; readonly active: boolean; readonly bufferedBytes: number }
  | { readonly kind: 'sourcesExhausted'; readonly epoch: number }
  | { readonly kind: 'storage'; readonly name: string; readonly detail: string }

export interface EngineMetrics {
  readonly committedEpoch: number
  readonly latestEpoch: number
  readonly generation: number
  /** Rows that sources gave to operators, and outside events they passed. */
  readonly sourceRows: number
  readonly sourceEvents: number
  /** Committed position of each source split, `<sourceId>/<split>`: where a restart goes on. */
  readonly committedOffsets: Readonly<Record<string, unknown>>
  readonly stateBytes: number
  readonly arenaBytes: number
  readonly bufferedBytes: number
  readonly sourcesExhausted: boolean
  readonly checkpoints: CheckpointSummary
  readonly requests: {
    readonly put: number
    readonly get: number
    readonly list: number
    readonly delete: number
  }
  readonly storage: unknown
  readonly fragments: readonly {
    readonly worker: number
    readonly fragmentId: number
    readonly rowsIn: number
    readonly rowsOut: number
    readonly busyMs: number
    readonly blockedMs: number
  }[]
}

/** The control thread's side. Every method answers; none throws across the thread. */
export interface EngineApi {
  open(
    init: EngineInit,
  ): Promise<Answer<{ readonly generation: number; readonly databaseId: string }>>
  execute(sql: string, parameters: readonly unknown[]): Promise<Answer<readonly StatementResult[]>>
  /** As `execute`; a CREATE of what exists with the same text is passed over. */
  run(sql: string): Promise<Answer<readonly StatementResult[]>>
  query(
    sql: string,
    parameters: readonly unknown[],
    read: { readonly snapshotId: number | null; readonly visibility: 'committed' | 'latest' },
  ): Promise<Answer<WireRows>>
  describe(table: string): Promise<Answer<TableDescription>>
  insert(
    table: { readonly tableId: number; readonly catalogVersion: number },
    batch: Uint8Array,
    durable: boolean,
  ): Promise<Answer<null>>
  snapshot(): Promise<Answer<{ readonly snapshotId: number; readonly epoch: number }>>
  releaseSnapshot(snapshotId: number): Promise<Answer<null>>
  subscribe(
    name: string,
  ): Promise<Answer<{ readonly subscriptionId: number; readonly columns: readonly ResultColumn[] }>>
  nextChanges(
    subscriptionId: number,
  ): Promise<Answer<{ readonly epoch: number; readonly chunks: readonly Uint8Array[] } | null>>
  unsubscribe(subscriptionId: number): Promise<Answer<null>>
  flush(): Promise<Answer<number>>
  exhausted(): Promise<Answer<number>>
  metrics(): Promise<Answer<EngineMetrics>>
  inspect(what: string): Promise<Answer<unknown>>
  close(): Promise<Answer<null>>
}
