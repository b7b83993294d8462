/**
 * Splits SQL text into tokens by PostgreSQL's lexical rules, as far as the pre-pass needs them: where
 * statements end and where the streaming clauses stand. The statements themselves are parsed by
 * PostgreSQL's grammar, which has its own lexer and the last word on what is wrong.
 */

export interface Token {
  readonly kind: 'word' | 'quoted' | 'string' | 'number' | 'parameter' | 'symbol'
  /** As written; a word in lower case, a quoted name and a plain string without its quotes. */
  readonly text: string
  /** UTF-16 offsets, half-open. */
  readonly start: number
  readonly end: number
}

const SPACE = /[ \t\n\r\f\v]+/y
// To PostgreSQL every character beyond ASCII is a letter.
const WORD = /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/y
const NUMBER = /(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?/y
const PARAMETER = /\$\d+/y
const DOLLAR_TAG = /\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y
const LINE_COMMENT = /--[^\n]*/y
const COMMENT_EDGE = /\/\*|\*\//g

/** An unterminated string or comment reaches to the end of the text. */
export function tokenize(sql: string): Token[] {
  const tokens: Token[] = []
  let at = 0
  const match = (pattern: RegExp): string | null => {
    pattern.lastIndex = at
    return pattern.exec(sql)?.[0] ?? null
  }
  const push = (kind: Token['kind'], end: number, text = sql.slice(at, end)): void => {
    tokens.push({ kind, text, start: at, end })
    at = end
  }
  while (at < sql.length) {
    const skipped = match(SPACE) ?? match(LINE_COMMENT)
    if (skipped !== null) {
      at += skipped.length
      continue
    }
    if (sql.startsWith('/*', at)) {
      at = commentEnd(sql, at)
      continue
    }
    const character = sql[at]
    if (character === "'") {
      const end = quotedEnd(sql, at, "'", false)
      push('string', end, sql.slice(at + 1, end - 1).replaceAll("''", "'"))
    } else if ((character === 'e' || character === 'E') && sql[at + 1] === "'") {
      push('string', quotedEnd(sql, at + 1, "'", true))
    } else if (character === '"') {
      const end = quotedEnd(sql, at, '"', false)
      push('quoted', end, sql.slice(at + 1, end - 1).replaceAll('""', '"'))
    } else {
      const word = match(WORD)
      const parameter = word === null ? match(PARAMETER) : null
      const tag = word === null && parameter === null ? match(DOLLAR_TAG) : null
      const number = word === null && parameter === null ? match(NUMBER) : null
      if (word !== null) push('word', at + word.length, lowerAscii(word))
      else if (parameter !== null) push('parameter', at + parameter.length)
      else if (tag !== null) push('string', dollarEnd(sql, at, tag))
      else if (number !== null) push('number', at + number.length)
      else push('symbol', at + 1)
    }
  }
  return tokens
}

/** PostgreSQL folds the case of ASCII letters only. */
function lowerAscii(word: string): string {
  return word.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
}

function quotedEnd(sql: string, start: number, quote: string, escapes: boolean): number {
  for (let at = start + 1; at < sql.length; at++) {
    if (escapes && sql[at] === '\\') at++
    else if (sql[at] === quote) {
      if (sql[at + 1] !== quote) return at + 1
      at++
    }
  }
  return sql.length
}

function dollarEnd(sql: string, start: number, tag: string): number {
  const close = sql.indexOf(tag, start + tag.length)
  return close < 0 ? sql.length : close + tag.length
}

/** Comments nest in PostgreSQL. */
function commentEnd(sql: string, start: number): number {
  let depth = 0
  COMMENT_EDGE.lastIndex = start
  for (let edge = COMMENT_EDGE.exec(sql); edge !== null; edge = COMMENT_EDGE.exec(sql)) {
    depth += edge[0] === '/*' ? 1 : -1
    if (depth === 0) return COMMENT_EDGE.lastIndex
  }
  return sql.length
}
