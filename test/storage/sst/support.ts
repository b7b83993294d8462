/** Keys, SSTs and naive readers for the tests of the SST format. */
import { writeEpochDescending } from '../../../src/common/bytes.ts'
import { epoch } from '../../../src/common/ids.ts'
import { Block, BlockCursor, decodeBlock } from '../../../src/storage/sst/block.ts'
import type { BuiltSst } from '../../../src/storage/sst/sst-builder.ts'
import { SstTail } from '../../../src/storage/sst/sst-reader.ts'

export const DATABASE_ID = '0123456789abcdef0123456789abcdef'

export interface Entry {
  readonly tableId: number
  /** vnode | user key */
  readonly key: Uint8Array
  readonly epoch: number
  /** Null: delete. */
  readonly value: Uint8Array | null
}

/** vnode | one column per part: numbers as 8-byte columns, text as groups. */
export function tableKey(vnode: number, ...parts: readonly (number | string)[]): Uint8Array {
  const bytes = [vnode >>> 8, vnode & 0xff]
  for (const part of parts) {
    if (typeof part === 'number') pushInteger(bytes, part)
    else pushGroups(bytes, new TextEncoder().encode(part))
  }
  return Uint8Array.from(bytes)
}

function pushInteger(bytes: number[], value: number): void {
  const view = new DataView(new ArrayBuffer(8))
  view.setUint32(0, Math.floor(value / 2 ** 32))
  view.setUint32(4, value)
  bytes.push(0x08)
  for (let i = 0; i < 8; i++) bytes.push(view.getUint8(i))
}

function pushGroups(bytes: number[], data: Uint8Array): void {
  bytes.push(0x10)
  for (let at = 0; ; at += 8) {
    const rest = data.length - at
    for (let i = 0; i < 8; i++) bytes.push(i < rest ? data[at + i] : 0)
    if (rest <= 8) {
      bytes.push(rest)
      return
    }
    bytes.push(9)
  }
}

export function versionedKey(key: Uint8Array, entryEpoch: number): Uint8Array {
  const versioned = new Uint8Array(key.length + 8)
  versioned.set(key)
  writeEpochDescending(versioned, key.length, epoch(entryEpoch))
  return versioned
}

export function fullKey(tableId: number, key: Uint8Array, entryEpoch: number): Uint8Array {
  const full = new Uint8Array(key.length + 12)
  new DataView(full.buffer).setUint32(0, tableId)
  full.set(versionedKey(key, entryEpoch), 4)
  return full
}

export function compareEntries(left: Entry, right: Entry): number {
  return Buffer.compare(
    fullKey(left.tableId, left.key, left.epoch),
    fullKey(right.tableId, right.key, right.epoch),
  )
}

/** One line per entry, to compare lists of entries. */
export function describeEntry(entry: Entry): string {
  const value = entry.value === null ? 'delete' : hex(entry.value)
  return `${entry.tableId} ${hex(entry.key)} @${entry.epoch} ${value}`
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

export function objectOf(sst: Pick<BuiltSst, 'body' | 'length'>): Uint8Array {
  return new Uint8Array(sst.body, 0, sst.length)
}

export function tailOf(sst: BuiltSst): SstTail {
  return SstTail.parse(sst.meta, objectOf(sst).subarray(sst.meta.tailOffset), DATABASE_ID)
}

/** All entries, block by block. */
export function readSst(sst: BuiltSst): Entry[] {
  const object = objectOf(sst)
  const tail = tailOf(sst)
  const entries: Entry[] = []
  const cursor = new BlockCursor()
  for (let i = 0; i < tail.blockCount; i++) {
    const block = readBlock(object, tail, i)
    for (let more = cursor.first(block); more; more = cursor.next()) {
      entries.push(entryAt(cursor, block.tableId))
    }
  }
  return entries
}

export function readBlock(object: Uint8Array, tail: SstTail, index: number): Block {
  const offset = tail.blockOffset(index)
  const stored = object.subarray(offset, offset + tail.blockLength(index))
  return new Block(decodeBlock(stored, { object: tail.sstId, offset }))
}

export function entryAt(cursor: BlockCursor, tableId: number): Entry {
  const userEnd = cursor.keyLength - 8
  const view = new DataView(cursor.key.slice(userEnd, cursor.keyLength).buffer)
  const inverted = view.getBigUint64(0)
  return {
    tableId,
    key: cursor.key.slice(0, userEnd),
    epoch: Number(0xffff_ffff_ffff_ffffn - inverted),
    value: cursor.isDelete ? null : cursor.body.slice(cursor.valueStart, cursor.valueEnd),
  }
}

/** First entry at or after a full key by index and block, as readers do it. */
export function seekSst(sst: BuiltSst, key: Uint8Array): Entry | null {
  const object = objectOf(sst)
  const tail = tailOf(sst)
  const table = new DataView(key.buffer, key.byteOffset).getUint32(0)
  const cursor = new BlockCursor()
  let index = tail.findBlock(key, 0, key.length)
  for (; index < tail.blockCount; index++) {
    const block = readBlock(object, tail, index)
    if (block.tableId < table) continue
    const found =
      block.tableId === table ? cursor.seek(block, key, 4, key.length) : cursor.first(block)
    if (found) return entryAt(cursor, block.tableId)
  }
  return null
}
