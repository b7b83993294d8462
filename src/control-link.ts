/**
 * The user's thread's end of the control thread: starts it, calls it through comlink, and races every
 * call against its death (a comlink call to a dead thread would hang for ever).
 */

import { existsSync } from 'node:fs'
import * as nodeModule from 'node:module'
import { availableParallelism } from 'node:os'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads'
import * as Comlink from 'comlink'
import { nodeEndpoint } from './comlink-endpoint.ts'
import { EngineError, fromWire } from './common/errors.ts'
import type { Answer, EngineApi, EngineEvent } from './engine-protocol.ts'

export const coreCount = availableParallelism

/** Files of the other threads, by what they are. */
export interface ThreadFiles {
  readonly control: URL
  readonly worker: URL
  readonly pool: URL
}

/**
 * Finds the built thread files: below `workerUrl` if given; else beside this module; else, when a bundler has moved this
 * module, in the package as it is installed where the bundle or the process runs.
 * @throws OPTION_INVALID when they are in none of these places.
 */
export function findThreadFiles(
  workerUrl: string | URL | undefined,
  moduleUrl: string,
): ThreadFiles {
  const places = workerUrl === undefined ? likelyPlaces(moduleUrl) : [folderUrl(workerUrl)]
  for (const base of places) {
    const files = {
      control: new URL('control-thread.js', base),
      worker: new URL('actors/worker.js', base),
      pool: new URL('storage/job-worker.js', base),
    }
    if (Object.values(files).every((file) => existsSync(fileURLToPath(file)))) return files
  }
  throw new EngineError('OPTION_INVALID', 'the files of the worker threads were not found', {
    context: {
      option: 'workerUrl',
      places: places.map((place) => place.href).join(' '),
      hint: 'Mark tussock as external in the bundler, or pass workerUrl: the folder dist/src/ of the package.',
    },
  })
}

function folderUrl(given: string | URL): URL {
  if (given instanceof URL) return given
  const text = given.endsWith('/') ? given : `${given}/`
  return text.startsWith('file:') ? new URL(text) : pathToFileURL(text)
}

function likelyPlaces(moduleUrl: string): URL[] {
  const places: URL[] = []
  // A CommonJS bundle has no module URL.
  if (moduleUrl?.startsWith('file:')) {
    places.push(new URL(moduleUrl.endsWith('.ts') ? '../dist/src/' : './', moduleUrl))
    places.push(...installedPlaces(moduleUrl))
  }
  places.push(...installedPlaces(`${process.cwd()}/`))
  return places
}

/** The package as `from` would import it. */
function installedPlaces(from: string): URL[] {
  try {
    const packageFile = nodeModule.createRequire(from).resolve('tussock/package.json')
    return [new URL('./dist/src/', pathToFileURL(packageFile))]
  } catch {
    return [] // It is not installed there; the caller says so if it is nowhere.
  }
}

export class ControlLink {
  private readonly worker: Worker
  /** Behind a function: whoever walks over a database's fields must not call the proxy (`JSON.stringify` would). */
  private readonly api: () => Comlink.Remote<EngineApi>
  private readonly eventPort: MessagePort
  /** Why the thread is gone; null while it lives. */
  private gone: EngineError | null = null
  /** Rejects the calls under way. */
  private readonly underWay = new Set<(error: EngineError) => void>()
  private readonly exited: Promise<void>
  private ended = false

  constructor(file: URL, youngGenerationMb: number | null, onEvent: (event: EngineEvent) => void) {
    const events = new MessageChannel()
    const calls = new MessageChannel()
    this.worker = new Worker(file, {
      name: 'tussock-control',
      workerData: { calls: calls.port2, events: events.port2 },
      transferList: [calls.port2, events.port2],
      ...(youngGenerationMb === null
        ? {}
        : { resourceLimits: { maxYoungGenerationSizeMb: youngGenerationMb } }),
    })
    let cause: unknown
    let left: () => void
    const ports = [events.port1, calls.port1]
    const closed = ports.map((port) => new Promise<void>((resolve) => port.once('close', resolve)))
    const gone = new Promise<void>((resolve) => {
      left = resolve
    })
    // A port is a handle of the host's until it says that it is closed.
    this.exited = Promise.all([gone, ...closed]).then(() => undefined)
    this.worker.on('error', (error) => {
      cause = error
    })
    this.worker.on('exit', () => {
      this.eventPort.close()
      calls.port1.close()
      left()
      const gone = this.ended
        ? new EngineError('CLOSED', 'the database is closed')
        : new EngineError('PIPELINE_FAILED', 'the control thread ended unexpectedly', { cause })
      this.gone = gone
      for (const fail of this.underWay) fail(gone)
      this.underWay.clear()
    })
    this.eventPort = events.port1
    this.eventPort.on('message', onEvent)
    const api = Comlink.wrap<EngineApi>(nodeEndpoint(calls.port1))
    this.api = () => api
  }

  /** Calls the control thread. @throws What it answered, or PIPELINE_FAILED / CLOSED when it is gone. */
  async call<T>(invoke: (api: Comlink.Remote<EngineApi>) => Promise<Answer<T>>): Promise<T> {
    const answer = await this.answered(invoke)
    if ('error' in answer) throw fromWire(answer.error)
    return answer.value
  }

  /** Not `Promise.race` with the thread's end: a promise that lasts as long as the thread would hold every answer. */
  private answered<T>(
    invoke: (api: Comlink.Remote<EngineApi>) => Promise<Answer<T>>,
  ): Promise<Answer<T>> {
    if (this.gone !== null) return Promise.reject(this.gone)
    return new Promise((resolve, reject) => {
      this.underWay.add(reject)
      invoke(this.api())
        .then(resolve, reject)
        .finally(() => this.underWay.delete(reject))
    })
  }

  /** Ends the thread; resolves when it is gone. */
  async end(): Promise<void> {
    this.ended = true
    await this.worker.terminate()
    await this.exited
  }
}
