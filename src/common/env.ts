/**
 * The environment seam: time, chance, local files and threads reach the engine only through an
 * `Env`, so that a test can drive all of them from one seed. `test/layers.test.ts` refuses direct use
 * in `src` outside `node-env.ts`.
 */

/** A timer that can be cancelled; cancelling twice is harmless. */
export interface Timer {
  cancel(): void
}

export interface Env {
  /** Unix time, ms. May jump both ways. */
  nowMs(): number
  /** Monotonic time of this thread, ms with fraction; only differences mean something. */
  monotonicMs(): number
  /** Calls back once after `delayMs`. The timer does not keep the process alive. */
  setTimer(delayMs: number, callback: () => void): Timer
  /** Keeps the process alive: somebody waits for what comes after it. */
  sleep(delayMs: number): Promise<void>
  /** Lets this thread's event loop turn once: other work that is due runs first. */
  turn(): Promise<void>
  /** Uniform in [0, 1). */
  random(): number
  /** A fresh token of 128 random bits as 32 hex digits; unique across processes. */
  token(): string
  readonly files: Files
}

/** The local files that the directory store and the caches use. Paths are absolute. */
export interface Files {
  /** Makes the folder and its parents. */
  makeDirectory(path: string): Promise<void>
  /** Creates a new file with these bytes and fsyncs it; `EEXIST` when it is there. */
  createFile(path: string, body: readonly Uint8Array[]): Promise<void>
  /** Makes `target` the same file as `source`, atomically; `EEXIST` when it is there. */
  link(source: string, target: string): Promise<void>
  rename(source: string, target: string): Promise<void>
  /** fsyncs a folder, so that names in it survive a power loss. */
  syncDirectory(path: string): Promise<void>
  /** Fills `target` from `offset`; returns the bytes read, fewer only at the end of the file. */
  read(path: string, offset: number, target: Uint8Array): Promise<number>
  stat(
    path: string,
  ): Promise<{ readonly size: number; readonly modifiedMs: number; readonly directory: boolean }>
  /** Names in the folder, in no order. */
  list(path: string): Promise<readonly string[]>
  /** Removes a file; absent is fine. */
  remove(path: string): Promise<void>
  /** Removes a folder if it is empty; otherwise does nothing. */
  removeDirectory(path: string): Promise<void>
}
