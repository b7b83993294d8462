/** Channels over rings: order, credit, splitting, back-pressure without deadlock; alignment of several. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Dispatcher, type Route } from '../../src/actors/dispatch.ts'
import { Exchange, type InputChannel, type OutputChannel } from '../../src/actors/exchange.ts'
import { Merge } from '../../src/actors/merge.ts'
import { workerOfVnode } from '../../src/actors/placement.ts'
import { vnodeOfHash } from '../../src/common/hash.ts'
import { epoch } from '../../src/common/ids.ts'
import { Chunk, DELETE, INSERT, UPDATE_DELETE, UPDATE_INSERT } from '../../src/stream/chunk.ts'
import { Column } from '../../src/stream/column.ts'
import type { Barrier } from '../../src/stream/message.ts'
import { hashRows } from '../../src/stream/row-hash.ts'
import { chunks, columnFrom, type PlainRow, plainRows } from './chunk-generators.ts'

function barrierOf(number: number, jobs: { start?: number[]; stop?: number[] } = {}): Barrier {
  return {
    epoch: epoch(number),
    next: epoch(number + 1),
    checkpoint: number % 2 === 0,
    startJobs: jobs.start ?? [],
    stopJobs: jobs.stop ?? [],
  }
}

/** Two workers' exchanges over rings of the given size. */
function pair(
  ringBytes: number,
  windowBytes: number,
): { a: Exchange; b: Exchange; wakes: number[] } {
  const ring = (): SharedArrayBuffer => new SharedArrayBuffer(ringBytes)
  const rings = [
    [null, ring()],
    [ring(), null],
  ]
  const wakes = [0, 0]
  const wake = (worker: number): void => {
    wakes[worker]++
  }
  return {
    a: new Exchange({ workerIndex: 0, rings, wake, windowBytes }),
    b: new Exchange({ workerIndex: 1, rings, wake, windowBytes }),
    wakes,
  }
}

function numbers(values: readonly number[], ops: readonly number[] | null = null): Chunk {
  return new Chunk(values.length, ops === null ? null : Uint8Array.from(ops), null, [
    columnFrom('bigint', values),
  ])
}

function takeRows(channel: InputChannel): PlainRow[] {
  const rows: PlainRow[] = []
  for (let message = channel.shift(); message !== undefined; message = channel.shift()) {
    if (message.kind === 'chunk') rows.push(...plainRows(message.chunk))
  }
  return rows
}

