/**
 * The commit log, `commit/`: its order is the history of versions and the only truth about which writer owns
 * the database. Each entry is a delta, each 100th the whole version instead. A writer opens it by appending an
 * entry with the next generation; from then on the older writer's next entry collides. Control thread.
 *
 * ```
 * payload = { databaseId, delta } | { databaseId, version }      (msgpack; see docs/format.md, "Commits")
 * ```
 */
import { assert } from '../../common/assert.ts'
import type { Env } from '../../common/env.ts'
import { EngineError } from '../../common/errors.ts'
import { type Generation, generation } from '../../common/ids.ts'
import type { ObjectStore } from '../object/object-store.ts'
import { Boundary } from './boundary.ts'
import { type CommitPayload, decodePayload } from './commit-payload.ts'
import { applyDelta, type VersionDelta } from './delta.ts'
import { checkChain, type LogEntry, NumberedLog } from './numbered-log.ts'
import { checkVersion, EMPTY_VERSION, type Version } from './version.ts'

export const COMMIT_PREFIX = 'commit/'
/** Every so many commits one carries the whole version. Part of the format. */
export const SNAPSHOT_EVERY = 100
/** Rivals that may win in front of an opening before it gives up. */
const OPEN_ATTEMPTS = 64
/** Looks at a log whose newest whole version is not where it should be, before that is an error. */
const RECOVER_ATTEMPTS = 4
/** Entries read at once while opening. */
const READ_AHEAD = 8

export interface CommitLogInit {
  readonly env: Env
  readonly objects: ObjectStore
  /** Only tests choose another value than SNAPSHOT_EVERY. */
  readonly snapshotEvery?: number
}

/** Where a history stands: its newest entry and the version it makes. */
export interface Recovered {
  readonly databaseId: string
  readonly version: Version
  readonly last: LogEntry
}

export class CommitLog {
  readonly databaseId: string
  readonly generation: Generation
  readonly boundary: Boundary
  private readonly env: Env
  private readonly log: NumberedLog
  private readonly snapshotEvery: number
  private last: LogEntry
  private current: Version
  private failure: EngineError | null = null

  private constructor(reader: CommitLogReader, env: Env, opened: Recovered) {
    this.env = env
    this.log = reader.log
    this.boundary = reader.boundary
    this.snapshotEvery = reader.snapshotEvery
    this.databaseId = opened.databaseId
    this.generation = opened.version.generation
    this.last = opened.last
    this.current = opened.version
  }

  /** The version that the newest entry of this writer makes. */
  get version(): Version {
    return this.current
  }

  /**
   * Recovers the newest version and takes the next generation, so that every older writer is fenced. On an
   * empty store it founds the database.
   * @throws CORRUPTION, STORE_FORMAT_NEWER, BUSY (rivals keep winning), and what the store throws.
   */
  static async open(init: CommitLogInit): Promise<CommitLog> {
    const reader = new CommitLogReader(init.objects, init.snapshotEvery ?? SNAPSHOT_EVERY)
    for (let attempt = 0; attempt < OPEN_ATTEMPTS; attempt++) {
      const recovered = await reader.recover()
      const opening = nextGeneration(recovered, init.env)
      const payload = payloadOf(
        opening.databaseId,
        opening.delta,
        opening.version,
        reader.snapshotEvery,
      )
      const entry = entryAfter(recovered?.last ?? null, opening.version, init.env.token(), payload)
      const result = await reader.log.append(entry)
      if (result.kind === 'lost') continue
      // The slot may have been free because the vacuum of a newer writer had emptied it.
      if ((await reader.boundary.refresh()) >= entry.number) continue
      const { databaseId, version } = opening
      return new CommitLog(reader, init.env, { databaseId, version, last: entry })
    }
    throw new EngineError('BUSY', 'other writers keep opening this database', {
      context: { attempts: OPEN_ATTEMPTS },
    })
  }

