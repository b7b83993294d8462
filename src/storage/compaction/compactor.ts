/**
 * Runs compactions, one at a time: asks the picker, reads the inputs, lets the pool merge them, uploads what comes out and
 * commits the change. A task freezes its safe epoch, bottom and dropped tables when it begins. A task that fails is
 * tried again with back-off; after some failures its inputs are set aside and named in an event, and
 * other ranges go on. Control thread.
 */
import type { Env } from '../../common/env.ts'
import { type EngineError, toEngineError } from '../../common/errors.ts'
import type { Epoch, TableId } from '../../common/ids.ts'
import type { JobOutput, MergeJob } from '../job.ts'
import { EMPTY_GROUP_DELTA, type GroupDelta } from '../version/delta.ts'
import { GROUPS, type Group, type SstMeta, type Version } from '../version/version.ts'
import {
  BASE_LEVEL,
  type CompactionOptions,
  type CompactionTask,
  pickAll,
  pickCompaction,
} from './picker.ts'

/** Attempts after which a task's inputs are set aside. */
export const QUARANTINE_AFTER = 3
const BACKOFF_MS = 100

/** What the compactor needs of the store. */
export interface CompactionHost {
  readonly env: Env
  readonly options: CompactionOptions
  version(): Version
  /** min(committed epoch, every pinned epoch), now. */
  safeEpoch(): Epoch
  /** Keeps the files of the current version until the function returned is called. */
  hold(): () => void
  /** The whole object in shared memory. */
  read(sst: SstMeta): Promise<ArrayBuffer>
  /** Runs the merge and uploads its outputs; `settle` once they are committed or given up. */
  merge(
    job: Omit<MergeJob, 'sst' | 'kind'>,
    outputBytes: number,
  ): Promise<{ readonly output: JobOutput; settle(): void }>
  /** Commits on the newest version what `build` makes of it; null: no longer possible, give up. */
  commit(
    safeEpoch: Epoch,
    group: Group,
    build: (version: Version) => GroupDelta | null,
  ): Promise<boolean>
  event(event: CompactionEvent): void
}

export type CompactionEvent =
  | {
      readonly kind: 'compacted'
      readonly task: CompactionTask['kind']
      readonly group: Group
      readonly bytesIn: number
      readonly bytesOut: number
      readonly entriesIn: number
      readonly entriesOut: number
      readonly durationMs: number
    }
  | {
      readonly kind: 'compactionFailed'
      readonly ssts: readonly string[]
      readonly attempt: number
      readonly error: EngineError
    }
  /** The range is left alone until the store is opened again. */
  | { readonly kind: 'compactionSetAside'; readonly ssts: readonly string[] }

export interface CompactionMetrics {
  taskCount: number
  failureCount: number
  bytesIn: number
  bytesOut: number
  setAsideCount: number
}

export class Compactor {
  readonly metrics: CompactionMetrics = {
    taskCount: 0,
    failureCount: 0,
    bytesIn: 0,
    bytesOut: 0,
    setAsideCount: 0,
  }
  private readonly host: CompactionHost
  private readonly setAside = new Set<string>()
  private running: Promise<void> | null = null
  private closed = false

  constructor(host: CompactionHost) {
    this.host = host
  }

  /** Begins if there is something to do and nothing under way. */
  poke(): void {
    if (this.closed || this.running !== null || this.pick() === null) return
    this.start(async () => {
      for (let task = this.pick(); task !== null && !this.closed; task = this.pick()) {
        if (!(await this.attempt(task))) break
      }
    })
  }

  /** Merges everything into the base, after what is under way. @throws what a task failed with. */
  async compactAll(): Promise<void> {
    await this.idle()
    this.start(async () => {
      for (const group of GROUPS) {
        const task = pickAll(group, this.host.version().groups[group])
        if (task !== null && !this.closed) await this.run(task)
      }
    })
    await this.running
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    while (this.running !== null) await this.running.catch(() => undefined)
  }

  async close(): Promise<void> {
    this.closed = true
    await this.idle()
  }

  private start(work: () => Promise<void>): void {
    this.running = work().finally(() => {
      this.running = null
    })
    // `compactAll` hears of failures; the store itself of those that end it.
    this.running.catch(() => undefined)
  }

