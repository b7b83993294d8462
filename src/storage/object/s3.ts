/**
 * The object store over S3, or a server that speaks its protocol, through `@aws-sdk/client-s3`. The client
 * makes one attempt only: an attempt of its own behind our back would see our object and report it as
 * somebody else's. `RetryingObjectStore` has the loop. Creates are single PUTs with `If-None-Match: *`:
 * 412 is the only answer that means `exists`. Objects above 8 MiB are uploaded in parts, without conditions,
 * which some servers ignore there.
 */
import { Readable } from 'node:stream'
import type { GetObjectCommandOutput } from '@aws-sdk/client-s3'
import { assert } from '../../common/assert.ts'
import type { Env } from '../../common/env.ts'
import type {
  ByteRange,
  CreateResult,
  ObjectInfo,
  ObjectStore,
  RequestCounts,
} from './object-store.ts'
import type { Page } from './pages.ts'
import { PAGE_KEYS, pages } from './pages.ts'
import type { S3Place } from './s3-errors.ts'
import { describeFailure, explainS3 } from './s3-errors.ts'
import type { StoreOperation } from './store-error.ts'
import {
  checkKey,
  checkPrefix,
  checkRange,
  noRequests,
  rangeBeyondEnd,
  storeError,
} from './store-error.ts'

type Sdk = typeof import('@aws-sdk/client-s3')
type Client = InstanceType<Sdk['S3Client']>

export interface S3Options {
  readonly bucket: string
  /** Without slashes at its ends; empty for the whole bucket. */
  readonly prefix: string
  /** Default: the client's own order (AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, profile, AWS). */
  readonly endpoint?: string
  /** Default: AWS_REGION, profile. */
  readonly region?: string
  /** `endpoint/bucket/key` instead of `bucket.endpoint/key`. Default: true with an endpoint in the URL. */
  readonly pathStyle?: boolean
  /** Size of parts, and of the largest object that is sent whole. Default and least on AWS: 8 MiB, 5 MiB. */
  readonly partBytes?: number
  /** Keys per page of a listing. */
  readonly pageKeys?: number
  /** Longest wait for a connection, ms. */
  readonly connectMs?: number
  /** Time of an attempt without its bytes, ms; each MiB adds a second. */
  readonly attemptMs?: number
}

const PART_BYTES = 8 * 1024 * 1024
/** Parts of one object under way at once. */
const PART_CONCURRENCY = 4
const CONNECT_MS = 5000
const ATTEMPT_MS = 15_000
const MEBIBYTE = 1024 * 1024
const SOCKETS_MAX = 64

export class S3ObjectStore implements ObjectStore {
  readonly requests: RequestCounts = noRequests()
  private readonly sdk: Sdk
  private readonly client: Client
  private readonly env: Env
  private readonly place: S3Place
  private readonly bucket: string
  /** Empty, or ends with a slash. */
  private readonly root: string
  private readonly partBytes: number
  private readonly pageKeys: number
  private readonly attemptMs: number

  private constructor(sdk: Sdk, client: Client, env: Env, options: S3Options, place: S3Place) {
    this.sdk = sdk
    this.client = client
    this.env = env
    this.place = place
    this.bucket = options.bucket
    this.root = options.prefix === '' ? '' : `${options.prefix}/`
    this.partBytes = options.partBytes ?? PART_BYTES
    this.pageKeys = options.pageKeys ?? PAGE_KEYS
    this.attemptMs = options.attemptMs ?? ATTEMPT_MS
  }

  /** Loads the client, which takes a while: only users of S3 pay for it. Makes no request. */
  static async open(options: S3Options, env: Env): Promise<S3ObjectStore> {
    const sdk = await import('@aws-sdk/client-s3')
    const client = makeClient(sdk, options)
    const endpoint = options.endpoint ?? 'default endpoint'
    const path = options.prefix === '' ? options.bucket : `${options.bucket}/${options.prefix}`
    const place = { store: `s3://${path} (${endpoint})`, endpoint, bucket: options.bucket }
    return new S3ObjectStore(sdk, client, env, options, place)
  }

