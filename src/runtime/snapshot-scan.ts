/**
 * Rows of a table as of one epoch, as chunks: what queries read. Goes through the same caches as the
 * operators, and leaves the control thread's event loop between batches.
 */
import type { Env } from '../common/env.ts'
import { EngineError } from '../common/errors.ts'
import { tableId, VNODE_COUNT } from '../common/ids.ts'
import type { ControlBlockSource } from '../storage/cache/block-sources.ts'
import type { SnapshotReader } from '../storage/snapshot-reader.ts'
import type { ByteList, TableOptions } from '../storage/state-store.ts'
import { CHUNK_ROWS, Chunk } from '../stream/chunk.ts'
import { ColumnBuilder } from '../stream/column-builder.ts'
import type { StateTableSpec } from '../stream/plan.ts'
import { rowDecoderOf } from '../stream/state-table.ts'

/** The pipeline waits an outage of the store out; who asks a question does not. */
const PATIENCE_MS = 30_000

export class SnapshotScan {
  private readonly reader: SnapshotReader
  private readonly blocks: ControlBlockSource
  private readonly env: Env

  constructor(reader: SnapshotReader, blocks: ControlBlockSource, env: Env) {
    this.reader = reader
    this.blocks = blocks
    this.env = env
  }

  /**
   * All columns of the table's rows, in key order within a vnode.
   * @param prefix A table key prefix (vnode and whole leading columns): only rows below it.
   */
  async *rows(spec: StateTableSpec, prefix: Uint8Array | null): AsyncGenerator<Chunk> {
    const options: TableOptions = {
      tableId: tableId(spec.tableId),
      group: spec.group,
      prefixColumns: spec.prefixColumns,
    }
    if (prefix !== null) yield* this.below(spec, options, prefix)
    else yield* this.whole(spec, options)
  }

  private async *whole(spec: StateTableSpec, options: TableOptions): AsyncGenerator<Chunk> {
    const from = new Uint8Array([0, 0])
    const to = new Uint8Array([VNODE_COUNT >> 8, VNODE_COUNT & 0xff])
    const scan = this.reader.scan(options, from, to)
    try {
      for (;;) {
        while (!scan.poll()) await this.arrival()
        if (scan.keys.count === 0) return
        yield* decoded(spec, scan.keys, scan.values)
      }
    } finally {
      scan.close()
    }
  }

  private async *below(
    spec: StateTableSpec,
    options: TableOptions,
    prefix: Uint8Array,
  ): AsyncGenerator<Chunk> {
    const prefixes = { count: 1, offsets: new Uint32Array([0, prefix.length]), data: prefix }
    const found = this.reader.scanMany(options, prefixes)
    try {
      while (!found.poll()) await this.arrival()
    } catch (error) {
      this.reader.giveUp() // Or what it waits for would be kept for it.
      throw error
    }
    yield* decoded(spec, found.keys, found.values)
  }

  /** Waits for the next block. @throws STORE_TIMEOUT */
  private arrival(): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = this.env.setTimer(PATIENCE_MS, () =>
        reject(
          new EngineError('STORE_TIMEOUT', 'the object store has not answered the query in time', {
            context: { waitedMs: PATIENCE_MS, hint: 'Try again when the store answers.' },
          }),
        ),
      )
      this.blocks.waitForArrival().then(() => {
        timer.cancel()
        resolve()
      }, reject)
    })
  }
}

function* decoded(spec: StateTableSpec, keys: ByteList, values: ByteList): Generator<Chunk> {
  const decoder = rowDecoderOf(spec)
  for (let from = 0; from < keys.count; from += CHUNK_ROWS) {
    const to = Math.min(from + CHUNK_ROWS, keys.count)
    const builders = spec.schema.map((field) => new ColumnBuilder(field.type))
    decoder.decode(keys, values, from, to, builders)
    yield new Chunk(
      to - from,
      null,
      null,
      builders.map((builder) => builder.finish()),
    )
  }
}
