/** Errors of SQL text: a code of ours, PostgreSQL's SQLSTATE, where in the script, and what to do. */
import { EngineError, type ErrorCode } from '../common/errors.ts'

/** SQLSTATE → code, for every state that `sql` raises. */
const CODE_OF_STATE = {
  '0A000': 'SQL_UNSUPPORTED',
  '22003': 'VALUE_OVERFLOW',
  '22007': 'SQL_TYPE',
  '22023': 'SQL_INVALID',
  '22P02': 'SQL_TYPE',
  '23502': 'NOT_NULL',
  '2BP01': 'SQL_DEPENDENCY',
  '42601': 'SQL_SYNTAX',
  '42701': 'SQL_DUPLICATE',
  '42702': 'SQL_INVALID',
  '42703': 'SQL_UNDEFINED_COLUMN',
  '42704': 'SQL_TYPE',
  '42712': 'SQL_DUPLICATE',
  '42803': 'SQL_INVALID',
  '42804': 'SQL_TYPE',
  '42809': 'SQL_OBJECT_TYPE',
  '42846': 'SQL_TYPE',
  '42883': 'SQL_UNDEFINED_FUNCTION',
  '42P01': 'SQL_UNDEFINED_TABLE',
  '42P02': 'SQL_PARAMETER',
  '42P07': 'SQL_DUPLICATE',
  '42P10': 'SQL_INVALID',
  '42P16': 'SQL_INVALID',
} as const satisfies Record<string, ErrorCode>

export type SqlState = keyof typeof CODE_OF_STATE

/** @param position 0-based UTF-16 offset in the script; -1 when there is none. */
export function sqlError(
  sqlState: SqlState,
  message: string,
  position: number,
  hint?: string,
): EngineError {
  return new EngineError(CODE_OF_STATE[sqlState], message, {
    context: { sqlState, position: position < 0 ? undefined : position, hint },
  })
}

export function unsupported(what: string, position: number, hint?: string): EngineError {
  return sqlError('0A000', `${what} not supported yet`, position, hint)
}
