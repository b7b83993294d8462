/**
 * Logical plan → cheaper equal plan. Conditions go down to the scans, columns that nobody reads are
 * never made, and neighbouring projections become one. Rules only: no statistics, no search.
 */
import type { Expression } from '../stream/plan.ts'
import { foldConstants } from './fold.ts'
import {
  column,
  columnsOf,
  conjunction,
  conjuncts,
  filter,
  type LogicalPlan,
  mapColumns,
  pick,
  project,
  shiftColumns,
} from './logical.ts'

/** The same rows, columns and order of columns. */
export function optimize(plan: LogicalPlan): LogicalPlan {
  const all = plan.schema.map((_, index) => index)
  return prune(pushDown(plan, []), all)
}

/** `predicates` are over the output of `plan`; they hold above the result. */
function pushDown(plan: LogicalPlan, predicates: readonly Expression[]): LogicalPlan {
  switch (plan.kind) {
    case 'scan':
      return filter(plan, predicates)
    case 'values':
      return filter({ ...plan, rows: plan.rows.map((row) => row.map(foldConstants)) }, predicates)
    case 'filter': {
      const own = conjuncts(foldConstants(plan.predicate)).filter((item) => !isTrue(item))
      return pushDown(plan.input, [...own, ...predicates])
    }
    case 'project': {
      const expressions = plan.expressions.map(foldConstants)
      const below = predicates.map((item) => substitute(item, expressions))
      return project(pushDown(plan.input, below), expressions, plan.schema)
    }
    case 'join':
      return pushIntoJoin(plan, predicates)
    case 'aggregate': {
      const { groupKeys } = plan
      const isBelow = (item: Expression): boolean => {
        const columns = [...columnsOf(item)]
        // A global aggregate gives a row over no input: a condition must not move below it.
        return (
          groupKeys.length > 0 && columns.length > 0 && columns.every((i) => i < groupKeys.length)
        )
      }
      const below = predicates
        .filter(isBelow)
        .map((item) => mapColumns(item, (found) => ({ ...found, index: groupKeys[found.index] })))
      const above = predicates.filter((item) => !isBelow(item))
      return filter({ ...plan, input: pushDown(plan.input, below) }, above)
    }
  }
}

function pushIntoJoin(
  plan: Extract<LogicalPlan, { kind: 'join' }>,
  predicates: readonly Expression[],
): LogicalPlan {
  const width = plan.left.schema.length
  const pool = predicates.map((item) =>
    mapColumns(item, (found) => ({ ...found, index: plan.output[found.index] })),
  )
  if (plan.condition !== null) pool.push(...conjuncts(foldConstants(plan.condition)))
  const left: Expression[] = []
  const right: Expression[] = []
  const conditions: Expression[] = []
  const leftKeys = [...plan.leftKeys]
  const rightKeys = [...plan.rightKeys]
  for (const item of pool) {
    if (isTrue(item)) continue
    const columns = [...columnsOf(item)]
    const key = keyOf(item, width)
    if (columns.every((index) => index < width)) left.push(item)
    else if (columns.every((index) => index >= width)) right.push(shiftColumns(item, -width))
    else if (key !== null && !leftKeys.includes(key.left) && !rightKeys.includes(key.right)) {
      leftKeys.push(key.left)
      rightKeys.push(key.right)
    } else conditions.push(item)
  }
  return {
    ...plan,
    left: pushDown(plan.left, left),
    right: pushDown(plan.right, right),
    leftKeys,
    rightKeys,
    condition: conditions.length === 0 ? null : conjunction(conditions),
  }
}

/** `left column = right column`. */
function keyOf(
  expression: Expression,
  width: number,
): { readonly left: number; readonly right: number } | null {
  if (expression.kind !== 'call' || expression.name !== 'equal') return null
  const [a, b] = expression.args
  if (a.kind !== 'column' || b.kind !== 'column') return null
  const [left, right] = a.index < b.index ? [a.index, b.index] : [b.index, a.index]
  return left < width && right >= width ? { left, right: right - width } : null
}

/** The same rows with exactly the columns `wanted`, in that order. */
function prune(plan: LogicalPlan, wanted: readonly number[]): LogicalPlan {
  const schema = pick(plan.schema, wanted)
  switch (plan.kind) {
    case 'scan':
      return { ...plan, columns: wanted.map((index) => plan.columns[index]), schema }
    case 'values':
      return { ...plan, rows: plan.rows.map((row) => wanted.map((index) => row[index])), schema }
    case 'filter': {
      const needed = union(wanted, columnsOf(plan.predicate))
      const input = prune(plan.input, needed)
      const predicate = remap(plan.predicate, needed)
      const filtered = filter(input, conjuncts(predicate))
      return select(filtered, wanted, needed)
    }
    case 'project': {
      const kept = wanted.map((index) => plan.expressions[index])
      const needed = union([], ...kept.map(columnsOf))
      const input = prune(plan.input, needed)
      const expressions = kept.map((item) => remap(item, needed))
      return mergeProjects(project(input, expressions, schema))
    }
    case 'join':
      return pruneJoin(plan, wanted)
    case 'aggregate':
      return pruneAggregate(plan, wanted)
  }
}

