/** The built-in functions as SQL names them: which arguments they take and what they give. */
import { didYouMean } from '../common/did-you-mean.ts'
import type { AggregateFunction, Expression, ScalarFunction } from '../stream/plan.ts'
import { type DataType, typeName } from '../stream/schema.ts'
import { type Bound, castTo, coerce, mismatch, unify } from './binder.ts'
import { isDateLike, isInteger, isNumber } from './coercion.ts'
import { sqlError, unsupported } from './sql-error.ts'

const AGGREGATES = ['count', 'sum', 'min', 'max', 'avg']
/** PostgreSQL has them; known so that the error says "not yet" and not "no such function". */
const LATER_AGGREGATES = [
  'array_agg',
  'bool_and',
  'bool_or',
  'every',
  'string_agg',
  'stddev',
  'variance',
  'var_pop',
  'stddev_pop',
]

export function isAggregate(name: string): boolean {
  return AGGREGATES.includes(name) || LATER_AGGREGATES.includes(name)
}

/** Result type of an aggregate; null when it does not take the argument. */
export function aggregateType(name: AggregateFunction, argument: DataType | null): DataType | null {
  switch (name) {
    case 'count_star':
    case 'count':
      return 'bigint'
    case 'min':
    case 'max':
      return argument === 'boolean' ? null : argument
    case 'sum':
      if (argument === 'smallint' || argument === 'integer') return 'bigint'
      if (argument === 'bigint') return 'numeric'
      return argument !== null && isNumber(argument) ? argument : null
    case 'avg':
      if (argument === null || !isNumber(argument)) return null
      return argument === 'real' || argument === 'double' ? 'double' : 'numeric'
  }
}

/** @throws 0A000, 42883 */
export function aggregateName(name: string, star: boolean, position: number): AggregateFunction {
  if (name === 'count') return star ? 'count_star' : 'count'
  if (star) throw sqlError('42883', `function ${name}(*) does not exist`, position)
  if (name === 'sum' || name === 'min' || name === 'max' || name === 'avg') return name
  throw unsupported(`the aggregate ${name} is`, position, `use ${AGGREGATES.join(', ')}`)
}

type Binding = (args: readonly Bound[], name: string, position: number) => Expression | null

const DATE_UNITS = [
  'microseconds',
  'milliseconds',
  'second',
  'minute',
  'hour',
  'day',
  'week',
  'month',
  'quarter',
  'year',
]
const EXTRACT_UNITS = [...DATE_UNITS, 'dow', 'isodow', 'doy', 'epoch']

function call(name: ScalarFunction, args: readonly Expression[], type: DataType): Expression {
  return { kind: 'call', name, args, type }
}

/** Arguments as these types, by implicit conversion only; null when they do not fit. */
function take(args: readonly Bound[], ...types: readonly DataType[]): Expression[] | null {
  if (args.length !== types.length) return null
  const taken: Expression[] = []
  for (let i = 0; i < args.length; i++) {
    const { expression, unknown } = args[i]
    const from = expression.type
    const fits =
      from === types[i] || (isInteger(from) && isNumber(types[i]) && !tooWide(from, types[i]))
    if (!unknown && !fits) return null
    taken.push(coerce(args[i], types[i]))
  }
  return taken
}

const tooWide = (from: DataType, to: DataType): boolean =>
  (from === 'bigint' && to === 'integer') || (from !== 'smallint' && to === 'smallint')

const text =
  (name: ScalarFunction, type: DataType): Binding =>
  (args) => {
    const taken = take(args, 'varchar')
    return taken === null ? null : call(name, taken, type)
  }

/** round, floor, ceil: numeric stays numeric, everything else is double, as in PostgreSQL. */
const rounding =
  (name: ScalarFunction): Binding =>
  (args) => {
    const type = args[0]?.unknown ? 'double' : args[0]?.expression.type
    if (type === undefined || !isNumber(type)) return null
    if (args.length === 2 && name === 'round') {
      const taken = [castTo(coerce(args[0], type), 'numeric'), take([args[1]], 'integer')?.[0]]
      const [value, digits] = taken
      if (value === undefined || digits === undefined || type === 'double' || type === 'real')
        return null
      return call(name, [value, digits], 'numeric')
    }
    if (args.length !== 1) return null
    const result = type === 'numeric' ? 'numeric' : 'double'
    return call(name, [castTo(coerce(args[0], type), result)], result)
  }

