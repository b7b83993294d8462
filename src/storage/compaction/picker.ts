/**
 * What to compact next: a pure function of the levels of one group, the options, and the SSTs that are busy or set
 * aside. Same input, same answer; the compactor does the work.
 *
 * Three kinds of work, of which the most overdue is picked:
 * - *tier*: overlapping sub-levels (what checkpoints add) → one non-overlapping sub-level;
 * - *intra*: non-overlapping sub-levels → one, so that reads see few of them while the base is not due;
 * - *base*: SSTs of one key range from the oldest sub-levels, with what they overlap in the base level.
 *
 * The base is level 6: L0 may grow to `baseRatio` of it before it is due, which bounds write amplification at
 * some 1 / baseRatio (the "lazy leveling" of Dayan and Idreos, Dostoevsky, SIGMOD 2018).
 */
import type { Bytes } from '../../common/ids.ts'
import { compareUserKeys, type Group, type GroupLevels, type SstMeta } from '../version/version.ts'

export const BASE_LEVEL = 6

export interface CompactionOptions {
  /** Adjacent sub-levels of one kind that are worth a merge, and the most that one merge takes. */
  readonly tierSubLevelsMin: number
  readonly tierSubLevelsMax: number
  /** Merged bytes of L0 that are due for the base: this many, or `baseRatio` of the base if more. */
  readonly baseBytesMin: Bytes
  readonly baseRatio: number
  /** Sub-levels at which the base is due, whatever their bytes. */
  readonly baseSubLevelsMax: number
  /** Total input ÷ (total − largest input) above which a merge inside L0 is not worth it. */
  readonly writeAmplificationMax: number
  /** Input bytes of a task, above which it is not widened. */
  readonly inputBytesMax: Bytes
  /** Size at which outputs are split. */
  readonly outputBytes: Bytes
}

export interface CompactionTask {
  readonly kind: 'tier' | 'intra' | 'base' | 'manual'
  readonly group: Group
  /** Newest first. */
  readonly inputs: readonly SstMeta[]
  /** Outputs become a sub-level in the place of the oldest input, or SSTs of the base level. */
  readonly target: 'sub-level' | 'base'
  /** Nothing older lies beneath the outputs, so deletes need not be kept. */
  readonly bottom: boolean
}

interface Candidate {
  /** At or above 1: due. */
  readonly score: number
  readonly pick: () => CompactionTask | null
}

/** @param busy ids of SSTs that are being compacted or were set aside. */
export function pickCompaction(
  group: Group,
  levels: GroupLevels,
  options: CompactionOptions,
  busy: ReadonlySet<string>,
): CompactionTask | null {
  const { subLevels } = levels
  const overlapping = subLevels.filter((subLevel) => subLevel.overlapping).length
  const flatCount = subLevels.length - overlapping
  // A large checkpoint that no merge takes along counts, too, once merged ones lie above it.
  const firstFlat = subLevels.findIndex((subLevel) => !subLevel.overlapping)
  const old = firstFlat < 0 ? [] : subLevels.slice(firstFlat)
  const oldBytes = old.reduce((sum, subLevel) => sum + sizeOf(subLevel.ssts), 0)
  const baseBytes = sizeOf(levels.levels[BASE_LEVEL - 1])
  const due = Math.max(options.baseBytesMin, options.baseRatio * baseBytes)
  const candidates: Candidate[] = [
    {
      score: overlapping / options.tierSubLevelsMin,
      pick: () => pickMerge({ kind: 'tier', group, levels, options, busy }),
    },
    {
      score: Math.max(oldBytes / due, subLevels.length / options.baseSubLevelsMax),
      pick: () => pickBase(group, levels, options, busy),
    },
    {
      score: flatCount / options.tierSubLevelsMin,
      pick: () => pickMerge({ kind: 'intra', group, levels, options, busy }),
    },
  ]
  // A stable sort: of two equally overdue the one named first.
  candidates.sort((a, b) => b.score - a.score)
  for (const { score, pick } of candidates) {
    const task = score >= 1 ? pick() : null
    if (task !== null) return task
  }
  return null
}

/** Everything of a group into the base: what a manual compaction does. Null when it is there already. */
export function pickAll(group: Group, levels: GroupLevels): CompactionTask | null {
  const base = levels.levels[BASE_LEVEL - 1]
  const inputs = [...levels.subLevels.flatMap((subLevel) => subLevel.ssts), ...levels.levels.flat()]
  const stale = base.some((sst) => sst.tombstoneCount > 0)
  if (inputs.length === base.length && !stale) return null
  return { kind: 'manual', group, inputs, target: 'base', bottom: true }
}

/** Total input bytes ÷ (total − largest): what the merge writes for each byte that moves. */
export function writeAmplification(sizes: readonly number[]): number {
  let total = 0
  let largest = 0
  for (const size of sizes) {
    total += size
    if (size > largest) largest = size
  }
  return total === largest ? Number.POSITIVE_INFINITY : total / (total - largest)
}

interface MergeSearch {
  readonly kind: 'tier' | 'intra'
  readonly group: Group
  readonly levels: GroupLevels
  readonly options: CompactionOptions
  readonly busy: ReadonlySet<string>
}

