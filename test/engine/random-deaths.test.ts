/** Threads that die: what was accepted comes back, and who waits for it is served. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const file = (name: string): string => fileURLToPath(new URL(`../soak/${name}`, import.meta.url))
const importing = ['--import', new URL('../soak/dying-workers.mjs', import.meta.url).href]

/** The last line that the script prints. */
async function run(script: string, words: readonly string[] = []): Promise<unknown> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [...importing, file(script), ...words],
    { timeout: 50_000 },
  )
  return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '')
}

test('a durable insert whose checkpoint dies with a worker is asked for again', async () => {
  expect(await run('deaths.mjs')).toEqual({ rows: 16, wanted: 16 })
})
