// `npm start`: sets up, builds, and runs the demo on a local directory store; ends by itself.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { setUp } from './set-up.mjs'

setUp()
const main = fileURLToPath(new URL('../dist/src/cli/main.js', import.meta.url))
const { status } = spawnSync(process.execPath, [main, 'demo', ...process.argv.slice(2)], {
  stdio: 'inherit',
})
process.exit(status ?? 1)
