/**
 * The shared buffer: sealed runs that were handed over and are not committed yet. It counts them, says how
 * hard writers must be slowed, and gives the runs back to their arenas once they are committed. The bytes stay
 * where the workers wrote them. Control thread.
 */
import { assert } from '../common/assert.ts'
import { type Bytes, bytes, type Epoch } from '../common/ids.ts'
import type { SealedRun } from './state-store.ts'

export interface ReleasedRun {
  readonly workerIndex: number
  readonly runId: number
}

/** `slow`: above the soft limit, give way gradually. `stop`: at the hard limit, let barriers wait. */
export type Pressure = 'none' | 'slow' | 'stop'

export class SharedBuffer {
  private readonly softBytes: Bytes
  private readonly hardBytes: Bytes
  private readonly runs = new Map<Epoch, readonly SealedRun[]>()
  private heldBytes = 0

  constructor(limits: { readonly softBytes: Bytes; readonly hardBytes: Bytes }) {
    this.softBytes = limits.softBytes
    this.hardBytes = limits.hardBytes
  }

  /** Bytes of runs that are not committed yet. */
  get uncommittedBytes(): Bytes {
    return bytes(this.heldBytes)
  }

  pressure(): Pressure {
    if (this.heldBytes >= this.hardBytes) return 'stop'
    return this.heldBytes > this.softBytes ? 'slow' : 'none'
  }

  /** @param epoch the checkpoint that will commit them. */
  add(epoch: Epoch, runs: readonly SealedRun[]): void {
    assert(!this.runs.has(epoch), 'a checkpoint is handed over once')
    this.runs.set(epoch, runs)
    for (const run of runs) this.heldBytes += run.byteCount
  }

  /** The checkpoint is committed: its slabs may be used again. */
  release(epoch: Epoch): readonly ReleasedRun[] {
    const runs = this.runs.get(epoch) ?? []
    this.runs.delete(epoch)
    for (const run of runs) this.heldBytes -= run.byteCount
    assert(this.heldBytes >= 0, 'no run is released twice')
    return runs.map(({ workerIndex, runId }) => ({ workerIndex, runId }))
  }
}