  async put(key: string, body: Uint8Array): Promise<void> {
    checkKey(key)
    if (body.length > this.partBytes) return this.putParts(key, body)
    this.requests.put++
    const command = new this.sdk.PutObjectCommand({ ...this.at(key), Body: body })
    await this.send('put', key, body.length, (options) => this.client.send(command, options))
  }

  async putIfAbsent(key: string, body: Uint8Array): Promise<CreateResult> {
    checkKey(key)
    this.requests.put++
    const input = { ...this.at(key), Body: body, IfNoneMatch: '*' }
    const command = new this.sdk.PutObjectCommand(input)
    try {
      await this.attempt(body.length, (options) => this.client.send(command, options))
      return 'created'
    } catch (error) {
      if (describeFailure(error).status === 412) return 'exists'
      throw explainS3(this.place, 'put-if-absent', key, error)
    }
  }

  async get(key: string, range?: ByteRange): Promise<Uint8Array | null> {
    checkKey(key)
    if (range !== undefined) checkRange(range)
    this.requests.get++
    const input = range === undefined ? {} : { Range: byteRange(range) }
    const command = new this.sdk.GetObjectCommand({ ...this.at(key), ...input })
    try {
      return await this.attempt(range?.length ?? PART_BYTES, async (options) => {
        const answer = await this.client.send(command, options)
        return this.readBody(key, range, answer, options.abortSignal)
      })
    } catch (error) {
      const { name, status } = describeFailure(error)
      if (status === 404 && name !== 'NoSuchBucket') return null
      if (status === 416 && range !== undefined) {
        throw rangeBeyondEnd(this.place.store, key, range, undefined)
      }
      throw explainS3(this.place, 'get', key, error)
    }
  }

  /** A bucket that is not there looks like an object that is not: the protocol has no body here. */
  async head(key: string): Promise<ObjectInfo | null> {
    checkKey(key)
    this.requests.get++
    const command = new this.sdk.HeadObjectCommand(this.at(key))
    try {
      const answer = await this.attempt(0, (options) => this.client.send(command, options))
      const { ContentLength, LastModified } = answer
      return { key, sizeBytes: ContentLength ?? 0, modifiedMs: LastModified?.getTime() ?? 0 }
    } catch (error) {
      if (describeFailure(error).status === 404) return null
      throw explainS3(this.place, 'head', key, error)
    }
  }

  list(prefix: string, startAfter?: string): AsyncIterableIterator<Page> {
    checkPrefix(prefix)
    let token: string | undefined
    let ended = false
    const next = async (): Promise<Page | null> => {
      if (ended) return null
      this.requests.list++
      const command = new this.sdk.ListObjectsV2Command({
        Bucket: this.bucket,
        Prefix: this.root + prefix,
        MaxKeys: this.pageKeys,
        ...(token === undefined ? {} : { ContinuationToken: token }),
        ...(startAfter === undefined ? {} : { StartAfter: this.root + startAfter }),
      })
      const answer = await this.send('list', prefix, MEBIBYTE, (options) =>
        this.client.send(command, options),
      )
      token = answer.NextContinuationToken
      ended = token === undefined
      const page = (answer.Contents ?? []).flatMap((object) => this.infoOf(object))
      // A page may be empty and not the last.
      return page.length > 0 ? page : next()
    }
    return pages(next)
  }

  async delete(keys: readonly string[]): Promise<void> {
    for (const key of keys) checkKey(key)
    for (let at = 0; at < keys.length; at += PAGE_KEYS) {
      await this.deletePage(keys.slice(at, at + PAGE_KEYS))
    }
  }

  async close(): Promise<void> {
    this.client.destroy()
  }

