/**
 * Compiled expressions: bound trees become functions over whole chunks. Stands in filters, projections,
 * join conditions and queries. Hot path: one call per chunk and expression; the loop over rows is
 * generated source (expression-codegen.ts), one function per shape of the inputs, kept for the life of
 * the compiled expression.
 */
import { EngineError } from '../common/errors.ts'
import { Chunk } from './chunk.ts'
import { Column, NARROW, TEXT, WIDE } from './column.ts'
import { ColumnBuilder } from './column-builder.ts'
import type { InputShape } from './expression-codegen.ts'
import { DONE_WITH_NULLS, generate, NEED_SCALE, NEED_WIDE } from './expression-codegen.ts'
import { parseDoublePrecision, parseReal } from './functions-cast.ts'
import { extract, truncateDays } from './functions-datetime.ts'
import {
  divideRounded,
  divisionByZero,
  doubleOfNumeric,
  overflow,
  roundHalfEven,
} from './functions-number.ts'
import {
  compareText,
  decodeText,
  equalText,
  formatHex,
  LikePattern,
  TextScratch,
  textLength,
} from './functions-text.ts'
import type { Expression } from './plan.ts'
import { type DataType, isText, typeName } from './schema.ts'

const SAFE_MAX_BIG = BigInt(Number.MAX_SAFE_INTEGER)
/** Chunks that start in the wide mode after one needed it. */
const WIDE_CHUNKS = 16
/**
 * Loops kept for one expression. Beyond them one loop serves all that differ only in which columns have
 * nulls: ten columns would else need a thousand.
 */
const VARIANTS_MAX = 16
const NO_BYTES = new Uint8Array(0)
let noNulls = new Uint8Array(2048)

/** The same column with a null flag for each row. */
function nullable(column: Column, rowCount: number): Column {
  if (column.nulls !== null) return column
  if (noNulls.length < rowCount) noNulls = new Uint8Array(rowCount * 2)
  const { type, scale } = column
  if (column.form === TEXT) return Column.text(type, column.offsets, column.data, noNulls)
  if (column.form === WIDE) return Column.wide(type, column.wide, noNulls, scale)
  return Column.narrow(type, column.numbers, noNulls, scale)
}

/** What generated source may call, by name. Frozen words: nothing here comes from a user. */
const HELPERS = {
  abs: Math.abs,
  ceil: Math.ceil,
  ceilExact: (value: number, divisor: number): number => Math.ceil(value / divisor) + 0,
  ceilWide: (value: bigint, divisor: bigint): bigint => -floorDivideWide(-value, divisor),
  compareText,
  decodeText,
  divisionByZero,
  doubleOfNumeric,
  equalText,
  extract,
  floor: Math.floor,
  floorDivide: (value: number, divisor: number): number => Math.floor(value / divisor) + 0,
  floorDivideWide,
  floorExact: (value: number, divisor: number): number => Math.floor(value / divisor) + 0,
  floorWide: floorDivideWide,
  formatHex,
  fround: Math.fround,
  LikePattern,
  noBytes: NO_BYTES,
  overflow,
  parseDoublePrecision,
  parseReal,
  roundExact,
  roundHalfEven,
  roundWide: divideRounded,
  textLength,
  trunc: Math.trunc,
  truncateDays,
  underflow,
  windowSize,
}
const HELPER_NAMES = Object.keys(HELPERS).join(', ')

function floorDivideWide(value: bigint, divisor: bigint): bigint {
  const quotient = value / divisor
  return value % divisor < 0n ? quotient - 1n : quotient
}

/** Halves away from zero. The quotient of safe integers, rounded down, is exact. */
function roundExact(value: number, divisor: number): number {
  const magnitude = Math.abs(value)
  const quotient = Math.floor(magnitude / divisor)
  const rest = magnitude - quotient * divisor
  const rounded = rest * 2 >= divisor ? quotient + 1 : quotient
  return value < 0 ? 0 - rounded : rounded
}

function underflow(type: DataType): EngineError {
  return new EngineError('VALUE_OVERFLOW', 'value out of range: underflow', {
    context: { sqlState: '22003', type: typeName(type) },
  })
}

function windowSize(): EngineError {
  return new EngineError('VALUE_INVALID', 'the size of a window must be above zero', {
    context: { sqlState: '22023' },
  })
}

/** @throws CODE_GENERATION_FORBIDDEN where the process was started with `--disallow-code-generation-from-strings`. */
export function assertCodeGeneration(): void {
  try {
    new Function('return 0')
  } catch (cause) {
    throw new EngineError(
      'CODE_GENERATION_FORBIDDEN',
      'this process forbids generated code, which expressions are compiled to',
      { cause, context: { hint: 'start node without --disallow-code-generation-from-strings' } },
    )
  }
}

/** `columns` are all of the chunk; `out` is numbers, bigints, a builder or a mask, as generated for. */
type Loop = (
  rowCount: number,
  visible: Uint8Array | null,
  columns: readonly Column[],
  out: Float64Array | Uint8Array | bigint[] | ColumnBuilder,
  nulls: Uint8Array,
) => number

