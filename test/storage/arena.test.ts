/** Slabs: taken, shared, given back and used again; what does not fit the reserved buffer is counted. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Arena, type SlabRest } from '../../src/storage/arena.ts'

const SLAB = 1024

describe('an arena', () => {
  it('uses freed slabs first, so that it touches no more than was held at once', () => {
    const buffer = new SharedArrayBuffer(SLAB * 100)
    const arena = new Arena(buffer, SLAB)
    const offsets = new Set<number>()
    for (let round = 0; round < 50; round++) {
      const held = [1, 2, 3].map(() => arena.allocate(100))
      for (const { slab } of held) offsets.add(slab.offset)
      expect(arena.heldBytes).toBe(3 * SLAB)
      for (const { slab } of held) arena.release(slab)
    }
    expect(offsets.size).toBe(3)
    expect(arena.heldBytes).toBe(0)
  })

  it('goes on in buffers of their own when it is exhausted, and counts them', () => {
    const arena = new Arena(new SharedArrayBuffer(SLAB * 2), SLAB)
    const held = [1, 2, 3, 4].map(() => arena.allocate(100))
    expect(held.map(({ slab }) => slab.overflow)).toEqual([false, false, true, true])
    expect(arena.overflowBytes).toBe(2 * SLAB)
    const large = arena.allocate(SLAB + 1)
    expect(large.slab.bytes.length).toBeGreaterThan(SLAB)
    for (const { slab } of [...held, large]) arena.release(slab)
    expect([arena.heldBytes, arena.overflowBytes]).toEqual([0, 0])
  })

  it('never hands out the same bytes twice', () => {
    const step = fc.tuple(fc.constantFrom('take', 'rest', 'release'), fc.nat(2000))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const arena = new Arena(new SharedArrayBuffer(SLAB * 4), SLAB)
        const held: { rest: SlabRest; end: number }[] = []
        for (const [kind, size] of steps) {
          if (kind === 'take') {
            const rest = arena.allocate(size)
            for (const other of held) {
              const shared = other.rest.slab === rest.slab
              expect(shared && rest.from < other.end && other.rest.from < rest.from + size).toBe(
                false,
              )
            }
            held.push({ rest, end: rest.slab.bytes.length })
          } else if (held.length > 0) {
            const at = size % held.length
            const entry = held[at]
            if (kind === 'rest' && entry.end === entry.rest.slab.bytes.length) {
              entry.end = Math.min(entry.rest.from + 64, entry.end)
              arena.offerRest(entry.rest.slab, entry.end)
            } else if (kind === 'release') {
              held.splice(at, 1)
              arena.release(entry.rest.slab)
            }
          }
        }
        for (const { rest } of held) arena.release(rest.slab)
        expect([arena.heldBytes, arena.overflowBytes]).toEqual([0, 0])
      }),
      { numRuns: 300 },
    )
  })
})
