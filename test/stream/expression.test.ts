import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { buildSync } from 'esbuild'
import { expect, test } from 'vitest'
import { Chunk } from '../../src/stream/chunk.ts'
import { Column, NARROW, WIDE } from '../../src/stream/column.ts'
import {
  assertCodeGeneration,
  compileExpressions,
  compilePredicate,
  foldConstants,
} from '../../src/stream/expression.ts'
import type { Expression } from '../../src/stream/plan.ts'
import type { DataType } from '../../src/stream/schema.ts'
import { textAt } from '../../src/stream/values.ts'
import { columnOf, plainsOf, widened } from './arbitrary-columns.ts'
import { call, cast, col, lit, when } from './expression-builders.ts'
import { compareDatum } from './expression-oracle.ts'

const NO_COLUMNS = new Chunk(1, null, null, [])

function evaluate(expression: Expression, columns: readonly Column[] = [], rowCount = 1): Column {
  return compileExpressions([expression])(new Chunk(rowCount, null, null, columns))[0]
}

/** The value of an expression over one row, as text. */
function text(expression: Expression, columns: readonly Column[] = []): string | null {
  return textAt(evaluate(expression, columns), 0)
}

function failure(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    return error
  }
  return null
}

test('doubles compare with NaN largest and equal to itself', () => {
  const values = [Number.NaN, Infinity, 1, 0, -1, -Infinity]
  const left = values.flatMap((a) => values.map(() => a))
  const right = values.flatMap(() => values)
  const columns = [columnOf('double', left), columnOf('double', right)]
  const cases = [
    ['equal', (order: number) => order === 0],
    ['not_equal', (order: number) => order !== 0],
    ['less', (order: number) => order < 0],
    ['less_equal', (order: number) => order <= 0],
    ['greater', (order: number) => order > 0],
    ['greater_equal', (order: number) => order >= 0],
  ] as const
  for (const [name, holds] of cases) {
    const expression = call(name, 'boolean', col(0, 'double'), col(1, 'double'))
    const got = plainsOf(evaluate(expression, columns, left.length), left.length)
    const want = left.map((a, i) => (holds(compareDatum(a, right[i])) ? 1n : 0n))
    expect(got, name).toEqual(want)
  }
})

test('numerics round halves away from zero, doubles to even, in both forms', () => {
  const values = Array.from({ length: 801 }, (_, i) => BigInt(i - 400))
  const narrow = columnOf('numeric', values, 2)
  for (const column of [narrow, widened(narrow, values.length)]) {
    const round = call('round', 'numeric', col(0, 'numeric'))
    const whole = evaluate(round, [column], values.length)
    expect(whole.scale).toBe(0)
    expect(plainsOf(whole, values.length)).toEqual(
      values.map((value) => {
        const magnitude = value < 0n ? -value : value
        const rounded = (magnitude + 50n) / 100n
        return value < 0n ? -rounded : rounded
      }),
    )
  }
  const doubles = columnOf('double', [0.5, 1.5, 2.5, -0.5, -1.5, -2.5])
  const expression = cast(col(0, 'double'), 'integer')
  expect(plainsOf(evaluate(expression, [doubles], 6), 6)).toEqual([0n, 2n, 2n, 0n, -2n, -2n])
})

/** The digits that PostgreSQL's `select_div_scale` asks for. */
const quotients: readonly [string, number, string, number, string][] = [
  ['1', 0, '30', 1, '0.33333333333333333333'],
  ['2', 0, '30', 1, '0.66666666666666666667'],
  ['100', 1, '3', 0, '3.3333333333333333'],
  ['15', 1, '5', 1, '3.0000000000000000'],
  ['1000000', 0, '70', 1, '142857.142857142857'],
  ['-7', 0, '20', 1, '-3.5000000000000000'],
  ['0', 0, '3', 0, '0.00000000000000000000'],
  ['100000000000000000000', 0, '3', 0, '33333333333333333333'],
  ['1', 20, '3', 0, '0.0000000000000000000033333333333333333333'],
]

