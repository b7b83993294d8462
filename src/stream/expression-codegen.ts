/**
 * Writes the source of one function for one expression tree and one shape of its inputs (form, scale and
 * presence of nulls of each column): a single loop over rows in which every value is a local variable.
 * Called when a shape is first seen, not per chunk. Only numbers made here, fixed words and counters
 * reach the source; every literal travels in the array `K`, every helper in `H`.
 *
 * Each emitted value is a local that holds 0, 0n or the empty range where it is null, and a null flag:
 * the text '0' (never null), '1' (always) or a local of 0 and 1. In the narrow mode exact values are
 * safe integers, and what would leave their range returns `NEED_WIDE`: the caller runs the wide mode,
 * in which exact values are bigints. Parts that may fail and stand behind a condition (CASE, AND, OR,
 * COALESCE) are evaluated only where it holds.
 */
import { EngineError } from '../common/errors.ts'
import type { ColumnForm } from './column.ts'
import { TEXT, WIDE } from './column.ts'
import { cannotCast, exactParserOf, formatterOf } from './functions-cast.ts'
import {
  EXTRACT_SCALES,
  extractField,
  MICROS_PER_DAY,
  truncateUnit,
  unitMicros,
} from './functions-datetime.ts'
import type { Scaled } from './functions-number.ts'
import {
  divideNumeric,
  divisionByZero,
  divisionScale,
  numericOfDouble,
  powerOfTen,
  rangeOf,
} from './functions-number.ts'
import { encodeText, LikePattern, parseHex, TextSet } from './functions-text.ts'
import type { Expression, ScalarFunction } from './plan.ts'
import type { DataType } from './schema.ts'
import { isExact, isText } from './schema.ts'

/** What a generated function returns. */
export const DONE = 0
export const DONE_WITH_NULLS = 1
export const NEED_WIDE = 2
export const NEED_SCALE = 3

/** How one referenced column looks in the chunk at hand. */
export interface InputShape {
  /** Position in the chunk. */
  readonly index: number
  readonly form: ColumnForm
  readonly scale: number
  readonly hasNulls: boolean
}

export interface GenerateOptions {
  readonly inputs: readonly InputShape[]
  readonly wide: boolean
  /** Skip rows that are not visible. */
  readonly masked: boolean
  /** 'mask' writes 1 where the value is true. */
  readonly sink: 'column' | 'mask'
  /**
   * Scales of numerics that depend on the data (division, casts from text and doubles). The generated
   * function raises them and returns `NEED_SCALE`; kept across calls, so that they soon settle.
   */
  readonly scales: Map<Expression, number>
}

export interface Generated {
  readonly source: string
  readonly constants: readonly unknown[]
  /** Scale of the result. */
  readonly scale: number
  readonly boxed: boolean
  /** The narrow mode cannot do it: nothing else of this is valid. */
  readonly needsWide: boolean
}

type Representation = 'number' | 'bigint' | 'text'

interface Value {
  readonly type: DataType
  readonly representation: Representation
  /** Name of the local; for text, of the array of its bytes. */
  readonly code: string
  readonly start: string
  readonly end: string
  readonly scale: number
  readonly isNull: string
  /** The value of an exact literal. */
  readonly constant: bigint | null
}

interface Block {
  readonly lines: readonly string[]
  readonly value: Value
}

const SAFE_MAX = 9007199254740991
const SAFE_MAX_BIG = BigInt(SAFE_MAX)
/** Up to so many alternatives an IN list is a chain of comparisons. */
const IN_CHAIN_MAX = 8
const COMPARISONS: ReadonlySet<ScalarFunction> = new Set<ScalarFunction>([
  'equal',
  'not_equal',
  'less',
  'less_equal',
  'greater',
  'greater_equal',
])
const HARMLESS: ReadonlySet<ScalarFunction> = new Set<ScalarFunction>([
  ...COMPARISONS,
  'is_distinct',
  'is_not_distinct',
  'and',
  'or',
  'not',
  'is_null',
  'is_not_null',
  'is_true',
  'is_false',
])

/** May run for rows that do not need it: cannot fail and costs next to nothing. */
function isCheap(expression: Expression): boolean {
  switch (expression.kind) {
    case 'column':
    case 'literal':
      return !isText(expression.type)
    case 'call':
      return HARMLESS.has(expression.name) && expression.args.every(isCheap)
    default:
      return false
  }
}

function isFloat(type: DataType): boolean {
  return type === 'real' || type === 'double'
}

function isPoint(type: DataType): boolean {
  return type === 'timestamp' || type === 'timestamptz'
}

export function generate(expression: Expression, options: GenerateOptions): Generated {
  return new Generator(options).run(expression)
}

class Generator {
  private readonly options: GenerateOptions
  private readonly wide: boolean
  private lines: string[]
  private readonly constants: unknown[]
  private nameCount: number
  private needsWide: boolean
  private usesScratch: boolean

  constructor(options: GenerateOptions) {
    this.options = options
    this.wide = options.wide
    this.lines = []
    this.constants = []
    this.nameCount = 0
    this.needsWide = false
    this.usesScratch = false
  }

  run(expression: Expression): Generated {
    const value = this.emit(expression)
    const body = this.lines
    this.lines = []
    this.sink(value)
    const store = this.lines
    const text = [
      ...this.constants.map((_, i) => `const k${i} = K[${i}]`),
      'return function (rowCount, visible, columns, out, nulls) {',
      ...this.options.inputs.flatMap((input, i) => this.hoist(input, i)),
      'let anyNull = 0',
      'for (let i = 0; i < rowCount; i++) {',
      ...(this.options.masked ? [this.skipHidden(value)] : []),
      ...(this.usesScratch ? ['scratch.clear()'] : []),
      ...this.options.inputs.flatMap((input, i) => this.load(input, i)),
      ...body,
      ...store,
      '}',
      'return anyNull',
      '}',
    ]
    return {
      source: text.join('\n'),
      constants: this.constants,
      scale: value.scale,
      boxed: value.representation === 'bigint',
      needsWide: this.needsWide,
    }
  }

  // The frame: inputs and output

  private hoist(input: InputShape, i: number): string[] {
    const lines = input.hasNulls ? [`const m${i} = columns[${input.index}].nulls`] : []
    if (input.form === TEXT) {
      lines.push(
        `const d${i} = columns[${input.index}].data`,
        `const o${i} = columns[${input.index}].offsets`,
      )
    } else {
      lines.push(
        `const a${i} = columns[${input.index}].${input.form === WIDE ? 'wide' : 'numbers'}`,
      )
    }
    return lines
  }

