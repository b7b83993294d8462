/**
 * Pages of a listing as an async iterator that survives failures: unlike a generator, `next` may be
 * called again after it threw, and asks for the same page once more. The retry layer needs that.
 */
import type { ObjectInfo } from './object-store.ts'

export type Page = readonly ObjectInfo[]

/** @param fetch The next page, or null at the end. Must change its state only when it succeeds. */
export function pages(fetch: () => Promise<Page | null>): AsyncIterableIterator<Page> {
  let ended = false
  return {
    async next() {
      const page = ended ? null : await fetch()
      if (page !== null) return { done: false, value: page }
      ended = true
      return { done: true, value: undefined }
    },
    async return() {
      ended = true
      return { done: true, value: undefined }
    },
    [Symbol.asyncIterator]() {
      return this
    },
  }
}

/** Keys per page, and per delete request, of S3. */
export const PAGE_KEYS = 1000
