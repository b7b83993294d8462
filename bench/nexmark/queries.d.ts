/** The Nexmark queries of the benchmark: text, the columns each source needs, and how a result row is spelled. */
import type { Row } from '../../src/index.ts'
export type QueryName = 'q1' | 'q3' | 'q4' | 'q5w'
export type TableName = 'person' | 'auction' | 'bid'
export interface NexmarkQuery {
  readonly select: string
  /** Columns that the query reads, by table. */
  readonly columns: Readonly<Partial<Record<TableName, readonly string[]>>>
  /** A result row as the peers hash it: an array in column order. */
  readonly spell: (row: Row) => readonly unknown[]
}
export declare const QUERIES: Readonly<Record<QueryName, NexmarkQuery>>
/** What 1M events of seed 42 give, over all systems measured. */
export declare const KNOWN_HASHES: Readonly<Record<QueryName, string>>
/** CREATE SOURCE (or TABLE, without properties) for one of the three tables. */
export declare function createRelation(
  table: TableName,
  properties: Readonly<Record<string, string>> | null,
): string
export declare function capitalized(table: TableName): string
