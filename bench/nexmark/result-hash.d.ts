/** sha256 of the sorted JSON rows, one a line; first 16 hex digits. */
export declare function hashRows(rows: readonly (readonly unknown[])[]): string
/** Order-independent hash of a multiset of rows, for results too large to sort. */
export declare class MultisetHash {
  private first
  private second
  add(row: readonly unknown[]): void
  digest(): string
}
