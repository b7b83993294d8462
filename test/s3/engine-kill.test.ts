/** The pipeline of test/faults on a bucket: killed, and asked to end. */
import { beforeAll, expect, test } from 'vitest'
import { killLoop, terminateOnce } from '../faults/kill-loop.mjs'
import { createBucket, storeUrl } from './server.ts'

const bucket = `kills-${process.pid}`

beforeAll(() => createBucket(bucket))

test('ten kills lose nothing', async () => {
  const result = await killLoop({ kills: 10, store: storeUrl(bucket, 'killed'), seed: 1 })
  console.log('s3 kills', JSON.stringify(result))
  expect(result).toMatchObject({ kills: 10, lostAcknowledgements: 0, right: true })
}, 300_000)

test('SIGTERM ends with a checkpoint, and a restart goes on from it', async () => {
  const result = await terminateOnce(storeUrl(bucket, 'terminated'))
  console.log('s3 SIGTERM', JSON.stringify(result))
  expect(result).toMatchObject({ code: 0, right: true })
  expect(result.milliseconds).toBeLessThan(5000)
}, 120_000)
