/**
 * Sealed runs that are collected but not in the version yet: what a read at the latest epoch adds to it. While such a
 * read is under way, the versions that its runs went into are kept from the workers, for with them they
 * would take the slabs back. Control thread.
 */
import type { ReleasedRun } from '../storage/shared-buffer.ts'
import type { SealedRun } from '../storage/state-store.ts'
import type { VersionDelta } from '../storage/version/delta.ts'

/** A version, with the runs that are in it. */
export interface VersionNews {
  readonly delta: VersionDelta
  readonly released: readonly ReleasedRun[]
}

export class LiveRuns {
  private runs: SealedRun[] = []
  private runBytes = 0
  /** Reads that are under way, each as the number of versions made before it began. */
  private readonly pins = new Set<{ readonly versionsBefore: number }>()
  private versionsMade = 0
  /** In order: to a worker, a version means all before it. */
  private held: { readonly number: number; readonly news: VersionNews }[] = []
  private readonly tell: (news: VersionNews) => void

  /** @param tell Tells the workers of a version. */
  constructor(tell: (news: VersionNews) => void) {
    this.tell = tell
  }

  get bytes(): number {
    return this.runBytes
  }

  add(runs: readonly SealedRun[]): void {
    for (const run of runs) {
      this.runs.push(run)
      this.runBytes += run.byteCount
    }
  }

  /** The runs of now; until `release` the workers do not get their slabs back. */
  pin(): { readonly runs: readonly SealedRun[]; release(): void } {
    const pin = { versionsBefore: this.versionsMade }
    this.pins.add(pin)
    return {
      runs: this.runs.slice(),
      release: () => {
        if (this.pins.delete(pin)) this.tellHeld()
      },
    }
  }

  /** @param workersRun False: there is nobody to tell, and who starts next begins with this version. */
  versionChanged(news: VersionNews, workersRun: boolean): void {
    const gone = new Set(news.released.map((run) => `${run.workerIndex}/${run.runId}`))
    if (gone.size > 0) {
      this.runs = this.runs.filter((run) => !gone.has(`${run.workerIndex}/${run.runId}`))
      this.runBytes = this.runs.reduce((sum, run) => sum + run.byteCount, 0)
    }
    if (!workersRun) return
    this.versionsMade++
    this.held.push({ number: this.versionsMade, news })
    this.tellHeld()
  }

  /** Their workers are gone, with the memory that they lay in; reads under way keep what they hold. */
  forget(): void {
    this.runs = []
    this.runBytes = 0
    this.held = []
  }

  /** Tells what no read waits for: a read that began after a version does not use the runs that are in it. */
  private tellHeld(): void {
    let oldestPin = Number.POSITIVE_INFINITY
    for (const { versionsBefore } of this.pins) oldestPin = Math.min(oldestPin, versionsBefore)
    while (this.held.length > 0 && this.held[0].number <= oldestPin) {
      this.tell(this.held.shift()!.news)
    }
  }
}
