/** `tussock sql`: what it prints, where it points, which stores it makes. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { type Ended, Shell } from './command.ts'

const shell = new Shell()

const sql = (text: string, ...words: readonly string[]): Promise<Ended> =>
  shell.run(['sql', '--store', './data', '-c', text, ...words])

beforeAll(async () => {
  const script = `
    CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR, n NUMERIC, d DOUBLE PRECISION, at TIMESTAMPTZ, b BYTEA);
    INSERT INTO t VALUES (1, 'a,"b', 1.50, 'NaN', '2025-03-01 10:00:00', NULL),
      (9007199254740993, E'two\\nlines', NULL, 1.5, NULL, NULL);
    CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM t; FLUSH`
  const { code, out } = await shell.run(['sql', '--store', './data'], script)
  expect({ code, out }).toEqual({
    code: 0,
    out: 'CREATE TABLE\nINSERT 2\nCREATE MATERIALIZED VIEW\nFLUSH\n',
  })
})

describe('results', () => {
  test.concurrent('a table: a line a row, whatever is in it', async () => {
    const { out } = await sql("SELECT id, v, E'\\x1b[31m' AS red FROM t ORDER BY id")
    expect(out).toBe(
      [
        'id                v           red',
        '----------------  ----------  ----------',
        '1                 a,"b        \\u001b[31m',
        '9007199254740993  two\\nlines  \\u001b[31m',
        '',
      ].join('\n'),
    )
  })

  test.concurrent('JSON: an array a statement, a line each', async () => {
    const { out } = await sql('SELECT * FROM t ORDER BY id; SELECT n FROM v', '--json')
    expect(out.split('\n').map((line) => (line === '' ? null : JSON.parse(line)))).toEqual([
      [
        { id: 1, v: 'a,"b', n: '1.50', d: 'NaN', at: '2025-03-01T10:00:00.000Z', b: null },
        { id: '9007199254740993', v: 'two\nlines', n: null, d: 1.5, at: null, b: null },
      ],
      [{ n: 2 }],
      null,
    ])
  })

  test.concurrent('CSV', async () => {
    const { out } = await sql('SELECT v, n FROM t ORDER BY id', '--format', 'csv')
    expect(out).toBe('v,n\n"a,""b",1.50\n"two\nlines",\n')
  })

  test.concurrent('statements from a file, and from a pipe', async () => {
    const file = shell.write('one.sql', 'SELECT 1 AS one')
    const words = ['sql', '--store', './data', '--json', '-f']
    expect((await shell.run([...words, file])).out).toBe('[{"one":1}]\n')
    expect((await shell.run([...words, '-'], 'SELECT 2 AS two')).out).toBe('[{"two":2}]\n')
  })

  test.concurrent('a reader that goes away is no error', async () => {
    const child = shell.start(['sql', '--store', './data', '-c', 'SELECT * FROM t'])
    child.stdin.end()
    child.stdout.destroy()
    const code = await new Promise((resolve) => child.on('close', resolve))
    expect(code).toBe(0)
  })
})

describe('errors', () => {
  test.concurrent('point at the place, and say what was probably meant', async () => {
    const { code, out, err } = await sql('SELECT 1 AS one;\nSELECT id,\n\tvv FROM t')
    // What was done before is told.
    expect(out).toBe('one\n---\n1\n')
    expect(err).toBe(
      [
        'error: column "vv" does not exist [SQL_UNDEFINED_COLUMN 42703]',
        'line 3:  vv FROM t',
        '         ^',
        'hint: did you mean "v"?',
        '',
      ].join('\n'),
    )
    expect(code).toBe(2)
  })

  test.concurrent('a syntax error anywhere: nothing is run', async () => {
    const { code, out, err } = await sql('CREATE TABLE never (a INT); SELEC 1')
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(err).toContain('\nline 1: CREATE TABLE never (a INT); SELEC 1\n')
    expect(err).toContain(`\n${' '.repeat(36)}^\n`)
  })

  test.concurrent('of a long line the part around the place', async () => {
    const { err } = await sql(`SELECT ${'id, '.repeat(40)}wrong${', id'.repeat(40)} FROM t`)
    const [, line, caret] = err.split('\n')
    expect(line.length).toBeLessThan(80)
    expect(line.slice(caret.indexOf('^'))).toMatch(/^wrong, id/)
  })

  test.concurrent('colours only where they are asked for', async () => {
    const words = ['sql', '--store', './data', '-c', 'SELEC']
    const plain = await shell.run(words)
    const colourful = await shell.run(words, '', { FORCE_COLOR: '1' })
    const refused = await shell.run(words, '', { FORCE_COLOR: '1', NO_COLOR: 'yes' })
    expect(plain.err).not.toContain('\u001b')
    expect(colourful.err).toContain('\u001b[31merror')
    // Newer versions of Node put a warning about the two of them in front.
    expect(refused.err).toContain(plain.err)
    expect(refused.err).not.toContain('\u001b')
  })
})

describe('stores', () => {
  test.concurrent('what only reads makes none', async () => {
    const { code, err } = await shell.run(['sql', '--store', './typo', '-c', 'SELECT * FROM t'])
    expect(code).toBe(2)
    expect(err).toMatch(/no database at \.\/typo \[STORE_NOT_FOUND\]/)
    const nothing = await shell.run(['sql', '--store', './typo'], ' -- nothing\n')
    expect(nothing).toEqual({ code: 0, out: '', err: '' })
    expect(existsSync(join(shell.folder, 'typo'))).toBe(false)
  })

  test.concurrent('memory holds nothing and may be asked', async () => {
    const { out } = await shell.run([
      'sql',
      '--store',
      'memory://',
      '--json',
      '-c',
      'SELECT 1 AS x',
    ])
    expect(out).toBe('[{"x":1}]\n')
  })

  test.concurrent('a file is no folder, and a URL has no secrets', async () => {
    const file = shell.write('file', '')
    const notFolder = await shell.run(['sql', '--store', file, '-c', 'CREATE TABLE t (a INT)'])
    expect(notFolder).toMatchObject({ code: 2, err: expect.stringContaining('must be a folder') })
    // Once, not again as a hint.
    expect(notFolder.err.match(/must be a folder/g)).toHaveLength(1)
    const secret = 's3://me:hush@bucket/p?endpoint=http://127.0.0.1:9'
    const { code, err } = await shell.run(['verify', '--store', secret])
    expect(code).toBe(2)
    expect(err).toContain('credentials never stand in a URL')
    expect(err).not.toContain('hush')
  })
})
