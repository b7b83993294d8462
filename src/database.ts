/**
 * A database as its user sees it, on the user's thread: turns rows into columns, reads results. All
 * work is done by the control thread and the workers behind it.
 */
import { decodeChunk, encodeChunk, encodedBytes } from './actors/chunk-codec.ts'
import type { Dataset } from './actors/protocol.ts'
import { checkRows, checkStatement, checkTableName, checkUrl } from './arguments.ts'
import { didYouMean } from './common/did-you-mean.ts'
import { EngineError, fromWire } from './common/errors.ts'
import { ControlLink, coreCount, findThreadFiles } from './control-link.ts'
import type {
  EngineEvent,
  EngineMetrics,
  ResultColumn,
  StatementResult,
  TableDescription,
  WireRows,
} from './engine-protocol.ts'
import { checkNames, flag, type OpenOptions, resolveOptions } from './options.ts'
import { Chunk, INSERT, UPDATE_DELETE, UPDATE_INSERT } from './stream/chunk.ts'
import type { Column } from './stream/column.ts'
import { checkKeySizes } from './stream/row-codec.ts'
import { columnFromValues, valueAt } from './stream/values.ts'

export type Row = Record<string, unknown>

export interface QueryResult {
  readonly columns: readonly ResultColumn[]
  readonly rows: Row[]
  /** The epoch whose rows these are. */
  readonly epoch: number
}

export interface ExecuteResult {
  readonly command: string
  readonly rowCount: number | null
  readonly columns: readonly ResultColumn[]
  readonly rows: Row[]
}

export interface Change {
  readonly op: 'insert' | 'delete' | 'update_delete' | 'update_insert'
  readonly row: Row
}

export interface ChangeSet {
  readonly epoch: number
  readonly changes: Change[]
}

export interface QueryOptions {
  /**
   * `committed` (default): the newest epoch that survives a crash. `latest`: the newest whose barrier was
   * collected; a recovery may take it back.
   */
  readonly visibility?: 'committed' | 'latest'
}

export interface InsertOptions {
  /** Resolve only when the rows survive the loss of the machine. Default false: accepted, durable by the next `flush`. */
  readonly durable?: boolean
}

/** What happens inside, told to `onEvent`; the library logs nothing. */
export type DatabaseEvent =
  | { readonly kind: 'recovering'; readonly error: EngineError; readonly attempt: number }
  | { readonly kind: 'recovered'; readonly epoch: number }
  | { readonly kind: 'failed'; readonly error: EngineError }
  | { readonly kind: 'backpressure'; readonly active: boolean; readonly bufferedBytes: number }
  | { readonly kind: 'sourcesExhausted'; readonly epoch: number }
  | { readonly kind: 'storage'; readonly name: string; readonly detail: string }

export interface DatabaseOptions extends OpenOptions {
  /** Called on the user's thread. */
  readonly onEvent?: (event: DatabaseEvent) => void
}

/** Columns made beforehand, for the replay connector of the benchmarks. @internal */
export interface InternalOptions extends DatabaseOptions {
  readonly datasets?: Readonly<Record<string, Dataset>>
}

/** Rows are sent in batches of at most so many. */
const INSERT_ROWS = 4096

/** Handle of one table for inserts. */
export class Table {
  readonly name: string
  private readonly link: ControlLink
  private description: Promise<TableDescription> | null = null

  /** @internal */
  constructor(link: ControlLink, name: string) {
    this.link = link
    this.name = name
  }

  /**
   * Inserts rows, objects by column name; missing columns are null. Resolves when accepted.
   * @throws VALUE_INVALID, NOT_NULL naming the row and column, before anything is sent;
   * SQL_UNDEFINED_TABLE, SQL_UNDEFINED_COLUMN.
   */
  async insert(rows: readonly Row[], options: InsertOptions = {}): Promise<void> {
    checkTableName(this.name)
    checkRows(rows)
    checkNames(options, ['durable'])
    const durable = flag('durable', options.durable, false)
    for (let from = 0; from < rows.length; from += INSERT_ROWS) {
      const batch = rows.length <= INSERT_ROWS ? rows : rows.slice(from, from + INSERT_ROWS)
      // One promise for all: the last batch's durability covers those before it.
      await this.insertBatch(batch, from, durable && from + INSERT_ROWS >= rows.length)
    }
  }

