/**
 * The one primitive of every protocol on the object store: a log of numbered objects. Entry n + 1 is created
 * by put-if-absent and carries the writer's generation, a unique token, and the token of entry n. The commit
 * log and the vacuum's boundary are such logs. Control thread.
 *
 * ```
 * entry = magic "TSKLOG\r\n" | format major u16 LE | minor u16 LE | body bytes u32 LE | body (msgpack) | crc32 u32 LE of all before
 * body = [number, generation, token, previous token or null, payload]
 * ```
 * See docs/format.md, "Numbered logs".
 */
import { Packr } from 'msgpackr'
import { assert } from '../../common/assert.ts'
import { EngineError, toEngineError } from '../../common/errors.ts'
import { checksum } from '../../common/hash.ts'
import { type Generation, generation } from '../../common/ids.ts'
import type { ObjectStore } from '../object/object-store.ts'

const MAGIC = new Uint8Array([0x54, 0x53, 0x4b, 0x4c, 0x4f, 0x47, 0x0d, 0x0a])
export const LOG_FORMAT_MAJOR = 1
export const LOG_FORMAT_MINOR = 0
const HEADER_BYTES = 16
const CHECKSUM_BYTES = 4
const NAME_DIGITS = 20
/** Reads of an entry that the store has called existing before it counts as deleted. */
const EXISTING_ATTEMPTS = 4

/** Plain maps, no records: any msgpack reader can read an entry. */
const packr = new Packr({ useRecords: false })

export interface LogEntry {
  /** Position in the log, from 1. */
  readonly number: number
  readonly generation: Generation
  /** Unique to the attempt to append: who reads its own token back has won. */
  readonly token: string
  /** Token of the entry before; null for entry 1. */
  readonly previousToken: string | null
  readonly payload: unknown
}

/** `lost`: the number was taken by this entry of another writer. */
export type AppendResult =
  | { readonly kind: 'appended' }
  | { readonly kind: 'lost'; readonly to: LogEntry | null }

export class NumberedLog {
  private readonly objects: ObjectStore
  private readonly prefix: string

  /** @param prefix folder of the log below the root, ending in `/`. */
  constructor(objects: ObjectStore, prefix: string) {
    assert(prefix.endsWith('/'), 'a log is a folder')
    this.objects = objects
    this.prefix = prefix
  }

  key(number: number): string {
    return this.prefix + String(number).padStart(NAME_DIGITS, '0')
  }

  /** The number that an object's key spells; null for a foreign object. */
  numberOf(key: string): number | null {
    const name = key.slice(this.prefix.length)
    if (!key.startsWith(this.prefix) || !/^\d{20}$/.test(name)) return null
    return Number(name)
  }

  /**
   * Damaged bytes are read once more: the way here may have damaged them.
   * @throws CORRUPTION, STORE_FORMAT_NEWER. @returns null when there is no such entry.
   */
  async read(number: number): Promise<LogEntry | null> {
    try {
      return await this.readOnce(number)
    } catch (error) {
      if (toEngineError(error).code !== 'CORRUPTION') throw error
      return this.readOnce(number)
    }
  }

  private async readOnce(number: number): Promise<LogEntry | null> {
    const key = this.key(number)
    const object = await this.objects.get(key)
    if (object === null) return null
    const entry = decodeEntry(object, key)
    if (entry.number !== number) throw corrupt(key, 'it bears the number of another')
    return entry
  }

  /**
   * Creates entry `entry.number`. An `exists` may be the echo of an own attempt whose acknowledgement was
   * lost, so the entry is read and its token compared. Errors mean *unknown*: the entry may still land,
   * and the number must not be used for anything else.
   */
  async append(entry: LogEntry): Promise<AppendResult> {
    assert(Number.isSafeInteger(entry.number) && entry.number > 0, 'entries are numbered from 1')
    assert((entry.previousToken === null) === (entry.number === 1), 'only the first has no parent')
    const result = await this.objects.putIfAbsent(this.key(entry.number), encodeEntry(entry))
    if (result === 'created') return { kind: 'appended' }
    const found = await this.readExisting(entry.number)
    return found?.token === entry.token ? { kind: 'appended' } : { kind: 'lost', to: found }
  }

