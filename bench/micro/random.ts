/** Chance for the inputs of benchmarks, from a seed. */

/** Numbers in [0, 1). @see Ettinger, Mulberry32 (public domain) */
export function randomOf(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Whole numbers from 0 to below a limit. */
export function integersOf(seed: number): (limit: number) => number {
  const random = randomOf(seed)
  return (limit) => Math.floor(random() * limit)
}
