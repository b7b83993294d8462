/**
 * The object store over a local folder. An object is a file of the same name; it is written whole to
 * `.tmp/<token>`, fsynced, and only then given its name: by link(2), which fails if the name is taken
 * (create), or by rename (replace). Then the folder is fsynced, so that what was answered survives a power
 * loss. Any number of processes may use one folder. Nothing is written before the first write.
 *
 * ```
 * root/.tmp/<32 hex digits>     being written, or left over from a crash; swept by age
 * root/<segment>/…/<segment>    an object
 * ```
 */
import { dirname, join, parse } from 'node:path'
import type { Env } from '../../common/env.ts'
import { EngineError } from '../../common/errors.ts'
import type { ByteRange, CreateResult, ObjectInfo, ObjectStore } from './object-store.ts'
import type { Page } from './pages.ts'
import { PAGE_KEYS, pages } from './pages.ts'
import type { StoreErrorCode, StoreOperation } from './store-error.ts'
import {
  checkKey,
  checkPrefix,
  checkRange,
  noRequests,
  rangeBeyondEnd,
  storeError,
} from './store-error.ts'

const TEMPORARY = '.tmp'
/** Far longer than any write takes: what is older was left behind by a crash. */
const TEMPORARY_AGE_MS = 60 * 60 * 1000

export class DirectoryObjectStore implements ObjectStore {
  readonly requests = noRequests()
  private readonly root: string
  private readonly env: Env
  private readonly pageKeys: number
  /** Folders whose own names are known to be durable; saves an fsync of each parent per write. */
  private readonly durableFolders = new Map<string, Promise<void>>()

  private constructor(root: string, env: Env, pageKeys: number) {
    this.root = root
    this.env = env
    this.pageKeys = pageKeys
  }

  /** @param root Absolute path; the folder need not exist. Sweeps what crashed writers left. */
  static async open(
    root: string,
    env: Env,
    options: { readonly pageKeys?: number } = {},
  ): Promise<DirectoryObjectStore> {
    const store = new DirectoryObjectStore(root, env, options.pageKeys ?? PAGE_KEYS)
    await store.guard('list', '', () => store.sweep())
    return store
  }

  put(key: string, body: Uint8Array): Promise<void> {
    return this.guard('put', key, async () => {
      checkKey(key)
      this.requests.put++
      const target = join(this.root, key)
      await this.ensureFolder(dirname(target))
      await this.withTemporary(body, (temporary) => this.env.files.rename(temporary, target))
      await this.env.files.syncDirectory(dirname(target))
    })
  }

  putIfAbsent(key: string, body: Uint8Array): Promise<CreateResult> {
    return this.guard('put-if-absent', key, async () => {
      checkKey(key)
      this.requests.put++
      const target = join(this.root, key)
      await this.ensureFolder(dirname(target))
      const result = await this.withTemporary(body, (temporary) => this.link(temporary, target))
      // Also when it exists: its maker may have died before its fsync, and the caller will build on it.
      await this.env.files.syncDirectory(dirname(target))
      return result
    })
  }

  get(key: string, range?: ByteRange): Promise<Uint8Array | null> {
    return this.guard('get', key, async () => {
      checkKey(key)
      if (range !== undefined) checkRange(range)
      this.requests.get++
      const path = join(this.root, key)
      return absentAsNull<Uint8Array | null>(() =>
        range === undefined ? this.readWhole(path) : this.readRange(path, key, range),
      )
    })
  }

  head(key: string): Promise<ObjectInfo | null> {
    return this.guard('head', key, async () => {
      checkKey(key)
      this.requests.get++
      return this.infoOf(key)
    })
  }

  list(prefix: string, startAfter = ''): AsyncIterableIterator<Page> {
    checkPrefix(prefix)
    let keys: readonly string[] | null = null
    let at = 0
    return pages(() =>
      this.guard('list', prefix, async () => {
        if (keys !== null && at >= keys.length) return null
        this.requests.list++
        keys ??= await this.find(prefix, startAfter)
        for (;;) {
          const page = await this.infos(keys.slice(at, at + this.pageKeys))
          at += this.pageKeys
          if (page.length > 0) return page
          if (at >= keys.length) return null
        }
      }),
    )
  }

  delete(keys: readonly string[]): Promise<void> {
    return this.guard('delete', keys[0] ?? '', async () => {
      this.requests.delete += Math.ceil(keys.length / PAGE_KEYS)
      for (const key of keys) {
        checkKey(key)
        const gone = () => this.env.files.remove(join(this.root, key)).then(() => true)
        await absentAsNull(gone)
      }
      // Not fsynced: a name that comes back after a power loss is deleted again by the next vacuum.
    })
  }

  async close(): Promise<void> {}

  private async link(temporary: string, target: string): Promise<CreateResult> {
    try {
      await this.env.files.link(temporary, target)
      return 'created'
    } catch (error) {
      if (codeOf(error) === 'EEXIST') return 'exists'
      throw error
    }
  }

  /** Gives `use` a durable file of these bytes; afterwards the temporary name is gone in any case. */
  private async withTemporary<T>(
    body: Uint8Array,
    use: (temporary: string) => Promise<T>,
  ): Promise<T> {
    const folder = join(this.root, TEMPORARY)
    await this.ensureFolder(folder)
    const temporary = join(folder, this.env.token())
    try {
      await this.env.files.createFile(temporary, [body])
      return await use(temporary)
    } finally {
      await this.env.files.remove(temporary)
    }
  }

  /** Makes a folder below the root, and makes its name durable, once per process. */
  private ensureFolder(folder: string): Promise<void> {
    const known = this.durableFolders.get(folder)
    if (known !== undefined) return known
    const made = this.makeFolder(folder)
    this.durableFolders.set(folder, made)
    made.catch(() => this.durableFolders.delete(folder))
    return made
  }

