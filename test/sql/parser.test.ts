/** The pre-pass: statements are split where PostgreSQL would split them, and positions are those of the script. */
import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import type { EngineError } from '../../src/common/errors.ts'
import { loadParser, parseScript } from '../../src/sql/parser.ts'
import { tokenize } from '../../src/sql/tokenizer.ts'
import { errorText } from './harness.ts'

beforeAll(loadParser)

const kinds = (sql: string): string[] => parseScript(sql).map((statement) => statement.kind)

test('a script is split at semicolons that are not inside of anything', () => {
  const script = `-- first; not a statement
    CREATE SOURCE s (a BIGINT) WITH (connector = 'x;y', "Quoted;Key" = 'v');
    /* a ; /* nested ; */ comment */;
    SELECT ';', E'\\';', "a;b", $$;$$, $tag$ ; $$ ; $tag$ FROM s;;
    SHOW MATERIALIZED VIEWS; DESCRIBE s; FLUSH;
    DROP SOURCE IF EXISTS s; EXPLAIN EXPLAIN SELECT 1`
  expect(kinds(script)).toEqual([
    'create-source',
    'select',
    'show',
    'describe',
    'flush',
    'drop',
    'explain',
  ])
  const [source] = parseScript(script)
  expect(source).toMatchObject({
    name: { name: 's' },
    properties: { connector: 'x;y', 'Quoted;Key': 'v' },
  })
})

test('the seed document writes its view over several lines', () => {
  const text =
    'CREATE MATERIALIZED VIEW nexmark_q3\nAS\nSELECT P.name,\nP.city\nFROM person AS P\nWHERE A.category = 10'
  const [view] = parseScript(`${text};\n`)
  expect(view).toMatchObject({
    kind: 'create-view',
    text,
    name: { name: 'nexmark_q3', position: 25 },
  })
})

test('names beyond ASCII are words, and keep their case there', () => {
  const [source, query] = parseScript(
    'CREATE SOURCE ÉAb§ (a BIGINT) WITH (k = 1); SELECT 1 FROM ÉAb§',
  )
  expect(source).toMatchObject({ name: { name: 'Éab§' } })
  expect(query).toMatchObject({ query: { from: [{ name: 'Éab§' }] } })
})

test('property names are dotted, and their last words may be keywords', () => {
  const [source] = parseScript(
    "create source S (a bigint, primary key (a)) with (connector='nexmark', nexmark.table.type = 'Bid', nexmark.event.num = 5,)",
  )
  expect(source).toMatchObject({
    name: { name: 's' },
    primaryKey: [{ name: 'a' }],
    properties: { connector: 'nexmark', 'nexmark.table.type': 'Bid', 'nexmark.event.num': '5' },
  })
})

test('a sink is FROM a relation or AS a query', () => {
  const [from, as] = parseScript(`
    CREATE SINK a FROM v WITH (connector = 'blackhole');
    CREATE SINK IF NOT EXISTS b AS SELECT x FROM v WHERE y = 'with (' WITH (connector = 'blackhole')`)
  expect(from).toMatchObject({ kind: 'create-sink', query: { from: [{ name: 'v' }] } })
  expect(as).toMatchObject({
    kind: 'create-sink',
    ifNotExists: true,
    properties: { connector: 'blackhole' },
    query: { items: [{ expression: { path: ['x'] } }] },
  })
})

test.each([
  ["SELECT 1; SELECT 'é', ];", ']'],
  ["SELECT '𝕏'; SELECT '𝕏' FROM FROM", 'FROM'],
  ['SELECT 1;\n\n  CREATE SOURCE x (a bigint) WITH (k == 1)', '= 1'],
  ['SELECT 1; EXPLAIN SELECT (', null],
  ["SELECT 'open", null],
  ['DROP SINK a b', 'b'],
  ['FLUSH now', 'now'],
])('%s: the position of a syntax error', (script, near) => {
  let error: EngineError | null = null
  try {
    parseScript(script)
  } catch (thrown) {
    error = thrown as EngineError
  }
  expect(error?.context['sqlState'], errorText(error)).toBe('42601')
  const position = Number(error?.context['position'])
  if (near !== null) expect(position).toBe(script.lastIndexOf(near))
  else expect(position).toBeGreaterThan(0)
})

test('positions count UTF-16 units, also behind other text', () => {
  const script = "SELECT 1; SELECT '𝕏é', wrong FROM t"
  const [, second] = parseScript(script)
  expect(second).toMatchObject({ position: 10 })
  if (second.kind !== 'select') throw new TypeError('not a select')
  expect(second.query.items[1].position).toBe(script.indexOf('wrong'))
})

test('tokens cover the text in order, whatever it is', () => {
  const pieces = fc.constantFrom(
    "'",
    '"',
    '--',
    '\n',
    '/*',
    '*/',
    '$$',
    '$a$',
    ';',
    'a',
    '1',
    'é',
    ' ',
    "E'",
    '\\',
    '.',
  )
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(pieces).map((parts) => parts.join('')),
  )
  fc.assert(
    fc.property(text, (sql) => {
      let end = 0
      for (const token of tokenize(sql)) {
        expect(token.start).toBeGreaterThanOrEqual(end)
        expect(token.end).toBeGreaterThan(token.start)
        end = token.end
      }
      expect(end).toBeLessThanOrEqual(sql.length)
    }),
  )
})

test('any text is parsed or refused with a typed error', () => {
  const words = fc.constantFrom(
    ...'select create source sink table materialized view with ( ) , ; = * . from where a b 1 \' " drop show explain insert into values update set delete'.split(
      ' ',
    ),
  )
  fc.assert(
    fc.property(fc.array(words, { maxLength: 12 }), (parts) => {
      try {
        parseScript(parts.join(' '))
      } catch (error) {
        const { code } = error as EngineError
        expect(
          ['SQL_SYNTAX', 'SQL_UNSUPPORTED', 'SQL_TYPE', 'SQL_INVALID'],
          errorText(error),
        ).toContain(code)
      }
    }),
    { numRuns: 1000 },
  )
})
