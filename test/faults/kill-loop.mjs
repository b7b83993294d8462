// Kills a running pipeline at random moments and starts it again, until its source ends; then compares.
// usage: node kill-loop.mjs [--kills 50] [--store URL] [--seed 1]   Prints one JSON line; exit code 1 if anything was lost.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'

const child = fileURLToPath(new URL('./pipeline-child.mjs', import.meta.url))
const CHECKPOINT_MS = 500
/** Barriers and the commit itself: a kill may hit just before a commit that began an interval ago. */
const SLACK_MS = 500

/** Runs the child; `killAfterMs` after it runs it is killed. Resolves with what it said. */
function runOnce({ store, events, rate, killAfterMs, signal = 'SIGKILL' }) {
  return new Promise((resolve, reject) => {
    const said = []
    const running = spawn(process.execPath, [child, store, String(events), String(rate)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    createInterface({ input: running.stdout }).on('line', (line) => {
      const message = JSON.parse(line)
      said.push({ ...message, at: performance.now() })
      if (message.kind === 'running' && killAfterMs !== null) {
        setTimeout(() => running.kill(signal), killAfterMs)
      }
    })
    running.on('error', reject)
    running.on('close', (code, killedBy) => resolve({ said, code, killedBy }))
  })
}

const last = (said, kind) => said.findLast((message) => message.kind === kind)

export async function killLoop({ kills, store, seed, events = 1_000_000 }) {
  let state = seed >>> 0
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
  // So slow that the source does not end before the kills do: each run makes some 0.6 s of progress at most.
  const rate = Math.round(events / (kills * 0.8 + 5))
  let acknowledged = 0
  let lostAcknowledgements = 0
  let replayedMax = 0
  let eventsBefore = 0
  let killedCount = 0
  const rowsPerInterval = (rate * 3 * (CHECKPOINT_MS + SLACK_MS)) / 1000
  for (;;) {
    const killAfterMs = killedCount < kills ? 50 + random() * 900 : null
    const { said, code, killedBy } = await runOnce({ store, events, rate, killAfterMs })
    const opened = last(said, 'opened')
    if (opened !== undefined && opened.committedEpoch < acknowledged) lostAcknowledgements++
    // All that had been read and was not committed is read again.
    if (opened !== undefined) replayedMax = Math.max(replayedMax, eventsBefore - opened.resumed)
    for (const message of said) {
      if (message.kind === 'acknowledged') acknowledged = Math.max(acknowledged, message.epoch)
      if (message.kind === 'events') eventsBefore = Math.max(eventsBefore, message.sourceEvents)
    }
    if (killedBy === 'SIGKILL') {
      killedCount++
      continue
    }
    const result = last(said, 'result')
    if (code !== 0 || result === undefined) throw new Error(`the pipeline ended with ${code}`)
    return {
      kills: killedCount,
      seed,
      store: store.replace(/\?.*/, ''),
      events,
      eventsPerSecond: rate,
      lostAcknowledgements,
      replayedEventsMax: Math.round(replayedMax),
      allowedReplay: Math.round(rowsPerInterval),
      q3: result.q3,
      q5w: result.q5w,
      rows: result.rows,
      right:
        lostAcknowledgements === 0 &&
        replayedMax <= rowsPerInterval &&
        (events !== 1_000_000 ||
          (result.q3 === '8e193e4381908647' && result.q5w === '9c0867805b9bce3a')),
    }
  }
}

/** Asks the pipeline to end by SIGTERM in its middle. */
export async function terminateOnce(store) {
  const { said, code } = await runOnce({
    store,
    events: 1_000_000,
    rate: 100_000,
    killAfterMs: 1500,
    signal: 'SIGTERM',
  })
  return { code, milliseconds: last(said, 'terminated')?.milliseconds, opened: last(said, 'opened') }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { values } = parseArgs({
    options: {
      kills: { type: 'string', default: '50' },
      store: { type: 'string' },
      seed: { type: 'string', default: '1' },
      events: { type: 'string', default: '1000000' },
    },
  })
  const folder = values.store === undefined ? mkdtempSync(join(tmpdir(), 'tussock-kill-')) : null
  try {
    const result = await killLoop({
      kills: Number(values.kills),
      store: values.store ?? folder,
      seed: Number(values.seed),
      events: Number(values.events),
    })
    console.log(JSON.stringify(result))
    if (!result.right) process.exitCode = 1
  } finally {
    if (folder !== null) rmSync(folder, { recursive: true, force: true })
  }
}