  private async makeFolder(folder: string): Promise<void> {
    const { files } = this.env
    if (folder === this.root) return this.makeRoot()
    await this.ensureFolder(dirname(folder))
    await files.makeDirectory(folder)
    await files.syncDirectory(dirname(folder))
  }

  /** The root's own parents are the user's: only those that had to be made are fsynced. */
  private async makeRoot(): Promise<void> {
    const { files } = this.env
    const made: string[] = []
    let path = this.root
    while (path !== parse(path).root && (await absentAsNull(() => files.stat(path))) === null) {
      made.push(path)
      path = dirname(path)
    }
    await files.makeDirectory(this.root)
    for (const folder of made.reverse()) await files.syncDirectory(dirname(folder))
  }

  /** A replaced file may change its length between the two calls: then both are made again. */
  private async readWhole(path: string): Promise<Uint8Array | null> {
    for (;;) {
      const { size, directory } = await this.env.files.stat(path)
      if (directory) return null
      // One byte more than there should be: a file that has grown shows itself.
      const body = new Uint8Array(size + 1)
      const length = await this.env.files.read(path, 0, body)
      if (length === size) return body.subarray(0, size)
    }
  }

  private async readRange(path: string, key: string, range: ByteRange): Promise<Uint8Array> {
    const body = new Uint8Array(range.length)
    const length = await this.env.files.read(path, range.offset, body)
    if (length === range.length) return body
    const { size } = await this.env.files.stat(path)
    throw rangeBeyondEnd(this.root, key, range, size)
  }

  private async infoOf(key: string): Promise<ObjectInfo | null> {
    const found = await absentAsNull(() => this.env.files.stat(join(this.root, key)))
    if (found === null || found.directory) return null
    return { key, sizeBytes: found.size, modifiedMs: found.modifiedMs }
  }

  private async infos(keys: readonly string[]): Promise<ObjectInfo[]> {
    const found: ObjectInfo[] = []
    for (const key of keys) {
      const object = await this.infoOf(key)
      if (object !== null) found.push(object)
    }
    return found
  }

  /** Paths below the prefix that may be objects. Walks only the folders that the prefix allows. */
  private async find(prefix: string, startAfter: string): Promise<readonly string[]> {
    const found: string[] = []
    const folders = [prefix.slice(0, prefix.lastIndexOf('/') + 1)]
    for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
      const path = join(this.root, folder)
      for (const name of (await absentAsNull(() => this.env.files.list(path))) ?? []) {
        const key = folder + name
        if (name.startsWith('.') || !key.startsWith(prefix)) continue
        const entry = await absentAsNull(() => this.env.files.stat(join(this.root, key)))
        if (entry?.directory === true) folders.push(`${key}/`)
        else if (entry !== null && key > startAfter) found.push(key)
      }
    }
    return found
  }

  private async sweep(): Promise<void> {
    const folder = join(this.root, TEMPORARY)
    const names = (await absentAsNull(() => this.env.files.list(folder))) ?? []
    for (const name of names) {
      const path = join(folder, name)
      const entry = await absentAsNull(() => this.env.files.stat(path))
      if (entry === null || this.env.nowMs() - entry.modifiedMs < TEMPORARY_AGE_MS) continue
      await this.env.files.remove(path)
    }
  }

  private async guard<T>(
    operation: StoreOperation,
    key: string,
    run: () => Promise<T>,
  ): Promise<T> {
    try {
      return await run()
    } catch (error) {
      if (error instanceof EngineError) throw error
      // Somebody removed a folder under us: the next attempt makes it again.
      if (codeOf(error) === 'ENOENT') this.durableFolders.clear()
      throw this.explain(operation, key, error)
    }
  }

  private explain(operation: StoreOperation, key: string, error: unknown): EngineError {
    const systemCode = codeOf(error) ?? 'unknown'
    const [code, hint]: readonly [StoreErrorCode, string] = EXPLANATIONS[systemCode] ?? [
      'STORE_UNAVAILABLE',
      'Check the disk and the file system.',
    ]
    const reason = error instanceof Error ? error.message : String(error)
    const context = { systemCode }
    return storeError(code, {
      operation,
      store: this.root,
      key,
      reason,
      hint,
      context,
      cause: error,
    })
  }
}

const EXPLANATIONS: Readonly<Record<string, readonly [StoreErrorCode, string]>> = {
  EACCES: ['STORE_ACCESS_DENIED', 'The process must be allowed to read and write the folder.'],
  EPERM: [
    'STORE_ACCESS_DENIED',
    'The process must own the folder, and the file system must know hard links.',
  ],
  EROFS: ['STORE_ACCESS_DENIED', 'The file system is mounted read-only.'],
  ENOTDIR: ['STORE_URL_INVALID', 'The path of the store must be a folder.'],
  EEXIST: ['STORE_URL_INVALID', 'The path of the store must be a folder.'],
  ENOTSUP: ['STORE_URL_INVALID', 'The file system must know hard links.'],
  ENOSPC: ['STORE_UNAVAILABLE', 'The disk is full: make room.'],
  EDQUOT: ['STORE_UNAVAILABLE', 'The quota is used up: make room.'],
  EMFILE: ['STORE_UNAVAILABLE', 'Raise the limit of open files (ulimit -n).'],
}

async function absentAsNull<T>(run: () => Promise<T>): Promise<T | null> {
  try {
    return await run()
  } catch (error) {
    const code = codeOf(error)
    // A file on the way, or a folder at the end: there is no object of that name.
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR') return null
    throw error
  }
}

function codeOf(error: unknown): string | undefined {
  const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined
  return typeof code === 'string' ? code : undefined
}
