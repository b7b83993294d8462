/**
 * The store on the control thread: takes sealed runs from the workers, makes them durable (encode → upload →
 * commit), answers for the newest version, its pins and its blocks, and lets compaction and vacuum work
 * beside that. What fails in a commit ends the store: nothing acknowledged is lost, and whoever opens it next
 * finds the last committed epoch.
 *
 * Order: encodes and uploads of several checkpoints overlap; commits are one at a time, checkpoints among
 * themselves in epoch order, and each is built on the version that is newest when its turn comes.
 */
import { isDeepStrictEqual } from 'node:util'
import { assert } from '../common/assert.ts'
import type { Env } from '../common/env.ts'
import { EngineError, toEngineError } from '../common/errors.ts'
import type { Bytes, Epoch, Generation, TableId } from '../common/ids.ts'
import { type CompactionEvent, type CompactionMetrics, Compactor } from './compaction/compactor.ts'
import { type BlockSink, type FetchedBlock, Fetcher } from './fetcher.ts'
import type { EncodeJob, Job, JobOutput, MergeJob, TableLayout } from './job.ts'
import type { JobRunner } from './job-pool.ts'
import type { ObjectStore, RequestCounts } from './object/object-store.ts'
import { type Pressure, type ReleasedRun, SharedBuffer } from './shared-buffer.ts'
import { SstMint, type SstNumbers } from './sst-name.ts'
import type { SealedRun } from './state-store.ts'
import { type StoreOptions, storeOptions } from './store-options.ts'
import { Uploader } from './uploader.ts'
import { vacuum } from './vacuum.ts'
import { CommitLog } from './version/commit-log.ts'
import { ownMeta } from './version/commit-payload.ts'
import { EMPTY_GROUP_DELTA, type GroupDelta, type VersionDelta } from './version/delta.ts'
import { type Pin, Snapshots } from './version/snapshot.ts'
import { GROUPS, type Group, type SstMeta, type Version } from './version/version.ts'

/** What runs encodes and merges: the pool, or the calling thread. */
export type StoreJobs = Pick<JobRunner, 'run'>

export type StoreEvent =
  | CompactionEvent
  /** Writers should give way: see `LsmStore.pressure`. Told when it changes. */
  | {
      readonly kind: 'pressure'
      readonly pressure: Pressure
      readonly uncommittedBytes: number
      readonly subLevelCount: number
    }
  /** A vacuum that began by itself failed; the next one will do its work. */
  | { readonly kind: 'vacuumFailed'; readonly error: EngineError }
  /** The store has ended by itself; `FENCED`: another process owns the database. */
  | { readonly kind: 'storeFailed'; readonly error: EngineError }

export interface LsmStoreInit {
  readonly env: Env
  readonly objects: ObjectStore
  readonly jobs: StoreJobs
  readonly options?: Partial<StoreOptions>
  readonly cache?: BlockSink
  readonly onEvent?: (event: StoreEvent) => void
}

export interface CommitInput {
  readonly epoch: Epoch
  /** Every run sealed since the last checkpoint, in the order of sealing. */
  readonly runs: readonly SealedRun[]
  /** Offsets to store; null takes an entry away, entries not named stay. */
  readonly offsets: Readonly<Record<string, unknown>>
  /** Absent: unchanged. */
  readonly catalog?: unknown
  /** Tables that this commit drops, so that they go with the catalog that no longer names them. */
  readonly droppedTables?: readonly TableId[]
}

export interface CommitPhases {
  readonly encodeMs: number
  readonly uploadMs: number
  /** From the end of the upload, waiting for its turn included. */
  readonly commitMs: number
}

export interface CommitResult {
  /** The committed epoch; an older one than asked for when there was nothing to commit. */
  readonly epoch: Epoch
  readonly version: Version
  readonly phases: CommitPhases
  /** Uploaded. */
  readonly bytes: number
}

export type VersionListener = (delta: VersionDelta, releasedRuns: readonly ReleasedRun[]) => void

export interface StoreMetrics {
  readonly versionId: number
  readonly generation: Generation
  readonly committedEpoch: Epoch
  readonly safeEpoch: Epoch
  readonly commitCount: number
  readonly uncommittedBytes: Bytes
  readonly pressure: Pressure
  readonly uploadInFlightBytes: number
  readonly uploadedBytes: number
  readonly sstCount: number
  readonly sstBytes: number
  readonly subLevelCounts: Readonly<Record<Group, number>>
  readonly retainedVersionCount: number
  readonly pinCount: number
  readonly compaction: Readonly<CompactionMetrics>
  readonly requests: RequestCounts
}

