/** Computes new columns from those of each chunk. Stateless; one compiled call per chunk. */
import type { LocalTable, Pending } from '../../storage/state-store.ts'
import { Chunk } from '../chunk.ts'
import type { Column } from '../column.ts'
import { compileExpressions } from '../expression.ts'
import type { Operator, OperatorContext, Output } from '../operator.ts'
import type { OperatorPlan } from '../plan.ts'

type ProjectPlan = Extract<OperatorPlan, { kind: 'project' }>

export class Project implements Operator {
  readonly tables: readonly LocalTable[] = []
  private readonly evaluate: (chunk: Chunk) => readonly Column[]

  constructor(plan: ProjectPlan, _context: OperatorContext) {
    this.evaluate = compileExpressions(plan.expressions)
  }

  prepare(): Pending | null {
    return null
  }

  apply(_input: number, chunk: Chunk, output: Output): void {
    output.emit(new Chunk(chunk.rowCount, chunk.ops, chunk.visible, this.evaluate(chunk)))
  }

  prepareFlush(): Pending | null {
    return null
  }

  flush(): void {}

  stateBytes(): number {
    return 0
  }
}
