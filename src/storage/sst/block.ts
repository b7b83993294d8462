/**
 * A block: the unit in which SSTs are read and cached. `decodeBlock` turns stored bytes into the body
 * that caches hold, `Block` is a cheap view over such a body, `BlockCursor` walks it. The writer is
 * block-builder.ts; every byte is drawn in docs/format.md ("Blocks").
 * Hot path: seek and next run once per entry read (tens of millions a second); no allocation there.
 *
 * ```
 * stored  = body, compressed | compression tag u8 | crc32 u32 LE over both
 * body    = entry × n | restart offset u32 LE × r | r u32 LE | n u32 LE | table id u32 LE
 * entry   = shared varint | unshared varint | value bytes varint | key bytes [shared ..] | kind u8 | value
 * key     = vnode u16 BE | user key | inverted epoch u64 BE        ("versioned key": no table id)
 * ```
 * Every 16th entry is a restart: it shares nothing, so that a seek may begin there.
 */
import { compareBytes } from '../../common/bytes.ts'
import { EngineError } from '../../common/errors.ts'
import { checksum } from '../../common/hash.ts'

/** Entries from one restart point to the next. */
export const RESTART_INTERVAL = 16
/** Restart count, entry count, table id. */
export const BODY_TRAILER_BYTES = 12
/** Compression tag and checksum. */
export const STORED_TRAILER_BYTES = 5
export const COMPRESSION_NONE = 0
export const KIND_PUT = 0
export const KIND_DELETE = 1

export interface BlockPlace {
  /** Key of the object in the store, or the SST's id. */
  readonly object: string
  /** Where in the object the block begins, in bytes. */
  readonly offset: number
}

/**
 * The body of a stored block, checked. Uncompressed blocks give a view of `stored`, so the body lives as
 * long as those bytes stay unchanged.
 * @param stored exactly the bytes that the index names; may be shared memory.
 * @throws CORRUPTION with object and offset
 */
export function decodeBlock(stored: Uint8Array, context: BlockPlace): Uint8Array {
  const tagAt = stored.length - STORED_TRAILER_BYTES
  if (tagAt < BODY_TRAILER_BYTES) throw corruptBlock('too short', context)
  const expected = readU32(stored, tagAt + 1)
  if (checksum(stored, 0, tagAt + 1) !== expected) throw corruptBlock('checksum', context)
  if (stored[tagAt] !== COMPRESSION_NONE) throw corruptBlock('compression tag', context)
  const body = stored.subarray(0, tagAt)
  const restartCount = readU32(body, tagAt - 12)
  const entryCount = readU32(body, tagAt - 8)
  if (restartCount !== Math.ceil(entryCount / RESTART_INTERVAL) || entryCount === 0) {
    throw corruptBlock('entry count', context)
  }
  if (BODY_TRAILER_BYTES + restartCount * 4 > tagAt) throw corruptBlock('restarts', context)
  return body
}

function corruptBlock(what: string, place: BlockPlace): EngineError {
  return new EngineError('CORRUPTION', `a block of ${place.object} is damaged: ${what}`, {
    context: { object: place.object, offset: place.offset, what },
  })
}

/** A decoded block. Immutable, may lie in shared memory; any thread may read it. */
export class Block {
  readonly body: Uint8Array
  readonly tableId: number
  readonly entryCount: number
  readonly restartCount: number
  /** Where the entries end and the restart offsets begin. */
  readonly entriesEnd: number

  /** @param body what `decodeBlock` gave. */
  constructor(body: Uint8Array) {
    const end = body.length
    this.body = body
    this.tableId = readU32(body, end - 4)
    this.entryCount = readU32(body, end - 8)
    this.restartCount = readU32(body, end - 12)
    this.entriesEnd = end - BODY_TRAILER_BYTES - this.restartCount * 4
  }
}

const EMPTY = new Uint8Array(0)

/**
 * A position in a block, used again for many blocks. After a call that returned true the fields describe
 * the entry; after false they mean nothing. `key` is replaced when it grows: read the field anew.
 */
export class BlockCursor {
  /** Holds the versioned key in `[0, keyLength)`. */
  key: Uint8Array
  /** The same bytes, to be compared by words. */
  keyView: DataView
  keyLength: number
  /** The value is `body[valueStart .. valueEnd]` of the block, without its kind byte. */
  valueStart: number
  valueEnd: number
  isDelete: boolean
  /** The block's body, in which the value lies. */
  body: Uint8Array
  private nextOffset: number
  private entriesEnd: number

