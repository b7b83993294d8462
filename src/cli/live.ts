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

/** One Ctrl-C may come twice: from the terminal, and from npx or a supervisor that hands it on. */
const SAME_MS = 1000

/** Calls `stop` when the process is asked to end; asked again later, it ends at once with exit code 1. */
export function onStop(stop: (signal: string) => void, atOnce: () => void): () => void {
  const signals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const
  let askedMs: number | null = null
  const listener = (signal: string): void => {
    if (askedMs === null) {
      askedMs = performance.now()
      stop(signal)
    } else if (performance.now() - askedMs > SAME_MS) {
      atOnce()
      process.exit(1)
    }
  }
  for (const signal of signals) process.on(signal, listener)
  return () => {
    for (const signal of signals) process.off(signal, listener)
  }
}