/** Outputs of the jobs of one checkpoint, on the object store but not yet committed. */
interface Prepared {
  readonly outputs: readonly { readonly group: Group; readonly output: JobOutput }[]
  readonly numbers: readonly SstNumbers[]
  readonly encodeMs: number
  readonly uploadMs: number
  readonly readyMs: number
}

/** A pool thread may die; the job is the same bytes again. */
const JOB_ATTEMPTS = 3

type Change = Partial<Omit<VersionDelta, 'versionId' | 'generation'>>

export class LsmStore {
  private readonly init: LsmStoreInit
  private readonly env: Env
  private readonly options: StoreOptions
  private readonly log: CommitLog
  private readonly snapshots: Snapshots
  private readonly mint: SstMint
  private readonly buffer: SharedBuffer
  private readonly uploader: Uploader
  private readonly fetcher: Fetcher
  private readonly compactor: Compactor
  private readonly listeners = new Set<VersionListener>()
  /** Ends when the last checkpoint handed over is committed or has failed; never rejects. */
  private lastCheckpoint: Promise<unknown> = Promise.resolve()
  private lastEpoch: Epoch
  /** The end of the queue of commits; never rejects. */
  private commitQueue: Promise<unknown> = Promise.resolve()
  private vacuuming: Promise<unknown> = Promise.resolve()
  private commitCount = 0
  private nextVacuumCommit = 1
  private toldPressure: Pressure = 'none'
  private failure: EngineError | null = null
  private closing: Promise<void> | null = null

  private constructor(init: LsmStoreInit, options: StoreOptions, log: CommitLog) {
    this.init = init
    this.env = init.env
    this.options = options
    this.log = log
    this.snapshots = new Snapshots(log.version)
    this.mint = new SstMint(log.generation)
    this.buffer = new SharedBuffer({
      softBytes: options.sharedBufferSoftBytes,
      hardBytes: options.sharedBufferHardBytes,
    })
    this.uploader = new Uploader(init.objects, options.uploadConcurrency)
    const { tailCacheBytes, fetchBytesMax, warmBytesMax } = options
    const { env, objects, cache } = init
    this.fetcher = new Fetcher({
      env,
      objects,
      databaseId: log.databaseId,
      tailCacheBytes,
      fetchBytesMax,
      warmBytesMax,
      cache,
    })
    this.compactor = this.makeCompactor()
    this.lastEpoch = log.version.committedEpoch
  }

  /**
   * Recovers the newest version and takes the database over: older writers are fenced.
   * @throws CORRUPTION, STORE_FORMAT_NEWER, BUSY, and what the object store throws.
   */
  static async open(init: LsmStoreInit): Promise<LsmStore> {
    const options = storeOptions(init.options)
    const { env, objects } = init
    const log = await CommitLog.open({ env, objects, snapshotEvery: options.snapshotEvery })
    const store = new LsmStore(init, options, log)
    if (options.compactAutomatically) store.compactor.poke()
    return store
  }

  get version(): Version {
    return this.snapshots.current
  }

  get generation(): Generation {
    return this.log.generation
  }

  get databaseId(): string {
    return this.log.databaseId
  }

  get committedEpoch(): Epoch {
    return this.version.committedEpoch
  }

  /** Bytes of runs handed over and not committed: what back-pressure goes by. */
  get uncommittedBytes(): Bytes {
    return this.buffer.uncommittedBytes
  }

  /** How much writers must give way, by uncommitted bytes and by the sub-levels that readers look into. */
  get pressure(): Pressure {
    const { subLevelsSoft, subLevelsHard } = this.options
    const subLevels = this.subLevelCount
    const buffered = this.buffer.pressure()
    if (buffered === 'stop' || subLevels >= subLevelsHard) return 'stop'
    return buffered === 'slow' || subLevels >= subLevelsSoft ? 'slow' : 'none'
  }

  private get subLevelCount(): number {
    const { state, materialized } = this.version.groups
    return Math.max(state.subLevels.length, materialized.subLevels.length)
  }