  private load(input: InputShape, i: number): string[] {
    const lines = input.hasNulls ? [`const n${i} = m${i}[i]`] : []
    if (input.form === TEXT) lines.push(`const s${i} = o${i}[i]`, `const e${i} = o${i}[i + 1]`)
    else lines.push(`const c${i} = a${i}[i]`)
    return lines
  }

  private skipHidden(value: Value): string {
    const skip =
      this.options.sink === 'mask'
        ? 'out[i] = 0'
        : value.representation === 'text'
          ? 'out.appendText(noBytes, 0, 0)'
          : value.representation === 'bigint'
            ? 'out[i] = 0n'
            : ''
    return `if (visible[i] === 0) { ${skip}; continue }`
  }

  private sink(value: Value): void {
    if (this.options.sink === 'mask') {
      this.line(`out[i] = ${value.code}`)
      return
    }
    if (value.representation === 'text') {
      const append = `out.appendText(${value.code}, ${value.start}, ${value.end})`
      if (value.isNull === '0') this.line(append)
      else this.line(`if (${value.isNull} === 1) out.appendNull(); else ${append}`)
      return
    }
    this.line(`out[i] = ${value.code}`)
    if (value.isNull !== '0') {
      this.line(`nulls[i] = ${value.isNull}; anyNull |= ${value.isNull}`)
    }
  }

  // Small tools

  private line(text: string): void {
    this.lines.push(text)
  }

  private fresh(prefix = 'v'): string {
    return `${prefix}_${this.nameCount++}`
  }

  private constant(value: unknown): string {
    this.constants.push(value)
    return `k${this.constants.length - 1}`
  }

  private capture(emit: () => Value): Block {
    const outer = this.lines
    this.lines = []
    const value = emit()
    const lines = this.lines
    this.lines = outer
    return { lines, value }
  }

  private append(block: Block): Value {
    for (const line of block.lines) this.lines.push(line)
    return block.value
  }

  private representationOf(type: DataType): Representation {
    if (isText(type)) return 'text'
    return this.wide && isExact(type) && type !== 'boolean' ? 'bigint' : 'number'
  }

  /** An exact integer made here, as source text of the mode. */
  private integer(value: number | bigint): string {
    return this.wide ? `${value}n` : `${value}`
  }

  private makeValue(type: DataType, code: string, isNull: string, scale = 0): Value {
    const representation = this.representationOf(type)
    return { type, representation, code, start: '0', end: '0', scale, isNull, constant: null }
  }

  private textValue(type: DataType, code: string, range: [string, string], isNull: string): Value {
    return {
      type,
      representation: 'text',
      code,
      start: range[0],
      end: range[1],
      scale: 0,
      isNull,
      constant: null,
    }
  }

  private nullValue(type: DataType): Value {
    if (isText(type)) return this.textValue(type, 'noBytes', ['0', '0'], '1')
    const zero = this.representationOf(type) === 'bigint' ? '0n' : '0'
    return { ...this.makeValue(type, zero, '1'), constant: isExact(type) ? 0n : null }
  }

  /** The flag that is 1 where one of the values is null. */
  private nullOf(values: readonly Value[]): string {
    const flags = [...new Set(values.map((value) => value.isNull))].filter((flag) => flag !== '0')
    if (flags.includes('1')) return '1'
    if (flags.length === 0) return '0'
    if (flags.length === 1) return flags[0]
    const name = this.fresh('n')
    this.line(`const ${name} = ${flags.join(' | ')}`)
    return name
  }

  /**
   * A value that is null where an argument is, and else what `body` assigns to its local. The body
   * sees no nulls.
   */
  private strict(
    type: DataType,
    args: readonly Value[],
    body: (target: string) => number | undefined,
  ): Value {
    const isNull = this.nullOf(args)
    if (isNull === '1') return this.nullValue(type)
    const target = this.fresh()
    this.line(`let ${target} = ${this.representationOf(type) === 'bigint' ? '0n' : '0'}`)
    if (isNull !== '0') this.line(`if (${isNull} === 0) {`)
    const scale = body(target) ?? 0
    if (isNull !== '0') this.line('}')
    return this.makeValue(type, target, isNull, scale)
  }

  /** The same for text: `body` leaves the text in the scratch. */
  private strictText(type: DataType, args: readonly Value[], body: () => void): Value {
    const isNull = this.nullOf(args)
    if (isNull === '1') return this.nullValue(type)
    this.usesScratch = true
    const [data, start, end] = [this.fresh('d'), this.fresh('s'), this.fresh('e')]
    this.line(`let ${data} = noBytes, ${start} = 0, ${end} = 0`)
    if (isNull !== '0') this.line(`if (${isNull} === 0) {`)
    body()
    this.line(`${data} = scratch.data; ${start} = scratch.start; ${end} = scratch.end`)
    if (isNull !== '0') this.line('}')
    return this.textValue(type, data, [start, end], isNull)
  }

  // Expressions

  private emit(expression: Expression): Value {
    switch (expression.kind) {
      case 'column':
        return this.emitColumn(expression.index, expression.type)
      case 'literal':
        return this.emitLiteral(expression)
      case 'call':
        return this.emitCall(expression)
      case 'case':
        return this.emitCase(expression)
      case 'cast':
        return this.cast(this.emit(expression.argument), expression.type, expression)
    }
  }

  private emitColumn(index: number, type: DataType): Value {
    const i = this.options.inputs.findIndex((input) => input.index === index)
    const input = this.options.inputs[i]
    const isNull = input.hasNulls ? `n${i}` : '0'
    if (input.form === TEXT) return this.textValue(type, `d${i}`, [`s${i}`, `e${i}`], isNull)
    const boxed = this.representationOf(type) === 'bigint'
    let code = `c${i}`
    if (boxed && input.form !== WIDE) code = `BigInt(c${i})`
    if (!boxed && input.form === WIDE) code = `Number(c${i})`
    if (code !== `c${i}`) {
      const name = this.fresh()
      this.line(`const ${name} = ${code}`)
      code = name
    }
    return this.makeValue(type, code, isNull, input.scale)
  }

  private emitLiteral(literal: Extract<Expression, { kind: 'literal' }>): Value {
    const { type, value } = literal
    if (value === null) return this.nullValue(type)
    if (isText(type)) {
      const bytes = type === 'bytea' ? parseHex(String(value)) : encodeText(String(value))
      return this.textValue(type, this.constant(bytes), ['0', String(bytes.length)], '0')
    }
    if (isFloat(type)) return this.makeValue(type, this.constant(Number(value) + 0), '0')
    return this.exactConstant(type, BigInt(value), literal.scale)
  }

