/**
 * Text functions over UTF-8 bytes. Hot path for comparison, LIKE and length, which never decode; `lower`,
 * `upper` decode only what is not ASCII. Functions that make text write it into a `TextScratch` and
 * leave its range in `start` and `end`.
 */
import { compareBytes, equalBytes } from '../common/bytes.ts'
import { EngineError } from '../common/errors.ts'
import { hashBytes } from '../common/hash.ts'

const encoder = new TextEncoder()
const PERCENT = 0x25
const UNDERSCORE = 0x5f
const BACKSLASH = 0x5c

/** UTF-8 to a string; takes shared memory. Ill-formed bytes become U+FFFD. */
export function decodeText(data: Uint8Array, start: number, end: number): string {
  return Buffer.from(data.buffer, data.byteOffset + start, end - start).toString('utf8')
}

export function encodeText(text: string): Uint8Array {
  return encoder.encode(text)
}

/** Order by UTF-8 bytes (C collation). */
export const compareText: typeof compareBytes = compareBytes
export const equalText: typeof equalBytes = equalBytes

/** Characters (code points): bytes that do not continue one. */
export function textLength(data: Uint8Array, start: number, end: number): number {
  let count = 0
  for (let i = start; i < end; i++) count += (data[i] & 0xc0) === 0x80 ? 0 : 1
  return count
}

/** Position behind `count` more characters, at most `end`. */
function skipCharacters(data: Uint8Array, start: number, end: number, count: number): number {
  let at = start
  for (let left = count; left > 0 && at < end; left--) {
    at++
    while (at < end && (data[at] & 0xc0) === 0x80) at++
  }
  return at
}

/** Room for the text that expressions make; one per compiled expression, cleared with every row. */
export class TextScratch {
  data: Uint8Array
  start: number
  end: number
  rangeStart: number
  rangeEnd: number

  constructor() {
    this.data = new Uint8Array(1024)
    this.start = 0
    this.end = 0
    this.rangeStart = 0
    this.rangeEnd = 0
  }

  clear(): void {
    this.start = 0
    this.end = 0
  }

  /** Begins a new text. What stands before it stays where it is (in the old array, if this one is outgrown). */
  begin(byteCountMax: number): void {
    this.start = this.end
    if (this.start + byteCountMax > this.data.length) {
      this.data = new Uint8Array(Math.max(byteCountMax * 2, this.data.length * 2))
      this.start = 0
      this.end = 0
    }
  }

  put(text: string): void {
    const byteCountMax = text.length * 3
    this.begin(byteCountMax)
    if (text.length < 64) {
      let at = this.start
      let i = 0
      for (; i < text.length; i++) {
        const code = text.charCodeAt(i)
        if (code > 0x7f) break
        this.data[at++] = code
      }
      if (i === text.length) {
        this.end = at
        return
      }
    }
    this.end = this.start + encoder.encodeInto(text, this.data.subarray(this.start)).written
  }

  lower(data: Uint8Array, start: number, end: number): void {
    this.begin(end - start)
    let at = this.start
    for (let i = start; i < end; i++) {
      const byte = data[i]
      if (byte > 0x7f) {
        this.end = this.start
        this.put(decodeText(data, start, end).toLowerCase())
        return
      }
      this.data[at++] = byte >= 0x41 && byte <= 0x5a ? byte + 32 : byte
    }
    this.end = at
  }

  upper(data: Uint8Array, start: number, end: number): void {
    this.begin(end - start)
    let at = this.start
    for (let i = start; i < end; i++) {
      const byte = data[i]
      if (byte > 0x7f) {
        this.end = this.start
        this.put(decodeText(data, start, end).toUpperCase())
        return
      }
      this.data[at++] = byte >= 0x61 && byte <= 0x7a ? byte - 32 : byte
    }
    this.end = at
  }

  /** Begins a concatenation of so many bytes in all; `append` each part. */
  append(data: Uint8Array, start: number, end: number): void {
    if (end - start > 64) {
      this.data.set(data.subarray(start, end), this.end)
      this.end += end - start
      return
    }
    let at = this.end
    const target = this.data
    for (let i = start; i < end; i++) target[at++] = data[i]
    this.end = at
  }

  /**
   * PostgreSQL's substring by characters: `from` counts from 1 and may lie before the text. Copies no
   * byte: the result is the range `rangeStart .. rangeEnd` of `data`. @throws VALUE_INVALID
   */
  substring(data: Uint8Array, start: number, end: number, from: number, count: number): void {
    const shown = shownCount(from, count)
    this.rangeStart = from <= 1 ? start : skipCharacters(data, start, end, from - 1)
    this.rangeEnd = skipCharacters(data, this.rangeStart, end, shown)
  }

  /** The same by bytes. */
  byteSubstring(_data: Uint8Array, start: number, end: number, from: number, count: number): void {
    const shown = shownCount(from, count)
    this.rangeStart = from <= 1 ? start : Math.min(start + from - 1, end)
    this.rangeEnd = Math.min(this.rangeStart + shown, end)
  }

  /** `\\x…` in hex, else the bytes themselves with `\\` and octal escapes. @throws VALUE_INVALID */
  putBytea(text: string): void {
    const bytes = text.startsWith('\\x') ? parseHex(text.slice(2)) : unescapeBytea(text)
    this.begin(bytes.length)
    this.append(bytes, 0, bytes.length)
  }
}