test.each(quotients)('%s (scale %i) / %s (scale %i) = %s', (a, aScale, b, bScale, expected) => {
  const dividend = columnOf('numeric', [BigInt(a)], aScale)
  const divisor = columnOf('numeric', [BigInt(b)], bScale)
  const quotient = call('divide', 'numeric', col(0, 'numeric'), col(1, 'numeric'))
  expect(text(quotient, [dividend, divisor])).toBe(expected)
  expect(text(quotient, [widened(dividend, 1), divisor])).toBe(expected)
})

test('the scale of quotients settles on the largest and keeps their values', () => {
  const quotient = compileExpressions([
    call('divide', 'numeric', col(0, 'numeric'), lit('numeric', 3)),
  ])
  const first = quotient(new Chunk(2, null, null, [columnOf('numeric', [10n, 1n])]))[0]
  expect([textAt(first, 0), textAt(first, 1)]).toEqual([
    '3.33333333333333330000',
    '0.33333333333333333333',
  ])
})

test('integers overflow into the wide form, never into a wrong number', () => {
  const column = columnOf('bigint', [2n ** 52n, 3n, null])
  const triple = call('multiply', 'bigint', col(0, 'bigint'), lit('bigint', 3))
  const compiled = compileExpressions([triple])
  const wide = compiled(new Chunk(3, null, null, [column]))[0]
  expect(wide.form).toBe(WIDE)
  expect(plainsOf(wide, 3)).toEqual([3n * 2n ** 52n, 9n, null])
  const narrow = compiled(new Chunk(3, null, null, [columnOf('bigint', [1n, 2n, 3n])]))[0]
  expect(narrow.form).toBe(NARROW)
})

const INT_MAX = 2147483647
const BIG_MAX = '9223372036854775807'
const errors: readonly [string, Expression, string, string][] = [
  [
    '1 / 0',
    call('divide', 'integer', lit('integer', 1), lit('integer', 0)),
    'DIVISION_BY_ZERO',
    '22012',
  ],
  [
    '1 % 0',
    call('modulo', 'bigint', lit('bigint', 1), lit('bigint', 0)),
    'DIVISION_BY_ZERO',
    '22012',
  ],
  [
    '1.0 / 0',
    call('divide', 'numeric', lit('numeric', 10, 1), lit('numeric', 0)),
    'DIVISION_BY_ZERO',
    '22012',
  ],
  [
    '1e0 / 0',
    call('divide', 'double', lit('double', 1), lit('double', 0)),
    'DIVISION_BY_ZERO',
    '22012',
  ],
  [
    'integer +',
    call('add', 'integer', lit('integer', INT_MAX), lit('integer', 1)),
    'VALUE_OVERFLOW',
    '22003',
  ],
  [
    'smallint *',
    call('multiply', 'smallint', lit('smallint', 300), lit('smallint', 300)),
    'VALUE_OVERFLOW',
    '22003',
  ],
  [
    'bigint +',
    call('add', 'bigint', lit('bigint', BIG_MAX), lit('bigint', 1)),
    'VALUE_OVERFLOW',
    '22003',
  ],
  [
    'bigint -',
    call('negate', 'bigint', lit('bigint', `-9223372036854775808`)),
    'VALUE_OVERFLOW',
    '22003',
  ],
  [
    'int min / -1',
    call('divide', 'integer', lit('integer', -INT_MAX - 1), lit('integer', -1)),
    'VALUE_OVERFLOW',
    '22003',
  ],
  [
    'double *',
    call('multiply', 'double', lit('double', 1e300), lit('double', 1e300)),
    'VALUE_OVERFLOW',
    '22003',
  ],
  [
    'double underflow',
    call('multiply', 'double', lit('double', 1e-300), lit('double', 1e-300)),
    'VALUE_OVERFLOW',
    '22003',
  ],
  ['real +', call('add', 'real', lit('real', 3e38), lit('real', 3e38)), 'VALUE_OVERFLOW', '22003'],
  ['double to bigint', cast(lit('double', 2 ** 63), 'bigint'), 'VALUE_OVERFLOW', '22003'],
  ['NaN to integer', cast(lit('double', Number.NaN), 'integer'), 'VALUE_OVERFLOW', '22003'],
  ['bigint to integer', cast(lit('bigint', 2 ** 31), 'integer'), 'VALUE_OVERFLOW', '22003'],
  ['text to integer', cast(lit('varchar', 'x1'), 'integer'), 'VALUE_INVALID', '22P02'],
  [
    'text to bigint',
    cast(lit('varchar', '9223372036854775808'), 'bigint'),
    'VALUE_OVERFLOW',
    '22003',
  ],
  ['text to boolean', cast(lit('varchar', 'maybe'), 'boolean'), 'VALUE_INVALID', '22P02'],
  ['text to date', cast(lit('varchar', '2023-02-30'), 'date'), 'VALUE_OVERFLOW', '22008'],
  [
    'substring',
    call('substring', 'varchar', lit('varchar', 'abc'), lit('integer', 1), lit('integer', -1)),
    'VALUE_INVALID',
    '22011',
  ],
  [
    'like',
    call('like', 'boolean', lit('varchar', 'a'), lit('varchar', 'a\\')),
    'VALUE_INVALID',
    '22025',
  ],
  [
    'tumble',
    call('tumble_start', 'timestamp', lit('timestamp', 5), lit('interval', 0)),
    'VALUE_INVALID',
    '22023',
  ],
  [
    'unit',
    call('date_trunc', 'timestamp', lit('varchar', 'fortnight'), lit('timestamp', 5)),
    'SQL_INVALID',
    '22023',
  ],
  ['cast', cast(lit('date', 5), 'integer'), 'SQL_TYPE', '42846'],
]