  private exactConstant(type: DataType, value: bigint, scale: number): Value {
    const boxed = this.representationOf(type) === 'bigint'
    if (!boxed && (value > SAFE_MAX_BIG || value < -SAFE_MAX_BIG)) this.needsWide = true
    const code = this.constant(boxed ? value : Number(value))
    return { ...this.makeValue(type, code, '0', scale), constant: value }
  }

  private emitCall(call: Extract<Expression, { kind: 'call' }>): Value {
    const { name, args, type } = call
    if (COMPARISONS.has(name)) return this.compare(name, this.emit(args[0]), this.emit(args[1]))
    switch (name) {
      case 'and':
      case 'or':
        return this.logic(name, args)
      case 'coalesce':
        return this.coalesce(args, type)
      case 'in':
        return this.inList(args)
      default:
        return this.emitEager(
          call,
          args.map((argument) => this.emit(argument)),
        )
    }
  }

  private emitEager(call: Extract<Expression, { kind: 'call' }>, args: readonly Value[]): Value {
    const { name, type } = call
    switch (name) {
      case 'add':
      case 'subtract':
      case 'multiply':
        return this.arithmetic(name, args[0], args[1], type)
      case 'divide':
        return this.divide(call, args[0], args[1])
      case 'modulo':
        return this.modulo(args[0], args[1], type)
      case 'negate':
        return this.negate(args[0], type)
      case 'abs':
        return this.absolute(args[0], type)
      case 'round':
      case 'floor':
      case 'ceil':
        return this.round(call, args)
      case 'is_null':
        return this.flag(args[0].isNull)
      case 'is_not_null':
        return this.flag(invert(args[0].isNull))
      case 'is_true':
        return this.makeValue('boolean', args[0].code, '0')
      case 'is_false':
        return this.flag(invert(either(args[0].code, args[0].isNull)))
      case 'not':
        return this.not(args[0])
      case 'is_distinct':
      case 'is_not_distinct':
        return this.distinct(name, args[0], args[1])
      case 'nullif':
        return this.nullIf(args[0], args[1], type)
      case 'greatest':
      case 'least':
        return this.extreme(name, args, type)
      case 'tumble_start':
        return this.tumbleStart(args[0], args[1], type)
      case 'date_trunc':
        return this.truncate(call, args[1])
      case 'extract':
        return this.extract(call, args[1])
      default:
        return this.textCall(call, args)
    }
  }

  private flag(code: string): Value {
    if (code === '0' || code === '1') return this.makeValue('boolean', code, '0')
    const name = this.fresh()
    this.line(`const ${name} = ${code}`)
    return this.makeValue('boolean', name, '0')
  }

  // Comparison

  private compare(name: ScalarFunction, a: Value, b: Value): Value {
    const [left, right] = this.unify(a, b)
    const isNull = this.nullOf([left, right])
    if (isNull === '1') return this.nullValue('boolean')
    const test = this.test(name, left, right)
    const target = this.fresh()
    const mask = isNull === '0' ? '' : ` & (${isNull} ^ 1)`
    this.line(`const ${target} = (${test} ? 1 : 0)${mask}`)
    return this.makeValue('boolean', target, isNull)
  }

  /** A condition in source text, over two values of one type and scale; nulls are not looked at. */
  private test(name: ScalarFunction, a: Value, b: Value): string {
    if (a.representation === 'text') {
      const ranges = `${a.code}, ${a.start}, ${a.end}, ${b.code}, ${b.start}, ${b.end}`
      const equal = `(${a.end} - ${a.start} === ${b.end} - ${b.start} && equalText(${ranges}))`
      if (name === 'equal') return equal
      if (name === 'not_equal') return `!${equal}`
      return `compareText(${ranges}) ${operatorOf(name)} 0`
    }
    if (!isFloat(a.type)) return `${a.code} ${operatorOf(name)} ${b.code}`
    // NaN equals itself and is larger than all else.
    const [x, y] = [a.code, b.code]
    switch (name) {
      case 'equal':
        return `(${x} === ${y} || (${x} !== ${x} && ${y} !== ${y}))`
      case 'not_equal':
        return `(${x} !== ${y} && (${x} === ${x} || ${y} === ${y}))`
      case 'less':
        return `(${x} < ${y} || (${y} !== ${y} && ${x} === ${x}))`
      case 'greater':
        return `(${x} > ${y} || (${x} !== ${x} && ${y} === ${y}))`
      case 'less_equal':
        return `(${x} <= ${y} || ${y} !== ${y})`
      default:
        return `(${x} >= ${y} || ${x} !== ${x})`
    }
  }

  /** Both values in one type, representation and scale. */
  private unify(a: Value, b: Value): [Value, Value] {
    if (a.representation === 'text' || b.representation === 'text') {
      if (a.representation !== b.representation) throw cannotCompare(a.type, b.type)
      return [a, b]
    }
    if (isFloat(a.type) !== isFloat(b.type)) return [this.toDouble(a), this.toDouble(b)]
    if (isFloat(a.type)) return [a, b]
    if (isPoint(a.type) && b.type === 'date') return [a, this.cast(b, a.type)]
    if (isPoint(b.type) && a.type === 'date') return [this.cast(a, b.type), b]
    const scale = Math.max(a.scale, b.scale)
    return [this.rescale(a, scale), this.rescale(b, scale)]
  }

  /** Raises the scale; the value stays. */
  private rescale(value: Value, scale: number): Value {
    if (value.scale === scale) return value
    const factor = powerOfTen(scale - value.scale)
    if (value.constant !== null) {
      const constant = this.exactConstant(value.type, value.constant * factor, scale)
      return { ...constant, isNull: value.isNull }
    }
    const name = this.fresh()
    if (this.wide) this.line(`const ${name} = ${value.code} * ${factor}n`)
    else {
      if (scale - value.scale > 22) this.needsWide = true
      this.line(`const ${name} = ${value.code} * ${Number(factor)}`)
      this.line(wideCheck(name))
    }
    return { ...value, code: name, scale, constant: null }
  }

  private distinct(name: ScalarFunction, a: Value, b: Value): Value {
    const [left, right] = this.unify(a, b)
    const same = this.test('equal', left, right)
    const equal = `((${left.isNull} ^ ${right.isNull} ^ 1) & (${left.isNull} | (${same} ? 1 : 0)))`
    return this.flag(name === 'is_distinct' ? `${equal} ^ 1` : equal)
  }

  private inList(args: readonly Expression[]): Value {
    const value = this.emit(args[0])
    const literals = args.slice(1)
    const allLiterals = literals.every((item) => item.kind === 'literal')
    if (!allLiterals || literals.length <= IN_CHAIN_MAX) {
      return this.inChain(value, literals)
    }
    const items = literals.map((item) => this.emit(item))
    const hasNull = items.some((item) => item.isNull === '1')
    const present = items.filter((item) => item.isNull !== '1')
    const found = this.inSet(value, present)
    return this.inResult(value, found, hasNull ? '1' : '0')
  }

