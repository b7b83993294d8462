/** The end of a sink's stream. So far only `blackhole`: counts the rows and forgets them. */
import { EngineError } from '../../common/errors.ts'
import type { LocalTable, Pending } from '../../storage/state-store.ts'
import type { Chunk } from '../chunk.ts'
import type { Operator, OperatorContext, Output } from '../operator.ts'
import type { OperatorPlan } from '../plan.ts'

type SinkPlan = Extract<OperatorPlan, { kind: 'sink' }>

export class Sink implements Operator {
  readonly tables: readonly LocalTable[] = []
  /** Rows taken so far, deletes too. */
  rowCount = 0

  /** @throws SQL_UNSUPPORTED for a connector other than `blackhole`. */
  constructor(plan: SinkPlan, _context: OperatorContext) {
    if (plan.connector !== 'blackhole')
      throw new EngineError('SQL_UNSUPPORTED', 'this sink connector is not supported', {
        context: {
          connector: plan.connector,
          sqlState: '0A000',
          hint: "use connector='blackhole'",
        },
      })
  }

  prepare(): Pending | null {
    return null
  }

  apply(_input: number, chunk: Chunk, _output: Output): void {
    if (chunk.visible === null) this.rowCount += chunk.rowCount
    else for (let row = 0; row < chunk.rowCount; row++) this.rowCount += chunk.visible[row]
  }

  prepareFlush(): Pending | null {
    return null
  }

  flush(): void {}

  stateBytes(): number {
    return 0
  }
}