test.each(errors)('%s fails', (_, expression, code, sqlState) => {
  expect(failure(() => evaluate(expression))).toMatchObject({ code, context: { sqlState } })
})

test('hidden rows and branches that are not taken raise no errors', () => {
  const columns = [columnOf('bigint', [0n, 2n, null])]
  const quotient = call('divide', 'bigint', lit('bigint', 10), col(0, 'bigint'))
  const chunk = new Chunk(3, null, null, columns)
  expect(failure(() => compileExpressions([quotient])(chunk))).toMatchObject({
    code: 'DIVISION_BY_ZERO',
  })
  const hidden = new Chunk(3, null, Uint8Array.of(0, 1, 1), columns)
  expect(plainsOf(compileExpressions([quotient])(hidden)[0], 3).slice(1)).toEqual([5n, null])
  const nonZero = call('not_equal', 'boolean', col(0, 'bigint'), lit('bigint', 0))
  const large = call('greater', 'boolean', quotient, lit('bigint', 4))
  const out = new Uint8Array(3)
  compilePredicate(call('and', 'boolean', nonZero, large))(chunk, out)
  expect([...out]).toEqual([0, 1, 0])
  const guarded = when('bigint', [[nonZero, quotient]], lit('bigint', -1))
  expect(plainsOf(evaluate(guarded, columns, 3), 3)).toEqual([-1n, 5n, -1n])
  const lazy = call(
    'coalesce',
    'bigint',
    call('nullif', 'bigint', col(0, 'bigint'), lit('bigint', 2)),
    quotient,
  )
  const some = [columnOf('bigint', [7n, 2n])]
  expect(plainsOf(evaluate(lazy, some, 2), 2)).toEqual([7n, 5n])
})

