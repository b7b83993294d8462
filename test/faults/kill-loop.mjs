// Kills a running pipeline at random moments and starts it again, until its source ends; then compares.
// usage: node kill-loop.mjs [--kills 50] [--store URL] [--seed 1]   Prints one JSON line; exit code 1 if anything was lost.
import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'

const child = fileURLToPath(new URL('./pipeline-child.mjs', import.meta.url))
/** What 1M events of seed 42 give. */
const KNOWN = { q3: '8e193e4381908647', q5w: '9c0867805b9bce3a' }
const SOURCES = 3
const CHECKPOINT_MS = 500
/** Two barriers, and the pauses of a loaded machine. */
const SLACK_MS = 250
/** One kill in so many hits while the database opens and recovers, not while it runs. */
const EARLY_EVERY = 4
const EARLY_MS = 1500

/**
 * Runs the child and sends it `signal`, `after` ms after it was started or began to run. Resolves with what it
 * said.
 */
function runOnce({ store, events, rate, kill, signal = 'SIGKILL', nodeOptions = [], env = {} }) {
  return new Promise((resolve, reject) => {
    const said = []
    let ready = false
    const words = [...nodeOptions, child, store, String(events), String(rate)]
    const running = spawn(process.execPath, words, {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, ...env },
    })
    const killFrom = (moment) => {
      if (kill?.from !== moment) return
      setTimeout(() => running.kill(signal), kill.afterMs).unref()
    }
    killFrom('start')
    createInterface({ input: running.stdout }).on('line', (line) => {
      const message = JSON.parse(line)
      said.push({ ...message, at: performance.now() })
      if (message.kind !== 'running' || ready) return
      ready = true
      killFrom('running')
    })
    running.on('error', reject)
    running.on('close', (code, killedBy) => resolve({ said, code, killedBy }))
  })
}

const last = (said, kind) => said.findLast((message) => message.kind === kind)

/** What must hold over all lives of the pipeline. */
class Account {
  acknowledged = 0
  /** Newest row acknowledged as durable, and newest one that the last life inserted. */
  marked = 0
  inserted = null
  lostAcknowledgements = 0
  replayedEventsMax = 0
  killedEarly = 0
  /** The longest checkpoint, from barrier to commit: a kill may hit just before its end. */
  checkpointMsMax = 0
  eventsBefore = 0

  add(said) {
    const opened = last(said, 'opened')
    if (opened === undefined) {
      this.killedEarly++
      return
    }
    if (opened.committedEpoch < this.acknowledged) this.lostAcknowledgements++
    // All that had been read and was not committed is read again.
    this.replayedEventsMax = Math.max(this.replayedEventsMax, this.eventsBefore - opened.resumed)
    if (last(said, 'running') === undefined) this.killedEarly++
    for (const message of said) {
      if (message.kind === 'acknowledged') {
        this.acknowledged = Math.max(this.acknowledged, message.epoch)
      }
      if (message.kind === 'events') {
        this.eventsBefore = Math.max(this.eventsBefore, message.sourceEvents)
        this.checkpointMsMax = Math.max(this.checkpointMsMax, message.checkpointMs ?? 0)
      }
      if (message.kind === 'marked' && message.durable) {
        this.marked = Math.max(this.marked, message.id)
      }
    }
    this.inserted = last(said, 'marked')?.id ?? null
  }

  /**
   * Rows of the table: all that were acknowledged as durable, all that the last life inserted, no gap and
   * none twice; and the view over it agrees.
   */
  marksRight({ marks, marksInOrder, marked: [n, total] }) {
    const complete = marksInOrder && marks >= this.marked && marks === (this.inserted ?? marks)
    return complete && n === marks && total === (marks * (marks + 1)) / 2
  }
}

