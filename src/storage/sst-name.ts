/**
 * Names of SSTs. An id is `<generation>-<n>`: the generation belongs to one writer for ever and its numbers rise, so
 * a zombie can never overwrite an object of another. Numbers are minted when work is dispatched, in order, so that the
 * vacuum can ask for the smallest one that may still be committed. Control thread.
 *
 * Object: `sst/<2 hex: hash of the id>/<generation>-<n>.sst`, spread over 256 prefixes.
 */
import { assert } from '../common/assert.ts'
import { hashBytes } from '../common/hash.ts'
import type { Generation } from '../common/ids.ts'

export const SST_PREFIX = 'sst/'
const SUFFIX = '.sst'
const ascii = new TextEncoder()

export function sstKey(sstId: string): string {
  const name = ascii.encode(sstId)
  const spread = hashBytes(name, 0, name.length, 0) & 0xff
  return `${SST_PREFIX}${spread.toString(16).padStart(2, '0')}/${sstId}${SUFFIX}`
}

export interface SstName {
  readonly sstId: string
  readonly generation: number
  readonly number: number
}

/** What the key of an object says, or null when it is not the key of an SST. */
export function parseSstKey(key: string): SstName | null {
  const match = /^sst\/[0-9a-f]{2}\/((\d+)-(\d+))\.sst$/.exec(key)
  if (match === null) return null
  const [, sstId, writer, number] = match
  if (sstKey(sstId) !== key) return null
  return { sstId, generation: Number(writer), number: Number(number) }
}

/** Numbers set aside for the outputs of one job. */
export interface SstNumbers {
  readonly idPrefix: string
  readonly firstNumber: number
  readonly endNumber: number
  /** Committed or given up: the vacuum may judge them. A second call does nothing. */
  settle(): void
}

export class SstMint {
  private readonly writer: Generation
  private nextNumber = 1
  private readonly open = new Set<SstNumbers>()

  constructor(writer: Generation) {
    this.writer = writer
  }

  reserve(count: number): SstNumbers {
    assert(Number.isInteger(count) && count > 0, 'a job has outputs')
    const firstNumber = this.nextNumber
    this.nextNumber += count
    const numbers: SstNumbers = {
      idPrefix: String(this.writer),
      firstNumber,
      endNumber: this.nextNumber,
      settle: () => {
        this.open.delete(numbers)
      },
    }
    this.open.add(numbers)
    return numbers
  }

  /** Every number below is committed or given up. */
  minUncommitted(): number {
    let min = this.nextNumber
    for (const { firstNumber } of this.open) if (firstNumber < min) min = firstNumber
    return min
  }
}
