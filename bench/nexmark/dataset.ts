/** Makes Nexmark events before the clock starts: as columns in shared memory, or as row objects. */
import type { Dataset } from '../../src/actors/protocol.ts'
import { NEXMARK_TABLES } from '../../src/connectors/nexmark.ts'
import { AUCTION, NexmarkGenerator, PERSON } from '../../src/connectors/nexmark-generator.ts'
import type { ReplayTable } from '../../src/connectors/replay.ts'
import type { Row } from '../../src/index.ts'
import type { NexmarkQuery, TableName } from './queries.ts'

const TABLES: readonly TableName[] = ['person', 'auction', 'bid']
const SHARE_MAX: Readonly<Record<TableName, number>> = { person: 1, auction: 3, bid: 46 }

type Text = { readonly bytes: Uint8Array; readonly start: number; readonly end: number }

interface ColumnWriter {
  add(row: number, event: NexmarkGenerator): void
  finish(rowCount: number): ReplayTable['columns'][string]
}

const shared = (byteLength: number): SharedArrayBuffer =>
  new SharedArrayBuffer(Math.ceil(byteLength / 8) * 8)

function numberWriter(field: string, rowCountMax: number): ColumnWriter {
  const values = shared(rowCountMax * 8)
  const view = new Float64Array(values)
  return {
    add: (row, event) => {
      view[row] = event[field as 'price']
    },
    finish: () => ({ kind: 'numbers', values }),
  }
}

function textWriter(field: string, rowCountMax: number): ColumnWriter {
  const offsets = shared((rowCountMax + 1) * 4)
  const view = new Uint32Array(offsets)
  let data = new Uint8Array(rowCountMax * 32 + 1024)
  let used = 0
  return {
    add: (row, event) => {
      const value: Text = event[field as 'extra']
      const length = value.end - value.start
      if (used + length > data.length) {
        const larger = new Uint8Array(data.length * 2)
        larger.set(data)
        data = larger
      }
      for (let i = value.start; i < value.end; i++) data[used++] = value.bytes[i]
      view[row + 1] = used
    },
    finish: () => {
      const exact = shared(used)
      new Uint8Array(exact).set(data.subarray(0, used))
      return { kind: 'text', offsets, data: exact }
    },
  }
}

export function makeDataset(query: NexmarkQuery, eventCount: number, seed: number): Dataset {
  const generator = new NexmarkGenerator(seed)
  const tables = TABLES.map((table) => {
    const wanted = query.columns[table] ?? []
    const rowCountMax = wanted.length === 0 ? 0 : Math.ceil(eventCount / 50 + 1) * SHARE_MAX[table]
    const eventNumbers = shared(rowCountMax * 8)
    const writers = wanted.map((name): [string, ColumnWriter] => {
      const { field, type } = NEXMARK_TABLES[table][name]
      const make = type === 'varchar' ? textWriter : numberWriter
      return [name, make(field, rowCountMax)]
    })
    return { writers, eventNumbers, numbers: new Float64Array(eventNumbers), rows: 0 }
  })
  for (let number = 0; number < eventCount; number++) {
    const kind = generator.next()
    const table = tables[kind === PERSON ? 0 : kind === AUCTION ? 1 : 2]
    if (table.writers.length === 0) continue
    const row = table.rows++
    table.numbers[row] = number
    for (const [, writer] of table.writers) writer.add(row, generator)
  }
  const made: Record<string, ReplayTable> = {}
  TABLES.forEach((name, index) => {
    const { writers, eventNumbers, rows } = tables[index]
    made[name] = {
      rowCount: rows,
      eventNumbers,
      columns: Object.fromEntries(writers.map(([column, writer]) => [column, writer.finish(rows)])),
    }
  })
  return { tables: made }
}

/** Mixed events as row objects, as an application would hold them; times are Dates. */
export function* makeRows(
  query: NexmarkQuery,
  eventCount: number,
  seed: number,
  batchRows: number,
): Generator<{ readonly table: TableName; readonly row: Row }[]> {
  const generator = new NexmarkGenerator(seed)
  const decoder = new TextDecoder()
  for (let from = 0; from < eventCount; from += batchRows) {
    const batch: { table: TableName; row: Row }[] = []
    for (let number = from; number < Math.min(from + batchRows, eventCount); number++) {
      const kind = generator.next()
      const table = TABLES[kind === PERSON ? 0 : kind === AUCTION ? 1 : 2]
      const row: Row = {}
      for (const name of query.columns[table] ?? []) {
        const { field, type } = NEXMARK_TABLES[table][name]
        if (type === 'varchar') {
          const text: Text = generator[field as 'extra']
          row[name] = decoder.decode(text.bytes.subarray(text.start, text.end))
        } else {
          const value: number = generator[field as 'price']
          row[name] = type === 'timestamp' ? new Date(value / 1000) : value
        }
      }
      batch.push({ table, row })
    }
    yield batch
  }
}
