/**
 * Numbers: PostgreSQL's rules of rounding, numeric division, and the text forms of integers, numerics
 * and doubles. Exact values are bigints at a scale here: these are the cold paths.
 */
import { EngineError } from '../common/errors.ts'
import { type DataType, typeName } from './schema.ts'

const INT64_MAX = 2n ** 63n - 1n
/** Timestamps beyond PostgreSQL's range (4713 BC .. 294276 AD), microseconds since 1970. */
const TIMESTAMP_MAX = 9_224_318_016_000_000_000n - 1n
const TIMESTAMP_MIN = -210_866_803_200_000_000n

const RANGES: Readonly<Partial<Record<DataType, readonly [bigint, bigint]>>> = {
  smallint: [-32_768n, 32_767n],
  integer: [-2_147_483_648n, 2_147_483_647n],
  bigint: [-INT64_MAX - 1n, INT64_MAX],
  interval: [-INT64_MAX - 1n, INT64_MAX],
  timestamp: [TIMESTAMP_MIN, TIMESTAMP_MAX < INT64_MAX ? TIMESTAMP_MAX : INT64_MAX],
  timestamptz: [TIMESTAMP_MIN, TIMESTAMP_MAX < INT64_MAX ? TIMESTAMP_MAX : INT64_MAX],
  date: [-2_440_588n, 2_147_483_647n],
  time: [0n, 86_400_000_000n],
}

/** Smallest and largest value of an exact type; null for numeric, which has none. */
export function rangeOf(type: DataType): readonly [bigint, bigint] | null {
  return RANGES[type] ?? null
}

/** VALUE_OVERFLOW, SQLSTATE 22003. */
export function overflow(type: DataType): EngineError {
  const message =
    type === 'real' || type === 'double'
      ? 'value out of range: overflow'
      : `${typeName(type)} out of range`
  return new EngineError('VALUE_OVERFLOW', message, {
    context: { sqlState: type === 'timestamp' || type === 'timestamptz' ? '22008' : '22003', type },
  })
}

export function divisionByZero(): EngineError {
  return new EngineError('DIVISION_BY_ZERO', 'division by zero', {
    context: { sqlState: '22012' },
  })
}

export function invalidText(type: DataType, text: string): EngineError {
  return new EngineError(
    'VALUE_INVALID',
    `invalid input syntax for type ${typeName(type)}: "${text.slice(0, 100)}"`,
    { context: { sqlState: '22P02', type, value: text.slice(0, 100) } },
  )
}

export function powerOfTen(exponent: number): bigint {
  return 10n ** BigInt(exponent)
}

/** `value / divisor` (divisor above 0), halves away from zero. */
export function divideRounded(value: bigint, divisor: bigint): bigint {
  const half = divisor / 2n + (divisor & 1n)
  const magnitude = value < 0n ? -value : value
  const quotient = magnitude / divisor
  const rounded = magnitude % divisor >= half ? quotient + 1n : quotient
  return value < 0n ? -rounded : rounded
}

/** Numeric at another scale; fewer digits are rounded, halves away from zero. */
export function rescaled(value: bigint, from: number, to: number): bigint {
  if (to >= from) return value * powerOfTen(to - from)
  return divideRounded(value, powerOfTen(from - to))
}

/**
 * PostgreSQL's `select_div_scale`: at least 16 significant digits, at least the scale of each operand.
 * It counts in base-10,000 digits, and so do we, to give its very digits.
 */
export function divisionScale(
  dividend: bigint,
  dividendScale: number,
  divisor: bigint,
  divisorScale: number,
): number {
  const left = leadingDigit(dividend, dividendScale)
  const right = leadingDigit(divisor, divisorScale)
  let weight = left.weight - right.weight
  if (left.digit <= right.digit) weight--
  return Math.min(Math.max(16 - weight * 4, dividendScale, divisorScale, 0), 250)
}

/** The first base-10,000 digit of a numeric and its weight; zero has digit 0 and weight 0. */
function leadingDigit(value: bigint, scale: number): { weight: number; digit: number } {
  if (value === 0n) return { weight: 0, digit: 0 }
  const text = (value < 0n ? -value : value).toString()
  const exponent = text.length - 1 - scale
  const weight = Math.floor(exponent / 4)
  const digitCount = exponent - weight * 4 + 1
  return { weight, digit: Number(text.slice(0, digitCount).padEnd(digitCount, '0')) }
}

/**
 * The quotient of two numerics, rounded at `scale` (see `divisionScale`), as an integer at that scale.
 * @throws DIVISION_BY_ZERO
 */
export function divideNumeric(
  dividend: bigint,
  dividendScale: number,
  divisor: bigint,
  divisorScale: number,
  scale: number,
): bigint {
  if (divisor === 0n) throw divisionByZero()
  const shift = scale + divisorScale - dividendScale
  const scaledDividend = shift >= 0 ? dividend * powerOfTen(shift) : dividend
  const scaledDivisor = shift >= 0 ? divisor : divisor * powerOfTen(-shift)
  return scaledDivisor < 0n
    ? divideRounded(-scaledDividend, -scaledDivisor)
    : divideRounded(scaledDividend, scaledDivisor)
}

