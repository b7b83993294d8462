/** Hashes of result rows that agree across systems: equal hash, equal answer. */
import { createHash } from 'node:crypto'
/** sha256 of the sorted JSON rows, one a line; first 16 hex digits. */
export function hashRows(rows) {
  const lines = rows.map((row) => JSON.stringify(row)).sort()
  const hash = createHash('sha256')
  for (const line of lines) hash.update(`${line}\n`)
  return hash.digest('hex').slice(0, 16)
}
/** Order-independent hash of a multiset of rows, for results too large to sort. */
export class MultisetHash {
  first = 0
  second = 0
  add(row) {
    const text = JSON.stringify(row)
    let a = 0x811c9dc5
    let b = 0x9747b28c
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i)
      a = Math.imul(a ^ code, 0x01000193)
      b = Math.imul(b ^ code, 0x5bd1e995)
      b ^= b >>> 15
    }
    this.first = (this.first + a) | 0
    this.second = (this.second + b) | 0
  }
  digest() {
    const hex = (half) => (half >>> 0).toString(16).padStart(8, '0')
    return hex(this.first) + hex(this.second)
  }
}
//# sourceMappingURL=result-hash.js.map