const common =
  (name: ScalarFunction): Binding =>
  (args, shown) => {
    if (args.length === 0) return null
    const values = unify(args)
    if (values === null) throw mismatch(shown.toUpperCase(), args)
    return call(name, values, values[0].type)
  }

function unitOf(unit: Bound, units: readonly string[], position: number): Expression {
  const { expression } = unit
  if (expression.kind !== 'literal' || typeof expression.value !== 'string') {
    throw unsupported('a unit that is not a constant is', position)
  }
  const word = expression.value.toLowerCase()
  const value = units.find((known) => known === word || `${known}s` === word)
  if (value === undefined) {
    const hint = `use ${units.join(', ')}`
    throw unsupported(`the unit "${expression.value}" is`, unit.position, hint)
  }
  return { kind: 'literal', type: 'varchar', value, scale: 0 }
}

const extract =
  (type: DataType): Binding =>
  (args, _name, position) => {
    if (args.length !== 2) return null
    const point = args[1].unknown ? coerce(args[1], 'timestamp') : args[1].expression
    if (!isDateLike(point.type)) return null
    const unit = unitOf(args[0], EXTRACT_UNITS, position)
    return castTo(call('extract', [unit, point], 'numeric'), type)
  }

const SCALARS: Readonly<Record<string, Binding>> = {
  abs: (args) => {
    if (args.length !== 1) return null
    const value = args[0].unknown ? coerce(args[0], 'double') : args[0].expression
    return isNumber(value.type) ? call('abs', [value], value.type) : null
  },
  round: rounding('round'),
  floor: rounding('floor'),
  ceil: rounding('ceil'),
  ceiling: rounding('ceil'),
  mod: (args) => {
    const values = args.length === 2 ? unify(args) : null
    if (values === null || !isNumber(values[0].type)) return null
    if (values[0].type === 'real' || values[0].type === 'double') return null
    return call('modulo', values, values[0].type)
  },
  lower: text('lower', 'varchar'),
  upper: text('upper', 'varchar'),
  length: text('length', 'integer'),
  char_length: text('length', 'integer'),
  character_length: text('length', 'integer'),
  // concat() leaves nulls out, unlike ||.
  concat: (args) => {
    if (args.length === 0) return null
    const empty: Expression = { kind: 'literal', type: 'varchar', value: '', scale: 0 }
    return call(
      'concat',
      args.map((arg) => {
        const value = arg.unknown ? arg.expression : castTo(arg.expression, 'varchar')
        return call('coalesce', [value, empty], 'varchar')
      }),
      'varchar',
    )
  },
  substring: substring,
  substr: substring,
  coalesce: common('coalesce'),
  greatest: common('greatest'),
  least: common('least'),
  nullif: (args) => {
    if (args.length !== 2) return null
    const values = unify(args)
    return values === null ? null : call('nullif', values, values[0].type)
  },
  date_trunc: (args, _name, position) => {
    if (args.length !== 2) return null
    const given = args[1].unknown ? coerce(args[1], 'timestamp') : args[1].expression
    if (!isDateLike(given.type)) return null
    // PostgreSQL takes a date as timestamp with time zone; the session's zone is UTC here.
    const point = given.type === 'date' ? castTo(given, 'timestamptz') : given
    return call('date_trunc', [unitOf(args[0], DATE_UNITS, position), point], point.type)
  },
  extract: extract('numeric'),
  date_part: extract('double'),
}

function substring(args: readonly Bound[]): Expression | null {
  const taken =
    args.length === 3
      ? take(args, 'varchar', 'integer', 'integer')
      : take(args, 'varchar', 'integer')
  return taken === null ? null : call('substring', taken, 'varchar')
}

export function isScalar(name: string): boolean {
  return Object.hasOwn(SCALARS, name)
}

/** @throws 42883 no such function, or none for these arguments */
export function bindFunction(name: string, args: readonly Bound[], position: number): Expression {
  const binding = Object.hasOwn(SCALARS, name) ? SCALARS[name] : undefined
  const types = args.map((arg) => (arg.unknown ? 'unknown' : typeName(arg.expression.type)))
  const message = `function ${name}(${types.join(', ')}) does not exist`
  if (binding === undefined) {
    const hint = didYouMean(name, [...Object.keys(SCALARS), ...AGGREGATES])
    throw sqlError('42883', message, position, hint)
  }
  const expression = binding(args, name, position)
  if (expression !== null) return expression
  throw sqlError(
    '42883',
    message,
    position,
    'no function has these argument types; a CAST may help',
  )
}
