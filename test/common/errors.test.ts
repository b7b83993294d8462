import { describe, expect, test } from 'vitest'
import type { ErrorCode } from '../../src/common/errors.ts'
import {
  EngineError,
  ERROR_KINDS,
  fromWire,
  toEngineError,
  toWire,
} from '../../src/common/errors.ts'

describe('errors across threads', () => {
  test('everything a caller may branch on survives a structured clone', () => {
    const inner = new EngineError('STORE_TIMEOUT', 'slow', { context: { key: 'a', attempts: 3 } })
    const error = new EngineError('RECOVERING', 'wait', {
      context: { epoch: 7, name: null, missing: undefined, flag: true },
      cause: inner,
    })
    const back = fromWire(structuredClone(toWire(error)))
    expect(back).toBeInstanceOf(EngineError)
    expect(back).toMatchObject({ code: 'RECOVERING', kind: 'unavailable', message: 'wait' })
    expect(back.name).toBe('EngineError')
    expect(back.context).toEqual(error.context)
    expect(back.stack).toBe(error.stack)
    expect(back.cause).toMatchObject({ code: 'STORE_TIMEOUT', context: { key: 'a', attempts: 3 } })
    expect(fromWire(toWire(back))).toEqual(back)
  })

  test('a foreign error is internal, with its name, message and stack', () => {
    const foreign = new RangeError('too far', { cause: new TypeError('wrong') })
    const error = toEngineError(foreign)
    expect(error).toMatchObject({
      code: 'INTERNAL',
      kind: 'internal',
      message: 'RangeError: too far',
    })
    expect(error.stack).toBe(foreign.stack)
    expect(error.cause).toMatchObject({ code: 'INTERNAL', message: 'TypeError: wrong' })
  })

  test.each(['text', 42, null, undefined, { a: 1 }])('anything may be thrown: %j', (thrown) => {
    expect(toEngineError(thrown)).toMatchObject({ code: 'INTERNAL' })
  })

  test('our own error stays the same object', () => {
    const error = new EngineError('FENCED', 'gone')
    expect(toEngineError(error)).toBe(error)
    expect(error.cause).toBeUndefined()
  })

  test('each code has its kind', () => {
    for (const code of Object.keys(ERROR_KINDS) as ErrorCode[]) {
      expect(new EngineError(code, '').kind).toBe(ERROR_KINDS[code])
    }
  })
})
