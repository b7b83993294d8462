/** The block cache: against a model on one thread, and under readers on threads of their own. */

import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BlockCache, sstIdHash } from '../../../src/storage/cache/memory.ts'

const BUILT = new URL('../../../dist/src/storage/cache/memory.js', import.meta.url)
const SLOT_BYTES = 256

function newCache(slots: number): { cache: BlockCache; buffer: SharedArrayBuffer } {
  const bytes = BlockCache.bytesFor(slots * (SLOT_BYTES + 136), SLOT_BYTES)
  const buffer = new SharedArrayBuffer(bytes)
  return { cache: new BlockCache(buffer, 'owner', SLOT_BYTES), buffer }
}

/** The only content that block `blockIndex` of `sstId` ever has. */
function bodyOf(sstId: string, blockIndex: number): Uint8Array {
  const seed = [...sstId].reduce((sum, letter) => sum * 31 + letter.charCodeAt(0), blockIndex)
  const body = new Uint8Array(1 + (Math.abs(seed) % SLOT_BYTES))
  for (let i = 0; i < body.length; i++) body[i] = seed * 7 + i * 13
  return body
}

/** Two ids that are found under one hash. */
function collidingIds(): [string, string] {
  const seen = new Map<number, string>()
  for (let n = 0; ; n++) {
    const id = `5-${n}`
    const hash = sstIdHash(new TextEncoder().encode(id))
    const other = seen.get(hash)
    if (other !== undefined) return [other, id]
    seen.set(hash, id)
  }
}

function isHere(cache: BlockCache, sstId: string, blockIndex: number): boolean {
  const slot = cache.lookup(sstId, blockIndex)
  if (slot >= 0) cache.unpin(slot)
  return slot >= 0
}

