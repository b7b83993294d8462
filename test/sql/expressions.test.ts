/** Types and values of expressions, one a case, in `expressions.txt`; and rules that need rows. */
import { readFileSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { executeQuery } from '../../src/runtime/query.ts'
import { parseStatement } from '../../src/sql/parser.ts'
import { planQuery } from '../../src/sql/query-planner.ts'
import { textAt } from '../../src/stream/values.ts'
import { catalogOf, errorText, MemoryTables, parseCases, rewriteCases } from './harness.ts'

test('expressions.txt', async () => {
  const file = new URL('expressions.txt', import.meta.url)
  const text = readFileSync(file, 'utf8')
  const tables = new MemoryTables(await catalogOf(''))
  const outputs: string[] = []
  for (const { input } of parseCases(text)) {
    try {
      const statement = parseStatement(`SELECT ${input}`)
      if (statement.kind !== 'select') throw new TypeError('not a select')
      const plan = planQuery(statement.query, tables.catalog, [])
      const { chunks, schema } = await executeQuery(plan, tables.io)
      outputs.push(`${schema[0].type} ${textAt(chunks[0].columns[0], 0) ?? 'NULL'}`)
    } catch (error) {
      outputs.push(errorText(error))
    }
  }
  if (process.env['REWRITE'] === '1') writeFileSync(file, rewriteCases(text, outputs))
  else {
    parseCases(text).forEach(({ input, expected }, index) => {
      expect(outputs[index], input).toBe(expected)
    })
  }
})

test('a condition guards what stands behind it', async () => {
  const tables = new MemoryTables(await catalogOf('CREATE TABLE t (a INTEGER, b INTEGER)'))
  await tables.insert('INSERT INTO t VALUES (10, 2), (10, 0), (1, NULL)')
  const read = (sql: string): Promise<unknown[][]> => tables.query(sql)
  expect(await read('SELECT a / b FROM t WHERE b <> 0')).toEqual([[5]])
  expect(await read('SELECT a FROM t WHERE b <> 0 AND a / b > 1')).toEqual([[10]])
  expect(await read('SELECT CASE WHEN b = 0 THEN 0 ELSE a / b END FROM t')).toEqual([
    [5],
    [0],
    [null],
  ])
  const inner = 'SELECT a / b AS q FROM t WHERE b <> 0'
  expect(await read(`SELECT q FROM (${inner}) x WHERE q > 1`)).toEqual([[5]])
  await expect(read('SELECT a / b FROM t')).rejects.toMatchObject({ code: 'DIVISION_BY_ZERO' })
})
