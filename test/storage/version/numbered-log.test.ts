import { encode } from 'msgpackr'
import { describe, expect, test } from 'vitest'
import { checksum } from '../../../src/common/hash.ts'
import { generation } from '../../../src/common/ids.ts'
import { FaultyObjectStore } from '../../../src/storage/object/faulty.ts'
import { MemoryObjectStore } from '../../../src/storage/object/memory.ts'
import { Boundary } from '../../../src/storage/version/boundary.ts'
import {
  decodeEntry,
  encodeEntry,
  type LogEntry,
  NumberedLog,
} from '../../../src/storage/version/numbered-log.ts'
import { VirtualEnv } from '../../common/virtual-env.ts'

function entry(number: number, token: string, payload: unknown = null): LogEntry {
  const previousToken = number === 1 ? null : 'before'
  return { number, generation: generation(3), token, previousToken, payload }
}

function setUp() {
  const memory = new MemoryObjectStore(new VirtualEnv())
  return { memory, log: new NumberedLog(memory, 'log/') }
}

describe('entries', () => {
  test('payloads come back, also undefined, bytes and large numbers', () => {
    const payload = {
      none: undefined,
      nothing: null,
      bytes: Uint8Array.of(1, 2),
      large: 2 ** 52 + 1,
      big: 2n ** 62n,
      list: [1.5, 'ä'],
    }
    const decoded = decodeEntry(encodeEntry(entry(7, 'a', payload)), 'x')
    expect(decoded).toEqual({ ...entry(7, 'a'), payload })
  })

  test('the layout of docs/format.md', () => {
    const object = encodeEntry(entry(1, 'token', { a: 1 }))
    expect(Buffer.from(object.subarray(0, 8)).toString('latin1')).toBe('TSKLOG\r\n')
    const view = new DataView(object.buffer)
    expect([view.getUint16(8, true), view.getUint16(10, true)]).toEqual([1, 0])
    const body = encode([1, 3, 'token', null, { a: 1 }])
    expect(view.getUint32(12, true)).toBe(object.length - 20)
    expect(Buffer.compare(object.subarray(16, object.length - 4), body)).toBe(0)
    expect(view.getUint32(object.length - 4, true)).toBe(checksum(object, 0, object.length - 4))
  })

  test('an entry of format 1.0, byte for byte', () => {
    const golden =
      '54534b4c4f470d0a010000002400000095cd010103a27474a27070de0002aa6461746162617365496' +
      '4a164a564656c7461de0000b42a64b3'
    const object = encodeEntry({
      number: 257,
      generation: generation(3),
      token: 'tt',
      previousToken: 'pp',
      payload: { databaseId: 'd', delta: {} },
    })
    expect(Buffer.from(object).toString('hex')).toBe(golden)
    expect(decodeEntry(Buffer.from(golden, 'hex'), 'k').number).toBe(257)
  })

  test('a newer major format is refused with both versions; a flipped bit there is corruption', () => {
    const object = encodeEntry(entry(1, 'a'))
    object[8] = 2
    expect(() => decodeEntry(object, 'k')).toThrow(/checksum/)
    new DataView(object.buffer).setUint32(
      object.length - 4,
      checksum(object, 0, object.length - 4),
      true,
    )
    expect(() => decodeEntry(object, 'k')).toThrow(/format 2\.0.*up to 1\.0/)
  })

  test('every truncation and every flipped bit is found', () => {
    const object = encodeEntry(entry(1, 'a', { text: 'payload' }))
    for (let length = 0; length < object.length; length++) {
      expect(() => decodeEntry(object.slice(0, length), 'k'), `${length}`).toThrow(/cannot be used/)
    }
    for (let bit = 0; bit < object.length * 8; bit++) {
      const flipped = object.slice()
      flipped[bit >>> 3] ^= 1 << (bit & 7)
      expect(() => decodeEntry(flipped, 'k'), `${bit}`).toThrow(/cannot be used/)
    }
  })
})

describe('appending', () => {
  test('the first wins, the second learns of it', async () => {
    const { log } = setUp()
    expect(await log.append(entry(1, 'a'))).toEqual({ kind: 'appended' })
    expect(await log.append(entry(1, 'b'))).toEqual({ kind: 'lost', to: entry(1, 'a') })
    expect(await log.append(entry(1, 'a'))).toEqual({ kind: 'appended' })
  })

  test('an object under the number of another is not believed', async () => {
    const { memory, log } = setUp()
    await memory.put(log.key(2), encodeEntry(entry(3, 'a')))
    await expect(log.read(2)).rejects.toMatchObject({ code: 'CORRUPTION' })
  })

  test('names have 20 digits; foreign names are no numbers', () => {
    const { log } = setUp()
    expect(log.key(42)).toBe('log/00000000000000000042')
    expect(log.numberOf('log/00000000000000000042')).toBe(42)
    expect(log.numberOf('log/42')).toBeNull()
    expect(log.numberOf('other/00000000000000000042')).toBeNull()
  })

  test('finds the newest in some 2 log2(n) requests', async () => {
    const { memory, log } = setUp()
    expect(await log.newest(1)).toBeNull()
    let stored = 0
    for (const count of [1, 2, 3, 7, 100, 1000]) {
      while (stored < count) await memory.put(log.key(++stored), new Uint8Array(1))
      const before = memory.requests.get
      expect(await log.newest(1)).toBe(count)
      expect(memory.requests.get - before).toBeLessThanOrEqual(2 * Math.log2(count) + 3)
    }
    expect(await log.newest(5, 5)).toBe(1000)
  })
})

describe('the boundary', () => {
  test('only rises, whoever moves it, and is found by all', async () => {
    const { memory } = setUp()
    const one = new Boundary(memory)
    const two = new Boundary(memory)
    await one.advance(10, generation(1), 'a')
    await Promise.all([one.advance(20, generation(1), 'b'), two.advance(30, generation(2), 'c')])
    await one.advance(15, generation(1), 'd')
    for (const boundary of [one, two, new Boundary(memory)]) {
      expect(await boundary.refresh()).toBe(30)
    }
  })

  test('a slow read beside a fast one does not set it back', async () => {
    const { memory } = setUp()
    const env = new VirtualEnv()
    const faulty = new FaultyObjectStore(memory, env)
    const writer = new Boundary(memory)
    await writer.advance(10, generation(1), 'a')
    const reader = new Boundary(faulty)
    await reader.refresh()
    await writer.advance(20, generation(1), 'b')
    await writer.advance(30, generation(1), 'c')
    faulty.inject({ fault: 'delay', operation: 'get' })
    const first = reader.refresh()
    expect(await reader.refresh()).toBe(30)
    expect(await first).toBe(30)
    expect(await reader.refresh()).toBe(30)
  })

  test('one request when nothing was appended', async () => {
    const { memory } = setUp()
    const boundary = new Boundary(memory)
    await boundary.advance(10, generation(1), 'a')
    const before = memory.requests.get
    await boundary.refresh()
    expect(memory.requests.get - before).toBe(1)
  })

  test('a lost acknowledgement of its own is no rival', async () => {
    const { memory } = setUp()
    const env = new VirtualEnv()
    const faulty = new FaultyObjectStore(memory, env)
    faulty.inject({ fault: 'duplicate', operation: 'put-if-absent' })
    const boundary = new Boundary(faulty)
    await boundary.advance(10, generation(1), 'a')
    expect(memory.objects.size).toBe(1)
  })
})