  private inChain(value: Value, items: readonly Expression[]): Value {
    const tests: string[] = []
    const nulls: string[] = []
    for (const item of items) {
      const [left, right] = this.unify(value, this.emit(item))
      nulls.push(right.isNull)
      if (right.isNull === '1') continue
      const test = this.test('equal', left, right)
      tests.push(right.isNull === '0' ? test : `(${right.isNull} === 0 && ${test})`)
    }
    const flags = [...new Set(nulls)].filter((flag) => flag !== '0')
    const isNull = flags.includes('1') ? '1' : flags.length === 0 ? '0' : `(${flags.join(' | ')})`
    return this.inResult(value, tests.length === 0 ? 'false' : tests.join(' || '), isNull)
  }

  private inSet(value: Value, items: readonly Value[]): string {
    if (value.representation === 'text') {
      const texts = items.map((item) => this.constants[Number(item.code.slice(1))] as Uint8Array)
      const set = this.constant(new TextSet(texts))
      return `${set}.has(${value.code}, ${value.start}, ${value.end})`
    }
    const scale = Math.max(value.scale, ...items.map((item) => item.scale))
    const left = isFloat(value.type) ? value : this.rescale(value, scale)
    const right = items.map((item) => (isFloat(item.type) ? item : this.rescale(item, scale)))
    const numbers = right.map((item) => this.constants[Number(item.code.slice(1))])
    return `${this.constant(new Set(numbers))}.has(${left.code})`
  }

  /** True if found; else null if the value or an item is. */
  private inResult(value: Value, found: string, itemNull: string): Value {
    if (value.isNull === '1') return this.nullValue('boolean')
    const target = this.fresh()
    const mask = value.isNull === '0' ? '' : ` & (${value.isNull} ^ 1)`
    this.line(`const ${target} = (${found} ? 1 : 0)${mask}`)
    if (itemNull === '0') return this.makeValue('boolean', target, value.isNull)
    const isNull = this.fresh('n')
    this.line(`const ${isNull} = (${itemNull} | ${value.isNull}) & (${target} ^ 1)`)
    return this.makeValue('boolean', target, isNull)
  }

  // Three-valued logic

  private logic(name: 'and' | 'or', args: readonly Expression[]): Value {
    let result = this.emit(args[0])
    for (let i = 1; i < args.length; i++) {
      result = isCheap(args[i])
        ? this.joinLogic(name, result, this.emit(args[i]))
        : this.lazyLogic(name, result, args[i])
    }
    return result
  }

  private joinLogic(name: 'and' | 'or', a: Value, b: Value): Value {
    const target = this.fresh()
    this.line(`const ${target} = ${a.code} ${name === 'and' ? '&' : '|'} ${b.code}`)
    if (a.isNull === '0' && b.isNull === '0') return this.makeValue('boolean', target, '0')
    const isNull = this.fresh('n')
    this.line(`const ${isNull} = ${logicNull(name, a, b)}`)
    return this.makeValue('boolean', target, isNull)
  }

  /** The right side runs only where the left one does not decide. */
  private lazyLogic(name: 'and' | 'or', a: Value, expression: Expression): Value {
    const block = this.capture(() => this.emit(expression))
    const nullable = a.isNull !== '0' || block.value.isNull !== '0'
    const target = this.fresh()
    const isNull = nullable ? this.fresh('n') : '0'
    this.line(`let ${target} = ${a.code}`)
    if (nullable) this.line(`let ${isNull} = ${a.isNull}`)
    const open = name === 'and' ? `(${either(a.code, a.isNull)}) === 1` : `${a.code} === 0`
    this.line(`if (${open}) {`)
    const b = this.append(block)
    this.line(`${target} = ${a.code} ${name === 'and' ? '&' : '|'} ${b.code}`)
    if (nullable) this.line(`${isNull} = ${logicNull(name, a, b)}`)
    this.line('}')
    return this.makeValue('boolean', target, isNull)
  }

  private not(a: Value): Value {
    if (a.isNull === '1') return a
    const target = this.fresh()
    this.line(`const ${target} = (${either(a.code, a.isNull)}) ^ 1`)
    return this.makeValue('boolean', target, a.isNull)
  }

  // Conditionals

  private emitCase(expression: Extract<Expression, { kind: 'case' }>): Value {
    const { branches, otherwise, type } = expression
    const whens = branches.map((branch) => this.capture(() => this.emit(branch.when)))
    const thens = branches.map((branch) =>
      this.capture(() => this.cast(this.emit(branch.then), type, branch.then)),
    )
    const last = this.capture(() =>
      otherwise === null ? this.nullValue(type) : this.cast(this.emit(otherwise), type, otherwise),
    )
    const target = this.declare(type, [...thens, last])
    for (let i = 0; i < branches.length; i++) {
      const when = this.append(whens[i])
      this.line(`if (${when.code} === 1) {`)
      this.assign(target, this.append(thens[i]))
      this.line('} else {')
    }
    this.assign(target, this.append(last))
    this.line('}'.repeat(branches.length))
    return target
  }

  private coalesce(args: readonly Expression[], type: DataType): Value {
    const blocks = args.map((argument) =>
      this.capture(() => this.cast(this.emit(argument), type, argument)),
    )
    const target = this.declare(type, blocks)
    let depth = 0
    for (const block of blocks) {
      const value = this.append(block)
      this.assign(target, value)
      if (value.isNull === '0') break
      if (value.isNull !== '1') {
        this.line(`if (${value.isNull} === 1) {`)
        depth++
      }
    }
    this.line('}'.repeat(depth))
    return target
  }

  /** Locals that can take the value of each of the blocks. */
  private declare(type: DataType, blocks: readonly Block[]): Value {
    const scale = Math.max(...blocks.map((block) => block.value.scale))
    const nullable = blocks.some((block) => block.value.isNull !== '0')
    const isNull = nullable ? this.fresh('n') : '0'
    if (nullable) this.line(`let ${isNull} = 0`)
    if (isText(type)) {
      const [data, start, end] = [this.fresh('d'), this.fresh('s'), this.fresh('e')]
      this.line(`let ${data} = noBytes, ${start} = 0, ${end} = 0`)
      return this.textValue(type, data, [start, end], isNull)
    }
    const target = this.fresh()
    this.line(`let ${target} = ${this.representationOf(type) === 'bigint' ? '0n' : '0'}`)
    return this.makeValue(type, target, isNull, scale)
  }

