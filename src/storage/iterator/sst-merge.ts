/**
 * Merges sorted SSTs by a loser tree: one comparison per level of the tree and entry. Among equal versioned keys
 * the earlier input comes first. Used by pool threads.
 * Hot path: once per entry merged.
 * @see Knuth, The Art of Computer Programming 3, 5.4.1 (trees of losers)
 */
import { compareBytes } from '../../common/bytes.ts'
import type { BlockCursor } from '../sst/block.ts'
import type { SstCursor, SstInput } from './sst-cursor.ts'

export class SstMerge {
  private readonly cursors: readonly SstCursor[]
  /** `losers[1 ..]` are the inner nodes, `losers[0]` is the winner. */
  private readonly losers: Int32Array

  /** Stands at the first entry. @param cursors newest first, each before its first entry; at least one. */
  constructor(cursors: readonly SstCursor[]) {
    this.cursors = cursors
    this.losers = new Int32Array(cursors.length).fill(-1)
    for (let i = cursors.length - 1; i >= 0; i--) {
      cursors[i].next()
      this.enter(i)
    }
  }

  /** Whose entry is next; it is done when all are. */
  get current(): SstCursor {
    return this.cursors[this.losers[0]]
  }

  /** Goes past the current entry. */
  next(): void {
    const winner = this.losers[0]
    this.cursors[winner].next()
    this.replay(winner)
  }

  /** Building: a cursor waits at the first inner node that nobody has come to yet. */
  private enter(index: number): void {
    const losers = this.losers
    let winner = index
    for (let node = (index + losers.length) >>> 1; node > 0; node >>>= 1) {
      const other = losers[node]
      if (other === -1) {
        losers[node] = winner
        return
      }
      if (this.isBefore(other, winner)) {
        losers[node] = winner
        winner = other
      }
    }
    losers[0] = winner
  }

  private replay(index: number): void {
    const losers = this.losers
    let winner = index
    for (let node = (index + losers.length) >>> 1; node > 0; node >>>= 1) {
      const other = losers[node]
      if (this.isBefore(other, winner)) {
        losers[node] = winner
        winner = other
      }
    }
    losers[0] = winner
  }

  private isBefore(left: number, right: number): boolean {
    const a = this.cursors[left]
    const b = this.cursors[right]
    if (a.isDone) return false
    if (b.isDone) return true
    if (a.tableId !== b.tableId) return a.tableId < b.tableId
    return isKeyBefore(a.entry, b.entry, left < right)
  }
}

/** Compares versioned keys four bytes at a time. @param whenEqual the answer for equal keys. */
function isKeyBefore(a: BlockCursor, b: BlockCursor, whenEqual: boolean): boolean {
  const left = a.keyView
  const right = b.keyView
  const limit = Math.min(a.keyLength, b.keyLength)
  let at = 0
  for (; at + 4 <= limit; at += 4) {
    const word = left.getUint32(at)
    const other = right.getUint32(at)
    if (word !== other) return word < other
  }
  for (; at < limit; at++) {
    const difference = left.getUint8(at) - right.getUint8(at)
    if (difference !== 0) return difference < 0
  }
  return a.keyLength === b.keyLength ? whenEqual : a.keyLength < b.keyLength
}

/** Puts neighbouring inputs that follow one another in key order onto one cursor; fewer cursors, fewer comparisons. */
export function chainInputs(inputs: readonly SstInput[]): SstInput[][] {
  const chains: SstInput[][] = []
  for (const input of inputs) {
    const chain = chains.at(-1)
    const last = chain?.at(-1)?.meta.largest
    const first = input.meta.smallest
    if (chain && last && compareBytes(last, 0, last.length, first, 0, first.length) < 0) {
      chain.push(input)
    } else chains.push([input])
  }
  return chains
}