describe('channels', () => {
  test('all rows arrive in order through rings and windows of any size', () => {
    fc.assert(
      fc.property(
        fc.array(chunks({ maxRows: 30, kinds: ['bigint', 'text', 'wide'], inserts: true }), {
          maxLength: 12,
        }),
        fc.constantFrom(128 + 256, 128 + 1024, 128 + 65_536),
        fc.constantFrom(64, 512, 8192),
        fc.infiniteStream(fc.nat(3)),
        (sent, ringBytes, windowBytes, schedule) => {
          const { a, b } = pair(ringBytes, windowBytes)
          const output = a.openOutput(1, 77)
          const input = b.openInput(0, 77, 0)
          const got: PlainRow[] = []
          let next = 0
          let barriers = 0
          for (let idle = 0; idle < 200; idle++) {
            const choice = idle > 100 ? idle % 4 : schedule.next().value
            if (choice === 0 && !output.blocked && next < sent.length) {
              output.sendRows(sent[next], null, 0, sent[next].rowCount)
              output.send({
                kind: 'barrier',
                barrier: barrierOf(next, { start: [1, 2], stop: [3] }),
              })
              next++
              idle = 0
            } else if (choice === 1) {
              a.receive()
              output.drain()
              a.flush()
            } else if (choice === 2) {
              b.receive()
              b.flush()
            } else {
              const message = input.shift()
              if (message === undefined) continue
              idle = 0
              if (message.kind === 'chunk') got.push(...plainRows(message.chunk))
              else {
                expect(message).toEqual({
                  kind: 'barrier',
                  barrier: barrierOf(barriers, { start: [1, 2], stop: [3] }),
                })
                barriers++
              }
            }
          }
          expect(barriers).toBe(sent.length)
          expect(got).toEqual(sent.flatMap((chunk) => plainRows(chunk)))
          expect(output.blocked).toBe(false)
        },
      ),
      { numRuns: 60 },
    )
  })

  test('a row longer than a frame travels in parts', () => {
    const { a, b } = pair(128 + 1024, 256)
    const output = a.openOutput(1, 5)
    const input = b.openInput(0, 5, 0)
    const texts = ['x'.repeat(5000), 'short', 'y'.repeat(700)]
    const chunk = new Chunk(3, null, null, [columnFrom('text', texts)])
    output.sendRows(chunk, null, 0, 3)
    const got: PlainRow[] = []
    for (let i = 0; i < 40; i++) {
      b.receive()
      got.push(...takeRows(input))
      b.flush()
      a.receive()
      output.drain()
      a.flush()
    }
    expect(got).toEqual(plainRows(chunk))
  })

  test('a slow channel stops at its window and the others of its ring go on', () => {
    const { a, b } = pair(128 + 65_536, 2048)
    const slow = a.openOutput(1, 1)
    const quick = a.openOutput(1, 2)
    const slowInput = b.openInput(0, 1, 0)
    const quickInput = b.openInput(0, 2, 0)
    const chunk = numbers(Array.from({ length: 100 }, (_, i) => i))
    let slowSent = 0
    while (!slow.blocked) {
      slow.sendRows(chunk, null, 0, 100)
      slowSent++
      expect(slowSent).toBeLessThan(10)
    }
    let quickRows = 0
    for (let i = 0; i < 50; i++) {
      quick.sendRows(chunk, null, 0, 100)
      b.receive()
      quickRows += takeRows(quickInput).length
      b.flush()
      a.receive()
    }
    expect(quickRows).toBe(5000)
    expect(slow.drain()).toBe(false)
    // A barrier needs no credit of its own, but keeps its place behind the rows.
    a.nowMs = 10
    slow.send({ kind: 'barrier', barrier: barrierOf(1) })
    let rows = 0
    let barrier = false
    for (let i = 0; i < 20; i++) {
      b.receive()
      for (let m = slowInput.shift(); m !== undefined; m = slowInput.shift()) {
        if (m.kind === 'chunk') rows += m.chunk.rowCount
        else barrier = true
      }
      b.flush()
      a.receive()
      slow.drain()
    }
    expect([rows, barrier]).toEqual([slowSent * 100, true])
    expect(slow.stats.blockedMs).toBe(10)
    expect(slow.stats.rows).toBe(slowSent * 100)
    expect(quick.stats.blockedMs).toBe(0)
  })

  test('channels within a worker have the same bound', () => {
    const exchange = new Exchange({
      workerIndex: 0,
      rings: [[null]],
      wake: () => undefined,
      windowBytes: 2048,
    })
    const { input, output } = exchange.openLocal(0)
    const chunk = numbers(Array.from({ length: 100 }, (_, i) => i))
    for (let i = 0; i < 5; i++) output.sendRows(chunk, null, 0, 100)
    expect([input.length, output.blocked]).toEqual([2, true])
    // By reference: nothing is copied.
    expect(input.peek()).toEqual({ kind: 'chunk', chunk })
    input.shift()
    expect([output.drain(), input.length]).toEqual([false, 2])
    input.shift()
    input.shift()
    expect([output.drain(), input.length]).toEqual([true, 2])
  })

  test('two workers that fill each other’s rings go on', () => {
    // Rings so small that credit frames do not fit beside the rows, windows so large that rings are the limit.
    const { a, b } = pair(128 + 192, 100_000)
    const ends = [
      { self: a, output: a.openOutput(1, 9), input: a.openInput(1, 8, 0) },
      { self: b, output: b.openOutput(0, 8), input: b.openInput(0, 9, 0) },
    ]
    const rows = Array.from({ length: 500 }, (_, i) => i)
    for (const { output } of ends) output.sendRows(numbers(rows), null, 0, rows.length)
    expect(ends.every(({ output }) => output.blocked)).toBe(true)
    const got: PlainRow[][] = [[], []]
    for (let step = 0; step < 2000 && (got[0].length < 500 || got[1].length < 500); step++) {
      const end = ends[step % 2]
      end.self.receive()
      got[step % 2].push(...takeRows(end.input))
      end.output.drain()
      end.self.flush()
    }
    expect(got[0]).toEqual(plainRows(numbers(rows)))
    expect(got[1]).toEqual(plainRows(numbers(rows)))
  })

  test('a sender that starved for room is woken when there is room', () => {
    const { a, b, wakes } = pair(128 + 192, 100_000)
    const output = a.openOutput(1, 9)
    const input = b.openInput(0, 9, 0)
    output.sendRows(numbers([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]), null, 0, 15)
    a.flush()
    expect(output.blocked).toBe(true)
    const before = wakes[0]
    b.receive()
    // Nothing consumed, so no credit: only the room itself.
    expect(input.length).toBeGreaterThan(0)
    b.flush()
    expect(wakes[0]).toBeGreaterThan(before)
  })

  test('splitting parts no update pair', () => {
    const { a, b } = pair(128 + 512, 100_000)
    const output = a.openOutput(1, 9)
    const input = b.openInput(0, 9, 0)
    const count = 101
    const ops = [
      INSERT,
      ...Array.from({ length: 100 }, (_, i) => (i % 2 ? UPDATE_INSERT : UPDATE_DELETE)),
    ]
    output.sendRows(
      numbers(
        Array.from({ length: count }, (_, i) => i),
        ops,
      ),
      null,
      0,
      count,
    )
    let rows = 0
    let pieces = 0
    for (let i = 0; i < 50; i++) {
      b.receive()
      for (let m = input.shift(); m !== undefined; m = input.shift()) {
        if (m.kind !== 'chunk') continue
        pieces++
        rows += m.chunk.rowCount
        expect(m.chunk.ops?.[m.chunk.rowCount - 1]).not.toBe(UPDATE_DELETE)
      }
      b.flush()
      a.receive()
      output.drain()
    }
    expect(rows).toBe(count)
    expect(pieces).toBeGreaterThan(3)
  })
})

