/**
 * Arguments of calls, checked on the user's thread: a caller without types is told what is wrong, and nothing of what
 * it gave is passed over in silence.
 */
import { EngineError } from './common/errors.ts'

/** @throws STORE_URL_INVALID */
export function checkUrl(url: unknown): void {
  if (typeof url === 'string') return
  throw new EngineError('STORE_URL_INVALID', `the URL of a store is a string, not ${shown(url)}`)
}

/** @throws SQL_SYNTAX, SQL_PARAMETER */
export function checkStatement(sql: unknown, parameters: unknown): void {
  if (typeof sql !== 'string') {
    throw new EngineError('SQL_SYNTAX', `a statement is a string, not ${shown(sql)}`, {
      context: { sqlState: '42601' },
    })
  }
  if (!Array.isArray(parameters)) {
    throw new EngineError('SQL_PARAMETER', `parameters are an array, not ${shown(parameters)}`, {
      context: { sqlState: '42P02' },
    })
  }
  for (let index = 0; index < parameters.length; index++) {
    if (isParameter(parameters[index])) continue
    const given = shown(parameters[index])
    throw new EngineError('SQL_PARAMETER', `parameter $${index + 1} cannot be ${given}`, {
      context: {
        sqlState: '42P02',
        hint: 'give null, a string, number, bigint, boolean or Date',
      },
    })
  }
}

function isParameter(value: unknown): boolean {
  if (value === null || value === undefined || value instanceof Date) return true
  return ['string', 'number', 'bigint', 'boolean'].includes(typeof value)
}

/** @throws VALUE_INVALID; a single object, or an array of arrays, would otherwise insert nothing, or nulls */
export function checkRows(rows: unknown): void {
  if (!Array.isArray(rows)) {
    throw new EngineError('VALUE_INVALID', `rows are an array of objects, not ${shown(rows)}`, {
      context: { sqlState: '22P02' },
    })
  }
  for (let row = 0; row < rows.length; row++) {
    const value: unknown = rows[row]
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) continue
    throw new EngineError(
      'VALUE_INVALID',
      `row ${row} is an object by column name, not ${shown(value)}`,
      { context: { sqlState: '22P02', row } },
    )
  }
}

/** @throws SQL_UNDEFINED_TABLE */
export function checkTableName(name: unknown): void {
  if (typeof name === 'string') return
  throw new EngineError('SQL_UNDEFINED_TABLE', `a table's name is a string, not ${shown(name)}`, {
    context: { sqlState: '42P01' },
  })
}

function shown(value: unknown): string {
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'object' && value !== null) return `a ${value.constructor?.name ?? 'object'}`
  return typeof value === 'function' ? 'a function' : String(value)
}
