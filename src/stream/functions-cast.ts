/**
 * The text form of every type, both ways: `formatterOf` and `parserOf` give the function for one type,
 * so that callers choose once per column. Values are as in a `Column`: a number in the narrow form,
 * a bigint in the wide.
 */
import { EngineError } from '../common/errors.ts'
import {
  formatDate,
  formatInterval,
  formatTime,
  formatTimestamp,
  parseDate,
  parseInterval,
  parseTime,
  parseTimestamp,
} from './functions-datetime.ts'
import type { Scaled } from './functions-number.ts'
import {
  checkRange,
  formatDouble,
  formatNumeric,
  parseBoolean,
  parseDouble,
  parseInteger,
  parseNumeric,
} from './functions-number.ts'
import { type DataType, typeName } from './schema.ts'

export type Formatter = (value: number | bigint) => string

/** As a cast to text gives it (`true`, not `t`). Not for text and bytea, which are bytes. */
export function formatterOf(type: DataType, scale: number): Formatter {
  switch (type) {
    case 'boolean':
      return (value) => (Number(value) === 1 ? 'true' : 'false')
    case 'smallint':
    case 'integer':
    case 'bigint':
      return (value) => value.toString()
    case 'numeric':
      return (value) => formatNumeric(BigInt(value), scale)
    case 'real':
    case 'double':
      return (value) => formatDouble(Number(value), type)
    case 'date':
      return (value) => formatDate(Number(value))
    case 'time':
      return (value) => formatTime(Number(value))
    case 'timestamp':
      return (value) => formatTimestamp(value)
    case 'timestamptz':
      return (value) => formatTimestamp(value, '+00')
    case 'interval':
      return formatInterval
    case 'varchar':
    case 'bytea':
      throw new EngineError('INTERNAL', 'text has no number to format')
  }
}

/** Text to an exact value at a scale (0 but for numeric), or to a double. */
export type ExactParser = (text: string) => Scaled

/** @throws (the parser) VALUE_INVALID, VALUE_OVERFLOW with `sqlState`. */
export function exactParserOf(type: DataType): ExactParser {
  const whole = (value: bigint): Scaled => ({ value, scale: 0 })
  switch (type) {
    case 'boolean':
      return (text) => whole(BigInt(parseBoolean(text)))
    case 'smallint':
    case 'integer':
    case 'bigint':
      return (text) => whole(parseInteger(text, type))
    case 'numeric':
      return parseNumeric
    case 'date':
      return (text) => whole(checkRange(BigInt(parseDate(text)), 'date'))
    case 'time':
      return (text) => whole(BigInt(parseTime(text)))
    case 'timestamp':
    case 'timestamptz':
      return (text) => whole(checkRange(parseTimestamp(text, type), type))
    case 'interval':
      return (text) => whole(checkRange(parseInterval(text), 'interval'))
    default:
      throw new EngineError('INTERNAL', `${type} is not an exact type`)
  }
}

export const parseReal = (text: string): number => parseDouble(text, 'real')
export const parseDoublePrecision = (text: string): number => parseDouble(text, 'double')

export function cannotCast(from: DataType, to: DataType): EngineError {
  return new EngineError('SQL_TYPE', `cannot cast type ${typeName(from)} to ${typeName(to)}`, {
    context: { sqlState: '42846', from, to },
  })
}
