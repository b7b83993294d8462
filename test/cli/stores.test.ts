/** `tussock inspect` and `tussock verify` on sound, damaged and absent stores. */
import { cpSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { type Ended, Shell } from './command.ts'

const shell = new Shell()

beforeAll(async () => {
  const script = 'CREATE TABLE t (id BIGINT PRIMARY KEY); INSERT INTO t VALUES (1), (2); FLUSH'
  expect(await shell.run(['sql', '--store', './data'], script)).toMatchObject({ code: 0 })
})

/** A copy of the store with a hole in it. @param which of the objects whose names end so; the last */
function damaged(name: string, which: string, damage: (path: string) => void): string {
  const folder = join(shell.folder, name)
  cpSync(join(shell.folder, 'data'), folder, { recursive: true })
  const objects = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  const found = objects.filter((path) => path.includes(which)).sort()
  damage(join(folder, found[found.length - 1]))
  return `./${name}`
}

function flip(path: string): void {
  const bytes = readFileSync(path)
  bytes[10] ^= 1
  writeFileSync(path, bytes)
}

const verify = (store: string, ...words: readonly string[]): Promise<Ended> =>
  shell.run(['verify', '--store', store, ...words])

test.concurrent('a sound store', async () => {
  expect(await verify('./data', '--deep')).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^sound: epoch \d+, commit \d+, 1 SST, 1 block, 2 entries/),
  })
  const levels = await shell.run(['inspect', 'levels', '--store', './data', '--json'])
  expect(JSON.parse(levels.out)).toMatchObject([{ group: 'materialized', files: 1, entries: 2 }])
  const commits = await shell.run(['inspect', 'commits', '--store', './data', '--limit', '1'])
  expect(commits.out.trim().split('\n')).toHaveLength(3)
  const ssts = await shell.run(['inspect', 'sst', '--store', './data', '--json'])
  const [{ sst }] = JSON.parse(ssts.out)
  const one = await shell.run(['inspect', 'sst', sst, '--store', './data', '--json'])
  expect(JSON.parse(one.out)).toMatchObject({ sstId: sst, blocks: [{ block: 0, entries: 2 }] })
  expect(await shell.run(['inspect', 'sst', '9-9', '--store', './data'])).toMatchObject({ code: 2 })
})

test.concurrent('no store, and one that cannot be reached', async () => {
  for (const words of [['verify'], ['inspect', 'levels'], ['inspect', 'commits']]) {
    const { code, err } = await shell.run([...words, '--store', './nowhere'])
    expect(code).toBe(2)
    expect(err).toContain('no database at ./nowhere [STORE_NOT_FOUND]')
  }
})

describe('damage', () => {
  test.concurrent('a byte of a block: seen by --deep, and by who reads it', async () => {
    const store = damaged('flipped', '.sst', flip)
    expect(await verify(store)).toMatchObject({ code: 0 })
    const { code, out } = await verify(store, '--deep', '--json')
    expect(code).toBe(1)
    const { problems } = JSON.parse(out)
    expect(problems).toMatchObject([{ object: expect.stringMatching(/^sst\/.*\.sst$/) }])
    const read = await shell.run(['sql', '--store', store, '-c', 'SELECT * FROM t'])
    expect(read).toMatchObject({ code: 1, out: '', err: expect.stringContaining('[CORRUPTION]') })
  })

  test.concurrent('an SST cut short, or gone', async () => {
    const short = await verify(damaged('short', '.sst', (path) => truncateSync(path, 50)))
    expect(short).toMatchObject({
      code: 1,
      out: expect.stringMatching(/^BAD sst[\s\S]*1 problem:/),
    })
    const gone = await verify(damaged('gone', '.sst', (path) => rmSync(path)))
    expect(gone).toMatchObject({ code: 1, out: expect.stringContaining('is missing') })
  })

  test.concurrent('a commit: told as a problem, also as JSON', async () => {
    const store = damaged('commit', 'commit/', flip)
    const told = await verify(store)
    expect(told).toMatchObject({
      code: 1,
      out: expect.stringMatching(/^BAD commit\/\d+: .*checksum/),
    })
    const { problems } = JSON.parse((await verify(store, '--json')).out)
    expect(problems).toHaveLength(1)
    const { code, err } = await shell.run(['inspect', 'levels', '--store', store])
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining('[CORRUPTION]') })
  })
})
