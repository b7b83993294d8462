/**
 * The edge of the system: JavaScript values to columns (`table().insert`, parameters), and columns to
 * JavaScript values, JSON and text (query results, the command line). Runs on the user's thread and on
 * control, never on workers.
 *
 * | type                     | accepted                                        | given (`valueAt`)  | JSON                    |
 * | boolean                  | boolean                                         | boolean            | boolean                 |
 * | smallint, integer        | integer number, bigint, decimal text            | number             | number                  |
 * | bigint                   | safe integer number, bigint, decimal text       | bigint             | number if safe, or text |
 * | numeric                  | finite number, bigint, decimal text             | decimal text       | decimal text            |
 * | real, double             | number, bigint within 2^53, numeric text        | number             | number; NaN… as text    |
 * | varchar                  | string                                          | string             | string                  |
 * | bytea                    | Uint8Array                                      | Uint8Array (copy)  | `\x…` in hex            |
 * | date                     | `YYYY-MM-DD`, Date at midnight UTC              | `YYYY-MM-DD`       | the same                |
 * | time                     | `HH:MM:SS.ffffff`                               | that text          | the same                |
 * | timestamp, timestamptz   | Date, ISO text; number of ms since 1970, whole  | Date, or ISO text  | ISO text                |
 * |                          | bigint: MICROSECONDS since 1970                 |                    |                         |
 * | interval                 | PostgreSQL's text; number of ms; bigint: us     | text               | text                    |
 *
 * null and undefined are null. A Date has milliseconds only: a timestamp with microseconds is given as
 * ISO text with six digits unless `timestamps: 'date'` cuts them; `timestamps: 'text'` gives text always.
 */
import { EngineError } from '../common/errors.ts'
import type { Column } from './column.ts'
import { NARROW } from './column.ts'
import { ColumnBuilder } from './column-builder.ts'
import { exactParserOf, formatterOf, parseDoublePrecision, parseReal } from './functions-cast.ts'
import { formatTimestamp } from './functions-datetime.ts'
import { checkRange, parseNumeric } from './functions-number.ts'
import { decodeText, encodeText, formatHex } from './functions-text.ts'
import type { DataType } from './schema.ts'

/** What error messages say about where the values come from. */
export interface ValueContext {
  readonly column: string
  /** Number of the first value within the caller's rows, for messages; 0 if left out. */
  readonly firstRow?: number
}

export interface ValueOptions {
  /** 'exact' (default): Date, or ISO text where a Date would lose microseconds or cannot be; 'date'; 'text'. */
  readonly timestamps?: 'exact' | 'date' | 'text'
}

const MS_MICROS = 1000
/** Largest time of a JavaScript Date, ms. */
const DATE_MS_MAX = 8.64e15

/**
 * The column of these values; see the table at the top of this file.
 * @throws VALUE_INVALID, VALUE_OVERFLOW with `column`, `row`, `given`, `sqlState` in the context.
 */
export function columnFromValues(
  type: DataType,
  values: readonly unknown[],
  context: ValueContext,
): Column {
  const builder = new ColumnBuilder(type)
  const append = appenderOf(type, builder)
  for (let row = 0; row < values.length; row++) {
    const value = values[row]
    if (value === null || value === undefined) {
      builder.appendNull()
      continue
    }
    try {
      if (append(value)) continue
    } catch (cause) {
      if (!(cause instanceof EngineError) || cause.kind !== 'invalid') throw cause
      throw describe(cause, type, value, context, row)
    }
    throw describe(null, type, value, context, row)
  }
  return builder.finish()
}

function describe(
  cause: EngineError | null,
  type: DataType,
  value: unknown,
  context: ValueContext,
  row: number,
): EngineError {
  const given = show(value)
  const at = (context.firstRow ?? 0) + row
  const reason = cause === null ? hintOf(type) : cause.message
  return new EngineError(
    cause === null ? 'VALUE_INVALID' : cause.code,
    `column "${context.column}" (${type}), row ${at}: cannot take ${given}: ${reason}`,
    {
      context: {
        sqlState: '22P02',
        ...cause?.context,
        column: context.column,
        row: at,
        type,
        given,
      },
      ...(cause === null ? {} : { cause }),
    },
  )
}

