/** `tussock demo`: Nexmark live on a local store: rates, freshness, checkpoints; then a restart and a summary. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { defineCommand } from 'citty'
import { capitalized, createRelation, QUERIES } from '../../bench/nexmark/queries.ts'
import { type Database, type OpenOptions, open } from '../index.ts'
import { engineArguments, engineOptions, wholeNumber } from './arguments.ts'
import { LiveLines, onStop } from './live.ts'
import { formatRows, print, reportError, results } from './output.ts'

const VIEWS = ['local_sellers', 'bids_per_window', 'average_prices'] as const
/** The three views read five sources, each of which passes every event. */
const SOURCE_READS = 5
const REDRAW_MS = 250
/** Without a terminal a line of text. */
const LINE_MS = 1000

export const command = defineCommand({
  meta: {
    name: 'demo',
    description:
      'Shows Nexmark queries live in the terminal, on a local store. Example: tussock demo',
  },
  args: {
    events: {
      type: 'string',
      default: '3000000',
      valueHint: 'n',
      description: 'events to run through',
    },
    'events-per-second': {
      type: 'string',
      default: '500000',
      valueHint: 'n',
      description: 'pace; 0: no limit',
    },
    store: { type: 'string', valueHint: 'url', description: 'default: a folder that is removed' },
    ...engineArguments,
  },
  run: async ({ args }) => {
    let folder: string | null = null
    const remove = (): void => {
      if (folder !== null) rmSync(folder, { recursive: true, force: true })
    }
    let stop: () => void = () => undefined
    const stopped = new Promise<void>((resolve) => {
      stop = resolve
    })
    const forget = onStop(() => stop(), remove)
    try {
      const load = {
        events: wholeNumber('events', args.events, 1),
        eventsPerSecond: wholeNumber('events-per-second', args['events-per-second']),
      }
      const engine = engineOptions(args)
      folder = args.store === undefined ? mkdtempSync(join(tmpdir(), 'tussock-demo-')) : null
      await runDemo(folder ?? args.store ?? 'memory://', engine, load, stopped)
    } catch (error) {
      reportError(error)
    } finally {
      remove()
      forget()
    }
  },
})

interface Load {
  readonly events: number
  readonly eventsPerSecond: number
}

function pipeline(events: number, eventsPerSecond: number): string {
  const sources = (['person', 'auction', 'bid'] as const).map((table) =>
    createRelation(table, {
      connector: 'nexmark',
      'nexmark.table.type': capitalized(table),
      'nexmark.event.num': String(events),
      'nexmark.seed': '42',
      ...(eventsPerSecond === 0
        ? {}
        : { 'nexmark.min.event.gap.in.ns': String(Math.round(1e9 / eventsPerSecond)) }),
    }),
  )
  return `${sources.join('\n')}
    CREATE MATERIALIZED VIEW local_sellers AS ${QUERIES.q3.select};
    CREATE MATERIALIZED VIEW bids_per_window AS ${QUERIES.q5w.select};
    CREATE MATERIALIZED VIEW average_prices AS ${QUERIES.q4.select};`
}

async function runDemo(
  store: string,
  engine: OpenOptions,
  load: Load,
  stopped: Promise<void>,
): Promise<void> {
  let db = await open(store, engine)
  try {
    print(results.colors.bold('tussock demo: three views over one stream of Nexmark events'))
    print(`store ${store}${results.isTerminal ? '; Ctrl-C ends' : ''}`)
    await db.run(pipeline(load.events, load.eventsPerSecond))
    const end = Promise.race([db.exhausted().then(() => 'done'), stopped.then(() => 'stopped')])
    if ((await watch(db, end, load)) === 'stopped') return print('stopped')
    const before = await counts(db)
    const metrics = await db.metrics()
    await db.close()
    const reopened = performance.now()
    db = await open(store, engine)
    const after = await counts(db)
    const seconds = (performance.now() - reopened) / 1000
    print('')
    print(await averagePrices(db))
    print('')
    print(`rows: ${VIEWS.map((view) => `${view} ${after[view]}`).join(', ')}`)
    print(
      `closed and opened again in ${seconds.toFixed(2)} s: ${
        JSON.stringify(before) === JSON.stringify(after) ? 'the same rows' : 'DIFFERENT ROWS'
      }`,
    )
    const { checkpoints } = metrics
    print(
      `${millions(load.events)} events, ${checkpoints.checkpoints} checkpoints, ${metrics.requests.put} PUTs, freshness ${spread(checkpoints.freshnessMsP50, checkpoints.freshnessMsP99)}`,
    )
  } finally {
    await db.close()
  }
}

/** Draws until `end` resolves; returns what with. */
async function watch(db: Database, end: Promise<string>, load: Load): Promise<string> {
  const live = new LiveLines(process.stdout)
  const started = performance.now()
  let last = { events: 0, ms: started }
  for (;;) {
    const pause = new Promise<null>((resolve) => {
      setTimeout(resolve, results.isTerminal ? REDRAW_MS : LINE_MS, null).unref()
    })
    const ended = await Promise.race([end, pause])
    if (ended === 'stopped') return ended
    const metrics = await db.metrics()
    const now = { events: metrics.sourceEvents / SOURCE_READS, ms: performance.now() }
    const rate = ((now.events - last.events) * 1000) / (now.ms - last.ms)
    last = now
    const { checkpoints, stateBytes } = metrics
    const facts = [
      ['time', `${((now.ms - started) / 1000).toFixed(1)} s`],
      ['events', `${millions(now.events)} of ${millions(load.events)}, ${millions(rate)}/s`],
      ['freshness', spread(checkpoints.freshnessMsP50, checkpoints.freshnessMsP99)],
      [
        'checkpoints',
        `${checkpoints.checkpoints}, ${spread(checkpoints.checkpointMsP50, checkpoints.checkpointMsP99)}`,
      ],
      ['state', `${(stateBytes / 1e6).toFixed(1)} MB`],
    ]
    if (results.isTerminal) {
      const rows = await counts(db)
      const views = VIEWS.map((view) => [view, `${rows[view]} rows`])
      const lines = [...facts, ...views].map(([name, text]) => `  ${name.padEnd(16)} ${text}`)
      live.draw(['', ...lines])
    } else print(facts.map(([name, text]) => `${name} ${text}`).join('  '))
    if (ended !== null) return ended
  }
}

async function counts(db: Database): Promise<Record<string, number>> {
  const result: Record<string, number> = {}
  for (const view of VIEWS) {
    const { rows } = await db.query(`SELECT count(*) AS n FROM ${view}`)
    result[view] = Number(rows[0]['n'])
  }
  return result
}

async function averagePrices(db: Database): Promise<string> {
  const { columns, rows } = await db.query(
    'SELECT category, total, n FROM average_prices ORDER BY category',
  )
  return formatRows(
    columns.map((column) => column.name),
    rows,
    'table',
  )
}

function millions(count: number): string {
  return count < 1e6 ? String(Math.round(count)) : `${(count / 1e6).toFixed(2)} M`
}

function spread(p50: number | null, p99: number | null): string {
  const text = (value: number | null): string => (value === null ? '-' : value.toFixed(0))
  return `p50 ${text(p50)} ms, p99 ${text(p99)} ms`
}
