/**
 * A batch of rows as columns, the unit that operators, channels and queries work on.
 * An update is two adjacent rows, UPDATE_DELETE then UPDATE_INSERT, of one stream key.
 */
import type { Column } from './column.ts'

/** Ops are chosen so that `op & 1` means the row is taken away. */
export const INSERT = 0
export const DELETE = 1
export const UPDATE_INSERT = 2
export const UPDATE_DELETE = 3
export type Op = typeof INSERT | typeof DELETE | typeof UPDATE_INSERT | typeof UPDATE_DELETE

/** Rows that a chunk holds by default at the most. */
export const CHUNK_ROWS = 2048

export class Chunk {
  readonly rowCount: number
  /** One op a row; null when all are INSERT. */
  readonly ops: Uint8Array | null
  /** 1 where the row counts, 0 where it is hidden; null when all count. */
  readonly visible: Uint8Array | null
  readonly columns: readonly Column[]

  constructor(
    rowCount: number,
    ops: Uint8Array | null,
    visible: Uint8Array | null,
    columns: readonly Column[],
  ) {
    this.rowCount = rowCount
    this.ops = ops
    this.visible = visible
    this.columns = columns
  }
}
