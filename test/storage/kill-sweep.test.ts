/**
 * The kill sweep: one workload of checkpoints, compactions, a vacuum and a
 * reopening; the process dies in each of its object-store calls, with each outcome, and in each call of the
 * recovery after that. Whatever survives must be a prefix: acknowledged ⇒ present, and exactly the model's rows.
 */
import { expect, test } from 'vitest'
import { type Epoch, epoch } from '../../src/common/ids.ts'
import type { LsmStore } from '../../src/storage/lsm-store.ts'
import { FaultyObjectStore, type KillOutcome } from '../../src/storage/object/faulty.ts'
import { checkVersion } from '../../src/storage/version/version.ts'
import { type Changes, listed, namedKeys, World } from './store-fixture.ts'

const OUTCOMES: readonly KillOutcome[] = ['not-applied', 'applied-unacknowledged', 'lands-late']

/** Where a process dies: in call `callIndex` of its life. */
interface Kill {
  readonly callIndex: number
  readonly outcome: KillOutcome
}

/** Rows of checkpoint `at`: some new, some changed, some deleted, in both groups. */
function changesAt(at: number): Changes {
  return {
    [`1/row${at}`]: `new ${at}`,
    '1/hot': `${at}`,
    [`2/row${at % 3}`]: at % 2 === 0 ? null : `value ${at}`,
    [`100/view${at % 4}`]: at % 5 === 0 ? null : `shown ${at}`,
  }
}

/** Runs the work in a process that dies where it is told to. @returns its calls, and how to land late ones. */
async function life(
  world: World,
  work: (objects: FaultyObjectStore) => Promise<void>,
  kill: Kill | null,
): Promise<FaultyObjectStore> {
  const objects = new FaultyObjectStore(world.bucket, world.env, { lateMs: null })
  if (kill !== null) objects.killAt(kill.callIndex, kill.outcome)
  let finished = false
  const done = work(objects).then(() => {
    finished = true
  })
  await Promise.race([done, objects.whenKilled])
  // What the dead process still has in its head must not run on into the next one's life.
  if (!finished) await new Promise((resolve) => setImmediate(resolve))
  return objects
}

async function workload(world: World, objects: FaultyObjectStore): Promise<void> {
  let store = await world.open(objects)
  for (let at = 1; at <= 5; at++) await world.commit(store, at, changesAt(at))
  await store.compactionIdle()
  const pin = store.pin()
  // Two under way at once, beside whatever compaction they set off.
  const sixth = world.commit(store, 6, changesAt(6))
  const seventh = world.commit(store, 7, changesAt(7), epoch(6))
  await Promise.all([sixth, seventh, store.vacuum()])
  await store.compactionIdle()
  pin.release()
  await store.vacuum()
  // A restart without a crash, in the same process.
  await store.close()
  store = await world.open(objects)
  for (let at = 8; at <= 11; at++) await world.commit(store, at, changesAt(at))
  await store.compact()
  await store.vacuum()
  await store.close()
}

/** The recovered state is one that was tried, at or after the acknowledged one, and exactly the model's. */
function check(world: World, store: LsmStore): void {
  const { version } = store
  const at = version.committedEpoch
  checkVersion(version)
  expect(at).toBeGreaterThanOrEqual(world.acknowledged)
  const expected = world.attempted.get(at)
  expect(expected, `epoch ${at} was never tried`).toBeDefined()
  expect(listed(world.read(version, store.databaseId))).toEqual(listed(expected?.rows ?? new Map()))
  const offsets = expected?.offset === 0 ? {} : { '1/0': { position: expected?.offset } }
  expect(version.offsets).toEqual(offsets)
}

/** Opens, checks, and goes on a little: what a restarted engine does. */
async function recovery(world: World, objects: FaultyObjectStore): Promise<void> {
  const store = await world.open(objects)
  check(world, store)
  const base = store.committedEpoch
  await world.commit(store, base + 20, changesAt(base + 20))
  await store.compactionIdle()
  await store.vacuum()
  check(world, store)
}

/** After all deaths: late requests land, and the database still lives, clean. */
async function afterlife(world: World, dead: readonly FaultyObjectStore[]): Promise<void> {
  const store = await world.open()
  check(world, store)
  for (const objects of dead) await objects.landLate()
  let last: Epoch = store.committedEpoch
  for (let i = 0; i < 2; i++) {
    last = (await world.commit(store, last + 100, changesAt(last + 100))).epoch
  }
  await store.compact()
  await store.vacuum()
  check(world, store)
  // Nothing of the dead is left: what lies there is what the version names.
  expect(world.sstKeys()).toEqual(namedKeys(store.version))
  check(world, await world.open())
}

async function callCount(work: (world: World, objects: FaultyObjectStore) => Promise<void>) {
  const world = new World()
  const objects = await life(world, (own) => work(world, own), null)
  return { world, count: objects.callCount }
}

test('killed in each call, with each outcome (faults 1, 4, 18, 20)', async () => {
  const { world: healthy, count } = await callCount(workload)
  expect(healthy.events.some((event) => event.kind === 'compacted')).toBe(true)
  await afterlife(healthy, [])
  let recoveries = 0
  for (let callIndex = 0; callIndex < count; callIndex++) {
    for (const outcome of OUTCOMES) {
      const world = new World()
      const dead = await life(world, (own) => workload(world, own), { callIndex, outcome })
      await recovery(world, new FaultyObjectStore(world.bucket, world.env))
      await afterlife(world, [dead])
      recoveries++
    }
  }
  console.info(`kill sweep: ${count} calls, ${recoveries} recoveries`)
  expect(recoveries).toBe(count * OUTCOMES.length)
})

test('killed in each call of the recovery after a kill (fault 2)', async () => {
  const { count } = await callCount(workload)
  let recoveries = 0
  // Each ninth call of the workload, with the outcomes in turn; each call of its recovery.
  for (let callIndex = 1; callIndex < count; callIndex += 9) {
    for (let inner = 0, more = true; more; inner++) {
      const world = new World()
      const outcome = OUTCOMES[(callIndex + inner) % OUTCOMES.length]
      const first = await life(world, (own) => workload(world, own), { callIndex, outcome })
      const kill = { callIndex: inner, outcome: OUTCOMES[inner % OUTCOMES.length] }
      const second = await life(world, (own) => recovery(world, own), kill)
      more = second.killed
      await afterlife(world, [first, second])
      recoveries++
    }
  }
  console.info(`nested kill sweep: ${recoveries} recoveries`)
})
