/**
 * The vacuum's log, `boundary/`: its newest entry says which commit objects may be gone. It is appended *before* any
 * of them is deleted, and a writer reads it *after* each create: so a late or zombie create in a
 * deleted slot is found to be a conflict and stays invisible. Entries are few and are kept. Control thread.
 */
import { EngineError } from '../../common/errors.ts'
import type { Generation } from '../../common/ids.ts'
import type { ObjectStore } from '../object/object-store.ts'
import { type LogEntry, NumberedLog } from './numbered-log.ts'

export const BOUNDARY_PREFIX = 'boundary/'

export class Boundary {
  private readonly objects: ObjectStore
  private readonly log: NumberedLog
  private last: LogEntry | null = null
  /** Whether the log was listed: from then on one GET tells. */
  private started = false
  private value = 0

  constructor(objects: ObjectStore) {
    this.objects = objects
    this.log = new NumberedLog(objects, BOUNDARY_PREFIX)
  }

  /** Commits up to this number may be deleted, as far as this process has read. 0: none. */
  get number(): number {
    return this.value
  }

  /** Reads what was appended since; the first time it looks for the start. One request when nothing was. */
  async refresh(): Promise<number> {
    if (!this.started) {
      const listed = await this.newestListed()
      if (listed !== null) this.follow(await this.log.read(listed))
      this.started = true
    }
    for (;;) {
      const next = await this.log.read((this.last?.number ?? 0) + 1)
      if (next === null) return this.value
      this.follow(next)
    }
  }

  /** Makes `number` the boundary unless it is beyond already. @param token unique to this call. */
  async advance(number: number, writer: Generation, token: string): Promise<void> {
    while ((await this.refresh()) < number) {
      const entry: LogEntry = {
        number: (this.last?.number ?? 0) + 1,
        generation: writer,
        token,
        previousToken: this.last?.token ?? null,
        payload: { boundary: number },
      }
      const result = await this.log.append(entry)
      if (result.kind === 'appended') this.follow(entry)
    }
  }

  /** Largest number of a listing: only where to begin, since reading goes on from there. */
  private async newestListed(): Promise<number | null> {
    let newest: number | null = null
    for await (const page of this.objects.list(BOUNDARY_PREFIX)) {
      for (const { key } of page) {
        const number = this.log.numberOf(key)
        if (number !== null && (newest === null || number > newest)) newest = number
      }
    }
    return newest
  }

  private follow(entry: LogEntry | null): void {
    if (entry === null) return
    // Two reads may be under way at once: what the slower one brings is known already.
    if (this.last !== null && entry.number <= this.last.number) return
    const boundary = boundaryOf(entry.payload)
    if (boundary === null || boundary < this.value) {
      throw new EngineError('CORRUPTION', 'a boundary entry moves back or names no number', {
        context: { object: this.log.key(entry.number) },
      })
    }
    this.last = entry
    this.value = boundary
  }
}

function boundaryOf(payload: unknown): number | null {
  if (typeof payload !== 'object' || payload === null || !('boundary' in payload)) return null
  return typeof payload.boundary === 'number' ? payload.boundary : null
}
