/**
 * Pipelines over several workers, stepped in random orders: what each barrier separates is exactly what the
 * sources' offsets say (the snapshot is consistent), whatever the schedule, the rings and the windows.
 */
import { describe, expect, test } from 'vitest'
import { decodeChunk, encodeChunk, encodedBytes } from '../../src/actors/chunk-codec.ts'
import { workerOfSingle } from '../../src/actors/placement.ts'
import { Chunk } from '../../src/stream/chunk.ts'
import type { JobPlan, OperatorPlan, StateTableSpec } from '../../src/stream/plan.ts'
import type { Schema } from '../../src/stream/schema.ts'
import { columnFrom, plainRows } from './chunk-generators.ts'
import { NO_DELTA, Simulation, sourceRow } from './simulation.ts'

const SCHEMA: Schema = ['key', 'n', 'split'].map((name) => ({ name, type: 'bigint' }))
const SPLITS = 3
const ROWS = 120

function table(id: number): StateTableSpec {
  return {
    tableId: id,
    name: `t${id}`,
    group: 'materialized',
    schema: SCHEMA,
    key: [],
    distribution: [0],
    prefixColumns: 0,
  }
}

const source = (sourceId: number): OperatorPlan => ({
  kind: 'source',
  sourceId,
  connector: 'numbers',
  properties: { splits: `${SPLITS}`, rows: `${ROWS}` },
  columns: SCHEMA,
  rowIdColumn: -1,
})
const merge: OperatorPlan = { kind: 'merge', schema: SCHEMA }
const sink = (sinkId: number, connector = 'record'): OperatorPlan => ({
  kind: 'sink',
  sinkId,
  connector,
  properties: {},
  schema: SCHEMA,
})
const materialize = (id: number): OperatorPlan => ({
  kind: 'materialize',
  table: table(id),
  overwrite: false,
})
const join: OperatorPlan = {
  kind: 'hash-join',
  leftSchema: SCHEMA,
  rightSchema: SCHEMA,
  leftKeys: [0],
  rightKeys: [0],
  condition: null,
  output: [],
  leftTable: table(90),
  rightTable: table(91),
}

/** Two sources, hashed into a two-input head and a table; from there a single fragment. */
const JOB_1: JobPlan = {
  jobId: 1,
  fragments: [
    { fragmentId: 10, parallelism: 'all', operators: [source(1)], schema: SCHEMA },
    { fragmentId: 11, parallelism: 'all', operators: [source(2)], schema: SCHEMA },
    { fragmentId: 12, parallelism: 'all', operators: [join, materialize(50)], schema: SCHEMA },
    { fragmentId: 13, parallelism: 'single', operators: [merge, sink(1)], schema: SCHEMA },
  ],
  exchanges: [
    {
      fromFragment: 10,
      toFragment: 12,
      input: 0,
      distribution: { kind: 'hash', columns: [0] },
      snapshot: false,
    },
    {
      fromFragment: 11,
      toFragment: 12,
      input: 1,
      distribution: { kind: 'hash', columns: [0] },
      snapshot: false,
    },
    {
      fromFragment: 12,
      toFragment: 13,
      input: 0,
      distribution: { kind: 'single' },
      snapshot: false,
    },
  ],
}

/** A view over the table of job 1, then broadcast. */
const JOB_2: JobPlan = {
  jobId: 2,
  fragments: [
    { fragmentId: 20, parallelism: 'all', operators: [merge, materialize(60)], schema: SCHEMA },
    { fragmentId: 21, parallelism: 'all', operators: [merge, sink(2)], schema: SCHEMA },
  ],
  exchanges: [
    {
      fromFragment: 12,
      toFragment: 20,
      input: 0,
      distribution: { kind: 'forward' },
      snapshot: true,
    },
    {
      fromFragment: 20,
      toFragment: 21,
      input: 0,
      distribution: { kind: 'broadcast' },
      snapshot: false,
    },
  ],
}

