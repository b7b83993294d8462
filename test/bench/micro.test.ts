/** The micro-benchmarks in smoke mode, in this process: each gives its right checksum, and a wrong one is seen. */
import { describe, expect, test } from 'vitest'
import { type Prepared, runOnce } from '../../bench/micro/benchmark.ts'
import { type MicroOptions, runMicro } from '../../bench/micro/run.ts'

async function smoke(options: Partial<MicroOptions> = {}): Promise<string[]> {
  const lines: string[] = []
  await runMicro({
    filter: '',
    smoke: true,
    json: false,
    print: (line) => lines.push(line),
    ...options,
  })
  return lines
}

function checksumOf(line: string): unknown {
  return JSON.parse(line).checksum
}

describe('bench micro', () => {
  test('every benchmark does its work, and each part has one', async () => {
    const lines = (await smoke({ json: true })).map((line) => JSON.parse(line))
    const names = lines.map(({ benchmark }) => benchmark)
    expect(new Set(names).size).toBe(names.length)
    expect([...new Set(names.map((name) => name.split('/')[0]))]).toEqual([
      'expression',
      'chunk-codec',
      'ring',
      'hash-join',
      'hash-aggregate',
      'row-hash',
      'row-codec',
      'memtable',
      'local-store',
      'filter',
      'block',
      'jobs',
    ])
    for (const line of lines) {
      expect(line).toMatchObject({ samples: 0, medianNs: null, seed: 42, node: process.version })
      expect(line.checksum).toMatch(/^[0-9a-f]{8}$/)
      expect(line.checksum).not.toBe('00000000')
      expect(Object.keys(line.parameters).length).toBeGreaterThan(0)
    }
  })

  test('inputs follow from the seed alone', async () => {
    const names = ['merge', 'q4, cached', 'getMany, SSTs', 'arithmetic, numeric']
    for (const filter of names) {
      const [first] = await smoke({ json: true, filter, seed: 1 })
      const [again] = await smoke({ json: true, filter, seed: 1 })
      const [other] = await smoke({ json: true, filter, seed: 2 })
      expect(checksumOf(again)).toBe(checksumOf(first))
      expect(checksumOf(other)).not.toBe(checksumOf(first))
    }
  })

  test('a filter chooses by a part of the name; one that leaves nothing is refused', async () => {
    const lines = await smoke({ filter: 'block/' })
    expect(lines.map((line) => line.split(' ')[0])).toEqual([
      'block/build',
      'block/scan',
      'block/seek',
    ])
    await expect(smoke({ filter: 'nothing' })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  })

  test('a run that does nothing, less or something else is an error', () => {
    const right: Prepared = {
      parameters: {},
      unitsPerRun: 3,
      expected: 7,
      run: () => 3,
      checksum: () => 7,
    }
    expect(runOnce('right', right)).toBe(7)
    expect(() => runOnce('less', { ...right, run: () => 2 })).toThrow(/less.*units/)
    expect(() => runOnce('other', { ...right, checksum: () => 8 })).toThrow(/other.*checksum/)
  })

  test('what is measured is checked too, and printed whole', async () => {
    const [line] = await smoke({ smoke: false, json: true, filter: 'filter/probe, absent' })
    const { medianNs, p99Ns, perSecond, samples } = JSON.parse(line)
    expect(medianNs).toBeGreaterThan(0)
    expect(p99Ns).toBeGreaterThanOrEqual(medianNs)
    expect(perSecond).toBeGreaterThan(0)
    expect(samples).toBeGreaterThanOrEqual(8)
  })
})
