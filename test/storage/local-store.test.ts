/**
 * The read path against a model: random writes, seals, checkpoints and compactions by the real jobs, reads
 * under way while versions change and blocks arrive late, with caches from nothing to plenty. The same
 * histories run under several configurations.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { EngineError } from '../../src/common/errors.ts'
import { epoch } from '../../src/common/ids.ts'
import type { GetManyResult, ScanManyResult, TableScan } from '../../src/storage/state-store.ts'
import { item, listOf, rowsOf, TABLES, World, type WorldOptions } from './local-store-world.ts'
import { tableKey } from './sst/support.ts'

const MEBIBYTE = 1024 * 1024
const CONFIGURATIONS: Readonly<Record<string, WorldOptions>> = {
  'tiny blocks, two slots, no tails kept': {
    slots: 2,
    blockBytes: 64,
    sstBytes: 512,
    tailBytesMax: 0,
    arenaBytes: 4096,
    slabBytes: 256,
  },
  'tiny blocks, plenty of cache': {
    slots: 512,
    blockBytes: 64,
    sstBytes: 4096,
    tailBytesMax: MEBIBYTE,
    arenaBytes: MEBIBYTE,
    slabBytes: 1024,
  },
  'blocks larger than the slots': {
    slots: 8,
    blockBytes: 65_536,
    sstBytes: MEBIBYTE,
    tailBytesMax: 2048,
    arenaBytes: MEBIBYTE,
    slabBytes: 65_536,
  },
}

/** Small numbers from one seed, for the details of a step. */
class Dice {
  private state: number

  constructor(seed: number) {
    this.state = seed | 1
  }

  below(limit: number): number {
    this.state = (Math.imul(this.state, 1_103_515_245) + 12_345) & 0x7fff_ffff
    return (this.state >>> 8) % limit
  }
}

const WORDS = ['', 'a', 'ab', 'abcdefgh', 'abcdefghi', 'zz']

function randomKey(dice: Dice): Uint8Array {
  return tableKey(dice.below(3), dice.below(6), WORDS[dice.below(WORDS.length)])
}

function randomPrefix(dice: Dice): Uint8Array {
  const kind = dice.below(4)
  if (kind === 0) return tableKey(dice.below(4))
  if (kind === 3) return randomKey(dice)
  return tableKey(dice.below(3), dice.below(8))
}

interface OpenRead {
  readonly read: GetManyResult | ScanManyResult | TableScan
  /** A scan does not see later writes. */
  readonly isScan: boolean
  readonly check: () => boolean
}

/** Runs one history; throws at the first difference from the model. */
class History {
  private readonly world: World
  private open: OpenRead[] = []

  constructor(options: WorldOptions) {
    this.world = new World(options)
  }

  step(kind: number, seed: number): void {
    const dice = new Dice(seed)
    const { world } = this
    if (kind < 40) this.write(dice)
    else if (kind < 55) world.seal()
    else if (kind < 63) world.checkpoint(dice.below(3) === 0)
    else if (kind < 68) world.compact(1 + dice.below(4), dice.below(2) === 0)
    else if (kind < 70) world.raiseSafeEpoch(epoch(world.lastEpoch - dice.below(3)))
    else if (kind < 80) this.beginGet(dice)
    else if (kind < 90) this.beginPrefixes(dice)
    else if (kind < 95) this.beginScan(dice)
    else this.advance(dice)
    if (dice.below(2) === 0) this.advance(dice)
  }

  /** Point and prefix reads may see later writes of their own actor: they end first. */
  private write(dice: Dice): void {
    this.endReads(false)
    for (let i = dice.below(12); i >= 0; i--) {
      const value =
        dice.below(4) === 0 ? null : new Uint8Array(dice.below(90)).fill(dice.below(256))
      this.world.write(dice.below(TABLES.length), randomKey(dice), value)
    }
    if (dice.below(60) === 0) {
      this.world.write(dice.below(TABLES.length), randomKey(dice), new Uint8Array(70_000).fill(7))
    }
  }

