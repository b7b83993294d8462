/** `tussock bench`: reproducible measurements, one JSON line each. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { defineCommand } from 'citty'
import { runMicro } from '../../bench/micro/run.ts'
import { QUERIES, type QueryName } from '../../bench/nexmark/queries.ts'
import { assertRight, type NexmarkResult, runNexmark } from '../../bench/nexmark/run.ts'
import { engineArguments, engineOptions, oneOf, wholeNumber } from './arguments.ts'
import { note, print, printJson, reportError } from './output.ts'

const nexmark = defineCommand({
  meta: {
    name: 'nexmark',
    description:
      'Measures a Nexmark query. Example: tussock bench nexmark --query q3 --events 1000000 --json',
  },
  args: {
    query: { type: 'string', default: 'q3', valueHint: 'name', description: 'q1, q3, q4 or q5w' },
    events: {
      type: 'string',
      default: '1000000',
      valueHint: 'n',
      description: 'events of all three tables',
    },
    seed: { type: 'string', default: '42', valueHint: 'n', description: 'of the generator' },
    input: {
      type: 'string',
      default: 'replay',
      valueHint: 'way',
      description: 'replay, rows or generate',
    },
    sink: { type: 'string', default: 'view', valueHint: 'end', description: 'view or blackhole' },
    store: {
      type: 'string',
      valueHint: 'url',
      description: 'a store URL (default: a folder that is removed)',
    },
    'events-per-second': {
      type: 'string',
      default: '0',
      valueHint: 'n',
      description: 'pace; 0: no limit',
    },
    repeat: {
      type: 'string',
      default: '1',
      valueHint: 'n',
      description: 'runs; the median is printed last',
    },
    ...engineArguments,
    json: { type: 'boolean', description: 'one JSON line a run' },
  },
  run: async ({ args }) => {
    try {
      const query = oneOf('query', args.query, Object.keys(QUERIES) as QueryName[])
      const runs: NexmarkResult[] = []
      const repeat = wholeNumber('repeat', args.repeat, 1)
      for (let run = 0; run < repeat; run++) {
        const folder =
          args.store === undefined ? mkdtempSync(join(tmpdir(), 'tussock-bench-')) : null
        try {
          const result = await runNexmark({
            query,
            events: wholeNumber('events', args.events, 1),
            seed: wholeNumber('seed', args.seed, -(2 ** 31)),
            input: oneOf('input', args.input, ['replay', 'rows', 'generate']),
            sink: oneOf('sink', args.sink, ['view', 'blackhole']),
            store: folder ?? args.store ?? 'memory://',
            eventsPerSecond: wholeNumber('events-per-second', args['events-per-second']),
            open: engineOptions(args),
          })
          runs.push(result)
          if (args.json) printJson(result)
          else print(describe(result))
          assertRight(result)
        } finally {
          if (folder !== null) rmSync(folder, { recursive: true, force: true })
        }
      }
      if (runs.length > 1) printMedian(runs, args.json ?? false)
    } catch (error) {
      reportError(error)
    }
  },
})

function describe(result: NexmarkResult): string {
  const rate = (Number(result['eventsPerSecond']) / 1e6).toFixed(2)
  const judged = result.hashRight === null ? '' : result.hashRight ? ' (right)' : ' (WRONG)'
  return `${String(result['query'])} ${String(result['input'])}: ${rate} M events/s in ${String(result['seconds'])} s, ${String(result['resultRows'] ?? 0)} rows, hash ${result.resultHash ?? '-'}${judged}`
}

function printMedian(runs: readonly NexmarkResult[], json: boolean): void {
  const rates = runs.map((run) => Number(run['eventsPerSecond'])).sort((a, b) => a - b)
  const median = {
    query: runs[0]['query'],
    runs: runs.length,
    eventsPerSecondMedian: rates[rates.length >> 1],
    eventsPerSecondMin: rates[0],
    eventsPerSecondMax: rates[rates.length - 1],
  }
  if (json) printJson(median)
  else
    print(`median of ${runs.length}: ${(median.eventsPerSecondMedian / 1e6).toFixed(2)} M events/s`)
}

const micro = defineCommand({
  meta: {
    name: 'micro',
    description: 'Measures the parts, one by one. Example: tussock bench micro --filter join',
  },
  args: {
    filter: {
      type: 'string',
      valueHint: 'text',
      description: 'only benchmarks whose name holds this',
    },
    smoke: { type: 'boolean', description: 'run each once, measure nothing' },
    json: { type: 'boolean', description: 'one JSON line a benchmark' },
  },
  run: async ({ args }) => {
    try {
      note('Compare within one run: timings of small machines are noisy.')
      await runMicro({
        filter: args.filter ?? '',
        smoke: args.smoke ?? false,
        json: args.json ?? false,
        print,
      })
    } catch (error) {
      reportError(error)
    }
  },
})

export const command = defineCommand({
  meta: {
    name: 'bench',
    description: 'Measures: a Nexmark query through the public API, or the parts',
  },
  subCommands: { nexmark: nexmark, micro: micro },
})
