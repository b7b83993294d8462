/** How the command speaks: results on stdout, words about them on stderr, errors without a stack trace. */
import pc from 'picocolors'
import { EngineError } from '../common/errors.ts'

/** A reader that goes away (`| head`) is no error. */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

export function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** Words that are not the result: kept out of pipes. */
export function note(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`${pc.dim(text)}\n`)
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, jsonValue))
}

function jsonValue(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') {
    return Number.isSafeInteger(Number(value)) ? Number(value) : value.toString()
  }
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value).toString('hex')}`
  // JSON has no other way to say NaN and the infinities.
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value
}

/** Says what happened, where, and what to do; 2 for the user's mistakes, 1 for the world's. */
export function reportError(error: unknown, sql: string | null = null): void {
  if (!(error instanceof EngineError)) {
    process.stderr.write(`${pc.red('error')}: ${String(error)}\n`)
    process.exitCode = 1
    return
  }
  const { sqlState, position, hint } = error.context
  const code = sqlState === undefined ? error.code : `${error.code} ${String(sqlState)}`
  process.stderr.write(`${pc.red('error')}: ${error.message} ${pc.dim(`[${code}]`)}\n`)
  if (sql !== null && typeof position === 'number') {
    process.stderr.write(`${pointAt(sql, position)}\n`)
  }
  if (hint !== undefined) process.stderr.write(`${pc.cyan('hint')}: ${String(hint)}\n`)
  process.exitCode = error.kind === 'invalid' ? 2 : 1
}

function pointAt(sql: string, position: number): string {
  const start = sql.lastIndexOf('\n', position - 1) + 1
  const end = sql.indexOf('\n', position)
  const line = sql.slice(start, end === -1 ? undefined : end)
  const number = sql.slice(0, start).split('\n').length
  const margin = `line ${number}: `
  return `${pc.dim(margin)}${line}\n${' '.repeat(margin.length + position - start)}${pc.red('^')}`
}

/** Rows as a table with aligned columns, or as CSV (RFC 4180) or one JSON array. */
export function formatRows(
  columns: readonly string[],
  rows: readonly Record<string, unknown>[],
  format: 'table' | 'json' | 'csv',
): string {
  if (format === 'json') return JSON.stringify(rows, jsonValue)
  const text = rows.map((row) => columns.map((name) => cellText(row[name])))
  if (format === 'csv') {
    return [columns, ...text].map((line) => line.map(csvCell).join(',')).join('\n')
  }
  const widths = columns.map((name, index) =>
    text.reduce((most, line) => Math.max(most, line[index].length), name.length),
  )
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, index) => cell.padEnd(widths[index]))
      .join('  ')
      .trimEnd()
  return [
    line(columns),
    widths.map((width) => '-'.repeat(width)).join('  '),
    ...text.map(line),
  ].join('\n')
}

function cellText(value: unknown): string {
  if (value === null || value === undefined) return ''
  if (value instanceof Date) return value.toISOString()
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value).toString('hex')}`
  return String(value)
}

function csvCell(cell: string): string {
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell
}
