/** One of several processes that create the same names: FOLDER WRITER COUNT. Sends the numbers it created. */
import { nodeEnv } from '../../../src/common/node-env.ts'
import { DirectoryObjectStore } from '../../../src/storage/object/directory.ts'

const [folder, writer, count] = process.argv.slice(2)
const store = await DirectoryObjectStore.open(folder, nodeEnv())
const created: number[] = []
for (let i = 0; i < Number(count); i++) {
  const body = new TextEncoder().encode(`writer ${writer}`.repeat(100))
  if ((await store.putIfAbsent(`log/${i}`, body)) === 'created') created.push(i)
}
process.send?.(created, () => process.exit(0))
