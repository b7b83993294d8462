// One of several processes that create the same names: node create-race.mjs FOLDER SEED COUNT. Runs the
// built package, since Node 20 cannot run its source. Sends the numbers it created.
const [folder, seed, count] = process.argv.slice(2)
const dist = new URL('../../../dist/', import.meta.url)
const { nodeEnv } = await import(new URL('common/node-env.js', dist).href)
const { DirectoryObjectStore } = await import(new URL('storage/object/directory.js', dist).href)

const store = await DirectoryObjectStore.open(folder, nodeEnv())
const created = []
for (let i = 0; i < Number(count); i++) {
  const body = new TextEncoder().encode(`writer ${seed}`.repeat(100))
  if ((await store.putIfAbsent(`log/${i}`, body)) === 'created') created.push(i)
}
process.send(created, () => process.exit(0))