  private beginGet(dice: Dice): void {
    const { world } = this
    const table = dice.below(TABLES.length)
    const keys = Array.from({ length: dice.below(9) }, () => randomKey(dice))
    const expected = world.expected(table, Number.POSITIVE_INFINITY)
    const list = listOf(keys)
    const read = world.tables[table].getMany(list)
    this.open.push({
      read,
      isScan: false,
      check: () => {
        for (let i = 0; i < keys.length; i++) {
          const value = expected.get(item(list, i))
          expect(read.found[i]).toBe(value === undefined ? 0 : 1)
          expect(item(read.values, i)).toBe(value ?? '')
        }
        expect(read.values.count).toBe(keys.length)
        return true
      },
    })
  }

  private beginPrefixes(dice: Dice): void {
    const { world } = this
    const table = dice.below(TABLES.length)
    const prefixes = Array.from({ length: dice.below(6) }, () => randomPrefix(dice))
    const limit = dice.below(3) === 0 ? 1 + dice.below(3) : undefined
    const rows = [...world.expected(table, Number.POSITIVE_INFINITY)]
    const list = listOf(prefixes)
    const read = world.tables[table].scanMany(list, limit)
    this.open.push({
      read,
      isScan: false,
      check: () => {
        for (let i = 0; i < prefixes.length; i++) {
          const wanted = rows
            .filter(([key]) => key.startsWith(item(list, i)))
            .slice(0, limit)
            .map(([key, value]) => `${key}=${value}`)
          const { rowStarts } = read
          expect(rowsOf(read.keys, read.values, rowStarts[i], rowStarts[i + 1])).toEqual(wanted)
        }
        return true
      },
    })
  }

  private beginScan(dice: Dice): void {
    const { world } = this
    const table = dice.below(TABLES.length)
    const [from, to] = [randomPrefix(dice), randomPrefix(dice)].sort(Buffer.compare)
    // A bound just after a key is what goes on from a key.
    const start = dice.below(3) === 0 ? Uint8Array.from([...from, 0]) : from
    const wanted = between(world.expected(table, Number.POSITIVE_INFINITY), start, to)
    const read = world.tables[table].scan(start, to)
    const rows: string[] = []
    this.open.push({
      read,
      isScan: true,
      check: () => {
        rows.push(...rowsOf(read.keys, read.values, 0, read.keys.count))
        if (read.keys.count > 0) return false
        expect(rows).toEqual(wanted)
        return true
      },
    })
  }

  /** Polls one read or delivers one answer. */
  private advance(dice: Dice): void {
    const { world } = this
    world.drain()
    if (world.requests.length > 0 && dice.below(2) === 0) {
      world.deliver(dice.below(world.requests.length), dice.below(3) > 0)
      return
    }
    if (this.open.length === 0) return
    const at = dice.below(this.open.length)
    if (this.open[at].read.poll() && this.open[at].check()) this.open.splice(at, 1)
  }

  endReads(scansToo: boolean): void {
    const left: OpenRead[] = []
    for (const open of this.open) {
      if (!scansToo && open.isScan) {
        left.push(open)
        continue
      }
      do this.world.finish(open.read)
      while (!open.check())
    }
    this.open = left
  }

  async end(): Promise<void> {
    const { world } = this
    this.endReads(true)
    for (let table = 0; table < TABLES.length; table++) {
      const all = world.scanAll(world.tables[table].scan(new Uint8Array(), Uint8Array.of(0xff)))
      expect(all).toEqual(rowList(world.expected(table, Number.POSITIVE_INFINITY)))
      for (const at of [world.version.safeEpoch, world.lastEpoch - 1, world.lastEpoch]) {
        if (at >= world.version.safeEpoch) await this.checkSnapshot(table, at)
      }
    }
    expect(world.store.oldestVersionInUse()).toBe(world.version.versionId)
    expect(world.source.wantCount).toBe(0)
    world.seal()
    world.checkpoint(false)
    expect(world.store.arenaBytes).toBe(0)
  }

