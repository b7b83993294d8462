/** What `open` takes: each option with its unit, default and bounds, checked once. */
import { didYouMean } from './common/did-you-mean.ts'
import { EngineError } from './common/errors.ts'

const KIB = 1024
const MIB = 1024 * KIB

export interface OpenOptions {
  /**
   * `writer` (default) owns the database: it runs the pipeline, and whoever wrote before is fenced. `reader` serves
   * queries from what another process commits, starts no worker and writes nothing.
   */
  readonly mode?: 'writer' | 'reader'
  /** Worker threads that run operators. Default: the number of cores, at most 16. 1 to 64. */
  readonly parallelism?: number
  /** Milliseconds between barriers: how fresh views are. Default 100. 1 to 60,000. */
  readonly barrierIntervalMs?: number
  /**
   * Milliseconds between checkpoints: how much is done again after a crash. Default 1,000; rounded to whole
   * barriers. 0: checkpoints only by `flush()` and `close()`.
   */
  readonly checkpointIntervalMs?: number
  /**
   * One budget for all of the below, bytes: a quarter for blocks, a quarter for operators' state, half for memtables.
   * Default: each as written there.
   */
  readonly memoryBytes?: number
  readonly cache?: {
    /** Blocks read from the store, shared by all threads. Default 256 MiB; at least 1 MiB. */
    readonly memoryBytes?: number
    /** Hot rows of operators, all workers together. Default 256 MiB; at least 64 KiB. */
    readonly stateBytes?: number
  }
  /** Memtables until their commit, all workers together; sources pause above half. Default 512 MiB; at least 4 MiB. */
  readonly sharedBufferBytes?: number
  /** Threads of the pool that encodes and compacts SSTs. Default 1. 1 to 16. */
  readonly poolThreads?: number
  readonly storage?: {
    /** Uncompressed size of a block. Default 64 KiB; 4 KiB to 1 MiB. */
    readonly blockBytes?: number
    /** Size at which an SST is split. Default 256 MiB; at least 64 KiB. */
    readonly sstBytes?: number
    /** Run compactions. Default true. */
    readonly compaction?: boolean
  }
  /** Where the built worker files are, if a bundler moved them: a folder, with `/` at its end. */
  readonly workerUrl?: string | URL
}

/** The same, complete. */
export interface ResolvedOptions {
  readonly mode: 'writer' | 'reader'
  readonly parallelism: number
  readonly barrierIntervalMs: number
  readonly checkpointEvery: number
  readonly blockCacheBytes: number
  readonly stateCacheBytes: number
  readonly sharedBufferBytes: number
  readonly poolThreads: number
  readonly blockBytes: number
  readonly sstBytes: number
  readonly compaction: boolean
  /** Bound of each engine thread's young generation, MB; null: V8's own. A small budget should not be dwarfed by it. */
  readonly youngGenerationMb: number | null
}

const NAMES = [
  'mode',
  'parallelism',
  'barrierIntervalMs',
  'checkpointIntervalMs',
  'memoryBytes',
  'cache',
  'sharedBufferBytes',
  'poolThreads',
  'storage',
  'workerUrl',
  'onEvent',
]
const CACHE_NAMES = ['memoryBytes', 'stateBytes']
const STORAGE_NAMES = ['blockBytes', 'sstBytes', 'compaction']

/** Refuses what is not an object of these options. @param within the option that it is, with a dot */
export function checkNames(given: unknown, names: readonly string[], within = ''): void {
  if (typeof given !== 'object' || given === null) {
    const what = within === '' ? 'options are' : `option ${within.slice(0, -1)} is`
    throw new EngineError('OPTION_INVALID', `${what} an object, not ${String(given)}`)
  }
  for (const name of Object.keys(given)) {
    if (names.includes(name)) continue
    throw new EngineError('OPTION_INVALID', `there is no option '${within}${name}'`, {
      context: {
        option: `${within}${name}`,
        hint: didYouMean(name, names) ?? `Options are ${names.join(', ')}.`,
      },
    })
  }
}

/** @throws OPTION_INVALID naming the option, its bounds and what was given. */
export function resolveOptions(options: OpenOptions, cores: number): ResolvedOptions {
  checkNames(options, NAMES)
  checkNames(options.cache ?? {}, CACHE_NAMES, 'cache.')
  checkNames(options.storage ?? {}, STORAGE_NAMES, 'storage.')
  const barrierIntervalMs = check('barrierIntervalMs', options.barrierIntervalMs, 100, 1, 60_000)
  const checkpointMs = check('checkpointIntervalMs', options.checkpointIntervalMs, 1000, 0, 3.6e6)
  const budget =
    options.memoryBytes === undefined
      ? null
      : check('memoryBytes', options.memoryBytes, 0, 16 * MIB, 2 ** 40)
  const share = (part: number, otherwise: number): number =>
    budget === null ? otherwise : Math.floor(budget * part)
  const mode = options.mode ?? 'writer'
  if (mode !== 'writer' && mode !== 'reader') {
    throw new EngineError(
      'OPTION_INVALID',
      `option mode is 'writer' or 'reader', not ${String(mode)}`,
      {
        context: { option: 'mode' },
      },
    )
  }
  return {
    mode,
    parallelism: check('parallelism', options.parallelism, Math.min(Math.max(cores, 1), 16), 1, 64),
    barrierIntervalMs,
    checkpointEvery:
      checkpointMs === 0 ? 0 : Math.max(1, Math.round(checkpointMs / barrierIntervalMs)),
    blockCacheBytes: check(
      'cache.memoryBytes',
      options.cache?.memoryBytes,
      share(0.25, 256 * MIB),
      MIB,
      2 ** 32,
    ),
    stateCacheBytes: check(
      'cache.stateBytes',
      options.cache?.stateBytes,
      share(0.25, 256 * MIB),
      64 * KIB,
      2 ** 40,
    ),
    sharedBufferBytes: check(
      'sharedBufferBytes',
      options.sharedBufferBytes,
      share(0.5, 512 * MIB),
      4 * MIB,
      2 ** 36,
    ),
    poolThreads: check('poolThreads', options.poolThreads, 1, 1, 16),
    blockBytes: check('storage.blockBytes', options.storage?.blockBytes, 64 * KIB, 4 * KIB, MIB),
    sstBytes: check('storage.sstBytes', options.storage?.sstBytes, 256 * MIB, 64 * KIB, 2 ** 30),
    compaction: flag('storage.compaction', options.storage?.compaction, true),
    youngGenerationMb:
      budget === null ? null : Math.min(48, Math.max(12, Math.floor(budget / (8 * MIB)))),
  }
}

/** @throws OPTION_INVALID */
export function flag(name: string, given: unknown, otherwise: boolean): boolean {
  if (given === undefined) return otherwise
  if (typeof given === 'boolean') return given
  throw new EngineError('OPTION_INVALID', `option ${name} is true or false, not ${String(given)}`, {
    context: { option: name },
  })
}

function check(
  name: string,
  given: number | undefined,
  otherwise: number,
  least: number,
  most: number,
): number {
  const value = given ?? otherwise
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
    throw new EngineError(
      'OPTION_INVALID',
      `option ${name} must be a whole number from ${least} to ${most}, not ${String(given)}`,
      { context: { option: name, least, most } },
    )
  }
  return value
}
