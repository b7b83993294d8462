/**
 * Serves queries from a store that another process writes: the newest committed version, read again for each statement.
 * It writes nothing, so the writer does not know of it: a version that the writer's vacuum overtakes is read anew.
 * Control thread.
 */
import type { Env } from './common/env.ts'
import { EngineError, toEngineError } from './common/errors.ts'
import type {
  EngineInit,
  EngineMetrics,
  StatementResult,
  TableDescription,
  WireRows,
} from './engine-protocol.ts'
import { COMMITTED, isRead, type ReadAt, runRead, type View } from './read-statements.ts'
import { SnapshotScan } from './runtime/snapshot-scan.ts'
import { allocate } from './runtime/worker-pool.ts'
import type { StatementAst } from './sql/ast.ts'
import { type Catalog, emptyCatalog } from './sql/catalog.ts'
import { loadParser, parseScript, parseStatement } from './sql/parser.ts'
import { ControlBlockSource, fetchThroughCache } from './storage/cache/block-sources.ts'
import { BlockCache } from './storage/cache/memory.ts'
import { Fetcher } from './storage/fetcher.ts'
import type { ObjectStore } from './storage/object/object-store.ts'
import { openObjectStore } from './storage/object/open.ts'
import { SnapshotReader } from './storage/snapshot-reader.ts'
import { readStore } from './storage/verifier.ts'
import type { Version } from './storage/version/version.ts'

const MIB = 1024 * 1024
const PATIENCE_MS = 10_000
/** Times that a statement is run again on a newer version, when the vacuum took what it was reading. */
const ATTEMPTS = 3

interface Parts {
  readonly objects: ObjectStore
  readonly blocks: ControlBlockSource
  version: Version
}

export class ReaderEngine {
  private readonly env: Env
  private parts: Parts | null = null
  private readonly snapshots = new Map<number, Version>()
  private nextHandle = 1

  constructor(env: Env) {
    this.env = env
  }

  async open(init: EngineInit): Promise<{ generation: number; databaseId: string }> {
    const parsing = loadParser()
    const objects = await openObjectStore(init.url, this.env, { deadlineMs: PATIENCE_MS })
    try {
      const { version, databaseId } = await readStore(objects, init.url)
      const buffer = allocate(BlockCache.bytesFor(init.options.blockCacheBytes))
      const cache = new BlockCache(buffer, 'owner')
      const fetcher = new Fetcher({
        env: this.env,
        objects,
        databaseId,
        tailCacheBytes: 32 * MIB,
        fetchBytesMax: 4 * MIB,
        warmBytesMax: 0,
        cache: {
          insert: (sstId, blockIndex, body) => {
            cache.insert(sstId, blockIndex, body)
          },
          evictSst: (sstId) => cache.evictSst(sstId),
        },
      })
      const fetch = fetchThroughCache(cache, (sst, want) => fetcher.fetch(sst, want))
      const blocks = new ControlBlockSource({ cache, tailBytesMax: 32 * MIB, fetch })
      this.parts = { objects, blocks, version }
      await parsing
      return { generation: version.generation, databaseId }
    } catch (error) {
      await objects.close()
      throw error
    }
  }

  async execute(sql: string, parameters: readonly unknown[]): Promise<StatementResult[]> {
    const results: StatementResult[] = []
    for (const statement of parseScript(sql)) {
      results.push(await this.read(statement, parameters, COMMITTED))
    }
    return results
  }

  async query(sql: string, parameters: readonly unknown[], at: ReadAt): Promise<WireRows> {
    const { rows } = await this.read(parseStatement(sql), parameters, at)
    return rows!
  }

  private async read(
    statement: StatementAst,
    parameters: readonly unknown[],
    at: ReadAt,
  ): Promise<StatementResult> {
    if (!isRead(statement)) return refuse('change anything')
    const parts = this.live()
    for (let attempt = 1; ; attempt++) {
      const version = await this.versionFor(parts, at.snapshotId)
      const context = {
        catalog: (version.catalog as Catalog | null) ?? emptyCatalog(),
        view: (): View => viewOf(version, parts.blocks, this.env),
        turn: () => this.env.turn(),
      }
      try {
        return await runRead(statement, parameters, context)
      } catch (thrown) {
        const error = toEngineError(thrown)
        if (error.code !== 'OBJECT_MISSING') throw error
        if (at.snapshotId !== null || attempt === ATTEMPTS) {
          throw new EngineError('SNAPSHOT_EXPIRED', 'the writer has removed what was being read', {
            context: { epoch: version.committedEpoch },
            cause: error,
          })
        }
      }
    }
  }

  private async versionFor(parts: Parts, snapshotId: number | null): Promise<Version> {
    if (snapshotId === null) {
      parts.version = (await readStore(parts.objects)).version
      return parts.version
    }
    const held = this.snapshots.get(snapshotId)
    if (held !== undefined) return held
    throw new EngineError('SNAPSHOT_EXPIRED', 'the snapshot was released', {
      context: { snapshotId },
    })
  }

  async snapshot(): Promise<{ snapshotId: number; epoch: number }> {
    const version = await this.versionFor(this.live(), null)
    const snapshotId = this.nextHandle++
    this.snapshots.set(snapshotId, version)
    return { snapshotId, epoch: version.committedEpoch }
  }

  async releaseSnapshot(snapshotId: number): Promise<null> {
    this.snapshots.delete(snapshotId)
    return null
  }

  async inspect(what: string): Promise<unknown> {
    const { version } = this.live()
    return what === 'catalog' ? version.catalog : version.groups
  }

  async close(): Promise<null> {
    const { parts } = this
    this.parts = null
    await parts?.objects.close()
    return null
  }

  run = (): Promise<StatementResult[]> => refuse('run a pipeline')
  describe = (): Promise<TableDescription> => refuse('insert rows')
  insert = (): Promise<null> => refuse('insert rows')
  subscribe = (): Promise<never> => refuse('subscribe')
  nextChanges = (): Promise<null> => refuse('subscribe')
  unsubscribe = (): Promise<null> => refuse('subscribe')
  flush = (): Promise<number> => refuse('flush')
  exhausted = (): Promise<number> => refuse('wait for sources')
  metrics = (): Promise<EngineMetrics> => refuse('report on a pipeline')

  private live(): Parts {
    if (this.parts === null) throw new EngineError('CLOSED', 'the database is closed')
    return this.parts
  }
}

function viewOf(version: Version, blocks: ControlBlockSource, env: Env): View {
  const epoch = version.committedEpoch
  const reader = new SnapshotReader({ version, epoch, runs: [], blocks })
  return { epoch, scan: new SnapshotScan(reader, blocks, env), release: () => undefined }
}

function refuse(what: string): Promise<never> {
  return Promise.reject(
    new EngineError('READ_ONLY', `a reader cannot ${what}`, {
      context: { sqlState: '25006', hint: "Open the database without mode: 'reader'." },
    }),
  )
}
