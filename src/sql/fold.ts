/**
 * Constant folding: what reads no column is computed once, when the plan is made, by the same compiled
 * expressions that run later. What would fail stays as it is, and fails when a row comes to it.
 */
import { EngineError } from '../common/errors.ts'
import { Chunk } from '../stream/chunk.ts'
import { type Column, TEXT, WIDE } from '../stream/column.ts'
import { compileExpressions } from '../stream/expression.ts'
import type { Expression } from '../stream/plan.ts'
import { mapExpression } from './logical.ts'

type Literal = Extract<Expression, { kind: 'literal' }>

/** The same value; simpler where parts of it are constant. */
export function foldConstants(expression: Expression): Expression {
  return mapExpression(expression, (part) => {
    switch (part.kind) {
      case 'call':
        return foldCall(part)
      case 'cast': {
        const argument = foldConstants(part.argument)
        const cast: Expression = { ...part, argument }
        return argument.kind === 'literal' ? evaluate(cast) : cast
      }
      default:
        return null
    }
  })
}

function foldCall(call: Extract<Expression, { kind: 'call' }>): Expression {
  const args = call.args.map(foldConstants)
  const folded: Expression = { ...call, args }
  if (call.name === 'and' || call.name === 'or') {
    // The value that decides, and the one that says nothing. Nulls stay as they are.
    const decides = call.name === 'or'
    if (args.some((arg) => booleanOf(arg) === decides)) return literal(decides)
    const rest = args.filter((arg) => booleanOf(arg) !== !decides)
    if (rest.length === 0) return literal(!decides)
    return rest.length === 1 ? rest[0] : { ...call, args: rest }
  }
  return args.every((arg) => arg.kind === 'literal') ? evaluate(folded) : folded
}

/** The value of an expression without columns; the expression itself where that is an error. */
function evaluate(expression: Expression): Expression {
  try {
    const [column] = compileExpressions([expression])(new Chunk(1, null, null, []))
    return literalOf(column, expression)
  } catch (error) {
    if (error instanceof EngineError && error.kind === 'invalid') return expression
    throw error
  }
}

function literalOf(column: Column, { type }: Expression): Literal {
  const { form, nulls, numbers, wide, offsets, data, scale } = column
  const made = (value: Literal['value']): Literal => ({ kind: 'literal', type, value, scale })
  if (nulls !== null && nulls[0] === 1) return made(null)
  if (form === WIDE) return made(wide[0].toString())
  if (form === TEXT) {
    const bytes = Buffer.from(data.subarray(offsets[0], offsets[1]))
    return made(bytes.toString(type === 'bytea' ? 'hex' : 'utf8'))
  }
  return made(type === 'boolean' ? numbers[0] === 1 : numbers[0])
}

function booleanOf(value: Expression): boolean | null {
  return value.kind === 'literal' && typeof value.value === 'boolean' ? value.value : null
}

function literal(value: boolean): Literal {
  return { kind: 'literal', type: 'boolean', value, scale: 0 }
}
