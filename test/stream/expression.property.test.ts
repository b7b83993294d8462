import fc from 'fast-check'
import { expect, test } from 'vitest'
import { EngineError } from '../../src/common/errors.ts'
import { Chunk } from '../../src/stream/chunk.ts'
import type { Column } from '../../src/stream/column.ts'
import { compileExpressions, compilePredicate } from '../../src/stream/expression.ts'
import type { Expression } from '../../src/stream/plan.ts'
import type { DataType } from '../../src/stream/schema.ts'
import type { Plain } from './arbitrary-columns.ts'
import { columnOf, plainAt, plainOf, widened } from './arbitrary-columns.ts'
import { call, cast, col, lit, when } from './expression-builders.ts'
import type { Datum } from './expression-oracle.ts'
import { datumOf, evaluate, OracleError } from './expression-oracle.ts'

const TYPES: readonly DataType[] = [
  'bigint',
  'integer',
  'numeric',
  'double',
  'varchar',
  'boolean',
  'timestamp',
  'bigint',
  'numeric',
  'varchar',
]
const SCALES = [0, 0, 2, 0, 0, 0, 0, 0, 4, 0]
const COMPARE = ['equal', 'not_equal', 'less', 'less_equal', 'greater', 'greater_equal'] as const
const CONDITIONED: readonly DataType[] = [
  'bigint',
  'integer',
  'numeric',
  'double',
  'varchar',
  'boolean',
  'timestamp',
]

type Tree = fc.Arbitrary<Expression>

function columnTree(type: DataType): Tree {
  const indexes = TYPES.flatMap((candidate, index) => (candidate === type ? [index] : []))
  return fc.constantFrom(...indexes).map((index) => col(index, type))
}

function literalTree(type: DataType): Tree {
  return fc.oneof(
    { weight: 1, arbitrary: fc.constant(lit(type, null)) },
    {
      weight: 8,
      arbitrary: plainOf(type, true).chain((value) => {
        if (type === 'boolean') return fc.constant(lit(type, value === 1n))
        if (typeof value !== 'bigint') return fc.constant(lit(type, value))
        const text = value.toString()
        return fc
          .integer({ min: 0, max: type === 'numeric' ? 3 : 0 })
          .map((scale) =>
            lit(type, Number.isSafeInteger(Number(text)) ? Number(text) : text, scale),
          )
      }),
    },
  )
}

function comparisonTree(depth: number): Tree {
  return fc
    .constantFrom(...CONDITIONED)
    .chain((type) =>
      fc
        .tuple(
          fc.constantFrom(...COMPARE, 'is_distinct' as const, 'is_not_distinct' as const),
          tree(type, depth),
          tree(type, depth),
        )
        .map(([name, a, b]) => call(name, 'boolean', a, b)),
    )
}

function inTree(depth: number): Tree {
  return fc
    .constantFrom<DataType>('bigint', 'numeric', 'varchar', 'double', 'integer')
    .chain((type) =>
      fc
        .tuple(tree(type, depth), fc.array(literalTree(type), { minLength: 1, maxLength: 12 }))
        .map(([value, items]) => call('in', 'boolean', value, ...items)),
    )
}

function booleanTrees(depth: number): Tree[] {
  const operand = tree('boolean', depth)
  const names = ['not', 'is_null', 'is_not_null', 'is_true', 'is_false'] as const
  const patterns = fc.constantFrom(
    '%',
    '_',
    'a%',
    '%b',
    '%a_',
    'ab',
    '',
    '%c%d%',
    'é_',
    '\\%',
    '__%',
  )
  return [
    comparisonTree(depth),
    inTree(depth),
    fc
      .tuple(fc.constantFrom('and' as const, 'or' as const), operand, operand)
      .map(([name, a, b]) => call(name, 'boolean', a, b)),
    fc.tuple(fc.constantFrom(...names), operand).map(([name, a]) => call(name, 'boolean', a)),
    fc
      .constantFrom(...CONDITIONED)
      .chain((type) => tree(type, depth))
      .map((a) => call('is_null', 'boolean', a)),
    fc
      .tuple(tree('varchar', depth), patterns)
      .map(([a, pattern]) => call('like', 'boolean', a, lit('varchar', pattern))),
  ]
}

