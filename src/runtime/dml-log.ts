/**
 * Batches of rows that were accepted but are not committed: kept on the control thread, in order, so
 * that workers which recover get them again. Bounded in bytes; who brings more waits.
 */
import { assert } from '../common/assert.ts'
import type { EngineError } from '../common/errors.ts'
import type { Epoch } from '../common/ids.ts'

export interface DmlEntry {
  readonly tableId: number
  /** A chunk in chunk-codec bytes. */
  readonly batch: Uint8Array
  /** The epoch in which it was handed to the workers; a recovery moves it. */
  epoch: Epoch
  readonly committed: () => void
  readonly failed: (error: EngineError) => void
}

interface Waiter {
  readonly admit: () => void
  readonly refuse: (error: EngineError) => void
}

export class DmlLog {
  private entries: DmlEntry[] = []
  private bytes = 0
  private readonly bytesMax: number
  private waiters: Waiter[] = []

  /** @param bytesMax Bytes of uncommitted batches above which callers wait. One batch always fits. */
  constructor(bytesMax: number) {
    this.bytesMax = bytesMax
  }

  /** Resolves when there is room for another batch. */
  room(): Promise<void> {
    if (this.bytes < this.bytesMax && this.waiters.length === 0) return Promise.resolve()
    return new Promise((admit, refuse) => this.waiters.push({ admit, refuse }))
  }

  append(entry: DmlEntry): void {
    assert(
      this.entries.length === 0 || this.entries[this.entries.length - 1].epoch <= entry.epoch,
      'batches are kept in epoch order',
    )
    this.entries.push(entry)
    this.bytes += entry.batch.length
  }

  /** Forgets what `epoch` made durable, and tells who waits for it. */
  committed(epoch: Epoch): void {
    let count = 0
    while (count < this.entries.length && this.entries[count].epoch <= epoch) {
      this.bytes -= this.entries[count].batch.length
      count++
    }
    const gone = this.entries.splice(0, count)
    for (const entry of gone) entry.committed()
    while (this.waiters.length > 0 && this.bytes < this.bytesMax) this.waiters.shift()!.admit()
  }

  /** Who brings more waits for the next checkpoint. */
  get isFull(): boolean {
    return this.bytes >= this.bytesMax
  }

  get isEmpty(): boolean {
    return this.entries.length === 0
  }

  /** All batches again, oldest first, now in `epoch`. */
  replay(epoch: Epoch): readonly DmlEntry[] {
    for (const entry of this.entries) entry.epoch = epoch
    return this.entries
  }

  fail(error: EngineError): void {
    const entries = this.entries
    const waiters = this.waiters
    this.entries = []
    this.waiters = []
    this.bytes = 0
    for (const entry of entries) entry.failed(error)
    for (const waiter of waiters) waiter.refuse(error)
  }
}