const DML_JOB: JobPlan = {
  jobId: 3,
  fragments: [
    {
      fragmentId: 30,
      parallelism: 'single',
      operators: [{ kind: 'dml', tableId: 70, schema: SCHEMA, rowIdColumn: 1 }],
      schema: SCHEMA,
    },
    { fragmentId: 31, parallelism: 'all', operators: [merge, materialize(70)], schema: SCHEMA },
  ],
  exchanges: [
    {
      fromFragment: 30,
      toFragment: 31,
      input: 0,
      distribution: { kind: 'hash', columns: [0] },
      snapshot: false,
    },
  ],
}

function simulate(seed: number): Simulation {
  const pick = seed % 4
  return new Simulation(seed, {
    workerCount: 1 + (seed % 3),
    ringBytes: 128 + [256, 1024, 512, 65_536][pick],
    windowBytes: [200, 100_000, 64, 2000][pick],
    chunkRows: [4, 16, 2048][seed % 3],
  })
}

/** Rows that the sources had given out as of the barrier, by its offsets. */
function rowsAt(simulation: Simulation, epoch: number, sourceIds: readonly number[]): string[] {
  const { offsets } = simulation.collected.get(epoch)!
  const rows: string[] = []
  for (const sourceId of sourceIds) {
    for (let split = 0; split < SPLITS; split++) {
      const n = Number(offsets[`${sourceId}/${split}`]?.['n'] ?? 0)
      for (let i = 0; i < n; i++) rows.push(sourceRow(sourceId, split, i))
    }
  }
  return rows.sort()
}

function recordedUntil(simulation: Simulation, name: string, epoch: number): string[] {
  return simulation
    .recordsOf(name)
    .filter((record) => record.epoch >= 0 && record.epoch <= epoch)
    .map((record) => record.row)
    .sort()
}

const seeds = Array.from({ length: 60 }, (_, i) => i + 1)

