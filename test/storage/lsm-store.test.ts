import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Epoch, epoch, tableId } from '../../src/common/ids.ts'
import { InlineJobs } from '../../src/storage/job-pool.ts'
import { LsmStore } from '../../src/storage/lsm-store.ts'
import { FaultyObjectStore } from '../../src/storage/object/faulty.ts'
import { RetryingObjectStore } from '../../src/storage/object/retry.ts'
import { decodeBlock } from '../../src/storage/sst/block.ts'
import { SstTail } from '../../src/storage/sst/sst-reader.ts'
import { sstKey } from '../../src/storage/sst-name.ts'
import { eachSst } from '../../src/storage/version/version.ts'
import { type Changes, listed, TINY_STORE, World } from './store-fixture.ts'

const manual = { compactAutomatically: false }

async function code(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'done',
    (error) => error.code,
  )
}

describe('checkpoints', () => {
  test('one SST per group and one commit object, however many tables', async () => {
    const world = new World()
    const store = await world.open(undefined, { ...manual, sstBytes: 1e6 as never })
    const before = world.bucket.requests.put
    const result = await world.commit(store, 10, {
      '1/a': 'x',
      '2/a': 'y',
      '100/a': 'z',
      '101/b': 'w',
    })
    expect(world.bucket.requests.put - before).toBe(3)
    expect(world.sstKeys().length).toBe(2)
    expect(result.epoch).toBe(10)
    expect(listed(world.read(store.version, store.databaseId))).toEqual([
      '1/a=x',
      '100/a=z',
      '101/b=w',
      '2/a=y',
    ])
  })

  test('nothing changed: no commit and no request', async () => {
    const world = new World()
    const store = await world.open(undefined, manual)
    await world.commit(store, 10, { '1/a': 'x' })
    const before = { ...world.bucket.requests }
    const seen: number[] = []
    store.onVersion((delta) => seen.push(delta.versionId))
    const offsets = { '1/0': { position: 10 } }
    const result = await store.commit({ epoch: epoch(20), runs: [], offsets, catalog: undefined })
    expect(world.bucket.requests).toEqual(before)
    expect(result.epoch).toBe(10)
    expect(seen).toEqual([])
  })

  test('offsets or the catalog alone make a commit, of one object', async () => {
    const world = new World()
    const store = await world.open(undefined, manual)
    const before = world.bucket.requests.put
    await store.commit({ epoch: epoch(5), runs: [], offsets: { '1/0': 7 } })
    await store.commit({ epoch: epoch(6), runs: [], offsets: {}, catalog: { tables: ['t'] } })
    await store.commit({
      epoch: epoch(7),
      runs: [],
      offsets: { '1/0': null },
      catalog: { tables: ['t'] },
    })
    expect(world.bucket.requests.put - before).toBe(3)
    const again = await world.open(undefined, manual)
    expect(again.version.offsets).toEqual({})
    expect(again.version.catalog).toEqual({ tables: ['t'] })
    expect(again.committedEpoch).toBe(7)
  })

  test('overlapping checkpoints commit in order and give each its runs back', async () => {
    const world = new World()
    const store = await world.open(undefined, manual)
    const log: string[] = []
    store.onVersion((delta, runs) =>
      log.push(`${delta.committedEpoch}:${runs.map((run) => run.runId)}`),
    )
    let before: Epoch = epoch(0)
    const commits = [1, 2, 3, 4].map((at) => {
      const done = world.commit(store, at, { '1/a': `${at}`, [`1/${at}`]: 'v' }, before)
      before = epoch(at)
      return done
    })
    expect(store.uncommittedBytes).toBeGreaterThan(0)
    await Promise.all(commits)
    expect(log).toEqual(['1:0', '2:1', '3:2', '4:3'])
    expect(store.uncommittedBytes).toBe(0)
    expect(listed(world.read(store.version, store.databaseId))).toEqual(
      listed(world.attempted.get(epoch(4))?.rows ?? new Map()),
    )
  })

  test('a later checkpoint that is ready first waits for its turn', async () => {
    const world = new World()
    const jobs = new InlineJobs()
    const gates: (() => void)[] = []
    const store = await LsmStore.open({
      env: world.env,
      objects: world.bucket,
      jobs: {
        run: async (job) => {
          await new Promise<void>((resolve) => gates.push(resolve))
          return jobs.run(job)
        },
      },
      options: { ...TINY_STORE, ...manual },
    })
    const epochs: number[] = []
    store.onVersion((delta) => epochs.push(delta.committedEpoch))
    const first = world.commit(store, 1, { '1/a': 'old' })
    const second = world.commit(store, 2, { '1/a': 'new' }, epoch(1))
    gates[1]()
    await settle()
    expect(world.sstKeys().length).toBe(1)
    expect(epochs).toEqual([])
    gates[0]()
    await Promise.all([first, second])
    expect(epochs).toEqual([1, 2])
    expect(listed(world.read(store.version, store.databaseId))).toEqual(['1/a=new'])
  })

  test('a failed upload ends the store; what was acknowledged stays', async () => {
    const world = new World()
    const faulty = new FaultyObjectStore(world.bucket, world.env)
    const store = await world.open(faulty, manual)
    await world.commit(store, 1, { '1/a': 'x' })
    faulty.inject({ fault: 'drop-request', operation: 'put' })
    const first = world.commit(store, 2, { '1/a': 'y' })
    const second = world.commit(store, 3, { '1/a': 'z' }, epoch(2))
    expect(await code(first)).toBe('STORE_UNAVAILABLE')
    expect(await code(second)).toBe('STORE_UNAVAILABLE')
    expect(await code(store.commit({ epoch: epoch(4), runs: [], offsets: {} }))).toBe(
      'STORE_UNAVAILABLE',
    )
    expect(await code(store.vacuum())).toBe('STORE_UNAVAILABLE')
    expect(world.events.map((event) => event.kind)).toEqual(['storeFailed'])
    const again = await world.open()
    expect(again.committedEpoch).toBe(1)
  })
})