/** Nearest integer, halves to even, as PostgreSQL rounds doubles. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value)
  const difference = value - floor
  if (difference < 0.5) return floor + 0
  if (difference > 0.5) return floor + 1
  return floor % 2 === 0 ? floor : floor + 1
}

export interface Scaled {
  readonly value: bigint
  readonly scale: number
}

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,5})?$/i

/** @throws VALUE_INVALID; NaN and infinities are not supported. */
export function parseNumeric(text: string): Scaled {
  const trimmed = text.trim()
  if (!NUMBER.test(trimmed)) throw invalidText('numeric', text)
  const [mantissa, exponentText] = trimmed.toLowerCase().split('e')
  const [whole, fraction = ''] = mantissa.split('.')
  const exponent = Number(exponentText ?? 0)
  const scale = fraction.length - exponent
  if (scale > 250 || scale < -131_072) throw overflow('numeric')
  const digits = BigInt(`${whole.replace(/^[+-]/, '')}${fraction}`)
  const value = trimmed.startsWith('-') ? -digits : digits
  return scale >= 0 ? { value, scale } : { value: value * powerOfTen(-scale), scale: 0 }
}

/** PostgreSQL's conversion keeps 15 digits of a double and 6 of a real. @throws VALUE_OVERFLOW */
export function numericOfDouble(value: number, type: DataType): Scaled {
  if (!Number.isFinite(value)) throw overflow('numeric')
  const digits = type === 'real' ? 6 : 15
  const shortest = String(Number(value.toPrecision(digits)))
  return parseNumeric(shortest)
}

export function formatNumeric(value: bigint, scale: number): string {
  if (scale === 0) return value.toString()
  const digits = (value < 0n ? -value : value).toString().padStart(scale + 1, '0')
  const point = digits.length - scale
  return `${value < 0n ? '-' : ''}${digits.slice(0, point)}.${digits.slice(point)}`
}

/** The nearest double of `value / 10^scale`. */
export function doubleOfNumeric(value: bigint, scale: number): number {
  const small = value >= -(2n ** 53n) && value <= 2n ** 53n
  // Quotient of two exact doubles: rounded once.
  return small && scale <= 22 ? Number(value) / 10 ** scale : Number(formatNumeric(value, scale))
}

const INTEGER = /^[+-]?\d+$/

/** @throws VALUE_INVALID, VALUE_OVERFLOW */
export function parseInteger(text: string, type: DataType): bigint {
  const trimmed = text.trim()
  if (!INTEGER.test(trimmed)) throw invalidText(type, text)
  return checkRange(BigInt(trimmed), type)
}

/** @throws VALUE_OVERFLOW */
export function checkRange(value: bigint, type: DataType): bigint {
  const range = rangeOf(type)
  if (range !== null && (value < range[0] || value > range[1])) throw overflow(type)
  return value
}

const SPECIAL_DOUBLES: Readonly<Record<string, number>> = {
  nan: Number.NaN,
  infinity: Infinity,
  '+infinity': Infinity,
  inf: Infinity,
  '+inf': Infinity,
  '-infinity': -Infinity,
  '-inf': -Infinity,
}

/** @throws VALUE_INVALID, VALUE_OVERFLOW */
export function parseDouble(text: string, type: DataType): number {
  const trimmed = text.trim()
  const special = SPECIAL_DOUBLES[trimmed.toLowerCase()]
  if (special !== undefined) return special
  if (!NUMBER.test(trimmed)) throw invalidText(type, text)
  const value = Number(trimmed)
  const result = type === 'real' ? Math.fround(value) : value
  const vanished = result === 0 && /[1-9]/.test(trimmed.split(/e/i)[0])
  if (!Number.isFinite(result) || vanished) {
    throw new EngineError(
      'VALUE_OVERFLOW',
      `"${trimmed.slice(0, 100)}" is out of range for type ${typeName(type)}`,
      { context: { sqlState: '22003', type } },
    )
  }
  return result + 0
}

/** The shortest text that reads back as the same value, in PostgreSQL's layout. */
export function formatDouble(value: number, type: DataType): string {
  if (Number.isNaN(value)) return 'NaN'
  if (!Number.isFinite(value)) return value > 0 ? 'Infinity' : '-Infinity'
  if (value === 0) return '0'
  const [mantissa, exponentText] = (
    type === 'real' ? shortestReal(value) : value.toExponential()
  ).split('e')
  const exponent = Number(exponentText)
  if (exponent < -4 || exponent >= (type === 'real' ? 6 : 15)) {
    const sign = exponent < 0 ? '-' : '+'
    return `${mantissa}e${sign}${String(Math.abs(exponent)).padStart(2, '0')}`
  }
  const digits = mantissa.replace(/[-.]/g, '')
  const scale = digits.length - 1 - exponent
  const whole = BigInt(digits) * (scale < 0 ? powerOfTen(-scale) : 1n)
  return formatNumeric(value < 0 ? -whole : whole, Math.max(scale, 0))
}

function shortestReal(value: number): string {
  for (let digits = 0; digits < 9; digits++) {
    const text = value.toExponential(digits)
    if (Math.fround(Number(text)) === value)
      return text.replace(/\.?0+e/, 'e').replace(/(\.\d*?)0+e/, '$1e')
  }
  return value.toExponential()
}

const TRUE_WORDS = new Set(['t', 'tr', 'tru', 'true', 'y', 'ye', 'yes', 'on', '1'])
const FALSE_WORDS = new Set(['f', 'fa', 'fal', 'fals', 'false', 'n', 'no', 'of', 'off', '0'])

/** 1 or 0. @throws VALUE_INVALID */
export function parseBoolean(text: string): number {
  const word = text.trim().toLowerCase()
  if (TRUE_WORDS.has(word)) return 1
  if (FALSE_WORDS.has(word)) return 0
  throw invalidText('boolean', text)
}