  private at(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.bucket, Key: this.root + key }
  }

  /** Objects whose names cannot be ours, such as `folder/` markers of consoles, are not listed. */
  private infoOf(object: {
    Key?: string | undefined
    Size?: number | undefined
    LastModified?: Date | undefined
  }): ObjectInfo[] {
    const key = object.Key?.slice(this.root.length) ?? ''
    if (key === '' || key.endsWith('/')) return []
    return [{ key, sizeBytes: object.Size ?? 0, modifiedMs: object.LastModified?.getTime() ?? 0 }]
  }

  private async deletePage(keys: readonly string[]): Promise<void> {
    this.requests.delete++
    const command = new this.sdk.DeleteObjectsCommand({
      Bucket: this.bucket,
      Delete: { Objects: keys.map((key) => ({ Key: this.root + key })), Quiet: true },
    })
    const answer = await this.send('delete', keys[0], 0, (options) =>
      this.client.send(command, options),
    )
    const failed = answer.Errors?.find((error) => error.Code !== 'NoSuchKey')
    if (failed === undefined) return
    const key = failed.Key?.slice(this.root.length) ?? ''
    const { Code: code = 'unknown', Message: message = '' } = failed
    throw explainS3(this.place, 'delete', key, Object.assign(new Error(message), { code }))
  }

  private async putParts(key: string, body: Uint8Array): Promise<void> {
    this.requests.put++
    const create = new this.sdk.CreateMultipartUploadCommand(this.at(key))
    const { UploadId } = await this.send('put', key, 0, (options) =>
      this.client.send(create, options),
    )
    assert(UploadId !== undefined, 'an upload has an id')
    const upload = { ...this.at(key), UploadId }
    try {
      const Parts = await this.sendParts(key, upload, body)
      this.requests.put++
      const complete = new this.sdk.CompleteMultipartUploadCommand({
        ...upload,
        MultipartUpload: { Parts },
      })
      await this.send('put', key, 0, (options) => this.client.send(complete, options))
    } catch (error) {
      await this.abortUpload(key, upload, error)
      throw error
    }
  }

  /** All parts under way have ended when this returns or throws: none reads `body` later, none lands later. */
  private async sendParts(
    key: string,
    upload: { Bucket: string; Key: string; UploadId: string },
    body: Uint8Array,
  ): Promise<{ PartNumber: number; ETag: string }[]> {
    const count = Math.ceil(body.length / this.partBytes)
    const parts: { PartNumber: number; ETag: string }[] = new Array(count)
    let next = 0
    let failed = false
    const sendSome = async () => {
      while (next < count && !failed) {
        const at = next++
        const part = body.subarray(at * this.partBytes, (at + 1) * this.partBytes)
        this.requests.put++
        const input = { ...upload, PartNumber: at + 1, Body: part }
        try {
          const command = new this.sdk.UploadPartCommand(input)
          const { ETag = '' } = await this.send('put', key, part.length, (options) =>
            this.client.send(command, options),
          )
          parts[at] = { PartNumber: at + 1, ETag }
        } catch (error) {
          failed = true
          throw error
        }
      }
    }
    const senders = Array.from({ length: Math.min(PART_CONCURRENCY, count) }, sendSome)
    const failure = (await Promise.allSettled(senders)).find((end) => end.status === 'rejected')
    if (failure !== undefined) throw failure.reason
    return parts
  }

  /** Parts cost money until their upload is ended. If that fails too, the bucket's lifecycle rule must. */
  private async abortUpload(
    key: string,
    upload: { Bucket: string; Key: string; UploadId: string },
    reason: unknown,
  ): Promise<void> {
    this.requests.put++
    try {
      const command = new this.sdk.AbortMultipartUploadCommand(upload)
      await this.send('put', key, 0, (options) => this.client.send(command, options))
    } catch (error) {
      const failure = explainS3(this.place, 'put', key, reason)
      throw storeError('STORE_UNAVAILABLE', {
        operation: 'put',
        store: this.place.store,
        key,
        reason: `${failure.message}; and its parts could not be removed`,
        hint: 'A lifecycle rule of the bucket (AbortIncompleteMultipartUpload) removes them.',
        context: { uploadId: upload.UploadId },
        cause: error,
      })
    }
  }

  private async send<T>(
    operation: StoreOperation,
    key: string,
    byteCount: number,
    run: (options: AttemptOptions) => Promise<T>,
  ): Promise<T> {
    try {
      return await this.attempt(byteCount, run)
    } catch (error) {
      throw explainS3(this.place, operation, key, error)
    }
  }

  /** One request, ended (its socket closed) when its time is up: none of its bytes is sent later. */
  private async attempt<T>(
    byteCount: number,
    run: (options: AttemptOptions) => Promise<T>,
  ): Promise<T> {
    const controller = new AbortController()
    const limitMs = this.attemptMs + (byteCount / MEBIBYTE) * 1000
    const timer = this.env.setTimer(limitMs, () => controller.abort())
    try {
      return await run({ abortSignal: controller.signal })
    } finally {
      timer.cancel()
    }
  }

  private async readBody(
    key: string,
    range: ByteRange | undefined,
    answer: GetObjectCommandOutput,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    const stream = answer.Body
    assert(stream instanceof Readable, 'a body is a stream of this platform')
    if (range !== undefined) this.checkAnsweredRange(key, range, answer, stream)
    const expected = range?.length ?? answer.ContentLength
    assert(expected !== undefined, 'an object has a length')
    const body = new Uint8Array(expected)
    let length = 0
    const end = () => stream.destroy(this.bodyError('STORE_TIMEOUT', key, 'the body did not end'))
    signal.addEventListener('abort', end, { once: true })
    for await (const chunk of stream) {
      if (chunk.length <= expected - length) body.set(chunk, length)
      length += chunk.length
    }
    if (length === expected) return body
    const reason = `${length} bytes came instead of ${expected}`
    throw this.bodyError('STORE_UNAVAILABLE', key, reason)
  }

  private checkAnsweredRange(
    key: string,
    range: ByteRange,
    answer: GetObjectCommandOutput,
    stream: Readable,
  ): void {
    const { offset, length } = range
    const match = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(answer.ContentRange ?? '')
    if (match !== null && Number(match[1]) === offset && Number(match[2]) === offset + length - 1) {
      return
    }
    stream.destroy()
    if (match !== null && offset + length > Number(match[3])) {
      throw rangeBeyondEnd(this.place.store, key, range, Number(match[3]))
    }
    throw this.bodyError(
      'STORE_UNAVAILABLE',
      key,
      `the range ${answer.ContentRange ?? 'none'} came instead of ${byteRange(range)}`,
    )
  }

  private bodyError(code: 'STORE_TIMEOUT' | 'STORE_UNAVAILABLE', key: string, reason: string) {
    const { store, endpoint, bucket } = this.place
    return storeError(code, { operation: 'get', store, key, reason, context: { endpoint, bucket } })
  }
}

