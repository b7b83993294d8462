/** Runs the built command as a user's shell does: own process, own pipes, no terminal. */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { afterAll } from 'vitest'

const MAIN = join(import.meta.dirname, '..', '..', 'dist', 'src', 'cli', 'main.js')

export interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** A folder of this test file, and the command run in it. */
export class Shell {
  readonly folder = mkdtempSync(join(tmpdir(), 'tussock-cli-'))

  constructor() {
    afterAll(() => rmSync(this.folder, { recursive: true, force: true }))
  }

  write(name: string, text: string): string {
    writeFileSync(join(this.folder, name), text)
    return name
  }

  /** @param input what stands in the pipe */
  async run(words: readonly string[], input = '', env: NodeJS.ProcessEnv = {}): Promise<Ended> {
    const child = this.start(words, env)
    child.stdin.on('error', () => undefined) // It may have ended without reading.
    child.stdin.end(input)
    return await ended(child)
  }

  start(words: readonly string[], env: NodeJS.ProcessEnv = {}): Child {
    const { FORCE_COLOR: _, NO_COLOR: __, ...inherited } = process.env
    return spawn(process.execPath, [MAIN, ...words], {
      cwd: this.folder,
      env: { ...inherited, ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
  }
}

export type Child = ChildProcessByStdio<Writable, Readable, Readable>

export function ended(child: Child): Promise<Ended> {
  let out = ''
  let err = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, out, err }))
  })
}
