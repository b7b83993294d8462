/**
 * Relations of one FROM and the conditions between them → a left-deep tree of equi-joins. Comma lists,
 * INNER JOIN … ON and WHERE are one pool of conditions here, as they mean the same for inner joins.
 */
import type { Expression } from '../stream/plan.ts'
import type { Schema } from '../stream/schema.ts'
import {
  column,
  columnsOf,
  conjunction,
  filter,
  type LogicalPlan,
  mapColumns,
  pick,
  project,
  shiftColumns,
} from './logical.ts'
import { unsupported } from './sql-error.ts'

export interface Relation {
  readonly plan: LogicalPlan
  readonly position: number
}

interface KeyPair {
  /** Over the left side's columns. */
  readonly left: Expression
  /** Over the right side's columns. */
  readonly right: Expression
}

/** One condition and the relations it speaks of. */
interface Condition {
  readonly expression: Expression
  readonly relations: ReadonlySet<number>
}

/**
 * @param predicates over the columns of all relations, in order
 * @returns a plan with these columns in this order
 * @throws 0A000 where two relations share no equality
 */
export function joinRelations(
  relations: readonly Relation[],
  predicates: readonly Expression[],
): LogicalPlan {
  const builder = new TreeBuilder(relations, predicates)
  for (let count = 1; count < relations.length; count++) builder.joinNext()
  return builder.finish()
}

class TreeBuilder {
  private readonly relations: readonly Relation[]
  /** First column of each relation among all. */
  private readonly starts: readonly number[]
  private pending: Condition[]
  private readonly placed = new Set<number>([0])
  /** Column among all → column of `tree`. */
  private readonly positions = new Map<number, number>()
  private tree: LogicalPlan
  private readonly width: number

  constructor(relations: readonly Relation[], predicates: readonly Expression[]) {
    const starts: number[] = []
    let width = 0
    for (const { plan } of relations) {
      starts.push(width)
      width += plan.schema.length
    }
    this.starts = starts
    this.width = width
    const conditions = predicates.map((expression) => ({
      expression,
      relations: new Set([...columnsOf(expression)].map((index) => this.relationOf(index))),
    }))
    this.relations = relations.map((relation, index) => {
      const own = conditions.filter(
        (item) => item.relations.size === 1 && item.relations.has(index),
      )
      const local = own.map((item) => shiftColumns(item.expression, -starts[index]))
      return { ...relation, plan: filter(relation.plan, local) }
    })
    this.pending = conditions.filter((condition) => condition.relations.size !== 1)
    this.tree = this.relations[0].plan
    for (let i = 0; i < this.tree.schema.length; i++) this.positions.set(i, i)
  }

  private relationOf(columnIndex: number): number {
    return this.starts.findLastIndex((start) => start <= columnIndex)
  }

  joinNext(): void {
    for (let index = 0; index < this.relations.length; index++) {
      if (this.placed.has(index)) continue
      const ready = this.pending.filter(({ relations }) =>
        [...relations].every((relation) => relation === index || this.placed.has(relation)),
      )
      const pairs = ready.map((condition) => this.keyPair(condition.expression, index))
      if (pairs.every((pair) => pair === null)) continue
      this.place(index, ready, pairs)
      return
    }
    const left = this.relations.find((_, index) => !this.placed.has(index))
    const hint = 'add a condition like a.x = b.y between the two'
    throw unsupported('a join without an equality is', left?.position ?? -1, hint)
  }

  private place(
    index: number,
    ready: readonly Condition[],
    pairs: readonly (KeyPair | null)[],
  ): void {
    const { plan, position } = this.relations[index]
    const residual = ready.filter((_, i) => pairs[i] === null)
    const offset = this.tree.schema.length
    this.placed.add(index)
    for (let i = 0; i < plan.schema.length; i++) {
      this.positions.set(this.starts[index] + i, offset + i)
    }
    const keys = pairs.filter((pair) => pair !== null)
    const conditions = residual.map(({ expression }) => this.toTree(expression))
    this.tree = equiJoin({ left: this.tree, right: plan, keys, conditions, position })
    this.pending = this.pending.filter((condition) => !ready.includes(condition))
  }

