/** SELECT → logical plan: FROM, WHERE, grouping, the select list, DISTINCT, ORDER BY, LIMIT. */
import type { AggregateCall, Expression, SortKey } from '../stream/plan.ts'
import { type Field, type Schema, typeName } from '../stream/schema.ts'
import type { ExpressionAst, FromAst, OrderAst, SelectAst, SelectItemAst } from './ast.ts'
import {
  type AggregateSink,
  ExpressionBinder,
  IN_AGGREGATE,
  mismatch,
  type Parameters,
  positionsOfColumns,
  unify,
} from './binder.ts'
import type { Catalog } from './catalog.ts'
import { getObject } from './catalog.ts'
import { foldConstants } from './fold.ts'
import { aggregateName, aggregateType, isAggregate } from './functions.ts'
import { joinRelations, type Relation } from './join-tree.ts'
import {
  column,
  conjuncts,
  filter,
  type LogicalPlan,
  mapExpression,
  pick,
  project,
} from './logical.ts'
import { Scope, type ScopeColumn } from './scope.ts'
import { sqlError, unsupported } from './sql-error.ts'

export interface BindContext {
  readonly catalog: Catalog
  readonly parameters: Parameters
}

export interface BoundSelect {
  /** Visible columns first, then those that only ORDER BY needs. */
  readonly plan: LogicalPlan
  readonly visibleCount: number
  readonly order: readonly SortKey[]
  /** Null: all rows. */
  readonly limit: number | null
  readonly offset: number
}

/** @throws any error of names, types and grouping, with its position */
export function bindSelect(ast: SelectAst, context: BindContext): BoundSelect {
  return new SelectBinder(ast, context).bind()
}

/** A relation with the names it brings. */
interface NamedRelation extends Relation {
  readonly scope: Scope
}

/** A condition of ON: the relations that it may name. */
interface OnCondition {
  readonly ast: ExpressionAst
  readonly from: number
  readonly to: number
}

class SelectBinder {
  private readonly ast: SelectAst
  private readonly context: BindContext
  private readonly relations: NamedRelation[] = []
  private readonly conditions: OnCondition[] = []

  constructor(ast: SelectAst, context: BindContext) {
    this.ast = ast
    this.context = context
  }

  bind(): BoundSelect {
    const { ast } = this
    if (ast.values !== null) return this.values(ast.values)
    for (const item of ast.from) this.from(item)
    const scope = this.relations.reduce((all, { scope: own }) => all.concat(own), new Scope([]))
    const input = this.input(scope)
    const items = this.expandStars(scope)
    if (items.length === 0) throw unsupported('a select list without columns is', ast.position)
    const grouping = this.grouping(scope, items)
    const list = grouping ?? {
      bind: (item: ExpressionAst, clause: string) => this.binder(scope, clause).typed(item),
      plan: () => input,
    }
    const expressions = items.map((item) => list.bind(item.expression, 'the select list'))
    const names = items.map((item) => item.alias ?? columnName(item.expression))
    const having =
      ast.having === null || grouping === null ? null : grouping.bindCondition(ast.having, 'HAVING')
    const visibleCount = expressions.length
    const order = ast.orderBy.map((key) => this.order(key, { names, expressions, list }))
    const fields = expressions.map((expression, index) => ({
      name: names[index] ?? `sort_${index}`,
      type: expression.type,
    }))
    let plan = filter(list.plan(input), having === null ? [] : conjuncts(having))
    plan = project(plan, expressions, fields)
    if (ast.distinct) plan = this.distinct(plan, visibleCount)
    const limit = this.count(ast.limit, 'LIMIT')
    return { plan, visibleCount, order, limit, offset: this.count(ast.offset, 'OFFSET') ?? 0 }
  }

  private binder(scope: Scope, clause: string): ExpressionBinder {
    return new ExpressionBinder({ scope, parameters: this.context.parameters, clause })
  }

