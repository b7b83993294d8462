/** Types of kill-loop.mjs, which runs without a build. */
export interface KillResult {
  readonly kills: number
  readonly lostAcknowledgements: number
  readonly replayedEventsMax: number
  readonly allowedReplay: number
  readonly marks: number
  readonly marksAcknowledged: number
  readonly right: boolean
}

export function killLoop(options: {
  readonly kills: number
  readonly store: string
  readonly seed: number
  readonly events?: number
}): Promise<KillResult>

export function terminateOnce(store: string): Promise<{
  readonly code: number | null
  readonly milliseconds: number | null
  readonly eventsRead: number
  readonly eventsKept: number
  readonly right: boolean
}>

export function threadsDie(options: {
  readonly store: string
  readonly thread: 'worker' | 'control'
  readonly deaths: number
  readonly seed: number
}): Promise<{
  readonly code: number | null
  readonly deaths: number
  readonly recovering: number
  readonly recovered: number
  readonly failures: readonly string[]
  readonly marks: number | null
  readonly inserted: number | null
  readonly right: boolean
}>
