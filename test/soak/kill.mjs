// Kills a process that runs a random workload, again and again, and starts it anew until the workload is done.
// usage: node test/soak/kill.mjs [--seconds 60] [--seed 1] [--steps 150] [--count N]
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Random } from './rng.mjs'

const child = fileURLToPath(new URL('./kill-child.mjs', import.meta.url))

/** One life. Resolves with what it said and how it ended. */
function life({ store, seed, steps, acknowledged, optionsSeed, killAfterMs, from }) {
  return new Promise((resolve, reject) => {
    const words = [child, store, seed, steps, acknowledged, optionsSeed].map(String)
    const running = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'pipe'] })
    const said = []
    let errors = ''
    let armed = false
    const arm = (moment) => {
      if (armed || killAfterMs === null || moment !== from) return
      armed = true
      setTimeout(() => running.kill('SIGKILL'), killAfterMs).unref()
    }
    arm('start')
    createInterface({ input: running.stdout }).on('line', (line) => {
      said.push(JSON.parse(line))
      arm(said.at(-1).kind)
    })
    running.stderr.on('data', (data) => {
      errors += data
    })
    running.on('error', reject)
    running.on('close', (code, signal) => resolve({ said, errors, code, signal }))
  })
}

/** @returns `{ failure, kills, lives }` */
export async function killSeed(seed, steps, kills) {
  const store = mkdtempSync(join(tmpdir(), 'tussock-soak-kill-'))
  const random = new Random(seed * 31 + 7)
  let acknowledged = -1
  try {
    for (let lives = 1; ; lives++) {
      const last = lives > kills
      const result = await life({
        store,
        seed,
        steps,
        acknowledged,
        optionsSeed: random.int(0, 1e6),
        killAfterMs: last ? null : random.int(0, 900),
        from: random.pick(['start', 'opened', 'running', 'running', 'running']),
      })
      for (const message of result.said) {
        if (message.kind === 'acknowledged') acknowledged = message.at
      }
      if (result.signal === 'SIGKILL') continue
      if (result.code === 0 && result.said.at(-1)?.kind === 'done') {
        return { failure: null, lives, acknowledged }
      }
      return {
        failure: `seed ${seed}, life ${lives}: exit ${result.code} ${result.signal}\n${result.errors}`,
        lives,
        acknowledged,
      }
    }
  } finally {
    rmSync(store, { recursive: true, force: true })
  }
}

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: '1' },
    steps: { type: 'string', default: '150' },
    kills: { type: 'string', default: '12' },
  },
})
const until = performance.now() + Number(values.seconds) * 1000
const first = Number(values.seed)
let seeds = 0
let lives = 0
for (let seed = first; performance.now() < until; seed++) {
  const result = await killSeed(seed, Number(values.steps), Number(values.kills))
  seeds++
  lives += result.lives
  if (result.failure === null) continue
  console.log(result.failure)
  process.exitCode = 1
  break
}
console.log(JSON.stringify({ first, seeds, lives, failed: process.exitCode === 1 }))