  /** What FROM and WHERE give. */
  private input(scope: Scope): LogicalPlan {
    const predicates: Expression[] = []
    for (const { ast, from, to } of this.conditions) {
      // ON sees the relations of its own join only.
      const inside = scope.columns.slice(this.startOf(from), this.startOf(to))
      predicates.push(...conjuncts(this.binder(new Scope(inside), 'JOIN/ON').condition(ast)))
    }
    if (this.ast.where !== null) {
      predicates.push(...conjuncts(this.binder(scope, 'WHERE').condition(this.ast.where)))
    }
    if (this.relations.length === 0) {
      return filter({ kind: 'values', rows: [[]], schema: [] }, predicates)
    }
    return joinRelations(this.relations, predicates)
  }

  private startOf(relation: number): number {
    let start = 0
    for (let i = 0; i < relation; i++) start += this.relations[i].scope.columns.length
    return start
  }

  private from(item: FromAst): void {
    if (item.kind !== 'join') {
      this.addRelation(this.relation(item), item.position)
      return
    }
    const first = this.relations.length
    this.from(item.left)
    this.from(item.right)
    if (item.on !== null) {
      this.conditions.push({ ast: item.on, from: first, to: this.relations.length })
    }
  }

  private addRelation(relation: NamedRelation, position: number): void {
    const name = relation.scope.columns[0]?.relation ?? null
    const taken = this.relations.some((other) => other.scope.columns[0]?.relation === name)
    if (name !== null && taken) {
      const hint = 'give one of them an alias'
      throw sqlError('42712', `table name "${name}" specified more than once`, position, hint)
    }
    this.relations.push(relation)
  }

  private relation(item: Exclude<FromAst, { kind: 'join' }>): NamedRelation {
    switch (item.kind) {
      case 'relation': {
        const object = getObject(this.context.catalog, item)
        if (object.kind === 'sink') {
          throw sqlError('42809', `"${item.name}" is a sink: it has no rows`, item.position)
        }
        const columns = object.columns.flatMap((found, index) => (found.hidden ? [] : [index]))
        const schema = pick(object.columns, columns).map(({ name, type }) => ({ name, type }))
        const plan: LogicalPlan = { kind: 'scan', object, columns, schema, position: item.position }
        return named(plan, item, item.name)
      }
      case 'subquery': {
        const bound = bindSelect(item.query, this.context)
        if (bound.limit !== null || bound.offset > 0 || bound.order.length > 0) {
          throw unsupported('ORDER BY or LIMIT in a subquery is', item.position)
        }
        return named(bound.plan, item, null)
      }
      case 'tumble':
        return this.tumble(item)
    }
  }

  private tumble(item: Extract<FromAst, { kind: 'tumble' }>): NamedRelation {
    if (item.input.kind === 'join') throw unsupported('TUMBLE over a join is', item.position)
    const input = this.relation(item.input)
    const binder = this.binder(input.scope, 'TUMBLE')
    const time = binder.typed(item.timeColumn)
    if (time.type !== 'timestamp' && time.type !== 'timestamptz') {
      const message = `the time column of TUMBLE is of type ${typeName(time.type)}, not a timestamp`
      throw sqlError('42804', message, item.timeColumn.position)
    }
    const size = foldConstants(binder.typed(item.size))
    if (size.type !== 'interval' || size.kind !== 'literal' || Number(size.value) <= 0) {
      const hint = "write INTERVAL '10' SECOND"
      throw sqlError('42804', 'TUMBLE takes a positive interval', item.size.position, hint)
    }
    const { schema } = input.plan
    const start: Expression = {
      kind: 'call',
      name: 'tumble_start',
      args: [time, size],
      type: time.type,
    }
    const end: Expression = { kind: 'call', name: 'add', args: [start, size], type: time.type }
    const expressions = [...schema.map((_, index) => column(schema, index)), start, end]
    const fields: Schema = [
      ...schema,
      { name: 'window_start', type: time.type },
      { name: 'window_end', type: time.type },
    ]
    const relation = item.input.kind === 'relation' ? item.input.name : null
    return named(project(input.plan, expressions, fields), item, relation)
  }

  private expandStars(scope: Scope): readonly SelectItemAst[] {
    return this.ast.items.flatMap((item) => {
      const { expression } = item
      if (expression.kind !== 'star') return [item]
      if (this.relations.length === 0) {
        throw sqlError('42601', 'SELECT * with no tables specified is not valid', item.position)
      }
      const columns = scope.columnsOf(expression.qualifier, expression.position)
      return columns.map((found) => starItem(found, item.position))
    })
  }

