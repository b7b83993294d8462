/**
 * Reads a store without owning it and checks what can be checked: the chain of commits, the rules of a
 * version, that every SST is there and is what it says it is; with `deep` every block and the order of every key.
 * Writes nothing.
 */

import { compareBytes } from '../common/bytes.ts'
import { EngineError, toEngineError } from '../common/errors.ts'
import type { ObjectStore } from './object/object-store.ts'
import { Block, BlockCursor, decodeBlock } from './sst/block.ts'
import { SstTail } from './sst/sst-reader.ts'
import { sstKey } from './sst-name.ts'
import { CommitLogReader, type Recovered } from './version/commit-log.ts'
import { checkVersion, eachSst, type SstMeta } from './version/version.ts'

export interface Problem {
  readonly object: string
  readonly message: string
}

export interface Verification {
  readonly databaseId: string
  readonly committedEpoch: number
  readonly versionId: number
  readonly ssts: number
  readonly blocks: number
  readonly entries: number
  readonly bytes: number
  readonly problems: readonly Problem[]
}

/**
 * The newest version, without taking the database over.
 * @param place for the message: a URL @throws STORE_NOT_FOUND, CORRUPTION
 */
export async function readStore(objects: ObjectStore, place = 'this place'): Promise<Recovered> {
  const recovered = await new CommitLogReader(objects).recover()
  if (recovered !== null) return recovered
  throw new EngineError('STORE_NOT_FOUND', `there is no database at ${place}`, {
    context: { hint: 'Check the URL: the bucket, the prefix, the folder.' },
  })
}

export async function verifyStore(
  objects: ObjectStore,
  place: string,
  options: { readonly deep: boolean; readonly progress: (done: number, of: number) => void },
): Promise<Verification> {
  const { version, databaseId } = await readStore(objects, place)
  const problems: Problem[] = []
  checkVersion(version)
  const ssts = [...eachSst(version)]
  let blocks = 0
  let entries = 0
  let bytes = 0
  for (const [index, sst] of ssts.entries()) {
    options.progress(index, ssts.length)
    try {
      const counted = options.deep
        ? await checkWhole(objects, sst, databaseId)
        : await checkTail(objects, sst, databaseId)
      blocks += counted.blocks
      entries += counted.entries
      bytes += sst.sizeBytes
    } catch (error) {
      const failure = toEngineError(error)
      // An unreachable store is no finding about this object.
      if (failure.kind !== 'corruption' && failure.code !== 'OBJECT_MISSING') throw failure
      problems.push({ object: sstKey(sst.sstId), message: failure.message })
    }
  }
  return {
    databaseId,
    committedEpoch: version.committedEpoch,
    versionId: version.versionId,
    ssts: ssts.length,
    blocks,
    entries,
    bytes,
    problems,
  }
}

interface Counted {
  readonly blocks: number
  readonly entries: number
}

async function checkTail(objects: ObjectStore, sst: SstMeta, databaseId: string): Promise<Counted> {
  const info = await objects.head(sstKey(sst.sstId))
  if (info === null) throw missing(sst)
  if (info.sizeBytes !== sst.sizeBytes) {
    throw damaged(sst, `it has ${info.sizeBytes} bytes, the version says ${sst.sizeBytes}`)
  }
  const range = { offset: sst.tailOffset, length: sst.sizeBytes - sst.tailOffset }
  const bytes = await objects.get(sstKey(sst.sstId), range)
  if (bytes === null) throw missing(sst)
  SstTail.parse(sst, bytes, databaseId)
  return { blocks: sst.blockCount, entries: sst.entryCount }
}

async function checkWhole(
  objects: ObjectStore,
  sst: SstMeta,
  databaseId: string,
): Promise<Counted> {
  const object = sstKey(sst.sstId)
  const body = await objects.get(object)
  if (body === null) throw missing(sst)
  if (body.length !== sst.sizeBytes) {
    throw damaged(sst, `it has ${body.length} bytes, the version says ${sst.sizeBytes}`)
  }
  const tail = SstTail.parse(sst, body.subarray(sst.tailOffset), databaseId)
  const cursor = new BlockCursor()
  let previous = new Uint8Array(0)
  let previousTable = 0
  let entries = 0
  for (let index = 0; index < tail.blockCount; index++) {
    const offset = tail.blockOffset(index)
    const stored = body.subarray(offset, offset + tail.blockLength(index))
    const block = new Block(decodeBlock(stored, { object, offset }))
    if (block.tableId !== tail.blockTableId(index)) throw damaged(sst, 'a block of another table')
    let more = cursor.first(block)
    while (more) {
      const key = cursor.key.slice(0, cursor.keyLength)
      const order =
        block.tableId === previousTable
          ? compareBytes(previous, 0, previous.length, key, 0, key.length)
          : previousTable - block.tableId
      if (order >= 0) throw damaged(sst, `keys out of order in block ${index}`)
      previous = key
      previousTable = block.tableId
      entries++
      more = cursor.next()
    }
  }
  if (entries !== sst.entryCount) {
    throw damaged(sst, `it has ${entries} entries, the version says ${sst.entryCount}`)
  }
  return { blocks: tail.blockCount, entries }
}

function missing(sst: SstMeta): EngineError {
  return new EngineError('OBJECT_MISSING', `SST ${sst.sstId} is missing`, {
    context: { object: sstKey(sst.sstId) },
  })
}

function damaged(sst: SstMeta, what: string): EngineError {
  return new EngineError('CORRUPTION', `SST ${sst.sstId} is damaged: ${what}`, {
    context: { object: sstKey(sst.sstId) },
  })
}