  /**
   * Appends the delta that follows the current version. One call at a time. Whatever it throws is terminal:
   * the entry may still land, so this writer must not go on.
   * @throws FENCED when another writer owns the database now.
   */
  async append(delta: VersionDelta): Promise<Version> {
    if (this.failure !== null) throw this.failure
    try {
      return await this.appendOnce(delta)
    } catch (error) {
      if (error instanceof EngineError) this.failure ??= error
      throw error
    }
  }

  /** Looks for an entry of a newer writer, for one that has not committed for a while. @throws FENCED. */
  async checkOwner(): Promise<void> {
    if (this.failure !== null) throw this.failure
    const number = this.last.number
    const next = await this.log.read(number + 1)
    // Read after: an own commit may have landed meanwhile.
    if (next !== null && next.generation > this.generation) throw this.fenced(next)
    if ((await this.boundary.refresh()) >= number) throw this.fenced(null)
  }

  /** Newest commit number that may be forgotten when `keepCount` are kept: opening needs a whole version. */
  boundaryFor(keepCount: number): number {
    const oldestKept = this.last.number - keepCount
    return Math.max(0, Math.floor(oldestKept / this.snapshotEvery) * this.snapshotEvery - 1)
  }

  key(number: number): string {
    return this.log.key(number)
  }

  numberOf(key: string): number | null {
    return this.log.numberOf(key)
  }

  private async appendOnce(delta: VersionDelta): Promise<Version> {
    assert(delta.versionId === this.last.number + 1, 'versions and commits share one order')
    assert(delta.generation === this.generation, 'a writer commits in its own generation')
    const version = applyDelta(this.current, delta)
    const payload = payloadOf(this.databaseId, delta, version, this.snapshotEvery)
    const entry = entryAfter(this.last, version, this.env.token(), payload)
    const result = await this.log.append(entry)
    if (result.kind === 'lost') throw this.fenced(result.to)
    if ((await this.boundary.refresh()) >= entry.number) throw this.fenced(null)
    this.last = entry
    this.current = version
    return version
  }

  private fenced(winner: LogEntry | null): EngineError {
    if (winner !== null && winner.generation <= this.generation) {
      return new EngineError('CORRUPTION', 'an older writer committed after this one opened', {
        context: { object: this.log.key(winner.number), generation: this.generation },
      })
    }
    this.failure = new EngineError(
      'FENCED',
      'another process has opened this database and owns it now; this one has stopped',
      { context: { generation: this.generation, winner: winner?.generation } },
    )
    return this.failure
  }
}

/** Reads a commit log without taking it over: for opening, and for tools that look at a database. */
export class CommitLogReader {
  readonly log: NumberedLog
  readonly boundary: Boundary
  readonly snapshotEvery: number

  constructor(objects: ObjectStore, snapshotEvery = SNAPSHOT_EVERY) {
    assert(snapshotEvery > 0, 'whole versions stand at intervals')
    this.log = new NumberedLog(objects, COMMIT_PREFIX)
    this.boundary = new Boundary(objects)
    this.snapshotEvery = snapshotEvery
  }

  /** The newest state of the log; null when there is no database. @throws CORRUPTION when a commit is missing. */
  async recover(): Promise<Recovered | null> {
    // Either a vacuum overtakes us, or the store says 404 for what is there: look again.
    for (let attempt = 1; ; attempt++) {
      const boundary = await this.boundary.refresh()
      const base = await this.base(boundary)
      const found = isGap(base) ? base : await this.follow(base)
      if (!isGap(found)) return found
      if (attempt < RECOVER_ATTEMPTS || (await this.boundary.refresh()) !== boundary) continue
      // A busy writer may have filled it since.
      if ((await this.log.read(found.missing)) === null) throw this.missing(found.missing)
    }
  }

