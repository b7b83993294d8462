/**
 * Statements that run once: SELECT → the same operators as streaming, over scans of a snapshot;
 * INSERT, UPDATE, DELETE → a query for the rows concerned. Pure; `runtime/query.ts` runs the plans.
 */
import { didYouMean } from '../common/did-you-mean.ts'
import type {
  ExchangePlan,
  Expression,
  FragmentPlan,
  SortKey,
  StateTableSpec,
} from '../stream/plan.ts'
import type { Field, Schema } from '../stream/schema.ts'
import type { Name, SelectAst, StatementOf } from './ast.ts'
import { type Bound, coerceForColumn, ExpressionBinder, type Parameters } from './binder.ts'
import { type Catalog, type CatalogObject, getObject, KIND_NAMES } from './catalog.ts'
import { nullLiteral } from './coercion.ts'
import { Fragmenter, IdSource, type QueryScan, type QueryValues } from './fragmenter.ts'
import { column, conjuncts, filter, type LogicalPlan, project } from './logical.ts'
import { optimize } from './optimizer.ts'
import { Scope } from './scope.ts'
import { bindSelect } from './select-binder.ts'
import { sqlError, unsupported } from './sql-error.ts'

export interface QueryPlan {
  /** Each fragment stands behind those that feed it. */
  readonly fragments: readonly FragmentPlan[]
  readonly exchanges: readonly ExchangePlan[]
  readonly scans: readonly QueryScan[]
  readonly values: readonly QueryValues[]
  readonly outputFragment: number
  /** Result column → column of the output fragment; those that only `order` needs stand behind. */
  readonly columns: readonly number[]
  /** The visible result columns. */
  readonly schema: Schema
  /** Over `columns`. */
  readonly order: readonly SortKey[]
  readonly limit: number | null
  readonly offset: number
}

/** INSERT, UPDATE or DELETE. */
export interface DmlPlan {
  readonly kind: 'insert' | 'update' | 'delete'
  readonly object: CatalogObject
  readonly table: StateTableSpec
  /**
   * The rows in the table's column order, hidden columns too: for insert the new ones, for delete the
   * old ones, for update the old ones and behind them, in the same row, the new ones.
   */
  readonly query: QueryPlan
}

/** @throws every error of names, types and grouping; 0A000 for a source */
export function planQuery(query: SelectAst, catalog: Catalog, parameters: Parameters): QueryPlan {
  const bound = bindSelect(query, { catalog, parameters })
  const { visibleCount, order, limit, offset } = bound
  return toQuery(bound.plan, { visibleCount, order, limit, offset })
}

function toQuery(
  plan: LogicalPlan,
  result: Pick<QueryPlan, 'order' | 'limit' | 'offset'> & { readonly visibleCount: number },
): QueryPlan {
  const { visibleCount, ...rest } = result
  // Ids of a query live only as long as it does.
  const builder = new Fragmenter(
    'query',
    new IdSource({ nextTableId: 1, nextFragmentId: 1 }),
    'query',
  )
  const stream = builder.build(optimize(plan), false)
  return {
    ...builder.finish(),
    ...rest,
    scans: builder.scans,
    values: builder.values,
    outputFragment: stream.fragment.id,
    columns: stream.columns,
    schema: plan.schema.slice(0, visibleCount),
  }
}

