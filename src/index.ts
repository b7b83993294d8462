/**
 * tussock: streaming SQL with durable state on S3, inside your Node process.
 * @packageDocumentation
 */
import { Database, type DatabaseOptions } from './database.ts'

export { EngineError, type ErrorCode, type ErrorKind } from './common/errors.ts'
export {
  type Change,
  type ChangeSet,
  Database,
  type DatabaseEvent,
  type DatabaseOptions,
  type ExecuteResult,
  type InsertOptions,
  type QueryOptions,
  type QueryResult,
  type Row,
  Snapshot,
  Table,
} from './database.ts'
export type { OpenOptions } from './options.ts'

/**
 * Opens a database, creating it if there is none, and goes on where it was. A second opener takes over:
 * the first one is fenced.
 *
 * @param url `memory://name`, a path or `file:` URL, or `s3://bucket/prefix` (`?endpoint=…&region=…&pathStyle=true`)
 * @throws STORE_URL_INVALID, OPTION_INVALID, STORE_ACCESS_DENIED, STORE_BUCKET_MISSING, STORE_UNAVAILABLE,
 * STORE_FORMAT_NEWER, CORRUPTION
 * @example
 * ```ts
 * await using db = await open('./data')
 * await db.execute('CREATE TABLE orders (id BIGINT PRIMARY KEY, customer BIGINT, amount NUMERIC)')
 * ```
 */
export function open(url: string, options: DatabaseOptions = {}): Promise<Database> {
  return Database.open(url, options)
}