function pruneJoin(
  plan: Extract<LogicalPlan, { kind: 'join' }>,
  wanted: readonly number[],
): LogicalPlan {
  const width = plan.left.schema.length
  const output = wanted.map((index) => plan.output[index])
  const condition = plan.condition === null ? [] : columnsOf(plan.condition)
  const used = union([], output, condition)
  const leftWanted = union(
    used.filter((index) => index < width),
    plan.leftKeys,
  )
  const rightWanted = union(
    used.filter((index) => index >= width).map((index) => index - width),
    plan.rightKeys,
  )
  const positions = new Map<number, number>()
  for (const index of leftWanted) positions.set(index, positions.size)
  for (const index of rightWanted) positions.set(width + index, positions.size)
  const at = (index: number): number => positions.get(index) ?? index
  return {
    ...plan,
    left: prune(plan.left, leftWanted),
    right: prune(plan.right, rightWanted),
    leftKeys: plan.leftKeys.map(at),
    rightKeys: plan.rightKeys.map((index) => at(width + index) - leftWanted.length),
    condition:
      plan.condition === null
        ? null
        : mapColumns(plan.condition, (found) => ({ ...found, index: at(found.index) })),
    output: output.map(at),
    schema: pick(plan.schema, wanted),
  }
}

function pruneAggregate(
  plan: Extract<LogicalPlan, { kind: 'aggregate' }>,
  wanted: readonly number[],
): LogicalPlan {
  // All groups stay: they decide which rows there are.
  const groups = plan.groupKeys.length
  const kept = plan.calls.map((_, i) => i).filter((i) => wanted.includes(groups + i))
  const columns = kept.flatMap((i) => [plan.calls[i].column, plan.calls[i].filterColumn])
  const needed = union(
    plan.groupKeys,
    columns.filter((index) => index >= 0),
  )
  const at = (index: number): number => (index < 0 ? index : needed.indexOf(index))
  const calls = kept.map((i) => {
    const call = plan.calls[i]
    return { ...call, column: at(call.column), filterColumn: at(call.filterColumn) }
  })
  const made = [...plan.groupKeys.map((_, i) => i), ...kept.map((i) => groups + i)]
  const aggregate: LogicalPlan = {
    kind: 'aggregate',
    input: prune(plan.input, needed),
    groupKeys: plan.groupKeys.map(at),
    calls,
    schema: pick(plan.schema, made),
  }
  return select(aggregate, wanted, made)
}

/** Columns `wanted` of a plan that has the columns `present`. */
function select(
  plan: LogicalPlan,
  wanted: readonly number[],
  present: readonly number[],
): LogicalPlan {
  const positions = wanted.map((index) => present.indexOf(index))
  const expressions = positions.map((index) => column(plan.schema, index))
  return mergeProjects(project(plan, expressions, pick(plan.schema, positions)))
}

/** Project over project: one, unless something costly would then be computed twice. */
function mergeProjects(plan: LogicalPlan): LogicalPlan {
  if (plan.kind !== 'project') return plan
  if (plan.input.kind === 'join') return mergeIntoJoin(plan, plan.input)
  if (plan.input.kind !== 'project') return plan
  const inner = plan.input
  const uses = new Map<number, number>()
  for (const item of plan.expressions) {
    mapColumns(item, (found) => {
      uses.set(found.index, (uses.get(found.index) ?? 0) + 1)
      return found
    })
  }
  const isCheap = (item: Expression): boolean => item.kind === 'column' || item.kind === 'literal'
  const repeats = [...uses].some(
    ([index, count]) => count > 1 && !isCheap(inner.expressions[index]),
  )
  if (repeats) return plan
  const expressions = plan.expressions.map((item) => substitute(item, inner.expressions))
  return mergeProjects(project(inner.input, expressions, plan.schema))
}

/** A projection that only chooses columns is the join's own output. */
function mergeIntoJoin(
  plan: Extract<LogicalPlan, { kind: 'project' }>,
  join: Extract<LogicalPlan, { kind: 'join' }>,
): LogicalPlan {
  const chosen = plan.expressions.map((item) => (item.kind === 'column' ? item.index : -1))
  if (chosen.includes(-1) || new Set(chosen).size < chosen.length) return plan
  return { ...join, output: chosen.map((index) => join.output[index]), schema: plan.schema }
}

/** The expression over the input of the projection that made its columns. */
function substitute(expression: Expression, made: readonly Expression[]): Expression {
  return mapColumns(expression, (found) => made[found.index])
}

function remap(expression: Expression, present: readonly number[]): Expression {
  return mapColumns(expression, (found) => ({ ...found, index: present.indexOf(found.index) }))
}

/** The first list, then what the others add, ascending. */
function union(first: readonly number[], ...others: readonly Iterable<number>[]): number[] {
  const seen = new Set(first)
  const added = new Set(others.flatMap((other) => [...other]).filter((index) => !seen.has(index)))
  return [...seen, ...[...added].sort((a, b) => a - b)]
}

const isTrue = (expression: Expression): boolean =>
  expression.kind === 'literal' && expression.value === true