  /**
   * Makes `epoch` durable: its runs are encoded and uploaded, then one commit, in the order of calls. No rows
   * and nothing changed: no request at all. Several may be under way.
   * @throws FENCED, CLOSED and what ended the store; then it has committed nothing that it did not say.
   */
  commit(input: CommitInput): Promise<CommitResult> {
    const stopped = this.stopped()
    if (stopped !== null) return Promise.reject(stopped)
    assert(input.epoch > this.lastEpoch, 'epochs are handed over in order')
    this.lastEpoch = input.epoch
    this.buffer.add(input.epoch, input.runs)
    this.tellPressure()
    const prepared = this.prepare(input)
    const result = this.finishCommit(input, prepared, this.lastCheckpoint)
    this.lastCheckpoint = result.catch(() => undefined)
    return result
  }

  /** Calls back after each commit, in order, before the commit resolves. @returns the way to stop it. */
  onVersion(listener: VersionListener): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  /**
   * The tail (shared memory) and decoded, verified blocks of an SST; concurrent requests share GETs.
   * @throws CORRUPTION, OBJECT_MISSING, and what the object store throws; none of them ends the store.
   */
  fetch(
    sst: SstMeta,
    want: { readonly tail: boolean; readonly blocks: readonly number[] },
  ): Promise<{ tail: Uint8Array | null; blocks: FetchedBlock[] }> {
    return this.fetcher.fetch(sst, want)
  }

  /** Pins the newest committed epoch, or an older one that is still retained. @throws EPOCH_UNAVAILABLE */
  pin(epoch?: Epoch): Pin {
    return this.snapshots.pin(epoch)
  }

  /** The oldest version that a thread still reads; its files stay. Call it when a thread starts, too. */
  threadApplied(threadName: string, versionId: number): void {
    this.snapshots.threadApplied(threadName, versionId)
  }

  /** The thread has ended and reads nothing more. */
  threadGone(threadName: string): void {
    this.snapshots.threadGone(threadName)
  }

  /** Forgets tables for ever: SSTs of theirs alone go at once, merges drop the rest. */
  async dropTables(tableIds: readonly TableId[]): Promise<void> {
    this.throwIfStopped()
    await this.enqueue((version) => dropChange(version, tableIds))
  }

  /** Merges everything into the base level. For tools; automatic compaction goes on by itself. */
  async compact(): Promise<void> {
    this.throwIfStopped()
    await this.compactor.compactAll()
  }

  /** Resolves when automatic compaction has nothing to do. */
  async compactionIdle(): Promise<void> {
    await this.compactor.idle()
  }

  /** Deletes objects that no reader can ask for. One at a time; may be killed anywhere. */
  async vacuum(): Promise<{ deleted: number }> {
    const run = this.vacuuming.then(() => this.vacuumOnce())
    this.vacuuming = run.catch(() => undefined)
    return await run
  }

  /** Resolves when no vacuum is under way. */
  async vacuumIdle(): Promise<void> {
    await this.vacuuming
  }

  /** For a writer that has been silent: is the database still its own? @throws FENCED, which ends it. */
  async checkOwner(): Promise<void> {
    this.throwIfStopped()
    try {
      await this.log.checkOwner()
    } catch (error) {
      const failure = toEngineError(error)
      // An unreachable store says nothing about the owner.
      if (failure.kind === 'conflict') this.fail(failure)
      throw failure
    }
  }

  metrics(): StoreMetrics {
    const { version } = this
    let sstCount = 0
    let sstBytes = 0
    for (const group of GROUPS) {
      const { subLevels, levels } = version.groups[group]
      for (const ssts of [...subLevels.map((subLevel) => subLevel.ssts), ...levels]) {
        sstCount += ssts.length
        for (const sst of ssts) sstBytes += sst.sizeBytes
      }
    }
    return {
      versionId: version.versionId,
      generation: this.generation,
      committedEpoch: version.committedEpoch,
      safeEpoch: this.snapshots.safeEpoch(),
      commitCount: this.commitCount,
      uncommittedBytes: this.buffer.uncommittedBytes,
      pressure: this.pressure,
      uploadInFlightBytes: this.uploader.inFlightBytes,
      uploadedBytes: this.uploader.uploadedBytes,
      sstCount,
      sstBytes,
      subLevelCounts: {
        state: version.groups.state.subLevels.length,
        materialized: version.groups.materialized.subLevels.length,
      },
      retainedVersionCount: this.snapshots.retainedCount,
      pinCount: this.snapshots.pinCount,
      compaction: { ...this.compactor.metrics },
      requests: { ...this.init.objects.requests },
    }
  }

