/**
 * Expressions: names → column positions, literals → values, operators and functions → typed calls, by
 * PostgreSQL's rules. What comes out refers to columns of one input by position.
 */
import type { Expression, ScalarFunction } from '../stream/plan.ts'
import { type DataType, typeName } from '../stream/schema.ts'
import type { ExpressionAst } from './ast.ts'
import {
  assignable,
  castable,
  commonType,
  exactLiteral,
  intervalMicros,
  isDateLike,
  isInteger,
  isNumber,
  nullLiteral,
  numberLiteral,
  textLiteral,
} from './coercion.ts'
import { foldConstants } from './fold.ts'
import { bindFunction, isAggregate, isScalar } from './functions.ts'
import type { Scope } from './scope.ts'
import { sqlError, unsupported } from './sql-error.ts'

/** Values for `$1`, `$2`, …: what `query` was given. */
export type Parameters = readonly unknown[]

/**
 * A bound expression. `unknown`: a literal whose type the context decides; until then its expression is
 * its text (or null) as varchar.
 */
export interface Bound {
  readonly expression: Expression
  readonly unknown: boolean
  readonly position: number
}

/** Takes the aggregate calls of a select list or HAVING; gives what stands for the call. */
export interface AggregateSink {
  bindAggregate(call: Extract<ExpressionAst, { kind: 'function' }>): Expression
}

const COMPARISONS: Readonly<Record<string, ScalarFunction>> = {
  '=': 'equal',
  '<>': 'not_equal',
  '!=': 'not_equal',
  '<': 'less',
  '<=': 'less_equal',
  '>': 'greater',
  '>=': 'greater_equal',
  is_distinct: 'is_distinct',
  is_not_distinct: 'is_not_distinct',
}
const ARITHMETIC: Readonly<Record<string, ScalarFunction>> = {
  '+': 'add',
  '-': 'subtract',
  '*': 'multiply',
  '/': 'divide',
  '%': 'modulo',
}

/** The clause of an aggregate's argument. */
export const IN_AGGREGATE = 'the argument of an aggregate'

/** Where each column expression stood, for errors that are found later (grouping). */
export const positionsOfColumns = new WeakMap<Expression, number>()

export class ExpressionBinder {
  private readonly scope: Scope
  private readonly parameters: Parameters
  /** Null where aggregates must not stand; `clause` then says where that is. */
  private readonly aggregates: AggregateSink | null
  private readonly clause: string

  constructor(options: {
    readonly scope: Scope
    readonly parameters: Parameters
    readonly clause: string
    readonly aggregates?: AggregateSink | null
  }) {
    this.scope = options.scope
    this.parameters = options.parameters
    this.clause = options.clause
    this.aggregates = options.aggregates ?? null
  }

  /** A condition: boolean, or an error 42804. */
  condition(ast: ExpressionAst): Expression {
    return this.boolean(ast, this.clause)
  }

  /** An expression with its final type; an unknown literal is text. */
  typed(ast: ExpressionAst): Expression {
    return this.bind(ast).expression
  }

  bind(ast: ExpressionAst): Bound {
    const { position } = ast
    switch (ast.kind) {
      case 'column':
        return bound(this.column(ast), position)
      case 'star':
        throw sqlError('42601', '"*" is only for a select list and count(*)', position)
      case 'number':
        return bound(numberLiteral(ast.text, position), position)
      case 'string':
        return unknown(ast.value, position)
      case 'boolean':
        return bound({ kind: 'literal', type: 'boolean', value: ast.value, scale: 0 }, position)
      case 'null':
        return unknown(null, position)
      case 'parameter':
        return this.parameter(ast.index, position)
      case 'default':
        throw sqlError('42601', 'DEFAULT is not allowed here', position)
      case 'operator':
        return bound(this.operator(ast.name, ast.args, position), position)
      case 'logic': {
        const args = ast.args.map((arg) => this.boolean(arg, ast.name.toUpperCase()))
        return bound({ kind: 'call', name: ast.name, args, type: 'boolean' }, position)
      }
      case 'test':
        return bound(this.test(ast), position)
      case 'in':
        return bound(this.inList(ast), position)
      case 'between': {
        const low = this.compare('greater_equal', ast.argument, ast.low, position)
        const high = this.compare('less_equal', ast.argument, ast.high, position)
        return bound(negateIf(ast.negated, both('and', low, high)), position)
      }
      case 'like':
        return bound(this.like(ast), position)
      case 'case':
        return bound(this.caseOf(ast), position)
      case 'cast':
        return bound(this.cast(ast), position)
      case 'function':
        return bound(this.call(ast), position)
    }
  }