  private grouping(scope: Scope, items: readonly SelectItemAst[]): Grouping | null {
    const { groupBy, having, orderBy } = this.ast
    const collector = new Grouping(scope, this.context.parameters)
    const asts = [...items.map((item) => item.expression), ...orderBy.map((key) => key.expression)]
    if (groupBy.length === 0 && having === null && !asts.some(hasAggregate)) return null
    for (const ast of groupBy) collector.addGroup(this.groupKey(ast, scope, items))
    return collector
  }

  /** GROUP BY 1, a name (the input's before the list's), or an expression. */
  private groupKey(
    ast: ExpressionAst,
    scope: Scope,
    items: readonly SelectItemAst[],
  ): ExpressionAst {
    if (ast.kind === 'number' && /^\d+$/.test(ast.text)) {
      const item = items[Number(ast.text) - 1]
      if (item !== undefined) return item.expression
      throw sqlError('42P10', `GROUP BY position ${ast.text} is not in select list`, ast.position)
    }
    if (ast.kind === 'column' && ast.path.length === 1) {
      const [name] = ast.path
      const isInput = scope.columns.some((found) => found.name === name)
      const item = items.find((candidate) => candidate.alias === name)
      if (!isInput && item !== undefined) return item.expression
    }
    return ast
  }

  /** The sort key; an expression that is not in the list is added to it behind the visible ones. */
  private order(
    key: OrderAst,
    output: {
      readonly names: readonly string[]
      readonly expressions: Expression[]
      readonly list: { bind(ast: ExpressionAst, clause: string): Expression }
    },
  ): SortKey {
    const { descending, nullsFirst, expression: ast } = key
    const { names, expressions, list } = output
    const found = this.orderColumn(ast, names)
    if (found !== null) return { column: found, descending, nullsFirst }
    const expression = list.bind(ast, 'ORDER BY')
    const text = JSON.stringify(expression)
    let index = expressions.findIndex((candidate) => JSON.stringify(candidate) === text)
    if (index < 0) {
      if (this.ast.distinct) {
        const message = 'for SELECT DISTINCT, ORDER BY expressions must appear in select list'
        throw sqlError('42P10', message, ast.position)
      }
      index = expressions.push(expression) - 1
    }
    return { column: index, descending, nullsFirst }
  }

  /** ORDER BY 1, or the name of an output column. */
  private orderColumn(ast: ExpressionAst, names: readonly string[]): number | null {
    if (ast.kind === 'number' && /^\d+$/.test(ast.text)) {
      const index = Number(ast.text) - 1
      if (index >= 0 && index < names.length) return index
      throw sqlError('42P10', `ORDER BY position ${ast.text} is not in select list`, ast.position)
    }
    if (ast.kind !== 'column' || ast.path.length !== 1) return null
    const index = names.indexOf(ast.path[0])
    return index < 0 ? null : index
  }

  private distinct(plan: LogicalPlan, visibleCount: number): LogicalPlan {
    const groupKeys = Array.from({ length: visibleCount }, (_, i) => i)
    return { kind: 'aggregate', input: plan, groupKeys, calls: [], schema: plan.schema }
  }

  private count(ast: ExpressionAst | null, clause: string): number | null {
    if (ast === null) return null
    const value = foldConstants(this.binder(new Scope([]), clause).typed(ast))
    if (value.kind !== 'literal')
      throw unsupported(`${clause} that is not a constant is`, ast.position)
    if (value.value === null) return null
    const count = Number(value.value)
    if (Number.isSafeInteger(count) && count >= 0) return count
    throw sqlError('22023', `${clause} must be a whole number that is not negative`, ast.position)
  }

