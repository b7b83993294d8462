/** How the command speaks: results on stdout, words about them on stderr, errors without a stack trace. */
import type { WriteStream } from 'node:tty'
import pc from 'picocolors'
import { EngineError } from '../common/errors.ts'

/** A reader that goes away (`| head`) is no error. */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})
process.stderr.on('error', () => undefined) // Nobody is left to be told.

/** Each stream for itself: `2> file` gets no colours though stdout is a terminal. */
function outlet(stream: WriteStream) {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env
  const wanted =
    FORCE_COLOR === undefined ? stream.isTTY === true && TERM !== 'dumb' : FORCE_COLOR !== '0'
  return {
    isTerminal: stream.isTTY === true,
    colors: pc.createColors(wanted && (NO_COLOR ?? '') === ''),
  }
}

export const results = outlet(process.stdout)
export const wordsOut = outlet(process.stderr)

export function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

export function printError(text: string): void {
  process.stderr.write(`${text}\n`)
}

/** Words that are not the result: kept out of pipes and files. */
export function note(text: string): void {
  if (wordsOut.isTerminal) printError(wordsOut.colors.dim(text))
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, jsonValue))
}

function jsonValue(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') {
    return Number.isSafeInteger(Number(value)) ? Number(value) : value.toString()
  }
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value).toString('hex')}`
  if (value instanceof EngineError) {
    const { code, kind, message, context } = value
    return { code, kind, message, context }
  }
  // JSON has no other way to say NaN and the infinities.
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value
}

/** Says what happened, where, and what to do; 2 for the user's mistakes, 1 for the world's. */
export function reportError(error: unknown, sql: string | null = null): void {
  const { colors } = wordsOut
  if (!(error instanceof EngineError)) {
    printError(`${colors.red('error')}: ${String(error)}`)
    process.exitCode = 1
    return
  }
  const { sqlState, position, hint } = error.context
  const code = sqlState === undefined ? error.code : `${error.code} ${String(sqlState)}`
  printError(`${colors.red('error')}: ${error.message} ${colors.dim(`[${code}]`)}`)
  if (sql !== null && typeof position === 'number') printError(pointAt(sql, position))
  if (hint !== undefined && !error.message.includes(String(hint))) {
    printError(`${colors.cyan('hint')}: ${String(hint)}`)
  }
  process.exitCode = error.kind === 'invalid' ? 2 : 1
}

/** Characters of a line before and behind the place; more would wrap, and the caret would point elsewhere. */
const AROUND = 30

function pointAt(sql: string, position: number): string {
  const { colors } = wordsOut
  const start = sql.lastIndexOf('\n', position - 1) + 1
  const end = sql.indexOf('\n', position)
  const line = sql.slice(start, end === -1 ? undefined : end).trimEnd()
  const margin = `line ${sql.slice(0, start).split('\n').length}: `
  const at = position - start
  const from = line.length <= 2 * AROUND || at <= AROUND ? 0 : at - AROUND
  const to = line.length <= 2 * AROUND ? line.length : Math.max(from + 2 * AROUND, at + AROUND)
  const before = `${from === 0 ? '' : '…'}${line.slice(from, at)}`.replaceAll('\t', ' ')
  const behind = `${line.slice(at, to)}${to < line.length ? '…' : ''}`.replaceAll('\t', ' ')
  return `${colors.dim(margin)}${before}${behind}\n${' '.repeat(margin.length + before.length)}${colors.red('^')}`
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
  const cells = text.map((row) => row.map(onOneLine))
  const widths = columns.map((name, index) =>
    cells.reduce((most, row) => Math.max(most, row[index].length), name.length),
  )
  const line = (row: readonly string[]): string =>
    row
      .map((cell, index) => cell.padEnd(widths[index]))
      .join('  ')
      .trimEnd()
  return [
    line(columns),
    widths.map((width) => '-'.repeat(width)).join('  '),
    ...cells.map(line),
  ].join('\n')
}

function cellText(value: unknown): string {
  if (value === null || value === undefined) return ''
  if (value instanceof Date) return value.toISOString()
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value).toString('hex')}`
  return String(value)
}

/** What moves the cursor is spelled out, as in JSON: it would break the table, or play with the terminal. */
function onOneLine(cell: string): string {
  return cell.replace(/\p{Cc}/gu, (character) => {
    const spelled = JSON.stringify(character).slice(1, -1)
    return spelled === character
      ? `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
      : spelled
  })
}

function csvCell(cell: string): string {
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell
}

/** `1 problem`, `2 problems` */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
