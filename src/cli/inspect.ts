/** `tussock inspect`: looks into a store without changing it. */
import { defineCommand } from 'citty'
import { EngineError } from '../common/errors.ts'
import { epochTimeMs } from '../common/ids.ts'
import { nodeEnv } from '../common/node-env.ts'
import type { ObjectStore } from '../storage/object/object-store.ts'
import { openObjectStore } from '../storage/object/open.ts'
import { SstTail } from '../storage/sst/sst-reader.ts'
import { sstKey } from '../storage/sst-name.ts'
import { readStore } from '../storage/verifier.ts'
import { CommitLogReader } from '../storage/version/commit-log.ts'
import { eachSst, GROUPS, type SstMeta, type Version } from '../storage/version/version.ts'
import { storeArgument, wholeNumber } from './arguments.ts'
import { formatRows, print, printJson, reportError } from './output.ts'

const shared = {
  ...storeArgument,
  json: { type: 'boolean', description: 'as JSON' },
} as const

async function withStore(
  url: string,
  work: (objects: ObjectStore) => Promise<void>,
): Promise<void> {
  try {
    const objects = await openObjectStore(url, nodeEnv(), { deadlineMs: 10_000 })
    try {
      await work(objects)
    } finally {
      await objects.close()
    }
  } catch (error) {
    reportError(error)
  }
}

const levels = defineCommand({
  meta: {
    name: 'levels',
    description:
      'Shows the tree: levels, sub-levels, files, bytes. Example: tussock inspect levels --store ./data',
  },
  args: shared,
  run: ({ args }) =>
    withStore(args.store, async (objects) => {
      const { version } = await readStore(objects, args.store)
      const rows = levelRows(version)
      if (args.json) printJson(rows)
      else {
        print(
          `epoch ${version.committedEpoch} (${new Date(epochTimeMs(version.committedEpoch)).toISOString()}), commit ${version.versionId}, generation ${version.generation}`,
        )
        print(
          formatRows(
            ['group', 'level', 'kind', 'files', 'bytes', 'entries', 'tombstones'],
            rows,
            'table',
          ),
        )
      }
    }),
})

function levelRows(version: Version): Record<string, unknown>[] {
  const rows: Record<string, unknown>[] = []
  const add = (group: string, level: string, kind: string, ssts: readonly SstMeta[]): void => {
    const sum = (value: (sst: SstMeta) => number): number =>
      ssts.reduce((total, sst) => total + value(sst), 0)
    rows.push({
      group,
      level,
      kind,
      files: ssts.length,
      bytes: sum((sst) => sst.sizeBytes),
      entries: sum((sst) => sst.entryCount),
      tombstones: sum((sst) => sst.tombstoneCount),
    })
  }
  for (const group of GROUPS) {
    const { subLevels, levels: below } = version.groups[group]
    for (const subLevel of subLevels) {
      const kind = subLevel.overlapping ? 'overlapping' : 'non-overlapping'
      add(group, `L0.${subLevel.subLevelId}`, kind, subLevel.ssts)
    }
    below.forEach((ssts, index) => {
      if (ssts.length > 0) add(group, `L${index + 1}`, 'non-overlapping', ssts)
    })
  }
  return rows
}

const commits = defineCommand({
  meta: {
    name: 'commits',
    description:
      'Lists the newest commits, newest first. Example: tussock inspect commits --store ./data',
  },
  args: {
    ...shared,
    limit: { type: 'string', default: '20', valueHint: 'n', description: 'how many' },
  },
  run: ({ args }) =>
    withStore(args.store, async (objects) => {
      const limit = wholeNumber('limit', args.limit, 1)
      const { version } = await readStore(objects, args.store)
      const { log } = new CommitLogReader(objects)
      const rows: Record<string, unknown>[] = []
      for (let number = version.versionId; number > 0 && rows.length < limit; number--) {
        const entry = await log.read(number)
        if (entry === null) break
        rows.push({ commit: number, generation: entry.generation, token: entry.token })
      }
      if (args.json) printJson(rows)
      else print(formatRows(['commit', 'generation', 'token'], rows, 'table'))
    }),
})

const sst = defineCommand({
  meta: {
    name: 'sst',
    description:
      'Shows one SST, its properties and blocks; without an id all, a line each. Example: tussock inspect sst 1-11 --store ./data',
  },
  args: { id: { type: 'positional', required: false, description: 'of the SST' }, ...shared },
  run: ({ args }) =>
    withStore(args.store, async (objects) => {
      const { version, databaseId } = await readStore(objects, args.store)
      const all = [...eachSst(version)]
      if (args.id === undefined) {
        const rows = all.map((meta) => ({
          sst: meta.sstId,
          group: meta.group,
          bytes: meta.sizeBytes,
          entries: meta.entryCount,
          tables: meta.tableIds.join(' '),
          object: sstKey(meta.sstId),
        }))
        if (args.json) printJson(rows)
        else
          print(formatRows(['sst', 'group', 'bytes', 'entries', 'tables', 'object'], rows, 'table'))
        return
      }
      const meta = all.find((candidate) => candidate.sstId === args.id)
      if (meta === undefined) {
        throw new EngineError('OPTION_INVALID', `no live SST has the id ${args.id}`, {
          context: { hint: 'tussock inspect sst lists them.' },
        })
      }
      const range = { offset: meta.tailOffset, length: meta.sizeBytes - meta.tailOffset }
      const bytes = await objects.get(sstKey(meta.sstId), range)
      if (bytes === null) {
        throw new EngineError('OBJECT_MISSING', `SST ${meta.sstId} is missing`, {
          context: { object: sstKey(meta.sstId) },
        })
      }
      const tail = SstTail.parse(meta, bytes, databaseId)
      const blocks = Array.from({ length: tail.blockCount }, (_, index) => ({
        block: index,
        table: tail.blockTableId(index),
        offset: tail.blockOffset(index),
        bytes: tail.blockLength(index),
        entries: tail.blockEntryCount(index),
      }))
      if (args.json) printJson({ ...meta, properties: tail.properties(), blocks })
      else {
        printJson(tail.properties())
        print(formatRows(['block', 'table', 'offset', 'bytes', 'entries'], blocks, 'table'))
      }
    }),
})

export const command = defineCommand({
  meta: {
    name: 'inspect',
    description: 'Looks into a store, read-only. Example: tussock inspect levels --store ./data',
  },
  subCommands: {
    levels: levels,
    commits: commits,
    sst: sst,
  },
})
