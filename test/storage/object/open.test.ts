import { resolve } from 'node:path'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { EngineError } from '../../../src/common/errors.ts'
import { openObjectStore, parseStoreUrl } from '../../../src/storage/object/open.ts'
import { VirtualEnv } from '../../common/virtual-env.ts'

afterEach(() => vi.unstubAllEnvs())

function refusal(url: string): EngineError {
  try {
    parseStoreUrl(url)
  } catch (error) {
    if (error instanceof EngineError) return error
    throw error
  }
  throw new TypeError(`${url} was taken`)
}

describe('URLs of stores', () => {
  test.each([
    ['memory://', { kind: 'memory', name: '' }],
    ['memory:', { kind: 'memory', name: '' }],
    ['memory://shop', { kind: 'memory', name: 'shop' }],
    ['./data', { kind: 'directory', path: resolve('data') }],
    ['/var/data/', { kind: 'directory', path: '/var/data' }],
    ['data with space', { kind: 'directory', path: resolve('data with space') }],
    ['file:///var/my%20data', { kind: 'directory', path: '/var/my data' }],
  ])('%s', (url, expected) => {
    expect(parseStoreUrl(url)).toEqual(expected)
  })

  test('s3, with all it may have', () => {
    vi.stubEnv('AWS_REGION', undefined)
    vi.stubEnv('AWS_DEFAULT_REGION', undefined)
    vi.stubEnv('AWS_ENDPOINT_URL', undefined)
    vi.stubEnv('AWS_ENDPOINT_URL_S3', undefined)
    const options = (url: string) => {
      const location = parseStoreUrl(url)
      return location.kind === 's3' ? location.options : null
    }
    expect(options('s3://shop')).toEqual({ bucket: 'shop', prefix: '' })
    expect(options('s3://shop/a/b/')).toEqual({ bucket: 'shop', prefix: 'a/b' })
    const rest = 'endpoint=http://127.0.0.1:9000&region=eu-west-1&pathStyle=false'
    expect(options(`s3://my-shop/db?${rest}`)).toEqual({
      bucket: 'my-shop',
      prefix: 'db',
      endpoint: 'http://127.0.0.1:9000',
      region: 'eu-west-1',
      pathStyle: false,
    })
    vi.stubEnv('AWS_ENDPOINT_URL', 'http://general:1')
    vi.stubEnv('AWS_ENDPOINT_URL_S3', 'http://s3:1')
    expect(options('s3://shop')).toMatchObject({ endpoint: 'http://s3:1', region: 'us-east-1' })
    vi.stubEnv('AWS_REGION', 'eu-north-1')
    expect(options('s3://shop')?.region).toBe('eu-north-1')
  })

  test.each([
    '',
    'http://bucket/x',
    'gs://bucket',
    'memory://a/b',
    's3://',
    's3://a',
    's3://Bad_Bucket!/x',
    's3://shop/../x',
    's3://shop/a//b',
    's3://shop/ä',
    's3://shop:9000/x',
    's3://shop/x?endpont=http://a',
    's3://shop/x?endpoint=nonsense',
    's3://shop/x?endpoint=ftp://a',
    's3://shop/x?pathStyle=yes',
    'file://host/x',
    'a\0b',
  ])('%j is refused', (url) => {
    expect(refusal(url).code).toBe('STORE_URL_INVALID')
  })

  test.each([
    's3://AKIA:hunter2@shop/x',
    's3://shop/x?secretAccessKey=hunter2',
    's3://shop/x?accessKeyId=a&secret=hunter2',
    's3://shop/x?endpoint=http://me:hunter2@127.0.0.1:9000',
    'http://me:hunter2@x/',
  ])('credentials are refused and not repeated: %s', (url) => {
    const error = refusal(url)
    expect(error.code).toBe('STORE_URL_INVALID')
    expect(JSON.stringify([error.message, error.context])).not.toContain('hunter2')
  })
})

describe('memory stores', () => {
  const body = new Uint8Array([1])

  test('of one name are one; without a name each is its own', async () => {
    const env = new VirtualEnv()
    const [a, b] = [
      await openObjectStore('memory://one', env),
      await openObjectStore('memory://one', env),
    ]
    await a.put('k', body)
    await a.close()
    expect(await b.get('k')).toEqual(body)
    const [c, d] = [
      await openObjectStore('memory://', env),
      await openObjectStore('memory://', env),
    ]
    await c.put('k', body)
    expect(await d.get('k')).toBeNull()
    expect(await (await openObjectStore('memory://two', env)).get('k')).toBeNull()
  })
})
