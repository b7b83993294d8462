/**
 * Who still reads what: pins of queries (a version and an epoch), holds of compactions (a version only), and
 * the version each worker thread has reached. From it follow the safe epoch, below which compaction may
 * drop what is hidden, and the SSTs that the vacuum must spare. Control thread.
 */
import { assert } from '../../common/assert.ts'
import { EngineError } from '../../common/errors.ts'
import type { Epoch } from '../../common/ids.ts'
import { eachSst, type Version } from './version.ts'

/** A reader's hold on a version and an epoch: it sees exactly the rows as of that epoch. */
export interface Pin {
  readonly epoch: Epoch
  readonly version: Version
  /** Gives it up; a second call does nothing. */
  release(): void
}

interface Retained {
  readonly version: Version
  /** Pins and holds. */
  holds: number
}

export class Snapshots {
  /** Oldest first; the last one is current. */
  private retained: Retained[]
  private readonly pins = new Set<Pin>()
  /** Version that each thread may still read. */
  private readonly threads = new Map<string, number>()

  constructor(version: Version) {
    this.retained = [{ version, holds: 0 }]
  }

  get current(): Version {
    return this.retained[this.retained.length - 1].version
  }

  get retainedCount(): number {
    return this.retained.length
  }

  get pinCount(): number {
    return this.pins.size
  }

  advance(version: Version): void {
    assert(version.versionId === this.current.versionId + 1, 'versions follow one another')
    this.retained.push({ version, holds: 0 })
    this.prune()
  }

  /**
   * Pins the newest committed epoch, or an older one that a retained version ended with. Epochs between two
   * commits were never readable: a checkpoint keeps only the last version of a key.
   * @throws EPOCH_UNAVAILABLE
   */
  pin(epoch: Epoch = this.current.committedEpoch): Pin {
    const entry = this.retained.findLast(({ version }) => version.committedEpoch === epoch)
    if (entry === undefined) {
      throw new EngineError('EPOCH_UNAVAILABLE', 'no retained version ends with this epoch', {
        context: { epoch, committedEpoch: this.current.committedEpoch },
      })
    }
    const unhold = this.holdEntry(entry)
    const pin: Pin = {
      epoch,
      version: entry.version,
      release: () => {
        this.pins.delete(pin)
        unhold()
      },
    }
    this.pins.add(pin)
    return pin
  }

  /** Keeps the files of the current version, but no epoch, until the function returned is called. */
  hold(): () => void {
    return this.holdEntry(this.retained[this.retained.length - 1])
  }

  /** @param versionId the oldest version that the thread may still read from now on. */
  threadApplied(threadName: string, versionId: number): void {
    assert(versionId <= this.current.versionId, 'no thread is ahead of the log')
    this.threads.set(threadName, versionId)
    this.prune()
  }

  /** The thread has ended. */
  threadGone(threadName: string): void {
    this.threads.delete(threadName)
    this.prune()
  }

  /** min(committed epoch, every pinned epoch). */
  safeEpoch(): Epoch {
    let safe = this.current.committedEpoch
    for (const pin of this.pins) if (pin.epoch < safe) safe = pin.epoch
    assert(safe <= this.current.committedEpoch, 'no reader is ahead of the commit')
    return safe
  }

  /** Ids of the SSTs that some reader may still ask for. */
  referencedSsts(): Set<string> {
    const ids = new Set<string>()
    for (const { version } of this.retained) for (const sst of eachSst(version)) ids.add(sst.sstId)
    return ids
  }

  private holdEntry(entry: Retained): () => void {
    entry.holds++
    let held = true
    return () => {
      if (!held) return
      held = false
      entry.holds--
      this.prune()
    }
  }

  /** A thread moves through every version after its own, so all of those stay. */
  private prune(): void {
    let oldestOfThreads = this.current.versionId
    for (const versionId of this.threads.values()) {
      if (versionId < oldestOfThreads) oldestOfThreads = versionId
    }
    this.retained = this.retained.filter(
      ({ version, holds }) => holds > 0 || version.versionId >= oldestOfThreads,
    )
  }
}
