/** Constant folding: what reads no column is computed once, when the plan is made. */
import type { Expression } from '../stream/plan.ts'
import { mapExpression } from './logical.ts'

type Literal = Extract<Expression, { kind: 'literal' }>

/** The same value; simpler where parts of it are constant. */
export function foldConstants(expression: Expression): Expression {
  return mapExpression(expression, (part) => {
    if (part.kind === 'call') return foldCall(part)
    return null
  })
}

function foldCall(call: Extract<Expression, { kind: 'call' }>): Expression | null {
  const args = call.args.map(foldConstants)
  switch (call.name) {
    case 'negate': {
      const negated = negate(args[0])
      return negated ?? { ...call, args }
    }
    case 'not': {
      const value = booleanOf(args[0])
      return value === null ? { ...call, args } : literal(!value)
    }
    case 'and':
    case 'or': {
      // The value that decides, and the one that says nothing. Nulls stay as they are.
      const decides = call.name === 'or'
      if (args.some((arg) => booleanOf(arg) === decides)) return literal(decides)
      const rest = args.filter((arg) => booleanOf(arg) !== !decides)
      if (rest.length === 0) return literal(!decides)
      return rest.length === 1 ? rest[0] : { ...call, args: rest }
    }
    default:
      return { ...call, args }
  }
}

function negate(value: Expression): Literal | null {
  if (value.kind !== 'literal') return null
  if (typeof value.value === 'number' && value.value !== 0) return { ...value, value: -value.value }
  if (typeof value.value === 'string' && /^-?\d+$/.test(value.value)) {
    const text = value.value.startsWith('-') ? value.value.slice(1) : `-${value.value}`
    return { ...value, value: text }
  }
  return null
}

function booleanOf(value: Expression): boolean | null {
  return value.kind === 'literal' && typeof value.value === 'boolean' ? value.value : null
}

function literal(value: boolean): Literal {
  return { kind: 'literal', type: 'boolean', value, scale: 0 }
}
