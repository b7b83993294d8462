/**
 * Local files that lose what was not fsynced: a folder's names survive a power loss only as they were at
 * its last `syncDirectory`, or, by chance, with some of the changes since. `powerLoss` also ends the process:
 * calls under way stay pending.
 */
import type { Files } from '../../src/common/env.ts'

interface Node {
  bytes: Uint8Array
  modifiedMs: number
}
type Entry = Node | 'directory'

class SystemError extends Error {
  readonly code: string
  constructor(code: string, path: string) {
    super(`${code}: ${path}`)
    this.code = code
  }
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/'
}

export class PowerLossFiles implements Files {
  /** Operations so far; a kill point counts in these. */
  operationCount = 0
  /** The operation (0-based) at which nothing is answered any more. */
  stopAt = Number.POSITIVE_INFINITY
  private live = new Map<string, Entry>([['/', 'directory']])
  private durable = new Map<string, Entry>([['/', 'directory']])
  private readonly random: () => number

  constructor(random: () => number) {
    this.random = random
  }

  /** What a new process finds. */
  powerLoss(): void {
    const survivors = new Map<string, Entry>([['/', 'directory']])
    const paths = [...new Set([...this.durable.keys(), ...this.live.keys()])].sort()
    for (const path of paths) {
      if (path === '/' || survivors.get(parentOf(path)) !== 'directory') continue
      const [before, after] = [this.durable.get(path), this.live.get(path)]
      const entry = before === after || this.random() < 0.5 ? before : after
      if (entry !== undefined) survivors.set(path, entry)
    }
    this.live = survivors
    this.durable = new Map(survivors)
    this.stopAt = Number.POSITIVE_INFINITY
  }

  async makeDirectory(path: string): Promise<void> {
    await this.step()
    let at = ''
    for (const part of path.split('/').slice(1)) {
      at += `/${part}`
      const entry = this.live.get(at)
      if (entry === undefined) this.live.set(at, 'directory')
      else if (entry !== 'directory') throw new SystemError('EEXIST', at)
    }
  }

  async createFile(path: string, body: readonly Uint8Array[]): Promise<void> {
    await this.step()
    this.parent(path)
    if (this.live.has(path)) throw new SystemError('EEXIST', path)
    const node: Node = { bytes: new Uint8Array(0), modifiedMs: 0 }
    this.live.set(path, node)
    // Dying here leaves a file without its bytes.
    await this.step()
    node.bytes = new Uint8Array(Buffer.concat(body))
    node.modifiedMs = 1
  }

  async link(source: string, target: string): Promise<void> {
    await this.step()
    this.parent(target)
    if (this.live.has(target)) throw new SystemError('EEXIST', target)
    this.live.set(target, this.node(source))
  }

  async rename(source: string, target: string): Promise<void> {
    await this.step()
    this.parent(target)
    this.live.set(target, this.node(source))
    this.live.delete(source)
  }

  async syncDirectory(path: string): Promise<void> {
    await this.step()
    if (this.live.get(path) !== 'directory') throw new SystemError('ENOENT', path)
    for (const child of new Set([...this.live.keys(), ...this.durable.keys()])) {
      if (child === '/' || parentOf(child) !== path) continue
      const entry = this.live.get(child)
      if (entry === undefined) this.durable.delete(child)
      else this.durable.set(child, entry)
    }
  }

  async read(path: string, offset: number, target: Uint8Array): Promise<number> {
    await this.step()
    const part = this.node(path).bytes.subarray(offset, offset + target.length)
    target.set(part)
    return part.length
  }

  async stat(path: string) {
    await this.step()
    const entry = this.live.get(path)
    if (entry === undefined) throw new SystemError('ENOENT', path)
    if (entry === 'directory') return { size: 0, modifiedMs: 0, directory: true }
    return { size: entry.bytes.length, modifiedMs: entry.modifiedMs, directory: false }
  }

  async list(path: string): Promise<readonly string[]> {
    await this.step()
    if (this.live.get(path) !== 'directory') throw new SystemError('ENOENT', path)
    const children = [...this.live.keys()].filter((at) => at !== '/' && parentOf(at) === path)
    return children.map((child) => child.slice(child.lastIndexOf('/') + 1))
  }

  async remove(path: string): Promise<void> {
    await this.step()
    this.live.delete(path)
  }

  async removeDirectory(): Promise<void> {
    await this.step()
  }

  private step(): Promise<void> {
    return this.operationCount++ >= this.stopAt ? new Promise(() => {}) : Promise.resolve()
  }

  private parent(path: string): void {
    if (this.live.get(parentOf(path)) !== 'directory') throw new SystemError('ENOENT', path)
  }

  private node(path: string): Node {
    const entry = this.live.get(path)
    if (entry === undefined) throw new SystemError('ENOENT', path)
    if (entry === 'directory') throw new SystemError('EISDIR', path)
    return entry
  }
}