  /** Finishes the commits under way, abandons compaction; the object store and the pool are the caller's. */
  close(): Promise<void> {
    this.closing ??= this.finish()
    return this.closing
  }

  private async finish(): Promise<void> {
    await this.compactor.close()
    await this.lastCheckpoint
    await this.commitQueue
    await this.vacuuming
    this.listeners.clear()
  }

  // ---- checkpoints ---------------------------------------------------------------------------

  private async finishCommit(
    input: CommitInput,
    preparing: Promise<Prepared>,
    before: Promise<unknown>,
  ): Promise<CommitResult> {
    try {
      const [prepared] = await Promise.all([preparing, before])
      const version = await this.enqueue(
        (newest) => checkpointChange(newest, input, prepared),
        input.epoch,
      )
      for (const numbers of prepared.numbers) numbers.settle()
      if (this.options.compactAutomatically) this.compactor.poke()
      this.vacuumByItself()
      const { encodeMs, uploadMs, readyMs } = prepared
      const phases = { encodeMs, uploadMs, commitMs: this.env.monotonicMs() - readyMs }
      const bytes = prepared.outputs.reduce((sum, { output }) => sum + output.bytesOut, 0)
      return { epoch: version.committedEpoch, version, phases, bytes }
    } catch (error) {
      throw this.fail(toEngineError(error))
    }
  }

  /** Encodes and uploads; the ids are minted here, in the order of calls. */
  private async prepare(input: CommitInput): Promise<Prepared> {
    const startedMs = this.env.monotonicMs()
    const dropped = new Set([...this.version.droppedTables, ...(input.droppedTables ?? [])])
    const runs = input.runs.filter((run) => run.entryCount > 0 && !dropped.has(run.tableId))
    const jobs = GROUPS.flatMap((group) => {
      const ofGroup = runs.filter((run) => run.group === group)
      return ofGroup.length === 0 ? [] : [this.encodeJob(input.epoch, group, ofGroup)]
    })
    const outputs = await Promise.all(
      jobs.map(async ({ job, numbers }) => {
        const output = await this.runJob(job, numbers)
        return { group: job.group, output }
      }),
    )
    const encodedMs = this.env.monotonicMs()
    await Promise.all(outputs.map(({ output }) => this.uploader.upload(output.ssts)))
    for (const { output } of outputs) {
      for (const sst of output.ssts) this.fetcher.warm(sst.meta, sst.body)
    }
    const readyMs = this.env.monotonicMs()
    return {
      outputs,
      numbers: jobs.map(({ numbers }) => numbers),
      encodeMs: encodedMs - startedMs,
      uploadMs: readyMs - encodedMs,
      readyMs,
    }
  }

  private encodeJob(
    epoch: Epoch,
    group: Group,
    runs: readonly SealedRun[],
  ): { readonly job: EncodeJob; readonly numbers: SstNumbers } {
    const inputBytes = runs.reduce((sum, run) => sum + run.byteCount, 0)
    const numbers = this.reserve(inputBytes, this.options.sstBytes)
    const sst = this.sstOptions(numbers, this.options.sstBytes)
    // No reader can hold an epoch between two checkpoints, so of a key only the last version is kept.
    return { job: { kind: 'encode', group, runs, safeEpoch: epoch, sst }, numbers }
  }

  private reserve(inputBytes: number, sstBytes: number): SstNumbers {
    // Numbers are free; too few would be a collision.
    return this.mint.reserve(2 * Math.ceil(inputBytes / sstBytes) + 8)
  }

  private sstOptions(numbers: SstNumbers, sstBytes: number): EncodeJob['sst'] {
    const { idPrefix, firstNumber } = numbers
    const { blockBytes } = this.options
    return { databaseId: this.databaseId, idPrefix, firstNumber, blockBytes, sstBytes }
  }

  private async runJob(job: Job, numbers: SstNumbers): Promise<JobOutput> {
    for (let attempt = 1; ; attempt++) {
      try {
        const output = await this.init.jobs.run(job)
        const { firstNumber, endNumber } = numbers
        assert(output.ssts.length <= endNumber - firstNumber, 'a job keeps to its numbers')
        return {
          ...output,
          ssts: output.ssts.map((sst) => ({ ...sst, meta: ownMeta(sst.meta) })),
        }
      } catch (error) {
        // A merge has given its inputs away; the compactor reads them again.
        const again = job.kind === 'encode' && toEngineError(error).kind === 'unavailable'
        if (!again || attempt >= JOB_ATTEMPTS) throw error
      }
    }
  }

