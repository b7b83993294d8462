/**
 * Where a job's entries go: applies the drop rule and cuts the stream into SSTs of the wanted size, never
 * between versions of one user key. Entries come table by table in the order of their versioned keys.
 * Hot path: once per entry that a job reads.
 */
import { DropRule } from '../iterator/drop-rule.ts'
import type { SstOptions } from '../job.ts'
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

  constructor(options: SstWriterOptions) {
    this.entriesOut = 0
    this.options = options
    this.rule = new DropRule(options.safeEpoch, options.bottom)
    this.ssts = []
    this.builder = null
    this.bytesOut = 0
    this.tableId = 0
    this.prefixColumns = 0
  }

  startTable(tableId: number, prefixColumns: number): void {
    this.tableId = tableId
    this.prefixColumns = prefixColumns
    this.rule.startTable()
    this.builder?.startTable(tableId, prefixColumns)
  }

  /** Of entries with one versioned key the first stays. */
  add(
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    value: DataView,
    valueStart: number,
    valueEnd: number,
    isDelete: boolean,
  ): void {
    const keeps = this.rule.keeps(key, keyStart, keyEnd, isDelete)
    let builder = this.builder
    if (builder !== null && this.rule.isNewKey) {
      if (builder.estimatedBytes >= this.options.sst.sstBytes && builder.hasEntries) {
        this.cut(builder)
        builder = null
      }
    }
    if (!keeps) return
    if (builder === null) builder = this.open()
    builder.add(key, keyStart, keyEnd, value, valueStart, valueEnd, isDelete)
    this.entriesOut++
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
    return builder
  }

  private cut(builder: SstBuilder): void {
    const built = builder.finish()
    this.ssts.push(built)
    this.bytesOut += built.length
    this.builder = null
  }
}