  private async checkSnapshot(table: number, at: number): Promise<void> {
    const { reader, source } = this.world.snapshot(at)
    const expected = this.world.expected(table, at)
    const scan = reader.scan(TABLES[table], new Uint8Array(), Uint8Array.of(0xff))
    const rows: string[] = []
    do {
      while (!scan.poll()) await source.waitForArrival()
      rows.push(...rowsOf(scan.keys, scan.values, 0, scan.keys.count))
    } while (scan.keys.count > 0)
    expect(rows).toEqual(rowList(expected))
    const keys = listOf([...this.world.models[table].keys()].map((key) => Buffer.from(key, 'hex')))
    const read = reader.getMany(TABLES[table], keys)
    while (!read.poll()) await source.waitForArrival()
    for (let i = 0; i < keys.count; i++) {
      expect(read.found[i] === 1 ? item(read.values, i) : undefined).toBe(
        expected.get(item(keys, i)),
      )
    }
  }
}

function rowList(rows: ReadonlyMap<string, string>): string[] {
  return [...rows].map(([key, value]) => `${key}=${value}`)
}

function between(rows: ReadonlyMap<string, string>, from: Uint8Array, to: Uint8Array): string[] {
  const inside = [...rows].filter(([key]) => {
    const bytes = Buffer.from(key, 'hex')
    return Buffer.compare(bytes, from) >= 0 && Buffer.compare(bytes, to) < 0
  })
  return inside.map(([key, value]) => `${key}=${value}`)
}

describe('reads agree with the model', () => {
  const steps = fc.array(fc.tuple(fc.nat(99), fc.nat(0x7fff_ffff)), {
    minLength: 20,
    maxLength: 120,
    size: 'max',
  })
  for (const [name, options] of Object.entries(CONFIGURATIONS)) {
    it(name, async () => {
      await fc.assert(
        fc.asyncProperty(steps, async (history) => {
          const run = new History(options)
          for (const [kind, seed] of history) run.step(kind, seed)
          await run.end()
        }),
        { numRuns: 120 },
      )
    })
  }
})

