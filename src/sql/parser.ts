/**
 * SQL text → syntax trees. PostgreSQL's own grammar (libpg-query, WebAssembly) parses what is
 * PostgreSQL's; a pre-pass splits the script and peels off the streaming clauses (SOURCE, SINK, SHOW,
 * DESCRIBE, EXPLAIN, FLUSH), keeping positions. Pure once `loadParser` has resolved.
 */
import { hasSqlDetails, loadModule, type Node, parseSync } from 'libpg-query'
import type { Name, ObjectKind, Properties, StatementAst } from './ast.ts'
import { TreeReader } from './postgres.ts'
import { sqlError, unsupported } from './sql-error.ts'
import { type Token, tokenize } from './tokenizer.ts'

let loading: Promise<void> | null = null

/** Loads the grammar once a thread; `parseScript` needs it. About 10 ms. */
export function loadParser(): Promise<void> {
  loading ??= loadModule()
  return loading
}

/**
 * The statements of a script, in order; empty statements are left out.
 * @throws SQL_SYNTAX (42601), SQL_UNSUPPORTED (0A000), SQL_TYPE (42704), each with `position` in `script`
 */
export function parseScript(script: string): readonly StatementAst[] {
  const statements: StatementAst[] = []
  let tokens: Token[] = []
  for (const token of tokenize(script)) {
    if (token.kind === 'symbol' && token.text === ';') {
      if (tokens.length > 0) statements.push(new StatementParser(script, tokens).parse())
      tokens = []
    } else tokens.push(token)
  }
  if (tokens.length > 0) statements.push(new StatementParser(script, tokens).parse())
  return statements
}

/** Parses exactly one statement. @throws as `parseScript`; 42601 when there is none or more than one */
export function parseStatement(sql: string): StatementAst {
  const statements = parseScript(sql)
  if (statements.length === 0) throw sqlError('42601', 'there is no statement', 0)
  if (statements.length > 1) {
    const hint = 'execute() runs a script of several statements'
    throw sqlError('42601', 'more than one statement', statements[1].position, hint)
  }
  return statements[0]
}

const SHOWN: Readonly<Record<string, ObjectKind>> = {
  sources: 'source',
  tables: 'table',
  'materialized views': 'view',
  sinks: 'sink',
}

class StatementParser {
  private readonly script: string
  private readonly tokens: readonly Token[]
  private readonly start: number
  private readonly end: number
  private next = 0

  constructor(script: string, tokens: readonly Token[]) {
    this.script = script
    this.tokens = tokens
    this.start = tokens[0].start
    this.end = tokens[tokens.length - 1].end
  }

  parse(): StatementAst {
    if (this.takeWords('create', 'source')) return this.createSource()
    if (this.takeWords('create', 'sink')) return this.createSink()
    if (this.takeWords('drop', 'source')) return this.drop('source')
    if (this.takeWords('drop', 'sink')) return this.drop('sink')
    if (this.takeWords('show')) return this.show()
    if (this.takeWords('describe') || this.takeWords('desc')) {
      const name = this.name()
      this.finish()
      return { ...this.base(), kind: 'describe', name }
    }
    if (this.takeWords('flush')) {
      this.finish()
      return { ...this.base(), kind: 'flush' }
    }
    if (this.takeWords('explain')) return this.explain()
    return this.postgres(this.start, this.end)
  }

  private explain(): StatementAst {
    const token = this.peek()
    if (token === undefined) throw this.syntaxError()
    if (token.text === 'analyze' || token.text === 'analyse' || token.text === '(') {
      throw unsupported('an option of EXPLAIN is', token.start, 'write EXPLAIN and the statement')
    }
    const statement = new StatementParser(this.script, this.tokens.slice(this.next)).parse()
    return { ...this.base(), kind: 'explain', statement }
  }

