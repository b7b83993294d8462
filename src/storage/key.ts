/**
 * The order of keys. Full key = table id u32 BE | vnode u16 BE | user key | epoch u64 BE, inverted.
 * A user key is a row of memcomparable columns, each of which says by its first byte (the tag) how long it is, so that
 * storage can find a key prefix of n columns without knowing SQL types. See docs/format.md.
 *
 * ```
 * column = tag u8 | body
 *   0x02 one byte            0x04 four bytes BE            0x08 eight bytes BE
 *   0x10 groups: 8 data bytes (zero padded) | count u8; count 9 = full and another group follows, 0..8 = the last
 *   0xfe null: no body, sorts after every value
 * ```
 * In a descending column every byte, the tag included, is inverted.
 */
import { EngineError } from '../common/errors.ts'

export const TAG_1 = 0x02
export const TAG_4 = 0x04
export const TAG_8 = 0x08
export const TAG_GROUPS = 0x10
export const TAG_NULL = 0xfe
export const GROUP_BYTES = 8
export const GROUP_CONTINUES = 9

export const VNODE_BYTES = 2
export const TABLE_ID_BYTES = 4
export const EPOCH_BYTES = 8
/** Longest table key (vnode and user key). */
export const KEY_BYTES_MAX = 65_535
export const VALUE_BYTES_MAX = 64 * 1024 * 1024

/** Position after the first `columnCount` columns of the user key that begins at `start`. */
export function skipColumns(
  key: Uint8Array,
  start: number,
  end: number,
  columnCount: number,
): number {
  let at = start
  for (let column = 0; column < columnCount; column++) {
    if (at >= end) throw corruptKey(at)
    const first = key[at]
    // Descending: an inverted value tag has the high bit set, and an inverted null is 0x01.
    const invert = (first >= 0x80 && first !== TAG_NULL) || first === (TAG_NULL ^ 0xff) ? 0xff : 0
    switch (first ^ invert) {
      case TAG_1:
        at += 2
        break
      case TAG_4:
        at += 5
        break
      case TAG_8:
        at += 9
        break
      case TAG_GROUPS:
        at += 1
        while ((key[at + GROUP_BYTES] ^ invert) === GROUP_CONTINUES) at += GROUP_BYTES + 1
        at += GROUP_BYTES + 1
        break
      case TAG_NULL:
        at += 1
        break
      default:
        throw corruptKey(at)
    }
  }
  if (at > end) throw corruptKey(at)
  return at
}

function corruptKey(at: number): EngineError {
  return new EngineError('CORRUPTION', 'a key does not end where its columns do', {
    context: { offset: at },
  })
}