  /** The newest whole version; null: only deltas so far. */
  private async base(boundary: number): Promise<Recovered | null | Gap> {
    const first = (Math.floor(boundary / this.snapshotEvery) + 1) * this.snapshotEvery
    const newest = await this.log.newest(first, this.snapshotEvery)
    if (newest === null) return boundary === 0 ? null : { missing: boundary + 1 }
    const entry = await this.log.read(newest)
    if (entry === null) return { missing: newest }
    const { databaseId, version } = decodePayload(entry, this.log.key(newest))
    if (version === undefined) throw this.corrupt(entry, 'it should carry a whole version')
    checkVersion(version)
    return { databaseId, version, last: entry }
  }

  /** Applies the deltas that stand after `base`. The log ends where nothing follows any more. */
  private async follow(base: Recovered | null): Promise<Recovered | null | Gap> {
    let at = base
    for (;;) {
      const from = (at?.last.number ?? 0) + 1
      const numbers = Array.from({ length: READ_AHEAD }, (_, index) => from + index)
      const entries = await Promise.all(numbers.map((number) => this.log.read(number)))
      for (const [index, entry] of entries.entries()) {
        if (entry === null) {
          const number = numbers[index]
          return (await this.goesOn(entries.slice(index + 1), number)) ? { missing: number } : at
        }
        at = this.step(at, entry)
      }
    }
  }

  /** Whether entries follow the one that is not there: those read along, or else the next one. */
  private async goesOn(behind: readonly (LogEntry | null)[], number: number): Promise<boolean> {
    if (behind.length === 0) return (await this.log.read(number + 1)) !== null
    return behind.some((entry) => entry !== null)
  }

  private step(at: Recovered | null, entry: LogEntry): Recovered {
    const key = this.log.key(entry.number)
    if (at !== null) checkChain(at.last, entry, key)
    const payload = decodePayload(entry, key)
    if (at !== null && payload.databaseId !== at.databaseId) {
      throw this.corrupt(entry, 'it belongs to another database')
    }
    const version = payload.version ?? applyDelta(at?.version ?? EMPTY_VERSION, payload.delta)
    if (version.versionId !== entry.number || version.generation !== entry.generation) {
      throw this.corrupt(entry, 'its version is not its own')
    }
    if (payload.version !== undefined) checkVersion(version)
    return { databaseId: payload.databaseId, version, last: entry }
  }

  private missing(number: number): EngineError {
    const object = this.log.key(number)
    return new EngineError('CORRUPTION', `the commit ${object} is missing: later ones are there`, {
      context: { object },
    })
  }

  private corrupt(entry: LogEntry, why: string): EngineError {
    const object = this.log.key(entry.number)
    return new EngineError('CORRUPTION', `the commit ${object} cannot be used: ${why}`, {
      context: { object },
    })
  }
}

/** A commit that should be there. */
interface Gap {
  readonly missing: number
}

function isGap(found: Recovered | null | Gap): found is Gap {
  return found !== null && 'missing' in found
}

/** What an opening writer appends: nothing changes but the generation. */
function nextGeneration(
  recovered: Recovered | null,
  env: Env,
): { databaseId: string; delta: VersionDelta; version: Version } {
  const version = recovered?.version ?? EMPTY_VERSION
  const delta: VersionDelta = {
    versionId: version.versionId + 1,
    generation: generation(version.generation + 1),
    committedEpoch: version.committedEpoch,
    safeEpoch: version.safeEpoch,
    groups: {},
    offsets: {},
  }
  const databaseId = recovered?.databaseId ?? env.token()
  return { databaseId, delta, version: applyDelta(version, delta) }
}

function payloadOf(
  databaseId: string,
  delta: VersionDelta,
  version: Version,
  snapshotEvery: number,
): CommitPayload {
  return version.versionId % snapshotEvery === 0 ? { databaseId, version } : { databaseId, delta }
}

function entryAfter(
  last: LogEntry | null,
  version: Version,
  token: string,
  payload: CommitPayload,
): LogEntry {
  return {
    number: version.versionId,
    generation: version.generation,
    token,
    previousToken: last?.token ?? null,
    payload,
  }
}
