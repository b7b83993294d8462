/** Entry of the control thread: makes the engine and answers the user's thread. */
import { type MessagePort, workerData } from 'node:worker_threads'
import * as Comlink from 'comlink'
import { nodeEndpoint } from './comlink-endpoint.ts'
import { toWire } from './common/errors.ts'
import { nodeEnv } from './common/node-env.ts'
import { Engine } from './engine.ts'
import type { Answer, EngineApi, EngineEvent, EngineInit } from './engine-protocol.ts'
import { ReaderEngine } from './reader-engine.ts'

interface ControlData {
  readonly calls: MessagePort
  readonly events: MessagePort
}

const { calls, events } = workerData as ControlData

async function answer<T>(work: () => Promise<T>): Promise<Answer<T>> {
  try {
    return { value: await work() }
  } catch (error) {
    return { error: toWire(error) }
  }
}

let engine: Engine | ReaderEngine = new ReaderEngine(nodeEnv())

function openEngine(init: EngineInit): ReturnType<Engine['open']> {
  if (init.options.mode === 'writer') {
    engine = new Engine(nodeEnv(), (event: EngineEvent) => events.postMessage(event))
  }
  return engine.open(init)
}

const api: EngineApi = {
  open: (init) => answer(() => openEngine(init)),
  execute: (sql, parameters) => answer(() => engine.execute(sql, parameters)),
  run: (sql) => answer(() => engine.run(sql)),
  query: (sql, parameters, read) => answer(() => engine.query(sql, parameters, read)),
  describe: (table) => answer(() => engine.describe(table)),
  insert: (table, batch, durable) => answer(() => engine.insert(table, batch, durable)),
  snapshot: () => answer(() => engine.snapshot()),
  releaseSnapshot: (snapshotId) => answer(() => engine.releaseSnapshot(snapshotId)),
  subscribe: (name) => answer(() => engine.subscribe(name)),
  nextChanges: (subscriptionId) => answer(() => engine.nextChanges(subscriptionId)),
  unsubscribe: (subscriptionId) => answer(() => engine.unsubscribe(subscriptionId)),
  flush: () => answer(() => engine.flush()),
  exhausted: () => answer(() => engine.exhausted()),
  metrics: () => answer(() => engine.metrics()),
  inspect: (what) => answer(() => engine.inspect(what)),
  close: () => answer(() => engine.close()),
}

Comlink.expose(api, nodeEndpoint(calls))
