#!/usr/bin/env node
/** The command `tussock`. */
import { readFileSync } from 'node:fs'
import { runWords } from './command-line.ts'
import { commands } from './commands.ts'
import { reportError } from './output.ts'

interface PackageFile {
  readonly version: string
}

const { version } = JSON.parse(
  readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'),
) as PackageFile

process.on('uncaughtException', (error) => {
  reportError(error)
  process.exit(process.exitCode ?? 1)
})

try {
  await runWords(commands, process.argv.slice(2), version)
} catch (error) {
  reportError(error)
}