describe('the block cache', () => {
  it('holds the bytes it was given, pinned ones until they are unpinned', () => {
    const step = fc.tuple(fc.nat(9), fc.nat(5), fc.nat(7))
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 300, size: 'max' }),
        fc.integer({ min: 2, max: 12 }),
        (steps, slots) => {
          const { cache, buffer } = newCache(slots)
          const reader = new BlockCache(buffer, 'reader', SLOT_BYTES)
          const pinned: { slot: number; body: Uint8Array }[] = []
          for (const [kind, sst, blockIndex] of steps) {
            const sstId = `5-${sst}`
            if (kind < 5) {
              const inserted = cache.insert(sstId, blockIndex, bodyOf(sstId, blockIndex))
              const allPinned = new Set(pinned.map((pin) => pin.slot)).size >= cache.slotCount
              if (!inserted) expect(allPinned).toBe(true)
              else expect(isHere(reader, sstId, blockIndex)).toBe(true)
            } else if (kind < 8) {
              const slot = reader.lookup(sstId, blockIndex)
              if (slot >= 0) pinned.push({ slot, body: bodyOf(sstId, blockIndex) })
            } else if (kind === 8 && pinned.length > 0) {
              const [pin] = pinned.splice(blockIndex % pinned.length, 1)
              reader.unpin(pin.slot)
            } else if (kind === 9 && blockIndex === 0) {
              cache.evictSst(sstId)
              for (let i = 0; i < 8; i++) expect(isHere(reader, sstId, i)).toBe(false)
            }
            for (const pin of pinned) expect([...reader.view(pin.slot)]).toEqual([...pin.body])
          }
        },
      ),
      { numRuns: 300 },
    )
  })

  it('tells ids apart whose hashes are the same', () => {
    const [left, right] = collidingIds()
    const { cache } = newCache(4)
    cache.insert(left, 0, bodyOf(left, 0))
    expect(isHere(cache, right, 0)).toBe(false)
    cache.insert(right, 0, bodyOf(right, 0))
    for (const id of [left, right]) {
      const slot = cache.lookup(id, 0)
      expect([...cache.view(slot)]).toEqual([...bodyOf(id, 0)])
      cache.unpin(slot)
    }
    cache.evictSst(left)
    expect([isHere(cache, left, 0), isHere(cache, right, 0)]).toEqual([false, true])
  })

  it('keeps what is read again while a scan passes through', () => {
    const { cache } = newCache(50)
    for (let i = 0; i < 30; i++) cache.insert('hot', i, bodyOf('hot', i))
    for (let i = 0; i < 30; i++) expect(isHere(cache, 'hot', i)).toBe(true)
    for (let i = 0; i < 1000; i++) {
      cache.insert('scan', i, bodyOf('scan', i))
      const slot = cache.lookup('scan', i, false)
      if (slot >= 0) cache.unpin(slot)
    }
    let hot = 0
    for (let i = 0; i < 30; i++) hot += Number(isHere(cache, 'hot', i))
    expect(hot).toBe(30)
  })

  it('refuses what is larger than a slot, and everything while all is pinned', () => {
    const { cache } = newCache(2)
    expect(cache.insert('5-1', 0, new Uint8Array(SLOT_BYTES + 1))).toBe(false)
    for (let i = 0; i < cache.slotCount; i++) {
      cache.insert('5-1', i, bodyOf('5-1', i))
      expect(cache.lookup('5-1', i)).toBeGreaterThanOrEqual(0)
    }
    expect(cache.insert('5-2', 0, bodyOf('5-2', 0))).toBe(false)
    expect(cache.stats.refused).toBe(2)
  })

  it('never shows readers on other threads a block that is not the one asked for', async () => {
    expect(existsSync(BUILT), 'run `npm run build` first').toBe(true)
    const { cache, buffer } = newCache(8)
    const stop = new Int32Array(new SharedArrayBuffer(4))
    const code = `
      import { parentPort, workerData } from 'node:worker_threads'
      import { BlockCache } from ${JSON.stringify(BUILT.href)}
      const cache = new BlockCache(workerData.buffer, 'reader', ${SLOT_BYTES})
      const bodyOf = ${bodyOf.toString().replaceAll('SLOT_BYTES', String(SLOT_BYTES))}
      let state = workerData.seed
      let wrong = 0
      let hits = 0
      while (hits < 20_000 || Atomics.load(workerData.stop, 0) === 0) {
        state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
        const sst = '5-' + ((state >>> 8) % 4)
        const index = (state >>> 16) % 8
        const slot = cache.lookup(sst, index)
        if (slot < 0) continue
        hits++
        const view = cache.view(slot)
        const body = bodyOf(sst, index)
        if (view.length !== body.length) wrong++
        else for (let i = 0; i < body.length; i++) if (view[i] !== body[i]) { wrong++; break }
        cache.unpin(slot)
      }
      parentPort.postMessage({ wrong, hits })
    `
    const workers = [1, 2].map(
      (seed) =>
        new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`), {
          workerData: { buffer, stop, seed },
        }),
    )
    const answers = workers.map((worker) => once(worker, 'message'))
    let done = false
    void Promise.all(answers).then(() => {
      done = true
    })
    // Some turns of the event loop, so that the end of the readers is seen.
    for (let round = 0; !done; round++) {
      for (let i = 0; i < 2000; i++) {
        const turn = round * 2000 + i
        const sstId = `5-${(turn * 7919) % 4}`
        cache.insert(sstId, (turn * 104_729) % 8, bodyOf(sstId, (turn * 104_729) % 8))
        if (turn % 501 === 0) cache.evictSst(sstId)
      }
      if (round === 20) Atomics.store(stop, 0, 1)
      await new Promise((resolve) => setImmediate(resolve))
    }
    for (const [answer] of await Promise.all(answers)) {
      expect(answer.wrong).toBe(0)
      expect(answer.hits).toBeGreaterThanOrEqual(20_000)
    }
    expect(cache.stats.evictions).toBeGreaterThan(1000)
    // All pins are gone: every slot can be filled again.
    for (let i = 0; i < cache.slotCount * 3; i++) {
      expect(cache.insert('6-1', i, bodyOf('6-1', i))).toBe(true)
    }
  })
})
