/** Makes Nexmark events before the clock starts: as columns in shared memory, or as row objects. */
import type { Dataset } from '../../src/actors/protocol.ts'
import type { Row } from '../../src/index.ts'
import type { NexmarkQuery, TableName } from './queries.ts'
export declare function makeDataset(query: NexmarkQuery, eventCount: number, seed: number): Dataset
/** Mixed events as row objects, as an application would hold them; times are Dates. */
export declare function makeRows(
  query: NexmarkQuery,
  eventCount: number,
  seed: number,
  batchRows: number,
): Generator<
  {
    readonly table: TableName
    readonly row: Row
  }[]
>