describe('vacuum', () => {
  test('spares what is uploaded but not committed yet (fault 18)', async () => {
    const world = new World()
    const faulty = new FaultyObjectStore(world.bucket, world.env, { delayMs: 1000 })
    const store = await world.open(faulty, manual)
    faulty.inject({ fault: 'delay', operation: 'put-if-absent', keyPrefix: 'commit/' })
    const commit = world.commit(store, 1, { '1/a': 'x', '100/b': 'y' })
    await settle()
    expect(world.sstKeys().length).toBe(2)
    expect((await store.vacuum()).deleted).toBe(0)
    await commit
    expect(listed(world.read(store.version, store.databaseId))).toEqual(['1/a=x', '100/b=y'])
    expect((await store.vacuum()).deleted).toBe(0)
  })

  test('leaves newer writers alone, and takes the orphans of older ones', async () => {
    const world = new World()
    const zombie = await world.open(undefined, manual)
    await world.commit(zombie, 1, { '1/a': 'x' })
    await world.bucket.put(sstKey('1-77'), new Uint8Array(3))
    const owner = await world.open(undefined, manual)
    await world.commit(owner, 2, { '1/b': 'y' })
    await world.bucket.put('sst/zz/not-ours', new Uint8Array(3))
    expect((await zombie.vacuum()).deleted).toBe(0)
    expect((await owner.vacuum()).deleted).toBe(1)
    expect(world.objects.has(sstKey('1-77'))).toBe(false)
    expect(world.objects.has('sst/zz/not-ours')).toBe(true)
    expect(listed(world.read(owner.version, owner.databaseId))).toEqual(['1/a=x', '1/b=y'])
  })

  test('waits for the version that each thread has reached, and for the age asked for', async () => {
    const world = new World()
    const store = await world.open(undefined, { ...manual, vacuumMinAgeMs: 500 })
    await world.commit(store, 1, { '1/a': 'x' })
    await world.commit(store, 2, { '1/a': 'y' })
    const old = store.version
    store.threadApplied('worker-0', old.versionId)
    await store.compact()
    expect((await store.vacuum()).deleted).toBe(0)
    store.threadApplied('worker-0', store.version.versionId)
    expect((await store.vacuum()).deleted).toBe(0)
    await world.env.sleep(600)
    // The store's clock is known by what it stamps.
    await world.commit(store, 3, { '1/b': 'z' })
    expect((await store.vacuum()).deleted).toBe(2)
    expect(listed(world.read(store.version, store.databaseId))).toEqual(['1/a=y', '1/b=z'])
  })
})

