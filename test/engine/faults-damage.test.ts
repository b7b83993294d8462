/**
 * Stores that are damaged, or from the future: each fault is a typed error that names the object, `verify` finds it,
 * and with the right bytes back nothing is lost.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { crc32 } from 'node:zlib'
import { type Database, EngineError, open } from 'tussock'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { nodeEnv } from '../../src/common/node-env.ts'
import { openObjectStore } from '../../src/storage/object/open.ts'
import { sstKey } from '../../src/storage/sst-name.ts'
import { readStore } from '../../src/storage/verifier.ts'
import type { Group, SstMeta, Version } from '../../src/storage/version/version.ts'

const main = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))
const OPTIONS = { parallelism: 2, storage: { blockBytes: 4096, compaction: false } }
const ROWS = 5000
const rows = Array.from({ length: ROWS }, (_, i) => ({
  id: BigInt(i),
  k: BigInt(i % 100),
  v: `value ${i}`,
}))

let root = ''
/** A sound store, copied for each test. */
let sound = ''
let version: Version
let newestCommit = ''
const cleanups: (() => Promise<void> | void)[] = []

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'tussock-damage-'))
  sound = join(root, 'sound')
  const db = await open(sound, OPTIONS)
  await db.execute(`CREATE TABLE t (id BIGINT PRIMARY KEY, k BIGINT, v VARCHAR);
    CREATE MATERIALIZED VIEW g AS SELECT k, count(*) AS n FROM t GROUP BY k;`)
  await db.table('t').insert(rows)
  await db.flush()
  await db.close()
  const objects = await openObjectStore(sound, nodeEnv())
  const recovered = await readStore(objects)
  version = recovered.version
  newestCommit = `commit/${String(recovered.last.number).padStart(20, '0')}`
  await objects.close()
})
afterAll(() => rmSync(root, { recursive: true, force: true }))
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

let copies = 0
function copy(): string {
  const path = join(root, `copy-${copies++}`)
  cpSync(sound, path, { recursive: true })
  return path
}

async function opened(path: string): Promise<Database> {
  const db = await open(path, OPTIONS)
  cleanups.push(() => db.close())
  return db
}

const sstOf = (group: Group): SstMeta => version.groups[group].subLevels[0].ssts[0]

const failure = async (work: Promise<unknown>): Promise<EngineError> => {
  try {
    await work
  } catch (error) {
    if (error instanceof EngineError) return error
    throw error
  }
  throw new EngineError('INTERNAL', 'it should have failed')
}

type Damage = (bytes: Buffer) => Buffer

const flip =
  (at: (bytes: Buffer) => number): Damage =>
  (bytes) => {
    const damaged = Buffer.from(bytes)
    damaged[at(bytes)] ^= 0x10
    return damaged
  }
const cut =
  (share: number): Damage =>
  (bytes) =>
    bytes.subarray(0, Math.floor(bytes.length * share))

function damage(store: string, key: string, how: Damage): () => void {
  const path = join(store, key)
  const bytes = readFileSync(path)
  writeFileSync(path, how(bytes))
  return () => writeFileSync(path, bytes)
}

/** Exit code and output of `tussock verify`. */
function verify(store: string, ...words: string[]): { code: number | null; text: string } {
  const run = spawnSync(process.execPath, [main, 'verify', '--store', store, ...words], {
    encoding: 'utf8',
    timeout: 30_000,
  })
  return { code: run.status, text: run.stdout + run.stderr }
}

const readAll = async (db: Database): Promise<[number, number]> => {
  const { rows: found } = await db.query('SELECT count(*) AS n, sum(id) AS total FROM t')
  return [Number(found[0]['n']), Number(found[0]['total'])]
}
const ALL = [ROWS, (ROWS * (ROWS - 1)) / 2]

test('the store is sound before', () => {
  expect(verify(sound, '--deep')).toMatchObject({ code: 0 })
})

describe('commits', () => {
  test.each<[string, Damage]>([
    ['a flipped bit in its body', flip((bytes) => bytes.length >> 1)],
    ['a flipped bit in its header', flip(() => 9)],
    ['a flipped bit in its magic', flip(() => 0)],
    ['a flipped bit in its checksum', flip((bytes) => bytes.length - 1)],
    ['its second half missing', cut(0.5)],
    ['nothing left of it', cut(0)],
  ])('the newest with %s is refused at open', async (_name, how) => {
    const store = copy()
    const heal = damage(store, newestCommit, how)
    const error = await failure(open(store, OPTIONS))
    expect([error.code, error.kind, error.context['object']]).toEqual([
      'CORRUPTION',
      'corruption',
      newestCommit,
    ])
    const { code, text } = verify(store)
    expect([code, text.includes(newestCommit)]).toEqual([1, true])
    heal()
    expect(await readAll(await opened(store))).toEqual(ALL)
  })

  test('of a newer format are refused by its name, and nothing is written', async () => {
    const store = copy()
    const heal = damage(store, newestCommit, (bytes) => {
      const newer = Buffer.from(bytes)
      newer.writeUInt16LE(7, 8)
      newer.writeUInt32LE(crc32(newer.subarray(0, -4)), newer.length - 4)
      return newer
    })
    const error = await failure(open(store, OPTIONS))
    expect([error.code, error.kind]).toEqual(['STORE_FORMAT_NEWER', 'invalid'])
    expect(error.context).toMatchObject({ object: newestCommit, found: '7.0', supported: '1.0' })
    const { code, text } = verify(store, '--deep')
    expect([code, text.includes('7.0')]).toEqual([2, true])
    heal()
    const db = await opened(store)
    expect(await readAll(db)).toEqual(ALL)
    // The refused opening took no generation.
    expect((await db.metrics()).generation).toBe(version.generation + 1)
  })

  test('one in the middle that is missing is a hole, not an end', async () => {
    const store = copy()
    await (await open(store, OPTIONS)).close()
    rmSync(join(store, newestCommit))
    const error = await failure(open(store, OPTIONS))
    expect([error.code, error.kind]).toEqual(['CORRUPTION', 'corruption'])
  })
})

