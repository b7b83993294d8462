/** `tussock verify`: checks a store without changing it; exit code 1 and what is wrong. */
import { defineCommand } from 'citty'
import { nodeEnv } from '../common/node-env.ts'
import { openObjectStore } from '../storage/object/open.ts'
import { verifyStore } from '../storage/verifier.ts'
import { storeArgument } from './arguments.ts'
import { print, printJson, reportError } from './output.ts'

export const command = defineCommand({
  meta: {
    name: 'verify',
    description:
      'Checks every checksum and rule of a store. Example: tussock verify --store ./data --deep',
  },
  args: {
    ...storeArgument,
    deep: { type: 'boolean', description: 'read every block, not only the tails' },
    json: { type: 'boolean', description: 'the result as JSON' },
  },
  run: async ({ args }) => {
    try {
      const env = nodeEnv()
      const objects = await openObjectStore(args.store, env, { deadlineMs: 10_000 })
      const progress = (done: number, of: number): void => {
        if (process.stderr.isTTY) process.stderr.write(`\r${done} of ${of} SSTs`)
      }
      const found = await verifyStore(objects, env, { deep: args.deep ?? false, progress })
      if (process.stderr.isTTY) process.stderr.write('\r\u001b[2K')
      await objects.close()
      if (args.json) printJson(found)
      else {
        for (const problem of found.problems) print(`BAD ${problem.object}: ${problem.message}`)
        print(
          `${found.problems.length === 0 ? 'sound' : `${found.problems.length} problems`}: epoch ${found.committedEpoch}, commit ${found.versionId}, ${found.ssts} SSTs, ${found.blocks} blocks, ${found.entries} entries, ${found.bytes} bytes`,
        )
      }
      if (found.problems.length > 0) process.exitCode = 1
    } catch (error) {
      reportError(error)
    }
  },
})
