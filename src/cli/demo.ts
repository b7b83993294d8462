/** `tussock demo`: Nexmark live on a local store: rates, freshness, checkpoints; then a restart and a summary. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { defineCommand } from 'citty'
import pc from 'picocolors'
import { capitalized, createRelation, QUERIES } from '../../bench/nexmark/queries.ts'
import { type Database, open } from '../index.ts'
import { engineArguments, engineOptions, wholeNumber } from './arguments.ts'
import { formatRows, print, reportError } from './output.ts'

const REDRAW_MS = 250

export const command = defineCommand({
  meta: {
    name: 'demo',
    description: 'Nexmark queries live in the terminal, on a local store. Example: tussock demo',
  },
  args: {
    events: { type: 'string', default: '3000000', description: 'events to run through' },
    'events-per-second': { type: 'string', default: '500000', description: 'pace; 0: no limit' },
    store: { type: 'string', valueHint: 'url', description: 'default: a folder that is removed' },
    ...engineArguments,
  },
  run: async ({ args }) => {
    const folder = args.store === undefined ? mkdtempSync(join(tmpdir(), 'tussock-demo-')) : null
    try {
      await runDemo(folder ?? args.store ?? 'memory://', args, {
        events: wholeNumber('events', args.events),
        eventsPerSecond: wholeNumber('events-per-second', args['events-per-second']),
      })
    } catch (error) {
      reportError(error)
    } finally {
      if (folder !== null) rmSync(folder, { recursive: true, force: true })
    }
  },
})

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
  args: Readonly<Record<string, unknown>>,
  load: { readonly events: number; readonly eventsPerSecond: number },
): Promise<void> {
  const started = performance.now()
  let db = await open(store, engineOptions(args))
  let finished = false
  try {
    print(pc.bold('tussock demo: three views over one stream of Nexmark events'))
    print(`store ${store}`)
    await db.run(pipeline(load.events, load.eventsPerSecond))
    const exhausted = db.exhausted().then(() => {
      finished = true
    })
    await watch(db, () => finished, started)
    await exhausted
    const before = await counts(db)
    const metrics = await db.metrics()
    await db.close()
    const reopened = performance.now()
    db = await open(store, engineOptions(args))
    const after = await counts(db)
    const seconds = (performance.now() - reopened) / 1000
    print('')
    print(await averagePrices(db))
    print('')
    print(`views ${JSON.stringify(after)}`)
    print(
      `closed and opened again in ${seconds.toFixed(2)} s at epoch ${metrics.committedEpoch}: ${
        JSON.stringify(before) === JSON.stringify(after) ? 'the same rows' : 'DIFFERENT ROWS'
      }`,
    )
    print(
      `${(load.events / 1e6).toFixed(1)} M events, ${metrics.checkpoints.checkpoints} checkpoints, ${metrics.requests.put} PUTs, freshness p50 ${format(metrics.checkpoints.freshnessMsP50)} ms, p99 ${format(metrics.checkpoints.freshnessMsP99)} ms`,
    )
  } finally {
    await db.close()
  }
}

async function watch(db: Database, finished: () => boolean, started: number): Promise<void> {
  const live = process.stdout.isTTY === true
  let lastEvents = 0
  let lastMs = performance.now()
  while (!finished()) {
    await new Promise((resolve) => setTimeout(resolve, live ? REDRAW_MS : 1000))
    const metrics = await db.metrics()
    const now = performance.now()
    const rate = ((metrics.sourceEvents - lastEvents) / (now - lastMs)) * 1000
    lastEvents = metrics.sourceEvents
    lastMs = now
    const { checkpoints } = metrics
    const line = [
      `${((now - started) / 1000).toFixed(1)} s`,
      `${(rate / 1e6).toFixed(2)} M source events/s`,
      `freshness ${format(checkpoints.freshnessMsP50)} ms`,
      `${checkpoints.checkpoints} checkpoints (${format(checkpoints.checkpointMsP50)} ms)`,
      `state ${(metrics.stateBytes / 1e6).toFixed(0)} MB`,
    ].join('  ')
    if (live) process.stdout.write(`\r\u001b[2K${line}`)
    else print(line)
  }
  if (live) process.stdout.write('\n')
}

async function counts(db: Database): Promise<Record<string, number>> {
  const result: Record<string, number> = {}
  for (const view of ['local_sellers', 'bids_per_window', 'average_prices']) {
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

function format(value: number | null): string {
  return value === null ? '-' : value.toFixed(0)
}