  private column({
    path,
    index,
    position,
  }: Extract<ExpressionAst, { kind: 'column' }>): Expression {
    const starred = this.scope.columns.find((candidate) => candidate.index === index)
    const column = starred ?? this.scope.resolve(path, position)
    const expression = { kind: 'column', index: column.index, type: column.type } as const
    positionsOfColumns.set(expression, position)
    return expression
  }

  private parameter(index: number, position: number): Bound {
    if (index < 1 || index > this.parameters.length) {
      const hint = `${this.parameters.length} were given`
      throw sqlError('42P02', `there is no parameter $${index}`, position, hint)
    }
    const value = this.parameters[index - 1]
    if (value === null || value === undefined) return unknown(null, position)
    switch (typeof value) {
      case 'string':
        return unknown(value, position)
      case 'boolean':
        return bound({ kind: 'literal', type: 'boolean', value, scale: 0 }, position)
      case 'bigint':
        return bound(numberLiteral(value.toString(), position), position)
      case 'number': {
        if (Number.isSafeInteger(value))
          return bound(numberLiteral(String(value), position), position)
        return bound({ kind: 'literal', type: 'double', value, scale: 0 }, position)
      }
      default:
        if (value instanceof Date && !Number.isNaN(value.getTime())) {
          return unknown(value.toISOString(), position)
        }
        throw sqlError('42P02', `parameter $${index} has a type that SQL does not know`, position)
    }
  }

  private boolean(ast: ExpressionAst, where: string): Expression {
    const value = this.bind(ast)
    if (!value.unknown && value.expression.type !== 'boolean') {
      const found = typeName(value.expression.type)
      const message = `argument of ${where} must be type boolean, not type ${found}`
      throw sqlError('42804', message, ast.position)
    }
    return coerce(value, 'boolean')
  }

  private operator(name: string, args: readonly ExpressionAst[], position: number): Expression {
    if (args.length === 1) return this.prefix(name, this.bind(args[0]), position)
    const comparison = COMPARISONS[name]
    if (comparison !== undefined) return this.compare(comparison, args[0], args[1], position)
    const left = this.bind(args[0])
    const right = this.bind(args[1])
    if (name === '||') {
      const operands = [left, right].map((side) => asText(side))
      return { kind: 'call', name: 'concat', args: operands, type: 'varchar' }
    }
    const call = ARITHMETIC[name]
    const result = call === undefined ? null : arithmetic(call, left, right)
    if (result !== null) return result
    throw noOperator(name, [left, right], position)
  }

  private prefix(name: string, argument: Bound, position: number): Expression {
    const value = argument.unknown ? coerce(argument, 'double') : argument.expression
    if (isNumber(value.type) || value.type === 'interval') {
      if (name === '+') return value
      if (name === '-') return { kind: 'call', name: 'negate', args: [value], type: value.type }
    }
    throw noOperator(name, [argument], position)
  }

  private compare(
    name: ScalarFunction,
    left: ExpressionAst,
    right: ExpressionAst,
    position: number,
  ): Expression {
    const operands = unify([this.bind(left), this.bind(right)])
    if (operands === null) {
      const symbol = Object.keys(COMPARISONS).find((key) => COMPARISONS[key] === name) ?? name
      throw noOperator(symbol, [this.bind(left), this.bind(right)], position)
    }
    return { kind: 'call', name, args: operands, type: 'boolean' }
  }

  private test(ast: Extract<ExpressionAst, { kind: 'test' }>): Expression {
    const call = (name: ScalarFunction, argument: Expression): Expression => ({
      kind: 'call',
      name,
      args: [argument],
      type: 'boolean',
    })
    if (ast.test === 'null' || ast.test === 'unknown') {
      const argument =
        ast.test === 'null' ? this.typed(ast.argument) : this.boolean(ast.argument, 'IS UNKNOWN')
      return call(ast.negated ? 'is_not_null' : 'is_null', argument)
    }
    const name = ast.test === 'true' ? 'is_true' : 'is_false'
    return negateIf(ast.negated, call(name, this.boolean(ast.argument, 'IS')))
  }

  private inList(ast: Extract<ExpressionAst, { kind: 'in' }>): Expression {
    const values = [ast.argument, ...ast.items].map((item) => this.bind(item))
    const operands = unify(values)
    if (operands === null) throw noOperator('=', values, ast.position)
    const argument = operands[0]
    const items = operands.slice(1).map(foldConstants)
    if (items.every((item) => item.kind === 'literal')) {
      const args = [argument, ...items]
      return negateIf(ast.negated, { kind: 'call', name: 'in', args, type: 'boolean' })
    }
    const tests = items.map(
      (item): Expression => ({
        kind: 'call',
        name: 'equal',
        args: [argument, item],
        type: 'boolean',
      }),
    )
    return negateIf(
      ast.negated,
      tests.reduce((left, right) => both('or', left, right)),
    )
  }