  private async insertBatch(
    rows: readonly Row[],
    firstRow: number,
    durable: boolean,
  ): Promise<void> {
    this.description ??= this.link.call((api) => api.describe(this.name))
    let description: TableDescription
    try {
      description = await this.description
    } catch (error) {
      this.description = null
      throw error
    }
    const bytes = encodeRows(this.name, description, rows, firstRow)
    try {
      await this.link.call((api) =>
        api.insert(
          { tableId: description.tableId, catalogVersion: description.catalogVersion },
          bytes,
          durable,
        ),
      )
    } catch (error) {
      // The table may have been dropped and made anew: ask again next time.
      this.description = null
      throw error
    }
  }
}

/** @param firstRow in the caller's array: errors name rows as it counts them */
function encodeRows(
  name: string,
  description: TableDescription,
  rows: readonly Row[],
  firstRow: number,
): Uint8Array {
  checkColumnNames(name, description, rows, firstRow)
  const columns = description.columns.map((column) => {
    const values = new Array<unknown>(rows.length)
    // A column "constructor" is not what every object has by that name.
    const isInherited = column.name in {}
    for (let row = 0; row < rows.length; row++) {
      const isGiven = !isInherited || Object.hasOwn(rows[row], column.name)
      const value = column.hidden || !isGiven ? null : rows[row][column.name]
      if (value === undefined || value === null) {
        if (column.notNull && !column.hidden) {
          throw new EngineError('NOT_NULL', `column ${column.name} of ${name} must not be null`, {
            context: { sqlState: '23502', column: column.name, row: firstRow + row },
          })
        }
        values[row] = null
      } else values[row] = value
    }
    return columnFromValues(column.type, values, { column: column.name, firstRow })
  })
  const chunk = new Chunk(rows.length, null, null, columns)
  checkKeySizes(description.table, chunk)
  return chunkBytes(chunk)
}

/** In every row: a value under a misspelt name would be lost. */
function checkColumnNames(
  name: string,
  description: TableDescription,
  rows: readonly Row[],
  firstRow: number,
): void {
  const shown = description.columns.filter((column) => !column.hidden)
  const known = new Set(shown.map((column) => column.name))
  for (let row = 0; row < rows.length; row++) {
    for (const key in rows[row]) {
      if (known.has(key)) continue
      throw new EngineError('SQL_UNDEFINED_COLUMN', `table ${name} has no column ${key}`, {
        context: {
          sqlState: '42703',
          row: firstRow + row,
          hint: didYouMean(key, known) ?? `Columns are ${[...known].join(', ')}.`,
        },
      })
    }
  }
}

function chunkBytes(chunk: Chunk): Uint8Array {
  const bytes = new Uint8Array(encodedBytes(chunk))
  encodeChunk(chunk, bytes, 0)
  return bytes
}

/** One epoch held for several queries. Release it: what it pins is not compacted away. */
export class Snapshot {
  readonly epoch: number
  private readonly link: ControlLink
  private readonly snapshotId: number

  /** @internal */
  constructor(link: ControlLink, snapshotId: number, epoch: number) {
    this.link = link
    this.snapshotId = snapshotId
    this.epoch = epoch
  }

  async query(sql: string, parameters: readonly unknown[] = []): Promise<QueryResult> {
    checkStatement(sql, parameters)
    const { snapshotId } = this
    return toResult(
      await this.link.call((api) =>
        api.query(sql, parameters, { snapshotId, visibility: 'committed' }),
      ),
    )
  }