describe('worker loops', () => {
  test.each(seeds)('barriers are consistent snapshots, seed %i', (seed) => {
    const simulation = simulate(seed)
    simulation.deploy([JOB_1])
    const first = simulation.barrier({ start: [1] })
    simulation.until('started', () => simulation.isCollected(first))
    expect(simulation.collected.get(first)?.offsets).toEqual({})
    let last = first
    const done = (): boolean =>
      simulation.isCollected(last) &&
      simulation.collected.get(last)!.sourcesDone.length === 2 * simulation.workerCount
    while (!done()) {
      last = simulation.barrier()
      const upTo = last
      if (simulation.dice.next(3) > 0) {
        simulation.until('collected', () => simulation.isCollected(upTo))
      } else for (let i = 0; i < 30; i++) simulation.random()
      if (simulation.dice.next(3) === 0) {
        simulation.until('collected', () => simulation.isCollected(last))
      }
    }
    expect(simulation.failures).toEqual([])
    expect(rowsAt(simulation, last, [1, 2]).length).toBe(2 * SPLITS * ROWS)
    for (let epoch = first + 1; epoch <= last; epoch++) {
      const expected = rowsAt(simulation, epoch, [1, 2])
      for (const name of ['hash-join', 'table-50', 'sink-1']) {
        expect(recordedUntil(simulation, name, epoch)).toEqual(expected)
      }
    }
    for (const { input, row } of simulation.recordsOf('hash-join')) {
      expect(input).toBe(Math.floor(Number(row.split(',')[2]) / 100) - 1)
    }
    const singles = new Set(simulation.recordsOf('sink-1').map((record) => record.worker))
    expect([...singles]).toEqual([workerOfSingle(13, simulation.workerCount)])
    // What was sealed is what was collected, with its epoch.
    const runs = [...simulation.collected.values()].flatMap((entry) =>
      entry.runs.map((run) => `${run.epoch === entry.epoch} ${run.workerIndex}`),
    )
    expect(runs.length).toBe(simulation.sealed.length)
    expect(runs.every((run) => run.startsWith('true'))).toBe(true)
  })

  test.each(seeds)(
    'a view attached later sees what is held, then every change once, seed %i',
    (seed) => {
      const simulation = simulate(seed)
      simulation.deploy([JOB_1])
      const first = simulation.barrier({ start: [1] })
      for (let i = 0; i < 100 + (seed % 5) * 100; i++) simulation.random()
      simulation.deploy([JOB_2])
      if (seed % 2 === 0) simulation.barrier()
      simulation.post({ kind: 'subscribe', tableId: 60, on: true })
      const start = simulation.barrier({ start: [2] })
      let last = simulation.barrier()
      const done = (): boolean =>
        simulation.isCollected(last) &&
        simulation.collected.get(last)!.sourcesDone.length === 2 * simulation.workerCount
      while (!done()) {
        last = simulation.barrier()
        for (let i = 0; i < 60; i++) simulation.random()
        simulation.until('collected', () => simulation.isCollected(last))
      }
      for (let epoch = start + 1; epoch <= last; epoch++) {
        const expected = rowsAt(simulation, epoch, [1, 2])
        expect(recordedUntil(simulation, 'table-50', epoch)).toEqual(expected)
        expect(recordedUntil(simulation, 'table-60', epoch)).toEqual(expected)
        const everywhere = Array.from({ length: simulation.workerCount }, () => expected)
          .flat()
          .sort()
        expect(recordedUntil(simulation, 'sink-2', epoch)).toEqual(everywhere)
        const changed = simulation.changes
          .filter((change) => change.epoch <= epoch)
          .flatMap((change) =>
            plainRows(decodeChunk(change.chunk)).map((row) => row.cells.join(',')),
          )
        expect(changed.sort()).toEqual(expected)
      }
      // Job 2 ends, job 1 goes on; then that ends too and barriers pass an empty worker.
      const before = simulation.recordsOf('sink-2').length
      const stop = simulation.barrier({ stop: [2] })
      simulation.barrier()
      const stopAll = simulation.barrier({ stop: [1] })
      const empty = simulation.barrier()
      simulation.until('stopped', () => simulation.isCollected(empty))
      expect(simulation.recordsOf('sink-2').length).toBe(before)
      for (const epoch of [stop, stopAll]) expect(simulation.isCollected(epoch)).toBe(true)
      expect(simulation.collected.get(empty)).toMatchObject({ offsets: {}, runs: [] })
      for (let i = 0; i < 200; i++) simulation.random()
      // The same fragments may be deployed anew: every channel was forgotten.
      simulation.deploy([JOB_1], simulation.collected.get(last)!.offsets, true)
      const again = simulation.barrier({ start: [1] })
      simulation.until('started again', () => simulation.isCollected(again))
      expect(simulation.failures).toEqual([])
      expect(first).toBe(1)
    },
  )

  test.each(seeds.slice(0, 8))(
    'a recovered pipeline goes on at its offsets without snapshots, seed %i',
    (seed) => {
      const simulation = simulate(seed)
      const offsets = { '1/0': { n: 100 }, '2/2': { n: 7 } }
      simulation.deploy([JOB_1, JOB_2], offsets, true)
      const first = simulation.barrier({ start: [1, 2] })
      let last = first
      const done = (): boolean =>
        simulation.isCollected(last) &&
        simulation.collected.get(last)!.sourcesDone.length === 2 * simulation.workerCount
      while (!done()) {
        last = simulation.barrier()
        simulation.until('collected', () => simulation.isCollected(last))
      }
      const skipped = new Set<string>()
      for (let i = 0; i < 100; i++) skipped.add(sourceRow(1, 0, i))
      for (let i = 0; i < 7; i++) skipped.add(sourceRow(2, 2, i))
      const expected = rowsAt(simulation, last, [1, 2]).filter((row) => !skipped.has(row))
      for (const name of ['table-50', 'table-60']) {
        expect(recordedUntil(simulation, name, last)).toEqual(expected)
      }
    },
  )

  test('DML keeps its order with barriers, and rows without an id get one that is never given twice', () => {
    for (const seed of seeds) {
      const simulation = simulate(seed)
      const target = workerOfSingle(30, simulation.workerCount)
      const insert = (keys: number[]): void => {
        const chunk = new Chunk(keys.length, null, null, [
          columnFrom('bigint', keys),
          columnFrom(
            'bigint',
            keys.map((key) => (key === 99 ? 12345 : null)),
          ),
          columnFrom('bigint', keys),
        ])
        const batch = new Uint8Array(encodedBytes(chunk))
        encodeChunk(chunk, batch, 0)
        simulation.workers[target].transit.push({ kind: 'dml', tableId: 70, batch })
      }
      simulation.deploy([DML_JOB], { '70/0': { nextRowId: 5 } }, true)
      simulation.barrier({ start: [3] })
      insert([1, 2])
      insert([99])
      const second = simulation.barrier()
      insert([3])
      const third = simulation.barrier()
      simulation.until('collected', () => simulation.isCollected(third))
      expect(recordedUntil(simulation, 'table-70', second)).toEqual([
        '1,5,1',
        '2,6,2',
        '99,12345,99',
      ])
      expect(recordedUntil(simulation, 'table-70', third)).toEqual(
        ['1,5,1', '2,6,2', '3,7,3', '99,12345,99'].sort(),
      )
      expect(simulation.collected.get(second)!.offsets).toEqual({ '70/0': { nextRowId: 7 } })
      expect(simulation.collected.get(third)!.offsets).toEqual({ '70/0': { nextRowId: 8 } })
    }
  })

  test('paused sources give nothing and barriers still pass', () => {
    const simulation = simulate(2)
    simulation.post({ kind: 'pause', paused: true })
    simulation.deploy([JOB_1])
    simulation.barrier({ start: [1] })
    const second = simulation.barrier()
    simulation.until('collected', () => simulation.isCollected(second))
    expect(simulation.recordsOf('hash-join')).toEqual([])
    simulation.post({ kind: 'pause', paused: false })
    simulation.until('rows', () => simulation.recordsOf('sink-1').length > 0)
  })

  test('an exception in an actor is sent once, in wire form, and the worker only waits to be stopped', () => {
    const simulation = simulate(4)
    const broken: JobPlan = {
      ...JOB_1,
      fragments: JOB_1.fragments.map((fragment) =>
        fragment.fragmentId === 13
          ? { ...fragment, operators: [merge, sink(1, 'broken')] }
          : fragment,
      ),
    }
    simulation.deploy([broken])
    simulation.barrier({ start: [1] })
    simulation.until('failed', () => simulation.failures.length > 0)
    for (let i = 0; i < 500; i++) simulation.random()
    expect(simulation.failures).toMatchObject([
      {
        kind: 'failed',
        error: { code: 'INTERNAL', message: 'RangeError: the operator is broken' },
      },
    ])
    const { loop, inbox } = simulation.workers[workerOfSingle(13, simulation.workerCount)]
    expect(loop.step()).toMatchObject({ kind: 'doorbell' })
    inbox.push({ kind: 'stop' })
    expect(loop.step()).toEqual({ kind: 'stopped' })
  })

  test('a newer version is reported once no older one is read; cache budgets stay within the whole', () => {
    const simulation = simulate(3)
    const [worker] = simulation.workers
    worker.inbox.push({ kind: 'version', delta: NO_DELTA(9), releasedRuns: [] })
    worker.loop.step()
    expect(worker.outbox).toContainEqual({ kind: 'versionApplied', versionId: 9 })
    simulation.deploy([JOB_1])
    simulation.deploy([JOB_2])
    const budgets = worker.contexts.map((context) => context.cacheBytes)
    expect(budgets.some((bytes) => bytes > 0)).toBe(true)
    expect(budgets.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThanOrEqual(1000)
    expect(worker.contexts[0]).toMatchObject({ fresh: true, chunkRows: 4 })
  })

  test('the cache budget of a job that has ended is there for later ones', () => {
    const simulation = simulate(4)
    for (let time = 0; time < 6; time++) {
      simulation.deploy([JOB_1])
      simulation.barrier({ start: [1] })
      const last = simulation.barrier({ stop: [1] })
      simulation.until('stopped', () => simulation.isCollected(last))
      for (let step = 0; step < 500; step++) simulation.random()
    }
    for (const { contexts } of simulation.workers) {
      const budgets = new Set(contexts.map(({ cacheBytes }) => cacheBytes))
      expect([...budgets].filter((bytes) => bytes > 0).length).toBe(1)
    }
  })
})