function hintOf(type: DataType): string {
  switch (type) {
    case 'boolean':
      return 'give true or false'
    case 'bigint':
      return 'give a bigint, a safe integer number, or its decimal text'
    case 'smallint':
    case 'integer':
      return 'give an integer'
    case 'numeric':
      return 'give a decimal text, a finite number or a bigint'
    case 'real':
    case 'double':
      return 'give a number'
    case 'varchar':
      return 'give a string'
    case 'bytea':
      return 'give a Uint8Array'
    case 'date':
      return "give 'YYYY-MM-DD' or a Date at midnight UTC"
    case 'time':
      return "give 'HH:MM:SS'"
    case 'timestamp':
    case 'timestamptz':
      return 'give a valid Date, ISO text, whole milliseconds (number) or microseconds (bigint)'
    case 'interval':
      return "give text like '1 day 02:03:04', milliseconds (number) or microseconds (bigint)"
  }
}

/** The value as a short text for messages. */
function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 60))
  if (typeof value === 'bigint') return `${value}n`
  if (value instanceof Date) {
    return Number.isNaN(value.getTime()) ? 'an invalid Date' : value.toISOString()
  }
  if (typeof value === 'object' && value !== null) return `an object (${value.constructor?.name})`
  return typeof value === 'function' || typeof value === 'symbol' ? `a ${typeof value}` : `${value}`
}

/** Appends one value that is not null; false when its JavaScript type does not fit. */
type Appender = (value: unknown) => boolean

function appenderOf(type: DataType, builder: ColumnBuilder): Appender {
  switch (type) {
    case 'boolean':
      return (value) => {
        if (typeof value !== 'boolean') return false
        builder.appendNumber(value ? 1 : 0)
        return true
      }
    case 'smallint':
    case 'integer':
    case 'bigint':
      return (value) => appendInteger(type, value, builder)
    case 'numeric':
      return (value) => appendNumeric(value, builder)
    case 'real':
    case 'double':
      return (value) => appendDouble(type, value, builder)
    case 'varchar':
      return (value) => {
        if (typeof value !== 'string') return false
        if (value.includes('\0')) throw noText('U+0000')
        // UTF-8 cannot hold it: another character would be read back.
        if (!value.isWellFormed()) throw noText('half of a surrogate pair')
        const bytes = encodeText(value)
        builder.appendText(bytes, 0, bytes.length)
        return true
      }
    case 'bytea':
      return (value) => {
        if (!(value instanceof Uint8Array)) return false
        builder.appendText(value, 0, value.length)
        return true
      }
    default:
      return (value) => appendTime(type, value, builder)
  }
}

function noText(what: string): EngineError {
  return new EngineError('VALUE_INVALID', `text cannot hold ${what}`, {
    context: { sqlState: '22021' },
  })
}

function appendInteger(
  type: 'smallint' | 'integer' | 'bigint',
  value: unknown,
  builder: ColumnBuilder,
): boolean {
  if (typeof value === 'number') {
    // An unsafe number may already be another integer than the one that was meant.
    if (!Number.isSafeInteger(value)) return false
    if (type !== 'bigint') checkRange(BigInt(value), type)
    builder.appendNumber(value)
    return true
  }
  if (typeof value === 'bigint') builder.appendBigint(checkRange(value, type))
  else if (typeof value === 'string') builder.appendBigint(exactParserOf(type)(value).value)
  else return false
  return true
}

function appendNumeric(value: unknown, builder: ColumnBuilder): boolean {
  if (typeof value === 'bigint') {
    builder.appendScaled(value, 0)
    return true
  }
  if (typeof value === 'number' && !Number.isFinite(value)) return false
  if (typeof value !== 'number' && typeof value !== 'string') return false
  // The shortest text of a number is what its author wrote: 19.9 is 19.9.
  const parsed = parseNumeric(String(value))
  builder.appendScaled(parsed.value, parsed.scale)
  return true
}

function appendDouble(type: 'real' | 'double', value: unknown, builder: ColumnBuilder): boolean {
  let number: number
  if (typeof value === 'number') number = value
  else if (typeof value === 'string') {
    number = type === 'real' ? parseReal(value) : parseDoublePrecision(value)
  } else if (typeof value === 'bigint') {
    number = Number(value)
    if (BigInt(number) !== value) return false
  } else return false
  const stored = type === 'real' ? Math.fround(number) : number
  if (!Number.isFinite(stored) && Number.isFinite(number)) return false
  builder.appendNumber(stored)
  return true
}

