/**
 * The Nexmark source: one of the three tables of one seeded stream of events, column by column, only the
 * columns that are wanted. Row id = event number, so that rows keep their identity over restarts.
 * Hot path: one call per chunk.
 */
import { didYouMean } from '../common/did-you-mean.ts'
import { EngineError } from '../common/errors.ts'
import { Chunk } from '../stream/chunk.ts'
import { Column } from '../stream/column.ts'
import { type DataType, type Field, isText } from '../stream/schema.ts'
import type { SplitOffset, SplitReader } from '../stream/source.ts'
import { AUCTION, BID, NexmarkGenerator, PERSON } from './nexmark-generator.ts'

type NumberField =
  | 'id'
  | 'dateTime'
  | 'expires'
  | 'seller'
  | 'category'
  | 'initialBid'
  | 'reserve'
  | 'auction'
  | 'bidder'
  | 'price'
type TextField =
  | 'name'
  | 'email'
  | 'creditCard'
  | 'city'
  | 'state'
  | 'itemName'
  | 'description'
  | 'channel'
  | 'url'
  | 'extra'

interface NexmarkColumn {
  readonly type: DataType
  readonly field: NumberField | TextField
}

const number = (field: NumberField): NexmarkColumn => ({ type: 'bigint', field })
const time = (field: NumberField): NexmarkColumn => ({ type: 'timestamp', field })
const text = (field: TextField): NexmarkColumn => ({ type: 'varchar', field })

/** The columns of each table, by their SQL names (as RisingWave's Nexmark source has them). */
export const NEXMARK_TABLES: Readonly<Record<string, Readonly<Record<string, NexmarkColumn>>>> = {
  person: {
    id: number('id'),
    name: text('name'),
    email_address: text('email'),
    credit_card: text('creditCard'),
    city: text('city'),
    state: text('state'),
    date_time: time('dateTime'),
    extra: text('extra'),
  },
  auction: {
    id: number('id'),
    item_name: text('itemName'),
    description: text('description'),
    initial_bid: number('initialBid'),
    reserve: number('reserve'),
    date_time: time('dateTime'),
    expires: time('expires'),
    seller: number('seller'),
    category: number('category'),
    extra: text('extra'),
  },
  bid: {
    auction: number('auction'),
    bidder: number('bidder'),
    price: number('price'),
    channel: text('channel'),
    url: text('url'),
    date_time: time('dateTime'),
    extra: text('extra'),
  },
}

const TABLE_KINDS: Readonly<Record<string, number>> = { person: PERSON, auction: AUCTION, bid: BID }

/** Events that one call passes at the most: bounds its time where the table is rare. */
const EVENTS_PER_CALL = 16_384

export interface NexmarkProperties {
  readonly table: 'person' | 'auction' | 'bid'
  /** Events in all three tables; Infinity: endless. */
  readonly eventCount: number
  readonly splitCount: number
  readonly seed: number
  /** Nanoseconds between events; 0: as fast as possible. */
  readonly gapNs: number
}

/** @throws SQL_INVALID naming the property and what it takes. */
export function nexmarkProperties(properties: Readonly<Record<string, string>>): NexmarkProperties {
  const table = (properties['nexmark.table.type'] ?? '').toLowerCase()
  if (table !== 'person' && table !== 'auction' && table !== 'bid') {
    throw invalid('nexmark.table.type', "'Person', 'Auction' or 'Bid'", properties)
  }
  const whole = (name: string, otherwise: number, least: number, most: number): number => {
    const given = properties[name]
    if (given === undefined) return otherwise
    const value = Number(given)
    if (!Number.isInteger(value) || value < least || value > most) {
      throw invalid(name, `a whole number from ${least} to ${most}`, properties)
    }
    return value
  }
  return {
    table,
    eventCount: whole('nexmark.event.num', Number.POSITIVE_INFINITY, 0, 2 ** 52),
    splitCount: whole('nexmark.split.num', 1, 1, 64),
    seed: whole('nexmark.seed', 42, -(2 ** 31), 2 ** 31 - 1),
    gapNs: whole('nexmark.min.event.gap.in.ns', 0, 0, 1e12),
  }
}

function invalid(
  name: string,
  takes: string,
  properties: Readonly<Record<string, string>>,
): EngineError {
  return new EngineError('SQL_INVALID', `${name} takes ${takes}, not '${properties[name] ?? ''}'`, {
    context: { sqlState: '22023', property: name },
  })
}

const OPTIONS = [
  'nexmark.table.type',
  'nexmark.event.num',
  'nexmark.split.num',
  'nexmark.seed',
  'nexmark.min.event.gap.in.ns',
]

/** Checks the options and the declared columns of a new source against the table it reads. */
export function checkNexmarkSource(
  properties: Readonly<Record<string, string>>,
  columns: readonly Field[],
): void {
  for (const name of Object.keys(properties)) {
    if (name === 'connector' || OPTIONS.includes(name)) continue
    throw new EngineError('SQL_INVALID', `the connector 'nexmark' has no option ${name}`, {
      context: {
        sqlState: '22023',
        property: name,
        hint: didYouMean(name, OPTIONS) ?? `It has ${OPTIONS.join(', ')}.`,
      },
    })
  }
  const { table } = nexmarkProperties(properties)
  for (const { name, type } of columns) {
    const known = NEXMARK_TABLES[table][name]
    if (known === undefined) {
      throw new EngineError(
        'SQL_UNDEFINED_COLUMN',
        `the Nexmark table ${table} has no column ${name}`,
        {
          context: {
            sqlState: '42703',
            hint: `It has ${Object.keys(NEXMARK_TABLES[table]).join(', ')}.`,
          },
        },
      )
    }
    if (known.type !== type) {
      throw new EngineError(
        'SQL_TYPE',
        `column ${name} of the Nexmark table ${table} is ${known.type}, not ${type}`,
        {
          context: { sqlState: '42804', column: name },
        },
      )
    }
  }
}