  // ---- the queue of commits ------------------------------------------------------------------

  /**
   * Waits for its turn, builds the change on the newest version, and appends it. A null change commits
   * nothing. Failures of the log end the store.
   */
  private enqueue(build: (newest: Version) => Change | null, epoch?: Epoch): Promise<Version> {
    const turn = this.commitQueue.then(() => this.commitChange(build, epoch))
    this.commitQueue = turn.catch(() => undefined)
    return turn
  }

  private async commitChange(
    build: (newest: Version) => Change | null,
    epoch: Epoch | undefined,
  ): Promise<Version> {
    if (this.failure !== null) throw this.failure
    const { version } = this
    const change = build(version)
    if (change === null) {
      if (epoch !== undefined) this.buffer.release(epoch)
      return version
    }
    const delta: VersionDelta = {
      committedEpoch: version.committedEpoch,
      safeEpoch: version.safeEpoch,
      groups: {},
      offsets: {},
      ...change,
      versionId: version.versionId + 1,
      generation: this.generation,
    }
    const next = await this.append(delta)
    assert(next.committedEpoch >= version.committedEpoch, 'epochs commit in order')
    this.commitCount++
    this.snapshots.advance(next)
    const released = epoch === undefined ? [] : this.buffer.release(epoch)
    for (const listener of this.listeners) listener(delta, released)
    this.tellPressure()
    return next
  }

  private tellPressure(): void {
    const { pressure, uncommittedBytes, subLevelCount } = this
    if (pressure === this.toldPressure) return
    this.toldPressure = pressure
    this.init.onEvent?.({ kind: 'pressure', pressure, uncommittedBytes, subLevelCount })
  }

  private async append(delta: VersionDelta): Promise<Version> {
    try {
      return await this.log.append(delta)
    } catch (error) {
      throw this.fail(toEngineError(error))
    }
  }

  private fail(error: EngineError): EngineError {
    if (this.failure === null) {
      this.failure = error
      // Nobody waits for it here: what is under way sees the failure at its next step.
      this.compactor.close().catch(() => undefined)
      this.init.onEvent?.({ kind: 'storeFailed', error })
    }
    return this.failure
  }

  private stopped(): EngineError | null {
    if (this.failure !== null) return this.failure
    return this.closing === null ? null : new EngineError('CLOSED', 'the store is closed')
  }

  private throwIfStopped(): void {
    const stopped = this.stopped()
    if (stopped !== null) throw stopped
  }

  // ---- compaction and vacuum -----------------------------------------------------------------

  private makeCompactor(): Compactor {
    return new Compactor({
      env: this.env,
      options: this.options.compaction,
      version: () => this.version,
      safeEpoch: () => this.snapshots.safeEpoch(),
      hold: () => this.snapshots.hold(),
      read: (sst) => this.fetcher.object(sst),
      merge: (job, outputBytes) => this.merge(job, outputBytes),
      commit: (safeEpoch, group, build) => this.commitCompaction(safeEpoch, group, build),
      event: (event) => this.init.onEvent?.(event),
    })
  }

  private async merge(
    parts: Omit<MergeJob, 'sst' | 'kind'>,
    outputBytes: number,
  ): Promise<{ output: JobOutput; settle(): void }> {
    const inputBytes = parts.inputs.reduce((sum, { meta }) => sum + meta.sizeBytes, 0)
    const numbers = this.reserve(inputBytes, outputBytes)
    try {
      const sst = this.sstOptions(numbers, outputBytes)
      const output = await this.runJob({ kind: 'merge', ...parts, sst }, numbers)
      this.throwIfStopped()
      await this.uploader.upload(output.ssts)
      return { output, settle: numbers.settle }
    } catch (error) {
      numbers.settle()
      throw error
    }
  }

  private async commitCompaction(
    taskSafeEpoch: Epoch,
    group: Group,
    build: (version: Version) => GroupDelta | null,
  ): Promise<boolean> {
    let done = false
    await this.enqueue((newest) => {
      const groupDelta = build(newest)
      if (groupDelta === null) return null
      done = true
      const safeEpoch = taskSafeEpoch > newest.safeEpoch ? taskSafeEpoch : newest.safeEpoch
      return { safeEpoch, groups: { [group]: groupDelta } }
    })
    return done
  }

