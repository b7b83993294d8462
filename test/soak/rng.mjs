// Random numbers from a seed: the same seed gives the same workload on every machine.

/** Draws from one seed; every method advances the state. */
export class Random {
  constructor(seed) {
    this.state = (seed ^ 0x9e3779b9) >>> 0
    for (let round = 0; round < 4; round++) this.next()
  }

  /** 32 bits. */
  next() {
    this.state = (this.state + 0x6d2b79f5) >>> 0
    let mixed = this.state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }

  /** A whole number from `from` to `to`, both included. */
  int(from, to) {
    return from + (this.next() % (to - from + 1))
  }

  chance(probability) {
    return this.next() / 2 ** 32 < probability
  }

  pick(items) {
    return items[this.next() % items.length]
  }

  /** `count` different items, in their order. */
  some(items, count) {
    const left = [...items]
    while (left.length > count) left.splice(this.int(0, left.length - 1), 1)
    return left
  }

  /** One of `[weight, item]`. */
  weighted(items) {
    let left = this.next() / 2 ** 32
    left *= items.reduce((sum, [weight]) => sum + weight, 0)
    for (const [weight, item] of items) {
      if (left < weight) return item
      left -= weight
    }
    return items[items.length - 1][1]
  }
}
