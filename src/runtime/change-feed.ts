/**
 * Changes of views on their way to subscribers: kept by epoch until it commits, then handed out in
 * epoch order. Bounded: who does not read fast enough gets SUBSCRIPTION_LAGGED, never a gap unseen.
 */
import { EngineError } from '../common/errors.ts'
import type { Epoch } from '../common/ids.ts'

export interface ChangeBatch {
  readonly epoch: Epoch
  /** Chunks in chunk-codec bytes, in order. */
  readonly chunks: readonly Uint8Array[]
}

const BUFFERED_BYTES_MAX = 64 * 1024 * 1024

export class Subscription {
  readonly tableId: number
  /** Only later epochs are handed out. */
  readonly after: Epoch
  private readonly queue: ChangeBatch[] = []
  private queuedBytes = 0
  private waiter: {
    readonly resolve: (batch: ChangeBatch | null) => void
    readonly reject: (error: EngineError) => void
  } | null = null
  private ended: EngineError | 'closed' | null = null
  private readonly onClose: () => void

  constructor(tableId: number, after: Epoch, onClose: () => void) {
    this.tableId = tableId
    this.after = after
    this.onClose = onClose
  }

  /** The next epoch with changes; null after `close`. One call at a time. */
  next(): Promise<ChangeBatch | null> {
    const batch = this.queue.shift()
    if (batch !== undefined) {
      this.queuedBytes -= byteLength(batch)
      return Promise.resolve(batch)
    }
    if (this.ended === 'closed') return Promise.resolve(null)
    if (this.ended !== null) return Promise.reject(this.ended)
    return new Promise((resolve, reject) => {
      this.waiter = { resolve, reject }
    })
  }

  push(batch: ChangeBatch): void {
    if (this.ended !== null || batch.epoch <= this.after) return
    if (this.waiter !== null) {
      const { resolve } = this.waiter
      this.waiter = null
      resolve(batch)
      return
    }
    this.queue.push(batch)
    this.queuedBytes += byteLength(batch)
    if (this.queuedBytes > BUFFERED_BYTES_MAX) {
      this.queue.length = 0
      this.fail(
        new EngineError(
          'SUBSCRIPTION_LAGGED',
          'the subscriber reads slower than the view changes',
          {
            context: { tableId: this.tableId, bufferedBytes: this.queuedBytes, epoch: batch.epoch },
          },
        ),
      )
    }
  }

  fail(error: EngineError): void {
    if (this.ended !== null) return
    this.ended = error
    this.waiter?.reject(error)
    this.waiter = null
    this.onClose()
  }

  close(): void {
    if (this.ended !== null) return
    this.ended = 'closed'
    this.waiter?.resolve(null)
    this.waiter = null
    this.onClose()
  }
}

export class ChangeFeed {
  private readonly subscriptions = new Map<number, Set<Subscription>>()
  private uncommitted: { tableId: number; epoch: Epoch; chunk: Uint8Array }[] = []
  private readonly toggle: (tableId: number, on: boolean) => void

  /** @param toggle Tells the workers to send the changes of a table, or no more. */
  constructor(toggle: (tableId: number, on: boolean) => void) {
    this.toggle = toggle
  }

  get tables(): Iterable<number> {
    return this.subscriptions.keys()
  }

  /** @param after Epochs up to this one are not handed out. */
  subscribe(tableId: number, after: Epoch): Subscription {
    const subscription: Subscription = new Subscription(tableId, after, () =>
      this.remove(subscription),
    )
    let set = this.subscriptions.get(tableId)
    if (set === undefined) {
      set = new Set()
      this.subscriptions.set(tableId, set)
      this.toggle(tableId, true)
    }
    set.add(subscription)
    return subscription
  }

  private remove(subscription: Subscription): void {
    const set = this.subscriptions.get(subscription.tableId)
    if (set === undefined || !set.delete(subscription) || set.size > 0) return
    this.subscriptions.delete(subscription.tableId)
    this.toggle(subscription.tableId, false)
  }

  changed(tableId: number, epoch: Epoch, chunk: Uint8Array): void {
    this.uncommitted.push({ tableId, epoch, chunk })
  }

  /** Hands out all epochs up to `epoch`, oldest first, one batch an epoch and table. */
  committed(epoch: Epoch): void {
    const ready = this.uncommitted.filter((change) => change.epoch <= epoch)
    if (ready.length === 0) return
    this.uncommitted = this.uncommitted.filter((change) => change.epoch > epoch)
    const batches = new Map<string, { tableId: number; epoch: Epoch; chunks: Uint8Array[] }>()
    for (const change of ready) {
      const key = `${change.epoch}/${change.tableId}`
      const batch = batches.get(key)
      if (batch !== undefined) batch.chunks.push(change.chunk)
      else {
        batches.set(key, { tableId: change.tableId, epoch: change.epoch, chunks: [change.chunk] })
      }
    }
    const ordered = [...batches.values()].sort((a, b) => a.epoch - b.epoch)
    for (const { tableId, epoch: at, chunks } of ordered) {
      for (const subscription of this.subscriptions.get(tableId) ?? []) {
        subscription.push({ epoch: at, chunks })
      }
    }
  }

  /** Ends the subscriptions of tables that are no more. */
  drop(tableIds: readonly number[]): void {
    for (const tableId of tableIds) {
      for (const subscription of [...(this.subscriptions.get(tableId) ?? [])]) subscription.close()
    }
  }

  /** Epochs that un-happened. */
  forget(): void {
    this.uncommitted.length = 0
  }

  fail(error: EngineError): void {
    this.uncommitted.length = 0
    for (const set of [...this.subscriptions.values()]) {
      for (const subscription of [...set]) subscription.fail(error)
    }
  }
}

function byteLength(batch: ChangeBatch): number {
  let sum = 0
  for (const chunk of batch.chunks) sum += chunk.length
  return sum
}
