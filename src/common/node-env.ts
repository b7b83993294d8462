/**
 * The environment of a real process: the only file of the engine, thread entries aside, that touches
 * clocks, chance and the file system. Any thread may have one; it has no state.
 */
import { randomBytes } from 'node:crypto'
import { link, mkdir, open, readdir, rename, rm, rmdir, stat } from 'node:fs/promises'
import type { Env, Files } from './env.ts'

const files: Files = {
  async makeDirectory(path) {
    await mkdir(path, { recursive: true })
  },

  async createFile(path, body) {
    const file = await open(path, 'wx')
    try {
      for (const part of body) await writeWhole(file, part)
      await file.sync()
    } finally {
      await file.close()
    }
  },

  link,
  rename,

  async syncDirectory(path) {
    // Windows has no handle of a folder to flush; its file systems journal names by themselves.
    if (process.platform === 'win32') return
    const directory = await open(path, 'r')
    try {
      await directory.sync()
    } finally {
      await directory.close()
    }
  },

  async read(path, offset, target) {
    const file = await open(path, 'r')
    try {
      let length = 0
      while (length < target.length) {
        const { bytesRead } = await file.read(
          target,
          length,
          target.length - length,
          offset + length,
        )
        if (bytesRead === 0) break
        length += bytesRead
      }
      return length
    } finally {
      await file.close()
    }
  },

  async stat(path) {
    const entry = await stat(path)
    return { size: entry.size, modifiedMs: entry.mtimeMs, directory: entry.isDirectory() }
  },

  list: (path) => readdir(path),

  async remove(path) {
    await rm(path, { force: true })
  },

  async removeDirectory(path) {
    try {
      await rmdir(path)
    } catch (error) {
      if (!isOneOf(error, ['ENOTEMPTY', 'EEXIST', 'ENOENT'])) throw error
    }
  },
}

/** A write may be short (a signal, a full disk about to say so): goes on until all bytes are out. */
async function writeWhole(file: Awaited<ReturnType<typeof open>>, body: Uint8Array): Promise<void> {
  let at = 0
  while (at < body.length) at += (await file.write(body, at, body.length - at)).bytesWritten
}

function isOneOf(error: unknown, codes: readonly string[]): boolean {
  const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined
  return typeof code === 'string' && codes.includes(code)
}

/** @returns an environment; its timers do not keep the process alive, its sleeps do. */
export function nodeEnv(): Env {
  const env: Env = {
    nowMs: () => Date.now(),
    monotonicMs: () => performance.now(),
    setTimer(delayMs, callback) {
      const timer = setTimeout(callback, delayMs)
      timer.unref()
      return { cancel: () => clearTimeout(timer) }
    },
    sleep(delayMs) {
      return new Promise((resolve) => {
        setTimeout(resolve, delayMs)
      })
    },
    turn() {
      return new Promise((resolve) => {
        setImmediate(resolve)
      })
    },
    random: () => Math.random(),
    token: () => randomBytes(16).toString('hex'),
    files,
  }
  return env
}
