/**
 * The one error class of the engine. `code` and `kind` are stable and may be branched on; the
 * message may change. Structured clone keeps only message, stack and cause, so errors cross threads
 * in the wire form.
 */

/** What the caller should do about it. */
export type ErrorKind =
  | 'invalid'
  | 'unavailable'
  | 'conflict'
  | 'closed'
  | 'corruption'
  | 'internal'

/** Every code, and the kind it belongs to. */
export const ERROR_KINDS = {
  // The caller's input is wrong; the same call fails again.
  OPTION_INVALID: 'invalid',
  STORE_URL_INVALID: 'invalid',
  SQL_SYNTAX: 'invalid',
  SQL_UNDEFINED_TABLE: 'invalid',
  SQL_UNDEFINED_COLUMN: 'invalid',
  SQL_UNDEFINED_FUNCTION: 'invalid',
  SQL_DUPLICATE: 'invalid',
  SQL_TYPE: 'invalid',
  SQL_DEPENDENCY: 'invalid',
  SQL_UNSUPPORTED: 'invalid',
  SQL_PARAMETER: 'invalid',
  SQL_OBJECT_TYPE: 'invalid',
  SQL_INVALID: 'invalid',
  VALUE_INVALID: 'invalid',
  VALUE_OVERFLOW: 'invalid',
  DIVISION_BY_ZERO: 'invalid',
  NOT_NULL: 'invalid',
  KEY_TOO_LARGE: 'invalid',
  VALUE_TOO_LARGE: 'invalid',
  READ_ONLY: 'invalid',
  FUNCTION_MISSING: 'invalid',
  CODE_GENERATION_FORBIDDEN: 'invalid',
  STORE_FORMAT_NEWER: 'invalid',
  STORE_NOT_FOUND: 'invalid',
  STORE_ACCESS_DENIED: 'invalid',
  STORE_BUCKET_MISSING: 'invalid',
  // The world is slow or broken; try again later.
  STORE_UNAVAILABLE: 'unavailable',
  STORE_THROTTLED: 'unavailable',
  STORE_TIMEOUT: 'unavailable',
  OBJECT_MISSING: 'unavailable',
  MEMORY_EXHAUSTED: 'unavailable',
  RECOVERING: 'unavailable',
  SNAPSHOT_EXPIRED: 'unavailable',
  EPOCH_UNAVAILABLE: 'unavailable',
  SUBSCRIPTION_LAGGED: 'unavailable',
  BUSY: 'unavailable',
  // Somebody else won.
  FENCED: 'conflict',
  ALREADY_EXISTS: 'conflict',
  // The thing is over.
  CLOSED: 'closed',
  PIPELINE_FAILED: 'closed',
  WORKER_DIED: 'unavailable',
  // Bytes are not what was written.
  CORRUPTION: 'corruption',
  // Our fault.
  INTERNAL: 'internal',
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof ERROR_KINDS

/** Facts about the failure: object names, offsets, ids, `sqlState`, `position` (0-based, UTF-16), `hint`. */
export type ErrorContext = Readonly<Record<string, string | number | boolean | null | undefined>>

export interface ErrorOptions {
  readonly context?: ErrorContext
  readonly cause?: unknown
}

export class EngineError extends Error {
  readonly code: ErrorCode
  readonly kind: ErrorKind
  readonly context: ErrorContext

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'EngineError'
    this.code = code
    this.kind = ERROR_KINDS[code]
    this.context = options.context ?? {}
  }
}

/** An error as plain data, for message ports. Causes are kept as wire forms too. */
export interface WireError {
  readonly code: ErrorCode
  readonly message: string
  readonly context: ErrorContext
  readonly stack: string | undefined
  readonly cause: WireError | undefined
}

/** Any thrown value as plain data; a foreign error becomes `INTERNAL` with its message. */
export function toWire(error: unknown): WireError {
  if (error instanceof EngineError) {
    return {
      code: error.code,
      message: error.message,
      context: error.context,
      stack: error.stack,
      cause: error.cause === undefined ? undefined : toWire(error.cause),
    }
  }
  const foreign = error instanceof Error ? error : new Error(String(error))
  return {
    code: 'INTERNAL',
    message: `${foreign.name}: ${foreign.message}`,
    context: {},
    stack: foreign.stack,
    cause: foreign.cause === undefined ? undefined : toWire(foreign.cause),
  }
}

export function fromWire(wire: WireError): EngineError {
  const error = new EngineError(wire.code, wire.message, {
    context: wire.context,
    cause: wire.cause === undefined ? undefined : fromWire(wire.cause),
  })
  if (wire.stack !== undefined) error.stack = wire.stack
  return error
}

/** The error itself when it is ours, else `INTERNAL` around it. */
export function toEngineError(error: unknown): EngineError {
  return error instanceof EngineError ? error : fromWire(toWire(error))
}
