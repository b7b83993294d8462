/** What S3 and its client say, as the engine's errors: which failures pass, and what a user should do. */
import { EngineError } from '../../common/errors.ts'
import type { StoreErrorCode, StoreOperation } from './store-error.ts'
import { storeError } from './store-error.ts'

/** The facts of an error of the S3 client, of the sockets below it, or of anything else thrown. */
export interface S3Failure {
  /** The service's error code, or the name of the client's or the socket's error. */
  readonly name: string
  readonly status: number | undefined
  readonly requestId: string | undefined
}

export function describeFailure(error: unknown): S3Failure {
  const metadata = property(error, '$metadata')
  const status = property(metadata, 'httpStatusCode')
  const requestId = property(metadata, 'requestId')
  const name = [property(error, 'Code'), property(error, 'code'), property(error, 'name')]
  return {
    name: name.find((part) => typeof part === 'string' && part !== '')?.toString() ?? 'unknown',
    status: typeof status === 'number' ? status : undefined,
    requestId: typeof requestId === 'string' ? requestId : undefined,
  }
}

function property(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined
}

type Meaning = readonly [StoreErrorCode, string]

const UNREACHABLE = 'Check the endpoint, the network and the server.'
const REGION = 'Set the right region: AWS_REGION, or ?region= in the URL.'
const CREDENTIALS =
  'Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or the role) and its rights on the bucket: ' +
  's3:GetObject, s3:PutObject, s3:DeleteObject, s3:ListBucket.'
const REFRESH = 'The credentials have expired; they are read anew with the next attempt.'
const AGAIN = 'It may be tried again.'

/** By the service's or the client's own name, which says more than the status. */
const BY_NAME: Readonly<Record<string, Meaning>> = {
  NoSuchBucket: ['STORE_BUCKET_MISSING', 'Create the bucket, or correct its name in the URL.'],
  InvalidBucketName: ['STORE_URL_INVALID', 'Correct the name of the bucket in the URL.'],
  PermanentRedirect: ['STORE_URL_INVALID', REGION],
  AuthorizationHeaderMalformed: ['STORE_URL_INVALID', REGION],
  IllegalLocationConstraintException: ['STORE_URL_INVALID', REGION],
  ExpiredToken: ['STORE_UNAVAILABLE', REFRESH],
  ExpiredTokenException: ['STORE_UNAVAILABLE', REFRESH],
  TokenRefreshRequired: ['STORE_UNAVAILABLE', REFRESH],
  // The client learns the server's clock from the refusal, and signs the next attempt by it.
  RequestTimeTooSkewed: ['STORE_UNAVAILABLE', 'Set the clock of this machine.'],
  CredentialsProviderError: ['STORE_ACCESS_DENIED', CREDENTIALS],
  AccessDenied: ['STORE_ACCESS_DENIED', CREDENTIALS],
  SlowDown: ['STORE_THROTTLED', AGAIN],
  ThrottlingException: ['STORE_THROTTLED', AGAIN],
  TooManyRequests: ['STORE_THROTTLED', AGAIN],
  RequestTimeout: ['STORE_TIMEOUT', AGAIN],
  TimeoutError: ['STORE_TIMEOUT', UNREACHABLE],
  AbortError: ['STORE_TIMEOUT', UNREACHABLE],
  ETIMEDOUT: ['STORE_TIMEOUT', UNREACHABLE],
  IncompleteBody: ['STORE_UNAVAILABLE', AGAIN],
  BadDigest: ['STORE_UNAVAILABLE', AGAIN],
  XAmzContentSHA256Mismatch: ['STORE_UNAVAILABLE', AGAIN],
  // Of two writers of one name at the same moment, neither has lost yet: only 412 says so.
  ConditionalRequestConflict: ['STORE_UNAVAILABLE', AGAIN],
  OperationAborted: ['STORE_UNAVAILABLE', AGAIN],
  NoSuchUpload: ['STORE_UNAVAILABLE', AGAIN],
}

function byStatus(status: number): Meaning | undefined {
  if (status === 401 || status === 403) return ['STORE_ACCESS_DENIED', CREDENTIALS]
  if (status === 408) return ['STORE_TIMEOUT', AGAIN]
  if (status === 409) return ['STORE_UNAVAILABLE', AGAIN]
  if (status === 429 || status === 503) return ['STORE_THROTTLED', AGAIN]
  if (status === 501) {
    return ['STORE_URL_INVALID', 'The server must know conditional writes (If-None-Match).']
  }
  if (status >= 500) return ['STORE_UNAVAILABLE', AGAIN]
  if (status >= 300 && status < 400) return ['STORE_URL_INVALID', REGION]
  return undefined
}

/** Where a request went, for messages and contexts. */
export interface S3Place {
  /** `s3://bucket/prefix (endpoint)`. */
  readonly store: string
  readonly endpoint: string
  readonly bucket: string
}

export function explainS3(
  place: S3Place,
  operation: StoreOperation,
  key: string,
  error: unknown,
): EngineError {
  if (error instanceof EngineError) return error
  const { name, status, requestId } = describeFailure(error)
  const text = error instanceof Error ? error.message : String(error)
  const reason = [name, status === undefined ? '' : `(status ${status})`, text]
    .filter((part) => part !== '')
    .join(' ')
  const context = { endpoint: place.endpoint, bucket: place.bucket, name, status, requestId }
  const cause = lightCause(error)
  const failure = { operation, store: place.store, key, reason, context, cause }
  // Thrown by the client before any request, under no name of its own.
  if (text === 'Region is missing')
    return storeError('STORE_URL_INVALID', { ...failure, hint: REGION })
  const known = BY_NAME[name] ?? (status === undefined ? undefined : byStatus(status))
  if (known !== undefined) return storeError(known[0], { ...failure, hint: known[1] })
  // Without an answer: names that do not resolve, refused and reset connections, TLS.
  if (status === undefined) {
    return storeError('STORE_UNAVAILABLE', { ...failure, hint: UNREACHABLE })
  }
  return new EngineError('INTERNAL', `${operation} ${key} at ${place.store}: ${reason}`, {
    context: { operation, store: place.store, key, ...context },
    cause,
  })
}

/** The client's errors hold the whole request, its signature among it: too much, and not for logs. */
function lightCause(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const cause = new Error(error.message)
  cause.name = error.name
  if (error.stack !== undefined) cause.stack = error.stack
  return cause
}
