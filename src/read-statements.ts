/**
 * Statements that only read: SELECT, EXPLAIN, SHOW, DESCRIBE, over a catalog and a view of the rows at one epoch.
 * The same for the writer and for readers of a store that another process writes. Control thread.
 */

import { encodeChunk, encodedBytes } from './actors/chunk-codec.ts'
import { EngineError } from './common/errors.ts'
import type { ResultColumn, StatementResult, WireRows } from './engine-protocol.ts'
import { executeQuery, type QueryIo } from './runtime/query.ts'
import type { SnapshotScan } from './runtime/snapshot-scan.ts'
import type { StatementAst, StatementOf } from './sql/ast.ts'
import { type Catalog, type CatalogObject, getObject } from './sql/catalog.ts'
import { explainStatement } from './sql/explain-statement.ts'
import { loadParser, parseScript } from './sql/parser.ts'
import { planQuery } from './sql/query-planner.ts'
import { tokenize } from './sql/tokenizer.ts'
import { Chunk } from './stream/chunk.ts'
import { typeName } from './stream/schema.ts'
import { columnFromValues } from './stream/values.ts'

/** Which epoch a statement reads. */
export interface ReadAt {
  readonly snapshotId: number | null
  readonly visibility: 'committed' | 'latest'
}

export const COMMITTED: ReadAt = { snapshotId: null, visibility: 'committed' }

/** The rows as of one epoch; released when the read is over. */
export interface View {
  readonly epoch: number
  readonly scan: SnapshotScan
  release(): void
}

export interface ReadContext {
  readonly catalog: Catalog
  /** Opens the view that the statement reads. */
  readonly view: () => View
  /** Lets the event loop turn. */
  readonly turn: () => Promise<void>
}

/** @throws SQL_UNSUPPORTED for what is no read, every error of names and types, what reading throws */
export async function runRead(
  statement: StatementAst,
  parameters: readonly unknown[],
  context: ReadContext,
): Promise<StatementResult> {
  const { catalog } = context
  switch (statement.kind) {
    case 'select':
      return await select(statement, parameters, context)
    case 'explain':
      return textRows('EXPLAIN', {
        'QUERY PLAN': explainStatement(statement.statement, catalog).split('\n'),
      })
    case 'show': {
      const objects = catalog.objects.filter(({ kind }) => kind === statement.objectKind)
      return textRows('SHOW', { name: objects.map(({ name }) => name) })
    }
    case 'describe': {
      const columns = getObject(catalog, statement.name).columns.filter(({ hidden }) => !hidden)
      return textRows('DESCRIBE', {
        column: columns.map(({ name }) => name),
        type: columns.map(({ type }) => typeName(type)),
        not_null: columns.map(({ notNull }) => (notNull ? 'yes' : 'no')),
      })
    }
    default:
      throw new EngineError('INTERNAL', `no read: ${statement.kind}`)
  }
}

async function select(
  statement: StatementOf<'select'>,
  parameters: readonly unknown[],
  { catalog, view: openView, turn }: ReadContext,
): Promise<StatementResult> {
  const plan = planQuery(statement.query, catalog, parameters)
  const view = openView()
  try {
    const { schema, chunks, rowCount } = await executeQuery(plan, ioOf(view, turn))
    const columns = schema.map(({ name, type }) => ({ name, type }))
    const rows: WireRows = { columns, chunks: chunks.map(chunkBytes), epoch: view.epoch }
    return { command: 'SELECT', rowCount, rows }
  } finally {
    view.release()
  }
}

export function ioOf(view: View, turn: () => Promise<void>): QueryIo {
  return { scan: (table, prefix) => view.scan.rows(table, prefix), pause: turn }
}

export function isRead(statement: StatementAst): boolean {
  return ['select', 'explain', 'show', 'describe'].includes(statement.kind)
}

/** One statement of a script. */
export interface ScriptPart {
  readonly text: string
  /** Where it begins in the script. */
  readonly position: number
  readonly reads: boolean
}

/** @throws SQL_SYNTAX, SQL_UNSUPPORTED, SQL_TYPE for the first statement that cannot be read */
export async function scriptParts(script: string): Promise<ScriptPart[]> {
  await loadParser()
  return parseScript(script).map((statement) => {
    const { text, position } = statement
    return { text, position, reads: isRead(statement) }
  })
}

/** True when the text ends with the `;` of a statement: not one inside a string or a comment. */
export function endsStatement(text: string): boolean {
  const last = tokenize(text).at(-1)
  return last?.kind === 'symbol' && last.text === ';'
}

/** @throws SQL_UNSUPPORTED for what is no read. */
export function refuseChanges(statement: StatementAst): StatementAst {
  if (isRead(statement)) return statement
  throw new EngineError('SQL_UNSUPPORTED', 'only statements that read can be run here', {
    context: { sqlState: '0A000', position: statement.position, hint: 'Use execute for changes.' },
  })
}

export function done(command: string, rowCount: number | null = null): StatementResult {
  return { command, rowCount, rows: null }
}

export function visibleColumns(object: CatalogObject): ResultColumn[] {
  return object.columns.filter((column) => !column.hidden).map(({ name, type }) => ({ name, type }))
}

export function chunkBytes(chunk: Chunk): Uint8Array {
  const bytes = new Uint8Array(encodedBytes(chunk))
  encodeChunk(chunk, bytes, 0)
  return bytes
}

/** A result of text columns, by name. */
function textRows(
  command: string,
  columns: Readonly<Record<string, readonly string[]>>,
): StatementResult {
  const names = Object.keys(columns)
  const rowCount = columns[names[0]].length
  const data = names.map((name) =>
    columnFromValues('varchar', [...columns[name]], { column: name }),
  )
  const rows: WireRows = {
    columns: names.map((name) => ({ name, type: 'varchar' })),
    chunks: rowCount === 0 ? [] : [chunkBytes(new Chunk(rowCount, null, null, data))],
    epoch: 0,
  }
  return { command, rowCount, rows }
}
