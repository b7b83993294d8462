/** The real operators and connectors by plan kind, for one worker thread. */
import { unreachable } from '../common/assert.ts'
import type { Env } from '../common/env.ts'
import { EngineError } from '../common/errors.ts'
import { NexmarkReader, nexmarkProperties } from '../connectors/nexmark.ts'
import { ReplayReader, type ReplayTable } from '../connectors/replay.ts'
import type { Operator, OperatorContext } from '../stream/operator.ts'
import { Filter } from '../stream/operators/filter.ts'
import { HashAggregate } from '../stream/operators/hash-aggregate.ts'
import { HashJoin } from '../stream/operators/hash-join.ts'
import { Materialize } from '../stream/operators/materialize.ts'
import { Project } from '../stream/operators/project.ts'
import { Sink } from '../stream/operators/sink.ts'
import type { OperatorPlan } from '../stream/plan.ts'
import type { SplitOffset, SplitReader } from '../stream/source.ts'
import type { OperatorFactory, SourcePlan } from './builder.ts'
import type { SourceSplit } from './head.ts'
import type { Dataset } from './protocol.ts'

/**
 * Splits of a replayed dataset, unless `replay.split.num` says otherwise: fixed, so that offsets stay valid when
 * the number of workers changes, and a multiple of the usual numbers of workers.
 */
const REPLAY_SPLITS = 8

export interface OperatorFactoryOptions {
  readonly workerIndex: number
  readonly workerCount: number
  readonly env: Pick<Env, 'monotonicMs'>
  readonly datasets: Readonly<Record<string, Dataset>>
}

/** Opens one split of a source; offset null: from its beginning. */
type OpenSplit = (split: number, offset: SplitOffset | null) => SplitReader

export class EngineOperatorFactory implements OperatorFactory {
  private readonly options: OperatorFactoryOptions

  constructor(options: OperatorFactoryOptions) {
    this.options = options
  }

  createOperator(plan: OperatorPlan, context: OperatorContext): Operator {
    switch (plan.kind) {
      case 'filter':
        return new Filter(plan, context)
      case 'project':
        return new Project(plan, context)
      case 'hash-join':
        return new HashJoin(plan, context)
      case 'hash-aggregate':
        return new HashAggregate(plan, context)
      case 'materialize':
        return new Materialize(plan, context)
      case 'sink':
        return new Sink(plan, context)
      case 'source':
      case 'dml':
      case 'merge':
        throw new EngineError('INTERNAL', 'a head without an input is no operator')
      default:
        return unreachable(plan)
    }
  }

  /** Split i belongs to worker `i % workerCount`. */
  createSplits(
    plan: SourcePlan,
    offsets: Readonly<Record<string, SplitOffset>>,
  ): readonly SourceSplit[] {
    const { splitCount, open } = this.connector(plan)
    const splits: SourceSplit[] = []
    for (let split = this.options.workerIndex; split < splitCount; ) {
      const offsetKey = `${plan.sourceId}/${split}`
      splits.push({ offsetKey, reader: open(split, offsets[offsetKey] ?? null) })
      split += this.options.workerCount
    }
    return splits
  }

  private connector(plan: SourcePlan): { readonly splitCount: number; readonly open: OpenSplit } {
    const monotonicMs = (): number => this.options.env.monotonicMs()
    const { columns, rowIdColumn, properties } = plan
    if (plan.connector === 'nexmark') {
      const nexmark = nexmarkProperties(properties)
      return {
        splitCount: nexmark.splitCount,
        open: (split, offset) =>
          new NexmarkReader(nexmark, columns, rowIdColumn, split, offset, monotonicMs),
      }
    }
    if (plan.connector === 'replay') {
      const table = this.dataset(properties)
      const splitCount = Number(properties['replay.split.num'] ?? REPLAY_SPLITS)
      const eventsPerSecond = Number(properties['replay.events.per.second'] ?? 0)
      const shared = { table, columns, rowIdColumn, splitCount, eventsPerSecond, monotonicMs }
      return { splitCount, open: (split, offset) => new ReplayReader({ ...shared, split, offset }) }
    }
    throw new EngineError('SQL_UNSUPPORTED', `there is no connector '${plan.connector}'`, {
      context: { connector: plan.connector, sqlState: '0A000' },
    })
  }

  private dataset(properties: Readonly<Record<string, string>>): ReplayTable {
    const dataset = properties['replay.dataset'] ?? ''
    const table = properties['replay.table'] ?? ''
    const found = this.options.datasets[dataset]?.tables[table]
    if (found === undefined) {
      throw new EngineError(
        'SQL_INVALID',
        `no dataset '${dataset}' with table '${table}' was given`,
        {
          context: { dataset, table, sqlState: '22023' },
        },
      )
    }
    return found
  }
}