  async release(): Promise<void> {
    await this.link.call((api) => api.releaseSnapshot(this.snapshotId))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release()
  }
}

export class Database {
  private readonly link: ControlLink
  private closing: Promise<void> | null = null

  private constructor(link: ControlLink) {
    this.link = link
  }

  /** @see open @internal */
  static async open(url: string, options: InternalOptions): Promise<Database> {
    checkUrl(url)
    const { datasets, ...rest } = options ?? {}
    const { onEvent } = rest
    const resolved = resolveOptions(rest, coreCount())
    if (onEvent !== undefined && typeof onEvent !== 'function') {
      throw new EngineError('OPTION_INVALID', 'option onEvent is a function', {
        context: { option: 'onEvent' },
      })
    }
    const files = findThreadFiles(options.workerUrl, import.meta.url)
    const link = new ControlLink(files.control, resolved.youngGenerationMb, (event) =>
      onEvent?.(toDatabaseEvent(event)),
    )
    try {
      await link.call((api) =>
        api.open({
          url,
          options: resolved,
          datasets: datasets ?? {},
          workerFile: files.worker.href,
          poolFile: files.pool.href,
        }),
      )
    } catch (error) {
      await link.end()
      throw error
    }
    return new Database(link)
  }

  /**
   * Runs a script of statements, one after the other. Definitions are durable when it resolves; rows that were inserted, updated or
   * deleted are accepted: they are durable after the next `flush()` or FLUSH.
   */
  async execute(sql: string, parameters: readonly unknown[] = []): Promise<ExecuteResult[]> {
    checkStatement(sql, parameters)
    const results = await this.link.call((api) => api.execute(sql, parameters))
    return results.map(toExecuteResult)
  }

  /**
   * Runs a pipeline's script so that it may be run again on the same store: a CREATE of an object that is there with
   * the same text is passed over. @throws SQL_DUPLICATE when the text differs.
   */
  async run(sql: string): Promise<ExecuteResult[]> {
    checkStatement(sql, [])
    const results = await this.link.call((api) => api.run(sql))
    return results.map(toExecuteResult)
  }

  /** Runs one SELECT at a snapshot. Parameters are `$1`, `$2`, … */
  async query(
    sql: string,
    parameters: readonly unknown[] = [],
    options: QueryOptions = {},
  ): Promise<QueryResult> {
    checkStatement(sql, parameters)
    checkNames(options, ['visibility'])
    const { visibility = 'committed' } = options
    if (visibility !== 'committed' && visibility !== 'latest') {
      throw new EngineError(
        'OPTION_INVALID',
        `option visibility is 'committed' or 'latest', not ${String(visibility)}`,
        { context: { option: 'visibility' } },
      )
    }
    const read = { snapshotId: null, visibility } as const
    return toResult(await this.link.call((api) => api.query(sql, parameters, read)))
  }

  table(name: string): Table {
    return new Table(this.link, name)
  }

  /** Holds the newest committed epoch. */
  async snapshot(): Promise<Snapshot> {
    const { snapshotId, epoch } = await this.link.call((api) => api.snapshot())
    return new Snapshot(this.link, snapshotId, epoch)
  }

  /**
   * Changes of a table or view that are made after this call, one set an epoch, after that epoch has committed.
   * Ends when the loop is left, or the table or view is dropped.
   * @throws SUBSCRIPTION_LAGGED when the reader is too slow.
   */
  subscribe(name: string): AsyncGenerator<ChangeSet, void, undefined> {
    // At once: what is changed after this call is in it.
    const started = (async () => {
      checkTableName(name)
      return await this.link.call((api) => api.subscribe(name))
    })()
    started.catch(() => undefined) // The first `next()` reports it.
    return this.changes(started)
  }

