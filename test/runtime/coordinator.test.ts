/** The coordinator over a real store in memory and workers that are not real: each promise, each failure. */
import { describe, expect, test } from 'vitest'
import { EngineError } from '../../src/common/errors.ts'
import { epoch, tableId } from '../../src/common/ids.ts'
import { ChangeFeed } from '../../src/runtime/change-feed.ts'
import { endOf, Pipeline, row, settled, sourceJob, stateOf, tableJob } from './fake-workers.ts'

const ORDERS = tableJob(1, 10)
const CLICKS = sourceJob(2, 20)

describe('rows', () => {
  test('accepted rows are committed by a flush, once, whatever dies before', async () => {
    const pipeline = await Pipeline.start([ORDERS])
    const { coordinator } = pipeline
    await coordinator.accept(10, row('a'))
    await coordinator.flush()
    const { durably } = await coordinator.accept(10, row('b'))
    const durable = durably()
    await pipeline.recover()
    await durable
    expect(pipeline.rows()).toEqual(['10/a', '10/b'])
    await coordinator.close(1000)
  })
})

describe('drops', () => {
  test('a drop that a recovery takes back keeps the rows, and acknowledges none', async () => {
    const pipeline = await Pipeline.start([ORDERS])
    const { coordinator } = pipeline
    pipeline.shutGate()
    const { durably } = await coordinator.accept(10, row('a'))
    const dropped = coordinator.exclusive(() => coordinator.dropJobs([1], [tableId(10)], {}))
    dropped.catch(() => undefined)
    // The checkpoint of the drop is never collected.
    pipeline.workers[1].hold = ({ kind }) => kind === 'collected'
    const durable = durably()
    expect(await stateOf(durable)).toBe('pending')
    await pipeline.liftGate()
    await pipeline.recover()
    expect(await stateOf(dropped)).toBe('RECOVERING')
    await coordinator.flush()
    expect(pipeline.rows()).toEqual(['10/a'])
    expect(await stateOf(durable)).toBe('done')
    await coordinator.close(1000)
  })

  test('a row for a table that is being dropped is refused, and no recovery trips over it', async () => {
    const pipeline = await Pipeline.start([ORDERS, tableJob(3, 30)])
    const { coordinator } = pipeline
    pipeline.shutGate()
    const dropped = coordinator.exclusive(() => coordinator.dropJobs([1], [tableId(10)], {}))
    await settled()
    expect(await stateOf(coordinator.accept(10, row('late')))).toBe('SQL_UNDEFINED_TABLE')
    pipeline.workers[0].die()
    await settled()
    await pipeline.liftGate()
    await pipeline.env.advance(10_000)
    await pipeline.env.advance(10_000)
    expect(await stateOf(dropped)).toBe('done')
    expect(await stateOf(coordinator.flush())).toBe('done')
    await coordinator.close(1000)
  })

  test('positions of a dropped source go with the catalog that no longer names it', async () => {
    const pipeline = await Pipeline.start([ORDERS, CLICKS])
    const { coordinator, store } = pipeline
    await coordinator.flush()
    expect(Object.keys(store.version.offsets)).toEqual(['20/0', '20/1'])
    await coordinator.exclusive(() => coordinator.dropJobs([2], [], { names: 'orders' }))
    expect(store.version.catalog).toEqual({ names: 'orders' })
    expect(store.version.offsets).toEqual({})
    await coordinator.close(1000)
  })
})

describe('the end', () => {
  test('close while a recovery waits starts no threads afterwards', async () => {
    const pipeline = await Pipeline.start([ORDERS])
    const { coordinator, env } = pipeline
    pipeline.workers[0].die()
    await settled()
    const closing = coordinator.close(5)
    await env.advance(5)
    await closing
    await env.advance(60_000)
    expect(pipeline.incarnations.length).toBe(1)
    expect(await stateOf(coordinator.flush())).toBe('CLOSED')
  })

  test('what is accepted while it closes is committed; the rest is refused', async () => {
    const pipeline = await Pipeline.start([ORDERS])
    const { coordinator } = pipeline
    await coordinator.accept(10, row('before'))
    const closing = coordinator.close(5000)
    const late = coordinator.accept(10, row('late'))
    expect(await stateOf(late)).toBe('CLOSED')
    await closing
    expect(pipeline.rows()).toEqual(['10/before'])
  })

  test('a store that fails in a commit ends every wait', async () => {
    const pipeline = await Pipeline.start([ORDERS])
    const { coordinator, world } = pipeline
    pipeline.shutGate()
    const { durably } = await coordinator.accept(10, row('a'))
    const waits = [
      endOf(durably()),
      endOf(coordinator.flush()),
      endOf(coordinator.feed.subscribe(10, epoch(0)).next()),
      endOf(coordinator.exclusive(() => coordinator.createJob(CLICKS, {}))),
    ]
    await settled()
    pipeline.workers[0].hold = () => true
    waits.push(endOf(coordinator.settle()))
    // Another process takes the database over.
    await world.open()
    await pipeline.liftGate()
    waits.push(endOf(coordinator.flush()))
    expect(new Set(await Promise.all(waits))).toEqual(new Set(['FENCED']))
    await coordinator.close(0)
  })
})

