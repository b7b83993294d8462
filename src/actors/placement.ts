/** Which worker runs what: computed alike on every thread from the plan and the number of workers. */
import { VNODE_COUNT } from '../common/ids.ts'
import type { ExchangePlan, FragmentPlan, JobPlan } from '../stream/plan.ts'

/** The worker of the only actor of a 'single' fragment. */
export function workerOfSingle(fragmentId: number, workerCount: number): number {
  return fragmentId % workerCount
}

/** The worker that owns a vnode: contiguous ranges, `floor(vnode x workers / VNODE_COUNT)`. */
export function workerOfVnode(vnode: number, workerCount: number): number {
  return Math.floor((vnode * workerCount) / VNODE_COUNT)
}

/** The vnodes `from <= v < to` of one worker. */
export function vnodesOfWorker(
  worker: number,
  workerCount: number,
): { readonly from: number; readonly to: number } {
  return {
    from: Math.ceil((worker * VNODE_COUNT) / workerCount),
    to: Math.ceil(((worker + 1) * VNODE_COUNT) / workerCount),
  }
}

/** The workers that run an actor of the fragment, ascending. */
export function workersOf(fragment: FragmentPlan, workerCount: number): readonly number[] {
  if (fragment.parallelism === 'single') return [workerOfSingle(fragment.fragmentId, workerCount)]
  return Array.from({ length: workerCount }, (_, worker) => worker)
}

const CHANNELS_PER_FRAGMENT = 256

/**
 * Number of a channel, equal on both of its ends and unique per ordered pair of workers: the downstream
 * fragment and the position of the exchange among those that feed it. u32.
 */
export function channelIdOf(job: JobPlan, exchange: ExchangePlan): number {
  const feeding = job.exchanges.filter((other) => other.toFragment === exchange.toFragment)
  return exchange.toFragment * CHANNELS_PER_FRAGMENT + feeding.indexOf(exchange)
}

/** True when the two actors of an exchange are connected: all pairs are, but forward keeps to its worker. */
export function isConnected(
  exchange: ExchangePlan,
  ends: { readonly upstream: FragmentPlan; readonly downstream: FragmentPlan },
  workers: { readonly from: number; readonly to: number },
): boolean {
  const aligned = ends.upstream.parallelism === 'all' && ends.downstream.parallelism === 'all'
  if (exchange.distribution.kind !== 'forward' || !aligned) return true
  return workers.from === workers.to
}
