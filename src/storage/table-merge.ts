/**
 * The merge of a table's layers into rows: once per user key, its newest version that the read may see,
 * without deletes. A loser tree: one comparison per doubling of the inputs.
 * Hot path: one comparison per level of the tree and entry scanned.
 */
import { compareBytes, equalBytes } from '../common/bytes.ts'
import { type ByteListBuilder, copyBytes } from './byte-list.ts'
import { EPOCH_BYTES } from './key.ts'
import { END, READY, type Step, type TableCursor, WAIT } from './table-cursors.ts'

/** Where rows go. */
export interface RowTarget {
  readonly keys: ByteListBuilder
  readonly values: ByteListBuilder
}

export class TableMerge {
  private readonly inputs: TableCursor[] = []
  private count = 0
  /** 1: the input stands on its first entry, or has none. */
  private primed = new Uint8Array(8)
  /** `tree[0]` is the winner, the others are the losers of their nodes. */
  private tree = new Int32Array(8)
  private built = false
  /** Input that must advance before the merge goes on, -1: none. */
  private behind = -1
  private lastKey = new Uint8Array(64)
  /** -1: no key yet. */
  private lastLength = -1

  /** Begins a new merge without inputs. */
  clear(): void {
    this.count = 0
    this.built = false
    this.behind = -1
    this.lastLength = -1
  }

  /** Adds an opened cursor: newer layers before older ones. */
  add(cursor: TableCursor): void {
    if (this.count === this.tree.length) {
      this.tree = new Int32Array(this.count * 2)
      const primed = new Uint8Array(this.count * 2)
      primed.set(this.primed)
      this.primed = primed
    }
    this.primed[this.count] = 0
    this.inputs[this.count++] = cursor
  }

  /**
   * Stands every input on its first entry: READY or WAIT. All of them have asked for what they miss when
   * it says WAIT; it is repeated then.
   */
  start(): Step {
    if (this.built) return READY
    let missing = false
    for (let i = 0; i < this.count; i++) {
      if (this.primed[i] === 1) continue
      if (this.inputs[i].advance() === WAIT) missing = true
      else this.primed[i] = 1
    }
    if (missing) return WAIT
    this.build()
    return READY
  }

  /** In a new poll, before `fill`: finds the blocks of all inputs again; false: some are missing. */
  reacquire(): boolean {
    let all = true
    for (let i = 0; i < this.count; i++) if (!this.inputs[i].reacquire()) all = false
    return all
  }

  needs(sstId: string, blockIndex: number): boolean {
    for (let i = 0; i < this.count; i++) if (this.inputs[i].needs(sstId, blockIndex)) return true
    return false
  }

  /**
   * Appends rows until the target has `rowsEnd` of them or `bytesEnd` bytes of values (READY), nothing is left
   * (END) or a block is missing (WAIT).
   */
  fill(target: RowTarget, rowsEnd: number, bytesEnd: number): Step {
    if (this.count === 0) return END
    const { inputs, tree } = this
    const { keys, values } = target
    while (keys.count < rowsEnd && values.byteLength < bytesEnd) {
      if (this.behind >= 0) {
        const late = this.behind
        if (inputs[late].advance() === WAIT) return WAIT
        this.behind = -1
        this.replay(late)
      }
      const winner = tree[0]
      const input = inputs[winner]
      if (input.ended) return END
      if (!this.isLastKey(input)) {
        this.rememberKey(input)
        if (!input.isDelete) {
          keys.append(input.key, input.keyStart, input.keyEnd)
          values.append(input.body, input.valueStart, input.valueEnd)
        }
      }
      if (input.advance() === WAIT) {
        this.behind = winner
        return WAIT
      }
      this.replay(winner)
    }
    return READY
  }

  private isLastKey(input: TableCursor): boolean {
    return (
      this.lastLength >= 0 &&
      equalBytes(input.key, input.keyStart, input.keyEnd, this.lastKey, 0, this.lastLength)
    )
  }

  private rememberKey(input: TableCursor): void {
    const length = input.keyEnd - input.keyStart
    if (length > this.lastKey.length) this.lastKey = new Uint8Array(length * 2)
    copyBytes(input.key, input.keyStart, input.keyEnd, this.lastKey, 0)
    this.lastLength = length
  }

  private build(): void {
    const { tree, count } = this
    tree.fill(-1)
    for (let i = 0; i < count; i++) {
      let winner = i
      let node = (i + count) >> 1
      while (node > 0) {
        if (tree[node] < 0) break
        if (this.isBefore(tree[node], winner)) {
          const loser = winner
          winner = tree[node]
          tree[node] = loser
        }
        node >>= 1
      }
      tree[node] = winner
    }
    this.built = true
  }

  /** The input has moved: plays its matches again up to the root. */
  private replay(input: number): void {
    const { tree, count } = this
    let winner = input
    for (let node = (input + count) >> 1; node > 0; node >>= 1) {
      const other = tree[node]
      if (this.isBefore(other, winner)) {
        tree[node] = winner
        winner = other
      }
    }
    tree[0] = winner
  }

  /** Order of keys, then newer versions first. Memory is newer than any SST. */
  private isBefore(left: number, right: number): boolean {
    const a = this.inputs[left]
    const b = this.inputs[right]
    if (a.ended) return false
    if (b.ended) return true
    const order = compareBytes(a.key, a.keyStart, a.keyEnd, b.key, b.keyStart, b.keyEnd)
    if (order !== 0) return order < 0
    if (a.fromSst && b.fromSst) {
      const { keyEnd } = a
      const end = b.keyEnd + EPOCH_BYTES
      const newer = compareBytes(a.key, keyEnd, keyEnd + EPOCH_BYTES, b.key, b.keyEnd, end)
      if (newer !== 0) return newer < 0
    }
    return left < right
  }
}
