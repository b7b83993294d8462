/**
 * The picker against drawings of levels. Each case of `picker.txt` is a command, the levels, dashes, and what is picked;
 * `REWRITE=1 npx vitest run test/storage/compaction` refreshes the answers.
 *
 * ```
 * L0 ~ 12:[a-m]x10 13:[c-z]      a sub-level, newest first; `~` overlapping, `=` not; x: size in KiB, 1 unless told
 * L6 7:[a-c]x500                 a level
 * busy 12 7
 * ```
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bytes, epoch, kibibytes, tableId } from '../../../src/common/ids.ts'
import {
  type CompactionOptions,
  type CompactionTask,
  pickAll,
  pickCompaction,
  writeAmplification,
} from '../../../src/storage/compaction/picker.ts'
import { applyDelta, EMPTY_GROUP_DELTA } from '../../../src/storage/version/delta.ts'
import {
  compareUserKeys,
  EMPTY_LEVELS,
  EMPTY_VERSION,
  type GroupLevels,
  type SstMeta,
  type SubLevel,
  type Version,
} from '../../../src/storage/version/version.ts'
import { fullKey } from '../sst/support.ts'

const file = fileURLToPath(new URL('./picker.txt', import.meta.url))

const OPTIONS: CompactionOptions = {
  tierSubLevelsMin: 3,
  tierSubLevelsMax: 4,
  baseBytesMin: kibibytes(100),
  baseRatio: 0.25,
  baseSubLevelsMax: 8,
  writeAmplificationMax: 3,
  inputBytesMax: kibibytes(1000),
  outputBytes: kibibytes(64),
}

function sstOf(text: string): SstMeta {
  const match = /^(\w+):\[(\w+)-(\w+)\](?:x(\d+))?$/.exec(text)
  if (match === null) throw new Error(`not an SST: ${text}`)
  const [, sstId, smallest, largest, kib] = match
  const key = (name: string, at: number) => fullKey(1, new TextEncoder().encode(name), at)
  return {
    sstId,
    group: 'state',
    sizeBytes: Number(kib ?? 1) * 1024,
    tailOffset: 0,
    blockCount: 1,
    // Different epochs: overlap is a matter of user keys.
    smallest: key(smallest, 9),
    largest: key(largest, 3),
    tableIds: [tableId(1)],
    entryCount: 1,
    tombstoneCount: 0,
    minEpoch: epoch(1),
    maxEpoch: epoch(9),
  }
}

function parse(text: string): { levels: GroupLevels; busy: Set<string> } {
  const subLevels: SubLevel[] = []
  const levels: SstMeta[][] = EMPTY_LEVELS.levels.map(() => [])
  let busy = new Set<string>()
  for (const line of text.split('\n')) {
    const [name, ...words] = line.trim().split(/\s+/)
    if (name === 'L0') {
      const [kind, ...ssts] = words
      const overlapping = kind === '~'
      subLevels.push({ subLevelId: subLevels.length, overlapping, ssts: ssts.map(sstOf) })
    } else if (name === 'busy') busy = new Set(words)
    else if (/^L[1-6]$/.test(name)) levels[Number(name[1]) - 1] = words.map(sstOf)
    else if (name !== '') throw new Error(`not a line of levels: ${line}`)
  }
  return { levels: { subLevels, levels }, busy }
}

function optionsOf(words: readonly string[]): CompactionOptions {
  const changes: Record<string, number> = {}
  for (const word of words) {
    const [name, value] = word.split('=')
    const option = name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase())
    if (!(option in OPTIONS)) throw new Error(`no such option: ${name}`)
    changes[option] = option.includes('Bytes') ? Number(value) * 1024 : Number(value)
  }
  return { ...OPTIONS, ...changes }
}

function draw(task: CompactionTask | null): string {
  if (task === null) return 'nothing'
  const inputs = task.inputs.map((sst) => sst.sstId).join(' + ')
  const target = task.target === 'base' ? 'L6' : 'L0'
  return `${task.kind}: ${inputs} -> ${target}${task.bottom ? ', bottom' : ''}`
}

function answer(command: string, text: string): string {
  const [verb, ...words] = command.split(/\s+/)
  if (verb === 'amplification') return writeAmplification(words.map(Number)).toFixed(2)
  const { levels, busy } = parse(text)
  if (verb === 'pick-all') return draw(pickAll('state', levels))
  if (verb !== 'pick') throw new Error(`no such command: ${command}`)
  return draw(pickCompaction('state', levels, optionsOf(words), busy))
}

test('picks what the drawings say', () => {
  const source = readFileSync(file, 'utf8')
  const rewritten = source.split('\n\n').map((section) => {
    const lines = section.split('\n')
    const comments = lines.filter((line) => line.startsWith('#'))
    const body = lines.filter((line) => !line.startsWith('#'))
    const dashes = body.indexOf('----')
    if (dashes < 0) return section
    const [command, ...drawing] = body.slice(0, dashes)
    return [
      ...comments,
      ...body.slice(0, dashes),
      '----',
      answer(command, drawing.join('\n')),
    ].join('\n')
  })
  const result = `${rewritten.join('\n\n').trimEnd()}\n`
  if (process.env.REWRITE === '1') writeFileSync(file, result)
  else expect(result).toBe(source)
})

/** A key and what it reads as, newest place first: the order that a merge must not break. */
type Row = readonly [key: string, written: number]

