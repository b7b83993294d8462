/**
 * Fan-out: rows of one actor to the actors of one downstream fragment, by vnode, to one, or to all. Barriers
 * go to all of them. Small outputs are gathered into fuller chunks per target; they leave when the chunk is
 * full, when the actor's input pauses, and before a barrier, so batching never adds latency at low load.
 * Hot path: `push`, once per chunk, with one loop over the rows.
 */
import { assert } from '../common/assert.ts'
import { vnodeOfHash } from '../common/hash.ts'
import { VNODE_COUNT } from '../common/ids.ts'
import { Chunk, DELETE, INSERT, UPDATE_DELETE, UPDATE_INSERT } from '../stream/chunk.ts'
import type { Column } from '../stream/column.ts'
import type { RowList } from '../stream/column-builder.ts'
import { ColumnBuilder } from '../stream/column-builder.ts'
import type { Message } from '../stream/message.ts'
import { hashRows } from '../stream/row-hash.ts'
import type { OutputChannel } from './exchange.ts'
import { workerOfVnode } from './placement.ts'

/** Where each row goes: `only` to one output, `all` to each, `hash` to the output of its vnode's worker. */
export type Route =
  | { readonly kind: 'only'; readonly output: number }
  | { readonly kind: 'all' }
  | { readonly kind: 'hash'; readonly columns: readonly number[]; readonly workerCount: number }

export interface DispatcherOptions {
  /** Downstream fragment, for metrics. */
  readonly toFragment: number
  readonly route: Route
  /** One per downstream actor; with `hash`, output i is that of worker i. */
  readonly outputs: readonly OutputChannel[]
  /** Rows of a full chunk. */
  readonly chunkRows: number
}

/** The sending side of one exchange, of one actor. */
export class Dispatcher {
  readonly toFragment: number
  readonly outputs: readonly OutputChannel[]
  private readonly route: Route
  private readonly stages: readonly Stage[]
  /** Output of each vnode; only for `hash`. */
  private readonly outputOfVnode = new Uint16Array(VNODE_COUNT)
  private readonly counts: Uint32Array
  private hashes = new Uint32Array(0)
  private targets = new Uint16Array(0)

  constructor(options: DispatcherOptions) {
    const { route, outputs, chunkRows } = options
    this.toFragment = options.toFragment
    assert(outputs.length > 0, 'an exchange leads somewhere')
    this.route = route
    this.outputs = outputs
    this.stages = outputs.map((output) => new Stage(output, chunkRows))
    this.counts = new Uint32Array(outputs.length + 1)
    if (route.kind === 'hash') {
      assert(outputs.length === route.workerCount, 'a hash exchange reaches every worker')
      for (let vnode = 0; vnode < VNODE_COUNT; vnode++) {
        this.outputOfVnode[vnode] = workerOfVnode(vnode, route.workerCount)
      }
    }
  }

  /** Takes the visible rows of a chunk, all of them: what cannot leave now waits in the channels. */
  push(chunk: Chunk): void {
    const { route } = this
    if (route.kind === 'hash' && this.outputs.length > 1) {
      this.pushHashed(chunk, route.columns)
      return
    }
    const rows = visibleRows(chunk)
    const count = rows === null ? chunk.rowCount : rows.length
    if (route.kind !== 'all') {
      this.stages[route.kind === 'only' ? route.output : 0].push(chunk, rows, 0, count)
      return
    }
    for (const stage of this.stages) stage.push(chunk, rows, 0, count)
  }

  private pushHashed(chunk: Chunk, columns: readonly number[]): void {
    const count = this.findTargets(chunk, columns)
    const { counts, targets, stages } = this
    for (let output = 0; output < stages.length; output++) {
      // All rows to one: no list needed.
      if (counts[output] === chunk.rowCount) {
        stages[output].push(chunk, null, 0, chunk.rowCount)
        return
      }
    }
    const whole = this.partPairs(chunk)
    const rows = new Uint32Array(count)
    for (let output = 0, start = 0; output < stages.length; output++) {
      const size = counts[output]
      counts[output] = start
      start += size
    }
    for (let row = 0; row < chunk.rowCount; row++) {
      if (chunk.visible === null || chunk.visible[row] === 1) rows[counts[targets[row]]++] = row
    }
    for (let output = 0, start = 0; output < stages.length; output++) {
      stages[output].push(whole, rows, start, counts[output])
      start = counts[output]
    }
  }

  /** Fills `targets` per row and `counts` per output. @returns how many rows are visible. */
  private findTargets(chunk: Chunk, columns: readonly number[]): number {
    const { rowCount, visible } = chunk
    if (this.hashes.length < rowCount) {
      this.hashes = new Uint32Array(rowCount)
      this.targets = new Uint16Array(rowCount)
    }
    const { hashes, targets, counts, outputOfVnode } = this
    const keys: Column[] = columns.map((column) => chunk.columns[column])
    hashRows(keys, rowCount, hashes)
    counts.fill(0)
    for (let row = 0; row < rowCount; row++) {
      const target = outputOfVnode[vnodeOfHash(hashes[row])]
      targets[row] = target
      counts[target] += visible === null ? 1 : visible[row]
    }
    let count = 0
    for (let output = 0; output < this.outputs.length; output++) count += counts[output]
    return count
  }

