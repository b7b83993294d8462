/** The coordinator over a real store in memory and workers that are not real: each promise, each failure. */
import { describe, expect, test } from 'vitest'
import { tableId } from '../../src/common/ids.ts'
import { Pipeline, row, settled, sourceJob, stateOf, tableJob } from './fake-workers.ts'

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