  /** Null only when it was deleted since: a 404 on what exists may be false. */
  private async readExisting(number: number): Promise<LogEntry | null> {
    for (let attempt = 1; ; attempt++) {
      const found = await this.read(number)
      if (found !== null || attempt >= EXISTING_ATTEMPTS) return found
    }
  }

  /**
   * The newest of `from`, `from + step`, `from + 2 step`, …, of which those that exist are a prefix; null when
   * there is none. Galloping and halving: some 2 log2(n) requests.
   */
  async newest(from: number, step = 1): Promise<number | null> {
    if (!(await this.exists(from))) return null
    let low = 0
    let high = 1
    while (await this.exists(from + high * step)) {
      low = high
      high *= 2
    }
    while (high - low > 1) {
      const middle = low + Math.floor((high - low) / 2)
      if (await this.exists(from + middle * step)) low = middle
      else high = middle
    }
    return from + low * step
  }

  private async exists(number: number): Promise<boolean> {
    return (await this.objects.head(this.key(number))) !== null
  }
}

/** Refuses an entry that does not name the one before as its parent: a zombie wrote it into a deleted slot. */
export function checkChain(previous: LogEntry, next: LogEntry, key: string): void {
  if (next.number === previous.number + 1 && next.previousToken === previous.token) return
  throw corrupt(key, 'the chain of tokens is broken')
}

export function encodeEntry(entry: LogEntry): Uint8Array {
  const { number, token, previousToken, payload } = entry
  const body = packr.pack([number, entry.generation, token, previousToken, payload])
  const object = new Uint8Array(HEADER_BYTES + body.length + CHECKSUM_BYTES)
  const view = new DataView(object.buffer)
  object.set(MAGIC)
  view.setUint16(8, LOG_FORMAT_MAJOR, true)
  view.setUint16(10, LOG_FORMAT_MINOR, true)
  view.setUint32(12, body.length, true)
  object.set(body, HEADER_BYTES)
  const end = HEADER_BYTES + body.length
  view.setUint32(end, checksum(object, 0, end), true)
  return object
}

export function decodeEntry(object: Uint8Array, key: string): LogEntry {
  const view = new DataView(object.buffer, object.byteOffset, object.byteLength)
  const end = object.length - CHECKSUM_BYTES
  if (end < HEADER_BYTES) throw corrupt(key, 'it is too short')
  for (let i = 0; i < MAGIC.length; i++) {
    if (object[i] !== MAGIC[i]) throw corrupt(key, 'it is not a log entry')
  }
  // The checksum first: a flipped version number must not read as "too new".
  if (checksum(object, 0, end) !== view.getUint32(end, true)) {
    throw corrupt(key, 'its checksum does not match')
  }
  checkFormat(view.getUint16(8, true), view.getUint16(10, true), key)
  if (view.getUint32(12, true) !== end - HEADER_BYTES) throw corrupt(key, 'its length is wrong')
  return parseBody(packr.unpack(object.subarray(HEADER_BYTES, end)), key)
}

function checkFormat(major: number, minor: number, key: string): void {
  if (major <= LOG_FORMAT_MAJOR) return
  const found = `${major}.${minor}`
  const supported = `${LOG_FORMAT_MAJOR}.${LOG_FORMAT_MINOR}`
  throw new EngineError(
    'STORE_FORMAT_NEWER',
    `the database is of format ${found}; this version reads up to ${supported}: update the package`,
    { context: { object: key, found, supported } },
  )
}

function parseBody(body: unknown, key: string): LogEntry {
  if (!Array.isArray(body)) throw corrupt(key, 'its body is no list')
  const fields: readonly unknown[] = body
  const [number, writer, token, previousToken, payload] = fields
  const valid =
    typeof number === 'number' &&
    typeof writer === 'number' &&
    typeof token === 'string' &&
    (typeof previousToken === 'string' || previousToken === null)
  if (!valid) throw corrupt(key, 'its fields are wrong')
  return { number, generation: generation(writer), token, previousToken, payload }
}

function corrupt(key: string, why: string): EngineError {
  return new EngineError('CORRUPTION', `the log entry ${key} cannot be used: ${why}`, {
    context: { object: key },
  })
}
