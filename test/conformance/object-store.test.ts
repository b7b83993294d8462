import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll } from 'vitest'
import { nodeEnv } from '../../src/common/node-env.ts'
import { DirectoryObjectStore } from '../../src/storage/object/directory.ts'
import { FaultyObjectStore } from '../../src/storage/object/faulty.ts'
import { MemoryObjectStore } from '../../src/storage/object/memory.ts'
import { RetryingObjectStore } from '../../src/storage/object/retry.ts'
import { VirtualEnv } from '../common/virtual-env.ts'
import { objectStoreConformance } from './object-store.ts'

let folder = ''
let opened = 0
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'object-store-'))
})
afterAll(() => rm(folder, { recursive: true }))

objectStoreConformance('memory', async () => new MemoryObjectStore(new VirtualEnv()))
objectStoreConformance(
  'memory, small pages',
  async () => new MemoryObjectStore(new VirtualEnv(), { pageKeys: 4 }),
  { pageKeys: 4, listedCount: 100 },
)
objectStoreConformance('directory', () =>
  DirectoryObjectStore.open(join(folder, `${opened++}`), nodeEnv()),
)
objectStoreConformance(
  'directory, small pages, a root whose parents are not there',
  () => DirectoryObjectStore.open(join(folder, `${opened++}/a/b`), nodeEnv(), { pageKeys: 4 }),
  { pageKeys: 4, listedCount: 30 },
)

for (const seed of [1, 2, 3]) {
  const rates = {
    'drop-request': 0.15,
    'drop-acknowledgement': 0.1,
    duplicate: 0.05,
    conflict: 0.1,
    throttle: 0.02,
    delay: 0.1,
  }
  objectStoreConformance(
    `retries over a faulty memory, seed ${seed}`,
    async () => {
      const env = new VirtualEnv(seed)
      const faulty = new FaultyObjectStore(new MemoryObjectStore(env), env, { seed, rates })
      return new RetryingObjectStore(faulty, env)
    },
    { ambiguous: true },
  )
}
