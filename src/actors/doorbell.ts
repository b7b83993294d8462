/**
 * What a worker sleeps on: one Int32 of shared memory a worker, raised for every reason to look. Waking
 * costs a system call, so workers notify only a sleeper: bit 0 says that the owner sleeps or is about to, and
 * workers raise by 2. The control thread, which rings seldom, adds 1 and always notifies; that may leave the bit
 * set on an awake owner, which costs one needless notify and loses nothing.
 *
 * No wake-up is lost: the owner reads the word, looks at everything, and falls asleep only by a compare-exchange
 * from what it read. A ring before that makes the exchange fail; a ring after it changes the value, so that
 * `Atomics.wait` returns at once or is notified.
 */
const ASLEEP = 1
const RAISE = 2

/** Gives a worker a reason to look. Any worker thread. */
export function ringDoorbell(doorbells: Int32Array, worker: number): void {
  const before = Atomics.add(doorbells, worker, RAISE)
  if ((before & ASLEEP) !== 0) Atomics.notify(doorbells, worker)
}

/** The word as it is now: to be read before the owner looks whether there is work. Owner only. */
export function readDoorbell(doorbells: Int32Array, worker: number): number {
  return Atomics.load(doorbells, worker)
}

/**
 * Sleeps until somebody rings, at the longest `timeoutMs`; not at all if somebody has rung since `seen` was read.
 * Owner only; blocks the thread.
 * @returns false when the time ran out.
 */
export function sleepOnDoorbell(
  doorbells: Int32Array,
  worker: number,
  given: { readonly seen: number; readonly timeoutMs: number },
): boolean {
  const { seen, timeoutMs } = given
  const asleep = seen | ASLEEP
  if (Atomics.compareExchange(doorbells, worker, seen, asleep) !== seen) return true
  const woken = Atomics.wait(doorbells, worker, asleep, timeoutMs) !== 'timed-out'
  Atomics.and(doorbells, worker, ~ASLEEP)
  return woken
}
