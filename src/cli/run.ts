/** `tussock run`: a pipeline until SIGTERM, or until its bounded sources are read to the end. */
import { defineCommand } from 'citty'
import { type Database, type DatabaseEvent, open } from '../index.ts'
import { engineArguments, engineOptions, storeArgument } from './arguments.ts'
import { LiveLines, onStop } from './live.ts'
import { note, print, printJson, reportError, wordsOut } from './output.ts'
import { readScript } from './sql.ts'

const REDRAW_MS = 1000

export const command = defineCommand({
  meta: {
    name: 'run',
    description:
      'Runs a pipeline until SIGTERM or Ctrl-C; started again it goes on where it was. Example: tussock run pipeline.sql --store ./data',
  },
  args: {
    pipeline: {
      type: 'positional',
      required: true,
      description: 'a file of statements; -: from a pipe',
    },
    ...storeArgument,
    ...engineArguments,
    'exit-when-done': {
      type: 'boolean',
      description: 'end when every bounded source is read and committed',
    },
    json: { type: 'boolean', description: 'events and the summary as JSON lines' },
  },
  run: async ({ args }) => {
    let sql: string | null = null
    try {
      const open = engineOptions(args)
      sql = await readScript(args.pipeline)
      await runPipeline(sql, args.store, open, {
        exitWhenDone: args['exit-when-done'] ?? false,
        json: args.json ?? false,
      })
    } catch (error) {
      reportError(error, sql)
    }
  },
})

async function runPipeline(
  sql: string,
  store: string,
  engine: ReturnType<typeof engineOptions>,
  options: { readonly exitWhenDone: boolean; readonly json: boolean },
): Promise<void> {
  const live = new LiveLines(process.stderr)
  const say = (event: DatabaseEvent): void => {
    live.clear()
    if (options.json) printJson(event)
    else note(eventText(event))
  }
  let fail: (error: unknown) => void = () => undefined
  const failed = new Promise<never>((_, reject) => {
    fail = reject
  })
  failed.catch(() => undefined) // Seen by the race below, or no more of interest.
  const db = await open(store, {
    ...engine,
    onEvent: (event) => {
      say(event)
      if (event.kind === 'failed') fail(event.error)
    },
  })
  let stop: (why: string) => void = () => undefined
  const stopped = new Promise<string>((resolve) => {
    stop = resolve
  })
  const forget = onStop(stop, () => undefined)
  let timer: NodeJS.Timeout | undefined
  try {
    await db.run(sql)
    if (options.json) printJson({ kind: 'running', store })
    else note(`running on ${store}; Ctrl-C ends with a checkpoint`)
    if (wordsOut.isTerminal && !options.json) timer = watch(db, live)
    const done = options.exitWhenDone ? db.exhausted().then(() => 'done') : stopped
    const why = await Promise.race([stopped, done, failed])
    clearInterval(timer)
    const metrics = await db.metrics()
    const summary = {
      kind: 'end',
      why,
      committedEpoch: why === 'done' ? metrics.committedEpoch : await db.flush(),
      sourceEvents: metrics.sourceEvents,
      sourceRows: metrics.sourceRows,
      checkpoints: metrics.checkpoints.checkpoints,
    }
    live.clear()
    if (options.json) printJson(summary)
    else print(`ended (${why}) at epoch ${summary.committedEpoch}`)
  } finally {
    clearInterval(timer)
    live.clear()
    await db.close()
    forget()
  }
}

function eventText(event: DatabaseEvent): string {
  if ('error' in event) return `${event.kind}: ${event.error.message}`
  return event.kind === 'storage' ? `${event.kind}: ${event.name}` : event.kind
}

function watch(db: Database, live: LiveLines): NodeJS.Timeout {
  let lastRows = 0
  return setInterval(() => {
    db.metrics().then(
      ({ sourceRows, checkpoints, stateBytes, committedEpoch }) => {
        const rate = ((sourceRows - lastRows) * 1000) / REDRAW_MS
        lastRows = sourceRows
        live.draw([
          `epoch ${committedEpoch}  ${rate.toFixed(0)} source rows/s  ${checkpoints.checkpoints} checkpoints  state ${(stateBytes / 1e6).toFixed(1)} MB`,
        ])
      },
      () => undefined, // The database has ended; whoever waits for it is told why.
    )
  }, REDRAW_MS)
}