describe('dispatch', () => {
  const local = (
    exchange: Exchange,
    count: number,
  ): { inputs: InputChannel[]; outputs: OutputChannel[] } => {
    const ends = Array.from({ length: count }, () => exchange.openLocal(0))
    return { inputs: ends.map((end) => end.input), outputs: ends.map((end) => end.output) }
  }
  const single = (): Exchange =>
    new Exchange({ workerIndex: 0, rings: [[null]], wake: () => undefined, windowBytes: 1e9 })

  test('each row goes to the worker of its vnode, in order; pairs that part become delete and insert', () => {
    fc.assert(
      fc.property(
        fc.array(chunks({ maxRows: 60, kinds: ['bigint', 'text'] }), { maxLength: 6 }),
        fc.constantFrom(2, 3, 5),
        fc.constantFrom(4, 16, 2048),
        fc.boolean(),
        (sent, workerCount, chunkRows, byText) => {
          const { inputs, outputs } = local(single(), workerCount)
          const columns = byText ? [1, 0] : [0]
          const route: Route = { kind: 'hash', columns, workerCount }
          const dispatcher = new Dispatcher({ toFragment: 1, route, outputs, chunkRows })
          const expected: PlainRow[][] = inputs.map(() => [])
          for (const chunk of sent) {
            const hashes = new Uint32Array(chunk.rowCount)
            hashRows(
              columns.map((column) => chunk.columns[column]),
              chunk.rowCount,
              hashes,
            )
            const target = (row: number): number =>
              workerOfVnode(vnodeOfHash(hashes[row]), workerCount)
            const all = plainRows({ ...chunk, visible: null })
            const shown = (row: number): boolean =>
              chunk.visible === null || chunk.visible[row] === 1
            for (let row = 0; row < chunk.rowCount; row++) {
              if (!shown(row)) continue
              let { op } = all[row]
              const pairs = (first: number): boolean =>
                all[first]?.op === UPDATE_DELETE &&
                all[first + 1]?.op === UPDATE_INSERT &&
                shown(first) &&
                shown(first + 1) &&
                target(first) !== target(first + 1)
              if (pairs(row)) op = DELETE
              if (pairs(row - 1)) op = INSERT
              expected[target(row)].push({ op, cells: all[row].cells })
            }
            dispatcher.push(chunk)
          }
          dispatcher.send({ kind: 'end' })
          expect(inputs.map(takeRows)).toEqual(expected)
        },
      ),
      { numRuns: 200 },
    )
  })

  test('broadcast reaches all, only reaches one, barriers reach all', () => {
    for (const route of [{ kind: 'all' }, { kind: 'only', output: 2 }] as const) {
      const { inputs, outputs } = local(single(), 3)
      const dispatcher = new Dispatcher({ toFragment: 1, route, outputs, chunkRows: 8 })
      dispatcher.push(numbers([1, 2, 3]))
      dispatcher.send({ kind: 'barrier', barrier: barrierOf(1) })
      const seen = inputs.map((input) => {
        const kinds: string[] = []
        for (let m = input.shift(); m !== undefined; m = input.shift()) kinds.push(m.kind)
        return kinds
      })
      expect(seen).toEqual(
        route.kind === 'all'
          ? [0, 1, 2].map(() => ['chunk', 'barrier'])
          : [['barrier'], ['barrier'], ['chunk', 'barrier']],
      )
    }
  })

  test('small outputs are gathered, and leave when asked', () => {
    const { inputs, outputs } = local(single(), 1)
    const route: Route = { kind: 'only', output: 0 }
    const dispatcher = new Dispatcher({ toFragment: 1, route, outputs, chunkRows: 100 })
    for (let i = 0; i < 20; i++) dispatcher.push(numbers([i]))
    expect(inputs[0].length).toBe(0)
    expect(dispatcher.flushStaged()).toBe(true)
    expect(dispatcher.flushStaged()).toBe(false)
    expect(inputs[0].length).toBe(1)
    expect(takeRows(inputs[0]).map((row) => row.cells[0])).toEqual(
      Array.from({ length: 20 }, (_, i) => i),
    )
    for (let i = 0; i < 50; i++) dispatcher.push(numbers([i]))
    expect(inputs[0].length).toBe(1)
  })

  test('a wide value among narrow ones survives gathering', () => {
    const { inputs, outputs } = local(single(), 1)
    const dispatcher = new Dispatcher({
      toFragment: 1,
      route: { kind: 'only', output: 0 },
      outputs,
      chunkRows: 100,
    })
    dispatcher.push(numbers([7]))
    dispatcher.push(
      new Chunk(1, Uint8Array.of(DELETE), null, [Column.wide('bigint', [2n ** 60n], null)]),
    )
    dispatcher.flushStaged()
    expect(takeRows(inputs[0])).toEqual([
      { op: INSERT, cells: [7n] },
      { op: DELETE, cells: [2n ** 60n] },
    ])
  })
})

