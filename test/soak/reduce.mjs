// One seed: runs its workload, and if it fails, leaves out steps as long as it fails the same way.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Session } from './session.mjs'
import { makeWorkload } from './workload.mjs'

/** Runs a workload on a store of its own; resolves with what was found, or null. */
async function attempt(workload, tell) {
  const memory = workload.steps.every((step) => step.do !== 'reopen') && workload.seed % 2 === 0
  const folder = memory ? null : mkdtempSync(join(tmpdir(), 'tussock-soak-'))
  const session = new Session(workload, folder ?? 'memory://', tell)
  try {
    await session.run()
    return { found: null, checks: session.checks }
  } catch (found) {
    return { found, checks: session.checks }
  } finally {
    if (folder !== null) rmSync(folder, { recursive: true, force: true })
  }
}

/** What a failure is about, without its numbers: a smaller workload must fail in the same way. */
const kindOf = ({ message, cause }) =>
  cause?.code ??
  message
    .split('\n')[0]
    .replace(/[0-9]+/g, '')
    .slice(0, 24)

async function reduce(workload, found, until) {
  let steps = workload.steps.slice(0, found.where + 1)
  let best = found
  for (let size = Math.ceil(steps.length / 2); size >= 1; ) {
    let smaller = false
    for (let from = 0; from < steps.length; from += size) {
      if (performance.now() > until) return { steps, found: best }
      const tried = steps.filter((_, index) => index < from || index >= from + size)
      const { found: again } = await attempt({ ...workload, steps: tried })
      if (again === null || kindOf(again) !== kindOf(found)) continue
      steps = tried.slice(0, again.where + 1)
      best = again
      smaller = true
      from -= size
    }
    if (!smaller || size > steps.length) size = size === 1 ? 0 : Math.ceil(size / 2)
  }
  return { steps, found: best }
}

/** @returns `{ failure, steps, checks }`; `failure` is null or the text to print. */
export async function runSeed(seed, { steps: count, reduceMs = 0, ...wishes }) {
  const workload = makeWorkload(seed, count, wishes)
  const { found, checks } = await attempt(workload)
  const steps = workload.steps.length
  if (found === null) return { failure: null, steps, checks }
  const reduced = await reduce(workload, found, performance.now() + reduceMs)
  const script = []
  const { found: last } = await attempt({ ...workload, steps: reduced.steps }, (line) =>
    script.push(line),
  )
  const failure = [
    `seed ${seed}, step ${found.where} of ${steps}: ${found.message}`,
    `reduced to ${reduced.steps.length} steps: ${(last ?? reduced.found).message}`,
    last === null ? '(the last run of it passed)' : '',
    ...script,
    String((last ?? reduced.found).cause?.stack),
  ].join('\n')
  return { failure, steps, checks }
}
