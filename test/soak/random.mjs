// Random workloads for a while: node test/soak/random.mjs [--seconds 60] [--seed 1] [--steps 60] [--count 1]
// [--scale 20: more rows] [--deaths, with node --import ./test/soak/dying-workers.mjs: threads die]
// Each seed is one workload; the first that fails is reduced and printed. Exit code 1 if one failed.
import { parseArgs } from 'node:util'
import { runSeed } from './reduce.mjs'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string' },
    steps: { type: 'string', default: '60' },
    count: { type: 'string', default: 'any' },
    scale: { type: 'string' },
    deaths: { type: 'boolean', default: false },
    reduce: { type: 'string', default: '120' },
  },
})
const unhandled = []
process.on('unhandledRejection', (error) => unhandled.push(error))

const until = performance.now() + Number(values.seconds) * 1000
const first = Number(values.seed ?? Math.trunc(performance.timeOrigin) % 1_000_000)
const most = values.count === 'any' ? Number.POSITIVE_INFINITY : Number(values.count)
let seeds = 0
let steps = 0
let checks = 0
for (let seed = first; seeds < most && performance.now() < until; seed++) {
  const result = await runSeed(seed, {
    steps: Number(values.steps),
    reduceMs: Number(values.reduce) * 1000,
    deaths: values.deaths,
    ...(values.scale === undefined ? {} : { scale: Number(values.scale) }),
  })
  if (unhandled.length > 0 && result.failure === null) {
    result.failure = `unhandled rejection: ${unhandled[0]?.stack ?? unhandled[0]}`
  }
  seeds++
  steps += result.steps
  checks += result.checks
  if (result.failure === null) continue
  console.log(result.failure)
  process.exitCode = 1
  break
}
console.log(JSON.stringify({ first, seeds, steps, checks, failed: process.exitCode === 1 }))
