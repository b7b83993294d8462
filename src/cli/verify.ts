/** `tussock verify`: checks a store without changing it; exit code 1 and what is wrong. */
import { defineCommand } from 'citty'
import { EngineError } from '../common/errors.ts'
import { nodeEnv } from '../common/node-env.ts'
import { openObjectStore } from '../storage/object/open.ts'
import { type Verification, verifyStore } from '../storage/verifier.ts'
import { storeArgument } from './arguments.ts'
import { counted, print, printJson, reportError, wordsOut } from './output.ts'

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
      const found = await verify(args.store, args.deep ?? false)
      if (args.json) printJson(found)
      else {
        for (const problem of found.problems) print(`BAD ${problem.object}: ${problem.message}`)
        print(describe(found))
      }
      if (found.problems.length > 0) process.exitCode = 1
    } catch (error) {
      reportError(error)
    }
  },
})

/** Without the newest version there is nothing to count. */
type Found = Verification | Pick<Verification, 'problems'>

async function verify(url: string, deep: boolean): Promise<Found> {
  const objects = await openObjectStore(url, nodeEnv(), { deadlineMs: 10_000 })
  const progress = (done: number, of: number): void => {
    if (wordsOut.isTerminal) process.stderr.write(`\r${done} of ${counted(of, 'SST')}`)
  }
  try {
    return await verifyStore(objects, url, { deep, progress })
  } catch (error) {
    if (!(error instanceof EngineError) || error.kind !== 'corruption') throw error
    return {
      problems: [
        { object: String(error.context['object'] ?? 'the store'), message: error.message },
      ],
    }
  } finally {
    if (wordsOut.isTerminal) process.stderr.write('\r\u001b[2K')
    await objects.close()
  }
}

function describe(found: Found): string {
  const { length } = found.problems
  const verdict = length === 0 ? 'sound' : counted(length, 'problem')
  if (!('versionId' in found)) return `${verdict}: the newest version cannot be read`
  const { committedEpoch, versionId, ssts, blocks, entries, bytes } = found
  return `${verdict}: epoch ${committedEpoch}, commit ${versionId}, ${counted(ssts, 'SST')}, ${counted(blocks, 'block')}, ${entries} entries, ${bytes} bytes`
}
