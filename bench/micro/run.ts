/** `tussock bench micro`: the parts of the engine one by one, measured by mitata or, in smoke mode, only checked. */
import { cpus } from 'node:os'
import { EngineError } from '../../src/common/errors.ts'
import { BENCHMARKS as CHUNK_CODEC } from './actors/chunk-codec.ts'
import { BENCHMARKS as RING } from './actors/ring.ts'
import { type Benchmark, measureRuns, type Prepared, runOnce, type Timing } from './benchmark.ts'
import { BENCHMARKS as BLOCK } from './storage/block.ts'
import { BENCHMARKS as FILTER } from './storage/filter.ts'
import { BENCHMARKS as JOBS } from './storage/jobs.ts'
import { BENCHMARKS as LOCAL_STORE } from './storage/local-store.ts'
import { BENCHMARKS as MEMTABLE } from './storage/memtable.ts'
import { BENCHMARKS as EXPRESSION } from './stream/expression.ts'
import { BENCHMARKS as HASH_AGGREGATE } from './stream/hash-aggregate.ts'
import { BENCHMARKS as HASH_JOIN } from './stream/hash-join.ts'
import { BENCHMARKS as ROW_CODEC } from './stream/row-codec.ts'

export interface MicroOptions {
  /** Only benchmarks whose name holds it; empty: all. */
  readonly filter: string
  /** Tiny inputs, one judged run each, nothing measured. */
  readonly smoke: boolean
  /** One JSON line a benchmark instead of words. */
  readonly json: boolean
  /** Of the inputs; default 42. */
  readonly seed?: number
  readonly print: (line: string) => void
}

/** In the order of data's way. */
const BENCHMARKS: readonly Benchmark[] = [
  ...EXPRESSION,
  ...CHUNK_CODEC,
  ...RING,
  ...HASH_JOIN,
  ...HASH_AGGREGATE,
  ...ROW_CODEC,
  ...MEMTABLE,
  ...LOCAL_STORE,
  ...FILTER,
  ...BLOCK,
  ...JOBS,
]

const SEED = 42

/**
 * One after the other, each about a second; starts threads for two of them.
 * @throws OPTION_INVALID when the filter leaves none; INTERNAL when a benchmark gave a wrong result
 */
export async function runMicro(options: MicroOptions): Promise<void> {
  const chosen = BENCHMARKS.filter(({ name }) => name.includes(options.filter))
  if (chosen.length === 0) {
    throw new EngineError('OPTION_INVALID', `no benchmark has '${options.filter}' in its name`, {
      context: { option: 'filter', hint: BENCHMARKS.map(({ name }) => name).join('; ') },
    })
  }
  const seed = options.seed ?? SEED
  for (const benchmark of chosen) {
    const prepared = await benchmark.prepare({ seed, tiny: options.smoke })
    try {
      const checksum = runOnce(benchmark.name, prepared)
      const timing = options.smoke ? null : await measureRuns(benchmark.name, prepared)
      const result = resultOf(benchmark, prepared, timing)
      options.print(
        options.json
          ? JSON.stringify({ ...result, seed, checksum: hex(checksum), ...MACHINE })
          : describe(result, checksum),
      )
    } finally {
      await prepared.close?.()
    }
  }
}

const MACHINE = {
  machine: `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}`,
  node: process.version,
}

/** Times are nanoseconds per unit, rates are those of the median; all are null in smoke mode. */
interface Result {
  readonly benchmark: string
  readonly unit: string
  readonly minNs: number | null
  readonly medianNs: number | null
  readonly p99Ns: number | null
  readonly perSecond: number | null
  readonly megabytesPerSecond: number | null
  readonly samples: number
  readonly parameters: Prepared['parameters']
}

function resultOf(benchmark: Benchmark, prepared: Prepared, timing: Timing | null): Result {
  const { parameters, unitsPerRun, bytesPerRun } = prepared
  const { name, unit } = benchmark
  const common = { benchmark: name, unit, parameters }
  if (timing === null) {
    const times = { minNs: null, medianNs: null, p99Ns: null }
    return { ...common, ...times, perSecond: null, megabytesPerSecond: null, samples: 0 }
  }
  const { min, median, p99, samples } = timing
  return {
    ...common,
    minNs: round(min / unitsPerRun),
    medianNs: round(median / unitsPerRun),
    p99Ns: round(p99 / unitsPerRun),
    perSecond: Math.round((unitsPerRun / median) * 1e9),
    megabytesPerSecond: bytesPerRun === undefined ? null : round((bytesPerRun / median) * 1e3),
    samples,
  }
}

function describe(result: Result, checksum: number): string {
  const { benchmark, unit, minNs, medianNs, p99Ns, perSecond, megabytesPerSecond } = result
  const name = benchmark.padEnd(36)
  if (medianNs === null || perSecond === null) return `${name} right, checksum ${hex(checksum)}`
  const others = `min ${String(minNs).padStart(7)}  p99 ${String(p99Ns).padStart(7)}`
  const time = `${String(medianNs).padStart(7)} ns/${unit.padEnd(6)}  ${others}`
  const rate = `${(perSecond / 1e6).toFixed(2).padStart(8)} M/s`
  const bytes =
    megabytesPerSecond === null ? '' : `${megabytesPerSecond.toFixed(0).padStart(8)} MB/s`
  return `${name} ${time} ${rate}${bytes}`
}

function hex(checksum: number): string {
  return checksum.toString(16).padStart(8, '0')
}

/** Four significant digits are more than such timings are worth. */
function round(value: number): number {
  return Number(value.toPrecision(4))
}
