/** Times of barriers and checkpoints: recent samples for percentiles, phases summed. Control thread. */

const SAMPLES = 1024

class Reservoir {
  private readonly values = new Float64Array(SAMPLES)
  private count = 0

  add(value: number): void {
    this.values[this.count++ % SAMPLES] = value
  }

  /** @param share 0.5 for the median. Null while there is no sample. */
  percentile(share: number): number | null {
    const filled = Math.min(this.count, SAMPLES)
    if (filled === 0) return null
    const sorted = this.values.slice(0, filled).sort()
    return sorted[Math.min(filled - 1, Math.floor(filled * share))]
  }

  get total(): number {
    return this.count
  }
}

export interface CheckpointPhases {
  readonly encodeMs: number
  readonly uploadMs: number
  readonly commitMs: number
}

export interface CheckpointSummary {
  readonly barriers: number
  readonly checkpoints: number
  /** From the barrier's injection until its epoch is durable. */
  readonly checkpointMsP50: number | null
  readonly checkpointMsP99: number | null
  /** From the barrier's injection until every actor has passed it. */
  readonly barrierMsP50: number | null
  readonly barrierMsP99: number | null
  /** From a row's entry until its epoch can be read, rows spread evenly over their epoch. */
  readonly freshnessMsP50: number | null
  readonly freshnessMsP99: number | null
  readonly phases: CheckpointPhases
}

const FRESHNESS_POINTS = 8

export class CheckpointStats {
  private readonly barrier = new Reservoir()
  private readonly checkpoint = new Reservoir()
  private readonly freshness = new Reservoir()
  private encodeMs = 0
  private uploadMs = 0
  private commitMs = 0

  collected(openedMs: number, injectedMs: number, nowMs: number): void {
    this.barrier.add(nowMs - injectedMs)
    for (let point = 0; point < FRESHNESS_POINTS; point++) {
      const entered = openedMs + ((point + 0.5) / FRESHNESS_POINTS) * (injectedMs - openedMs)
      this.freshness.add(nowMs - entered)
    }
  }

  committed(injectedMs: number, nowMs: number, phases: CheckpointPhases): void {
    this.checkpoint.add(nowMs - injectedMs)
    this.encodeMs += phases.encodeMs
    this.uploadMs += phases.uploadMs
    this.commitMs += phases.commitMs
  }

  summary(): CheckpointSummary {
    return {
      barriers: this.barrier.total,
      checkpoints: this.checkpoint.total,
      checkpointMsP50: this.checkpoint.percentile(0.5),
      checkpointMsP99: this.checkpoint.percentile(0.99),
      barrierMsP50: this.barrier.percentile(0.5),
      barrierMsP99: this.barrier.percentile(0.99),
      freshnessMsP50: this.freshness.percentile(0.5),
      freshnessMsP99: this.freshness.percentile(0.99),
      phases: { encodeMs: this.encodeMs, uploadMs: this.uploadMs, commitMs: this.commitMs },
    }
  }
}
