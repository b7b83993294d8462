/** Arguments that several subcommands take, and their checks. */
import { EngineError } from '../common/errors.ts'
import type { OpenOptions } from '../options.ts'

export const storeArgument = {
  store: {
    type: 'string',
    default: './tussock-data',
    valueHint: 'url',
    description: 'a folder, memory://, or s3://bucket/prefix?endpoint=…',
  },
} as const

export const engineArguments = {
  parallelism: { type: 'string', valueHint: 'n', description: 'worker threads (default: cores)' },
  'checkpoint-interval-ms': {
    type: 'string',
    valueHint: 'ms',
    description: 'time between checkpoints (default 1000; 0: only at the end)',
  },
  'barrier-interval-ms': {
    type: 'string',
    valueHint: 'ms',
    description: 'time between barriers (default 100)',
  },
  'state-cache-bytes': {
    type: 'string',
    valueHint: 'bytes',
    description: "operators' state in memory (default 256 MiB)",
  },
  'memory-bytes': {
    type: 'string',
    valueHint: 'bytes',
    description: 'one budget for caches and memtables',
  },
} as const

/** A whole number, with `_` and exponents allowed (1_000_000, 1e6). @throws OPTION_INVALID */
export function wholeNumber(name: string, text: string, least = 0): number {
  const value = Number(text.replaceAll('_', ''))
  if (text.trim() === '' || !Number.isSafeInteger(value) || value < least) {
    const bound = least === 0 ? '' : ` from ${least}`
    throw new EngineError(
      'OPTION_INVALID',
      `--${name} takes a whole number${bound}, not '${text}'`,
      {
        context: { option: name },
      },
    )
  }
  return value
}

/** One of a few words. @throws OPTION_INVALID */
export function oneOf<T extends string>(name: string, text: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === text)
  if (found !== undefined) return found
  throw new EngineError(
    'OPTION_INVALID',
    `--${name} takes ${choices.slice(0, -1).join(', ')} or ${choices[choices.length - 1]}, not '${text}'`,
    {
      context: { option: name },
    },
  )
}

export function engineOptions(args: Readonly<Record<string, unknown>>): OpenOptions {
  const given = (name: string): number | undefined => {
    const text = args[name]
    return typeof text === 'string' ? wholeNumber(name, text) : undefined
  }
  const parallelism = given('parallelism')
  const checkpointIntervalMs = given('checkpoint-interval-ms')
  const barrierIntervalMs = given('barrier-interval-ms')
  const stateBytes = given('state-cache-bytes')
  const memoryBytes = given('memory-bytes')
  return {
    ...(parallelism === undefined ? {} : { parallelism }),
    ...(checkpointIntervalMs === undefined ? {} : { checkpointIntervalMs }),
    ...(barrierIntervalMs === undefined ? {} : { barrierIntervalMs }),
    ...(memoryBytes === undefined ? {} : { memoryBytes }),
    ...(stateBytes === undefined ? {} : { cache: { stateBytes } }),
  }
}