  constructor() {
    this.key = new Uint8Array(128)
    this.keyView = new DataView(this.key.buffer)
    this.keyLength = 0
    this.valueStart = 0
    this.valueEnd = 0
    this.isDelete = false
    this.body = EMPTY
    this.nextOffset = 0
    this.entriesEnd = 0
  }

  /** Goes to the first entry of the block. */
  first(block: Block): boolean {
    this.body = block.body
    this.entriesEnd = block.entriesEnd
    this.nextOffset = 0
    this.keyLength = 0
    return this.next()
  }

  /** Goes to the first entry whose versioned key is at or after `key[start .. end]`; false: none in this block. */
  seek(block: Block, key: Uint8Array, start: number, end: number): boolean {
    this.body = block.body
    this.entriesEnd = block.entriesEnd
    this.nextOffset = readU32(
      block.body,
      block.entriesEnd + 4 * lastRestartBefore(block, key, start, end),
    )
    this.keyLength = 0
    while (this.next()) {
      if (compareBytes(this.key, 0, this.keyLength, key, start, end) >= 0) return true
    }
    return false
  }

  /** Goes to the following entry; false at the end of the block. */
  next(): boolean {
    const body = this.body
    let at = this.nextOffset
    if (at >= this.entriesEnd) return false
    let shared = body[at++]
    if (shared > 0x7f) {
      shared = readVarintRest(body, at, shared)
      at += varintLength(shared) - 1
    }
    let unshared = body[at++]
    if (unshared > 0x7f) {
      unshared = readVarintRest(body, at, unshared)
      at += varintLength(unshared) - 1
    }
    let valueBytes = body[at++]
    if (valueBytes > 0x7f) {
      valueBytes = readVarintRest(body, at, valueBytes)
      at += varintLength(valueBytes) - 1
    }
    const keyLength = shared + unshared
    if (keyLength > this.key.length) this.growKey(keyLength, shared)
    const key = this.key
    for (let i = shared; i < keyLength; i++) key[i] = body[at++]
    this.keyLength = keyLength
    this.isDelete = body[at] === KIND_DELETE
    this.valueStart = at + 1
    this.valueEnd = at + 1 + valueBytes
    this.nextOffset = at + 1 + valueBytes
    return true
  }

  private growKey(keyLength: number, shared: number): void {
    const grown = new Uint8Array(keyLength * 2)
    grown.set(this.key.subarray(0, shared))
    this.key = grown
    this.keyView = new DataView(grown.buffer)
  }
}

/** Index of the last restart whose key is below the target; 0 when none is. */
function lastRestartBefore(block: Block, key: Uint8Array, start: number, end: number): number {
  const body = block.body
  let low = 0
  let high = block.restartCount - 1
  while (low < high) {
    const middle = (low + high + 1) >>> 1
    let at = readU32(body, block.entriesEnd + 4 * middle) + 1 // A restart's shared count is one zero byte.
    let unshared = body[at++]
    if (unshared > 0x7f) {
      unshared = readVarintRest(body, at, unshared)
      at += varintLength(unshared) - 1
    }
    while (body[at] > 0x7f) at++
    at++
    if (compareBytes(body, at, at + unshared, key, start, end) < 0) low = middle
    else high = middle - 1
  }
  return low
}

export function readU32(source: Uint8Array, at: number): number {
  return (
    (source[at] | (source[at + 1] << 8) | (source[at + 2] << 16) | (source[at + 3] << 24)) >>> 0
  )
}

export function writeU32(target: Uint8Array, at: number, value: number): void {
  target[at] = value
  target[at + 1] = value >>> 8
  target[at + 2] = value >>> 16
  target[at + 3] = value >>> 24
}

/** Bytes of a u32 as a varint (LEB128); writers use no other length, so it also tells how many were read. */
export function varintLength(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : value < 0x1000_0000 ? 4 : 5
}

/** The varint whose first byte, `first` > 0x7f, was read already; `at` is the second. */
function readVarintRest(source: Uint8Array, at: number, first: number): number {
  let value = first & 0x7f
  let scale = 0x80
  let byte = source[at++]
  while (byte > 0x7f) {
    value += (byte & 0x7f) * scale
    scale *= 0x80
    byte = source[at++]
  }
  return value + byte * scale
}

/** Writes a u32 as a varint; returns the position after it. */
export function writeVarint(target: Uint8Array, at: number, value: number): number {
  while (value > 0x7f) {
    target[at++] = (value & 0x7f) | 0x80
    value >>>= 7
  }
  target[at++] = value
  return at
}
