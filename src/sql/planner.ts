/**
 * Statements that run for good: CREATE … → catalog entry and job plan. Pure; nothing is started here.
 *
 * ```ts
 * await loadParser()                                             // parser.ts, once a thread
 * parseScript(sql): readonly StatementAst[]                      // parser.ts
 * emptyCatalog(): Catalog                                        // catalog.ts
 * planJob(statement, catalog): { plan: JobPlan | null, object, catalog }   // here; plan null: source, or already there
 * dropObject(catalog, name, { kind, ifExists }): DropResult      // catalog.ts; { catalog, dropped }
 * stateTablesOf(plan): readonly StateTableSpec[]                 // catalog.ts; what a DROP frees
 * explainStatement(statement, catalog, parameters?): string      // explain-statement.ts
 * planQuery(select, catalog, parameters): QueryPlan              // query-planner.ts
 * planInsert / planDml(statement, catalog, parameters)           // query-planner.ts
 * ```
 */
import { EngineError } from '../common/errors.ts'
import type { JobPlan } from '../stream/plan.ts'
import type { Field } from '../stream/schema.ts'
import type { ColumnAst, Name, SelectAst, StatementAst, StatementOf } from './ast.ts'
import {
  type Catalog,
  type CatalogColumn,
  type CatalogObject,
  findObject,
  KIND_NAMES,
} from './catalog.ts'
import { Fragmenter, IdSource, ROW_ID, type Stream, unique } from './fragmenter.ts'
import type { LogicalPlan } from './logical.ts'
import { optimize } from './optimizer.ts'
import { bindSelect } from './select-binder.ts'
import { sqlError, unsupported } from './sql-error.ts'

export type CreateStatement = StatementOf<
  'create-source' | 'create-table' | 'create-view' | 'create-sink'
>

export interface JobResult {
  /** What to start; null for a source, and when IF NOT EXISTS found it. */
  readonly plan: JobPlan | null
  readonly object: CatalogObject
  /** With the object; unchanged when IF NOT EXISTS found it. */
  readonly catalog: Catalog
}

export function isCreate(statement: StatementAst): statement is CreateStatement {
  return statement.kind.startsWith('create-')
}

/** @throws every error of names, types and grouping; 42P07 when the name is taken */
export function planJob(statement: CreateStatement, catalog: Catalog): JobResult {
  const existing = findObject(catalog, statement.name.name)
  if (existing !== null) {
    if (statement.ifNotExists && kindOf(statement) === existing.kind) {
      return { plan: null, object: existing, catalog }
    }
    const shown = `${KIND_NAMES[existing.kind]} "${existing.name}"`
    const made = existing.sql === statement.text ? '' : 'it was made with another text: '
    const hint = `${made}drop it first, or write IF NOT EXISTS to keep it as it is`
    throw sqlError('42P07', `${shown} already exists`, statement.name.position, hint)
  }
  const result = resultOf(statement, catalog)
  if (isDeeperThan(result.plan, LEVELS_MAX)) {
    throw new EngineError('SQL_UNSUPPORTED', 'the statement is nested too deeply', {
      context: {
        sqlState: '54001',
        position: statement.name.position,
        hint: 'build it from several views',
      },
    })
  }
  return result
}

function resultOf(statement: CreateStatement, catalog: Catalog): JobResult {
  switch (statement.kind) {
    case 'create-source':
      return createSource(statement, catalog)
    case 'create-table':
      return createTable(statement, catalog)
    case 'create-view':
      return createView(statement, catalog)
    case 'create-sink':
      return createSink(statement, catalog)
  }
}

/** Of objects in each other, two for each expression: what is kept of a plan is written and read by recursion. */
const LEVELS_MAX = 2000

/** Level by level, without recursion. */
function isDeeperThan(plan: JobPlan | null, levels: number): boolean {
  let objects = new Set<object>(plan === null ? [] : [plan])
  for (let level = 0; objects.size > 0; level++) {
    if (level > levels) return true
    const below = new Set<object>()
    for (const item of objects) {
      for (const value of Object.values(item)) {
        if (typeof value === 'object' && value !== null) below.add(value)
      }
    }
    objects = below
  }
  return false
}

function kindOf(statement: CreateStatement): CatalogObject['kind'] {
  switch (statement.kind) {
    case 'create-source':
      return 'source'
    case 'create-table':
      return 'table'
    case 'create-view':
      return 'view'
    case 'create-sink':
      return 'sink'
  }
}

