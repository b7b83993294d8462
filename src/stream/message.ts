/** What flows between operators. Barriers divide the stream into epochs. */
import type { Epoch } from '../common/ids.ts'
import type { Chunk } from './chunk.ts'

/** Ends `epoch`; rows after it belong to `next`. */
export interface Barrier {
  readonly epoch: Epoch
  readonly next: Epoch
  /** The state of `epoch` and of all before it becomes durable. */
  readonly checkpoint: boolean
  /** Jobs whose actors begin after this barrier: upstream actors attach their channels. Empty for most. */
  readonly startJobs: readonly number[]
  /** Jobs whose actors end with this barrier; empty for most. */
  readonly stopJobs: readonly number[]
}

export type Message =
  | { readonly kind: 'chunk'; readonly chunk: Chunk }
  | { readonly kind: 'barrier'; readonly barrier: Barrier }
  | { readonly kind: 'watermark'; readonly column: number; readonly value: number }
  | { readonly kind: 'end' }