interface Variant {
  readonly run: Loop
  readonly scale: number
  readonly boxed: boolean
  readonly needsWide: boolean
  /** What its numerics were generated for; a rise makes the variant useless. */
  readonly scaleCount: number
}

/** One expression, with the loops that were generated for the shapes seen so far. */
class Program {
  private readonly expression: Expression
  private readonly inputs: readonly number[]
  private readonly sink: 'column' | 'mask'
  private readonly scales: Map<Expression, number>
  private readonly variants: Map<string, Variant>
  private readonly scratch: TextScratch
  /** Chunks for which the wide mode is tried first. */
  private wideChunks: number
  /** Counts changes of `scales`. */
  private scaleCount: number

  constructor(expression: Expression, sink: 'column' | 'mask') {
    this.expression = expression
    this.inputs = [...new Set(columnsOf(expression))].sort((a, b) => a - b)
    this.sink = sink
    this.scales = new Map()
    this.variants = new Map()
    this.scratch = new TextScratch()
    this.wideChunks = 0
    this.scaleCount = 0
  }

  /** The value of each row; hidden rows hold 0 or the empty text. */
  column(given: Chunk): Column {
    const { type } = this.expression
    const chunk = this.simplified(given)
    for (let wide = this.startsWide(chunk); ; ) {
      const variant = this.variant(chunk, wide)
      if (variant.needsWide) {
        wide = true
        continue
      }
      const nulls = new Uint8Array(chunk.rowCount)
      const out = isText(type)
        ? new ColumnBuilder(type)
        : variant.boxed
          ? new Array<bigint>(chunk.rowCount)
          : new Float64Array(chunk.rowCount)
      const outcome = variant.run(chunk.rowCount, chunk.visible, chunk.columns, out, nulls)
      if (outcome === NEED_WIDE) wide = this.turnWide()
      else if (outcome === NEED_SCALE) this.scaleCount++
      else return resultColumn(type, out, outcome === DONE_WITH_NULLS ? nulls : null, variant.scale)
    }
  }

  /** 1 where true; 0 where false, null or hidden. */
  mask(given: Chunk, out: Uint8Array): void {
    const chunk = this.simplified(given)
    for (let wide = this.startsWide(chunk); ; ) {
      const variant = this.variant(chunk, wide)
      if (variant.needsWide) {
        wide = true
        continue
      }
      const outcome = variant.run(chunk.rowCount, chunk.visible, chunk.columns, out, NO_BYTES)
      if (outcome === NEED_WIDE) wide = this.turnWide()
      else if (outcome === NEED_SCALE) this.scaleCount++
      else return
    }
  }

  /** The chunk itself, or one of fewer possible shapes when too many were seen. */
  private simplified(chunk: Chunk): Chunk {
    if (this.variants.size < VARIANTS_MAX) return chunk
    const { rowCount, ops, visible } = chunk
    const columns = [...chunk.columns]
    for (const index of this.inputs) columns[index] = nullable(columns[index], rowCount)
    return new Chunk(rowCount, ops, visible, columns)
  }

  private startsWide(chunk: Chunk): boolean {
    for (const index of this.inputs) if (chunk.columns[index].form === WIDE) return true
    if (this.wideChunks === 0) return false
    this.wideChunks--
    return true
  }

  private turnWide(): true {
    this.wideChunks = WIDE_CHUNKS
    return true
  }

  private variant(chunk: Chunk, wide: boolean): Variant {
    const masked = chunk.visible !== null
    let key = wide ? (masked ? 'W' : 'w') : masked ? 'N' : 'n'
    for (const index of this.inputs) {
      const column = chunk.columns[index]
      key += `${column.form}${column.nulls === null ? 'v' : 'n'}${column.scale}`
    }
    const known = this.variants.get(key)
    if (known !== undefined && known.scaleCount === this.scaleCount) return known
    const made = this.generate(chunk, wide, masked)
    this.variants.set(key, made)
    return made
  }

  private generate(chunk: Chunk, wide: boolean, masked: boolean): Variant {
    const inputs: InputShape[] = this.inputs.map((index) => {
      const column = chunk.columns[index]
      return { index, form: column.form, scale: column.scale, hasNulls: column.nulls !== null }
    })
    const generated = generate(this.expression, {
      inputs,
      wide,
      masked,
      sink: this.sink,
      scales: this.scales,
    })
    const factory = new Function(
      'K',
      'H',
      'scratch',
      `'use strict'\nconst { ${HELPER_NAMES} } = H\n${generated.source}`,
    )
    return {
      run: factory(generated.constants, HELPERS, this.scratch),
      scale: generated.scale,
      boxed: generated.boxed,
      needsWide: generated.needsWide,
      scaleCount: this.scaleCount,
    }
  }
}