function createSource(statement: StatementOf<'create-source'>, catalog: Catalog): JobResult {
  const { name, properties, columns: declared } = statement
  if (properties['connector'] === undefined) {
    const hint = "add WITH (connector = 'nexmark', …)"
    throw sqlError('22023', 'a source needs the option connector', name.position, hint)
  }
  const [key] = statement.primaryKey
  if (key !== undefined) {
    throw unsupported('a PRIMARY KEY of a source is', key.position, 'leave it out')
  }
  const columns = columnsOf(declared, name)
  const object = newObject(statement, catalog, { kind: 'source', columns, properties })
  return added(catalog, new IdSource(catalog), { ...object, appendOnly: true })
}

function createTable(statement: StatementOf<'create-table'>, catalog: Catalog): JobResult {
  const declared = columnsOf(statement.columns, statement.name)
  const primaryKey = primaryKeyOf(statement.primaryKey, declared)
  const hasKey = primaryKey.length > 0
  const columns = declared.map((item, index) =>
    primaryKey.includes(index) ? { ...item, notNull: true } : item,
  )
  if (!hasKey) columns.push({ name: ROW_ID, type: 'bigint', notNull: true, hidden: true })
  const schema: Field[] = columns.map(({ name, type }) => ({ name, type }))
  const key = hasKey ? primaryKey : [columns.length - 1]
  const ids = new IdSource(catalog)
  const job = new Fragmenter('stream', ids, statement.name.name)
  const table = job.table('rows', {
    group: 'materialized',
    schema,
    key,
    distribution: key,
    prefixColumns: hasKey ? key.length : 0,
  })
  const rowIdColumn = hasKey ? -1 : columns.length - 1
  const dml = job.fragment(
    'single',
    { kind: 'dml', tableId: table.tableId, schema, rowIdColumn },
    schema,
  )
  const rows = job.fragment('all', { kind: 'merge', schema }, schema)
  rows.operators.push({ kind: 'materialize', table, overwrite: hasKey })
  job.connect(dml, rows, 0, { kind: 'hash', columns: key })
  const object = newObject(statement, catalog, { kind: 'table', columns, properties: {} })
  const plan: JobPlan = { jobId: object.id, ...job.finish() }
  return added(catalog, ids, { ...object, primaryKey, plan, table, outputFragment: rows.id })
}

function createView(statement: StatementOf<'create-view'>, catalog: Catalog): JobResult {
  const { name, columnAliases } = statement
  const { logical, names } = streamingQuery(statement.query, catalog)
  if (columnAliases.length > names.length) {
    throw sqlError('42601', 'too many column names were specified', name.position)
  }
  const visible = names.map((item, index) => columnAliases[index] ?? item)
  refuseDuplicates(
    visible.map((item) => ({ name: item, position: statement.query.position })),
    'give one of them an alias',
  )
  const ids = new IdSource(catalog)
  const job = new Fragmenter('stream', ids, name.name)
  const stream = keyed(job, job.build(logical, true))
  const columns = viewColumns(stream, visible)
  const key = stream.key ?? []
  const { spread } = stream
  const table = job.table('rows', {
    group: 'materialized',
    schema: columns.map((item) => ({ name: item.name, type: item.type })),
    key,
    distribution:
      spread.kind === 'hash'
        ? spread.columns.map((item) => item.find((index) => key.includes(index)) ?? item[0])
        : [],
    prefixColumns: 0,
  })
  const { fragment, appendOnly } = stream
  fragment.operators.push({ kind: 'materialize', table, overwrite: false })
  fragment.schema = table.schema
  const object = newObject(statement, catalog, { kind: 'view', columns, properties: {} })
  const plan: JobPlan = { jobId: object.id, ...job.finish() }
  const dependsOn = [...job.dependsOn]
  const outputFragment = fragment.id
  return added(catalog, ids, { ...object, appendOnly, plan, table, dependsOn, outputFragment })
}

