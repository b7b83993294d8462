/**
 * PostgreSQL's rules of types: which convert by themselves, which meet in a common one, and how the
 * text of a literal becomes a value.
 */
import type { Expression } from '../stream/plan.ts'
import { type DataType, typeName } from '../stream/schema.ts'
import { sqlError } from './sql-error.ts'

/** The tower of numbers: each converts by itself to those after it. */
const NUMBERS: readonly DataType[] = ['smallint', 'integer', 'bigint', 'numeric', 'real', 'double']
const DATES: readonly DataType[] = ['date', 'timestamp', 'timestamptz']

export const isNumber = (type: DataType): boolean => NUMBERS.includes(type)
export const isInteger = (type: DataType): boolean =>
  type === 'smallint' || type === 'integer' || type === 'bigint'
export const isDateLike = (type: DataType): boolean => DATES.includes(type)

/** The type in which two operands meet; null when there is none. */
export function commonType(a: DataType, b: DataType): DataType | null {
  if (a === b) return a
  for (const tower of [NUMBERS, DATES]) {
    const x = tower.indexOf(a)
    const y = tower.indexOf(b)
    if (x >= 0 && y >= 0) {
      // numeric and real meet in double: real has too few digits.
      const met = tower[Math.max(x, y)]
      return met === 'real' && tower[Math.min(x, y)] !== 'real' ? 'double' : met
    }
  }
  return null
}

/** True where a value stored into a column of `to` is converted without a cast. */
export function assignable(from: DataType, to: DataType): boolean {
  return (
    from === to ||
    to === 'varchar' ||
    (isNumber(from) && isNumber(to)) ||
    (isDateLike(from) && isDateLike(to))
  )
}

/** True where CAST exists. */
export function castable(from: DataType, to: DataType): boolean {
  if (from === to || from === 'varchar' || to === 'varchar')
    return to !== 'bytea' || from === 'bytea' || from === 'varchar'
  if (isNumber(from) && isNumber(to)) return true
  if (isDateLike(from) && isDateLike(to)) return true
  if (from === 'boolean') return to === 'integer'
  if (to === 'boolean') return from === 'integer'
  if (to === 'time') return from === 'timestamp' || from === 'timestamptz' || from === 'interval'
  return from === 'time' && to === 'interval'
}

type Literal = Extract<Expression, { readonly kind: 'literal' }>

export function nullLiteral(type: DataType): Literal {
  return { kind: 'literal', type, value: null, scale: 0 }
}

/** An exact value: a number while it is a safe integer, else decimal text. */
export function exactLiteral(type: DataType, value: bigint, scale = 0): Literal {
  const safe = value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)
  return { kind: 'literal', type, value: safe ? Number(value) : value.toString(), scale }
}

const INTEGER_RANGES: Readonly<Record<string, bigint>> = {
  smallint: 2n ** 15n,
  integer: 2n ** 31n,
  bigint: 2n ** 63n,
}
const NUMERIC_TEXT = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/
const DOUBLE_TEXT = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/

/** A number as it stands in SQL: integer, bigint or numeric, the first that holds it. */
export function numberLiteral(text: string, position: number): Literal {
  const plain = text.replaceAll('_', '')
  if (/^-?\d+$/.test(plain)) {
    const value = BigInt(plain)
    for (const type of ['integer', 'bigint'] as const) {
      const limit = INTEGER_RANGES[type]
      if (value >= -limit && value < limit) return exactLiteral(type, value)
    }
    return exactLiteral('numeric', value)
  }
  if (/^0[xob]/i.test(plain)) return numberLiteral(BigInt(plain).toString(), position)
  return textLiteral('numeric', plain, position)
}