  private createSource(): StatementAst {
    const split = this.optionsIndex()
    const optionsStart = split < this.tokens.length ? this.tokens[split].start : this.end
    const properties = this.properties(split)
    // The columns are those of a table: let PostgreSQL parse them, positions unchanged.
    const keyword = this.tokens[1]
    const head = this.script.slice(this.start, keyword.start)
    const sql = `${head}table ${this.script.slice(keyword.end, optionsStart)}`
    const table = this.read(sql, this.start, (reader, node) => {
      if (!('CreateStmt' in node)) throw this.syntaxError()
      return reader.createTable(node.CreateStmt, this.base())
    })
    return { ...table, kind: 'create-source', properties }
  }

  private createSink(): StatementAst {
    const ifNotExists = this.takeWords('if', 'not', 'exists')
    const name = this.name()
    const split = this.optionsIndex()
    const properties = this.properties(split)
    const queryEnd = split < this.tokens.length ? this.tokens[split].start : this.end
    if (this.takeWords('from')) {
      const { name: relation, position } = this.name()
      if (this.next !== split) throw this.syntaxError()
      const star = { kind: 'star', qualifier: null, position } as const
      return {
        ...this.base(),
        kind: 'create-sink',
        name,
        ifNotExists,
        properties,
        query: {
          distinct: false,
          items: [{ expression: star, alias: null, position }],
          from: [{ kind: 'relation', name: relation, alias: null, columnAliases: [], position }],
          where: null,
          groupBy: [],
          having: null,
          orderBy: [],
          limit: null,
          offset: null,
          values: null,
          position,
        },
      }
    }
    if (!this.takeWords('as')) throw this.syntaxError()
    const first = this.peek()
    if (first === undefined || this.next >= split) throw this.syntaxError()
    const inner = this.postgres(first.start, queryEnd)
    if (inner.kind !== 'select') throw sqlError('42601', 'a sink is AS SELECT …', first.start)
    return {
      ...this.base(),
      kind: 'create-sink',
      name,
      ifNotExists,
      properties,
      query: inner.query,
    }
  }

  private drop(objectKind: ObjectKind): StatementAst {
    const ifExists = this.takeWords('if', 'exists')
    const name = this.name()
    const token = this.peek()
    if (token?.text === 'cascade')
      throw unsupported('CASCADE is', token.start, 'drop the dependent objects first')
    this.takeWords('restrict')
    this.finish()
    return { ...this.base(), kind: 'drop', objectKind, name, ifExists }
  }

  private show(): StatementAst {
    const rest = this.tokens.slice(this.next).map((token) => token.text)
    const objectKind = SHOWN[rest.join(' ')]
    if (objectKind === undefined) {
      const position = this.peek()?.start ?? this.end
      const hint = 'SHOW SOURCES, TABLES, MATERIALIZED VIEWS or SINKS'
      throw unsupported(`SHOW ${rest.join(' ').toUpperCase()} is`, position, hint)
    }
    return { ...this.base(), kind: 'show', objectKind }
  }

  /** Index of the WITH that opens the last clause, or the number of tokens. */
  private optionsIndex(): number {
    let depth = 0
    for (let index = this.tokens.length - 1; index > this.next; index--) {
      const { kind, text } = this.tokens[index]
      if (kind === 'symbol' && text === ')') depth++
      else if (kind === 'symbol' && text === '(') depth--
      else if (depth === 0 && kind === 'word' && text === 'with') return index
    }
    return this.tokens.length
  }

  /** `WITH (connector = 'nexmark', nexmark.table.type = 'Bid')`; names in lower case unless quoted. */
  private properties(index: number): Properties {
    const properties: Record<string, string> = {}
    if (index >= this.tokens.length) return properties
    const saved = this.next
    this.next = index + 1
    this.symbol('(')
    do {
      if (this.peek()?.text === ')') break
      const position = this.peek()?.start ?? this.end
      let key = this.propertyWord()
      while (this.takeSymbol('.')) key += `.${this.propertyWord()}`
      this.symbol('=')
      const value = this.tokens[this.next++]
      if (value === undefined || value.kind === 'symbol' || value.kind === 'parameter') {
        this.next--
        throw this.syntaxError()
      }
      if (Object.hasOwn(properties, key))
        throw sqlError('42601', `the option ${key} stands twice`, position)
      properties[key] = value.text
    } while (this.takeSymbol(','))
    this.symbol(')')
    this.finish()
    this.next = saved
    return properties
  }

