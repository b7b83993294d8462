/**
 * Random workloads for some seconds, the same ones each time; longer ones and other seeds by
 * `node test/soak/random.mjs` and `node test/soak/kill.mjs`. Each runs in a process of its own, whose threads may
 * be told to die.
 */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const soak = (name: string): string => fileURLToPath(new URL(`../soak/${name}`, import.meta.url))
const MORTAL = ['--import', new URL('../soak/dying-workers.mjs', import.meta.url).href]

/** The last line that the script prints; what it prints before is the failure. */
async function run(words: readonly string[]): Promise<unknown> {
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (data) => {
    output += data
  })
  await new Promise((resolve) => child.on('close', resolve))
  const lines = output.trimEnd().split('\n')
  expect(lines.slice(0, -1).join('\n')).toBe('')
  return JSON.parse(lines.at(-1) ?? '')
}

test('views equal their queries and the mirror', async () => {
  const words = ['--scale', '1', '--seconds', '6', '--seed', '1', '--reduce', '20']
  expect(await run([soak('random.mjs'), ...words])).toMatchObject({ failed: false })
})

test('they do so when threads die', async () => {
  const words = ['--deaths', '--scale', '1', '--seconds', '4', '--seed', '1', '--reduce', '20']
  expect(await run([...MORTAL, soak('random.mjs'), ...words])).toMatchObject({ failed: false })
})

test('a process that is killed keeps what it acknowledged', async () => {
  const words = ['--seconds', '1', '--steps', '60', '--kills', '3']
  expect(await run([soak('kill.mjs'), ...words])).toMatchObject({ failed: false })
})

test('a durable insert whose checkpoint dies with a worker is asked for again', async () => {
  expect(await run([...MORTAL, soak('deaths.mjs')])).toEqual({ rows: 16, wanted: 16 })
})