export async function killLoop({ kills, store, seed, events = 1_000_000 }) {
  let state = seed >>> 0
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
  // So slow that the source does not end before the kills do: each run makes some 0.6 s of progress at most.
  const rate = Math.round(events / (kills * 0.8 + 2))
  const account = new Account()
  for (let killed = 0; ; killed++) {
    const early = killed % EARLY_EVERY === EARLY_EVERY - 1
    const kill = early
      ? { from: 'start', afterMs: random() * EARLY_MS }
      : { from: 'running', afterMs: 50 + random() * 900 }
    const { said, code, killedBy } = await runOnce({
      store,
      events,
      rate,
      kill: killed < kills ? kill : null,
    })
    account.add(said)
    if (killedBy === 'SIGKILL') continue
    const result = last(said, 'result')
    if (code !== 0 || result === undefined) {
      throw new Error(`the pipeline ended with ${code}: ${last(said, 'error')?.message ?? ''}`)
    }
    const { lostAcknowledgements, replayedEventsMax, killedEarly, checkpointMsMax } = account
    const allowedMs = CHECKPOINT_MS + checkpointMsMax + SLACK_MS
    const allowedReplay = Math.round((rate * SOURCES * allowedMs) / 1000)
    const hashesRight = events !== 1_000_000 || (result.q3 === KNOWN.q3 && result.q5w === KNOWN.q5w)
    const marksRight = account.marksRight(result)
    return {
      kills: killed,
      killedBeforeRunning: killedEarly,
      seed,
      store: store.replace(/\?.*/, ''),
      events,
      eventsPerSecond: rate,
      lostAcknowledgements,
      replayedEventsMax: Math.round(replayedEventsMax),
      checkpointMsMax: Math.round(checkpointMsMax),
      replayedMsMax: Math.round((replayedEventsMax / SOURCES / rate) * 1000),
      allowedReplay,
      q3: result.q3,
      q5w: result.q5w,
      rows: result.rows,
      marks: result.marks,
      marksAcknowledged: account.marked,
      right:
        killed >= kills &&
        lostAcknowledgements === 0 &&
        replayedEventsMax <= allowedReplay &&
        marksRight &&
        hashesRight,
    }
  }
}

/** Asks the pipeline to end by SIGTERM in its middle, and looks whether all it had read is there afterwards. */
export async function terminateOnce(store) {
  const pipeline = { store, events: 1_000_000, rate: 200_000 }
  const { said, code } = await runOnce({
    ...pipeline,
    kill: { from: 'running', afterMs: 1500 },
    signal: 'SIGTERM',
  })
  const again = await runOnce({ ...pipeline, kill: null })
  const account = new Account()
  account.add(said)
  const eventsRead = account.eventsBefore
  const eventsKept = last(again.said, 'opened')?.resumed ?? 0
  account.add(again.said)
  const result = last(again.said, 'result')
  const { q3, q5w } = result
  return {
    code,
    milliseconds: last(said, 'terminated')?.milliseconds ?? null,
    eventsRead,
    eventsKept,
    right:
      eventsKept >= eventsRead &&
      account.lostAcknowledgements === 0 &&
      account.marksRight(result) &&
      q3 === KNOWN.q3 &&
      q5w === KNOWN.q5w,
  }
}

const dyingThread = new URL('./dying-thread.mjs', import.meta.url).href

/**
 * Runs the pipeline while its threads die: `thread` says which ('worker' or 'control'), `deaths` how often. Ends
 * when the pipeline does.
 */
export async function threadsDie({ store, thread, deaths, seed }) {
  const tokens = mkdtempSync(join(tmpdir(), 'tussock-deaths-'))
  try {
    const { said, code } = await runOnce({
      store,
      events: 1_000_000,
      rate: 250_000,
      kill: null,
      nodeOptions: ['--import', dyingThread],
      env: {
        DYING_THREAD: thread,
        DYING_TOKENS: tokens,
        DYING_COUNT: String(deaths),
        DYING_SEED: String(seed),
      },
    })
    const account = new Account()
    account.add(said)
    const result = last(said, 'result')
    const count = (kind) => said.filter((message) => message.kind === kind).length
    return {
      code,
      deaths: readdirSync(tokens).length,
      recovering: count('recovering'),
      recovered: count('recovered'),
      failures: [...new Set(said.flatMap(({ code: failure }) => failure ?? []))],
      marks: result?.marks ?? null,
      inserted: account.inserted,
      right:
        result !== undefined &&
        account.marksRight(result) &&
        result.q3 === KNOWN.q3 &&
        result.q5w === KNOWN.q5w,
    }
  } finally {
    rmSync(tokens, { recursive: true, force: true })
  }
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
