/** The plans of Nexmark's queries and of views over tables, as EXPLAIN shows them: `plans.txt`. */
import { readFileSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { explainStatement } from '../../src/sql/explain-statement.ts'
import { parseStatement } from '../../src/sql/parser.ts'
import { isCreate, planJob } from '../../src/sql/planner.ts'
import { catalogOf, errorText, parseCases, rewriteCases } from './harness.ts'

test.each(['plans.txt', 'errors.txt'])('%s', async (name) => {
  const file = new URL(name, import.meta.url)
  const text = readFileSync(file, 'utf8')
  const setup = readFileSync(new URL('nexmark.sql', import.meta.url), 'utf8')
  let catalog = await catalogOf(setup)
  const outputs = parseCases(text).map(({ input }) => {
    try {
      // `+` before a CREATE keeps the object for the cases that follow.
      const keep = input.startsWith('+ ')
      const statement = parseStatement(keep ? input.slice(2) : input)
      const explained = statement.kind === 'explain' ? statement.statement : statement
      if (keep && isCreate(explained)) {
        const before = catalog
        catalog = planJob(explained, catalog).catalog
        return explainStatement(explained, before)
      }
      return explainStatement(explained, catalog)
    } catch (error) {
      return errorText(error)
    }
  })
  if (process.env['REWRITE'] === '1') writeFileSync(file, rewriteCases(text, outputs))
  else {
    parseCases(text).forEach(({ input, expected }, index) => {
      expect(outputs[index], input).toBe(expected)
    })
  }
})
