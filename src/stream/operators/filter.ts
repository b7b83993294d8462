/**
 * Hides the rows whose predicate is not true. Stateless; runs in the chain of an actor.
 * Hot path: per chunk one compiled predicate and one pass over the masks.
 */
import type { LocalTable, Pending } from '../../storage/state-store.ts'
import { Chunk, DELETE, INSERT, UPDATE_DELETE, UPDATE_INSERT } from '../chunk.ts'
import { compactChunk } from '../column-builder.ts'
import { compilePredicate } from '../expression.ts'
import type { Operator, OperatorContext, Output } from '../operator.ts'
import type { OperatorPlan } from '../plan.ts'

type FilterPlan = Extract<OperatorPlan, { kind: 'filter' }>

export class Filter implements Operator {
  readonly tables: readonly LocalTable[] = []
  private readonly predicate: (chunk: Chunk, out: Uint8Array) => void

  constructor(plan: FilterPlan, _context: OperatorContext) {
    this.predicate = compilePredicate(plan.predicate)
  }

  prepare(): Pending | null {
    return null
  }

  apply(_input: number, chunk: Chunk, output: Output): void {
    const { rowCount, visible } = chunk
    const mask = new Uint8Array(rowCount)
    this.predicate(chunk, mask)
    let kept = 0
    if (visible === null) for (let row = 0; row < rowCount; row++) kept += mask[row]
    else for (let row = 0; row < rowCount; row++) kept += mask[row] &= visible[row]
    if (kept === 0) return
    if (kept === rowCount) {
      output.emit(chunk)
      return
    }
    const ops = chunk.ops === null ? null : splitPairs(chunk.ops, mask, rowCount)
    const result = new Chunk(rowCount, ops, mask, chunk.columns)
    // Few rows left: a copy is cheaper than dragging the hidden ones through every later loop.
    output.emit(kept * 2 < rowCount ? compactChunk(result) : result)
  }

  prepareFlush(): Pending | null {
    return null
  }

  flush(): void {}

  stateBytes(): number {
    return 0
  }
}

/** An update of which one row is hidden is a plain insert or delete. */
export function splitPairs(ops: Uint8Array, mask: Uint8Array, rowCount: number): Uint8Array {
  const result = ops.slice(0, rowCount)
  for (let row = 0; row + 1 < rowCount; row++) {
    if (ops[row] !== UPDATE_DELETE || ops[row + 1] !== UPDATE_INSERT) continue
    if (mask[row] !== mask[row + 1]) {
      result[row] = DELETE
      result[row + 1] = INSERT
    }
  }
  return result
}
