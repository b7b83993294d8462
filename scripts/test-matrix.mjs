// Nexmark over 1M events: every query x input x parallelism x store must give the known answer.
// usage: node scripts/test-matrix.mjs [--stores directory,memory,s3] [--parallelism 1,2,4] [--inputs replay,rows,generate]
// For s3 the server's endpoint is taken from TUSSOCK_TEST_S3_ENDPOINT and the credentials from the AWS environment.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { setUp } from './set-up.mjs'

setUp()
const main = fileURLToPath(new URL('../dist/src/cli/main.js', import.meta.url))
const list = (text) => text.split(',').filter((word) => word !== '')
const { values } = parseArgs({
  options: {
    stores: { type: 'string', default: 'directory,memory' },
    parallelism: { type: 'string', default: '1,2,4' },
    inputs: { type: 'string', default: 'replay,rows,generate' },
    queries: { type: 'string', default: 'q3,q4,q5w' },
  },
})

async function makeBucket(endpoint) {
  const { CreateBucketCommand, S3Client } = await import('@aws-sdk/client-s3')
  const client = new S3Client({ endpoint, forcePathStyle: true, region: 'us-east-1' })
  const Bucket = `matrix-${process.pid}`
  await client.send(new CreateBucketCommand({ Bucket }))
  client.destroy()
  return Bucket
}

const endpoint = process.env.TUSSOCK_TEST_S3_ENDPOINT
const bucket = list(values.stores).includes('s3') ? await makeBucket(endpoint) : null
let runs = 0
let wrong = 0
const started = performance.now()
for (const store of list(values.stores)) {
  for (const query of list(values.queries)) {
    for (const input of list(values.inputs)) {
      for (const parallelism of list(values.parallelism)) {
        const folder = store === 'directory' ? mkdtempSync(join(tmpdir(), 'tussock-matrix-')) : null
        const url =
          store === 's3'
            ? `s3://${bucket}/${query}-${input}-${parallelism}?endpoint=${endpoint}&pathStyle=true`
            : (folder ?? 'memory://')
        const args = ['bench', 'nexmark', '--json', '--query', query, '--input', input]
        args.push('--parallelism', parallelism, '--store', url)
        const { stdout, stderr } = spawnSync(process.execPath, [main, ...args], {
          encoding: 'utf8',
          timeout: 120_000,
        })
        if (folder !== null) rmSync(folder, { recursive: true, force: true })
        runs++
        const result = stdout.startsWith('{') ? JSON.parse(stdout) : null
        const right = result?.hashRight === true
        if (!right) wrong++
        const rate = result === null ? '-' : `${(result.eventsPerSecond / 1e6).toFixed(2)} M/s`
        console.log(
          [right ? 'ok   ' : 'WRONG', store, query, input, `parallelism ${parallelism}`, result?.resultHash, rate].join('  '),
        )
        if (!right) console.log(stderr)
      }
    }
  }
}
console.log(
  `${runs} runs, ${wrong} wrong, ${((performance.now() - started) / 1000).toFixed(0)} s`,
)
process.exit(wrong === 0 ? 0 : 1)
