import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { NEXMARK_TABLES, NexmarkReader, nexmarkProperties } from '../../src/connectors/nexmark.ts'
import { NexmarkGenerator } from '../../src/connectors/nexmark-generator.ts'
import { type Column, TEXT } from '../../src/stream/column.ts'
import {
  type ReferenceEvent,
  NexmarkGenerator as ReferenceNexmark,
} from '../fixtures/reference-nexmark.mjs'

const decoder = new TextDecoder()
const cell = (column: Column, row: number): unknown =>
  column.form === TEXT
    ? decoder.decode(column.data.slice(column.offsets[row], column.offsets[row + 1]))
    : column.numbers[row]

const KINDS = ['person', 'auction', 'bid']

function expected(event: ReferenceEvent, column: string): unknown {
  const names: Record<string, string> = {
    email_address: 'email',
    credit_card: 'creditCard',
    item_name: 'itemName',
    initial_bid: 'initialBid',
    date_time: 'dateTime',
  }
  const value = event[names[column] ?? column]
  return column === 'date_time' || column === 'expires' ? Number(value) * 1000 : value
}

describe('nexmark', () => {
  test.each([42, 1, -7])('seed %i makes the reference events, field for field', (seed) => {
    const count = seed === 42 ? 100_000 : 20_000
    const reference = new ReferenceNexmark({ seed })
    const events = Array.from({ length: count }, () => reference.next())
    for (const [table, columns] of Object.entries(NEXMARK_TABLES)) {
      const wanted = events.filter((event) => KINDS[event.t] === table)
      const fields = Object.entries(columns).map(([name, { type }]) => ({ name, type }))
      const reader = new NexmarkReader(
        nexmarkProperties({
          'nexmark.table.type': table,
          'nexmark.seed': String(seed),
          'nexmark.event.num': String(count),
        }),
        [...fields, { name: '_row_id', type: 'bigint' }],
        fields.length,
        0,
        null,
        () => 0,
      )
      let at = 0
      while (!reader.done()) {
        const chunk = reader.next(777)
        for (let row = 0; row < (chunk?.rowCount ?? 0); row++, at++) {
          for (let column = 0; column < fields.length; column++) {
            const got = cell(chunk!.columns[column], row)
            const want = expected(wanted[at], fields[column].name)
            if (got !== want) {
              expect({ table, at, column: fields[column].name, got }).toEqual({ got: want })
            }
          }
        }
      }
      expect(at).toBe(wanted.length)
    }
  })

  test('a generator goes on from its position', () => {
    const whole = new NexmarkGenerator(9)
    const digest = (generator: NexmarkGenerator, count: number): string => {
      const hash = createHash('sha256')
      for (let i = 0; i < count; i++) hash.update(`${generator.next()} ${generator.price}\n`)
      return hash.digest('hex')
    }
    digest(whole, 1234)
    const position = whole.position()
    const rest = digest(whole, 5000)
    const other = new NexmarkGenerator(9)
    other.seek(position)
    expect(digest(other, 5000)).toBe(rest)
  })

  test('splits share the rows out without loss', () => {
    const rows = (splitCount: number): number[] => {
      const ids: number[] = []
      for (let split = 0; split < splitCount; split++) {
        const reader = new NexmarkReader(
          nexmarkProperties({
            'nexmark.table.type': 'bid',
            'nexmark.event.num': '30000',
            'nexmark.split.num': String(splitCount),
          }),
          [{ name: '_row_id', type: 'bigint' }],
          0,
          split,
          null,
          () => 0,
        )
        while (!reader.done()) {
          const chunk = reader.next(500)
          if (chunk !== null) ids.push(...chunk.columns[0].numbers.subarray(0, chunk.rowCount))
        }
      }
      return ids.sort((a, b) => a - b)
    }
    expect(rows(3)).toEqual(rows(1))
  })

  test('events wait for their time', () => {
    let now = 0
    const reader = new NexmarkReader(
      nexmarkProperties({ 'nexmark.table.type': 'bid', 'nexmark.min.event.gap.in.ns': '1000000' }),
      [{ name: 'price', type: 'bigint' }],
      -1,
      0,
      null,
      () => now,
    )
    expect(reader.next(100)).toBeNull()
    now = 54
    expect(reader.next(100)!.rowCount).toBe(46)
  })
})
