/** A store's URL → the store, with patience around it where there is a disk or a network. */
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Env } from '../../common/env.ts'
import { EngineError } from '../../common/errors.ts'
import { DirectoryObjectStore } from './directory.ts'
import type { MemoryObject } from './memory.ts'
import { MemoryObjectStore } from './memory.ts'
import type { ObjectStore } from './object-store.ts'
import type { RetryOptions } from './retry.ts'
import { RetryingObjectStore } from './retry.ts'
import type { S3Options } from './s3.ts'
import { S3ObjectStore } from './s3.ts'

export type StoreLocation =
  | { readonly kind: 'memory'; readonly name: string }
  | { readonly kind: 'directory'; readonly path: string }
  | { readonly kind: 's3'; readonly options: S3Options }

/** Named memory stores of this thread: they live as long as it does. */
const memories = new Map<string, Map<string, MemoryObject>>()

/**
 * Opens `memory://` (a new store), `memory://name` (one store per name and thread), a path or `file:` URL, or
 * `s3://bucket/prefix?endpoint=…&region=…&pathStyle=true`. Makes no request and no folder.
 * @throws STORE_URL_INVALID
 */
export async function openObjectStore(
  url: string,
  env: Env,
  retry: RetryOptions = {},
): Promise<ObjectStore> {
  const location = parseStoreUrl(url)
  switch (location.kind) {
    case 'memory':
      return openMemory(location.name, env)
    case 'directory': {
      const store = await DirectoryObjectStore.open(location.path, env)
      return new RetryingObjectStore(store, env, retry)
    }
    case 's3':
      return new RetryingObjectStore(await S3ObjectStore.open(location.options, env), env, retry)
  }
}

/** @throws STORE_URL_INVALID */
export function parseStoreUrl(url: string): StoreLocation {
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(url)?.[1]?.toLowerCase()
  if (url === '' || url.includes('\0')) throw invalid(url, 'it is empty or has a zero byte')
  switch (scheme) {
    case undefined:
      return { kind: 'directory', path: resolve(url) }
    case 'memory':
      return parseMemory(url)
    case 'file':
      return { kind: 'directory', path: parseFile(url) }
    case 's3':
      return { kind: 's3', options: parseS3(url) }
    default:
      throw invalid(url, `it begins with ${scheme}:, which no store does`)
  }
}

function openMemory(name: string, env: Env): ObjectStore {
  if (name === '') return new MemoryObjectStore(env)
  let objects = memories.get(name)
  if (objects === undefined) memories.set(name, (objects = new Map()))
  return new MemoryObjectStore(env, { objects })
}

function parseMemory(url: string): StoreLocation {
  const match = /^memory:(?:\/\/([\w.-]*)\/?)?$/i.exec(url)
  if (match === null) throw invalid(url, 'the name of a memory store is one word')
  return { kind: 'memory', name: match[1] ?? '' }
}

function parseFile(url: string): string {
  try {
    return resolve(fileURLToPath(url))
  } catch (error) {
    throw invalid(url, error instanceof Error ? error.message : String(error))
  }
}

const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/i
const PREFIX = /^(?:[\w=+@,-][\w=+@,.-]*\/)*[\w=+@,-][\w=+@,.-]*$/
const PARAMETERS = ['endpoint', 'region', 'pathStyle']

function parseS3(url: string): S3Options {
  if (!URL.canParse(url)) throw invalid(url, 'it is not a URL')
  const { hostname, port, pathname, searchParams, username, password, hash } = new URL(url)
  refuseCredentials(url, username, password, searchParams)
  const unknown = [...searchParams.keys()].find((name) => !PARAMETERS.includes(name))
  if (unknown !== undefined) throw invalid(url, `the parameter ${unknown} is unknown`)
  if (port !== '' || hash !== '') throw invalid(url, 'a bucket has neither a port nor a fragment')
  const bucket = decodeURIComponent(hostname)
  if (!BUCKET.test(bucket)) throw invalid(url, 'the name of the bucket is no such name')
  // A URL's own reading of dots would quietly name another folder.
  if (/\/\.\.?(?:[/?#]|$)/.test(url)) throw invalid(url, 'a prefix has no . or .. in it')
  const prefix = pathname.replace(/^\/+|\/+$/g, '')
  if (prefix !== '' && !PREFIX.test(prefix)) {
    throw invalid(url, 'a prefix is made of letters, digits and _-=+@,. between slashes')
  }
  const endpoint = parseEndpoint(url, searchParams.get('endpoint'))
  const region = searchParams.get('region') ?? defaultRegion(endpoint)
  const pathStyle = parseFlag(url, searchParams.get('pathStyle'))
  return {
    bucket,
    prefix,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined ? {} : { region }),
    ...(pathStyle === undefined ? {} : { pathStyle }),
  }
}

/** URLs stand in logs, process lists and shell histories. */
function refuseCredentials(
  url: string,
  username: string,
  password: string,
  parameters: URLSearchParams,
): void {
  const secret = [...parameters.keys()].find((name) => /key|secret|token|password/i.test(name))
  if (username === '' && password === '' && secret === undefined) return
  throw invalid(url, 'credentials never stand in a URL: set AWS_ACCESS_KEY_ID and the like')
}

function parseEndpoint(url: string, given: string | null): string | undefined {
  const text = given ?? process.env['AWS_ENDPOINT_URL_S3'] ?? process.env['AWS_ENDPOINT_URL']
  if (text === undefined || text === '') return undefined
  if (!URL.canParse(text)) throw invalid(url, 'the endpoint is not a URL')
  const { protocol, username, password } = new URL(text)
  if (username !== '' || password !== '') refuseCredentials(url, username, password, NO_PARAMETERS)
  if (protocol !== 'http:' && protocol !== 'https:') {
    throw invalid(url, 'the endpoint must begin with http:// or https://')
  }
  return text
}

const NO_PARAMETERS = new URLSearchParams()

/** Servers other than AWS take any region, but a signature names one. */
function defaultRegion(endpoint: string | undefined): string | undefined {
  const named = process.env['AWS_REGION'] ?? process.env['AWS_DEFAULT_REGION']
  return named ?? (endpoint === undefined ? undefined : 'us-east-1')
}

function parseFlag(url: string, given: string | null): boolean | undefined {
  if (given === null) return undefined
  if (given !== 'true' && given !== 'false') throw invalid(url, 'pathStyle is true or false')
  return given === 'true'
}

function invalid(url: string, reason: string): EngineError {
  const shown = withoutSecrets(url)
  return new EngineError(
    'STORE_URL_INVALID',
    `${shown} is not the URL of a store: ${reason}. A store is memory://, a folder, or s3://bucket/prefix`,
    { context: { url: shown } },
  )
}

/** Cuts what may be a secret: everything before an @, and all values of parameters. */
function withoutSecrets(url: string): string {
  return url.replace(/\/\/[^/]*@/, '//***@').replace(/=[^&#]*/g, '=…')
}
