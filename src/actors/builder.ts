/**
 * JobPlan → the actors of one worker and the channels between them. All workers get the same plans and
 * number the channels alike, so nothing is negotiated: a channel exists as soon as both of its ends are built,
 * which the coordinator waits for (`deployed`) before the barrier that starts the job.
 */
import { assert } from '../common/assert.ts'
import { VNODE_COUNT } from '../common/ids.ts'
import type { LocalStore } from '../storage/state-store.ts'
import type { Operator, OperatorContext } from '../stream/operator.ts'
import type { ExchangePlan, FragmentPlan, JobPlan, OperatorPlan } from '../stream/plan.ts'
import type { SplitOffset } from '../stream/source.ts'
import { Actor, type Passed } from './actor.ts'
import { Dispatcher, type Route } from './dispatch.ts'
import type { Exchange, InputChannel, OutputChannel } from './exchange.ts'
import { DmlHead, type Head, MergeHead, SourceHead, type SourceSplit } from './head.ts'
import { channelIdOf, isConnected, vnodesOfWorker, workerOfSingle, workersOf } from './placement.ts'

export type SourcePlan = Extract<OperatorPlan, { readonly kind: 'source' }>

/** Makes operators and readers; injected, so that tests run their own. */
export interface OperatorFactory {
  /** Every plan kind but the heads source, dml and merge. */
  createOperator(plan: OperatorPlan, context: OperatorContext): Operator
  /** The splits that this worker reads. @param offsets committed, `<sourceId>/<split>`. */
  createSplits(
    plan: SourcePlan,
    offsets: Readonly<Record<string, SplitOffset>>,
  ): readonly SourceSplit[]
}

export interface BuilderOptions {
  readonly workerIndex: number
  readonly workerCount: number
  readonly exchange: Exchange
  readonly store: LocalStore
  readonly factory: OperatorFactory
  readonly chunkRows: number
  /** Sum of the caches of all state tables of this worker, bytes. */
  readonly stateCacheBytes: number
  readonly passed: (actor: Actor, passed: Passed) => void
}

/** A receiving end from another worker, to forget it when its job ends; senders close theirs themselves. */
interface Opened {
  readonly peer: number
  readonly channelId: number
  readonly jobId: number
}

interface Deployed {
  readonly jobId: number
  readonly plan: FragmentPlan
  readonly actor: Actor | null
}

export class Builder {
  private readonly options: BuilderOptions
  /** Every fragment of every job, also those that run elsewhere only. */
  private readonly fragments = new Map<number, Deployed>()
  private opened: Opened[] = []
  /** Cache bytes that no operator was given yet. */
  private cacheBytesLeft: number
  /** Those that each job was given. */
  private readonly cacheBytes = new Map<number, number>()

  constructor(options: BuilderOptions) {
    this.options = options
    this.cacheBytesLeft = options.stateCacheBytes
  }

  /**
   * Builds this worker's actors of the jobs, upstream first as in the plans.
   * @param recovered their state is in the store already: no snapshots, caches know nothing.
   */
  build(
    jobs: readonly JobPlan[],
    offsets: Readonly<Record<string, SplitOffset>>,
    recovered: boolean,
  ): Actor[] {
    const plans = new Map<number, FragmentPlan>()
    for (const [id, { plan }] of this.fragments) plans.set(id, plan)
    for (const job of jobs) for (const plan of job.fragments) plans.set(plan.fragmentId, plan)
    const budget = this.takeBudget(jobs, recovered)
    const locals = new Map<string, OutputChannel>()
    const actors: Actor[] = []
    // All receiving ends first: a sender within this worker needs its receiver.
    for (const job of jobs) {
      for (const plan of job.fragments) {
        const inputs = this.openInputs(job, plan, plans, locals)
        const actor = this.runsHere(plan)
          ? this.buildActor(job, plan, { inputs, offsets, fresh: !recovered, budget })
          : null
        this.fragments.set(plan.fragmentId, { jobId: job.jobId, plan, actor })
        if (actor !== null) actors.push(actor)
      }
    }
    const together = new Set(jobs.map((job) => job.jobId))
    for (const job of jobs) {
      for (const exchange of job.exchanges) {
        this.openOutputs(job, exchange, { plans, locals, together, recovered })
      }
    }
    return actors
  }

