import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { nodeEnv } from '../../src/common/node-env.ts'
import { openObjectStore } from '../../src/storage/object/open.ts'
import { S3ObjectStore } from '../../src/storage/object/s3.ts'
import { objectStoreConformance, pattern } from '../conformance/object-store.ts'
import { createBucket, endpoint, pendingUploads, storeUrl } from './server.ts'

const bucket = `conformance-${process.pid}`
const base = { bucket, endpoint, region: 'us-east-1', pathStyle: true }
let opened = 0

beforeAll(() => createBucket(bucket))

objectStoreConformance(
  's3',
  () => S3ObjectStore.open({ ...base, prefix: `plain/${opened++}` }, nodeEnv()),
  { largeBytes: 20 * 1024 * 1024 + 1, listedCount: 1200, pageKeys: 1000 },
)
objectStoreConformance(
  's3, small pages, parts of 5 MiB',
  () =>
    S3ObjectStore.open(
      { ...base, prefix: `small/${opened++}`, pageKeys: 4, partBytes: 5 * 1024 * 1024 },
      nodeEnv(),
    ),
  { largeBytes: 10 * 1024 * 1024, listedCount: 30, pageKeys: 4 },
)
objectStoreConformance('s3 by its URL, with retries', () =>
  openObjectStore(storeUrl(bucket, `url/${opened++}`), nodeEnv()),
)

describe('what goes wrong', () => {
  afterEach(() => vi.unstubAllEnvs())

  test('a bucket that is not there', async () => {
    const store = await openObjectStore(storeUrl('no-such-bucket', 'x'), nodeEnv())
    const missing = {
      code: 'STORE_BUCKET_MISSING',
      context: { bucket: 'no-such-bucket', endpoint },
    }
    await expect(store.get('a')).rejects.toMatchObject(missing)
    await expect(store.putIfAbsent('a', pattern(1))).rejects.toMatchObject(missing)
    await expect(store.list('')[Symbol.asyncIterator]().next()).rejects.toMatchObject(missing)
    await store.close()
  })

  test('wrong credentials', async () => {
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'wrong')
    const store = await openObjectStore(storeUrl(bucket, 'x'), nodeEnv())
    const denied = { code: 'STORE_ACCESS_DENIED', context: { bucket, key: 'a' } }
    await expect(store.put('a', pattern(1))).rejects.toMatchObject(denied)
    await expect(store.get('a')).rejects.toMatchObject(denied)
    await expect(store.head('a')).rejects.toMatchObject(denied)
    await store.close()
  })

  test('an upload in parts that fails leaves no parts', async () => {
    const options = { ...base, prefix: 'parts', partBytes: 1024 * 1024 }
    const store = await S3ObjectStore.open(options, nodeEnv())
    // Parts below 5 MiB are refused when they are joined.
    await expect(store.put('a', pattern(3 * 1024 * 1024))).rejects.toMatchObject({
      context: { name: 'EntityTooSmall' },
    })
    expect(await store.get('a')).toBeNull()
    expect(await pendingUploads(bucket)).toEqual([])
    await store.close()
  })
})

test('latencies, ms', async () => {
  const store = await S3ObjectStore.open({ ...base, prefix: 'latency' }, nodeEnv())
  const body = pattern(64 * 1024)
  const report: Record<string, string> = {}
  const measure = async (name: string, count: number, run: (i: number) => Promise<unknown>) => {
    const times: number[] = []
    for (let i = 0; i < count; i++) {
      const startMs = performance.now()
      await run(i)
      times.push(performance.now() - startMs)
    }
    times.sort((a, b) => a - b)
    const at = (part: number) => times[Math.floor(part * (count - 1))].toFixed(2)
    report[name] = `p50 ${at(0.5)} p99 ${at(0.99)}`
  }
  await measure('putIfAbsent 64 KiB', 100, (i) => store.putIfAbsent(`k/${i}`, body))
  await measure('get range 4 KiB', 100, (i) => store.get(`k/${i}`, { offset: 4096, length: 4096 }))
  await measure('get absent', 100, () => store.get('none'))
  await measure('put 4 MiB', 10, () => store.put('big', pattern(4 << 20)))
  await measure('put 32 MiB in parts', 3, () => store.put('big', pattern(32 << 20)))
  console.log('s3 latency', JSON.stringify(report))
  await store.close()
})
