// Kills a running pipeline with SIGKILL: 50 times on a directory, then 10 times on a real S3 server. Some minutes
// long, so not part of `npm test`, which does three. Arguments go to the first, e.g. `--seed 2`.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { setUp } from './set-up.mjs'

setUp()
const run = (file, ...args) => {
  const path = fileURLToPath(new URL(file, import.meta.url))
  return spawnSync(process.execPath, [path, ...args], { stdio: 'inherit' }).status ?? 1
}
process.exit(
  run('../test/faults/kill-loop.mjs', '--kills', '50', ...process.argv.slice(2)) ||
    run('./test-s3.mjs', 'engine-kill'),
)