function resultColumn(
  type: DataType,
  out: Float64Array | bigint[] | ColumnBuilder,
  nulls: Uint8Array | null,
  scale: number,
): Column {
  if (out instanceof ColumnBuilder) return out.finish()
  const shownScale = type === 'numeric' ? scale : 0
  if (out instanceof Float64Array) return Column.narrow(type, out, nulls, shownScale)
  const numbers = new Float64Array(out.length)
  for (let row = 0; row < out.length; row++) {
    const value = out[row]
    if (value > SAFE_MAX_BIG || value < -SAFE_MAX_BIG) {
      return Column.wide(type, out, nulls, shownScale)
    }
    numbers[row] = Number(value)
  }
  return Column.narrow(type, numbers, nulls, shownScale)
}

/** Positions of the columns that an expression reads, in order of appearance, with repetitions. */
export function columnsOf(expression: Expression): number[] {
  switch (expression.kind) {
    case 'column':
      return [expression.index]
    case 'literal':
      return []
    case 'call':
      return expression.args.flatMap(columnsOf)
    case 'cast':
      return columnsOf(expression.argument)
    case 'case':
      return [
        ...expression.branches.flatMap((branch) => [
          ...columnsOf(branch.when),
          ...columnsOf(branch.then),
        ]),
        ...(expression.otherwise === null ? [] : columnsOf(expression.otherwise)),
      ]
  }
}

const ONE_ROW = new Chunk(1, null, null, [])

/**
 * The same tree with its constant parts computed. Parts that fail (1 / 0) stay as they are: whether they
 * are reached is for the rows to say.
 */
export function foldConstants(expression: Expression): Expression {
  switch (expression.kind) {
    case 'column':
    case 'literal':
      return expression
    case 'call': {
      const args = expression.args.map(foldConstants)
      return foldNode({ ...expression, args }, args)
    }
    case 'cast': {
      const argument = foldConstants(expression.argument)
      return foldNode({ ...expression, argument }, [argument])
    }
    case 'case': {
      const branches = expression.branches.map((branch) => ({
        when: foldConstants(branch.when),
        // biome-ignore lint/suspicious/noThenProperty: the word of the plan
        then: foldConstants(branch.then),
      }))
      const otherwise = expression.otherwise === null ? null : foldConstants(expression.otherwise)
      const parts = branches.flatMap((branch) => [branch.when, branch.then])
      return foldNode(
        { ...expression, branches, otherwise },
        otherwise === null ? parts : [...parts, otherwise],
      )
    }
  }
}

function foldNode(node: Expression, parts: readonly Expression[]): Expression {
  if (!parts.every((part) => part.kind === 'literal')) return node
  try {
    return literalOf(new Program(node, 'column').column(ONE_ROW), 0)
  } catch (error) {
    if (error instanceof EngineError && error.kind === 'invalid') return node
    throw error
  }
}

/** The literal expression of one value of a column. */
export function literalOf(column: Column, row: number): Expression {
  const { type, scale } = column
  if (column.nulls !== null && column.nulls[row] === 1) {
    return { kind: 'literal', type, value: null, scale: 0 }
  }
  if (column.form === TEXT) {
    const [start, end] = [column.offsets[row], column.offsets[row + 1]]
    const read = type === 'bytea' ? formatHex : decodeText
    return { kind: 'literal', type, value: read(column.data, start, end), scale: 0 }
  }
  if (type === 'boolean') {
    return { kind: 'literal', type, value: column.numbers[row] === 1, scale: 0 }
  }
  const value = column.form === NARROW ? column.numbers[row] : column.wide[row].toString()
  return { kind: 'literal', type, value, scale }
}

/**
 * Compiles expressions; the result gives their columns for a chunk, in order. A reference to a column
 * gives that very column. Hidden rows raise no errors and hold nothing of meaning.
 * @throws (the result) VALUE_OVERFLOW, DIVISION_BY_ZERO, VALUE_INVALID with `sqlState`; SQL_UNSUPPORTED
 *   and SQL_TYPE for trees that the binder should not have made.
 */
export function compileExpressions(expressions: readonly Expression[]): (chunk: Chunk) => Column[] {
  const parts = expressions.map(compileColumn)
  return (chunk) => {
    const columns: Column[] = []
    for (const part of parts) columns.push(part(chunk))
    return columns
  }
}

function compileColumn(expression: Expression): (chunk: Chunk) => Column {
  const folded = foldConstants(expression)
  if (folded.kind === 'column') return (chunk) => chunk.columns[folded.index]
  const program = new Program(folded, 'column')
  if (folded.kind !== 'literal') return (chunk) => program.column(chunk)
  // Columns may be longer than their chunk: the longest one so far serves all.
  let longest = program.column(new Chunk(0, null, null, []))
  let rowCount = 0
  return (chunk) => {
    if (chunk.rowCount > rowCount) {
      rowCount = Math.max(chunk.rowCount, rowCount * 2)
      longest = program.column(new Chunk(rowCount, null, null, []))
    }
    return longest
  }
}

/**
 * Compiles a condition; the result writes 1 where it is true and 0 where it is false or null or the row
 * is hidden, so that `out` can be the new visibility. Throws as the result of `compileExpressions`.
 */
export function compilePredicate(expression: Expression): (chunk: Chunk, out: Uint8Array) => void {
  const program = new Program(foldConstants(expression), 'mask')
  return (chunk, out) => program.mask(chunk, out)
}
