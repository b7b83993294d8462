/** Who waits until an epoch is collected, or committed. Control thread. */
import type { EngineError } from '../common/errors.ts'
import type { Epoch } from '../common/ids.ts'

interface Waiter {
  epoch: Epoch
  /** Waits for a catalog change, which a recovery takes back. */
  readonly ddl: boolean
  readonly resolve: (answer: Epoch) => void
  readonly reject: (error: EngineError) => void
}

export class EpochWaiters {
  private waiters: Waiter[] = []

  get isEmpty(): boolean {
    return this.waiters.length === 0
  }

  /** Resolves with what `serve` answers for `epoch` or a later one. */
  wait(epoch: Epoch, ddl = false): Promise<Epoch> {
    return new Promise((resolve, reject) => {
      this.waiters.push({ epoch, ddl, resolve, reject })
    })
  }

  /** The epoch, and all before it, have come. */
  serve(epoch: Epoch, answer: Epoch): void {
    const waiting: Waiter[] = []
    for (const waiter of this.waiters) {
      if (waiter.epoch <= epoch) waiter.resolve(answer)
      else waiting.push(waiter)
    }
    this.waiters = waiting
  }

  /** The epochs waited for un-happened; what they held is done again in this one. */
  moveTo(epoch: Epoch): void {
    for (const waiter of this.waiters) waiter.epoch = epoch
  }

  rejectDdl(error: EngineError): void {
    const waiters = this.waiters
    this.waiters = waiters.filter((waiter) => !waiter.ddl)
    for (const waiter of waiters) if (waiter.ddl) waiter.reject(error)
  }

  rejectAll(error: EngineError): void {
    const waiters = this.waiters
    this.waiters = []
    for (const waiter of waiters) waiter.reject(error)
  }
}
