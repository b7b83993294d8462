/** The worker's store with its rows in memtables, runs, or SSTs; and the stand-in of the operators' tests. */
import { World, type WorldOptions } from '../storage/local-store-world.ts'
import { FakeStore } from '../stream/fake-store.ts'
import { type Subject, stateStoreConformance } from './state-store.ts'

const PLENTY: WorldOptions = {
  slots: 64,
  blockBytes: 128,
  sstBytes: 1 << 20,
  tailBytesMax: 1 << 20,
  arenaBytes: 1 << 20,
  slabBytes: 1024,
}
const NOTHING: WorldOptions = {
  ...PLENTY,
  slots: 2,
  blockBytes: 64,
  sstBytes: 512,
  tailBytesMax: 0,
}

function subject(world: World, settle: () => void): Subject {
  return { store: world.store, settle, finish: (read) => world.finish(read) }
}

function committing(options: WorldOptions, compacting: boolean): Subject {
  const world = new World(options)
  return subject(world, () => {
    world.seal()
    world.checkpoint(false)
    if (compacting) world.compact(9, true)
  })
}

stateStoreConformance('memtables', () => subject(new World(PLENTY), () => undefined))
stateStoreConformance('sealed runs', () => {
  const world = new World(PLENTY)
  return subject(world, () => world.seal())
})
stateStoreConformance('checkpoints', () => committing(PLENTY, false))
stateStoreConformance('a compacted tree, no caches', () => committing(NOTHING, true))
for (const delay of [0, 2]) {
  stateStoreConformance(`the operators' fake, ${delay} polls late`, () => ({
    store: new FakeStore(delay),
    settle: () => undefined,
    finish: (read) => {
      while (!read.poll());
    },
  }))
}