  private async *changes(
    started: Promise<{
      readonly subscriptionId: number
      readonly columns: readonly ResultColumn[]
    }>,
  ): AsyncGenerator<ChangeSet, void, undefined> {
    const { subscriptionId, columns } = await started
    try {
      for (;;) {
        const batch = await this.link.call((api) => api.nextChanges(subscriptionId))
        if (batch === null) return
        yield { epoch: batch.epoch, changes: toChanges(columns, batch.chunks) }
      }
    } finally {
      if (this.closing === null) await this.link.call((api) => api.unsubscribe(subscriptionId))
    }
  }

  /** Makes everything accepted so far durable; resolves with the committed epoch. */
  flush(): Promise<number> {
    return this.link.call((api) => api.flush())
  }

  /** Resolves with the committed epoch when every bounded source was read to its end. */
  exhausted(): Promise<number> {
    return this.link.call((api) => api.exhausted())
  }

  metrics(): Promise<EngineMetrics> {
    return this.link.call((api) => api.metrics())
  }

  /** Levels, commits or catalog of the store, as plain data. */
  async inspect(what: 'levels' | 'commits' | 'catalog'): Promise<unknown> {
    if (!['levels', 'commits', 'catalog'].includes(what)) {
      throw new EngineError(
        'OPTION_INVALID',
        `inspect takes 'levels', 'commits' or 'catalog', not ${String(what)}`,
      )
    }
    return this.link.call((api) => api.inspect(what))
  }

  /** Ends with a checkpoint; afterwards no thread, timer or handle is left. Calling it again is harmless. */
  close(): Promise<void> {
    this.closing ??= (async () => {
      try {
        await this.link.call((api) => api.close())
      } finally {
        await this.link.end()
      }
    })()
    return this.closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

function toDatabaseEvent(event: EngineEvent): DatabaseEvent {
  if (event.kind === 'recovering' || event.kind === 'failed') {
    return { ...event, error: fromWire(event.error) }
  }
  return event
}

function toRows(columns: readonly ResultColumn[], chunks: readonly Uint8Array[]): Row[] {
  const rows: Row[] = []
  for (const bytes of chunks) {
    const chunk = decodeChunk(bytes, 0)
    for (let row = 0; row < chunk.rowCount; row++) rows.push(toRow(columns, chunk.columns, row))
  }
  return rows
}

const PLAIN = { enumerable: true, configurable: true, writable: true }

function toRow(columns: readonly ResultColumn[], data: readonly Column[], row: number): Row {
  const result: Row = {}
  for (let column = 0; column < columns.length; column++) {
    const { name } = columns[column]
    const value = valueAt(data[column], row)
    // An assignment would set the prototype, or nothing.
    if (name === '__proto__') Object.defineProperty(result, name, { value, ...PLAIN })
    else result[name] = value
  }
  return result
}

function toResult(rows: WireRows): QueryResult {
  return { columns: rows.columns, rows: toRows(rows.columns, rows.chunks), epoch: rows.epoch }
}

function toExecuteResult(result: StatementResult): ExecuteResult {
  const { command, rowCount, rows } = result
  return {
    command,
    rowCount,
    columns: rows?.columns ?? [],
    rows: rows === null ? [] : toRows(rows.columns, rows.chunks),
  }
}

function toChanges(columns: readonly ResultColumn[], chunks: readonly Uint8Array[]): Change[] {
  const changes: Change[] = []
  for (const bytes of chunks) {
    const chunk = decodeChunk(bytes, 0)
    for (let row = 0; row < chunk.rowCount; row++) {
      if (chunk.visible !== null && chunk.visible[row] === 0) continue
      const op = chunk.ops === null ? INSERT : chunk.ops[row]
      changes.push({ op: opName(op), row: toRow(columns, chunk.columns, row) })
    }
  }
  return changes
}

function opName(op: number): Change['op'] {
  if (op === INSERT) return 'insert'
  if (op === UPDATE_INSERT) return 'update_insert'
  return op === UPDATE_DELETE ? 'update_delete' : 'delete'
}
