#!/usr/bin/env node
/** The command `tussock`: one file per subcommand beside this one. */
import { readFileSync } from 'node:fs'
import { defineCommand } from 'citty'
import { runWords } from './command-line.ts'
import { reportError } from './output.ts'

interface PackageFile {
  readonly version: string
}

const { version } = JSON.parse(
  readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'),
) as PackageFile

const main = defineCommand({
  meta: {
    name: 'tussock',
    version,
    description: 'Streaming SQL with durable state on S3, inside your Node process',
  },
  subCommands: {
    demo: () => import('./demo.ts').then(({ command }) => command),
    run: () => import('./run.ts').then(({ command }) => command),
    sql: () => import('./sql.ts').then(({ command }) => command),
    bench: () => import('./bench.ts').then(({ command }) => command),
    inspect: () => import('./inspect.ts').then(({ command }) => command),
    verify: () => import('./verify.ts').then(({ command }) => command),
  },
})

process.on('uncaughtException', (error) => {
  reportError(error)
  process.exit(process.exitCode ?? 1)
})

try {
  await runWords(main, process.argv.slice(2))
} catch (error) {
  reportError(error)
}
