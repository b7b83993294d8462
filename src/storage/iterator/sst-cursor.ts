/**
 * Walks SSTs that lie in memory whole, one after the other, entry by entry: the input of a merge. Every block is
 * verified before it is read. Used by pool threads.
 * Hot path: `next` runs once per entry merged.
 */
import { Block, BlockCursor, decodeBlock } from '../sst/block.ts'
import { SstTail } from '../sst/sst-reader.ts'
import type { SstMeta } from '../version/version.ts'

export interface SstInput {
  readonly meta: SstMeta
  readonly body: ArrayBuffer
}

export class SstCursor {
  /** The entry; its fields say nothing while `isDone`. */
  readonly entry: BlockCursor
  tableId: number
  /** The object in which the entry's value lies, from `valueStart` to `valueEnd`. */
  view: DataView
  isDone: boolean
  private readonly inputs: readonly SstInput[]
  private readonly skippedTables: ReadonlySet<number>
  private readonly databaseId: string
  private inputIndex: number
  private blockIndex: number
  private tail: SstTail | null
  private bytes: Uint8Array
  /** Where the block begins in `view`. */
  private blockStart: number

  /**
   * Stands before the first entry. @param inputs in key order, not overlapping. @param skippedTables tables whose
   * blocks are not read.
   */
  constructor(inputs: readonly SstInput[], skippedTables: ReadonlySet<number>, databaseId: string) {
    this.entry = new BlockCursor()
    this.tableId = 0
    this.isDone = false
    this.inputs = inputs
    this.skippedTables = skippedTables
    this.databaseId = databaseId
    this.inputIndex = -1
    this.blockIndex = 0
    this.tail = null
    this.bytes = new Uint8Array(0)
    this.view = new DataView(this.bytes.buffer)
    this.blockStart = 0
  }

  get valueStart(): number {
    return this.blockStart + this.entry.valueStart
  }

  get valueEnd(): number {
    return this.blockStart + this.entry.valueEnd
  }

  /** Columns that the filter of the entry's table covers in this SST. */
  get prefixColumns(): number {
    const table = this.tail?.properties().tables.find((item) => item.tableId === this.tableId)
    return table?.prefixColumns ?? 0
  }

  /** Goes to the next entry, or sets `isDone`. @throws CORRUPTION */
  next(): void {
    if (this.entry.next()) return
    while (this.nextBlock()) if (this.enterBlock()) return
    this.isDone = true
  }

  /** Goes to the next block of this SST or to the first of the next SST; false: there is none. */
  private nextBlock(): boolean {
    this.blockIndex++
    while (this.tail === null || this.blockIndex >= this.tail.blockCount) {
      this.inputIndex++
      if (this.inputIndex >= this.inputs.length) return false
      const { meta, body } = this.inputs[this.inputIndex]
      this.bytes = new Uint8Array(body, 0, Math.min(meta.sizeBytes, body.byteLength))
      this.view = new DataView(body)
      this.tail = SstTail.parse(meta, this.bytes.subarray(meta.tailOffset), this.databaseId)
      this.blockIndex = 0
    }
    return true
  }

  private enterBlock(): boolean {
    const tail = this.tail
    if (tail === null || this.skippedTables.has(tail.blockTableId(this.blockIndex))) return false
    const offset = tail.blockOffset(this.blockIndex)
    const stored = this.bytes.subarray(offset, offset + tail.blockLength(this.blockIndex))
    const block = new Block(decodeBlock(stored, { object: tail.sstId, offset }))
    this.tableId = block.tableId
    this.blockStart = block.body.byteOffset
    return this.entry.first(block)
  }
}
