/**
 * Deletes what no reader can ask for: SSTs that no retained version names, and old commit objects. It may be killed
 * anywhere and run twice. The order of its steps is what makes it safe:
 *
 * 1. LIST the SSTs, *then* ask which ids may still be committed and which are referenced: an object that was
 *    listed and is neither can never be named by a commit of this writer.
 * 2. Objects of a higher generation are never touched: this writer may be a zombie.
 * 3. The boundary is appended *before* commit objects are deleted, so that a late create in a freed slot is
 *    seen as the conflict it is.
 *
 * Control thread.
 */
import type { Env } from '../common/env.ts'
import type { ObjectInfo, ObjectStore } from './object/object-store.ts'
import { parseSstKey, SST_PREFIX, type SstMint } from './sst-name.ts'
import { COMMIT_PREFIX, type CommitLog } from './version/commit-log.ts'
import type { Snapshots } from './version/snapshot.ts'

export interface VacuumInit {
  readonly env: Env
  readonly objects: ObjectStore
  readonly log: CommitLog
  readonly snapshots: Snapshots
  readonly mint: SstMint
  readonly keptCommitCount: number
  readonly minAgeMs: number
}

export interface VacuumResult {
  readonly deleted: number
  readonly deletedBytes: number
  /** Ids of the SSTs that went. */
  readonly sstIds: readonly string[]
}

/** Why an object below `sst/` stays, or that it goes. */
export type Verdict =
  | 'referenced'
  | 'uncommitted'
  | 'newer-writer'
  | 'foreign'
  | 'young'
  | 'garbage'

export async function vacuum(init: VacuumInit): Promise<VacuumResult> {
  const listed = await listAll(init.objects, SST_PREFIX)
  const judge = judgeOf(init, newestOf(listed))
  const garbage = listed.filter((object) => judge(object) === 'garbage')
  await init.objects.delete(garbage.map((object) => object.key))
  const commits = await vacuumCommits(init)
  const all = [...garbage, ...commits]
  return {
    deleted: all.length,
    deletedBytes: all.reduce((sum, object) => sum + object.sizeBytes, 0),
    sstIds: garbage.map((object) => parseSstKey(object.key)?.sstId ?? object.key),
  }
}

/** Judges objects that were listed before this call. @param storeNowMs by the object store's clock. */
export function judgeOf(init: VacuumInit, storeNowMs: number): (object: ObjectInfo) => Verdict {
  const referenced = init.snapshots.referencedSsts()
  const minUncommitted = init.mint.minUncommitted()
  const writer: number = init.log.generation
  return (object) => {
    const name = parseSstKey(object.key)
    if (name === null) return 'foreign'
    if (referenced.has(name.sstId)) return 'referenced'
    if (name.generation > writer) return 'newer-writer'
    if (name.generation === writer && name.number >= minUncommitted) return 'uncommitted'
    // Orphans of older writers go at once: no commit can name them any more.
    if (name.generation === writer && storeNowMs - object.modifiedMs < init.minAgeMs) return 'young'
    return 'garbage'
  }
}

async function vacuumCommits(init: VacuumInit): Promise<readonly ObjectInfo[]> {
  const { log, objects, env } = init
  await log.boundary.advance(log.boundaryFor(init.keptCommitCount), log.generation, env.token())
  const boundary = log.boundary.number
  if (boundary === 0) return []
  const old: ObjectInfo[] = []
  for await (const page of objects.list(COMMIT_PREFIX)) {
    for (const object of page) {
      const number = log.numberOf(object.key)
      if (number !== null && number <= boundary) old.push(object)
    }
  }
  await objects.delete(old.map((object) => object.key))
  return old
}

async function listAll(objects: ObjectStore, prefix: string): Promise<readonly ObjectInfo[]> {
  const all: ObjectInfo[] = []
  for await (const page of objects.list(prefix)) all.push(...page)
  return all
}

/** The newest time that the store has stamped: its clock is at least there. */
function newestOf(objects: readonly ObjectInfo[]): number {
  return objects.reduce((newest, object) => Math.max(newest, object.modifiedMs), 0)
}