/** The longest run of adjacent sub-levels of the kind that is worth it; of equal ones the oldest. */
function pickMerge(search: MergeSearch): CompactionTask | null {
  const { subLevels } = search.levels
  const sizes = subLevels.map((subLevel) => sizeOf(subLevel.ssts))
  const usable = subLevels.map(
    ({ overlapping, ssts }) =>
      overlapping === (search.kind === 'tier') && !ssts.some((sst) => search.busy.has(sst.sstId)),
  )
  let best: { start: number; end: number } | null = null
  for (let start = subLevels.length - 1; start >= 0; start--) {
    const end = longestFrom(start, usable, sizes, search.options)
    if (end > start && (best === null || end - start > best.end - best.start)) best = { start, end }
  }
  if (best === null) return null
  const inputs = subLevels.slice(best.start, best.end).flatMap((subLevel) => subLevel.ssts)
  const bottom = best.end === subLevels.length && nothingBeneath(inputs, search.levels)
  return { kind: search.kind, group: search.group, inputs, target: 'sub-level', bottom }
}

/** End of the longest worthwhile run that begins at `start` (its newest); `start` when there is none. */
function longestFrom(
  start: number,
  usable: readonly boolean[],
  sizes: readonly number[],
  options: CompactionOptions,
): number {
  const { tierSubLevelsMin, tierSubLevelsMax, writeAmplificationMax, inputBytesMax } = options
  let found = start
  let total = 0
  for (let end = start + 1; end <= sizes.length && end - start <= tierSubLevelsMax; end++) {
    total += sizes[end - 1]
    if (!usable[end - 1] || total > inputBytesMax) break
    if (end - start < tierSubLevelsMin) continue
    if (writeAmplification(sizes.slice(start, end)) <= writeAmplificationMax) found = end
  }
  return found
}

/** The key range whose move to the base rewrites least, widened by newer sub-levels while it fits. */
function pickBase(
  group: Group,
  levels: GroupLevels,
  options: CompactionOptions,
  busy: ReadonlySet<string>,
): CompactionTask | null {
  const disjoint = oldestDisjoint(levels)
  if (disjoint.length === 0) return null
  const base = levels.levels[BASE_LEVEL - 1]
  let best: readonly SstMeta[] | null = null
  let bestCost = Number.POSITIVE_INFINITY
  for (const seed of disjoint[disjoint.length - 1]) {
    const beneath = overlapped([seed], base)
    if (busy.has(seed.sstId) || beneath.some((sst) => busy.has(sst.sstId))) continue
    const cost = sizeOf(beneath) / seed.sizeBytes
    if (cost >= bestCost) continue
    best = [seed]
    bestCost = cost
  }
  if (best === null) return null
  const inputs = widen(best, disjoint, base, options, busy)
  return { kind: 'base', group, inputs, target: 'base', bottom: true }
}

/**
 * The sub-levels at the old end of L0 whose SSTs do not overlap each other, newest first: nothing older lies between.
 * A checkpoint's, which is called overlapping, may be one: it usually has one SST.
 */
function oldestDisjoint(levels: GroupLevels): (readonly SstMeta[])[] {
  const first = levels.subLevels.findLastIndex(
    ({ overlapping, ssts }) => overlapping && !isDisjoint(ssts),
  )
  return levels.subLevels.slice(first + 1).map((subLevel) => subLevel.ssts)
}

function isDisjoint(ssts: readonly SstMeta[]): boolean {
  for (let i = 1; i < ssts.length; i++) {
    if (compareUserKeys(ssts[i - 1].largest, ssts[i].smallest) >= 0) return false
  }
  return true
}

/**
 * Takes in what newer sub-levels have in the range, as long as it fits. A newer row must not sink below an older one of
 * its key, so whatever is taken brings along all that it overlaps in the older sub-levels.
 */
function widen(
  seed: readonly SstMeta[],
  disjoint: readonly (readonly SstMeta[])[],
  base: readonly SstMeta[],
  options: CompactionOptions,
  busy: ReadonlySet<string>,
): readonly SstMeta[] {
  const oldest = disjoint.length - 1
  let inputs = [...seed, ...overlapped(seed, base)]
  for (let newest = oldest - 1; newest >= 0; newest--) {
    const stack = disjoint.slice(newest)
    const taken = closure(seed, stack)
    const wider = [...taken, ...overlapped(taken, base)]
    if (sizeOf(wider) > options.inputBytesMax) break
    if (wider.some((sst) => busy.has(sst.sstId))) break
    inputs = wider
  }
  return inputs
}

/** All of `stack` that is linked to `seed` by overlap, newest first. */
function closure(
  seed: readonly SstMeta[],
  stack: readonly (readonly SstMeta[])[],
): readonly SstMeta[] {
  let taken = [...seed]
  for (;;) {
    const range = taken
    const wider = stack.flatMap((ssts) => overlapped(range, ssts))
    if (wider.length === taken.length) return wider
    taken = wider
  }
}

/** Those of `ssts` that lie in the key range from the smallest to the largest key of `inputs`. */
function overlapped(inputs: readonly SstMeta[], ssts: readonly SstMeta[]): readonly SstMeta[] {
  let smallest = inputs[0].smallest
  let largest = inputs[0].largest
  for (const input of inputs) {
    if (compareUserKeys(input.smallest, smallest) < 0) smallest = input.smallest
    if (compareUserKeys(input.largest, largest) > 0) largest = input.largest
  }
  return ssts.filter(
    (sst) =>
      compareUserKeys(sst.smallest, largest) <= 0 && compareUserKeys(smallest, sst.largest) <= 0,
  )
}

function nothingBeneath(inputs: readonly SstMeta[], levels: GroupLevels): boolean {
  return levels.levels.every((level) => overlapped(inputs, level).length === 0)
}

function sizeOf(ssts: readonly SstMeta[]): number {
  return ssts.reduce((sum, sst) => sum + sst.sizeBytes, 0)
}
