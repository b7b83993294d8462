/** Short names to write bound expressions in tests. */
import type { Expression, ScalarFunction } from '../../src/stream/plan.ts'
import type { DataType } from '../../src/stream/schema.ts'

export const col = (index: number, type: DataType): Expression => ({ kind: 'column', index, type })

export const lit = (
  type: DataType,
  value: number | string | boolean | null,
  scale = 0,
): Expression => ({ kind: 'literal', type, value, scale })

export const call = (
  name: ScalarFunction,
  type: DataType,
  ...args: readonly Expression[]
): Expression => ({ kind: 'call', name, type, args })

export const cast = (argument: Expression, type: DataType): Expression => ({
  kind: 'cast',
  argument,
  type,
})

export const when = (
  type: DataType,
  branches: readonly (readonly [Expression, Expression])[],
  otherwise: Expression | null,
): Expression => ({
  kind: 'case',
  // biome-ignore lint/suspicious/noThenProperty: the word of the plan
  branches: branches.map(([condition, result]) => ({ when: condition, then: result })),
  otherwise,
  type,
})