  private assign(target: Value, source: Value): void {
    if (target.representation === 'text') {
      this.line(`${target.code} = ${source.code}`)
      this.line(`${target.start} = ${source.start}; ${target.end} = ${source.end}`)
    } else {
      const value = isExact(target.type) ? this.rescale(source, target.scale) : source
      this.line(`${target.code} = ${value.code}`)
    }
    if (target.isNull !== '0') this.line(`${target.isNull} = ${source.isNull}`)
  }

  private nullIf(a: Value, b: Value, type: DataType): Value {
    const [left, right] = this.unify(a, b)
    if (left.isNull === '1' || right.isNull === '1') return this.cast(a, type)
    const isNull = this.fresh('n')
    const same = this.test('equal', left, right)
    // Two empty ranges or zeros of nulls are not equal values.
    this.line(`const ${isNull} = ${a.isNull} | ((${right.isNull} ^ 1) & (${same} ? 1 : 0))`)
    return this.cast(this.blankNulls(a, isNull), type)
  }

  /** The value with another null flag, blank where that is 1. */
  private blankNulls(value: Value, isNull: string): Value {
    if (value.representation === 'text') {
      const [start, end] = [this.fresh('s'), this.fresh('e')]
      this.line(`const ${start} = ${isNull} === 1 ? 0 : ${value.start}`)
      this.line(`const ${end} = ${isNull} === 1 ? 0 : ${value.end}`)
      return this.textValue(value.type, value.code, [start, end], isNull)
    }
    const name = this.fresh()
    const zero = value.representation === 'bigint' ? '0n' : '0'
    this.line(`const ${name} = ${isNull} === 1 ? ${zero} : ${value.code}`)
    return { ...value, code: name, isNull, constant: null }
  }

  private extreme(name: 'greatest' | 'least', args: readonly Value[], type: DataType): Value {
    const values = args.map((argument) => this.cast(argument, type))
    const blocks = values.map((value) => ({ lines: [], value }))
    const target = this.declare(type, blocks)
    // Nulls are ignored; null only if all are.
    const present = values.filter((value) => value.isNull !== '1')
    if (present.length === 0) return this.nullValue(type)
    this.assign(target, present[0])
    for (const value of present.slice(1)) {
      const scaled = isText(type) || isFloat(type) ? value : this.rescale(value, target.scale)
      const better = this.test(name === 'greatest' ? 'greater' : 'less', scaled, target)
      const empty = target.isNull === '0' ? '' : `${target.isNull} === 1 || `
      const given = value.isNull === '0' ? '' : `${value.isNull} === 0 && `
      this.line(`if (${given}(${empty}${better})) {`)
      this.assign(target, scaled)
      this.line('}')
    }
    return target
  }

  // Arithmetic

  private arithmetic(
    name: 'add' | 'subtract' | 'multiply',
    a: Value,
    b: Value,
    type: DataType,
  ): Value {
    if (isFloat(type) || isFloat(a.type) || isFloat(b.type)) {
      return this.floatArithmetic(name, a, b, type)
    }
    const [left, right] = this.operands(name, a, b, type)
    const operator = name === 'add' ? '+' : name === 'subtract' ? '-' : '*'
    return this.strict(type, [left, right], (target) => {
      // Adding 0 keeps -0 out: 0 * -5.
      const zero = name === 'multiply' && !this.wide ? ' + 0' : ''
      this.line(`${target} = ${left.code} ${operator} ${right.code}${zero}`)
      if (type === 'time') {
        const day = this.integer(MICROS_PER_DAY)
        this.line(`${target} = ((${target} % ${day}) + ${day}) % ${day}`)
      } else this.check(target, type)
      return name === 'multiply' ? left.scale + right.scale : left.scale
    })
  }

  private operands(name: ScalarFunction, a: Value, b: Value, type: DataType): [Value, Value] {
    if (name === 'multiply') return [a, b]
    if (isPoint(type)) {
      return [
        a.type === 'date' ? this.cast(a, type) : a,
        b.type === 'date' ? this.cast(b, type) : b,
      ]
    }
    const scale = Math.max(a.scale, b.scale)
    return [this.rescale(a, scale), this.rescale(b, scale)]
  }

  private floatArithmetic(name: ScalarFunction, a: Value, b: Value, type: DataType): Value {
    const [x, y] = [this.toDouble(a), this.toDouble(b)]
    const operator =
      name === 'add' ? '+' : name === 'subtract' ? '-' : name === 'multiply' ? '*' : '/'
    const result = this.strict('double', [x, y], (target) => {
      if (name === 'divide') this.line(`if (${y.code} === 0) throw divisionByZero()`)
      const raw = `${x.code} ${operator} ${y.code}`
      this.line(`${target} = ${type === 'real' ? `fround(${raw})` : raw} + 0`)
      this.line(
        `if (${target} - ${target} !== 0 && ${x.code} - ${x.code} === 0 && ${y.code} - ${y.code} === 0) throw overflow('${type}')`,
      )
      if (name === 'multiply') {
        this.line(
          `if (${target} === 0 && ${x.code} !== 0 && ${y.code} !== 0) throw underflow('${type}')`,
        )
      } else if (name === 'divide') {
        this.line(
          `if (${target} === 0 && ${x.code} !== 0 && ${y.code} - ${y.code} === 0) throw underflow('${type}')`,
        )
      }
      return 0
    })
    return isFloat(type) ? { ...result, type } : this.cast(result, type)
  }

  private divide(call: Extract<Expression, { kind: 'call' }>, a: Value, b: Value): Value {
    const { type } = call
    if (isFloat(type) || isFloat(a.type) || isFloat(b.type)) {
      return this.floatArithmetic('divide', a, b, type)
    }
    if (type === 'numeric') return this.divideNumeric(call, a, b)
    return this.strict(type, [a, b], (target) => {
      this.line(`if (${b.code} === ${this.integer(0)}) throw divisionByZero()`)
      const quotient = `${a.code} / ${b.code}`
      this.line(`${target} = ${this.wide ? quotient : `trunc(${quotient}) + 0`}`)
      this.check(target, type)
      return 0
    })
  }

  /** Nearly every quotient has more than 15 digits: always wide. */
  private divideNumeric(call: Expression, a: Value, b: Value): Value {
    if (!this.wide) {
      this.needsWide = true
      return this.makeValue('numeric', '0', this.nullOf([a, b]))
    }
    const divide = (left: bigint, right: bigint): Scaled => {
      if (right === 0n) throw divisionByZero()
      const scale = divisionScale(left, a.scale, right, b.scale)
      return { value: divideNumeric(left, a.scale, right, b.scale, scale), scale }
    }
    const least = Math.max(a.scale, b.scale)
    return this.scaled(call, [a, b], least, divide, `${a.code}, ${b.code}`)
  }

