/**
 * Which versions of a key a job may leave out (design of the store, "Snapshots and the drop rule"). For one
 * user key, newest to oldest: every version above the safe epoch stays, and the first at or below it; the rest
 * goes. That first one goes too when it is a delete and nothing older can lie beneath.
 * Hot path: once per entry that a job reads.
 */
import { assert } from '../../common/assert.ts'
import { readEpochDescending } from '../../common/bytes.ts'
import { EPOCH_BYTES } from '../key.ts'

export class DropRule {
  /** The entry asked about last is the first of its user key. */
  isNewKey: boolean
  private readonly safeEpoch: number
  private readonly bottom: boolean
  private lastKey: Uint8Array
  private lastKeyLength: number
  private lastEpoch: number
  /** A version at or below the safe epoch was seen: all older ones are invisible to every reader. */
  private isHidden: boolean

  /** @param bottom nothing older lies beneath the job's target. */
  constructor(safeEpoch: number, bottom: boolean) {
    this.isNewKey = false
    this.safeEpoch = safeEpoch
    this.bottom = bottom
    this.lastKey = new Uint8Array(256)
    this.lastKeyLength = -1
    this.lastEpoch = 0
    this.isHidden = false
  }

  /** Equal keys of two tables are two keys. */
  startTable(): void {
    this.lastKeyLength = -1
  }

  /**
   * Whether the next entry of the table stays; entries come in the order of their versioned keys. Of entries with the
   * same key and epoch the first one counts, the others go.
   */
  keeps(key: Uint8Array, start: number, end: number, isDelete: boolean): boolean {
    const userKeyEnd = end - EPOCH_BYTES
    const length = userKeyEnd - start
    const epoch = readEpochDescending(key, userKeyEnd)
    this.isNewKey = length !== this.lastKeyLength || !this.equalsLast(key, start, length)
    if (this.isNewKey) {
      this.remember(key, start, length)
      this.isHidden = false
    } else {
      assert(epoch <= this.lastEpoch, 'versions come newest first')
      if (this.isHidden || epoch === this.lastEpoch) return false
    }
    this.lastEpoch = epoch
    if (epoch > this.safeEpoch) return true
    this.isHidden = true
    return !(isDelete && this.bottom)
  }

  /** Neighbours differ near their ends, so it looks from there. */
  private equalsLast(key: Uint8Array, start: number, length: number): boolean {
    const last = this.lastKey
    for (let i = length - 1; i >= 0; i--) if (last[i] !== key[start + i]) return false
    return true
  }

  private remember(key: Uint8Array, start: number, length: number): void {
    if (length > this.lastKey.length) this.lastKey = new Uint8Array(length * 2)
    const last = this.lastKey
    for (let i = 0; i < length; i++) last[i] = key[start + i]
    this.lastKeyLength = length
  }
}