  private like(ast: Extract<ExpressionAst, { kind: 'like' }>): Expression {
    const argument = this.bind(ast.argument)
    const pattern = this.bind(ast.pattern)
    if (!isText(argument) || !isText(pattern))
      throw noOperator('LIKE', [argument, pattern], ast.position)
    if (pattern.expression.kind !== 'literal') {
      throw unsupported('a LIKE pattern that is not a constant is', ast.pattern.position)
    }
    const args = [argument.expression, pattern.expression]
    return negateIf(ast.negated, { kind: 'call', name: 'like', args, type: 'boolean' })
  }

  private caseOf(ast: Extract<ExpressionAst, { kind: 'case' }>): Expression {
    const { operand } = ast
    const results = ast.branches.map((branch) => this.bind(branch.result))
    if (ast.otherwise !== null) results.push(this.bind(ast.otherwise))
    const values = unify(results)
    if (values === null) throw mismatch('CASE', results)
    const branches = ast.branches.map(({ when }, index) => ({
      when:
        operand === null
          ? this.boolean(when, 'CASE/WHEN')
          : this.compare('equal', operand, when, when.position),
      // biome-ignore lint/suspicious/noThenProperty: the plan calls it so, and it is never awaited.
      then: values[index],
    }))
    const otherwise = ast.otherwise === null ? null : values[values.length - 1]
    return { kind: 'case', branches, otherwise, type: values[0].type }
  }

  private cast(ast: Extract<ExpressionAst, { kind: 'cast' }>): Expression {
    const { type, intervalUnit } = ast.type
    const argument = this.bind(ast.argument)
    const literal = argument.expression
    if (argument.unknown) {
      if (type === 'interval' && literal.kind === 'literal' && typeof literal.value === 'string') {
        return exactLiteral(type, BigInt(intervalMicros(literal.value, intervalUnit, ast.position)))
      }
      return coerce(argument, type)
    }
    if (!castable(literal.type, type)) {
      const message = `cannot cast type ${typeName(literal.type)} to ${typeName(type)}`
      throw sqlError('42846', message, ast.position)
    }
    return castTo(literal, type)
  }

  private call(ast: Extract<ExpressionAst, { kind: 'function' }>): Expression {
    if (isAggregate(ast.name)) {
      if (this.aggregates !== null) return this.aggregates.bindAggregate(ast)
      const message =
        this.clause === IN_AGGREGATE
          ? 'aggregate function calls cannot be nested'
          : `aggregate functions are not allowed in ${this.clause}`
      throw sqlError('42803', message, ast.position)
    }
    if (isScalar(ast.name) && (ast.star || ast.distinct || ast.filter !== null)) {
      throw sqlError('42809', `${ast.name} is not an aggregate function`, ast.position)
    }
    return bindFunction(
      ast.name,
      ast.args.map((arg) => this.bind(arg)),
      ast.position,
    )
  }
}

function bound(expression: Expression, position: number): Bound {
  return { expression, unknown: false, position }
}

function unknown(value: string | null, position: number): Bound {
  return {
    expression: { kind: 'literal', type: 'varchar', value, scale: 0 },
    unknown: true,
    position,
  }
}

const isText = (value: Bound): boolean => value.unknown || value.expression.type === 'varchar'

function asText(value: Bound): Expression {
  return isText(value) ? value.expression : castTo(value.expression, 'varchar')
}

/** A value of `type` from an unknown literal or a value that converts by itself. */
export function coerce(value: Bound, type: DataType): Expression {
  const { expression } = value
  if (!value.unknown || expression.kind !== 'literal') return castTo(expression, type)
  return expression.value === null
    ? nullLiteral(type)
    : textLiteral(type, String(expression.value), value.position)
}

/** As `coerce`, for a value stored into a column. @throws 42804 */
export function coerceForColumn(value: Bound, type: DataType, column: string): Expression {
  if (!value.unknown && !assignable(value.expression.type, type)) {
    const found = typeName(value.expression.type)
    const message = `column "${column}" is of type ${typeName(type)} but expression is of type ${found}`
    throw sqlError('42804', message, value.position, 'write a CAST')
  }
  return coerce(value, type)
}

