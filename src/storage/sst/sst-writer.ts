/**
 * Where a job's entries go: applies the drop rule and cuts the stream into SSTs of the wanted size, never
 * between versions of one user key. Entries come table by table in the order of their versioned keys.
 * Hot path: once per entry that a job reads.
 */
import { assert } from '../../common/assert.ts'
import { DropRule } from '../iterator/drop-rule.ts'
import type { SstOptions } from '../job.ts'
import { EPOCH_BYTES } from '../key.ts'
import type { Group } from '../version/version.ts'
import { type BuiltSst, SstBuilder } from './sst-builder.ts'

export interface SstWriterOptions {
  readonly sst: SstOptions
  readonly group: Group
  readonly safeEpoch: number
  readonly bottom: boolean
  /** Newest epoch the job knows of, for the properties. */
  readonly creationEpoch: number
  /** Upper estimate of what will be written in all, in bytes: sizes the buffers. */
  readonly expectedBytes: number
}

export class SstWriter {
  entriesOut: number
  private readonly options: SstWriterOptions
  private readonly rule: DropRule
  private readonly ssts: BuiltSst[]
  private builder: SstBuilder | null
  private bytesOut: number
  private tableId: number
  private prefixColumns: number
  /** The versioned key added last, kept or not, is `lastKey[0 .. lastKeyLength]`; -1: none of this table. */
  private lastKey: Uint8Array
  private lastKeyView: DataView
  private lastKeyLength: number
  /** Leading bytes that it has in common with the last key that was kept: of sorted keys, the least of what neighbours between them share. */
  private sharedWithKept: number

  constructor(options: SstWriterOptions) {
    this.entriesOut = 0
    this.options = options
    this.rule = new DropRule(options.safeEpoch, options.bottom)
    this.ssts = []
    this.builder = null
    this.bytesOut = 0
    this.tableId = 0
    this.prefixColumns = 0
    this.lastKey = new Uint8Array(256)
    this.lastKeyView = new DataView(this.lastKey.buffer)
    this.lastKeyLength = -1
    this.sharedWithKept = 0
  }

  startTable(tableId: number, prefixColumns: number): void {
    this.tableId = tableId
    this.prefixColumns = prefixColumns
    this.lastKeyLength = -1
    this.sharedWithKept = 0
    this.builder?.startTable(tableId, prefixColumns)
  }

  /** Of entries with one versioned key the first stays. Keys must not descend. */
  add(
    key: DataView,
    keyStart: number,
    keyEnd: number,
    value: DataView,
    valueStart: number,
    valueEnd: number,
    isDelete: boolean,
  ): void {
    const isNewKey = this.follow(key, keyStart, keyEnd - keyStart)
    const keyLength = this.lastKeyLength
    const view = this.lastKeyView
    const high = ~view.getInt32(keyLength - 8) >>> 0
    const epoch = high * 2 ** 32 + (~view.getInt32(keyLength - 4) >>> 0)
    if (isNewKey) this.cutIfFull()
    if (!this.rule.keeps(isNewKey, epoch, isDelete)) return
    const builder = this.builder ?? this.open()
    const shared = this.sharedWithKept
    builder.add(this.lastKey, view, keyLength, shared, epoch, value, valueStart, valueEnd, isDelete)
    this.sharedWithKept = keyLength
    this.entriesOut++
  }

  /**
   * Takes the key over and finds what it shares with the one before, four bytes at a time. Returns whether its user
   * key is another.
   */
  private follow(key: DataView, start: number, length: number): boolean {
    assert(length >= EPOCH_BYTES, 'a versioned key has an epoch')
    if (length > this.lastKey.length) this.growKey(length)
    const previousLength = this.lastKeyLength
    const limit = Math.min(length, previousLength)
    const last = this.lastKeyView
    let at = 0
    let order = 0
    for (; at + 4 <= limit; at += 4) {
      const word = key.getInt32(start + at)
      const difference = word ^ last.getInt32(at)
      if (difference !== 0) {
        order = word >>> 0 > last.getUint32(at) ? 1 : -1
        at += Math.clz32(difference) >>> 3
        break
      }
    }
    while (order === 0 && at < limit) {
      order = key.getUint8(start + at) - last.getUint8(at)
      if (order === 0) at++
    }
    assert(order > 0 || (order === 0 && length >= previousLength), 'keys do not descend')
    if (at < this.sharedWithKept) this.sharedWithKept = at
    let from = at
    for (; from + 4 <= length; from += 4) last.setInt32(from, key.getInt32(start + from))
    for (; from < length; from++) last.setUint8(from, key.getUint8(start + from))
    this.lastKeyLength = length
    return length !== previousLength || at < length - EPOCH_BYTES
  }

  private growKey(length: number): void {
    const grown = new Uint8Array(length * 2)
    grown.set(this.lastKey)
    this.lastKey = grown
    this.lastKeyView = new DataView(grown.buffer)
  }

  /** An SST ends only between user keys. */
  private cutIfFull(): void {
    const builder = this.builder
    if (builder === null || builder.estimatedBytes < this.options.sst.sstBytes) return
    if (builder.hasEntries) this.cut(builder)
  }

  /** What was written, in key order. */
  finish(): readonly BuiltSst[] {
    if (this.builder?.hasEntries) this.cut(this.builder)
    return this.ssts
  }

  private open(): SstBuilder {
    const { sst, group, creationEpoch, expectedBytes } = this.options
    const rest = Math.max(expectedBytes - this.bytesOut, 4096)
    const builder = new SstBuilder({
      databaseId: sst.databaseId,
      sstId: `${sst.idPrefix}-${sst.firstNumber + this.ssts.length}`,
      writer: sst.idPrefix,
      group,
      creationEpoch,
      blockBytes: sst.blockBytes,
      expectedBytes: Math.ceil(Math.min(rest, sst.sstBytes * 1.02 + 2 * sst.blockBytes + 4096)),
    })
    builder.startTable(this.tableId, this.prefixColumns)
    this.builder = builder
    // In another SST than its predecessor a key shares nothing with it.
    this.sharedWithKept = 0
    return builder
  }

  private cut(builder: SstBuilder): void {
    const built = builder.finish()
    this.ssts.push(built)
    this.bytesOut += built.length
    this.builder = null
  }
}