describe('commit log', () => {
  test('the second opening fences the first (fault 11, 13)', async () => {
    const world = new World()
    const first = await world.open(undefined, manual)
    await world.commit(first, 1, { '1/a': 'x' })
    const second = await world.open(undefined, manual)
    expect(second.generation).toBe(first.generation + 1)
    expect(await code(first.checkOwner())).toBe('FENCED')
    expect(await code(world.commit(first, 2, { '1/a': 'y' }))).toBe('FENCED')
    expect(await code(first.vacuum())).toBe('FENCED')
    await second.checkOwner()
    await world.commit(second, 3, { '1/a': 'z' })
    expect(listed(world.read(second.version, second.databaseId))).toEqual(['1/a=z'])
  })

  test('many openings at once: one survives (fault 13)', async () => {
    const world = new World()
    const stores = await Promise.all([1, 2, 3, 4, 5].map(() => world.open(undefined, manual)))
    expect(new Set(stores.map((store) => store.generation)).size).toBe(5)
    expect(new Set(stores.map((store) => store.databaseId)).size).toBe(1)
    const results: string[] = []
    for (const store of stores) results.push(await code(world.commit(store, 9, { '1/a': 'x' })))
    expect(results.filter((result) => result === 'done').length).toBe(1)
    expect(results.filter((result) => result === 'FENCED').length).toBe(4)
  })

  test('lost acknowledgements, duplicates and conflicts are not losses (faults 3, 5, 6)', async () => {
    for (const fault of [
      'drop-acknowledgement',
      'duplicate',
      'conflict',
      'drop-request',
    ] as const) {
      const world = new World()
      const faulty = new FaultyObjectStore(world.bucket, world.env, { conflictCount: 3 })
      const retrying = new RetryingObjectStore(faulty, world.env)
      faulty.inject({ fault, operation: 'put-if-absent', count: 1 })
      const store = await world.open(retrying, manual)
      faulty.inject({ fault, operation: 'put-if-absent', keyPrefix: 'commit/' })
      await world.commit(store, 1, { '1/a': 'x' })
      await world.commit(store, 2, { '1/a': 'y' })
      expect(store.version.versionId, fault).toBe(3)
      expect(listed(world.read(store.version, store.databaseId))).toEqual(['1/a=y'])
    }
  })

  test('a late commit of a dead writer loses against the next opening (fault 4)', async () => {
    const world = new World()
    const faulty = new FaultyObjectStore(world.bucket, world.env, { lateMs: null })
    const first = await world.open(faulty, manual)
    await world.commit(first, 1, { '1/a': 'x' })
    faulty.inject({ fault: 'land-late', operation: 'put-if-absent' })
    expect(await code(world.commit(first, 2, { '1/a': 'late' }))).toBe('STORE_TIMEOUT')
    const second = await world.open(undefined, manual)
    await faulty.landLate()
    await world.commit(second, 3, { '1/b': 'z' })
    const third = await world.open(undefined, manual)
    expect(listed(world.read(third.version, third.databaseId))).toEqual(['1/a=x', '1/b=z'])
  })

  test('a zombie in a vacuumed slot is told by the boundary (fault 12)', async () => {
    const world = new World()
    const zombie = await world.open(undefined, manual)
    await world.commit(zombie, 1, { '1/a': 'x' })
    const owner = await world.open(undefined, manual)
    for (let at = 2; at < 20; at++) await world.commit(owner, at, { '1/a': `${at}` })
    await owner.vacuum()
    const slot = 'commit/00000000000000000003'
    expect(world.objects.has(slot)).toBe(false)
    expect(await code(world.commit(zombie, 30, { '1/a': 'zombie' }, epoch(1)))).toBe('FENCED')
    // Its object lies in the free slot, and nobody ever follows it.
    expect(world.objects.has(slot)).toBe(true)
    const third = await world.open(undefined, manual)
    expect(listed(world.read(third.version, third.databaseId))).toEqual(['1/a=19'])
    await third.vacuum()
    expect(world.objects.has(slot)).toBe(false)
  })

  test('every flipped bit of a commit that is read refuses the opening (fault 24)', async () => {
    const world = new World()
    const store = await world.open(undefined, manual)
    for (let at = 1; at <= 5; at++) await world.commit(store, at, { '1/a': `${at}` })
    // Commit 4 carries the whole version, 5 and 6 are deltas.
    for (const number of [4, 5, 6]) {
      const key = `commit/0000000000000000000${number}`
      const object = world.objects.get(key)
      if (object === undefined) throw new Error(`${key} is missing`)
      for (let at = 0; at < object.body.length; at++) {
        const body = object.body.slice()
        body[at] ^= 1 << (at % 8)
        world.objects.set(key, { ...object, body })
        expect(await code(world.open(undefined, manual)), `${key} byte ${at}`).toBe('CORRUPTION')
      }
      world.objects.set(key, object)
    }
    expect(await code(world.open(undefined, manual))).toBe('done')
  })

  test('opening is short after many commits', async () => {
    const world = new World()
    const store = await world.open(undefined, { ...manual, snapshotEvery: 100 })
    for (let at = 1; at < 1550; at++) {
      await store.commit({ epoch: epoch(at), runs: [], offsets: { '1/0': at } })
    }
    const before = world.bucket.requests.get
    const again = await world.open(undefined, { ...manual, snapshotEvery: 100 })
    expect(again.version.offsets).toEqual({ '1/0': 1549 })
    expect(world.bucket.requests.get - before).toBeLessThan(75)
  })
})