/** How many of `count` characters stand inside the text, if the first is number `from`. */
function shownCount(from: number, count: number): number {
  if (count < 0) {
    throw new EngineError('VALUE_INVALID', 'negative substring length not allowed', {
      context: { sqlState: '22011', count },
    })
  }
  return from < 1 ? Math.max(count + from - 1, 0) : count
}

function unescapeBytea(text: string): Uint8Array {
  if (!text.includes('\\')) return encodeText(text)
  const bytes: number[] = []
  const source = encodeText(text)
  for (let i = 0; i < source.length; i++) {
    if (source[i] !== BACKSLASH) {
      bytes.push(source[i])
      continue
    }
    if (source[i + 1] === BACKSLASH) {
      bytes.push(BACKSLASH)
      i++
      continue
    }
    const octal = decodeText(source, i + 1, Math.min(i + 4, source.length))
    if (!/^[0-3][0-7]{2}$/.test(octal)) throw invalidBytea(text)
    bytes.push(Number.parseInt(octal, 8))
    i += 3
  }
  return Uint8Array.from(bytes)
}

function invalidBytea(text: string): EngineError {
  return new EngineError('VALUE_INVALID', 'invalid input syntax for type bytea', {
    context: { sqlState: '22P02', type: 'bytea', value: text.slice(0, 100) },
  })
}

/** Texts of an IN list: open addressing over their hashes, compared by bytes. */
export class TextSet {
  private readonly items: readonly Uint8Array[]
  private readonly table: Int32Array
  private readonly mask: number

  constructor(items: readonly Uint8Array[]) {
    let capacity = 16
    while (capacity < items.length * 2) capacity *= 2
    this.items = items
    this.mask = capacity - 1
    this.table = new Int32Array(capacity).fill(-1)
    for (let item = 0; item < items.length; item++) {
      let slot = hashBytes(items[item], 0, items[item].length, 0) & this.mask
      while (this.table[slot] >= 0) slot = (slot + 1) & this.mask
      this.table[slot] = item
    }
  }

  has(data: Uint8Array, start: number, end: number): boolean {
    let slot = hashBytes(data, start, end, 0) & this.mask
    for (let item = this.table[slot]; item >= 0; item = this.table[slot]) {
      const bytes = this.items[item]
      if (equalBytes(bytes, 0, bytes.length, data, start, end)) return true
      slot = (slot + 1) & this.mask
    }
    return false
  }
}

/** A LIKE pattern: `%` any text, `_` one character, backslash escapes. */
export class LikePattern {
  /** Bytes to match, and in `wild` what each means: 0 itself, 1 `_`, 2 `%`. */
  private readonly bytes: Uint8Array
  private readonly wild: Uint8Array

  /** @throws VALUE_INVALID when the pattern ends in its escape character (SQLSTATE 22025). */
  constructor(pattern: Uint8Array, start: number, end: number) {
    const bytes: number[] = []
    const wild: number[] = []
    for (let i = start; i < end; i++) {
      let byte = pattern[i]
      let kind = 0
      if (byte === PERCENT) kind = 2
      else if (byte === UNDERSCORE) kind = 1
      else if (byte === BACKSLASH) {
        if (++i === end) {
          throw new EngineError(
            'VALUE_INVALID',
            'LIKE pattern must not end with escape character',
            {
              context: { sqlState: '22025' },
            },
          )
        }
        byte = pattern[i]
      }
      // Two `%` in a row mean one.
      if (kind === 2 && wild.length > 0 && wild[wild.length - 1] === 2) continue
      bytes.push(byte)
      wild.push(kind)
    }
    this.bytes = Uint8Array.from(bytes)
    this.wild = Uint8Array.from(wild)
  }

  /** Greedy with one point of return: the last `%`. */
  matches(data: Uint8Array, start: number, end: number): boolean {
    const { bytes, wild } = this
    const patternEnd = bytes.length
    let at = start
    let p = 0
    let returnPattern = -1
    let returnAt = 0
    while (at < end) {
      const kind = p < patternEnd ? wild[p] : 3
      if (kind === 2) {
        returnPattern = ++p
        returnAt = at
        if (p === patternEnd) return true
      } else if (kind === 1) {
        p++
        at++
        while (at < end && (data[at] & 0xc0) === 0x80) at++
      } else if (kind === 0 && bytes[p] === data[at]) {
        p++
        at++
      } else if (returnPattern >= 0) {
        p = returnPattern
        at = ++returnAt
        // `_` after `%` must begin at a character.
        while (at < end && (data[at] & 0xc0) === 0x80) at = ++returnAt
      } else return false
    }
    while (p < patternEnd && wild[p] === 2) p++
    return p === patternEnd
  }
}

const HEX = '0123456789abcdef'

export function formatHex(data: Uint8Array, start: number, end: number): string {
  let text = ''
  for (let i = start; i < end; i++) text += HEX[data[i] >> 4] + HEX[data[i] & 15]
  return text
}

/** @throws VALUE_INVALID */
export function parseHex(text: string): Uint8Array {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) {
    throw new EngineError('VALUE_INVALID', 'invalid hexadecimal data for type bytea', {
      context: { sqlState: '22P02', type: 'bytea', value: text.slice(0, 100) },
    })
  }
  return Uint8Array.from(Buffer.from(text, 'hex'))
}
