/**
 * A naive evaluator of expressions, row by row on bigints and JavaScript values, written from
 * PostgreSQL's manual and sharing no code with the compiler. Exact values are `{ value, scale }`.
 */
import type { Expression } from '../../src/stream/plan.ts'
import type { DataType } from '../../src/stream/schema.ts'
import type { Plain } from './arbitrary-columns.ts'

export interface Exact {
  readonly value: bigint
  readonly scale: number
}
export type Datum = Exact | number | string | boolean | null

export class OracleError extends Error {
  readonly sqlState: string
  constructor(sqlState: string) {
    super(`SQLSTATE ${sqlState}`)
    this.sqlState = sqlState
  }
}

const RANGE: Partial<Record<DataType, bigint>> = {
  smallint: 2n ** 15n,
  integer: 2n ** 31n,
  bigint: 2n ** 63n,
  timestamp: 2n ** 63n,
  interval: 2n ** 63n,
}

export function datumOf(type: DataType, plain: Plain, scale: number): Datum {
  if (plain === null) return null
  if (typeof plain !== 'bigint') return plain
  if (type === 'boolean') return plain === 1n
  return { value: plain, scale }
}

function isExactDatum(datum: Datum): datum is Exact {
  return typeof datum === 'object' && datum !== null
}

function exact(datum: Datum): Exact {
  if (!isExactDatum(datum)) throw new Error('the oracle expected an exact value')
  return datum
}

function numberOf(datum: Datum): number {
  if (typeof datum === 'number') return datum
  const { value, scale } = exact(datum)
  return Number(decimal(value, scale))
}

function decimal(value: bigint, scale: number): string {
  return `${value}e-${scale}`
}

function checked(type: DataType, datum: Exact): Exact {
  const limit = RANGE[type]
  if (limit !== undefined && (datum.value >= limit || datum.value < -limit)) {
    throw new OracleError(type === 'timestamp' ? '22008' : '22003')
  }
  if (type === 'timestamp' && datum.value < -210866803200000000n) throw new OracleError('22008')
  return datum
}

function finite(result: number, a: number, b: number): number {
  if (!Number.isFinite(result) && Number.isFinite(a) && Number.isFinite(b)) {
    throw new OracleError('22003')
  }
  return result + 0
}

function align(a: Exact, b: Exact): [bigint, bigint, number] {
  const scale = Math.max(a.scale, b.scale)
  return [a.value * 10n ** BigInt(scale - a.scale), b.value * 10n ** BigInt(scale - b.scale), scale]
}

export function compareDatum(a: Datum, b: Datum): number {
  if (isExactDatum(a) && isExactDatum(b)) {
    const [x, y] = align(a, b)
    return x < y ? -1 : x > y ? 1 : 0
  }
  if (typeof a === 'string' && typeof b === 'string') {
    return Buffer.compare(Buffer.from(a), Buffer.from(b))
  }
  const [x, y] = [Number(a), Number(b)]
  if (Number.isNaN(x) || Number.isNaN(y)) return Number(Number.isNaN(x)) - Number(Number.isNaN(y))
  return x < y ? -1 : x > y ? 1 : 0
}

function roundTo(value: bigint, from: number, to: number): bigint {
  if (to >= from) return value * 10n ** BigInt(to - from)
  const divisor = 10n ** BigInt(from - to)
  const magnitude = value < 0n ? -value : value
  const rounded = (magnitude * 2n + divisor) / (divisor * 2n)
  return value < 0n ? -rounded : rounded
}

function floorDivide(a: bigint, b: bigint): bigint {
  return a / b - (a % b < 0n ? 1n : 0n)
}

