/** Assertions are our own faults, never the world's: those are an `EngineError` with a code. */
import { EngineError } from './errors.ts'

/** Throws `INTERNAL` when `condition` is false. `message` is a constant: it names the broken rule. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new EngineError('INTERNAL', `assertion failed: ${message}`)
}

/** Ends a switch over a closed union: a new member is a compile error at the call. */
export function unreachable(value: never): never {
  throw new EngineError('INTERNAL', `unreachable: ${JSON.stringify(value)}`)
}