  private values(rows: readonly (readonly ExpressionAst[])[]): BoundSelect {
    const binder = this.binder(new Scope([]), 'VALUES')
    const width = rows[0].length
    for (const row of rows) {
      if (row.length !== width) {
        const position = row[0]?.position ?? this.ast.position
        throw sqlError('42601', 'VALUES lists must all be the same length', position)
      }
    }
    const columns = Array.from({ length: width }, (_, index) => {
      const bound = rows.map((row) => binder.bind(row[index]))
      const values = unify(bound)
      if (values === null) throw mismatch('VALUES', bound)
      return values
    })
    const schema = columns.map(
      (values, index): Field => ({ name: `column${index + 1}`, type: values[0].type }),
    )
    const plan: LogicalPlan = {
      kind: 'values',
      rows: rows.map((_, row) => columns.map((values) => values[row])),
      schema,
    }
    return { plan, visibleCount: width, order: [], limit: null, offset: 0 }
  }
}

/** Column numbers from here on stand for aggregate calls while a list is bound. */
const CALL_BASE = 1 << 20

/** Binds expressions above a GROUP BY: collects the calls, and replaces what is grouped. */
class Grouping implements AggregateSink {
  private readonly scope: Scope
  private readonly parameters: Parameters
  private readonly groups: Expression[] = []
  private readonly groupTexts: string[] = []
  /** Group expressions, then arguments and filters: what is computed below the aggregate. */
  private readonly inputs: Expression[] = []
  private readonly calls: AggregateCall[] = []
  private readonly callTexts: string[] = []

  constructor(scope: Scope, parameters: Parameters) {
    this.scope = scope
    this.parameters = parameters
  }

  addGroup(ast: ExpressionAst): void {
    const binder = this.binder('GROUP BY')
    const expression = binder.typed(ast)
    const text = JSON.stringify(expression)
    if (this.groupTexts.includes(text)) return
    this.groupTexts.push(text)
    this.groups.push(expression)
    this.inputs.push(expression)
  }

  bind(ast: ExpressionAst, clause: string): Expression {
    return this.resolve(this.binder(clause, this).typed(ast))
  }

  bindCondition(ast: ExpressionAst, clause: string): Expression {
    return this.resolve(this.binder(clause, this).condition(ast))
  }

  bindAggregate(ast: Extract<ExpressionAst, { kind: 'function' }>): Expression {
    const name = aggregateName(ast.name, ast.star, ast.position)
    if (ast.distinct && name !== 'min' && name !== 'max') {
      const hint = 'group by the column in a subquery first'
      throw unsupported(`${ast.name}(DISTINCT …) is`, ast.position, hint)
    }
    const argument = this.argument(ast)
    const type = aggregateType(name, argument?.type ?? null)
    if (type === null) {
      const shown = argument === null ? '' : typeName(argument.type)
      throw sqlError('42883', `function ${ast.name}(${shown}) does not exist`, ast.position)
    }
    const filter = ast.filter === null ? null : this.inner().condition(ast.filter)
    const filterColumn = filter === null ? -1 : this.input(filter)
    const call: AggregateCall = {
      name,
      column: argument === null ? -1 : this.input(guarded(argument, filter)),
      argumentType: argument?.type ?? null,
      type,
      filterColumn,
    }
    const text = JSON.stringify(call)
    let index = this.callTexts.indexOf(text)
    if (index < 0) {
      index = this.calls.push(call) - 1
      this.callTexts.push(text)
    }
    return { kind: 'column', index: CALL_BASE + index, type }
  }

  private argument(ast: Extract<ExpressionAst, { kind: 'function' }>): Expression | null {
    if (ast.star) return null
    if (ast.args.length !== 1) {
      const message = `function ${ast.name} takes one argument, not ${ast.args.length}`
      throw sqlError('42883', message, ast.position)
    }
    return this.inner().typed(ast.args[0])
  }

  /** The plan up to the aggregate. */
  plan(input: LogicalPlan): LogicalPlan {
    const fields = this.inputs.map((expression, index) => ({
      name: expression.kind === 'column' ? input.schema[expression.index].name : `value_${index}`,
      type: expression.type,
    }))
    const groupKeys = this.groups.map((_, index) => index)
    const schema = [
      ...pick(fields, groupKeys),
      ...this.calls.map(({ name, type }) => ({ name, type })),
    ]
    const below = project(input, this.inputs, fields)
    return { kind: 'aggregate', input: below, groupKeys, calls: this.calls, schema }
  }

  private inner(): ExpressionBinder {
    return this.binder(IN_AGGREGATE)
  }