/** @throws 42809 when it is no table, 42703, 42804, 42601 when the counts differ */
export function planInsert(
  statement: StatementOf<'insert'>,
  catalog: Catalog,
  parameters: Parameters,
): DmlPlan {
  const { object, table } = getTable(catalog, statement.table)
  const targets = statement.columns?.map((name) => columnOf(object, name)) ?? visibleColumns(object)
  refuseTwice(object, targets, statement.columns ?? [])
  const { query } = statement
  if (query.values !== null) {
    const plan = insertValues(
      { table, targets, parameters, named: statement.columns !== null },
      query.values,
    )
    return { kind: 'insert', object, table, query: toQuery(plan, allRows(plan)) }
  }
  const bound = bindSelect(query, { catalog, parameters })
  const given = bound.visibleCount
  const partial = statement.columns === null && given < targets.length
  if (given > targets.length || (given < targets.length && !partial)) {
    throw countMismatch(given, targets.length, query.position)
  }
  const { schema } = bound.plan
  const values = table.schema.map((field, index): Expression => {
    const source = targets.indexOf(index)
    if (source < 0 || source >= given) return nullLiteral(field.type)
    const value: Bound = {
      expression: column(schema, source),
      unknown: false,
      position: query.items[source]?.position ?? query.position,
    }
    return coerceForColumn(value, field.type, field.name)
  })
  // What only ORDER BY needs stays behind the table's columns.
  const sorting = schema.slice(given)
  const expressions = [...values, ...sorting.map((_, index) => column(schema, given + index))]
  const fields: Schema = [...table.schema, ...sorting]
  const shift = table.schema.length - given
  const order = bound.order.map((key) => {
    if (key.column >= given) return { ...key, column: key.column + shift }
    // A sort key among the given columns may stand elsewhere, or in another type: sort by the original.
    expressions.push(column(schema, key.column))
    return { ...key, column: expressions.length - 1 }
  })
  const extra: Schema = expressions
    .slice(fields.length)
    .map((item, index): Field => ({ name: `sort_${index}`, type: item.type }))
  const plan = project(bound.plan, expressions, [...fields, ...extra])
  const { limit, offset } = bound
  const visibleCount = table.schema.length
  return {
    kind: 'insert',
    object,
    table,
    query: toQuery(plan, { visibleCount, order, limit, offset }),
  }
}

function insertValues(
  into: {
    readonly table: StateTableSpec
    readonly targets: readonly number[]
    /** The statement lists its columns: then each must get a value. */
    readonly named: boolean
    readonly parameters: Parameters
  },
  rows: NonNullable<SelectAst['values']>,
): LogicalPlan {
  const { table, targets } = into
  const binder = new ExpressionBinder({
    scope: new Scope([]),
    parameters: into.parameters,
    clause: 'VALUES',
  })
  const made = rows.map((row) => {
    if (row.length > targets.length) {
      throw countMismatch(row.length, targets.length, row[targets.length].position)
    }
    if (into.named && row.length < targets.length) {
      throw countMismatch(row.length, targets.length, row[0]?.position ?? -1)
    }
    if (row.length !== rows[0].length) {
      throw sqlError('42601', 'VALUES lists must all be the same length', row[0]?.position ?? -1)
    }
    return table.schema.map((field, index): Expression => {
      const ast = row[targets.indexOf(index)]
      if (ast === undefined || ast.kind === 'default') return nullLiteral(field.type)
      return coerceForColumn(binder.bind(ast), field.type, field.name)
    })
  })
  return { kind: 'values', rows: made, schema: table.schema }
}

/** @throws 42809, 42703, 42804; 0A000 for a change of the primary key */
export function planUpdate(
  statement: StatementOf<'update'>,
  catalog: Catalog,
  parameters: Parameters,
): DmlPlan {
  const { object, table } = getTable(catalog, statement.table)
  const scan = scanAll(object, table, statement.table.position)
  const scope = tableScope(object, statement.alias)
  const binder = new ExpressionBinder({ scope, parameters, clause: 'UPDATE' })
  const targets = statement.assignments.map((item) =>
    columnOf(object, { name: item.column, position: item.position }),
  )
  refuseTwice(object, targets, statement.assignments)
  const values = table.schema.map((field, index): Expression => {
    const assignment = statement.assignments[targets.indexOf(index)]
    if (assignment === undefined) return column(table.schema, index)
    if (object.primaryKey.includes(index)) {
      const hint = 'delete the row and insert it anew'
      throw unsupported('changing a primary key is', assignment.position, hint)
    }
    if (assignment.value.kind === 'default') return nullLiteral(field.type)
    return coerceForColumn(binder.bind(assignment.value), field.type, field.name)
  })
  const rows = filter(scan, whereOf(statement, scope, parameters))
  const old = table.schema.map((_, index) => column(table.schema, index))
  const plan = project(rows, [...old, ...values], [...table.schema, ...table.schema])
  return { kind: 'update', object, table, query: toQuery(plan, allRows(plan)) }
}

