/** The S3 store against a scripted server on loopback: what each answer means. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { nodeEnv } from '../../../src/common/node-env.ts'
import { RetryingObjectStore } from '../../../src/storage/object/retry.ts'
import type { S3Options } from '../../../src/storage/object/s3.ts'
import { S3ObjectStore } from '../../../src/storage/object/s3.ts'
import { pattern } from '../../conformance/object-store.ts'

interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
}
type Answer = (response: ServerResponse, seen: Seen) => void

let server: Server
let seen: Seen[] = []
/** Each answers one request; the last one goes on. */
let script: Answer[] = []
let store: S3ObjectStore

const status =
  (code: number, name?: string): Answer =>
  (response) => {
    response.writeHead(code, { 'content-type': 'application/xml' })
    const xml = `<?xml version="1.0"?><Error><Code>${name}</Code><Message>m</Message></Error>`
    response.end(name === undefined ? undefined : xml)
  }
const ok: Answer = (response) => response.writeHead(200, { etag: '"e"' }).end()
const reset: Answer = (response) => response.socket?.destroy()
const silence: Answer = () => {}
const body =
  (bytes: Uint8Array, headers: Record<string, string | number> = {}): Answer =>
  (response) => {
    response.writeHead('content-range' in headers ? 206 : 200, {
      'content-length': bytes.length,
      ...headers,
    })
    response.end(bytes)
  }

async function read(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part)
  return Buffer.concat(parts)
}

function open(options: Partial<S3Options> = {}): Promise<S3ObjectStore> {
  const { port } = server.address() as AddressInfo
  const endpoint = `http://127.0.0.1:${port}`
  return S3ObjectStore.open(
    { bucket: 'shop', prefix: 'db', endpoint, region: 'us-east-1', ...options },
    nodeEnv(),
  )
}

async function failure(promise: Promise<unknown>) {
  const error = await promise.then(
    () => null,
    (reason) => reason,
  )
  expect(error).not.toBeNull()
  return error
}

beforeEach(async () => {
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'test')
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'secret')
  seen = []
  script = [ok]
  server = createServer(async (request, response) => {
    const { method = '', url = '', headers } = request
    const answer = script.length > 1 ? script.shift() : script[0]
    const entry = { method, url, headers, body: await read(request) }
    seen.push(entry)
    answer?.(response, entry)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  store = await open()
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await store.close()
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})

describe('what an answer to a create means', () => {
  test('200 is created; the request is conditional, whole and under the prefix', async () => {
    const slab = new Uint8Array(new SharedArrayBuffer(300)).fill(7)
    expect(await store.putIfAbsent('log/1', slab.subarray(100, 200))).toBe('created')
    expect(seen[0].method).toBe('PUT')
    expect(seen[0].url.split('?')[0]).toBe('/shop/db/log/1')
    expect(seen[0].headers['if-none-match']).toBe('*')
    expect(seen[0].headers['content-length']).toBe('100')
    expect(seen[0].body).toEqual(Buffer.alloc(100, 7))
  })

  test('412 is exists', async () => {
    script = [status(412, 'PreconditionFailed')]
    expect(await store.putIfAbsent('log/1', pattern(1))).toBe('exists')
  })

  test('fault 6: 409 is no answer, and is tried again', async () => {
    script = [status(409, 'ConditionalRequestConflict')]
    expect(await failure(store.putIfAbsent('a', pattern(1)))).toMatchObject({
      code: 'STORE_UNAVAILABLE',
      context: { status: 409 },
    })
    script = [status(409, 'ConditionalRequestConflict'), status(409, 'OperationAborted'), ok]
    const patient = new RetryingObjectStore(store, nodeEnv(), { firstDelayMs: 1 })
    expect(await patient.putIfAbsent('a', pattern(1))).toBe('created')
  })

  test('the client makes one attempt', async () => {
    for (const answer of [status(500, 'InternalError'), status(503, 'SlowDown'), reset]) {
      script = [answer]
      seen = []
      await failure(store.putIfAbsent('a', pattern(1)))
      expect(seen.length).toBe(1)
    }
  })
})