const casts: readonly [Expression, DataType, string][] = [
  [lit('varchar', ' 42 '), 'integer', '42'],
  [lit('varchar', '9223372036854775807'), 'bigint', '9223372036854775807'],
  [lit('varchar', '1.50'), 'numeric', '1.50'],
  [lit('varchar', '1e-3'), 'numeric', '0.001'],
  [lit('varchar', '1e3'), 'double', '1000'],
  [lit('varchar', 'yes'), 'boolean', 't'],
  [lit('varchar', '2024-01-02 03:04:05.6+02'), 'timestamptz', '2024-01-02 01:04:05.6+00'],
  [lit('varchar', '2024-01-02 03:04:05.6+02'), 'timestamp', '2024-01-02 03:04:05.6'],
  [lit('varchar', '9999-12-31 23:59:59.999999'), 'timestamp', '9999-12-31 23:59:59.999999'],
  [lit('varchar', '10 seconds'), 'interval', '00:00:10'],
  [lit('varchar', '\\x00ff'), 'bytea', '\\x00ff'],
  [lit('varchar', 'a\\\\\\001'), 'bytea', '\\x615c01'],
  [lit('bytea', '00ff'), 'varchar', '\\x00ff'],
  [lit('boolean', true), 'varchar', 'true'],
  [lit('boolean', true), 'integer', '1'],
  [lit('integer', 5), 'boolean', 't'],
  [lit('numeric', -25, 1), 'integer', '-3'],
  [lit('numeric', 1990, 2), 'double', '19.9'],
  [lit('numeric', 1990, 2), 'varchar', '19.90'],
  [lit('double', 0.1), 'numeric', '0.1'],
  [lit('double', 1e20), 'numeric', '100000000000000000000'],
  [lit('double', 123456.78901234567), 'numeric', '123456.789012346'],
  [lit('real', Math.fround(0.1)), 'numeric', '0.1'],
  [lit('real', Math.fround(0.1)), 'double', '0.10000000149011612'],
  [lit('double', 0.1), 'real', '0.1'],
  [lit('double', 1e15), 'varchar', '1e+15'],
  [lit('date', 19724), 'timestamp', '2024-01-02 00:00:00'],
  [lit('timestamp', -1), 'date', '1969-12-31'],
  [lit('timestamp', -1), 'time', '23:59:59.999999'],
  [lit('timestamp', 1500000), 'varchar', '1970-01-01 00:00:01.5'],
  [lit('timestamptz', 1500000), 'varchar', '1970-01-01 00:00:01.5+00'],
  [lit('interval', 90061000000), 'varchar', '1 day 01:01:01'],
  [lit('interval', -1), 'time', '23:59:59.999999'],
  [lit('date', -719528), 'varchar', '0001-01-01 BC'],
]

test.each(casts)('%j cast to %s is %s', (argument, type, expected) => {
  const expression = cast(argument, type)
  expect(text(expression)).toBe(expected)
  expect(foldConstants(expression).kind).toBe('literal')
  // The same without folding: from a column of two rows, one of them null.
  const [source] = compileExpressions([argument])(NO_COLUMNS)
  const column = columnOf(argument.type, [null], source.scale)
  expect(text(cast(col(0, argument.type), type), [source])).toBe(expected)
  expect(text(cast(col(0, argument.type), type), [widened(source, 1)])).toBe(expected)
  expect(text(cast(col(0, argument.type), type), [column])).toBeNull()
})

const truncated: readonly [string, string, string][] = [
  ['century', '2000-12-31 10:00', '1901-01-01 00:00:00'],
  ['century', '2024-05-06 10:00', '2001-01-01 00:00:00'],
  ['millennium', '2000-12-31 10:00', '1001-01-01 00:00:00'],
  ['decade', '1969-05-06 10:00', '1960-01-01 00:00:00'],
]

// DuckDB counts centuries from 0 here, PostgreSQL from 1.
test.each(truncated)('date_trunc %s of %s is %s', (unit, time, expected) => {
  const argument = cast(lit('varchar', time), 'timestamp')
  expect(text(call('date_trunc', 'timestamp', lit('varchar', unit), argument))).toBe(expected)
})