/** The text of a literal as a value of `type`. @throws 22P02, 22007 malformed; 22003 out of range */
export function textLiteral(type: DataType, text: string, position: number): Literal {
  const invalid = (): Error =>
    sqlError('22P02', `invalid input syntax for type ${typeName(type)}: "${text}"`, position)
  const trimmed = text.trim()
  switch (type) {
    case 'varchar':
      return { kind: 'literal', type, value: text, scale: 0 }
    case 'boolean': {
      const lower = trimmed.toLowerCase()
      if (
        lower !== '' &&
        ['true', 'yes', 'on', '1'].some((word) => word.startsWith(lower) && lower !== 'o')
      )
        return { kind: 'literal', type, value: true, scale: 0 }
      if (
        lower !== '' &&
        ['false', 'no', 'off', '0'].some((word) => word.startsWith(lower) && lower !== 'o')
      )
        return { kind: 'literal', type, value: false, scale: 0 }
      throw invalid()
    }
    case 'smallint':
    case 'integer':
    case 'bigint': {
      if (!/^[+-]?\d+$/.test(trimmed)) throw invalid()
      const value = BigInt(trimmed.replace('+', ''))
      const limit = INTEGER_RANGES[type]
      if (value >= limit || value < -limit) {
        throw sqlError('22003', `value "${text}" is out of range for type ${type}`, position)
      }
      return exactLiteral(type, value)
    }
    case 'real':
    case 'double': {
      const special = {
        nan: Number.NaN,
        infinity: Infinity,
        inf: Infinity,
        '-infinity': -Infinity,
      }[trimmed.toLowerCase()]
      if (special === undefined && !DOUBLE_TEXT.test(trimmed)) throw invalid()
      const value = special ?? Number(trimmed) + 0
      if (special === undefined && !Number.isFinite(type === 'real' ? Math.fround(value) : value)) {
        throw sqlError('22003', `"${text}" is out of range for type ${typeName(type)}`, position)
      }
      return {
        kind: 'literal',
        type,
        value: type === 'real' ? Math.fround(value) : value,
        scale: 0,
      }
    }
    case 'numeric': {
      const match = NUMERIC_TEXT.exec(trimmed)
      if (match === null || (match[2] === '' && (match[3] ?? '') === '')) throw invalid()
      const fraction = match[3] ?? ''
      const exponent = Number(match[4] ?? 0)
      if (Math.abs(exponent) > 1000)
        throw sqlError('22003', 'value overflows numeric format', position)
      let digits = BigInt(`${match[2]}${fraction}`)
      let scale = fraction.length - exponent
      if (scale < 0) {
        digits *= 10n ** BigInt(-scale)
        scale = 0
      }
      return exactLiteral(type, match[1] === '-' ? -digits : digits, scale)
    }
    case 'bytea': {
      if (/^\\x([0-9a-fA-F]{2})*$/.test(trimmed))
        return { kind: 'literal', type, value: trimmed.slice(2).toLowerCase(), scale: 0 }
      throw invalid()
    }
    case 'interval':
      return exactLiteral(type, BigInt(intervalMicros(trimmed, null, position)))
    default:
      return timeLiteral(type, trimmed, position)
  }
}