  /** An update whose two rows part ways is a delete here and an insert there. */
  private partPairs(chunk: Chunk): Chunk {
    const { ops, rowCount, visible } = chunk
    if (ops === null) return chunk
    let changed: Uint8Array | null = null
    for (let row = 0; row + 1 < rowCount; row++) {
      if (ops[row] !== UPDATE_DELETE || ops[row + 1] !== UPDATE_INSERT) continue
      if (this.targets[row] === this.targets[row + 1]) continue
      if (visible !== null && (visible[row] === 0 || visible[row + 1] === 0)) continue
      changed ??= ops.slice(0, rowCount)
      changed[row] = DELETE
      changed[row + 1] = INSERT
    }
    return changed === null ? chunk : new Chunk(rowCount, changed, visible, chunk.columns)
  }

  /** Sends what was gathered, because nothing more comes for now. @returns true if there was anything. */
  flushStaged(): boolean {
    let any = false
    for (const stage of this.stages) any = stage.flush() || any
    return any
  }

  /** To all outputs, behind all rows pushed before. */
  send(message: Exclude<Message, { kind: 'chunk' }>): void {
    this.flushStaged()
    for (const output of this.outputs) output.send(message)
  }

  /** @returns true when every row pushed and not gathered has left. */
  drain(): boolean {
    let empty = true
    for (const output of this.outputs) empty = output.drain() && empty
    return empty
  }

  /** After the last barrier has left. */
  close(): void {
    for (const output of this.outputs) output.close()
  }
}

/** Rows that are not hidden; null when all count, or so many that sending the mask along is cheaper. */
function visibleRows(chunk: Chunk): Uint32Array | null {
  const { visible, rowCount } = chunk
  if (visible === null) return null
  const rows = new Uint32Array(rowCount)
  let count = 0
  for (let row = 0; row < rowCount; row++) {
    rows[count] = row
    count += visible[row]
  }
  return count * 8 >= rowCount * 7 ? null : rows.subarray(0, count)
}

/** Gathers small pieces on their way to one channel. */
class Stage {
  private readonly output: OutputChannel
  private readonly chunkRows: number
  private builders: ColumnBuilder[] = []
  private ops: Uint8Array
  private hasOps = false
  private count = 0
  private scratch = new Uint32Array(0)

  constructor(output: OutputChannel, chunkRows: number) {
    this.output = output
    this.chunkRows = chunkRows
    this.ops = new Uint8Array(chunkRows)
  }

  push(chunk: Chunk, rows: RowList | null, from: number, to: number): void {
    const rowCount = to - from
    if (rowCount === 0) return
    // Pieces of a quarter chunk travel well alone; copying them once more would cost more than it saves.
    if (rowCount * 4 >= this.chunkRows) {
      this.flush()
      this.output.sendRows(chunk, rows, from, to)
      return
    }
    if (this.count + rowCount > this.chunkRows) this.flush()
    this.gather(chunk, this.listed(chunk, rows, from, to))
    if (this.count * 2 >= this.chunkRows) this.flush()
  }

  flush(): boolean {
    if (this.count === 0) return false
    const { count } = this
    const ops = this.hasOps ? this.ops.slice(0, count) : null
    const columns = this.builders.map((builder) => builder.finish())
    this.builders = []
    this.count = 0
    this.hasOps = false
    this.output.sendRows(new Chunk(count, ops, null, columns), null, 0, count)
    return true
  }

  /** The rows as a list, without hidden ones. */
  private listed(chunk: Chunk, rows: RowList | null, from: number, to: number): RowList {
    if (rows !== null) return rows.subarray(from, to)
    if (this.scratch.length < to - from) this.scratch = new Uint32Array(this.chunkRows)
    let count = 0
    for (let row = from; row < to; row++) {
      this.scratch[count] = row
      count += chunk.visible === null ? 1 : chunk.visible[row]
    }
    return this.scratch.subarray(0, count)
  }

  private gather(chunk: Chunk, rows: RowList): void {
    const { columns, ops } = chunk
    const count = rows.length
    if (this.builders.length === 0) {
      this.builders = columns.map((column) => new ColumnBuilder(column.type, column.scale))
    }
    for (let i = 0; i < columns.length; i++) this.builders[i].gather(columns[i], rows, count)
    if (ops !== null && !this.hasOps) {
      this.ops.fill(INSERT, 0, this.count)
      this.hasOps = true
    }
    if (this.hasOps) {
      for (let i = 0; i < count; i++)
        this.ops[this.count + i] = ops === null ? INSERT : ops[rows[i]]
    }
    this.count += count
  }
}