  /** An equality between what is placed and relation `index`, sides in that order. */
  private keyPair(expression: Expression, index: number): KeyPair | null {
    if (expression.kind !== 'call' || expression.name !== 'equal') return null
    const sides = expression.args.map((arg) => ({
      arg,
      relations: [...columnsOf(arg)].map((found) => this.relationOf(found)),
    }))
    const isNew = (relations: readonly number[]): boolean =>
      relations.length > 0 && relations.every((relation) => relation === index)
    const isOld = (relations: readonly number[]): boolean =>
      relations.length > 0 && relations.every((relation) => this.placed.has(relation))
    const right = sides.find((side) => isNew(side.relations))
    const left = sides.find((side) => isOld(side.relations))
    if (left === undefined || right === undefined) return null
    return { left: this.toTree(left.arg), right: shiftColumns(right.arg, -this.starts[index]) }
  }

  private toTree(expression: Expression): Expression {
    return mapColumns(expression, (found) => ({
      ...found,
      index: this.positions.get(found.index) ?? found.index,
    }))
  }

  finish(): LogicalPlan {
    const constant = this.pending.map((condition) => this.toTree(condition.expression))
    const tree = filter(this.tree, constant)
    const order = Array.from({ length: this.width }, (_, i) => this.positions.get(i) ?? i)
    const expressions = order.map((index) => column(tree.schema, index))
    return project(tree, expressions, pick(tree.schema, order))
  }
}

/** A join whose keys may be expressions: they are computed below it, and left out above. */
function equiJoin(options: {
  readonly left: LogicalPlan
  readonly right: LogicalPlan
  readonly keys: readonly KeyPair[]
  /** Over left columns, then right columns. */
  readonly conditions: readonly Expression[]
  readonly position: number
}): LogicalPlan {
  const leftWidth = options.left.schema.length
  const rightWidth = options.right.schema.length
  // A column that is a key already adds nothing as a second key: the other equality is a condition.
  const keys: KeyPair[] = []
  const conditions = [...options.conditions]
  for (const pair of options.keys) {
    const isUsed = keys.some((key) => same(key.left, pair.left) || same(key.right, pair.right))
    if (!isUsed) keys.push(pair)
    else {
      const args = [pair.left, shiftColumns(pair.right, leftWidth)]
      conditions.push({ kind: 'call', name: 'equal', args, type: 'boolean' })
    }
  }
  const left = withColumns(
    options.left,
    keys.map((key) => key.left),
  )
  const right = withColumns(
    options.right,
    keys.map((key) => key.right),
  )
  const added = left.plan.schema.length - leftWidth
  const moved = conditions.map((condition) =>
    mapColumns(condition, (found) =>
      found.index < leftWidth ? found : { ...found, index: found.index + added },
    ),
  )
  const output = [
    ...Array.from({ length: leftWidth }, (_, i) => i),
    ...Array.from({ length: rightWidth }, (_, i) => leftWidth + added + i),
  ]
  const schema: Schema = [...options.left.schema, ...options.right.schema]
  return {
    kind: 'join',
    left: left.plan,
    right: right.plan,
    leftKeys: left.columns,
    rightKeys: right.columns,
    condition: moved.length === 0 ? null : conjunction(moved),
    output,
    position: options.position,
    schema,
  }
}

function same(a: Expression, b: Expression): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

/** The plan with a column for each expression; those that are columns already stay where they are. */
function withColumns(
  plan: LogicalPlan,
  expressions: readonly Expression[],
): { readonly plan: LogicalPlan; readonly columns: readonly number[] } {
  const fields = [...plan.schema]
  const all = plan.schema.map((_, index) => column(plan.schema, index))
  const columns = expressions.map((expression) => {
    if (expression.kind === 'column') return expression.index
    fields.push({ name: `key_${fields.length}`, type: expression.type })
    all.push(expression)
    return fields.length - 1
  })
  return { plan: project(plan, all, fields), columns }
}