test('rows never sink below older ones of their key, and the picker comes to rest', () => {
  const letters = 'abcdefghijklmnop'
  const range = fc
    .tuple(fc.nat({ max: letters.length - 1 }), fc.nat({ max: 5 }), fc.integer({ min: 1, max: 60 }))
    .map(([start, span, kib]) => {
      const end = Math.min(start + span, letters.length - 1)
      return { start, end, kib }
    })
  fc.assert(
    fc.property(fc.array(range, { minLength: 1, maxLength: 30 }), (writes) => {
      let version: Version = EMPTY_VERSION
      const rows = new Map<string, Row[]>()
      let nextId = 0
      const push = (delta: Partial<typeof EMPTY_GROUP_DELTA>) => {
        version = applyDelta(version, {
          ...version,
          offsets: {},
          catalog: undefined,
          addedTables: [],
          droppedTables: [],
          versionId: version.versionId + 1,
          groups: { state: { ...EMPTY_GROUP_DELTA, ...delta } },
        })
      }
      writes.forEach(({ start, end, kib }, written) => {
        const sst = sstOf(`s${nextId++}:[${letters[start]}-${letters[end]}]x${kib}`)
        rows.set(
          sst.sstId,
          [...letters.slice(start, end + 1)].map((key) => [key, written]),
        )
        push({
          addedSubLevels: [{ subLevelId: version.versionId + 1, overlapping: true, ssts: [sst] }],
        })
        for (let tasks = 0; ; tasks++) {
          const levels = version.groups.state
          const task = pickCompaction('state', levels, OPTIONS, new Set())
          if (task === null) break
          expect(tasks).toBeLessThan(20)
          const merged = mergeOf(task, rows, () => `s${nextId++}`)
          const removedSsts = task.inputs.map((sst) => sst.sstId)
          if (task.target === 'base') {
            push({ removedSsts, addedSsts: merged.map((output) => ({ level: 6, sst: output })) })
          } else {
            const subLevelId = version.versionId + 1
            push({
              removedSsts,
              replacedSubLevel: { subLevelId, overlapping: false, ssts: merged },
            })
          }
          checkOrder(version.groups.state, rows)
        }
      })
    }),
    { numRuns: 300 },
  )
})

/** The newest row of each key, cut into SSTs of three keys. */
function mergeOf(task: CompactionTask, rows: Map<string, Row[]>, name: () => string): SstMeta[] {
  const newest = new Map<string, number>()
  let kib = 0
  for (const input of task.inputs) {
    kib += input.sizeBytes / 1024
    for (const [key, written] of rows.get(input.sstId) ?? []) {
      newest.set(key, Math.max(newest.get(key) ?? -1, written))
    }
  }
  const sorted = [...newest].sort(([a], [b]) => (a < b ? -1 : 1))
  const outputs: SstMeta[] = []
  for (let i = 0; i < sorted.length; i += 3) {
    const part = sorted.slice(i, i + 3)
    const share = Math.max(1, Math.floor((kib * part.length) / sorted.length))
    const sst = sstOf(`${name()}:[${part[0][0]}-${part[part.length - 1][0]}]x${share}`)
    rows.set(sst.sstId, part)
    outputs.push(sst)
  }
  return outputs
}

function checkOrder(levels: GroupLevels, rows: ReadonlyMap<string, readonly Row[]>): void {
  const places = [...levels.subLevels.map((subLevel) => subLevel.ssts), ...levels.levels]
  const oldest = new Map<string, number>()
  for (const ssts of places) {
    for (const sst of ssts) {
      for (const [key, written] of rows.get(sst.sstId) ?? []) {
        expect(written, `row ${key} of ${sst.sstId}`).toBeLessThan(oldest.get(key) ?? 1e9)
        oldest.set(key, written)
      }
    }
  }
}

test('overlap is judged by user keys, whatever the epochs', () => {
  const left = sstOf('1:[a-c]')
  const right = sstOf('2:[c-d]')
  expect(compareUserKeys(left.largest, right.smallest)).toBe(0)
  expect(bytes(left.sizeBytes)).toBe(1024)
})