  /**
   * A numeric whose scale its data decide: `compute` gives each row's own, the column has the largest
   * seen so far.
   */
  private scaled<Arguments extends readonly unknown[]>(
    expression: Expression,
    args: readonly Value[],
    scaleMin: number,
    compute: (...values: Arguments) => Scaled,
    codes: string,
  ): Value {
    const { scales } = this.options
    const scale = Math.max(scales.get(expression) ?? 0, scaleMin)
    const wide = this.wide
    const run = this.constant((...values: Arguments): bigint | number | null => {
      const result = compute(...values)
      if (result.scale > scale) {
        scales.set(expression, result.scale)
        return null
      }
      const value = result.value * powerOfTen(scale - result.scale)
      if (wide) return value
      return value > SAFE_MAX_BIG || value < -SAFE_MAX_BIG ? Number.NaN : Number(value)
    })
    return this.strict('numeric', args, (target) => {
      this.line(`${target} = ${run}(${codes})`)
      this.line(`if (${target} === null) return ${NEED_SCALE}`)
      if (!wide) this.line(`if (${target} !== ${target}) return ${NEED_WIDE}`)
      return scale
    })
  }

  private modulo(a: Value, b: Value, type: DataType): Value {
    if (isFloat(type)) throw unsupported('modulo of floating-point numbers')
    const [left, right] = this.operands('modulo', a, b, type)
    return this.strict(type, [left, right], (target) => {
      this.line(`if (${right.code} === ${this.integer(0)}) throw divisionByZero()`)
      // The quotient of safe integers, cut, is exact, and so is this; `%` of doubles is slow.
      const rest = `${left.code} - trunc(${left.code} / ${right.code}) * ${right.code}`
      this.line(`${target} = ${this.wide ? `${left.code} % ${right.code}` : rest}`)
      return left.scale
    })
  }

  private negate(a: Value, type: DataType): Value {
    return this.strict(type, [a], (target) => {
      this.line(`${target} = ${a.representation === 'bigint' ? '0n' : '0'} - ${a.code}`)
      if (!isFloat(type)) this.check(target, type)
      return a.scale
    })
  }

  private absolute(a: Value, type: DataType): Value {
    return this.strict(type, [a], (target) => {
      if (a.representation === 'bigint') {
        this.line(`${target} = ${a.code} < 0n ? -${a.code} : ${a.code}`)
      } else this.line(`${target} = abs(${a.code})`)
      if (!isFloat(type)) this.check(target, type)
      return a.scale
    })
  }

  private round(call: Extract<Expression, { kind: 'call' }>, args: readonly Value[]): Value {
    const { name, type } = call
    const [a] = args
    if (isFloat(a.type)) {
      const work = name === 'round' ? 'roundHalfEven' : name
      const result = this.strict('double', [a], (target) => {
        this.line(`${target} = ${work}(${a.code}) + 0`)
        return 0
      })
      return isFloat(type) ? { ...result, type } : this.cast(result, type)
    }
    let digits = 0
    if (args.length > 1) {
      const places = args[1].constant
      if (places === null) throw unsupported('round with a number of digits that is not a constant')
      digits = Number(places)
    }
    const rounded = this.dropDigits(a, name, digits)
    return this.cast(rounded, type)
  }

  /** An exact value rounded to so many digits after the point (negative: before it). */
  private dropDigits(a: Value, mode: ScalarFunction, digits: number): Value {
    const scale = Math.max(digits, 0)
    if (digits >= a.scale) return this.rescale(a, scale)
    const drop = a.scale - digits
    if (!this.wide && drop > 22) this.needsWide = true
    const divisor = powerOfTen(drop)
    const code = this.wide ? `${divisor}n` : `${Number(divisor)}`
    const result = this.strict(a.type, [a], (target) => {
      this.line(`${target} = ${mode}${this.wide ? 'Wide' : 'Exact'}(${a.code}, ${code})`)
      return scale
    })
    // Digits before the point become zeros.
    if (digits >= 0) return result
    return this.strict(a.type, [result], (target) => {
      const factor = this.wide ? `${powerOfTen(-digits)}n` : `${10 ** -digits}`
      this.line(`${target} = ${result.code} * ${factor}`)
      this.check(target, a.type)
      return 0
    })
  }

  /** Refuses a result beyond its type; in the narrow mode, asks for the wide one. */
  private check(target: string, type: DataType): void {
    const range = rangeOf(type)
    if (range === null && this.wide) return
    const inside = range !== null && range[0] >= -SAFE_MAX_BIG && range[1] <= SAFE_MAX_BIG
    if (range !== null && (this.wide || inside)) {
      const [low, high] = [this.integer(range[0]), this.integer(range[1])]
      this.line(`if (${target} > ${high} || ${target} < ${low}) throw overflow('${type}')`)
    } else this.line(wideCheck(target))
  }

  // Casts

  private toDouble(value: Value): Value {
    if (isFloat(value.type)) return value
    if (value.representation === 'text') throw cannotCast(value.type, 'double')
    if (value.isNull === '1') return this.nullValue('double')
    let code = value.code
    if (value.representation === 'bigint') {
      code = value.scale === 0 ? `Number(${code})` : `doubleOfNumeric(${code}, ${value.scale})`
    } else if (value.scale > 22) code = `doubleOfNumeric(BigInt(${code}), ${value.scale})`
    else if (value.scale > 0) code = `${code} / ${10 ** value.scale}`
    const name = this.fresh()
    this.line(`const ${name} = ${code}`)
    return this.makeValue('double', name, value.isNull)
  }

  /** @param expression where the value comes from; keys the scale of numerics that depend on data. */
  private cast(value: Value, type: DataType, expression: Expression | null = null): Value {
    if (value.type === type) return value
    if (value.isNull === '1') return this.nullValue(type)
    if (type === 'varchar') return this.castToText(value)
    if (value.type === 'varchar') return this.castFromText(value, type, expression)
    if (isText(type) || isText(value.type)) throw cannotCast(value.type, type)
    if (isFloat(type)) return this.castToFloat(value, type)
    if (isFloat(value.type)) return this.castFromFloat(value, type, expression)
    return this.castExact(value, type)
  }

  private castToText(value: Value): Value {
    if (value.type === 'bytea') {
      return this.strictText('varchar', [value], () => {
        this.line(`scratch.put('\\\\x' + formatHex(${value.code}, ${value.start}, ${value.end}))`)
      })
    }
    const format = this.constant(formatterOf(value.type, value.scale))
    return this.strictText('varchar', [value], () => {
      this.line(`scratch.put(${format}(${value.code}))`)
    })
  }

