/**
 * Which versions of a key a job may leave out. For one user key, newest to oldest: every version above the safe epoch
 * stays, and the first at or below it; the rest goes. That first one goes too when it is a delete and nothing older
 * can lie beneath.
 * Hot path: once per entry that a job reads.
 */
import { assert } from '../../common/assert.ts'

export class DropRule {
  private readonly safeEpoch: number
  private readonly bottom: boolean
  private lastEpoch: number
  /** A version at or below the safe epoch was seen: all older ones are invisible to every reader. */
  private isHidden: boolean

  /** @param bottom nothing older lies beneath the job's target. */
  constructor(safeEpoch: number, bottom: boolean) {
    this.safeEpoch = safeEpoch
    this.bottom = bottom
    this.lastEpoch = 0
    this.isHidden = false
  }

  /**
   * Whether the next entry stays; entries come in the order of their versioned keys. Of entries with the same key and
   * epoch the first one counts, the others go.
   * @param isNewKey its user key is not that of the entry before.
   */
  keeps(isNewKey: boolean, epoch: number, isDelete: boolean): boolean {
    if (isNewKey) this.isHidden = false
    else {
      assert(epoch <= this.lastEpoch, 'versions come newest first')
      if (this.isHidden || epoch === this.lastEpoch) return false
    }
    this.lastEpoch = epoch
    if (epoch > this.safeEpoch) return true
    this.isHidden = true
    return !(isDelete && this.bottom)
  }
}