function arithmetic(name: string, type: DataType, a: Datum, b: Datum): Datum {
  if (type === 'double') {
    const [x, y] = [numberOf(a), numberOf(b)]
    if (name === 'add') return finite(x + y, x, y)
    if (name === 'subtract') return finite(x - y, x, y)
    if (name === 'divide') {
      if (y === 0) throw new OracleError('22012')
      if (x / y === 0 && x !== 0 && Number.isFinite(y)) throw new OracleError('22003')
      return finite(x / y, x, y)
    }
    if (x * y === 0 && x !== 0 && y !== 0) throw new OracleError('22003')
    return finite(x * y, x, y)
  }
  const [x, y, scale] = align(exact(a), exact(b))
  switch (name) {
    case 'add':
      return checked(type, { value: x + y, scale })
    case 'subtract':
      return checked(type, { value: x - y, scale })
    case 'multiply':
      return checked(type, {
        value: exact(a).value * exact(b).value,
        scale: exact(a).scale + exact(b).scale,
      })
    case 'divide':
      if (y === 0n) throw new OracleError('22012')
      return checked(type, { value: x / y, scale: 0 })
    default:
      if (y === 0n) throw new OracleError('22012')
      return { value: x % y, scale }
  }
}

function castDatum(datum: Datum, from: DataType, to: DataType): Datum {
  if (datum === null || from === to) return datum
  if (to === 'double') return numberOf(datum)
  if (to === 'varchar') {
    if (typeof datum === 'boolean') return datum ? 'true' : 'false'
    const { value, scale } = exact(datum)
    if (scale === 0) return value.toString()
    const digits = (value < 0n ? -value : value).toString().padStart(scale + 1, '0')
    return `${value < 0n ? '-' : ''}${digits.slice(0, -scale)}.${digits.slice(-scale)}`
  }
  if (typeof datum === 'number') {
    const floor = Math.floor(datum)
    const half = datum - floor === 0.5
    const rounded = half ? floor + Math.abs(floor % 2) : Math.round(datum)
    if (!Number.isFinite(rounded)) throw new OracleError('22003')
    return checked(to, { value: BigInt(rounded), scale: 0 })
  }
  if (typeof datum === 'boolean') return { value: datum ? 1n : 0n, scale: 0 }
  const { value, scale } = exact(datum)
  if (to === 'numeric') return datum
  return checked(to, { value: roundTo(value, scale, 0), scale: 0 })
}

function logic(and: boolean, args: readonly Expression[], row: readonly Datum[]): Datum {
  let result: Datum = and
  for (const argument of args) {
    const value = evaluate(argument, row)
    if (value === !and) return !and
    if (value === null) result = null
  }
  return result
}

function inList(args: readonly Datum[]): Datum {
  const [value, ...items] = args
  if (value === null) return null
  if (items.some((item) => item !== null && compareDatum(value, item) === 0)) return true
  return items.includes(null) ? null : false
}

export function evaluate(expression: Expression, row: readonly Datum[]): Datum {
  switch (expression.kind) {
    case 'column':
      return row[expression.index]
    case 'literal': {
      const { type, value, scale } = expression
      if (value === null || typeof value === 'boolean') return value
      if (type === 'varchar') return String(value)
      return type === 'double' ? Number(value) : { value: BigInt(value), scale }
    }
    case 'cast':
      return castDatum(
        evaluate(expression.argument, row),
        expression.argument.type,
        expression.type,
      )
    case 'case': {
      const taken = expression.branches.find((branch) => evaluate(branch.when, row) === true)
      const result = taken === undefined ? expression.otherwise : taken.then
      return result === null ? null : castDatum(evaluate(result, row), result.type, expression.type)
    }
    default:
      return evaluateCall(expression, row)
  }
}

