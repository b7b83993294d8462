/** `tussock sql`: statements from the command line, a file, a pipe, or typed. */
import { readFile } from 'node:fs/promises'
import { createInterface, type Interface } from 'node:readline/promises'
import { defineCommand } from 'citty'
import { EngineError } from '../common/errors.ts'
import { nodeEnv } from '../common/node-env.ts'
import type { Database, ExecuteResult } from '../database.ts'
import { open } from '../index.ts'
import { endsStatement, type ScriptPart, scriptParts } from '../read-statements.ts'
import { openObjectStore } from '../storage/object/open.ts'
import { readStore } from '../storage/verifier.ts'
import { oneOf, storeArgument } from './arguments.ts'
import { formatRows, note, print, reportError, results } from './output.ts'

type Format = 'table' | 'json' | 'csv'

export const command = defineCommand({
  meta: {
    name: 'sql',
    description: `Runs SQL on a store; without statements it asks for them. Example: tussock sql --store ./data -c "SELECT * FROM revenue"`,
  },
  args: {
    ...storeArgument,
    command: { type: 'string', alias: 'c', valueHint: 'sql', description: 'statements to run' },
    file: {
      type: 'string',
      alias: 'f',
      valueHint: 'path',
      description: 'a file of statements; -: from a pipe',
    },
    format: {
      type: 'string',
      default: 'table',
      valueHint: 'format',
      description: 'table, json or csv',
    },
    json: { type: 'boolean', description: 'the same as --format json' },
    write: { type: 'boolean', description: 'take the store over, also to type statements' },
  },
  run: async ({ args }) => {
    let sql: string | null = null
    try {
      const format = args.json ? 'json' : oneOf('format', args.format, ['table', 'json', 'csv'])
      sql = await script(args.command, args.file)
      const parts = sql === null ? null : await scriptParts(sql)
      if (parts?.length === 0) return note('there is no statement')
      const mode = await modeFor(args.store, parts, args.write ?? false)
      const db = await open(args.store, { mode })
      try {
        if (parts !== null) await runParts(db, parts, format)
        else await new Prompt(db, format, mode === 'reader').converse()
      } finally {
        await db.close()
      }
    } catch (error) {
      reportError(error, sql)
    }
  },
})

/**
 * Statements that only read do so beside whoever runs the store; others take it over, as `run` does. What only reads
 * makes no store.
 */
async function modeFor(
  store: string,
  parts: readonly ScriptPart[] | null,
  write: boolean,
): Promise<'reader' | 'writer'> {
  const reads = parts?.every((part) => part.reads)
  if (write || reads === false || store.startsWith('memory:')) return 'writer'
  const objects = await openObjectStore(store, nodeEnv(), { deadlineMs: 10_000 })
  try {
    await readStore(objects, store)
    return 'reader'
  } catch (error) {
    const isMissing = error instanceof EngineError && error.code === 'STORE_NOT_FOUND'
    if (!isMissing || reads === true) throw error
    note(`${store} is a new store`)
    return 'writer'
  } finally {
    await objects.close()
  }
}

/** The statements that were given; null when they are to be typed. */
async function script(
  command: string | undefined,
  file: string | undefined,
): Promise<string | null> {
  if (command !== undefined && file !== undefined) {
    throw new EngineError('OPTION_INVALID', 'give --command or --file, not both')
  }
  if (command !== undefined) return command
  if (file !== undefined) return await readScript(file)
  return process.stdin.isTTY ? null : await readScript('-')
}

/** @param path `-`: standard input */
export async function readScript(path: string): Promise<string> {
  try {
    if (path !== '-') return await readFile(path, 'utf8')
    const pieces: Buffer[] = []
    for await (const piece of process.stdin) pieces.push(Buffer.from(piece))
    return Buffer.concat(pieces).toString()
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new EngineError('OPTION_INVALID', `the file ${path} cannot be read: ${reason}`, {
      context: { path },
      cause,
    })
  }
}

/** One by one, so that what was done before a failure has been told. */
async function runParts(db: Database, parts: readonly ScriptPart[], format: Format): Promise<void> {
  for (const { text, position } of parts) {
    try {
      for (const result of await db.execute(text)) show(result, format)
    } catch (error) {
      throw inScript(error, position)
    }
  }
}

/** An error of one statement, with its place in the script, in the words of the command. */
function inScript(error: unknown, start: number): unknown {
  if (!(error instanceof EngineError)) return error
  const { position, hint } = error.context
  return new EngineError(error.code, error.message, {
    context: {
      ...error.context,
      position: typeof position === 'number' ? start + position : position,
      hint: error.code === 'READ_ONLY' ? '--write takes the store over, to change it' : hint,
    },
    cause: error,
  })
}

function show({ command, rowCount, columns, rows }: ExecuteResult, format: Format): void {
  if (columns.length > 0) {
    const names = columns.map((column) => column.name)
    print(formatRows(names, rows, format))
  } else if (format === 'table') print(rowCount === null ? command : `${command} ${rowCount}`)
}

const HELP = `Statements end with ; and may take several lines. Ctrl-C drops what was typed.
  SHOW TABLES | MATERIALIZED VIEWS | SOURCES | SINKS;  DESCRIBE name;
  SELECT reads what is committed: after FLUSH; it sees what was just inserted.
  \\q or Ctrl-D leaves.`

/** Statements typed at a terminal. */
class Prompt {
  private readonly db: Database
  private readonly format: Format
  private readonly isReader: boolean
  private readonly input: Interface
  private pending = ''
  private busy = false
  private left = false

  constructor(db: Database, format: Format, isReader: boolean) {
    this.db = db
    this.format = format
    this.isReader = isReader
    const output = results.isTerminal ? process.stdout : process.stderr
    this.input = createInterface({ input: process.stdin, output })
    this.input.on('SIGINT', () => this.interrupted())
  }

  async converse(): Promise<void> {
    note(
      `Statements end with ; and \\q leaves. ${this.isReader ? 'The store is opened to read; --write takes it over.' : 'help tells more.'}`,
    )
    this.ask()
    for await (const line of this.input) {
      if (this.pending === '' && /^\s*(\\q|exit|quit)\s*;?\s*$/i.test(line)) this.left = true
      else await this.take(line)
      if (this.left) break
      this.ask()
    }
    if (!this.left) print('') // Ctrl-D leaves the prompt's line open.
    this.input.close()
  }

  private ask(): void {
    this.input.setPrompt(this.pending === '' ? 'tussock> ' : '      -> ')
    this.input.prompt()
  }

  private async take(line: string): Promise<void> {
    if (this.pending === '' && /^\s*(help|\\.*)\s*;?\s*$/i.test(line)) return print(HELP)
    if (this.pending === '' && line.trim() === '') return
    this.pending += `${line}\n`
    if (!endsStatement(this.pending)) return
    const sql = this.pending
    this.pending = ''
    this.busy = true
    try {
      await runParts(this.db, await scriptParts(sql), this.format)
    } catch (error) {
      if (!this.left) reportError(error, sql)
      process.exitCode = 0
    }
    this.busy = false
  }

  /** Drops what was typed; when there is nothing to drop, or a statement is running, leaves. */
  private interrupted(): void {
    if (!this.busy && (this.pending !== '' || this.input.line !== '')) {
      this.input.write(null, { ctrl: true, name: 'e' })
      this.input.write(null, { ctrl: true, name: 'u' })
      this.pending = ''
      print('')
      return this.ask()
    }
    this.left = true
    print('')
    this.input.close()
    if (this.busy) void this.db.close()
  }
}
