/**
 * Where the readers of sources stand, by `<sourceId>/<split>`: what was collected since the last commit, and what is
 * committed, so that a commit spells only what changed. Control thread.
 */
import type { SplitOffset } from '../stream/source.ts'

export class SourceOffsets {
  private pending: Record<string, SplitOffset> = {}
  /** As text, to be compared. */
  private committed: Record<string, string> = {}

  collected(offsets: Readonly<Record<string, SplitOffset>>): void {
    Object.assign(this.pending, offsets)
  }

  /** Those that differ from the committed ones; from here on they count as committed. */
  takeChanged(): Record<string, SplitOffset | null> {
    const changed: Record<string, SplitOffset | null> = {}
    for (const [key, offset] of Object.entries(this.pending)) {
      const text = JSON.stringify(offset)
      if (this.committed[key] === text) continue
      this.committed[key] = text
      changed[key] = offset
    }
    this.pending = {}
    return changed
  }

  /** Of sources that no job reads any more, to be taken away: with the catalog, neither before nor after it. */
  takeForgotten(sourceIds: Iterable<number>): Record<string, null> {
    const read = new Set<string>()
    for (const sourceId of sourceIds) read.add(String(sourceId))
    const forgotten: Record<string, null> = {}
    for (const key of Object.keys(this.committed)) {
      if (read.has(key.slice(0, key.indexOf('/')))) continue
      forgotten[key] = null
      delete this.committed[key]
    }
    return forgotten
  }

  /** Back to what a version holds. */
  reset(committed: Readonly<Record<string, unknown>>): void {
    this.pending = {}
    this.committed = {}
    for (const [key, offset] of Object.entries(committed)) {
      this.committed[key] = JSON.stringify(offset)
    }
  }
}