function evaluateCall(call: Extract<Expression, { kind: 'call' }>, row: readonly Datum[]): Datum {
  const { name, args, type } = call
  if (name === 'and' || name === 'or') return logic(name === 'and', args, row)
  if (name === 'coalesce') {
    for (const argument of args) {
      const value = evaluate(argument, row)
      if (value !== null) return value
    }
    return null
  }
  const values = args.map((argument) => evaluate(argument, row))
  const [a, b] = values
  switch (name) {
    case 'is_null':
      return a === null
    case 'is_not_null':
      return a !== null
    case 'is_true':
      return a === true
    case 'is_false':
      return a === false
    case 'in':
      return inList(values)
    case 'is_distinct':
    case 'is_not_distinct': {
      const same = a === null || b === null ? a === b : compareDatum(a, b) === 0
      return same === (name === 'is_not_distinct')
    }
    case 'nullif':
      return a !== null && b !== null && compareDatum(a, b) === 0 ? null : a
    case 'greatest':
    case 'least': {
      const sign = name === 'greatest' ? 1 : -1
      const given = values.filter((value) => value !== null)
      return given.reduce<Datum>(
        (best, value) => (best === null || sign * compareDatum(value, best) > 0 ? value : best),
        null,
      )
    }
    default:
      return values.includes(null) ? null : strictCall(name, type, values)
  }
}

function strictCall(name: string, type: DataType, values: readonly Datum[]): Datum {
  const [a, b, c] = values
  switch (name) {
    case 'equal':
      return compareDatum(a, b) === 0
    case 'not_equal':
      return compareDatum(a, b) !== 0
    case 'less':
      return compareDatum(a, b) < 0
    case 'less_equal':
      return compareDatum(a, b) <= 0
    case 'greater':
      return compareDatum(a, b) > 0
    case 'greater_equal':
      return compareDatum(a, b) >= 0
    case 'not':
      return !a
    case 'negate':
      if (typeof a === 'number') return 0 - a
      return checked(type, { value: -exact(a).value, scale: exact(a).scale })
    case 'abs': {
      if (typeof a === 'number') return Math.abs(a)
      const { value, scale } = exact(a)
      return checked(type, { value: value < 0n ? -value : value, scale })
    }
    case 'round':
    case 'floor':
    case 'ceil': {
      if (typeof a === 'number') return roundDouble(name, a)
      const { value, scale } = exact(a)
      const digits = b === undefined ? 0 : Number(exact(b).value)
      if (name === 'round') {
        if (digits >= 0) return { value: roundTo(value, scale, digits), scale: digits }
        return { value: roundTo(value, scale, digits) * 10n ** BigInt(-digits), scale: 0 }
      }
      const floor = floorDivide(value, 10n ** BigInt(scale))
      const up = name === 'ceil' && floor * 10n ** BigInt(scale) !== value
      return { value: up ? floor + 1n : floor, scale: 0 }
    }
    case 'lower':
      return String(a).toLowerCase()
    case 'upper':
      return String(a).toUpperCase()
    case 'length':
      return { value: BigInt([...String(a)].length), scale: 0 }
    case 'concat':
      return values.join('')
    case 'substring':
      return substring(String(a), exact(b), c)
    case 'like':
      return like(String(a), String(b))
    case 'tumble_start': {
      const [time, size] = [exact(a).value, exact(b).value]
      return checked(type, { value: floorDivide(time, size) * size, scale: 0 })
    }
    default:
      return arithmetic(name, type, a, b)
  }
}

function roundDouble(name: string, value: number): number {
  if (name === 'floor') return Math.floor(value) + 0
  if (name === 'ceil') return Math.ceil(value) + 0
  const floor = Math.floor(value)
  if (value - floor === 0.5) return floor + Math.abs(floor % 2)
  return Math.abs(value) >= 2 ** 52 ? value : Math.round(value) + 0
}

function substring(text: string, from: Exact, count: Datum | undefined): string {
  const first = Number(from.value)
  const characters = [...text]
  if (count === undefined) return characters.slice(Math.max(first - 1, 0)).join('')
  const shown = Number(exact(count).value)
  if (shown < 0) throw new OracleError('22011')
  return characters.filter((_, i) => i + 1 >= first && i + 1 < first + shown).join('')
}

function like(text: string, pattern: string): boolean {
  let source = ''
  const characters = [...pattern]
  for (let i = 0; i < characters.length; i++) {
    let character = characters[i]
    if (character === '%') source += '[^]*'
    else if (character === '_') source += '[^]'
    else {
      if (character === '\\') character = characters[++i]
      source += character.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')
    }
  }
  return new RegExp(`^${source}$`, 'u').test(text)
}
