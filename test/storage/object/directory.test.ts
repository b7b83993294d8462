import { fork } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildSync } from 'esbuild'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { nodeEnv } from '../../../src/common/node-env.ts'
import { DirectoryObjectStore } from '../../../src/storage/object/directory.ts'
import { PowerLossFiles } from '../../common/power-loss-files.ts'
import { VirtualEnv } from '../../common/virtual-env.ts'
import { pattern } from '../../conformance/object-store.ts'

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'directory-store-'))
})
afterEach(() => rm(folder, { recursive: true }))

async function code(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'did not reject',
    (error) => error.code,
  )
}

describe('power loss', () => {
  type Step = readonly ['put' | 'create' | 'delete', key: string, seed: number]
  const step: fc.Arbitrary<Step> = fc.tuple(
    fc.constantFrom('put', 'create', 'delete'),
    fc.constantFrom('a', 'log/1', 'log/2', 'x/y/z', 'x/y/w'),
    fc.nat(200),
  )
  const bodyOf = (seed: number) => pattern(20 + seed, seed)

  /** Runs the steps until the power fails; returns which ended, in order. */
  async function run(files: PowerLossFiles, env: VirtualEnv, steps: readonly Step[]) {
    env.files = files
    const acknowledged: { step: Step; result: string }[] = []
    let started = 0
    const work = async () => {
      const store = await DirectoryObjectStore.open('/data/db', env)
      for (const [kind, key, seed] of steps) {
        started++
        let result = 'done'
        if (kind === 'put') await store.put(key, bodyOf(seed))
        else if (kind === 'create') result = await store.putIfAbsent(key, bodyOf(seed))
        else await store.delete([key])
        acknowledged.push({ step: [kind, key, seed], result })
      }
    }
    await Promise.race([work(), new Promise((resolve) => setImmediate(resolve))])
    return { acknowledged, unfinished: started > acknowledged.length ? steps[started - 1] : null }
  }

  test('what was answered is there, whole; nothing is there in part', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 1, maxLength: 8 }),
        fc.nat(120),
        fc.nat(),
        async (steps, stopAt, seed) => {
          const env = new VirtualEnv(seed)
          const files = new PowerLossFiles(() => env.random())
          files.stopAt = stopAt
          const { acknowledged, unfinished } = await run(files, env, steps)
          files.powerLoss()
          // Contents that each key may have: deletes are not fsynced, so the last body may come back.
          const allowed = new Map<string, (number | null)[]>()
          for (const { step: done, result } of acknowledged) {
            const [kind, key, bodySeed] = done
            if (kind === 'delete') allowed.set(key, [...(allowed.get(key) ?? []), null])
            else if (kind === 'put' || result === 'created') allowed.set(key, [bodySeed])
            // `exists`: the name is durable from here on, with what it had.
            else
              allowed.set(
                key,
                (allowed.get(key) ?? []).filter((body) => body !== null),
              )
          }
          if (unfinished !== null) {
            const [kind, key, bodySeed] = unfinished
            const before = allowed.get(key) ?? [null]
            allowed.set(key, [...before, kind === 'delete' ? null : bodySeed])
          }
          const store = await DirectoryObjectStore.open('/data/db', env)
          for (const key of ['a', 'log/1', 'log/2', 'x/y/z', 'x/y/w']) {
            const body = await store.get(key)
            const possible = (allowed.get(key) ?? [null]).map((bodySeed) =>
              bodySeed === null ? null : bodyOf(bodySeed),
            )
            expect(possible).toContainEqual(body)
          }
        },
      ),
      { numRuns: 400 },
    )
  })
})