interface AttemptOptions {
  readonly abortSignal: AbortSignal
}

function byteRange(range: ByteRange): string {
  return `bytes=${range.offset}-${range.offset + range.length - 1}`
}

function makeClient(sdk: Sdk, options: S3Options): Client {
  const agent = { keepAlive: true, maxSockets: SOCKETS_MAX }
  const { endpoint, region } = options
  const silent = () => {}
  return quietly(
    () =>
      new sdk.S3Client({
        maxAttempts: 1,
        requestChecksumCalculation: 'WHEN_REQUIRED',
        responseChecksumValidation: 'WHEN_REQUIRED',
        forcePathStyle: options.pathStyle ?? endpoint !== undefined,
        ...(endpoint === undefined ? {} : { endpoint }),
        ...(region === undefined ? {} : { region }),
        logger: { trace: silent, debug: silent, info: silent, warn: silent, error: silent },
        requestHandler: {
          connectionTimeout: options.connectMs ?? CONNECT_MS,
          httpAgent: agent,
          httpsAgent: agent,
        },
      }),
  )
}

const NO_VERSION_WARNING = 'AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'

/** The client warns of Node's version when it is made. A library prints nothing unasked. */
function quietly<T>(make: () => T): T {
  const before = process.env[NO_VERSION_WARNING]
  process.env[NO_VERSION_WARNING] = 'true'
  try {
    return make()
  } finally {
    if (before === undefined) delete process.env[NO_VERSION_WARNING]
    else process.env[NO_VERSION_WARNING] = before
  }
}
