/** The real S3 server of this run, and a bucket on it. */
import {
  CreateBucketCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  S3Client,
} from '@aws-sdk/client-s3'

function endpointOfRun(): string {
  const endpoint = process.env['TUSSOCK_TEST_S3_ENDPOINT']
  if (endpoint === undefined) throw new TypeError('run these tests by scripts/test-s3.mjs')
  return endpoint
}

export const endpoint = endpointOfRun()

/** `s3://bucket/prefix` on the server. */
export function storeUrl(bucket: string, prefix: string): string {
  return `s3://${bucket}/${prefix}?endpoint=${encodeURIComponent(endpoint)}&pathStyle=true`
}

/** Only for the client of this file: the engine's must keep quiet by itself. */
const QUIET = 'AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'

async function withClient<T>(use: (client: S3Client) => Promise<T>): Promise<T> {
  process.env[QUIET] = 'true'
  const client = new S3Client({ endpoint, forcePathStyle: true, region: 'us-east-1' })
  delete process.env[QUIET]
  try {
    return await use(client)
  } finally {
    client.destroy()
  }
}

export async function createBucket(name: string): Promise<void> {
  await withClient((client) => client.send(new CreateBucketCommand({ Bucket: name })))
}

/** Keys of uploads in parts that were neither completed nor aborted. */
export async function pendingUploads(bucket: string): Promise<string[]> {
  const command = new ListMultipartUploadsCommand({ Bucket: bucket })
  const { Uploads = [] } = await withClient((client) => client.send(command))
  return Uploads.map((upload) => upload.Key ?? '')
}

/** Up to 1,000 of them. */
export async function objectKeys(bucket: string, prefix: string): Promise<string[]> {
  const command = new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix })
  const { Contents = [] } = await withClient((client) => client.send(command))
  return Contents.map((object) => object.Key ?? '')
}