  /** Forgets a job whose actors have ended. */
  remove(jobId: number): void {
    for (const { peer, channelId, jobId: owner } of this.opened) {
      if (owner === jobId) this.options.exchange.closeInput(peer, channelId)
    }
    this.opened = this.opened.filter((entry) => entry.jobId !== jobId)
    this.cacheBytesLeft += this.cacheBytes.get(jobId) ?? 0
    this.cacheBytes.delete(jobId)
    for (const [id, deployed] of this.fragments) {
      if (deployed.jobId === jobId) this.fragments.delete(id)
    }
  }

  private runsHere(plan: FragmentPlan): boolean {
    return workersOf(plan, this.options.workerCount).includes(this.options.workerIndex)
  }

  /**
   * Cache bytes per stateful operator. A deployment gets half of what is left, so that later jobs find some;
   * a recovery deploys all jobs at once and may take three quarters.
   */
  private takeBudget(jobs: readonly JobPlan[], recovered: boolean): number {
    const sharesOf = jobs.map(({ fragments }) =>
      fragments
        .filter((plan) => this.runsHere(plan))
        .reduce((sum, { operators }) => sum + operators.filter(isStateful).length, 0),
    )
    const shares = sharesOf.reduce((sum, count) => sum + count, 0)
    if (shares === 0) return 0
    const budget = Math.floor((this.cacheBytesLeft * (recovered ? 0.75 : 0.5)) / shares)
    jobs.forEach(({ jobId }, index) => {
      this.cacheBytes.set(jobId, budget * sharesOf[index])
    })
    this.cacheBytesLeft -= budget * shares
    return budget
  }

  private openInputs(
    job: JobPlan,
    downstream: FragmentPlan,
    plans: ReadonlyMap<number, FragmentPlan>,
    locals: Map<string, OutputChannel>,
  ): InputChannel[] {
    if (!this.runsHere(downstream)) return []
    const { exchange: channels, workerIndex, workerCount } = this.options
    const inputs: InputChannel[] = []
    for (const exchange of job.exchanges) {
      if (exchange.toFragment !== downstream.fragmentId) continue
      const upstream = planOf(plans, exchange.fromFragment)
      const channelId = channelIdOf(job, exchange)
      for (const from of workersOf(upstream, workerCount)) {
        if (!isConnected(exchange, { upstream, downstream }, { from, to: workerIndex })) continue
        if (from === workerIndex) {
          const local = channels.openLocal(exchange.input)
          locals.set(`${channelId}`, local.output)
          inputs.push(local.input)
        } else {
          inputs.push(channels.openInput(from, channelId, exchange.input))
          this.opened.push({ peer: from, channelId, jobId: job.jobId })
        }
      }
    }
    return inputs
  }

  private openOutputs(
    job: JobPlan,
    exchange: ExchangePlan,
    context: {
      readonly plans: ReadonlyMap<number, FragmentPlan>
      readonly locals: ReadonlyMap<string, OutputChannel>
      readonly together: ReadonlySet<number>
      readonly recovered: boolean
    },
  ): void {
    const from = this.fragments.get(exchange.fromFragment)
    assert(from !== undefined, 'an exchange begins at a deployed fragment')
    const { actor } = from
    if (actor === null) return
    const downstream = planOf(context.plans, exchange.toFragment)
    const { workerIndex, chunkRows } = this.options
    const channelId = channelIdOf(job, exchange)
    const workers = workersOf(downstream, this.options.workerCount).filter((to) =>
      isConnected(exchange, { upstream: from.plan, downstream }, { from: workerIndex, to }),
    )
    const outputs = workers.map((to) => this.openOutput(to, channelId, context.locals))
    const route = this.routeOf(exchange, downstream, workers)
    const dispatcher = new Dispatcher({
      toFragment: exchange.toFragment,
      route,
      outputs,
      chunkRows,
    })
    if (context.together.has(actor.jobId)) actor.attach(job.jobId, dispatcher)
    else {
      const snapshot = exchange.snapshot && !context.recovered
      actor.attachAtStart({ jobId: job.jobId, dispatcher, snapshot })
    }
  }