  private binder(clause: string, aggregates: AggregateSink | null = null): ExpressionBinder {
    return new ExpressionBinder({
      scope: this.scope,
      parameters: this.parameters,
      clause,
      aggregates,
    })
  }

  private input(expression: Expression): number {
    const text = JSON.stringify(expression)
    const index = this.inputs.findIndex((candidate) => JSON.stringify(candidate) === text)
    return index < 0 ? this.inputs.push(expression) - 1 : index
  }

  /** Over the aggregate's output: group columns, then calls. */
  private resolve(expression: Expression): Expression {
    return mapExpression(expression, (part) => {
      if (part.kind === 'literal') return null
      const group = this.groupTexts.indexOf(JSON.stringify(part))
      if (group >= 0) return { kind: 'column', index: group, type: part.type }
      if (part.kind !== 'column') return null
      if (part.index >= CALL_BASE) {
        return { ...part, index: this.groups.length + part.index - CALL_BASE }
      }
      const { relation, name } = this.scope.columns[part.index]
      const shown = relation === null ? name : `${relation}.${name}`
      const message = `column "${shown}" must appear in the GROUP BY clause or be used in an aggregate function`
      throw sqlError('42803', message, positionsOfColumns.get(part) ?? -1)
    })
  }
}

/** The argument as it is computed: only for rows that pass the filter, because it may fail for others. */
function guarded(argument: Expression, filter: Expression | null): Expression {
  if (filter === null || argument.kind === 'column' || argument.kind === 'literal') return argument
  // biome-ignore lint/suspicious/noThenProperty: the plan calls it so, and it is never awaited.
  const branches = [{ when: filter, then: argument }]
  return { kind: 'case', branches, otherwise: null, type: argument.type }
}

function named(
  plan: LogicalPlan,
  item: {
    readonly alias: string | null
    readonly columnAliases: readonly string[]
    readonly position: number
  },
  name: string | null,
): NamedRelation {
  if (item.columnAliases.length > plan.schema.length) {
    const message = `there are ${plan.schema.length} columns, but ${item.columnAliases.length} aliases`
    throw sqlError('42P10', message, item.position)
  }
  const relation = item.alias ?? name
  const columns = plan.schema.map((field, index) => ({
    relation,
    name: item.columnAliases[index] ?? field.name,
    type: field.type,
    index,
  }))
  return { plan, position: item.position, scope: new Scope(columns) }
}

function starItem(found: ScopeColumn, position: number): SelectItemAst {
  const path = found.relation === null ? [found.name] : [found.relation, found.name]
  const expression = { kind: 'column', path, index: found.index, position } as const
  return { expression, alias: found.name, position }
}

/** PostgreSQL's name for an output column without an alias. */
function columnName(ast: ExpressionAst): string {
  switch (ast.kind) {
    case 'column':
      return ast.path[ast.path.length - 1]
    case 'function':
      return ast.name
    case 'case':
      return 'case'
    case 'cast': {
      const inner = columnName(ast.argument)
      return inner === '?column?' ? (CAST_NAMES[ast.type.type] ?? ast.type.type) : inner
    }
    case 'boolean':
      return 'bool'
    default:
      return '?column?'
  }
}

const CAST_NAMES: Readonly<Record<string, string>> = {
  boolean: 'bool',
  smallint: 'int2',
  integer: 'int4',
  bigint: 'int8',
  real: 'float4',
  double: 'float8',
}

function hasAggregate(ast: ExpressionAst): boolean {
  switch (ast.kind) {
    case 'function':
      return isAggregate(ast.name) || ast.args.some(hasAggregate)
    case 'operator':
    case 'logic':
      return ast.args.some(hasAggregate)
    case 'test':
    case 'cast':
      return hasAggregate(ast.argument)
    case 'in':
      return [ast.argument, ...ast.items].some(hasAggregate)
    case 'between':
      return [ast.argument, ast.low, ast.high].some(hasAggregate)
    case 'like':
      return hasAggregate(ast.argument) || hasAggregate(ast.pattern)
    case 'case': {
      const parts = ast.branches.flatMap((branch) => [branch.when, branch.result])
      return [ast.operand, ast.otherwise, ...parts].some(
        (part) => part !== null && hasAggregate(part),
      )
    }
    default:
      return false
  }
}