const DATE = /^(\d{4,6})-(\d{1,2})-(\d{1,2})/
const TIME = /^(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?/
const ZONE = /^\s*(?:(z|utc|gmt)|([+-])(\d{1,2})(?::?(\d{2}))?)$/i
const DAY_MICROS = 86_400_000_000n

/** Date, time and timestamps, in ISO form. */
function timeLiteral(type: DataType, text: string, position: number): Literal {
  const invalid = (): Error =>
    sqlError('22007', `invalid input syntax for type ${typeName(type)}: "${text}"`, position)
  let rest = text
  let days = 0n
  if (type !== 'time') {
    const match = DATE.exec(rest)
    if (match === null) throw invalid()
    days = BigInt(daysOf(Number(match[1]), Number(match[2]), Number(match[3])) ?? fail(invalid()))
    rest = rest.slice(match[0].length)
  }
  if (rest.startsWith('T') || rest.startsWith('t')) rest = rest.slice(1)
  rest = rest.trimStart()
  let micros = 0n
  const time = TIME.exec(rest)
  if (time !== null) {
    const [hour, minute, second] = [Number(time[1]), Number(time[2]), Number(time[3] ?? 0)]
    const fraction = Math.round(Number(`0.${time[4] ?? '0'}`) * 1e6)
    if (hour > 24 || minute > 59 || second > 60 || (hour === 24 && minute + second + fraction > 0))
      throw invalid()
    micros = BigInt(((hour * 60 + minute) * 60 + second) * 1_000_000 + fraction)
    rest = rest.slice(time[0].length)
  } else if (type === 'time') throw invalid()
  if (rest !== '') {
    const zone = ZONE.exec(rest)
    if (zone === null || time === null) throw invalid()
    // A timestamp without time zone ignores the zone, as in PostgreSQL.
    if (type === 'timestamptz' && zone[2] !== undefined) {
      const minutes = BigInt(Number(zone[3]) * 60 + Number(zone[4] ?? 0))
      micros -= (zone[2] === '-' ? -minutes : minutes) * 60_000_000n
    }
  }
  if (type === 'date') return exactLiteral(type, days)
  return exactLiteral(type, days * DAY_MICROS + micros)
}

/** Days since 1970-01-01; null for a date that does not exist. */
function daysOf(year: number, month: number, day: number): number | null {
  const date = new Date(0)
  date.setUTCFullYear(year, month - 1, day)
  const exists = date.getUTCMonth() === month - 1 && date.getUTCDate() === day
  return exists ? date.getTime() / 86_400_000 : null
}

function fail(error: Error): never {
  throw error
}

const UNIT_MICROS: Readonly<Record<string, number>> = {
  microsecond: 1,
  us: 1,
  millisecond: 1000,
  ms: 1000,
  second: 1_000_000,
  sec: 1_000_000,
  s: 1_000_000,
  minute: 60_000_000,
  min: 60_000_000,
  m: 60_000_000,
  hour: 3_600_000_000,
  h: 3_600_000_000,
  day: 86_400_000_000,
  d: 86_400_000_000,
  week: 604_800_000_000,
  w: 604_800_000_000,
}
const INTERVAL_PART = /^\s*([+-]?\d+(?:\.\d+)?)\s*([a-zA-Z]*)/
const INTERVAL_TIME = /^\s*([+-]?)(\d+):(\d{1,2})(?::(\d{1,2}(?:\.\d+)?))?/

/** @param unit of a bare number; null means seconds. @returns microseconds */
export function intervalMicros(text: string, unit: string | null, position: number): number {
  let rest = text
  let micros = 0
  const invalid = (): Error =>
    sqlError('22007', `invalid input syntax for type interval: "${text}"`, position)
  if (rest.trim() === '') throw invalid()
  while (rest.trim() !== '') {
    const time = INTERVAL_TIME.exec(rest)
    if (time !== null) {
      const seconds = Number(time[2]) * 3600 + Number(time[3]) * 60 + Number(time[4] ?? 0)
      micros += Math.round(seconds * 1e6) * (time[1] === '-' ? -1 : 1)
      rest = rest.slice(time[0].length)
      continue
    }
    const part = INTERVAL_PART.exec(rest)
    if (part === null) throw invalid()
    // A number without a unit only as the last part.
    if (part[2] === '' && rest.slice(part[0].length).trim() !== '') throw invalid()
    const name = part[2] === '' ? (unit ?? 'second') : part[2].toLowerCase()
    const singular = Object.hasOwn(UNIT_MICROS, name) ? name : name.replace(/s$/, '')
    if (/^(month|mon|year|yr|decade|century|y)$/.test(singular)) {
      throw sqlError(
        '0A000',
        'months and years in an interval are not supported yet',
        position,
        'use days',
      )
    }
    const factor = UNIT_MICROS[singular]
    if (factor === undefined) throw invalid()
    micros += Math.round(Number(part[1]) * factor)
    rest = rest.slice(part[0].length)
  }
  return micros
}
