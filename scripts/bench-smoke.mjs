// Runs every benchmark tiny, so that none of them rots; a Nexmark query with a wrong answer fails.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { setUp } from './set-up.mjs'

setUp()
const main = fileURLToPath(new URL('../dist/src/cli/main.js', import.meta.url))
const runs = [
  ...['q3', 'q4', 'q5w'].flatMap((query) =>
    ['replay', 'generate', 'rows'].map((input) => ['nexmark', '--query', query, '--input', input]),
  ),
  ['nexmark', '--query', 'q1', '--sink', 'blackhole'],
  ['micro', '--smoke'],
]
for (const args of runs) {
  const { status, stdout } = spawnSync(process.execPath, [main, 'bench', ...args, '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
  })
  process.stdout.write(stdout)
  if (status !== 0) {
    console.error(`bench ${args.join(' ')} failed with exit code ${status}`)
    process.exit(1)
  }
}