describe('fetch', () => {
  async function built(options = {}) {
    const world = new World()
    const faulty = new FaultyObjectStore(world.bucket, world.env)
    const inserted: string[] = []
    const evicted: string[] = []
    const sizes = { ...TINY_STORE, sstBytes: 1e6 as never, ...manual, ...options }
    const changes: Record<string, string> = {}
    for (let i = 0; i < 40; i++) changes[`1/key${i}`] = `value ${i}`
    await world.commit(await world.open(undefined, sizes), 1, changes)
    // Another process, which has nothing in memory.
    const store = await LsmStore.open({
      env: world.env,
      objects: faulty,
      jobs: new InlineJobs(),
      options: sizes,
      cache: {
        insert: (sstId, blockIndex) => inserted.push(`${sstId}/${blockIndex}`),
        evictSst: (sstId) => evicted.push(sstId),
      },
    })
    const [sst] = eachSst(store.version)
    return { world, faulty, store, sst, inserted, evicted }
  }

  test('tail and blocks, adjacent ones in one GET, and shared by all who ask', async () => {
    const { world, store, sst, inserted } = await built()
    const before = world.bucket.requests.get
    const [one, two] = await Promise.all([
      store.fetch(sst, { tail: true, blocks: [4, 2, 3, 7] }),
      store.fetch(sst, { tail: true, blocks: [3, 7] }),
    ])
    // The tail, blocks 2 to 4, block 7.
    expect(world.bucket.requests.get - before).toBe(3)
    expect(one.blocks.map((block) => block.blockIndex)).toEqual([4, 2, 3, 7])
    expect(two.blocks[0].body).toEqual(one.blocks[2].body)
    expect(inserted.sort()).toEqual(['1-1/2', '1-1/3', '1-1/4', '1-1/7'])
    const object = world.objects.get(sstKey(sst.sstId))?.body ?? new Uint8Array()
    const tail = SstTail.parse(sst, one.tail ?? new Uint8Array(), store.databaseId)
    const offset = tail.blockOffset(7)
    const stored = object.subarray(offset, offset + tail.blockLength(7))
    expect(one.blocks[3].body).toEqual(decodeBlock(stored, { object: '', offset }).slice())
    expect(one.tail?.buffer).toBeInstanceOf(SharedArrayBuffer)
    await store.fetch(sst, { tail: true, blocks: [] })
    expect(world.bucket.requests.get - before).toBe(3)
  })

  test('a flipped bit is read once more, then reported (fault 22)', async () => {
    const { world, faulty, store, sst, evicted } = await built()
    faulty.inject({ fault: 'flip-bit', operation: 'get', count: 1 })
    await store.fetch(sst, { tail: true, blocks: [] })
    faulty.inject({ fault: 'flip-bit', operation: 'get', count: 1 })
    const { blocks } = await store.fetch(sst, { tail: false, blocks: [0] })
    expect(blocks[0].body.length).toBeGreaterThan(0)
    expect(evicted).toEqual([sst.sstId, sst.sstId])
    const object = world.objects.get(sstKey(sst.sstId))
    if (object === undefined) throw new Error('no object')
    object.body[3] ^= 1
    expect(await code(store.fetch(sst, { tail: false, blocks: [0] }))).toBe('CORRUPTION')
    // The store goes on: a damaged block is its readers' trouble.
    await world.commit(store, 2, { '1/z': 'z' })
  })

  test('a false 404 is asked again, a true one is an error (fault 44)', async () => {
    const { world, faulty, store, sst } = await built()
    faulty.inject({ fault: 'missing', operation: 'get', count: 2 })
    await store.fetch(sst, { tail: true, blocks: [1] })
    world.objects.delete(sstKey(sst.sstId))
    expect(await code(store.fetch(sst, { tail: false, blocks: [2] }))).toBe('OBJECT_MISSING')
  })

  test('another object in its place is never believed (fault 25)', async () => {
    const { world, store, sst } = await built()
    await world.commit(store, 2, { '1/other': 'x' })
    const other = [...eachSst(store.version)].find(({ sstId }) => sstId !== sst.sstId)
    const body = world.objects.get(sstKey(other?.sstId ?? ''))
    if (body === undefined) throw new Error('no other object')
    world.objects.set(sstKey(sst.sstId), body)
    expect(await code(store.fetch(sst, { tail: true, blocks: [] }))).toBe('CORRUPTION')
  })
})

