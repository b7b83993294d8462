/** Random chunks of all column forms, and chunks as plain rows, for tests of what moves them. */
import fc from 'fast-check'
import { Chunk } from '../../src/stream/chunk.ts'
import { Column, NARROW, WIDE } from '../../src/stream/column.ts'

export type Cell = number | bigint | string | null

/** A row as its op and its cells; text as latin-1, so that any byte shows. */
export interface PlainRow {
  readonly op: number
  readonly cells: readonly Cell[]
}

export function cellAt(column: Column, row: number): Cell {
  if (column.nulls !== null && column.nulls[row] === 1) return null
  if (column.form === NARROW) return column.numbers[row]
  if (column.form === WIDE) return column.wide[row]
  return Buffer.from(column.data.slice(column.offsets[row], column.offsets[row + 1])).toString(
    'latin1',
  )
}

/** The visible rows. */
export function plainRows(chunk: Chunk): PlainRow[] {
  const rows: PlainRow[] = []
  for (let row = 0; row < chunk.rowCount; row++) {
    if (chunk.visible !== null && chunk.visible[row] === 0) continue
    const cells = chunk.columns.map((column) => cellAt(column, row))
    rows.push({ op: chunk.ops === null ? 0 : chunk.ops[row], cells })
  }
  return rows
}

export type ColumnKind = 'bigint' | 'double' | 'wide' | 'text' | 'numeric'

const cellOf: Record<ColumnKind, fc.Arbitrary<number | bigint | string>> = {
  bigint: fc.oneof(fc.integer({ min: -3, max: 3 }), fc.maxSafeInteger()),
  double: fc.double({ noNaN: false }).map((value) => value + 0),
  wide: fc.oneof(
    fc.bigInt({ min: -(2n ** 90n), max: 2n ** 90n }),
    fc.bigInt({ min: -300n, max: 300n }),
  ),
  text: fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
  numeric: fc.integer({ min: -1000, max: 1000 }),
}

export function columnFrom(kind: ColumnKind, cells: readonly Cell[]): Column {
  const hasNulls = cells.some((cell) => cell === null)
  const nulls = hasNulls ? Uint8Array.from(cells, (cell) => (cell === null ? 1 : 0)) : null
  switch (kind) {
    case 'wide':
      return Column.wide(
        'numeric',
        cells.map((cell) => BigInt(cell ?? 0)),
        nulls,
        2,
      )
    case 'text': {
      const parts = cells.map((cell) => Buffer.from(String(cell ?? ''), 'latin1'))
      const offsets = new Uint32Array(cells.length + 1)
      // An offset above 0, as slices have it.
      offsets[0] = 3
      parts.forEach((part, i) => {
        offsets[i + 1] = offsets[i] + part.length
      })
      return Column.text('varchar', offsets, Buffer.concat([Buffer.from('???'), ...parts]), nulls)
    }
    default: {
      const numbers = Float64Array.from(cells, (cell) => Number(cell ?? 0))
      const type = kind === 'bigint' ? 'bigint' : kind
      return Column.narrow(type, numbers, nulls, kind === 'numeric' ? 3 : 0)
    }
  }
}

/** Chunks with at least one column; ops are arbitrary unless `inserts`. */
export function chunks(options: {
  readonly maxRows: number
  readonly kinds?: readonly ColumnKind[]
  readonly inserts?: boolean
}): fc.Arbitrary<Chunk> {
  const kinds =
    options.kinds === undefined
      ? fc.array(fc.constantFrom<ColumnKind>('bigint', 'double', 'wide', 'text', 'numeric'), {
          minLength: 1,
          maxLength: 4,
        })
      : fc.constant(options.kinds)
  return fc
    .tuple(kinds, fc.integer({ min: 0, max: options.maxRows }))
    .chain(([columns, rowCount]) =>
      fc.tuple(
        fc.constant(rowCount),
        options.inserts === true
          ? fc.constant(null)
          : fc.option(fc.uint8Array({ minLength: rowCount, maxLength: rowCount, max: 3 })),
        fc.option(fc.uint8Array({ minLength: rowCount, maxLength: rowCount, max: 1 })),
        fc.tuple(
          ...columns.map((kind) =>
            fc
              .array(fc.option(cellOf[kind], { freq: 6 }), {
                minLength: rowCount,
                maxLength: rowCount,
              })
              .map((cells) => columnFrom(kind, cells)),
          ),
        ),
      ),
    )
    .map(([rowCount, ops, visible, columns]) => new Chunk(rowCount, ops, visible, columns))
}
