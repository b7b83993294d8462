/**
 * What a micro-benchmark is, and the two ways to run one: once, judged by its checksum, or measured by mitata
 * between two judged runs, so that neither a no-op nor a wrong answer is ever timed. Runs on the caller's thread.
 */
import { EngineError } from '../../src/common/errors.ts'

/** What a benchmark is prepared with. */
export interface Scale {
  /** Same seed, same inputs, same checksum. */
  readonly seed: number
  /** Inputs as small as they can be and still mean something: for tests, not for measuring. */
  readonly tiny: boolean
}

export interface Benchmark {
  /** `<file of src>/<what is done>`: what filters look into. Unique. */
  readonly name: string
  /** What times and rates are given per. */
  readonly unit: 'frame' | 'chunk' | 'row' | 'entry' | 'key' | 'prefix' | 'probe'
  prepare(scale: Scale): Prepared | Promise<Prepared>
}

/** A benchmark with its inputs made. Runs follow one another and all do the same. */
export interface Prepared {
  readonly parameters: Readonly<Record<string, number>>
  /** How many units a run handles: what `run` must return. */
  readonly unitsPerRun: number
  /** Bytes that a run passes through, where that means something. */
  readonly bytesPerRun?: number
  /** Done before each run and not timed. */
  reset?(): void
  /** The code under test. Returns how many units it handled. */
  run(): number
  /** u32 of everything that the last run put out. */
  checksum(): number
  /** What the checksum must be, by naive code that shares nothing with the code under test. */
  readonly expected: number
  /** Ends threads. */
  close?(): Promise<void>
}

/** Times of one run, in nanoseconds. */
export interface Timing {
  /** Without the two fastest: what a busy machine says least wrongly. */
  readonly min: number
  readonly median: number
  readonly p99: number
  readonly samples: number
}

const WARM_UP_MS = 150
const MEASURE_NS = 400e6

/** Runs the benchmark once. Returns its checksum. @throws INTERNAL when it did not do what it should. */
export function runOnce(name: string, prepared: Prepared): number {
  prepared.reset?.()
  const units = prepared.run()
  if (units !== prepared.unitsPerRun) {
    throw wrong(name, 'units handled', prepared.unitsPerRun, units)
  }
  const checksum = prepared.checksum() >>> 0
  if (checksum !== prepared.expected >>> 0) {
    throw wrong(name, 'checksum', prepared.expected >>> 0, checksum)
  }
  return checksum
}

/** Measures for about half a second. @throws INTERNAL when a run did not do what it should. */
export async function measureRuns(name: string, prepared: Prepared): Promise<Timing> {
  const end = performance.now() + WARM_UP_MS
  do runOnce(name, prepared)
  while (performance.now() < end)
  const { measure } = await import('mitata')
  let untimedNs = 0
  let runs = 0
  let units = 0
  const body = (): void => {
    if (prepared.reset !== undefined) {
      const start = performance.now()
      prepared.reset()
      untimedNs += (performance.now() - start) * 1e6
    }
    units += prepared.run()
    runs++
  }
  const stats = await measure(body, {
    // A clock that stands still during `reset`.
    now: () => performance.now() * 1e6 - untimedNs,
    min_cpu_time: MEASURE_NS,
    // Without `--expose-gc` mitata would allocate a gigabyte to provoke a collection.
    gc: globalThis.gc === undefined ? false : () => globalThis.gc?.(),
  })
  if (units !== runs * prepared.unitsPerRun) {
    throw wrong(name, 'units handled', runs * prepared.unitsPerRun, units)
  }
  runOnce(name, prepared)
  return { min: stats.min, median: stats.p50, p99: stats.p99, samples: stats.samples.length }
}

function wrong(name: string, what: string, expected: number, actual: number): EngineError {
  return new EngineError('INTERNAL', `benchmark ${name} went wrong: ${what}`, {
    context: { benchmark: name, expected, actual },
  })
}