describe('SSTs', () => {
  const inFirstBlock: Damage = flip(() => 100)
  const inTail = (group: Group): Damage => flip(() => sstOf(group).tailOffset + 20)

  test.each<[string, (group: Group) => Damage, 'shallow' | 'deep', string]>([
    ['a flipped bit in a block', () => inFirstBlock, 'deep', 'CORRUPTION'],
    ['a flipped bit in its tail', inTail, 'shallow', 'CORRUPTION'],
    [
      'a flipped bit in its last byte',
      () => flip((bytes) => bytes.length - 1),
      'shallow',
      'CORRUPTION',
    ],
    ['its second half missing', () => cut(0.5), 'shallow', 'CORRUPTION'],
    ['one byte missing', () => (bytes) => bytes.subarray(0, -1), 'shallow', 'CORRUPTION'],
    [
      'the bytes of another one',
      () => () => readFileSync(join(sound, sstKey(sstOf('state').sstId))),
      'shallow',
      'CORRUPTION',
    ],
  ])('of a table with %s', async (_name, how, depth, wanted) => {
    const store = copy()
    const sst = sstOf('materialized')
    const object = sstKey(sst.sstId)
    const heal = damage(store, object, how('materialized'))
    const { code, text } = verify(store, ...(depth === 'deep' ? ['--deep'] : []))
    expect([code, text.includes(`BAD ${object}`)]).toEqual([1, true])
    const db = await opened(store)
    const error = await failure(readAll(db))
    expect([error.code, error.context['object']]).toEqual([wanted, object])
    // The same error again, not wrong rows out of some cache.
    expect((await failure(readAll(db))).code).toBe(wanted)
    // Whoever needs none of it goes on.
    await db.execute(
      'CREATE TABLE other (id BIGINT PRIMARY KEY); INSERT INTO other VALUES (1); FLUSH',
    )
    expect((await db.query('SELECT count(*) AS n FROM other')).rows).toEqual([{ n: 1n }])
    heal()
    expect(await readAll(db)).toEqual(ALL)
  })

  test('of a table, missing', async () => {
    const store = copy()
    const object = sstKey(sstOf('materialized').sstId)
    const bytes = readFileSync(join(store, object))
    rmSync(join(store, object))
    expect(verify(store)).toMatchObject({ code: 1 })
    const db = await opened(store)
    const error = await failure(readAll(db))
    expect([error.code, error.context['object']]).toEqual(['OBJECT_MISSING', object])
    writeFileSync(join(store, object), bytes)
    expect(await readAll(db)).toEqual(ALL)
  })

  test('of a newer format are refused by its name', async () => {
    const store = copy()
    const { sstId, tailOffset } = sstOf('materialized')
    damage(store, sstKey(sstId), (bytes) => {
      const newer = Buffer.from(bytes)
      newer.writeUInt16LE(9, newer.length - 16)
      newer.writeUInt32LE(crc32(newer.subarray(tailOffset, -4)), newer.length - 4)
      return newer
    })
    const error = await failure(readAll(await opened(store)))
    expect([error.code, error.context['object']]).toEqual(['STORE_FORMAT_NEWER', sstKey(sstId)])
  })

  test("of an operator's state stop the pipeline with their name; committed rows can still be read", async () => {
    const store = copy()
    const object = sstKey(sstOf('state').sstId)
    const heal = damage(store, object, inFirstBlock)
    const db = await open(store, OPTIONS)
    cleanups.push(() => db.close())
    const error = await failure(db.execute(`INSERT INTO t VALUES (${ROWS}, 1, 'x'); FLUSH`))
    expect([error.code, error.kind]).toEqual(['PIPELINE_FAILED', 'closed'])
    const cause = error.cause as EngineError
    expect([cause.code, cause.context['object']]).toEqual(['CORRUPTION', object])
    expect(await readAll(db)).toEqual(ALL)
    await db.close()
    heal()
    const again = await opened(store)
    await again.execute(`INSERT INTO t VALUES (${ROWS}, 1, 'x'); FLUSH`)
    const { rows: found } = await again.query('SELECT n FROM g WHERE k = 1')
    expect(found).toEqual([{ n: 51n }])
  }, 60_000)
})

describe('places that are no store', () => {
  test('a file', async () => {
    const path = join(root, 'file')
    writeFileSync(path, 'no store')
    const error = await failure(open(path, OPTIONS))
    expect(error.kind).not.toBe('internal')
    expect(readFileSync(path, 'utf8')).toBe('no store')
  })

  test('a folder of something else is left as it is', async () => {
    const path = join(root, 'something')
    cpSync(join(sound, 'sst'), join(path, 'photos'), { recursive: true })
    expect(verify(path)).toMatchObject({ code: 2 })
    const db = await opened(path)
    await db.execute('CREATE TABLE t (id BIGINT PRIMARY KEY)')
    expect(spawnSync('diff', ['-r', join(sound, 'sst'), join(path, 'photos')]).status).toBe(0)
  })
})