  private openOutput(
    to: number,
    channelId: number,
    locals: ReadonlyMap<string, OutputChannel>,
  ): OutputChannel {
    if (to === this.options.workerIndex) {
      const local = locals.get(`${channelId}`)
      assert(local !== undefined, 'a local channel was opened by its receiver')
      return local
    }
    return this.options.exchange.openOutput(to, channelId)
  }

  /** @param workers those that the outputs lead to, in their order. */
  private routeOf(
    exchange: ExchangePlan,
    downstream: FragmentPlan,
    workers: readonly number[],
  ): Route {
    const { workerIndex, workerCount } = this.options
    const { distribution } = exchange
    if (workers.length === 1) return { kind: 'only', output: 0 }
    switch (distribution.kind) {
      case 'hash':
        return { kind: 'hash', columns: distribution.columns, workerCount }
      case 'broadcast':
        return { kind: 'all' }
      case 'forward':
        return { kind: 'only', output: workers.indexOf(workerIndex) }
      case 'single':
        return {
          kind: 'only',
          output: workers.indexOf(workerOfSingle(downstream.fragmentId, workerCount)),
        }
    }
  }

  private buildActor(
    job: JobPlan,
    plan: FragmentPlan,
    given: {
      readonly inputs: readonly InputChannel[]
      readonly offsets: Readonly<Record<string, SplitOffset>>
      readonly fresh: boolean
      readonly budget: number
    },
  ): Actor {
    const { workerIndex, workerCount, store, chunkRows, factory } = this.options
    const context: OperatorContext = {
      store,
      cacheBytes: given.budget,
      chunkRows,
      vnodes:
        plan.parallelism === 'single'
          ? { from: 0, to: VNODE_COUNT }
          : vnodesOfWorker(workerIndex, workerCount),
      fresh: given.fresh,
    }
    const chain = plan.operators.filter((operator) => !isPlainHead(operator))
    return new Actor({
      jobId: job.jobId,
      fragmentId: plan.fragmentId,
      head: this.buildHead(plan, given.inputs, given.offsets),
      operators: chain.map((operator) =>
        factory.createOperator(
          operator,
          isStateful(operator) ? context : { ...context, cacheBytes: 0 },
        ),
      ),
      materializes: chain.map((operator) =>
        operator.kind === 'materialize' ? operator.table.tableId : -1,
      ),
      store,
      passed: this.options.passed,
    })
  }

  private buildHead(
    plan: FragmentPlan,
    inputs: readonly InputChannel[],
    offsets: Readonly<Record<string, SplitOffset>>,
  ): Head {
    const head = plan.operators[0]
    if (head.kind === 'source') {
      const splits = this.options.factory.createSplits(head, offsets)
      return new SourceHead(head.sourceId, splits, this.options.chunkRows)
    }
    if (head.kind === 'dml') {
      return new DmlHead(head.tableId, head.rowIdColumn, offsets[`${head.tableId}/0`] ?? null)
    }
    assert(inputs.length > 0, 'an actor has a source or an input')
    return new MergeHead(inputs)
  }
}

function isPlainHead(plan: OperatorPlan): boolean {
  return plan.kind === 'source' || plan.kind === 'dml' || plan.kind === 'merge'
}

function isStateful(plan: OperatorPlan): boolean {
  return (
    plan.kind === 'hash-join' ||
    plan.kind === 'hash-aggregate' ||
    (plan.kind === 'materialize' && plan.overwrite)
  )
}

function planOf(plans: ReadonlyMap<number, FragmentPlan>, fragmentId: number): FragmentPlan {
  const plan = plans.get(fragmentId)
  assert(plan !== undefined, 'an exchange joins known fragments')
  return plan
}
