/**
 * An environment whose time is virtual and whose chance is seeded: timers fire in order, at once, as
 * soon as nothing else is to do. Tests that wait an hour take a millisecond.
 */
import type { Env, Files, Timer } from '../../src/common/env.ts'
import { mix32 } from '../../src/common/hash.ts'

interface Scheduled {
  readonly atMs: number
  readonly order: number
  readonly callback: () => void
}

export class VirtualEnv implements Env {
  /** Unix ms at the start. */
  private readonly startMs = Date.UTC(2026, 0, 1)
  private elapsedMs = 0
  private order = 0
  private state: number
  private scheduled: Scheduled[] = []
  private pumping = false
  /** Added to `nowMs` only, as a clock set wrongly. */
  skewMs = 0

  constructor(seed = 1) {
    this.state = seed
  }

  /** Taken from a real environment where a test needs files. */
  files: Files = new Proxy({} as Files, {
    get(_, name) {
      throw new TypeError(`the virtual environment has no files: ${String(name)}`)
    },
  })

  nowMs(): number {
    return this.startMs + Math.floor(this.elapsedMs) + this.skewMs
  }

  monotonicMs(): number {
    return this.elapsedMs
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const entry = { atMs: this.elapsedMs + Math.max(0, delayMs), order: this.order++, callback }
    this.scheduled.push(entry)
    this.pump()
    return {
      cancel: () => {
        this.scheduled = this.scheduled.filter((other) => other !== entry)
      },
    }
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.setTimer(delayMs, resolve))
  }

  turn(): Promise<void> {
    return this.sleep(0)
  }

  random(): number {
    this.state = (this.state + 0x9e3779b9) >>> 0
    return mix32(this.state) / 2 ** 32
  }

  token(): string {
    let token = ''
    for (let i = 0; i < 4; i++) {
      token += Math.floor(this.random() * 2 ** 32)
        .toString(16)
        .padStart(8, '0')
    }
    return token
  }

  /** Fires one timer per turn of the event loop, so that all promises between two timers settle. */
  private pump(): void {
    if (this.pumping) return
    this.pumping = true
    setImmediate(() => {
      this.pumping = false
      const next = this.takeEarliest()
      if (next === null) return
      this.elapsedMs = Math.max(this.elapsedMs, next.atMs)
      next.callback()
      if (this.scheduled.length > 0) this.pump()
    })
  }

  private takeEarliest(): Scheduled | null {
    let earliest: Scheduled | null = null
    for (const entry of this.scheduled) {
      const sooner =
        earliest === null ||
        entry.atMs < earliest.atMs ||
        (entry.atMs === earliest.atMs && entry.order < earliest.order)
      if (sooner) earliest = entry
    }
    if (earliest !== null) this.scheduled = this.scheduled.filter((other) => other !== earliest)
    return earliest
  }
}