function numberTrees(type: DataType, depth: number): Tree[] {
  const operand = tree(type, depth)
  const binary: readonly ('add' | 'subtract' | 'multiply' | 'divide' | 'modulo')[] =
    type === 'double'
      ? ['add', 'subtract', 'multiply', 'divide']
      : type === 'numeric'
        ? ['add', 'subtract', 'multiply', 'modulo']
        : ['add', 'subtract', 'multiply', 'divide', 'modulo']
  const trees: Tree[] = [
    fc
      .tuple(fc.constantFrom(...binary), operand, operand)
      .map(([name, a, b]) => call(name, type, a, b)),
    fc
      .tuple(fc.constantFrom('negate' as const, 'abs' as const), operand)
      .map(([name, a]) => call(name, type, a)),
  ]
  if (type === 'double' || type === 'numeric') {
    trees.push(
      fc
        .tuple(fc.constantFrom('round' as const, 'floor' as const, 'ceil' as const), operand)
        .map(([name, a]) => call(name, type, a)),
    )
  }
  if (type === 'numeric') {
    trees.push(
      fc
        .tuple(operand, fc.integer({ min: -3, max: 6 }))
        .map(([a, digits]) => call('round', type, a, lit('integer', digits))),
    )
  }
  const sources: readonly DataType[] =
    type === 'integer'
      ? ['bigint', 'numeric', 'boolean', 'double']
      : type === 'bigint'
        ? ['integer', 'numeric', 'double']
        : type === 'numeric'
          ? ['integer', 'bigint']
          : ['integer', 'bigint', 'numeric']
  trees.push(
    fc
      .constantFrom(...sources)
      .chain((source) => tree(source, depth))
      .map((a) => cast(a, type)),
  )
  return trees
}

function textTrees(depth: number): Tree[] {
  const text = tree('varchar', depth)
  const small = fc.integer({ min: -2, max: 8 }).map((n) => lit('integer', n))
  return [
    fc
      .tuple(fc.constantFrom('lower' as const, 'upper' as const), text)
      .map(([name, a]) => call(name, 'varchar', a)),
    fc.tuple(text, text).map(([a, b]) => call('concat', 'varchar', a, b)),
    fc.tuple(text, small).map(([a, from]) => call('substring', 'varchar', a, from)),
    fc
      .tuple(text, small, small)
      .map(([a, from, count]) => call('substring', 'varchar', a, from, count)),
    fc
      .constantFrom<DataType>('bigint', 'boolean', 'integer')
      .chain((type) => tree(type, depth))
      .map((a) => cast(a, 'varchar')),
  ]
}

function timeTrees(depth: number): Tree[] {
  const time = tree('timestamp', depth)
  const interval = fc.integer({ min: -(10 ** 12), max: 10 ** 12 }).map((n) => lit('interval', n))
  const size = fc.integer({ min: 1, max: 10 ** 11 }).map((n) => lit('interval', n))
  return [
    fc
      .tuple(fc.constantFrom('add' as const, 'subtract' as const), time, interval)
      .map(([name, a, b]) => call(name, 'timestamp', a, b)),
    fc.tuple(time, size).map(([a, b]) => call('tumble_start', 'timestamp', a, b)),
  ]
}

function conditionalTrees(type: DataType, depth: number): Tree[] {
  const value = tree(type, depth)
  const condition = tree('boolean', depth)
  return [
    fc
      .tuple(fc.array(fc.tuple(condition, value), { minLength: 1, maxLength: 3 }), fc.option(value))
      .map(([branches, otherwise]) => when(type, branches, otherwise)),
    fc
      .tuple(
        fc.constantFrom('coalesce' as const, 'greatest' as const, 'least' as const),
        fc.array(value, { minLength: 1, maxLength: 3 }),
      )
      .map(([name, args]) => call(name, type, ...args)),
    fc.tuple(value, value).map(([a, b]) => call('nullif', type, a, b)),
  ]
}

