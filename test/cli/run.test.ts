/** `tussock run`: a pipeline that is asked to end goes on where it was. */
import { join } from 'node:path'
import { open } from 'tussock'
import { expect, test } from 'vitest'
import { type Child, type Ended, ended, Shell } from './command.ts'

const shell = new Shell()

const pipeline = (events: string): string => `
CREATE SOURCE bid (auction BIGINT, price BIGINT)
  WITH (connector = 'nexmark', nexmark.table.type = 'Bid', ${events});
CREATE MATERIALIZED VIEW n AS SELECT count(*) AS n FROM bid`

const lines = (out: string): Record<string, unknown>[] =>
  out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))

/** What a reader counts, as soon as it is above a number: then the pipeline has committed more. */
async function count(store: string, above: number): Promise<number> {
  const db = await open(join(shell.folder, store), { mode: 'reader' })
  try {
    for (;;) {
      const { rows } = await db.query('SELECT n FROM n')
      if (Number(rows[0]['n']) > above) return Number(rows[0]['n'])
    }
  } finally {
    await db.close()
  }
}

/** A pipeline under way, and its end. */
async function running(words: readonly string[]): Promise<{ child: Child; end: Promise<Ended> }> {
  const child = shell.start([...words, '--json'])
  child.stdin.end()
  const end = ended(child)
  await new Promise<void>((resolve) => {
    child.stdout.on('data', (text: string) => {
      if (text.includes('"running"')) resolve()
    })
  })
  return { child, end }
}

test('ends when done, with a summary; another run of it finds nothing to do', async () => {
  const file = shell.write('bounded.sql', pipeline("nexmark.event.num = '50000'"))
  const words = ['run', file, '--store', './bounded', '--exit-when-done']
  const first = await shell.run([...words, '--json'])
  expect(first.code).toBe(0)
  expect(lines(first.out).at(-1)).toMatchObject({ kind: 'end', why: 'done', sourceRows: 46_000 })
  expect(await count('bounded', 0)).toBe(46_000)
  const second = await shell.run(words)
  expect(second).toEqual({ code: 0, out: expect.stringMatching(/^ended \(done\)/), err: '' })
  expect(await count('bounded', 0)).toBe(46_000)
})

test('SIGTERM and SIGINT end it with a checkpoint; it goes on; changed, it is refused', async () => {
  const text = pipeline("nexmark.min.event.gap.in.ns = '20000'")
  const words = ['run', shell.write('endless.sql', text), '--store', './endless']
  let before = 0
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const { child, end } = await running(words)
    const seen = await count('endless', before)
    // As from npx, or `timeout`: the terminal's own, and the one handed on.
    child.kill(signal)
    child.kill('SIGTERM')
    const { code, out, err } = await end
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(lines(out)).toContainEqual(
      expect.objectContaining({ kind: 'end', why: expect.stringMatching(/^SIG(TERM|INT)$/) }),
    )
    before = await count('endless', 0)
    expect(before).toBeGreaterThanOrEqual(seen)
  }
  const changed = shell.write('changed.sql', text.replace('count(*)', 'max(price)'))
  const { code, err } = await shell.run(['run', changed, '--store', './endless'])
  expect(code).toBe(2)
  expect(err).toContain('42P07')
  expect(err).toContain(`\n${' '.repeat('line 4: CREATE MATERIALIZED VIEW '.length)}^\n`)
})

test('whoever is fenced says so: exit code 1, and the error as JSON', async () => {
  const text = pipeline("nexmark.min.event.gap.in.ns = '20000'")
  const { end } = await running(['run', shell.write('two.sql', text), '--store', './two'])
  await shell.run(['sql', '--store', './two', '-c', 'CREATE TABLE t (id BIGINT)'])
  const { code, out, err } = await end
  expect(code).toBe(1)
  expect(err).toContain('[FENCED]')
  const message = expect.stringContaining('another process')
  expect(lines(out).at(-1)).toMatchObject({
    kind: 'failed',
    error: { code: 'FENCED', kind: 'conflict', message },
  })
})

test('the demo without a terminal: lines of text', async () => {
  const { code, out } = await shell.run(['demo', '--events', '20000', '--events-per-second', '0'])
  expect(code).toBe(0)
  expect(out).toMatch(/^events|time .*events/m)
  expect(out).toContain('the same rows')
  expect(out).not.toContain('\u001b')
})