describe('merge', () => {
  test('no row of an epoch passes before the barrier of the epoch before it, over random arrivals', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4 }),
        fc.array(fc.tuple(fc.nat(3), fc.nat(4)), { maxLength: 80 }),
        (channelCount, arrivals) => {
          const exchange = new Exchange({ workerIndex: 0, rings: [[null]], wake: () => undefined })
          const ends = Array.from({ length: channelCount }, (_, i) => exchange.openLocal(i % 2))
          const merge = new Merge(ends.map((end) => end.input))
          const sentEpoch = ends.map(() => 1)
          const sent: string[] = []
          const got: string[] = []
          let current = 1
          const drain = (): void => {
            for (;;) {
              const found = merge.next()
              if (found === 'nothing') return
              if (found === 'barrier') {
                expect(merge.barrier?.epoch).toBe(current)
                current++
                continue
              }
              const row = plainRows(merge.chunk!)[0]
              expect(row.cells[0]).toBe(current)
              expect(merge.input).toBe(Number(row.cells[1]) % 2)
              got.push(`${row.cells[0]} ${row.cells[1]}`)
            }
          }
          for (const [at, what] of arrivals) {
            const channel = at % channelCount
            if (what === 0) {
              const barrier = barrierOf(sentEpoch[channel]++)
              ends[channel].output.send({ kind: 'barrier', barrier })
            } else if (what === 1) drain()
            else {
              const columns = [
                columnFrom('bigint', [sentEpoch[channel]]),
                columnFrom('bigint', [channel]),
              ]
              ends[channel].output.sendRows(new Chunk(1, null, null, columns), null, 0, 1)
              sent.push(`${sentEpoch[channel]} ${channel}`)
            }
          }
          const last = Math.max(...sentEpoch)
          for (let i = 0; i < channelCount; i++) {
            while (sentEpoch[i] < last) {
              ends[i].output.send({ kind: 'barrier', barrier: barrierOf(sentEpoch[i]++) })
            }
          }
          drain()
          expect(current).toBe(last)
          expect(got.sort()).toEqual(sent.sort())
        },
      ),
      { numRuns: 300 },
    )
  })

  test('a channel that ends is not waited for', () => {
    const exchange = new Exchange({ workerIndex: 0, rings: [[null]], wake: () => undefined })
    const [left, right] = [exchange.openLocal(0), exchange.openLocal(0)]
    const merge = new Merge([left.input, right.input])
    left.output.send({ kind: 'barrier', barrier: barrierOf(1) })
    right.output.send({ kind: 'watermark', column: 0, value: 5 })
    expect(merge.next()).toBe('nothing')
    right.output.send({ kind: 'end' })
    expect(merge.next()).toBe('barrier')
    left.output.send({ kind: 'end' })
    expect(merge.next()).toBe('end')
  })
})