describe('by itself', () => {
  test('what was just written is cached, and nobody reads it back', async () => {
    const world = new World()
    const cached = new Map<string, Uint8Array>()
    const store = await LsmStore.open({
      env: world.env,
      objects: world.bucket,
      jobs: new InlineJobs(),
      options: { ...TINY_STORE, ...manual },
      cache: {
        insert: (sstId, blockIndex, body) => cached.set(`${sstId}/${blockIndex}`, body.slice()),
        evictSst: () => undefined,
      },
    })
    await world.commit(store, 1, { '1/a': 'x', '1/b': 'y'.repeat(80), '1/c': 'z' })
    const before = world.bucket.requests.get
    for (const sst of eachSst(store.version)) {
      await store.fetch(sst, { tail: true, blocks: [] })
      expect(world.bucket.requests.get).toBe(before)
      const blocks = Array.from({ length: sst.blockCount }, (_, index) => index)
      for (const block of (await store.fetch(sst, { tail: false, blocks })).blocks) {
        expect(cached.get(`${sst.sstId}/${block.blockIndex}`)).toEqual(block.body)
      }
    }
  })

  test('vacuums after the first commit, then now and then', async () => {
    const world = new World()
    await world.bucket.put(sstKey('0-5'), new Uint8Array(3))
    const store = await world.open(undefined, { ...manual, vacuumEveryCommits: 3 })
    const listsAfter: number[] = []
    for (let at = 1; at <= 8; at++) {
      await world.commit(store, at, { '1/a': `${at}` })
      await store.vacuumIdle()
      listsAfter.push(world.bucket.requests.list)
    }
    expect(world.objects.has(sstKey('0-5'))).toBe(false)
    expect(listsAfter.map((count, i) => count > (listsAfter[i - 1] ?? 0))).toEqual([
      true,
      false,
      false,
      true,
      false,
      false,
      true,
      false,
    ])
  })

  test('tells pressure by sub-levels and by bytes', async () => {
    const world = new World()
    const store = await world.open(undefined, { ...manual, subLevelsSoft: 2, subLevelsHard: 3 })
    for (let at = 1; at <= 3; at++) await world.commit(store, at, { '1/a': `${at}` })
    expect(store.pressure).toBe('stop')
    await store.compact()
    expect(store.pressure).toBe('none')
    const told = world.events.flatMap((event) => (event.kind === 'pressure' ? event.pressure : []))
    expect(told).toEqual(['slow', 'stop', 'none'])
    const small = { sharedBufferSoftBytes: 10 as never, sharedBufferHardBytes: 40 as never }
    const other = await new World().open(undefined, { ...manual, ...small })
    const runs = world.runs(5, { '1/a': 'value' })
    const done = other.commit({ epoch: epoch(5), runs, offsets: {} })
    expect(other.pressure).toBe('slow')
    await done
    expect(other.pressure).toBe('none')
  })
})