/** @throws 42809, 42703, 42804 */
export function planDelete(
  statement: StatementOf<'delete'>,
  catalog: Catalog,
  parameters: Parameters,
): DmlPlan {
  const { object, table } = getTable(catalog, statement.table)
  const scan = scanAll(object, table, statement.table.position)
  const scope = tableScope(object, statement.alias)
  const plan = filter(scan, whereOf(statement, scope, parameters))
  return { kind: 'delete', object, table, query: toQuery(plan, allRows(plan)) }
}

export function planDml(
  statement: StatementOf<'insert' | 'update' | 'delete'>,
  catalog: Catalog,
  parameters: Parameters,
): DmlPlan {
  switch (statement.kind) {
    case 'insert':
      return planInsert(statement, catalog, parameters)
    case 'update':
      return planUpdate(statement, catalog, parameters)
    case 'delete':
      return planDelete(statement, catalog, parameters)
  }
}

function allRows(plan: LogicalPlan): {
  readonly visibleCount: number
  readonly order: readonly SortKey[]
  readonly limit: null
  readonly offset: number
} {
  return { visibleCount: plan.schema.length, order: [], limit: null, offset: 0 }
}

function whereOf(
  statement: StatementOf<'update' | 'delete'>,
  scope: Scope,
  parameters: Parameters,
): readonly Expression[] {
  if (statement.where === null) return []
  const binder = new ExpressionBinder({ scope, parameters, clause: 'WHERE' })
  return conjuncts(binder.condition(statement.where))
}

function getTable(
  catalog: Catalog,
  name: Name,
): { readonly object: CatalogObject; readonly table: StateTableSpec } {
  const object = getObject(catalog, name)
  if (object.kind === 'table' && object.table !== null) return { object, table: object.table }
  const message = `"${name.name}" is a ${KIND_NAMES[object.kind]}: its rows cannot be changed`
  throw sqlError('42809', message, name.position, 'change the tables that it reads')
}

function scanAll(object: CatalogObject, table: StateTableSpec, position: number): LogicalPlan {
  const columns = table.schema.map((_, index) => index)
  return { kind: 'scan', object, columns, schema: table.schema, position }
}

function tableScope(object: CatalogObject, alias: string | null): Scope {
  const columns = object.columns.flatMap((item, index) =>
    item.hidden
      ? []
      : [{ relation: alias ?? object.name, name: item.name, type: item.type, index }],
  )
  return new Scope(columns)
}

function visibleColumns(object: CatalogObject): readonly number[] {
  return object.columns.flatMap((item, index) => (item.hidden ? [] : [index]))
}

function columnOf(object: CatalogObject, { name, position }: Name): number {
  const index = object.columns.findIndex((item) => item.name === name && !item.hidden)
  if (index >= 0) return index
  const visible = object.columns.flatMap((item) => (item.hidden ? [] : [item.name]))
  const message = `column "${name}" of relation "${object.name}" does not exist`
  throw sqlError('42703', message, position, didYouMean(name, visible))
}

function refuseTwice(
  object: CatalogObject,
  targets: readonly number[],
  names: readonly { readonly position: number }[],
): void {
  targets.forEach((target, index) => {
    if (targets.indexOf(target) === index) return
    const message = `column "${object.columns[target].name}" specified more than once`
    throw sqlError('42701', message, names[index]?.position ?? -1)
  })
}

function countMismatch(given: number, wanted: number, position: number): Error {
  const message =
    given > wanted
      ? 'INSERT has more expressions than target columns'
      : 'INSERT has more target columns than expressions'
  return sqlError('42601', message, position, `${wanted} columns, ${given} values`)
}
