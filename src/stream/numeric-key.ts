/**
 * NUMERIC as bytes whose order is the values' order and which do not depend on the scale: 1.0 and 1.00
 * are one key. Hot path when a numeric is a key column.
 *
 * ```
 * zero      0x80
 * positive  0xc0 | exponent u16 BE + 0x8000 | digits, two a byte, pair + 1; no trailing zero pairs
 * negative  the bytes of the positive, inverted | 0xff
 * ```
 * The value is 0.d1d2d3… x 10^exponent with d1 not 0.
 */
import { EngineError } from '../common/errors.ts'
import type { ColumnBuilder } from './column-builder.ts'

/** Longest canonical form; numerics with more digits cannot be keys. */
export const NUMERIC_KEY_BYTES_MAX = 1024
const ZERO = 0x80
const POSITIVE = 0xc0
const NEGATIVE = POSITIVE ^ 0xff
const EXPONENT_BIAS = 0x8000

const POWERS: readonly number[] = Array.from({ length: 17 }, (_, digits) => 10 ** digits)

/** Bytes of `value x 10^-scale` (value a safe integer) in `target`; returns their count. */
export function encodeNumericKey(value: number, scale: number, target: Uint8Array): number {
  if (value === 0) {
    target[0] = ZERO
    return 1
  }
  let digits = Math.abs(value)
  let digitCount = 1
  while (digitCount < 16 && digits >= POWERS[digitCount]) digitCount++
  const exponent = digitCount - scale
  // Peel pairs from the low end; the odd digit out stands at the end, as the tens of the last pair.
  let pairs = (digitCount + 1) >> 1
  const end = 3 + pairs
  let at = end
  if ((digitCount & 1) === 1) {
    target[--at] = (digits % 10) * 10 + 1
    digits = Math.floor(digits / 10)
    pairs--
  }
  for (; pairs > 0; pairs--) {
    target[--at] = (digits % 100) + 1
    digits = Math.floor(digits / 100)
  }
  return finishKey(value < 0, exponent, end, target)
}

/** The same for any integer. */
export function encodeWideNumericKey(value: bigint, scale: number, target: Uint8Array): number {
  if (value === 0n) {
    target[0] = ZERO
    return 1
  }
  const digits = (value < 0n ? -value : value).toString()
  const even = digits.length % 2 === 1 ? `${digits}0` : digits
  if (even.length / 2 + 4 > target.length) {
    throw new EngineError('KEY_TOO_LARGE', 'a numeric has too many digits for a key', {
      context: { digits: digits.length },
    })
  }
  let end = 3
  for (let i = 0; i < even.length; i += 2) target[end++] = Number(even.slice(i, i + 2)) + 1
  return finishKey(value < 0n, digits.length - scale, end, target)
}

/** Drops trailing zero pairs, adds the head, inverts if negative. */
function finishKey(
  negative: boolean,
  exponent: number,
  pairsEnd: number,
  target: Uint8Array,
): number {
  let end = pairsEnd
  while (target[end - 1] === 1) end--
  target[0] = POSITIVE
  target[1] = (exponent + EXPONENT_BIAS) >>> 8
  target[2] = exponent + EXPONENT_BIAS
  if (!negative) return end
  for (let i = 0; i < end; i++) target[i] ^= 0xff
  target[end] = 0xff
  return end + 1
}

/** Appends the value of `length` bytes, at the smallest scale that holds it. */
export function decodeNumericKey(source: Uint8Array, length: number, builder: ColumnBuilder): void {
  if (source[0] === ZERO) {
    builder.appendNumber(0)
    return
  }
  const invert = source[0] === NEGATIVE ? 0xff : 0
  if ((source[0] ^ invert) !== POSITIVE) {
    throw new EngineError('CORRUPTION', 'a numeric key begins with an unknown byte')
  }
  const end = invert === 0 ? length : length - 1
  const exponent = (((source[1] ^ invert) << 8) | (source[2] ^ invert)) - EXPONENT_BIAS
  let digits = 0n
  for (let i = 3; i < end; i++) digits = digits * 100n + BigInt((source[i] ^ invert) - 1)
  // digits x 10^(exponent - digit count)
  let scale = (end - 3) * 2 - exponent
  if (digits % 10n === 0n) {
    digits /= 10n
    scale--
  }
  if (scale < 0) {
    digits *= 10n ** BigInt(-scale)
    scale = 0
  }
  builder.appendScaled(invert === 0 ? digits : -digits, scale)
}