function createSink(statement: StatementOf<'create-sink'>, catalog: Catalog): JobResult {
  const { name } = statement
  const { connector, ...properties } = statement.properties
  if (connector !== 'blackhole') {
    const hint = "write WITH (connector = 'blackhole')"
    throw unsupported(`a sink with the connector ${connector ?? '(none)'} is`, name.position, hint)
  }
  const unknown = Object.keys(properties)[0]
  if (unknown !== undefined) {
    throw sqlError('22023', `the connector 'blackhole' has no option ${unknown}`, name.position)
  }
  const { logical } = streamingQuery(statement.query, catalog)
  const ids = new IdSource(catalog)
  const job = new Fragmenter('stream', ids, name.name)
  const built = job.build(logical, false)
  const stream = job.arrange(built, unique(built.columns))
  const object = newObject(statement, catalog, {
    kind: 'sink',
    columns: [],
    properties: statement.properties,
  })
  const { fragment, schema, appendOnly } = stream
  fragment.operators.push({ kind: 'sink', sinkId: object.id, connector, properties, schema })
  const plan: JobPlan = { jobId: object.id, ...job.finish() }
  const dependsOn = [...job.dependsOn]
  return added(catalog, ids, {
    ...object,
    appendOnly,
    plan,
    dependsOn,
    outputFragment: fragment.id,
  })
}

/** A query that runs for good, optimized. */
function streamingQuery(
  query: SelectAst,
  catalog: Catalog,
): { readonly logical: LogicalPlan; readonly names: readonly string[] } {
  const bound = bindSelect(query, { catalog, parameters: [] })
  const [order] = query.orderBy
  if (order !== undefined) {
    const hint = 'write it in the SELECT that reads the view'
    throw unsupported('ORDER BY in a materialized view or sink is', order.position, hint)
  }
  const limit = query.limit ?? query.offset
  if (limit !== null) throw unsupported('LIMIT in a materialized view or sink is', limit.position)
  if (query.values !== null || query.from.length === 0) {
    throw unsupported('a streaming query without FROM is', query.position)
  }
  return { logical: optimize(bound.plan), names: bound.plan.schema.map((field) => field.name) }
}

/** Visible columns first, then what else the key needs; spread by columns of the key. */
function keyed(job: Fragmenter, stream: Stream): Stream {
  const arranged = job.arrange(stream, unique([...stream.columns, ...(stream.key ?? [])]))
  if (arranged.spread.kind !== 'unknown') return arranged
  return job.exchange(arranged, { kind: 'hash', columns: arranged.key ?? [] })
}

function viewColumns(stream: Stream, visible: readonly string[]): CatalogColumn[] {
  const taken = new Set(visible)
  return stream.schema.map((field, index) => {
    const hidden = index >= visible.length
    let name = hidden ? `_${field.name.replace(/^_+/, '')}` : visible[index]
    for (let n = 1; hidden && taken.has(name); n++) name = `_${field.name.replace(/^_+/, '')}_${n}`
    taken.add(name)
    return { name, type: field.type, notNull: false, hidden }
  })
}

function columnsOf(declared: readonly ColumnAst[], owner: Name): CatalogColumn[] {
  if (declared.length === 0) throw unsupported('an object without columns is', owner.position)
  refuseDuplicates(declared)
  for (const { name, position } of declared) {
    if (name === ROW_ID) throw sqlError('42701', `the column name ${ROW_ID} is reserved`, position)
  }
  return declared.map(({ name, type, notNull }) => ({ name, type, notNull, hidden: false }))
}

function refuseDuplicates(names: readonly Name[], hint?: string): void {
  const seen = new Set<string>()
  for (const { name, position } of names) {
    if (seen.has(name)) {
      throw sqlError('42701', `column "${name}" specified more than once`, position, hint)
    }
    seen.add(name)
  }
}

function primaryKeyOf(names: readonly Name[], columns: readonly CatalogColumn[]): number[] {
  refuseDuplicates(names)
  return names.map(({ name, position }) => {
    const index = columns.findIndex((item) => item.name === name)
    if (index >= 0) return index
    throw sqlError('42703', `column "${name}" named in key does not exist`, position)
  })
}

function newObject(
  statement: CreateStatement,
  catalog: Catalog,
  parts: Pick<CatalogObject, 'kind' | 'columns' | 'properties'>,
): CatalogObject {
  return {
    id: catalog.nextObjectId,
    name: statement.name.name,
    sql: statement.text,
    primaryKey: [],
    appendOnly: false,
    dependsOn: [],
    plan: null,
    table: null,
    outputFragment: -1,
    ...parts,
  }
}

function added(catalog: Catalog, ids: IdSource, object: CatalogObject): JobResult {
  const next: Catalog = {
    revision: catalog.revision + 1,
    nextObjectId: catalog.nextObjectId + 1,
    nextTableId: ids.nextTableId,
    nextFragmentId: ids.nextFragmentId,
    objects: [...catalog.objects, object],
  }
  return { plan: object.plan, object, catalog: next }
}
