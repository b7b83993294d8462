/** `tussock run`: a pipeline until SIGTERM, or until its bounded sources are read to the end. */
import { defineCommand } from 'citty'
import { type DatabaseEvent, open } from '../index.ts'
import { engineArguments, engineOptions, storeArgument } from './arguments.ts'
import { note, print, printJson, reportError } from './output.ts'
import { readScript } from './sql.ts'

export const command = defineCommand({
  meta: {
    name: 'run',
    description:
      'Runs a pipeline until SIGTERM; started again it goes on where it was. Example: tussock run pipeline.sql --store ./data',
  },
  args: {
    pipeline: { type: 'positional', required: true, description: 'a file of statements' },
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
      sql = await readScript(args.pipeline)
      await runPipeline(sql, args.store, args, {
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
  args: Readonly<Record<string, unknown>>,
  options: { readonly exitWhenDone: boolean; readonly json: boolean },
): Promise<void> {
  const say = (event: DatabaseEvent): void => {
    if (options.json) printJson(event)
    else note(`${event.kind}${'error' in event ? `: ${event.error.message}` : ''}`)
  }
  let fail: (error: unknown) => void = () => undefined
  const failed = new Promise<never>((_, reject) => {
    fail = reject
  })
  failed.catch(() => undefined) // Seen by the race below, or no more of interest.
  const db = await open(store, {
    ...engineOptions(args),
    onEvent: (event) => {
      say(event)
      if (event.kind === 'failed') fail(event.error)
    },
  })
  let stop: (why: string) => void = () => undefined
  const stopped = new Promise<string>((resolve) => {
    stop = resolve
  })
  const signals = ['SIGTERM', 'SIGINT'] as const
  let asked = 0
  const onSignal = (signal: string): void => {
    if (++asked > 1) process.exit(1)
    stop(signal)
  }
  for (const signal of signals) process.on(signal, onSignal)
  try {
    await db.run(sql)
    const done = options.exitWhenDone ? db.exhausted().then(() => 'done') : stopped
    const why = await Promise.race([stopped, done, failed])
    const metrics = await db.metrics()
    const summary = {
      kind: 'end',
      why,
      committedEpoch: why === 'done' ? metrics.committedEpoch : await db.flush(),
      sourceEvents: metrics.sourceEvents,
      sourceRows: metrics.sourceRows,
      checkpoints: metrics.checkpoints.checkpoints,
    }
    if (options.json) printJson(summary)
    else print(`ended (${why}) at epoch ${summary.committedEpoch}`)
  } finally {
    await db.close()
    for (const signal of signals) process.off(signal, onSignal)
  }
}