describe('what goes wrong has a code', () => {
  test.each([
    [503, 'SlowDown', 'STORE_THROTTLED'],
    [503, 'ServiceUnavailable', 'STORE_THROTTLED'],
    [429, 'TooManyRequests', 'STORE_THROTTLED'],
    [500, 'InternalError', 'STORE_UNAVAILABLE'],
    [409, 'BucketBusy', 'STORE_UNAVAILABLE'],
    [400, 'RequestTimeout', 'STORE_TIMEOUT'],
    [400, 'ExpiredToken', 'STORE_UNAVAILABLE'],
    [403, 'AccessDenied', 'STORE_ACCESS_DENIED'],
    [403, 'InvalidAccessKeyId', 'STORE_ACCESS_DENIED'],
    [403, 'SignatureDoesNotMatch', 'STORE_ACCESS_DENIED'],
    [404, 'NoSuchBucket', 'STORE_BUCKET_MISSING'],
    [301, 'PermanentRedirect', 'STORE_URL_INVALID'],
    [501, 'NotImplemented', 'STORE_URL_INVALID'],
    [400, 'Unheard', 'INTERNAL'],
  ])('%i %s is %s, for every operation', async (code, name, expected) => {
    script = [status(code, name)]
    const { port } = server.address() as AddressInfo
    const context = { key: 'a', bucket: 'shop', endpoint: `http://127.0.0.1:${port}` }
    const operations = [
      () => store.put('a', pattern(1)),
      () => store.putIfAbsent('a', pattern(1)),
      () => store.get('a'),
      () => store.get('a', { offset: 0, length: 5 }),
      () => store.list('a').next(),
      () => store.delete(['a']),
    ]
    for (const operation of operations) {
      const error = await failure(operation())
      expect(error).toMatchObject({ code: expected, context })
      expect(error.message).toContain('s3://shop/db')
      expect(error.message).toContain(name)
      expect(error.message).not.toContain('secret')
    }
  })

  test('a reset connection and a server that is not there', async () => {
    script = [reset]
    expect(await failure(store.get('a'))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
    const away = await open({ endpoint: 'http://127.0.0.1:1' })
    const error = await failure(away.get('a'))
    expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', context: { name: 'ECONNREFUSED' } })
    expect(error.message).toContain('Check the endpoint')
    await away.close()
  })

  test('a server that never answers is a timeout, and its connection is closed', async () => {
    script = [silence]
    const hasty = await open({ attemptMs: 50 })
    const closed = new Promise<void>((resolve) =>
      server.once('connection', (socket) => socket.once('close', () => resolve())),
    )
    const error = await failure(hasty.putIfAbsent('a', pattern(10)))
    expect(error).toMatchObject({ code: 'STORE_TIMEOUT', context: { key: 'a' } })
    await closed
    await hasty.close()
  })

  test('no credentials at all', async () => {
    vi.unstubAllEnvs()
    vi.stubEnv('AWS_ACCESS_KEY_ID', undefined)
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', undefined)
    vi.stubEnv('AWS_PROFILE', 'none-such')
    vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true')
    const stranger = await open()
    expect(await failure(stranger.get('a'))).toMatchObject({ code: 'STORE_ACCESS_DENIED' })
    await stranger.close()
  })
})

describe('bodies', () => {
  test('404 is null', async () => {
    script = [status(404, 'NoSuchKey')]
    expect(await store.get('a')).toBeNull()
    expect(await store.get('a', { offset: 5, length: 5 })).toBeNull()
    expect(await store.head('a')).toBeNull()
  })

  test('a range is asked for and given', async () => {
    script = [body(pattern(5), { 'content-range': 'bytes 10-14/100' })]
    expect(await store.get('a', { offset: 10, length: 5 })).toEqual(pattern(5))
    expect(seen[0].headers.range).toBe('bytes=10-14')
  })

  test('fault 23: a body that ends early is no body', async () => {
    script = [
      (response) => {
        response.writeHead(200, { 'content-length': 1000 })
        response.write(pattern(500), () => response.socket?.destroy())
      },
    ]
    expect(await failure(store.get('a'))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
  })

  test('fault 23: a body of another length than the range is no body', async () => {
    script = [body(pattern(4), { 'content-range': 'bytes 10-14/100' })]
    expect(await failure(store.get('a', { offset: 10, length: 5 }))).toMatchObject({
      code: 'STORE_UNAVAILABLE',
    })
    script = [body(pattern(6), { 'content-range': 'bytes 10-14/100' })]
    expect(await failure(store.get('a', { offset: 10, length: 5 }))).toMatchObject({
      code: 'STORE_UNAVAILABLE',
    })
  })

  test('another range, or the whole object, is not what was asked for', async () => {
    script = [body(pattern(5), { 'content-range': 'bytes 0-4/100' })]
    const range = { offset: 10, length: 5 }
    expect(await failure(store.get('a', range))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
    script = [body(pattern(5))]
    expect(await failure(store.get('a', range))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
  })

  test('a range beyond the end is corruption', async () => {
    script = [body(pattern(3), { 'content-range': 'bytes 10-12/13' })]
    const range = { offset: 10, length: 5 }
    expect(await failure(store.get('a', range))).toMatchObject({
      code: 'CORRUPTION',
      context: { key: 'a', sizeBytes: 13 },
    })
    script = [status(416, 'InvalidRange')]
    expect(await failure(store.get('a', range))).toMatchObject({ code: 'CORRUPTION' })
  })

  test('a body that stalls is a timeout', async () => {
    script = [
      (response) => {
        response.writeHead(206, { 'content-length': 5, 'content-range': 'bytes 10-14/100' })
        response.write(pattern(2))
      },
    ]
    const hasty = await open({ attemptMs: 100 })
    expect(await failure(hasty.get('a', { offset: 10, length: 5 }))).toMatchObject({
      code: 'STORE_TIMEOUT',
    })
    await hasty.close()
  })
})

describe('uploads in parts', () => {
  const MEBIBYTE = 1024 * 1024
  const parts =
    (answer: Answer): Answer =>
    (response, request) => {
      const xml = (text: string) => response.writeHead(200, { etag: '"e"' }).end(text)
      if (request.method === 'POST' && request.url.includes('uploads')) {
        xml(
          '<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>',
        )
      } else if (request.method === 'PUT') answer(response, request)
      else if (request.method === 'DELETE') response.writeHead(204).end()
      else xml('<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>')
    }

  test('parts hold all bytes in order', async () => {
    script = [parts(ok)]
    const small = await open({ partBytes: MEBIBYTE })
    const large = pattern(3 * MEBIBYTE + 17)
    await small.put('a', large)
    const number = (request: Seen) => Number(/partNumber=(\d+)/.exec(request.url)?.[1])
    const sent = seen
      .filter((request) => request.method === 'PUT')
      .sort((a, b) => number(a) - number(b))
    expect(sent.map(number)).toEqual([1, 2, 3, 4])
    expect(Buffer.compare(Buffer.concat(sent.map((part) => part.body)), large)).toBe(0)
    expect(seen.at(-1)?.body.toString()).toMatch(/PartNumber>4</)
    expect(small.requests.put).toBe(6)
    await small.close()
  })

  test('a part that fails ends the upload: aborted, after all parts have ended', async () => {
    let answered = 0
    script = [
      parts((response, request) => {
        if (request.url.includes('partNumber=2')) status(503, 'SlowDown')(response, request)
        else {
          setImmediate(() => {
            answered++
            ok(response, request)
          })
        }
      }),
    ]
    const small = await open({ partBytes: MEBIBYTE })
    expect(await failure(small.put('a', pattern(20 * MEBIBYTE)))).toMatchObject({
      code: 'STORE_THROTTLED',
    })
    const last = seen.at(-1)
    expect(last?.method).toBe('DELETE')
    expect(last?.url).toContain('uploadId=u1')
    const sent = seen.filter((request) => request.method === 'PUT').length
    expect(sent).toBeLessThan(20)
    expect(answered).toBe(sent - 1)
    await small.close()
  })

  test('an abort that fails is said, with the upload’s id', async () => {
    script = [
      (response, request) =>
        request.method === 'DELETE'
          ? status(500, 'InternalError')(response, request)
          : parts(status(500, 'InternalError'))(response, request),
    ]
    const small = await open({ partBytes: MEBIBYTE })
    const error = await failure(small.put('a', pattern(2 * MEBIBYTE)))
    expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', context: { uploadId: 'u1' } })
    expect(error.message).toContain('lifecycle')
    await small.close()
  })
})

describe('listing and deleting', () => {
  test('fault 40: pages are followed by token, a failed page is asked for again', async () => {
    const page =
      (keys: string[], token: string): Answer =>
      (response) => {
        const objects = keys.map(
          (key) =>
            `<Contents><Key>db/${key}</Key><Size>5</Size>` +
            '<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>',
        )
        const more = token === '' ? '' : `<NextContinuationToken>${token}</NextContinuationToken>`
        response.end(`<ListBucketResult>${objects.join('')}${more}</ListBucketResult>`)
      }
    script = [
      page(['l/b', 'l/a'], 't1'),
      status(503, 'SlowDown'),
      page([], 't2'),
      page(['l/', 'l/c'], ''),
    ]
    const patient = new RetryingObjectStore(store, nodeEnv(), { firstDelayMs: 1 })
    const found: string[] = []
    for await (const objects of patient.list('l/', 'l/0')) {
      found.push(...objects.map((object) => object.key))
    }
    expect(found).toEqual(['l/b', 'l/a', 'l/c'])
    const tokens = seen.map((request) => /continuation-token=(\w+)/.exec(request.url)?.[1])
    expect(tokens).toEqual([undefined, 't1', 't1', 't2'])
    expect(seen[0].url).toContain('start-after=db%2Fl%2F0')
    expect(store.requests.list).toBe(4)
  })

  test('deletes go by the thousand; one that fails is named', async () => {
    script = [(response) => response.end('<DeleteResult></DeleteResult>')]
    await store.delete(Array.from({ length: 2001 }, (_, i) => `k/${i}`))
    expect(seen.map((request) => request.body.toString().split('<Key>').length - 1)).toEqual([
      1000, 1000, 1,
    ])
    const error = '<Error><Key>db/k/1</Key><Code>AccessDenied</Code><Message>no</Message></Error>'
    script = [(response) => response.end(`<DeleteResult>${error}</DeleteResult>`)]
    expect(await failure(store.delete(['k/0', 'k/1']))).toMatchObject({
      code: 'STORE_ACCESS_DENIED',
      context: { key: 'k/1' },
    })
  })
})

test('nothing is printed, and the process’s environment stays as it was', async () => {
  const warnings: unknown[] = []
  const listen = (warning: unknown) => warnings.push(warning)
  process.on('warning', listen)
  const before = { ...process.env }
  const another = await open()
  await another.put('a', pattern(1))
  await new Promise((resolve) => setImmediate(resolve))
  process.off('warning', listen)
  expect(warnings).toEqual([])
  expect({ ...process.env }).toEqual(before)
  await another.close()
})