/** A cast; conversions of number literals that lose nothing are done at once. */
export function castTo(expression: Expression, type: DataType): Expression {
  if (expression.type === type) return expression
  if (expression.kind === 'literal' && isInteger(expression.type)) {
    if (expression.value === null) return nullLiteral(type)
    if (type === 'bigint' || type === 'numeric') return { ...expression, type }
    if (type === 'double') return { ...expression, type, value: Number(expression.value) }
  }
  if (expression.kind === 'literal' && expression.type === 'numeric' && type === 'double') {
    const { value, scale } = expression
    return {
      ...expression,
      type,
      scale: 0,
      value: value === null ? null : Number(`${value}e-${scale}`),
    }
  }
  return { kind: 'cast', argument: expression, type }
}

/** All values in one type; null when there is none. Only unknown ones: text. */
export function unify(values: readonly Bound[]): Expression[] | null {
  let type: DataType | null = null
  for (const value of values) {
    if (value.unknown) continue
    type = type === null ? value.expression.type : commonType(type, value.expression.type)
    if (type === null) return null
  }
  const common = type ?? 'varchar'
  return values.map((value) => coerce(value, common))
}

function arithmetic(name: ScalarFunction, left: Bound, right: Bound): Expression | null {
  const call = (args: Expression[], type: DataType): Expression => ({
    kind: 'call',
    name,
    args,
    type,
  })
  const [a, b] = operandTypes(name, left, right)
  const type = commonType(a, b)
  if (type !== null && isNumber(type)) {
    if (name === 'modulo' && (type === 'real' || type === 'double')) return null
    return call([coerce(left, type), coerce(right, type)], type)
  }
  return temporal(name, coerce(left, a), coerce(right, b))
}

/** An unknown literal takes the other side's type; added to a point in time it is an interval. */
function operandTypes(name: ScalarFunction, left: Bound, right: Bound): [DataType, DataType] {
  const other = (type: DataType): DataType =>
    name === 'add' && isDateLike(type) ? 'interval' : type
  const a = left.expression.type
  const b = right.expression.type
  if (left.unknown && right.unknown) return ['varchar', 'varchar']
  return [left.unknown ? other(b) : a, right.unknown ? other(a) : b]
}

function temporal(name: ScalarFunction, left: Expression, right: Expression): Expression | null {
  const [a, b] = [left.type, right.type]
  const call = (args: Expression[], type: DataType): Expression => ({
    kind: 'call',
    name,
    args,
    type,
  })
  if (name === 'add' && isDateLike(b) && !isDateLike(a)) return temporal(name, right, left)
  if (name !== 'add' && name !== 'subtract') {
    if (name === 'multiply' && isNumber(a) && b === 'interval') return temporal(name, right, left)
    const scales = (name === 'multiply' || name === 'divide') && a === 'interval' && isNumber(b)
    return scales ? call([left, castTo(right, 'double')], 'interval') : null
  }
  if (a === 'interval' && b === 'interval') return call([left, right], 'interval')
  if (!isDateLike(a)) return null
  if (a === 'date' && isInteger(b)) return call([left, castTo(right, 'integer')], 'date')
  if (b === 'interval') {
    const point = a === 'date' ? castTo(left, 'timestamp') : left
    return call([point, right], point.type)
  }
  if (name === 'add') return null
  if (a === 'date' && b === 'date') return call([left, right], 'integer')
  const type = commonType(a, b)
  return type === null ? null : call([castTo(left, type), castTo(right, type)], 'interval')
}

export function both(name: 'and' | 'or', left: Expression, right: Expression): Expression {
  return { kind: 'call', name, args: [left, right], type: 'boolean' }
}

function negateIf(negated: boolean, expression: Expression): Expression {
  if (!negated) return expression
  return { kind: 'call', name: 'not', args: [expression], type: 'boolean' }
}

function boundTypeName(value: Bound): string {
  return value.unknown ? 'unknown' : typeName(value.expression.type)
}

function noOperator(name: string, args: readonly Bound[], position: number): Error {
  const types = args.map(boundTypeName)
  const text = types.length === 1 ? `${name} ${types[0]}` : `${types[0]} ${name} ${types[1]}`
  const hint = 'no operator has these argument types; a CAST may help'
  return sqlError('42883', `operator does not exist: ${text}`, position, hint)
}

export function mismatch(what: string, values: readonly Bound[]): Error {
  const known = values.filter((value) => !value.unknown)
  const other = known.find(
    (value) => commonType(known[0].expression.type, value.expression.type) === null,
  )
  const types = `${boundTypeName(known[0])} and ${boundTypeName(other ?? known[0])}`
  const position = (other ?? known[0]).position
  return sqlError('42804', `${what} types ${types} cannot be matched`, position)
}