describe('reads at the latest epoch', () => {
  test('an unbroken chain of them does not keep the workers from their slabs', async () => {
    const pipeline = await Pipeline.start([ORDERS])
    const { coordinator } = pipeline
    let pin = coordinator.pinLatest()
    for (let turn = 0; turn < 5; turn++) {
      await coordinator.accept(10, row(`row ${turn}`))
      await coordinator.flush()
      const next = coordinator.pinLatest()
      pin.release()
      pin = next
    }
    const versions = pipeline.posted(pipeline.workers[1], 'version')
    expect(versions.flatMap(({ releasedRuns }) => releasedRuns)).toEqual([1, 2, 3, 4, 5])
    pin.release()
    await coordinator.close(1000)
  })

  test('slabs stay while a read that saw their runs goes on, and versions keep their order', async () => {
    const pipeline = await Pipeline.start([ORDERS])
    const { coordinator } = pipeline
    const worker = pipeline.workers[1]
    const released = (): number[] =>
      pipeline.posted(worker, 'version').flatMap(({ releasedRuns }) => [...releasedRuns])
    await coordinator.accept(10, row('a'))
    await coordinator.settle()
    const first = coordinator.pinLatest()
    expect(first.runs.map((run) => run.runId)).toEqual([1])
    await coordinator.flush()
    const second = coordinator.pinLatest()
    expect(second.runs).toEqual([])
    await coordinator.accept(10, row('b'))
    await coordinator.flush()
    expect(released()).toEqual([])
    second.release()
    expect(released()).toEqual([])
    first.release()
    expect(released()).toEqual([1, 2])
    const ids = pipeline.posted(worker, 'version').map(({ delta }) => delta.versionId)
    expect(ids).toEqual(ids.toSorted((a, b) => a - b))
    await coordinator.close(1000)
  })
})

describe('recoveries', () => {
  test('what waits for an epoch that was lost does not wait for a tick of the clock', async () => {
    const pipeline = await Pipeline.start([ORDERS], { barrierIntervalMs: 60_000 })
    const { coordinator } = pipeline
    for (const worker of pipeline.workers) worker.hold = ({ kind }) => kind === 'collected'
    const settling = coordinator.settle()
    await settled()
    await pipeline.recover()
    expect(await stateOf(settling)).toBe('done')
    await coordinator.close(1000)
  })
})

describe('back-pressure', () => {
  test('sources pause while a barrier is stuck: what they read meanwhile no epoch would end', async () => {
    const pipeline = await Pipeline.start([ORDERS, CLICKS])
    const { coordinator, env } = pipeline
    const [first, second] = pipeline.workers
    const paused = (): boolean[] => pipeline.posted(first, 'pause').map((message) => message.paused)
    for (let tick = 0; tick < 10; tick++) await env.advance(100)
    expect(paused()).toEqual([])
    second.hold = ({ kind }) => kind === 'collected'
    for (let tick = 0; tick < 40; tick++) await env.advance(100)
    expect(paused()).toEqual([true])
    expect(pipeline.events).toContainEqual({ kind: 'backpressure', active: true, bufferedBytes: 0 })
    second.deliver()
    for (let tick = 0; tick < 3; tick++) await env.advance(100)
    expect(paused()).toEqual([true, false])
    await coordinator.close(1000)
  })
})

describe('threads', () => {
  test('when one cannot be started, those that were are ended, and it is tried again', async () => {
    const pipeline = await Pipeline.start([ORDERS])
    const { coordinator } = pipeline
    pipeline.onSpawn = ({ index }) => {
      if (index === 0 || pipeline.incarnations.length !== 2) return
      throw new EngineError('MEMORY_EXHAUSTED', 'no more memory for threads')
    }
    await pipeline.recover()
    const [first] = pipeline.incarnations[1]
    expect(first.isTerminated).toBe(true)
    // It had said something before.
    first.die()
    await pipeline.env.advance(10_000)
    expect(pipeline.incarnations.length).toBe(3)
    expect(await stateOf(coordinator.flush())).toBe('done')
    await coordinator.close(1000)
  })
})

describe('subscriptions', () => {
  test('begin with a whole epoch, for all rows accepted after they resolved', async () => {
    const pipeline = await Pipeline.start([ORDERS])
    const { coordinator } = pipeline
    const subscription = await coordinator.subscribe(10)
    // The worker may have passed the barrier before this one when it heard of the subscription, or not.
    const { posted } = pipeline.workers[0]
    const heard = posted.findIndex(({ kind }) => kind === 'subscribe')
    const first = posted.slice(heard).find((message) => message.kind === 'barrier')!.barrier
    for (const at of [first.epoch, first.next]) {
      pipeline.workers[0].send({ kind: 'changes', tableId: 10, epoch: at, chunk: row('x') })
    }
    await settled()
    await coordinator.accept(10, row('a'))
    await coordinator.flush()
    expect(await subscription.next()).toEqual({ epoch: first.next, chunks: [row('x')] })
    await coordinator.close(1000)
  })

  test('end when their table is dropped', async () => {
    const pipeline = await Pipeline.start([ORDERS])
    const { coordinator } = pipeline
    const subscription = await coordinator.subscribe(10)
    const next = subscription.next()
    await coordinator.exclusive(() => coordinator.dropJobs([1], [tableId(10)], {}))
    expect(await next).toBe(null)
    await coordinator.close(1000)
  })

  test('a pipeline that ends while one begins ends it', async () => {
    const pipeline = await Pipeline.start([ORDERS])
    const { coordinator } = pipeline
    pipeline.workers[0].hold = ({ kind }) => kind === 'collected'
    const subscribing = endOf(coordinator.subscribe(10))
    await settled()
    const closing = coordinator.close(100)
    await settled()
    await pipeline.env.advance(100)
    await closing
    expect(await subscribing).toBe('CLOSED')
    expect([...coordinator.feed.tables]).toEqual([])
  })

  test('very many small changes of an outage are handed out', () => {
    const feed = new ChangeFeed(() => undefined)
    const subscription = feed.subscribe(10, epoch(0))
    const chunk = row('x')
    feed.changed(10, epoch(1), chunk)
    for (let i = 0; i < 300_000; i++) feed.changed(10, epoch(2), chunk)
    feed.committed(epoch(1))
    feed.committed(epoch(2))
    subscription.close()
  })
})