  private castFromText(value: Value, type: DataType, expression: Expression | null): Value {
    const text = `decodeText(${value.code}, ${value.start}, ${value.end})`
    if (type === 'bytea') {
      return this.strictText('bytea', [value], () => this.line(`scratch.putBytea(${text})`))
    }
    if (isFloat(type)) {
      return this.strict(type, [value], (target) => {
        this.line(`${target} = ${type === 'real' ? 'parseReal' : 'parseDoublePrecision'}(${text})`)
        return 0
      })
    }
    const parse = exactParserOf(type)
    if (type === 'numeric') {
      if (expression === null) throw cannotCast(value.type, type)
      return this.scaled(expression, [value], 0, parse, text)
    }
    const boxed = this.representationOf(type) === 'bigint'
    const run = this.constant((given: string): bigint | number => {
      const { value: exact } = parse(given)
      if (boxed) return exact
      return exact > SAFE_MAX_BIG || exact < -SAFE_MAX_BIG ? Number.NaN : Number(exact)
    })
    return this.strict(type, [value], (target) => {
      this.line(`${target} = ${run}(${text})`)
      if (!boxed) this.line(`if (${target} !== ${target}) return ${NEED_WIDE}`)
      return 0
    })
  }

  private castToFloat(value: Value, type: DataType): Value {
    if (!isNumber(value.type)) throw cannotCast(value.type, type)
    const double = this.toDouble(value)
    if (type === 'double') return { ...double, type }
    return this.strict('real', [double], (target) => {
      this.line(`${target} = fround(${double.code})`)
      this.line(
        `if (${target} - ${target} !== 0 && ${double.code} - ${double.code} === 0) throw overflow('real')`,
      )
      return 0
    })
  }

  private castFromFloat(value: Value, type: DataType, expression: Expression | null): Value {
    if (type === 'numeric') {
      if (expression === null) throw cannotCast(value.type, type)
      const source = value.type
      const convert = (given: number): Scaled => numericOfDouble(given, source)
      return this.scaled(expression, [value], 0, convert, value.code)
    }
    // Interval comes from arithmetic such as interval * 1.5 only.
    if (!isNumber(type) && type !== 'interval') throw cannotCast(value.type, type)
    const range = rangeOf(type) ?? [0n, 0n]
    const [low, high] = [Number(range[0]), Number(range[1])]
    return this.strict(type, [value], (target) => {
      const rounded = this.fresh()
      this.line(`const ${rounded} = roundHalfEven(${value.code})`)
      // 2^63 - 1 as a double is 2^63, which is too large; smaller limits are exact.
      const above = high > SAFE_MAX ? '<' : '<='
      this.line(
        `if (!(${rounded} >= ${low} && ${rounded} ${above} ${high})) throw overflow('${type}')`,
      )
      if (this.wide) this.line(`${target} = BigInt(${rounded})`)
      else {
        this.line(`${target} = ${rounded}`)
        if (high > SAFE_MAX) this.line(wideCheck(target))
      }
      return 0
    })
  }

  private castExact(value: Value, type: DataType): Value {
    const from = value.type
    if (from === 'boolean') {
      if (type !== 'integer') throw cannotCast(from, type)
      if (!this.wide) return { ...value, type }
      const name = this.fresh()
      this.line(`const ${name} = BigInt(${value.code})`)
      return this.makeValue(type, name, value.isNull)
    }
    if (type === 'boolean') {
      if (from !== 'integer' && from !== 'bigint' && from !== 'smallint') {
        throw cannotCast(from, type)
      }
      return this.compare('not_equal', value, this.exactConstant(from, 0n, 0))
    }
    if (isNumber(from) && isNumber(type)) return this.castNumber(value, type)
    return this.castTime(value, type)
  }

  private castNumber(value: Value, type: DataType): Value {
    if (type === 'numeric') return { ...value, type }
    const whole = value.scale === 0 ? value : this.dropDigits(value, 'round', 0)
    const wider = ['smallint', 'integer', 'bigint']
    const known = wider.indexOf(value.type)
    if (known >= 0 && known <= wider.indexOf(type)) return { ...whole, type }
    return this.strict(type, [whole], (target) => {
      this.line(`${target} = ${whole.code}`)
      this.check(target, type)
      return 0
    })
  }

  private castTime(value: Value, type: DataType): Value {
    const from = value.type
    const day = this.integer(MICROS_PER_DAY)
    if ((isPoint(from) && isPoint(type)) || (from === 'time' && type === 'interval')) {
      return { ...value, type }
    }
    if (from === 'date' && isPoint(type)) {
      return this.strict(type, [value], (target) => {
        this.line(`${target} = ${value.code} * ${day}`)
        this.check(target, type)
        return 0
      })
    }
    const floor = this.wide ? 'floorDivideWide' : 'floorDivide'
    if (isPoint(from) && type === 'date') {
      return this.strict(type, [value], (target) => {
        this.line(`${target} = ${floor}(${value.code}, ${day})`)
        return 0
      })
    }
    if ((isPoint(from) || from === 'interval') && type === 'time') {
      return this.strict(type, [value], (target) => {
        this.line(`${target} = ${value.code} - ${floor}(${value.code}, ${day}) * ${day}`)
        return 0
      })
    }
    throw cannotCast(from, type)
  }

  // Time

  private tumbleStart(time: Value, size: Value, type: DataType): Value {
    const value = this.cast(time, type)
    return this.strict(type, [value, size], (target) => {
      const zero = this.integer(0)
      if (size.constant === null || size.constant <= 0n) {
        this.line(`if (${size.code} <= ${zero}) throw windowSize()`)
      }
      const floor = this.wide ? 'floorDivideWide' : 'floorDivide'
      this.line(`${target} = ${floor}(${value.code}, ${size.code}) * ${size.code}`)
      this.check(target, type)
      return 0
    })
  }

  private truncate(call: Extract<Expression, { kind: 'call' }>, time: Value): Value {
    const word = literalWord(call, 'date_trunc')
    const unit = truncateUnit(word)
    if (unit === null) throw unknownUnit(word)
    const type = call.type
    if (time.type === 'interval' && unitMicros(unit) === 0) {
      throw unsupported(`date_trunc of an interval to ${unit}`)
    }
    const value = time.type === type ? time : this.cast(time, type)
    const micros = this.integer(unitMicros(unit))
    const floor = this.wide ? 'floorDivideWide' : 'floorDivide'
    return this.strict(type, [value], (target) => {
      if (unitMicros(unit) > 0 && type === 'interval') {
        // Toward zero: an interval has no calendar behind it.
        this.line(`${target} = ${value.code} - ${value.code} % ${micros}`)
      } else if (unitMicros(unit) > 0) {
        this.line(`${target} = ${floor}(${value.code}, ${micros}) * ${micros}`)
      } else {
        const day = this.integer(MICROS_PER_DAY)
        const days = `Number(${floor}(${value.code}, ${day}))`
        const first = `truncateDays('${unit}', ${days})`
        this.line(`${target} = ${this.wide ? `BigInt(${first})` : first} * ${day}`)
      }
      return 0
    })
  }

