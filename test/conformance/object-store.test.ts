import { MemoryObjectStore } from '../../src/storage/object/memory.ts'
import { VirtualEnv } from '../common/virtual-env.ts'
import { objectStoreConformance } from './object-store.ts'

objectStoreConformance('memory', async () => new MemoryObjectStore(new VirtualEnv()))
objectStoreConformance(
  'memory, small pages',
  async () => new MemoryObjectStore(new VirtualEnv(), { pageKeys: 4 }),
  { pageKeys: 4, listedCount: 100 },
)