  private propertyWord(): string {
    const token = this.tokens[this.next]
    if (
      token === undefined ||
      (token.kind !== 'word' && token.kind !== 'quoted' && token.kind !== 'string')
    )
      throw this.syntaxError()
    this.next++
    return token.text
  }

  private name(): Name {
    const token = this.peek()
    if (token === undefined || (token.kind !== 'word' && token.kind !== 'quoted'))
      throw this.syntaxError()
    this.next++
    if (this.peek()?.text === '.') {
      const hint = 'all objects live in one schema, "public"'
      throw unsupported('a schema name is', token.start, hint)
    }
    return { name: token.text, position: token.start }
  }

  private postgres(start: number, end: number): StatementAst {
    const sql = this.script.slice(start, end)
    return this.read(sql, start, (reader, node) => reader.statement(node))
  }

  private read<T>(sql: string, start: number, convert: (reader: TreeReader, node: Node) => T): T {
    const node = parsePostgres(sql, start)
    const text = this.script.slice(start, start + sql.length)
    return convert(new TreeReader(text, start, bytePositions(sql, start)), node)
  }

  private base(): { readonly text: string; readonly position: number } {
    return { text: this.script.slice(this.start, this.end), position: this.start }
  }

  private peek(): Token | undefined {
    return this.tokens[this.next]
  }

  private takeWords(...words: readonly string[]): boolean {
    for (let i = 0; i < words.length; i++) {
      const token = this.tokens[this.next + i]
      if (token?.kind !== 'word' || token.text !== words[i]) return false
    }
    this.next += words.length
    return true
  }

  private takeSymbol(symbol: string): boolean {
    const token = this.peek()
    if (token?.kind !== 'symbol' || token.text !== symbol) return false
    this.next++
    return true
  }

  private symbol(symbol: string): void {
    if (!this.takeSymbol(symbol)) throw this.syntaxError()
  }

  private finish(): void {
    if (this.next < this.tokens.length) throw this.syntaxError()
  }

  private syntaxError(): Error {
    const token = this.peek()
    if (token === undefined) return sqlError('42601', 'syntax error at end of input', this.end)
    const text = this.script.slice(token.start, token.end)
    return sqlError('42601', `syntax error at or near "${text}"`, token.start)
  }
}

function parsePostgres(sql: string, start: number): Node {
  try {
    const statement = parseSync(sql).stmts?.[0]?.stmt
    if (statement !== undefined) return statement
  } catch (error) {
    if (!hasSqlDetails(error)) throw error
    // PostgreSQL counts code points here.
    const points = Math.max(0, error.sqlDetails?.cursorPosition ?? 0)
    const position = start + [...sql].slice(0, points).join('').length
    throw sqlError('42601', error.message, position)
  }
  throw sqlError('42601', 'there is no statement', start)
}

/** Byte offsets of UTF-8 in `sql` → UTF-16 offsets in the script. */
function bytePositions(sql: string, start: number): (byteOffset: number) => number {
  const bytes = new TextEncoder().encode(sql)
  if (bytes.length === sql.length) return (byteOffset) => start + byteOffset
  // A table, because a long list of rows asks for a position of each of its values.
  const positions = new Uint32Array(bytes.length + 1)
  let units = 0
  for (let at = 0; at < bytes.length; at++) {
    positions[at] = start + units
    // The last byte of a character carries it; one of four bytes is two units of UTF-16.
    const isLast = at + 1 === bytes.length || (bytes[at + 1] & 0xc0) !== 0x80
    if (isLast) units += at >= 3 && (bytes[at - 3] & 0xf8) === 0xf0 ? 2 : 1
  }
  positions[bytes.length] = start + units
  return (byteOffset) => positions[byteOffset]
}