function appendTime(type: DataType, value: unknown, builder: ColumnBuilder): boolean {
  if (typeof value === 'string') {
    builder.appendBigint(exactParserOf(type)(value).value)
    return true
  }
  if (type === 'date') {
    if (!(value instanceof Date)) return false
    const days = value.getTime() / 86_400_000
    if (!Number.isInteger(days)) return false
    builder.appendNumber(days)
    return true
  }
  if (type === 'time') return false
  const isPoint = type === 'timestamp' || type === 'timestamptz'
  const given = isPoint && value instanceof Date ? value.getTime() : value
  if (typeof given === 'bigint') builder.appendBigint(checkRange(given, type))
  else if (typeof given === 'number' && Number.isSafeInteger(given)) {
    builder.appendBigint(checkRange(BigInt(given) * BigInt(MS_MICROS), type))
  } else return false
  return true
}

function isNullAt(column: Column, row: number): boolean {
  return column.nulls !== null && column.nulls[row] === 1
}

function exactAt(column: Column, row: number): number | bigint {
  return column.form === NARROW ? column.numbers[row] : column.wide[row]
}

/** A value as query results give it; see the table at the top of this file. */
export function valueAt(column: Column, row: number, options: ValueOptions = {}): unknown {
  if (isNullAt(column, row)) return null
  switch (column.type) {
    case 'boolean':
      return column.numbers[row] === 1
    case 'smallint':
    case 'integer':
      return Number(exactAt(column, row))
    case 'bigint':
      return BigInt(exactAt(column, row))
    case 'real':
    case 'double':
      return column.numbers[row]
    case 'varchar':
      return decodeText(column.data, column.offsets[row], column.offsets[row + 1])
    case 'bytea':
      return column.data.slice(column.offsets[row], column.offsets[row + 1])
    case 'timestamp':
    case 'timestamptz':
      return timestampAt(column, row, options.timestamps ?? 'exact')
    default:
      return formatterOf(column.type, column.scale)(exactAt(column, row))
  }
}

function timestampAt(column: Column, row: number, form: 'exact' | 'date' | 'text'): Date | string {
  const micros = exactAt(column, row)
  if (form === 'text') return isoTimestamp(column.type, micros)
  const ms =
    typeof micros === 'number'
      ? Math.floor(micros / MS_MICROS)
      : Number(micros / BigInt(MS_MICROS)) - (micros % BigInt(MS_MICROS) < 0n ? 1 : 0)
  const exact = BigInt(ms) * BigInt(MS_MICROS) === BigInt(micros)
  const possible = ms <= DATE_MS_MAX && ms >= -DATE_MS_MAX
  if (!possible || (form === 'exact' && !exact)) return isoTimestamp(column.type, micros)
  return new Date(ms)
}

/** `2024-01-02T03:04:05.678901`, with Z for timestamptz. */
function isoTimestamp(type: DataType, micros: number | bigint): string {
  return formatTimestamp(micros, type === 'timestamptz' ? 'Z' : '', 'T')
}

export type JsonValue = string | number | boolean | null

/** A value as the command line prints it in JSON; nothing is lost. */
export function jsonValueAt(column: Column, row: number): JsonValue {
  if (isNullAt(column, row)) return null
  switch (column.type) {
    case 'boolean':
      return column.numbers[row] === 1
    case 'smallint':
    case 'integer':
    case 'bigint': {
      const value = exactAt(column, row)
      return Number.isSafeInteger(Number(value)) ? Number(value) : value.toString()
    }
    case 'real':
    case 'double': {
      const value = column.numbers[row]
      return Number.isFinite(value) ? value : formatterOf(column.type, 0)(value)
    }
    case 'varchar':
      return decodeText(column.data, column.offsets[row], column.offsets[row + 1])
    case 'bytea':
      return `\\x${formatHex(column.data, column.offsets[row], column.offsets[row + 1])}`
    case 'timestamp':
    case 'timestamptz':
      return isoTimestamp(column.type, exactAt(column, row))
    default:
      return formatterOf(column.type, column.scale)(exactAt(column, row))
  }
}

/** A value as PostgreSQL prints it (`t`, `2024-01-02 03:04:05+00`, `\x0a`); null for null. */
export function textAt(column: Column, row: number): string | null {
  if (isNullAt(column, row)) return null
  switch (column.type) {
    case 'boolean':
      return column.numbers[row] === 1 ? 't' : 'f'
    case 'varchar':
      return decodeText(column.data, column.offsets[row], column.offsets[row + 1])
    case 'bytea':
      return `\\x${formatHex(column.data, column.offsets[row], column.offsets[row + 1])}`
    default:
      return formatterOf(
        column.type,
        column.scale,
      )(
        column.type === 'real' || column.type === 'double'
          ? column.numbers[row]
          : exactAt(column, row),
      )
  }
}
