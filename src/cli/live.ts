/** Progress on a terminal: lines that are drawn again over themselves, never wider than the window. */
import type { WriteStream } from 'node:tty'

const CLEAR_BELOW = '\u001b[J'

export class LiveLines {
  private readonly stream: WriteStream
  private drawn = 0

  constructor(stream: WriteStream) {
    this.stream = stream
  }

  draw(lines: readonly string[]): void {
    const width = (this.stream.columns ?? 80) - 1
    const text = lines.map((line) => `${line.slice(0, width)}\n`).join('')
    this.stream.write(this.back() + text)
    this.drawn = lines.length
  }

  /** Takes the lines away, so that other words may be written. */
  clear(): void {
    if (this.drawn > 0) this.stream.write(this.back())
    this.drawn = 0
  }

  private back(): string {
    return this.drawn === 0 ? '' : `\u001b[${this.drawn}A\r${CLEAR_BELOW}`
  }
}

/** Both ways to ask a command to end; the second time ends it at once. */
export function onStop(stop: (signal: string) => void, atOnce: () => void): () => void {
  const signals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const
  let asked = 0
  const listener = (signal: string): void => {
    if (++asked === 1) return stop(signal)
    atOnce()
    process.exit(1)
  }
  for (const signal of signals) process.on(signal, listener)
  return () => {
    for (const signal of signals) process.off(signal, listener)
  }
}