describe('other processes', () => {
  test('of many processes that create one name, one does', async () => {
    // Node 20 cannot run the source itself.
    const program = join(folder, 'create-race.mjs')
    buildSync({
      entryPoints: [join(import.meta.dirname, 'create-race.ts')],
      outfile: program,
      bundle: true,
      platform: 'node',
      format: 'esm',
    })
    const count = 4
    const names = 50
    const runs = Array.from({ length: count }, (_, i) => {
      const child = fork(program, [join(folder, 'db'), String(i), String(names)])
      return new Promise<number[]>((resolve, reject) => {
        child.on('message', (created: number[]) => resolve(created))
        child.on('exit', (status) => status !== 0 && reject(new TypeError(`status ${status}`)))
      })
    })
    const created = (await Promise.all(runs)).flat().sort((a, b) => a - b)
    expect(created).toEqual(Array.from({ length: names }, (_, i) => i))
  })

  test('what a crashed writer left is swept when it is old, and never listed', async () => {
    const old = join(folder, '.tmp', 'old')
    const fresh = join(folder, '.tmp', 'fresh')
    await mkdir(join(folder, '.tmp'))
    await writeFile(old, 'x')
    await writeFile(fresh, 'x')
    const env = nodeEnv()
    const twoHoursAgo = env.nowMs() / 1000 - 7200
    await utimes(old, twoHoursAgo, twoHoursAgo)
    const store = await DirectoryObjectStore.open(folder, env)
    expect(await readdir(join(folder, '.tmp'))).toEqual(['fresh'])
    for await (const page of store.list('')) expect(page).toEqual([])
  })

  test('a folder that another process removed is made again', async () => {
    const store = await DirectoryObjectStore.open(join(folder, 'db'), nodeEnv())
    await store.put('a/b', pattern(1))
    await rm(join(folder, 'db'), { recursive: true })
    expect(await code(store.put('a/b', pattern(1)))).toBe('STORE_UNAVAILABLE')
    await store.put('a/b', pattern(1))
    expect(await store.get('a/b')).toEqual(pattern(1))
  })
})

describe('what is left behind and what goes wrong', () => {
  test('opening and reading make nothing', async () => {
    const store = await DirectoryObjectStore.open(join(folder, 'none'), nodeEnv())
    expect(await store.get('a')).toBeNull()
    for await (const page of store.list('')) expect(page).toEqual([])
    await store.delete(['a'])
    expect(await readdir(folder)).toEqual([])
  })

  test('no temporary file is left, whatever happened', async () => {
    const store = await DirectoryObjectStore.open(folder, nodeEnv())
    await store.put('a', pattern(1))
    await store.putIfAbsent('a', pattern(1))
    // A folder has the object's name: neither link nor rename can succeed.
    await mkdir(join(folder, 'taken'))
    expect(await code(store.put('taken', pattern(1)))).not.toBe('did not reject')
    expect(await readdir(join(folder, '.tmp'))).toEqual([])
  })

  test('a file where the folder should be', async () => {
    await writeFile(join(folder, 'file'), 'x')
    const store = await DirectoryObjectStore.open(join(folder, 'file'), nodeEnv())
    expect(await code(store.put('a', pattern(1)))).toBe('STORE_URL_INVALID')
  })

  test.each([
    ['ENOSPC', 'STORE_UNAVAILABLE', 'make room'],
    ['EIO', 'STORE_UNAVAILABLE', 'Check the disk'],
    ['EACCES', 'STORE_ACCESS_DENIED', 'must be allowed'],
    ['EROFS', 'STORE_ACCESS_DENIED', 'read-only'],
    ['ENOTSUP', 'STORE_URL_INVALID', 'hard links'],
  ])('%s is %s and says what to do', async (systemCode, expected, hint) => {
    const env = nodeEnv()
    const failed = Object.assign(new TypeError(`${systemCode}: no`), { code: systemCode })
    const broken = { ...env, files: { ...env.files, createFile: () => Promise.reject(failed) } }
    const store = await DirectoryObjectStore.open(folder, broken)
    await expect(store.put('a', pattern(1))).rejects.toMatchObject({
      code: expected,
      context: { systemCode, key: 'a' },
      message: expect.stringContaining(hint),
    })
  })

  test('an object that is replaced while it is read is one of the two, whole', async () => {
    const env = nodeEnv()
    for (const newLength of [50, 100, 150]) {
      const files = { ...env.files }
      const store = await DirectoryObjectStore.open(folder, { ...env, files })
      await store.put('a', pattern(100))
      files.stat = async (path) => {
        const before = await env.files.stat(path)
        files.stat = env.files.stat
        await store.put('a', pattern(newLength, 9))
        return before
      }
      expect(await store.get('a')).toEqual(pattern(newLength, 9))
    }
  })
})
