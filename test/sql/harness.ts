/** What the SQL tests share: a catalog made from a script, rows of tables held in memory, and results as text. */
import type { EngineError } from '../../src/common/errors.ts'
import { executeDml, executeQuery, type QueryIo } from '../../src/runtime/query.ts'
import { type Catalog, dropObject, emptyCatalog } from '../../src/sql/catalog.ts'
import { loadParser, parseScript, parseStatement } from '../../src/sql/parser.ts'
import { isCreate, planJob } from '../../src/sql/planner.ts'
import { planDml, planQuery } from '../../src/sql/query-planner.ts'
import type { Chunk } from '../../src/stream/chunk.ts'
import type { StateTableSpec } from '../../src/stream/plan.ts'
import { jsonValueAt } from '../../src/stream/values.ts'

export async function catalogOf(script: string): Promise<Catalog> {
  await loadParser()
  let catalog = emptyCatalog()
  for (const statement of parseScript(script)) {
    if (isCreate(statement)) catalog = planJob(statement, catalog).catalog
    else if (statement.kind === 'drop') {
      const { objectKind: kind, ifExists } = statement
      catalog = dropObject(catalog, statement.name, { kind, ifExists }).catalog
    }
  }
  return catalog
}

/** Tables as lists of chunks, without keys: what an INSERT gives is what a scan returns. */
export class MemoryTables {
  readonly catalog: Catalog
  readonly chunks = new Map<number, Chunk[]>()
  /** Prefixes that scans were given, as hex; null for whole scans. */
  readonly prefixes: (string | null)[] = []
  readonly io: QueryIo

  constructor(catalog: Catalog, memoryBytesMax?: number) {
    this.catalog = catalog
    this.io = {
      scan: (table, prefix) => this.scan(table, prefix),
      pause: () => Promise.resolve(),
      ...(memoryBytesMax === undefined ? {} : { memoryBytesMax }),
    }
  }

  private async *scan(table: StateTableSpec, prefix: Uint8Array | null): AsyncGenerator<Chunk> {
    this.prefixes.push(prefix === null ? null : Buffer.from(prefix).toString('hex'))
    yield* this.chunks.get(table.tableId) ?? []
  }

  async insert(sql: string, parameters: readonly unknown[] = []): Promise<number> {
    const statement = parseStatement(sql)
    if (statement.kind !== 'insert') throw new TypeError('not an insert')
    const plan = planDml(statement, this.catalog, parameters)
    const { chunks, rowCount } = await executeDml(plan, this.io)
    const held = this.chunks.get(plan.table.tableId) ?? []
    this.chunks.set(plan.table.tableId, [...held, ...chunks])
    return rowCount
  }

  async query(sql: string, parameters: readonly unknown[] = []): Promise<unknown[][]> {
    const statement = parseStatement(sql)
    if (statement.kind !== 'select') throw new TypeError('not a select')
    const plan = planQuery(statement.query, this.catalog, parameters)
    return rowsOf((await executeQuery(plan, this.io)).chunks)
  }
}

export function rowsOf(chunks: readonly Chunk[]): unknown[][] {
  return chunks.flatMap((chunk) =>
    Array.from({ length: chunk.rowCount }, (_, row) =>
      chunk.columns.map((column) => jsonValueAt(column, row)),
    ),
  )
}

/** An error as the data-driven tests show it. */
export function errorText(error: unknown): string {
  const { code, message, context } = error as EngineError
  if (context === undefined) return `!! ${String(error)}`
  const hint = context['hint'] === undefined ? '' : `\n  hint: ${context['hint']}`
  return `${code} ${context['sqlState']} at ${context['position']}: ${message}${hint}`
}

/** `input ---- output` cases of a text file. With REWRITE=1 the outputs are made anew. */
export interface TextCase {
  readonly line: number
  readonly input: string
  readonly expected: string
}

const CUT = /\n----(\n|$)/

export function parseCases(text: string): TextCase[] {
  const cases: TextCase[] = []
  let line = 1
  for (const block of text.split('\n\n')) {
    const body = block.replace(/^(#[^\n]*\n|\n)+/, '')
    const cut = body.search(CUT)
    if (cut >= 0) {
      cases.push({ line, input: body.slice(0, cut), expected: body.slice(cut + 6).trimEnd() })
    }
    line += block.split('\n').length + 1
  }
  return cases
}

export function rewriteCases(text: string, outputs: readonly string[]): string {
  let index = 0
  return text
    .split('\n\n')
    .map((block) => {
      const cut = block.search(CUT)
      return cut < 0 ? block : `${block.slice(0, cut)}\n----\n${outputs[index++]}`
    })
    .join('\n\n')
    .trimEnd()
    .concat('\n')
}