  private pick(): CompactionTask | null {
    const { groups } = this.host.version()
    for (const group of GROUPS) {
      const task = pickCompaction(group, groups[group], this.host.options, this.setAside)
      if (task !== null) return task
    }
    return null
  }

  /** True when other tasks may follow: it succeeded, or its inputs were set aside. */
  private async attempt(task: CompactionTask): Promise<boolean> {
    const ssts = task.inputs.map((sst) => sst.sstId)
    for (let attempt = 1; !this.closed; attempt++) {
      try {
        await this.run(task)
        return true
      } catch (thrown) {
        const error = toEngineError(thrown)
        this.metrics.failureCount++
        if (error.kind === 'conflict' || error.kind === 'closed') return false
        this.host.event({ kind: 'compactionFailed', ssts, attempt, error })
        if (attempt >= QUARANTINE_AFTER) break
      }
      await this.host.env.sleep(BACKOFF_MS * 2 ** attempt * (0.5 + this.host.env.random()))
    }
    if (this.closed) return false
    for (const sstId of ssts) this.setAside.add(sstId)
    this.metrics.setAsideCount += ssts.length
    this.host.event({ kind: 'compactionSetAside', ssts })
    return true
  }

  private async run(task: CompactionTask): Promise<void> {
    const { host } = this
    // Frozen now: rows that a later reader hides, or a later drop frees, are the next task's.
    const version = host.version()
    const safeEpoch = host.safeEpoch()
    const startedMs = host.env.monotonicMs()
    const release = host.hold()
    try {
      const merged = await host.merge(
        await this.job(task, version, safeEpoch),
        host.options.outputBytes,
      )
      try {
        const ssts = merged.output.ssts.map((sst) => sst.meta)
        const done = await host.commit(safeEpoch, task.group, (newest) =>
          rebase(task, ssts, newest),
        )
        if (done) this.report(task, merged.output, host.env.monotonicMs() - startedMs)
      } finally {
        merged.settle()
      }
    } finally {
      release()
    }
  }

  private async job(
    task: CompactionTask,
    version: Version,
    safeEpoch: Epoch,
  ): Promise<Omit<MergeJob, 'sst' | 'kind'>> {
    const inputs: { meta: SstMeta; body: ArrayBuffer }[] = []
    for (const meta of task.inputs) inputs.push({ meta, body: await this.host.read(meta) })
    const { tables } = version
    const droppedTables: readonly TableId[] = version.droppedTables
    return { group: task.group, inputs, safeEpoch, bottom: task.bottom, tables, droppedTables }
  }

  private report(task: CompactionTask, output: JobOutput, durationMs: number): void {
    const { bytesIn, bytesOut, entriesIn, entriesOut } = output
    this.metrics.taskCount++
    this.metrics.bytesIn += bytesIn
    this.metrics.bytesOut += bytesOut
    const { kind, group } = task
    const sizes = { bytesIn, bytesOut, entriesIn, entriesOut, durationMs }
    this.host.event({ kind: 'compacted', task: kind, group, ...sizes })
  }
}

/**
 * The change on the newest version, which may have got sub-levels meanwhile; null when an input is gone (its
 * tables were dropped), so that the outputs would bring rows back.
 */
function rebase(
  task: CompactionTask,
  outputs: readonly SstMeta[],
  version: Version,
): GroupDelta | null {
  const { subLevels, levels } = version.groups[task.group]
  const present = new Set<string>()
  for (const subLevel of subLevels) for (const sst of subLevel.ssts) present.add(sst.sstId)
  for (const level of levels) for (const sst of level) present.add(sst.sstId)
  const removedSsts = task.inputs.map((sst) => sst.sstId)
  if (!removedSsts.every((sstId) => present.has(sstId))) return null
  if (task.target === 'base') {
    const addedSsts = outputs.map((sst) => ({ level: BASE_LEVEL, sst }))
    return { ...EMPTY_GROUP_DELTA, removedSsts, addedSsts }
  }
  const replacedSubLevel =
    outputs.length === 0
      ? null
      : { subLevelId: version.versionId + 1, overlapping: false, ssts: outputs }
  return { ...EMPTY_GROUP_DELTA, removedSsts, replacedSubLevel }
}
