/**
 * The logical plan: relational operators over positions of columns, without a word about streams,
 * threads or state. The binder makes it, the optimizer rewrites it, the fragmenter makes it run.
 */
import type { AggregateCall, Expression } from '../stream/plan.ts'
import type { Field, Schema } from '../stream/schema.ts'
import type { CatalogObject } from './catalog.ts'

export type LogicalPlan = {
  /** What comes out. */
  readonly schema: Schema
} & (
  | {
      readonly kind: 'scan'
      readonly object: CatalogObject
      /** Positions in `object.columns`. */
      readonly columns: readonly number[]
      readonly position: number
    }
  /** Constant rows. */
  | { readonly kind: 'values'; readonly rows: readonly (readonly Expression[])[] }
  | { readonly kind: 'filter'; readonly input: LogicalPlan; readonly predicate: Expression }
  | {
      readonly kind: 'project'
      readonly input: LogicalPlan
      readonly expressions: readonly Expression[]
    }
  /** Inner join. */
  | {
      readonly kind: 'join'
      readonly left: LogicalPlan
      readonly right: LogicalPlan
      readonly leftKeys: readonly number[]
      readonly rightKeys: readonly number[]
      /** Over left columns, then right columns. */
      readonly condition: Expression | null
      /** Columns that come out: positions in left columns, then right columns. */
      readonly output: readonly number[]
      readonly position: number
    }
  /** Output: group columns, then one column a call. */
  | {
      readonly kind: 'aggregate'
      readonly input: LogicalPlan
      readonly groupKeys: readonly number[]
      readonly calls: readonly AggregateCall[]
    }
)

export function filter(input: LogicalPlan, predicates: readonly Expression[]): LogicalPlan {
  if (predicates.length === 0) return input
  return { kind: 'filter', input, predicate: conjunction(predicates), schema: input.schema }
}

/** A projection; none at all when it would give its input as it is. */
export function project(
  input: LogicalPlan,
  expressions: readonly Expression[],
  schema: Schema,
): LogicalPlan {
  const same =
    expressions.length === input.schema.length &&
    expressions.every((item, index) => item.kind === 'column' && item.index === index)
  if (!same) return { kind: 'project', input, expressions, schema }
  return sameNames(input.schema, schema) ? input : { ...input, schema }
}

function sameNames(a: Schema, b: Schema): boolean {
  return a.every((field, index) => field.name === b[index].name)
}

export function column(schema: Schema, index: number): Expression {
  return { kind: 'column', index, type: schema[index].type }
}

export function pick(schema: Schema, columns: readonly number[]): Field[] {
  return columns.map((index) => schema[index])
}

export function conjuncts(expression: Expression): readonly Expression[] {
  if (expression.kind === 'call' && expression.name === 'and') {
    return expression.args.flatMap((arg) => conjuncts(arg))
  }
  return [expression]
}

export function conjunction(predicates: readonly Expression[]): Expression {
  if (predicates.length === 1) return predicates[0]
  return { kind: 'call', name: 'and', args: predicates, type: 'boolean' }
}

/** The same expression with each column replaced; shared where nothing changes. */
export function mapColumns(
  expression: Expression,
  replace: (column: Extract<Expression, { kind: 'column' }>) => Expression,
): Expression {
  return mapExpression(expression, (inner) => (inner.kind === 'column' ? replace(inner) : null))
}

/** Rewrites from the top: where `replace` gives an expression it stands, else the parts are rewritten. */
export function mapExpression(
  expression: Expression,
  replace: (expression: Expression) => Expression | null,
): Expression {
  const replaced = replace(expression)
  if (replaced !== null) return replaced
  const inner = (part: Expression): Expression => mapExpression(part, replace)
  switch (expression.kind) {
    case 'column':
    case 'literal':
      return expression
    case 'call':
      return { ...expression, args: expression.args.map(inner) }
    case 'cast':
      return { ...expression, argument: inner(expression.argument) }
    case 'case':
      return {
        ...expression,
        branches: expression.branches.map((branch) => ({
          when: inner(branch.when),
          // biome-ignore lint/suspicious/noThenProperty: the plan calls it so, and it is never awaited.
          then: inner(branch.then),
        })),
        otherwise: expression.otherwise === null ? null : inner(expression.otherwise),
      }
  }
}

/** Columns that an expression reads. */
export function columnsOf(expression: Expression): Set<number> {
  const columns = new Set<number>()
  mapColumns(expression, (found) => {
    columns.add(found.index)
    return found
  })
  return columns
}

export function shiftColumns(expression: Expression, offset: number): Expression {
  return mapColumns(expression, (found) => ({ ...found, index: found.index + offset }))
}