test('long IN lists find what short ones find', () => {
  const numbers = Array.from({ length: 20 }, (_, i) => i * 3)
  const column = columnOf('numeric', [30n, 31n, 600n, null, 5700n], 1)
  const items = numbers.map((n) => lit('numeric', n))
  const list = call('in', 'boolean', col(0, 'numeric'), ...items)
  expect(plainsOf(evaluate(list, [column], 5), 5)).toEqual([1n, 0n, 0n, null, 0n])
  expect(plainsOf(evaluate(list, [widened(column, 5)], 5), 5)).toEqual([1n, 0n, 0n, null, 0n])
  const withNull = call('in', 'boolean', col(0, 'numeric'), ...items, lit('numeric', null))
  expect(plainsOf(evaluate(withNull, [column], 5), 5)).toEqual([1n, null, null, null, null])
  const words = numbers.map((n) => lit('varchar', `word${n}`))
  const texts = columnOf('varchar', ['word3', 'word4', '', null, 'word57'])
  const inWords = call('in', 'boolean', col(0, 'varchar'), ...words)
  expect(plainsOf(evaluate(inWords, [texts], 5), 5)).toEqual([1n, 0n, 0n, null, 1n])
})

test('any mixture of columns with nulls gives the same sums', () => {
  const count = 8
  const total = Array.from({ length: count }, (_, i) => col(i, 'bigint')).reduce<Expression>(
    (sum, column) =>
      call('add', 'bigint', sum, call('coalesce', 'bigint', column, lit('bigint', 100))),
    lit('bigint', 0),
  )
  const compiled = compileExpressions([total])
  for (let nulls = 0; nulls < 2 ** count; nulls++) {
    const columns = Array.from({ length: count }, (_, i) =>
      columnOf('bigint', [1n, ((nulls >> i) & 1) === 1 ? null : 2n]),
    )
    const nullCount = nulls.toString(2).replaceAll('0', '').length
    const [column] = compiled(new Chunk(2, null, null, columns))
    expect(plainsOf(column, 2)).toEqual([8n, BigInt(nullCount * 100 + (count - nullCount) * 2)])
  }
})

test('columns may lie in shared memory', () => {
  const bytes = new TextEncoder().encode('xÄbcé')
  const data = new Uint8Array(new SharedArrayBuffer(16))
  data.set(bytes)
  const offsets = new Uint32Array(new SharedArrayBuffer(16))
  offsets.set([1, bytes.length])
  const column = Column.text('varchar', offsets, data, null)
  const upper = call('upper', 'varchar', col(0, 'varchar'))
  expect(text(upper, [column])).toBe('ÄBCÉ')
  expect(text(call('length', 'integer', col(0, 'varchar')), [column])).toBe('4')
})

const times: readonly [Expression, string][] = [
  [call('add', 'date', lit('date', 19724), lit('integer', 30)), '2024-02-01'],
  [call('subtract', 'integer', lit('date', 19724), lit('date', 19720)), '4'],
  [call('add', 'timestamp', lit('date', 19724), lit('interval', 1000)), '2024-01-02 00:00:00.001'],
  [call('subtract', 'interval', lit('timestamp', 90_000_000), lit('timestamp', 0)), '00:01:30'],
  [call('add', 'time', lit('time', 86_399_000_000), lit('interval', 2_000_000)), '00:00:01'],
  [call('multiply', 'interval', lit('interval', 1_000_000), lit('double', 1.5)), '00:00:01.5'],
  [call('divide', 'interval', lit('interval', 1_000_000), lit('double', 4)), '00:00:00.25'],
  [call('negate', 'interval', lit('interval', 5_000_000)), '-00:00:05'],
  [call('extract', 'double', lit('varchar', 'epoch'), lit('timestamp', 1_500_000)), '1.5'],
  [call('extract', 'numeric', lit('varchar', 'second'), lit('timestamp', 61_500_000)), '1.500000'],
  [call('extract', 'numeric', lit('varchar', 'year'), lit('date', -719528)), '-1'],
  [call('extract', 'numeric', lit('varchar', 'hour'), lit('timestamptz', -1)), '23'],
  [
    call('date_trunc', 'timestamptz', lit('varchar', 'month'), lit('timestamptz', -1)),
    '1969-12-01 00:00:00+00',
  ],
  [call('less', 'boolean', lit('date', 1), lit('timestamp', 86_400_000_001)), 't'],
  [call('add', 'real', lit('real', Math.fround(0.1)), lit('real', Math.fround(0.2))), '0.3'],
  [call('multiply', 'smallint', lit('smallint', -4), lit('smallint', 5)), '-20'],
  [call('floor', 'double', lit('double', -0.5)), '-1'],
  [call('ceil', 'double', lit('double', -0.5)), '0'],
]