describe('snapshots and compaction', () => {
  test('versions 5, 4, 3 of a key, a reader at 4, a compaction', async () => {
    const world = new World()
    const store = await world.open(undefined, manual)
    await world.commit(store, 3, { '1/k': 'three' })
    await world.commit(store, 4, { '1/k': 'four' })
    const pin = store.pin()
    await world.commit(store, 5, { '1/k': 'five' })
    await store.compact()
    expect(entryCount(store)).toBe(2)
    expect(listed(world.read(store.version, store.databaseId, epoch(4)))).toEqual(['1/k=four'])
    expect(listed(world.read(store.version, store.databaseId))).toEqual(['1/k=five'])
    expect(store.version.safeEpoch).toBe(4)
    // The reader's own version keeps its files through a vacuum.
    await store.vacuum()
    expect(listed(world.read(pin.version, store.databaseId, pin.epoch))).toEqual(['1/k=four'])
    pin.release()
    await world.commit(store, 6, { '2/other': 'row' })
    await store.compact()
    expect(entryCount(store)).toBe(2)
    expect(await code(Promise.resolve().then(() => store.pin(epoch(4))))).toBe('EPOCH_UNAVAILABLE')
  })

  test('a delete goes at the bottom with all that it hides', async () => {
    const world = new World()
    const store = await world.open(undefined, manual)
    await world.commit(store, 1, { '1/a': 'x', '1/b': 'y' })
    await world.commit(store, 2, { '1/a': null, '1/b': null })
    await store.compact()
    expect([...eachSst(store.version)]).toEqual([])
    expect((await store.vacuum()).deleted).toBeGreaterThan(0)
    expect(world.sstKeys()).toEqual([])
  })

  test('dropped tables go at once where they are alone, else with the next merge', async () => {
    const world = new World()
    const store = await world.open(undefined, manual)
    await world.commit(store, 1, { '1/a': 'x' })
    await world.commit(store, 2, { '1/a': 'x', '2/b': 'y' })
    await store.dropTables([tableId(1)])
    expect([...eachSst(store.version)].length).toBe(1)
    expect(store.version.tables.map((layout) => layout.tableId)).toEqual([2])
    await store.compact()
    expect(entryCount(store)).toBe(1)
    const again = await world.open()
    expect(again.version.droppedTables).toEqual([1])
    expect(listed(world.read(again.version, again.databaseId))).toEqual(['2/b=y'])
  })

  test('tables dropped during a merge of theirs do not come back', async () => {
    const world = new World()
    let dropping: Promise<void> | null = null
    const jobs = new InlineJobs()
    const store: LsmStore = await LsmStore.open({
      env: world.env,
      objects: world.bucket,
      jobs: {
        run: (job) => {
          if (job.kind === 'merge') dropping ??= store.dropTables([tableId(1)])
          return Promise.resolve(dropping).then(() => jobs.run(job))
        },
      },
      options: { ...TINY_STORE, ...manual },
    })
    await world.commit(store, 1, { '1/a': 'x' })
    await world.commit(store, 2, { '1/b': 'y' })
    await store.compact()
    expect(dropping).not.toBeNull()
    expect([...eachSst(store.version)]).toEqual([])
  })

  test('a checkpoint that commits during a merge keeps its rows (fault 17)', async () => {
    const world = new World()
    const jobs = new InlineJobs()
    let during: Promise<unknown> | null = null
    const store: LsmStore = await LsmStore.open({
      env: world.env,
      objects: world.bucket,
      jobs: {
        run: async (job) => {
          if (job.kind === 'merge') {
            during ??= world.commit(store, 3, { '1/a': 'newest' })
            await during
          }
          return jobs.run(job)
        },
      },
      options: { ...TINY_STORE, ...manual },
    })
    await world.commit(store, 1, { '1/a': 'x' })
    await world.commit(store, 2, { '1/b': 'y' })
    await store.compact()
    expect(store.version.groups.state.subLevels.length).toBe(1)
    expect(listed(world.read(store.version, store.databaseId))).toEqual(['1/a=newest', '1/b=y'])
  })

  test('a poisonous input is tried, set aside and named; other groups go on (fault 30)', async () => {
    const world = new World()
    const store = await world.open()
    await world.commit(store, 1, { '1/a': 'x' })
    for (const key of world.sstKeys()) {
      const object = world.objects.get(key)
      if (object !== undefined) object.body[2] ^= 1
    }
    for (let at = 2; at <= 4; at++) {
      await world.commit(store, at, { '1/b': `${at}`, '100/c': `${at}` })
      await store.compactionIdle()
    }
    const kinds = world.events.map((event) => event.kind)
    expect(kinds.filter((kind) => kind === 'compactionFailed').length).toBe(3)
    expect(kinds.filter((kind) => kind === 'compactionSetAside').length).toBe(1)
    expect(kinds).toContain('compacted')
    await world.commit(store, 5, { '1/b': 'still alive' })
  })

  test('a store that misbehaves at random loses and invents nothing', async () => {
    const rates = {
      'drop-request': 0.06,
      'drop-acknowledgement': 0.06,
      'land-late': 0.03,
      duplicate: 0.05,
      conflict: 0.03,
      delay: 0.05,
      missing: 0.04,
      truncate: 0.02,
      'flip-bit': 0.02,
      misdirect: 0.02,
    }
    let faults = 0
    let reopened = 0
    const life = async (seed: number) => {
      const world = new World(seed)
      let epochNow = 0
      for (let opening = 0; opening < 6; opening++) {
        const seedHere = seed * 100 + opening
        const faulty = new FaultyObjectStore(world.bucket, world.env, { rates, seed: seedHere })
        const objects = new RetryingObjectStore(faulty, world.env, { deadlineMs: 5000 })
        try {
          const store = await world.open(objects, { vacuumEveryCommits: 2 })
          reopened++
          check(world, store)
          for (let i = 0; i < 12; i++) {
            const at = ++epochNow
            const changes = { [`1/k${at % 5}`]: at % 4 === 0 ? null : `${at}`, [`100/v${at}`]: 'x' }
            await world.commit(store, at, changes)
            if (i % 4 === 3) await store.compactionIdle()
          }
          await store.close()
        } catch (error) {
          // Damage on the way may end an opening or a commit, never the database.
          const { code: name } = error as { code?: string }
          if (name !== 'CORRUPTION' && !name?.startsWith('STORE_')) throw error
        }
        faults += faulty.calls.filter((call) => call.fault !== null).length
      }
      const store = await world.open()
      check(world, store)
    }
    for (let seed = 1; seed <= 12; seed++) {
      await life(seed).catch((error) => {
        throw new Error(`seed ${seed}`, { cause: error })
      })
    }
    expect(faults).toBeGreaterThan(500)
    expect(reopened).toBeGreaterThan(40)
  })

  test('random histories with compactions read as the model does', async () => {
    const change = fc.tuple(
      fc.constantFrom('1/', '2/', '100/'),
      fc.constantFrom('a', 'b', 'c', 'dd', 'eee', 'a longer key', 'z'),
      fc.option(fc.string({ maxLength: 12, unit: 'grapheme-ascii' }), { freq: 3 }),
    )
    const step = fc.record({
      changes: fc.array(change, { maxLength: 12 }),
      pin: fc.boolean(),
      unpin: fc.boolean(),
      vacuum: fc.boolean(),
      reopen: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
      compact: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 24 }), async (steps) => {
        const world = new World()
        let store = await world.open()
        let pins: ReturnType<LsmStore['pin']>[] = []
        for (let i = 0; i < steps.length; i++) {
          const { changes, pin, unpin, vacuum, reopen, compact } = steps[i]
          const byKey: Changes = Object.fromEntries(changes.map(([t, k, v]) => [t + k, v]))
          await world.commit(store, i + 1, byKey)
          await store.compactionIdle()
          if (pin) pins.push(store.pin())
          if (unpin) pins.shift()?.release()
          if (compact) await store.compact()
          if (vacuum) await store.vacuum()
          if (reopen) {
            pins = []
            store = await world.open()
          }
          for (const held of [...pins, store.pin()]) {
            const expected = world.attempted.get(held.epoch)
            expect(listed(world.read(held.version, store.databaseId, held.epoch))).toEqual(
              listed(expected?.rows ?? new Map()),
            )
            if (!pins.includes(held)) held.release()
          }
          // A newer version answers older pins too, as the safe epoch promises.
          for (const held of pins) {
            expect(listed(world.read(store.version, store.databaseId, held.epoch))).toEqual(
              listed(world.attempted.get(held.epoch)?.rows ?? new Map()),
            )
          }
        }
        expect(world.events.filter((event) => event.kind !== 'compacted')).toEqual([])
        await store.close()
      }),
      { numRuns: 60 },
    )
  })
})

function check(world: World, store: LsmStore): void {
  expect(store.committedEpoch).toBeGreaterThanOrEqual(world.acknowledged)
  expect(listed(world.read(store.version, store.databaseId))).toEqual(
    listed(world.attempted.get(store.committedEpoch)?.rows ?? new Map()),
  )
}

/** All promises that wait for nothing but each other. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
}

function entryCount(store: LsmStore): number {
  return [...eachSst(store.version)].reduce((sum, sst) => sum + sst.entryCount, 0)
}
