/** `tussock sql`: statements from the command line, a file, a pipe, or typed. */
import { readFile } from 'node:fs/promises'
import { createInterface } from 'node:readline/promises'
import { defineCommand } from 'citty'
import { EngineError } from '../common/errors.ts'
import { nodeEnv } from '../common/node-env.ts'
import type { Database, ExecuteResult } from '../database.ts'
import { open } from '../index.ts'
import { onlyReads } from '../read-statements.ts'
import { openObjectStore } from '../storage/object/open.ts'
import { readStore } from '../storage/verifier.ts'
import { oneOf, storeArgument } from './arguments.ts'
import { formatRows, note, print, reportError } from './output.ts'

type Format = 'table' | 'json' | 'csv'

export const command = defineCommand({
  meta: {
    name: 'sql',
    description: `Runs SQL on a store. Example: tussock sql --store ./data -c "SELECT * FROM revenue"`,
  },
  args: {
    ...storeArgument,
    command: { type: 'string', alias: 'c', valueHint: 'sql', description: 'statements to run' },
    file: { type: 'string', alias: 'f', valueHint: 'path', description: 'a file of statements' },
    format: { type: 'string', default: 'table', description: 'table, json or csv' },
    json: { type: 'boolean', description: 'the same as --format json' },
    write: { type: 'boolean', description: 'take the store over, also to type statements' },
  },
  run: async ({ args }) => {
    let sql: string | null = null
    try {
      const format = args.json ? 'json' : oneOf('format', args.format, ['table', 'json', 'csv'])
      sql = await script(args.command, args.file)
      const db = await open(args.store, {
        mode: await modeFor(args.store, sql, args.write ?? false),
      })
      try {
        if (sql !== null) show(await db.execute(sql), format)
        else await converse(db, format)
      } finally {
        await db.close()
      }
    } catch (error) {
      reportError(error, sql)
    }
  },
})

/**
 * Statements that only read do so beside whoever runs the store; others take it over, as `run` does.
 */
async function modeFor(
  store: string,
  sql: string | null,
  write: boolean,
): Promise<'reader' | 'writer'> {
  if (write || !(await exists(store))) return 'writer'
  if (sql === null) return 'reader'
  return (await onlyReads(sql)) ? 'reader' : 'writer'
}

async function exists(store: string): Promise<boolean> {
  const objects = await openObjectStore(store, nodeEnv(), { deadlineMs: 10_000 })
  try {
    await readStore(objects)
    return true
  } catch (error) {
    if (error instanceof EngineError && error.code === 'STORE_NOT_FOUND') return false
    throw error
  } finally {
    await objects.close()
  }
}

/** The statements that were given; null when they are to be typed. */
async function script(
  command: string | undefined,
  file: string | undefined,
): Promise<string | null> {
  if (command !== undefined) return command
  if (file !== undefined) return await readScript(file)
  if (process.stdin.isTTY) return null
  let text = ''
  for await (const piece of process.stdin) text += String(piece)
  return text
}

export async function readScript(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    throw new EngineError('OPTION_INVALID', `the file ${path} cannot be read`, {
      context: { path },
      cause,
    })
  }
}

function show(results: readonly ExecuteResult[], format: Format): void {
  for (const { command, rowCount, columns, rows } of results) {
    if (columns.length > 0) {
      print(
        formatRows(
          columns.map((column) => column.name),
          rows,
          format,
        ),
      )
    } else if (format === 'table') print(rowCount === null ? command : `${command} ${rowCount}`)
  }
}

async function converse(db: Database, format: Format): Promise<void> {
  const reader = createInterface({ input: process.stdin, output: process.stdout })
  note(
    'Statements end with ;  \\q or Ctrl-D leaves. An existing store is opened to read; --write takes it over.',
  )
  let pending = ''
  reader.setPrompt('tussock> ')
  reader.prompt()
  for await (const line of reader) {
    if (pending === '' && /^\s*(\\q|exit|quit)\s*;?\s*$/.test(line)) break
    pending += `${line}\n`
    if (/;\s*$/.test(line)) {
      const sql = pending
      pending = ''
      try {
        show(await db.execute(sql), format)
      } catch (error) {
        reportError(error, sql)
        process.exitCode = 0
      }
    }
    reader.setPrompt(pending === '' ? 'tussock> ' : '      -> ')
    reader.prompt()
  }
  reader.close()
}
