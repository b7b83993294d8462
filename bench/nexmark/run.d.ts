import { type OpenOptions } from '../../src/index.ts'
import { type QueryName } from './queries.ts'
export interface NexmarkRunOptions {
  readonly query: QueryName
  /** Instead of the query's own text; its result is counted, not judged. */
  readonly select?: string
  readonly events: number
  readonly seed: number
  readonly input: 'replay' | 'rows' | 'generate'
  readonly sink: 'view' | 'blackhole'
  readonly store: string
  /** Pace of replay and generate; 0: as fast as possible. */
  readonly eventsPerSecond: number
  readonly open: OpenOptions
}
export type NexmarkResult = Readonly<Record<string, unknown>> & {
  readonly resultHash: string | null
  readonly hashRight: boolean | null
}
/** @throws INTERNAL when the answer of a judged run (1M events, seed 42) is wrong. */
export declare function runNexmark(options: NexmarkRunOptions): Promise<NexmarkResult>
export declare function assertRight(result: NexmarkResult): void