describe('a read', () => {
  const options = CONFIGURATIONS['tiny blocks, plenty of cache']
  const key = tableKey(1, 5, 'a')
  const value = Uint8Array.of(1, 2, 3)

  function committed(): World {
    const world = new World(options)
    world.write(0, key, value)
    world.seal()
    world.checkpoint(false)
    return world
  }

  it('throws the error of a failed fetch once and then asks anew', () => {
    const world = committed()
    world.failures = 1
    const read = world.tables[0].getMany(listOf([key]))
    expect(read.poll()).toBe(false)
    world.drain()
    world.deliver(0, true)
    expect(() => read.poll()).toThrow(EngineError)
    world.finish(read)
    expect(read.found[0]).toBe(1)
    expect(item(read.values, 0)).toBe('010203')
  })

  it('shares a fetch, and its failure, with others that want the same', () => {
    const world = committed()
    const handles = [world.tables[0], world.store.open(TABLES[0])]
    const reads = handles.map((handle) => handle.getMany(listOf([key])))
    expect(reads.map((read) => read.poll())).toEqual([false, false])
    world.drain()
    expect(world.requests).toHaveLength(1)
    world.failures = 1
    world.deliver(0, false)
    for (const read of reads) expect(() => read.poll()).toThrow(EngineError)
    // The tail, then the block: neither goes into the cache, and the slower read still has both.
    for (let round = 0; round < 2; round++) {
      expect(reads.map((read) => read.poll())).toEqual([false, false])
      world.drain()
      expect(world.requests).toHaveLength(1)
      world.deliver(0, false)
    }
    expect(reads.map((read) => read.poll())).toEqual([true, true])
    expect(reads.map((read) => item(read.values, 0))).toEqual(['010203', '010203'])
    expect(world.source.wantCount).toBe(0)
  })

  it('that scans goes on where it stood after an error, or is closed', () => {
    const world = new World(options)
    for (let i = 0; i < 3000; i++) world.write(0, tableKey(1, i, 'x'), new Uint8Array(20))
    world.seal()
    world.checkpoint(false)
    const scan = world.tables[0].scan(new Uint8Array(), Uint8Array.of(0xff))
    world.finish(scan)
    const first = rowsOf(scan.keys, scan.values, 0, scan.keys.count)
    world.failures = 1
    expect(() => world.finish(scan)).toThrow(EngineError)
    expect([...first, ...world.scanAll(scan)]).toEqual(
      rowList(world.expected(0, Number.POSITIVE_INFINITY)),
    )
    const abandoned = world.tables[0].scan(new Uint8Array(), Uint8Array.of(0xff))
    const before = world.version.versionId
    abandoned.poll()
    world.compact(1, true)
    expect(world.store.oldestVersionInUse()).toBe(before)
    abandoned.close()
    expect(world.store.oldestVersionInUse()).toBe(world.version.versionId)
    expect(world.source.wantCount).toBe(0)
  })

  it('keeps its version and its runs until it is complete', () => {
    const world = committed()
    world.write(0, tableKey(1, 6, 'b'), value)
    world.seal()
    const before = world.version.versionId
    const scan = world.tables[0].scan(new Uint8Array(), Uint8Array.of(0xff))
    expect(scan.poll()).toBe(false)
    world.checkpoint(false)
    world.compact(9, true)
    expect(world.store.oldestVersionInUse()).toBe(before)
    expect(world.store.arenaBytes).toBeGreaterThan(0)
    expect(world.scanAll(scan)).toHaveLength(2)
    expect(world.store.oldestVersionInUse()).toBe(world.version.versionId)
    expect(world.store.arenaBytes).toBe(0)
  })

  it('asks for all that a batch misses at once', () => {
    const world = new World(options)
    for (let i = 0; i < 40; i++) world.write(0, tableKey(1, i, 'x'), new Uint8Array(50))
    world.seal()
    world.checkpoint(false)
    const keys = Array.from({ length: 40 }, (_, i) => tableKey(1, i, 'x'))
    const read = world.tables[0].getMany(listOf(keys))
    expect(read.poll()).toBe(false)
    world.drain()
    const tails = world.requests.length
    while (world.requests.length > 0) world.deliver(0, true)
    expect(read.poll()).toBe(false)
    world.drain()
    expect(world.requests.length).toBe(tails)
    const blocks = world.requests.reduce((sum, request) => sum + request.blocks.length, 0)
    expect(blocks).toBeGreaterThan(20)
    while (world.requests.length > 0) world.deliver(0, true)
    expect(read.poll()).toBe(true)
  })

  it('skips SSTs whose filter excludes the prefix', () => {
    const world = new World({ ...options, sstBytes: MEBIBYTE })
    for (let commit = 0; commit < 8; commit++) {
      for (let i = 0; i < 20; i++) world.write(0, tableKey(1, i * 8 + commit, 'x'), value)
      world.seal()
      world.checkpoint(false)
    }
    const { stats } = world.store
    const read = world.tables[0].scanMany(listOf([tableKey(1, 80)]))
    world.finish(read)
    expect(read.rowStarts[1]).toBe(1)
    expect(stats.filterNegatives).toBeGreaterThanOrEqual(5)
    expect(stats.sstsRead).toBeLessThanOrEqual(3)
  })

  it('refuses keys and values above their limits before it writes', () => {
    const world = new World(options)
    const table = world.tables[0]
    expect(() => table.put(new Uint8Array(65_536), 0, 65_536, value, 0, 3)).toThrow(
      expect.objectContaining({ code: 'KEY_TOO_LARGE' }),
    )
    const large = new Uint8Array(64 * MEBIBYTE + 1)
    expect(() => table.put(key, 0, key.length, large, 0, large.length)).toThrow(
      expect.objectContaining({ code: 'VALUE_TOO_LARGE' }),
    )
    expect(world.store.arenaBytes).toBe(0)
  })
})