/** Where a column's values are gathered until the chunk is made. */
class ColumnSink {
  readonly type: DataType
  private readonly numberField: NumberField | null
  private readonly textField: TextField | null
  private numbers: Float64Array
  private offsets: Uint32Array
  private data: Uint8Array
  private used = 0

  constructor(column: NexmarkColumn) {
    this.type = column.type
    const textual = isText(column.type)
    this.textField = textual ? (column.field as TextField) : null
    this.numberField = textual ? null : (column.field as NumberField)
    this.numbers = new Float64Array(0)
    this.offsets = new Uint32Array(0)
    this.data = new Uint8Array(0)
  }

  begin(rowCountMax: number): void {
    if (this.numberField !== null) this.numbers = new Float64Array(rowCountMax)
    else {
      this.offsets = new Uint32Array(rowCountMax + 1)
      this.data = new Uint8Array(rowCountMax * 64)
      this.used = 0
    }
  }

  add(row: number, event: NexmarkGenerator): void {
    if (this.numberField !== null) {
      this.numbers[row] = event[this.numberField]
      return
    }
    const value = event[this.textField!]
    const length = value.end - value.start
    if (this.used + length > this.data.length) {
      const larger = new Uint8Array((this.used + length) * 2)
      larger.set(this.data)
      this.data = larger
    }
    for (let from = value.start, to = this.used; from < value.end; from++, to++) {
      this.data[to] = value.bytes[from]
    }
    this.used += length
    this.offsets[row + 1] = this.used
  }

  finish(): Column {
    if (this.numberField !== null) return Column.narrow(this.type, this.numbers, null)
    return Column.text(this.type, this.offsets, this.data, null)
  }
}

/** One split: of every `splitCount` blocks of events it owns one; it must draw them all the same. */
const SPLIT_BLOCK = 1024

export class NexmarkReader implements SplitReader {
  private readonly generator: NexmarkGenerator
  private readonly properties: NexmarkProperties
  private readonly split: number
  private readonly kind: number
  private readonly sinks: readonly (ColumnSink | null)[]
  private readonly monotonicMs: () => number
  private readonly startMs: number
  private readonly startEvents: number

  /**
   * @param columns Wanted columns; the one at `rowIdColumn` (or none if -1) gets the event number.
   * @param monotonicMs The thread's clock, used only where events have a minimum gap.
   */
  constructor(
    properties: NexmarkProperties,
    columns: readonly Field[],
    rowIdColumn: number,
    split: number,
    offset: SplitOffset | null,
    monotonicMs: () => number,
  ) {
    this.properties = properties
    this.split = split
    this.kind = TABLE_KINDS[properties.table]
    this.monotonicMs = monotonicMs
    const known = NEXMARK_TABLES[properties.table]
    this.sinks = columns.map((field, index) =>
      index === rowIdColumn ? null : new ColumnSink(known[field.name]),
    )
    this.generator = new NexmarkGenerator(properties.seed)
    if (offset !== null) {
      this.generator.seek({
        events: Number(offset['events']),
        a: Number(offset['a']),
        b: Number(offset['b']),
        c: Number(offset['c']),
        d: Number(offset['d']),
      })
    }
    this.startMs = monotonicMs()
    this.startEvents = this.generator.events
  }

  next(rowCountMax: number): Chunk | null {
    const { generator, kind, split } = this
    const { splitCount } = this.properties
    const end = Math.min(this.eventsDue(), generator.events + EVENTS_PER_CALL)
    if (generator.events >= end) return null
    for (const sink of this.sinks) sink?.begin(rowCountMax)
    const rowIds = new Float64Array(rowCountMax)
    let rows = 0
    while (rows < rowCountMax && generator.events < end) {
      const event = generator.events
      if (generator.next() !== kind) continue
      if (splitCount > 1 && Math.floor(event / SPLIT_BLOCK) % splitCount !== split) continue
      rowIds[rows] = event
      for (const sink of this.sinks) sink?.add(rows, generator)
      rows++
    }
    const columns = this.sinks.map((sink) =>
      sink === null ? Column.narrow('bigint', rowIds, null) : sink.finish(),
    )
    return new Chunk(rows, null, null, columns)
  }

  offset(): SplitOffset {
    return { ...this.generator.position() }
  }

  done(): boolean {
    return this.generator.events >= this.properties.eventCount
  }

  eventsRead(): number {
    return this.generator.events
  }

  /** Events that may have happened by now. */
  private eventsDue(): number {
    const { eventCount, gapNs } = this.properties
    if (gapNs === 0) return eventCount
    const elapsedNs = (this.monotonicMs() - this.startMs) * 1e6
    return Math.min(eventCount, this.startEvents + Math.floor(elapsedNs / gapNs))
  }
}