test.each(times)('%j is %s', (expression, expected) => {
  expect(text(expression)).toBe(expected)
  if (expression.kind !== 'call') throw new Error('these are calls')
  // Again from columns, in both forms; the words of units stay literals.
  const argumentColumns = compileExpressions(expression.args)(NO_COLUMNS)
  const args = expression.args.map((argument, index) =>
    argument.type === 'varchar' ? argument : col(index, argument.type),
  )
  const wide = argumentColumns.map((column) => widened(column, 1))
  expect(text({ ...expression, args }, argumentColumns)).toBe(expected)
  expect(text({ ...expression, args }, wide)).toBe(expected)
})

test('a reference gives the very column, and literals fill any number of rows', () => {
  const columns = [columnOf('bigint', [1n, 2n])]
  const compiled = compileExpressions([col(0, 'bigint'), lit('varchar', 'x'), lit('bigint', null)])
  const [same, word, nothing] = compiled(new Chunk(2, null, null, columns))
  expect(same).toBe(columns[0])
  expect(plainsOf(word, 2)).toEqual(['x', 'x'])
  expect(plainsOf(nothing, 2)).toEqual([null, null])
  const many = compiled(new Chunk(5, null, null, [columnOf('bigint', [1n, 2n, 3n, 4n, 5n])]))
  expect(plainsOf(many[1], 5)).toEqual(['x', 'x', 'x', 'x', 'x'])
})

test('constant parts are folded, failing ones are left to the rows', () => {
  const sum = call('add', 'integer', lit('integer', 2), lit('integer', 3))
  expect(foldConstants(call('add', 'integer', col(0, 'integer'), sum))).toEqual(
    call('add', 'integer', col(0, 'integer'), lit('integer', 5)),
  )
  const failing = call('divide', 'integer', lit('integer', 1), lit('integer', 0))
  expect(foldConstants(failing)).toEqual(failing)
  const guarded = when('integer', [[col(0, 'boolean'), failing]], lit('integer', 7))
  expect(plainsOf(evaluate(guarded, [columnOf('boolean', [0n])]), 1)).toEqual([7n])
})

test('no text of the user reaches generated source', () => {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: that is what must not run
  const evil = "'];process.exit(1);//`${process.exit(2)}\n*/"
  const expression = call('equal', 'boolean', lit('varchar', evil), col(0, 'varchar'))
  expect(plainsOf(evaluate(expression, [columnOf('varchar', [evil])]), 1)).toEqual([1n])
})

test('where code generation is forbidden, that is a typed error', () => {
  expect(failure(assertCodeGeneration)).toBeNull()
  const entry = fileURLToPath(new URL('../../src/stream/expression.ts', import.meta.url))
  const bundle = buildSync({
    entryPoints: [entry],
    bundle: true,
    write: false,
    format: 'cjs',
    platform: 'node',
  }).outputFiles[0].text
  const script = `${bundle}\ntry { module.exports.assertCodeGeneration() } catch (e) { console.log(e.code) }`
  const child = spawnSync(process.execPath, ['--disallow-code-generation-from-strings', '-'], {
    input: script,
    encoding: 'utf8',
  })
  expect(child.stdout.trim()).toBe('CODE_GENERATION_FORBIDDEN')
})