function tree(type: DataType, depth: number): Tree {
  if (depth === 0) {
    return fc.oneof(
      { weight: 3, arbitrary: columnTree(type) },
      { weight: 1, arbitrary: literalTree(type) },
    )
  }
  const below = depth - 1
  const trees =
    type === 'boolean'
      ? booleanTrees(below)
      : type === 'varchar'
        ? textTrees(below)
        : type === 'timestamp'
          ? timeTrees(below)
          : numberTrees(type, below)
  if (type === 'integer') {
    trees.push(tree('varchar', below).map((a) => call('length', 'integer', a)))
  }
  return fc.oneof(columnTree(type), ...trees, ...conditionalTrees(type, below))
}

interface Case {
  readonly expression: Expression
  readonly rows: Plain[][]
  readonly visible: boolean[] | null
}

function cases(depth: number): fc.Arbitrary<Case> {
  return fc.boolean().chain((wide) => {
    const values = TYPES.map((type) => plainOf(type, wide))
    return fc.boolean().chain((nulls) =>
      fc.record({
        expression: fc.constantFrom(...CONDITIONED).chain((type) => tree(type, depth)),
        rows: fc.array(
          fc.tuple(
            ...values.map((value) =>
              nulls ? fc.oneof({ weight: 3, arbitrary: value }, fc.constant<Plain>(null)) : value,
            ),
          ),
          { minLength: 1, maxLength: 6 },
        ),
        visible: fc.option(fc.array(fc.boolean(), { minLength: 6, maxLength: 6 })),
      }),
    )
  })
}

/** The value, comparable by `toEqual`: numerics without trailing zeros. */
function canonical(datum: Datum): unknown {
  if (datum === null || typeof datum !== 'object') return datum
  let { value, scale } = datum
  while (scale > 0 && value % 10n === 0n) {
    value /= 10n
    scale--
  }
  return `${value}e-${scale}`
}

function run(
  evaluateChunk: () => unknown[],
): { values: unknown[] } | { failed: true; error: unknown } {
  try {
    return { values: evaluateChunk() }
  } catch (error) {
    return { failed: true, error }
  }
}

function expected({ expression, rows, visible }: Case): { values: unknown[] } | { failed: true } {
  const values: unknown[] = []
  for (let row = 0; row < rows.length; row++) {
    if (visible !== null && !visible[row]) {
      values.push('hidden')
      continue
    }
    const data = rows[row].map((plain, c) => datumOf(TYPES[c], plain, SCALES[c]))
    try {
      values.push(canonical(evaluate(expression, data)))
    } catch (error) {
      if (!(error instanceof OracleError)) throw error
      return { failed: true }
    }
  }
  return { values }
}

function shown(given: Case, column: Column): unknown[] {
  return given.rows.map((_, row) =>
    given.visible !== null && !given.visible[row]
      ? 'hidden'
      : canonical(datumOf(column.type, plainAt(column, row), column.scale)),
  )
}

function check(given: Case): void {
  const { expression, rows, visible } = given
  const narrow = TYPES.map((type, c) =>
    columnOf(
      type,
      rows.map((row) => row[c]),
      SCALES[c],
    ),
  )
  const wide = narrow.map((column) => widened(column, rows.length))
  const mask = visible === null ? null : Uint8Array.from(visible, Number)
  const want = expected(given)
  const compiled = compileExpressions([expression])
  const predicate = expression.type === 'boolean' ? compilePredicate(expression) : null
  // Twice narrow: the second run uses the loops that the first one made.
  for (const columns of [narrow, wide, narrow]) {
    const chunk = new Chunk(rows.length, null, mask, columns)
    const got = run(() => shown(given, compiled(chunk)[0]))
    if ('failed' in want) {
      expect(got).toMatchObject({ failed: true })
      if ('failed' in got) expect(got.error).toBeInstanceOf(EngineError)
      if ('failed' in got) expect(got.error).toMatchObject({ kind: 'invalid' })
      continue
    }
    if ('failed' in got) throw got.error
    expect(got).toEqual(want)
    if (predicate === null) continue
    const out = new Uint8Array(rows.length).fill(7)
    predicate(chunk, out)
    expect([...out]).toEqual(want.values.map((value) => (value === true ? 1 : 0)))
  }
}

test('shallow expressions give what the naive evaluator gives, in both forms', () => {
  fc.assert(fc.property(cases(1), check), { numRuns: 1500 })
})

test('deep expressions give what the naive evaluator gives, in both forms', () => {
  fc.assert(fc.property(cases(3), check), { numRuns: 700 })
})