  /** Now and then, and once after opening: what dead writers left goes then. */
  private vacuumByItself(): void {
    const { vacuumEveryCommits } = this.options
    if (vacuumEveryCommits === 0 || this.commitCount < this.nextVacuumCommit) return
    this.nextVacuumCommit = this.commitCount + vacuumEveryCommits
    this.vacuum().catch((thrown: unknown) => {
      const error = toEngineError(thrown)
      if (error.kind !== 'closed') this.init.onEvent?.({ kind: 'vacuumFailed', error })
    })
  }

  private async vacuumOnce(): Promise<{ deleted: number }> {
    // A store that has failed does not know which of its commits have landed: it must delete nothing.
    this.throwIfStopped()
    const { env, log, snapshots, mint } = this
    const { keptCommitCount, vacuumMinAgeMs: minAgeMs } = this.options
    const { objects } = this.init
    const result = await vacuum({ env, objects, log, snapshots, mint, keptCommitCount, minAgeMs })
    this.fetcher.forget(result.sstIds)
    return { deleted: result.deleted }
  }
}

/** What a checkpoint changes in the newest version; null: nothing. */
function checkpointChange(newest: Version, input: CommitInput, prepared: Prepared): Change | null {
  const dropped = dropChange(newest, input.droppedTables ?? [])
  const groups: Partial<Record<Group, GroupDelta>> = { ...dropped?.groups }
  for (const { group, output } of prepared.outputs) {
    if (output.ssts.length === 0) continue
    const ssts = output.ssts.map((sst) => sst.meta)
    const subLevel = { subLevelId: newest.versionId + 1, overlapping: true, ssts }
    groups[group] = { ...(groups[group] ?? EMPTY_GROUP_DELTA), addedSubLevels: [subLevel] }
  }
  const offsets = changedOffsets(newest, input.offsets)
  const newCatalog =
    input.catalog !== undefined && !isDeepStrictEqual(input.catalog, newest.catalog)
  const unchanged =
    input.runs.length === 0 && dropped === null && Object.keys(offsets).length === 0 && !newCatalog
  if (unchanged) return null
  const addedTables = newTables(newest, input)
  return {
    ...dropped,
    committedEpoch: input.epoch,
    groups,
    offsets,
    ...(newCatalog ? { catalog: input.catalog } : {}),
    ...(addedTables.length > 0 ? { addedTables } : {}),
  }
}

function changedOffsets(
  newest: Version,
  offsets: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const changed: Record<string, unknown> = {}
  for (const [key, offset] of Object.entries(offsets)) {
    const current = newest.offsets[key] ?? null
    if (!isDeepStrictEqual(offset, current)) changed[key] = offset
  }
  return changed
}

/** Layouts of the tables that have rows for the first time. */
function newTables(newest: Version, input: CommitInput): readonly TableLayout[] {
  const known = new Set(newest.tables.map((layout) => layout.tableId))
  for (const tableId of newest.droppedTables) known.add(tableId)
  for (const tableId of input.droppedTables ?? []) known.add(tableId)
  const added: TableLayout[] = []
  for (const { tableId, prefixColumns } of input.runs) {
    if (known.has(tableId)) continue
    known.add(tableId)
    added.push({ tableId, prefixColumns })
  }
  return added
}

/** Takes tables away, with the SSTs that hold nothing else; null when all of them were dropped before. */
function dropChange(newest: Version, tableIds: readonly TableId[]): Change | null {
  const before = new Set(newest.droppedTables)
  const droppedTables = tableIds.filter((tableId) => !before.has(tableId))
  if (droppedTables.length === 0) return null
  const dropped = new Set([...before, ...droppedTables])
  const groups: Partial<Record<Group, GroupDelta>> = {}
  for (const group of GROUPS) {
    const { subLevels, levels } = newest.groups[group]
    const ssts = [...subLevels.flatMap((subLevel) => subLevel.ssts), ...levels.flat()]
    const removedSsts = ssts
      .filter((sst) => sst.tableIds.every((tableId) => dropped.has(tableId)))
      .map((sst) => sst.sstId)
    if (removedSsts.length > 0) groups[group] = { ...EMPTY_GROUP_DELTA, removedSsts }
  }
  return { droppedTables, groups }
}