  private extract(call: Extract<Expression, { kind: 'call' }>, time: Value): Value {
    const word = literalWord(call, 'extract')
    const field = extractField(word)
    if (field === null) throw unknownUnit(word)
    const scale = EXTRACT_SCALES[field]
    const value = time.type === 'date' ? this.cast(time, 'timestamp') : time
    const floor = this.wide ? 'floorDivideWide' : 'floorDivide'
    const day = this.integer(MICROS_PER_DAY)
    const result = this.strict('numeric', [value], (target) => {
      if (field === 'epoch') {
        this.line(`${target} = ${value.code}`)
        return scale
      }
      const days = this.fresh()
      this.line(`const ${days} = ${floor}(${value.code}, ${day})`)
      const rest = `Number(${value.code} - ${days} * ${day})`
      const part = `extract('${field}', Number(${days}), ${rest})`
      this.line(`${target} = ${this.wide ? `BigInt(${part})` : part}`)
      return scale
    })
    return this.cast(result, call.type)
  }

  // Text

  private textCall(call: Extract<Expression, { kind: 'call' }>, args: readonly Value[]): Value {
    const { name, type } = call
    const [a, b] = args
    switch (name) {
      case 'lower':
      case 'upper':
        return this.strictText(type, [a], () =>
          this.line(`scratch.${name}(${a.code}, ${a.start}, ${a.end})`),
        )
      case 'concat':
        return this.concat(args, type)
      case 'substring':
        return this.substring(args, type)
      case 'length':
        return this.length(a, type)
      case 'like':
        return this.like(call, a, b)
      default:
        throw unsupported(`the function ${name}`)
    }
  }

  /** The operator `||`: null if a part is. */
  private concat(args: readonly Value[], type: DataType): Value {
    const parts = args.map((argument) =>
      isText(argument.type) ? argument : this.cast(argument, type),
    )
    return this.strictText(type, parts, () => {
      const sizes = parts.map((part) => `${part.end} - ${part.start}`).join(' + ')
      this.line(`scratch.begin(${sizes})`)
      for (const part of parts) {
        this.line(`scratch.append(${part.code}, ${part.start}, ${part.end})`)
      }
    })
  }

  private substring(args: readonly Value[], type: DataType): Value {
    const [text, from, count] = args
    const isNull = this.nullOf(args)
    if (isNull === '1') return this.nullValue(type)
    this.usesScratch = true
    const work = type === 'bytea' ? 'byteSubstring' : 'substring'
    const [start, end] = [this.fresh('s'), this.fresh('e')]
    this.line(`let ${start} = 0, ${end} = 0`)
    if (isNull !== '0') this.line(`if (${isNull} === 0) {`)
    const given = `${text.code}, ${text.start}, ${text.end}, Number(${from.code})`
    const counted = count === undefined ? 'Infinity' : `Number(${count.code})`
    this.line(`scratch.${work}(${given}, ${counted})`)
    this.line(`${start} = scratch.rangeStart; ${end} = scratch.rangeEnd`)
    if (isNull !== '0') this.line('}')
    return this.textValue(type, text.code, [start, end], isNull)
  }

  private length(a: Value, type: DataType): Value {
    const code =
      a.type === 'bytea' ? `${a.end} - ${a.start}` : `textLength(${a.code}, ${a.start}, ${a.end})`
    return this.strict(type, [a], (target) => {
      const boxed = this.representationOf(type) === 'bigint'
      this.line(`${target} = ${boxed ? `BigInt(${code})` : code}`)
      return 0
    })
  }

  private like(call: Extract<Expression, { kind: 'call' }>, a: Value, pattern: Value): Value {
    const source = call.args[1]
    const fixed = source.kind === 'literal' && source.value !== null
    let matcher = ''
    if (fixed) {
      const bytes = encodeText(String(source.value))
      matcher = this.constant(new LikePattern(bytes, 0, bytes.length))
    }
    return this.strict('boolean', [a, pattern], (target) => {
      const range = `${pattern.code}, ${pattern.start}, ${pattern.end}`
      const run = fixed ? matcher : `new LikePattern(${range})`
      this.line(`${target} = ${run}.matches(${a.code}, ${a.start}, ${a.end}) ? 1 : 0`)
      return 0
    })
  }
}

function wideCheck(name: string): string {
  return `if (${name} > ${SAFE_MAX} || ${name} < -${SAFE_MAX}) return ${NEED_WIDE}`
}

function operatorOf(name: ScalarFunction): string {
  switch (name) {
    case 'equal':
      return '==='
    case 'not_equal':
      return '!=='
    case 'less':
      return '<'
    case 'less_equal':
      return '<='
    case 'greater':
      return '>'
    default:
      return '>='
  }
}

function invert(flag: string): string {
  if (flag === '0') return '1'
  return flag === '1' ? '0' : `(${flag}) ^ 1`
}

function either(code: string, flag: string): string {
  return flag === '0' ? code : `${code} | ${flag}`
}

/** Null where a side is and neither side decides. */
function logicNull(name: 'and' | 'or', a: Value, b: Value): string {
  const some = `(${a.isNull} | ${b.isNull})`
  if (name === 'or') return `${some} & ((${a.code} | ${b.code}) ^ 1)`
  return `${some} & (${a.code} | ${a.isNull}) & (${b.code} | ${b.isNull})`
}

function isNumber(type: DataType): boolean {
  return (
    type === 'smallint' ||
    type === 'integer' ||
    type === 'bigint' ||
    type === 'numeric' ||
    isFloat(type)
  )
}

function literalWord(call: Extract<Expression, { kind: 'call' }>, what: string): string {
  const [word] = call.args
  if (word.kind === 'literal' && typeof word.value === 'string') return word.value
  throw unsupported(`${what} with a unit that is not a constant`)
}

function unsupported(what: string): EngineError {
  return new EngineError('SQL_UNSUPPORTED', `${what} is not supported`, {
    context: { sqlState: '0A000' },
  })
}

function unknownUnit(word: string): EngineError {
  return new EngineError('SQL_INVALID', `unit "${word}" not recognized`, {
    context: { sqlState: '22023', unit: word },
  })
}

function cannotCompare(a: DataType, b: DataType): EngineError {
  return new EngineError('SQL_TYPE', `cannot compare ${a} with ${b}`, {
    context: { sqlState: '42883' },
  })
}
