#!/usr/bin/env node
// Runs test/s3 against a real S3 server on loopback, which it installs (Debian packages) if need be, starts
// and stops. Arguments go to vitest. Exit code: that of vitest, or 1 if there is no server.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const PROGRAMS = ['ceph-mon', 'ceph-osd', 'ceph', 'monmaptool', 'radosgw', 'radosgw-admin']
const PACKAGES = ['ceph-mon', 'ceph-osd', 'ceph-common', 'radosgw']
// The monitor listens this far above the gateway.
const MONITOR_OFFSET = 1000

const here = dirname(fileURLToPath(import.meta.url))
const root = dirname(here)
const script = join(here, 's3', 'server.sh')

function missingPrograms() {
  const folders = (process.env.PATH ?? '').split(':').concat('/usr/bin', '/usr/sbin')
  return PROGRAMS.filter((name) => !folders.some((folder) => existsSync(join(folder, name))))
}

function install() {
  if (missingPrograms().length === 0) return
  const sudo = process.getuid?.() === 0 ? [] : ['sudo', '-n']
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const run = (...args) => {
    const [program, ...rest] = [...sudo, 'apt-get', ...args]
    return spawnSync(program, rest, { stdio: 'inherit', env }).status === 0
  }
  const options = ['install', '-y', '--no-install-recommends', ...PACKAGES]
  const installed = run(...options) || (run('update') && run(...options))
  const missing = missingPrograms()
  if (installed && missing.length === 0) return
  throw new Error(
    `no S3 server: ${missing.join(', ')} missing and not installable here. ` +
      `On Debian: apt-get install --no-install-recommends ${PACKAGES.join(' ')}`,
  )
}

function listens(port) {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

async function freePort() {
  for (let attempt = 0; attempt < 50; attempt++) {
    const port = 20_000 + Math.floor(Math.random() * 10_000)
    if ((await listens(port)) && (await listens(port + MONITOR_OFFSET))) return port
  }
  throw new Error('no S3 server: no free port')
}

function runTests(port) {
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs')
  const args = [vitest, 'run', '--config', 'vitest.s3.config.ts', ...process.argv.slice(2)]
  const env = {
    ...process.env,
    TUSSOCK_TEST_S3_ENDPOINT: `http://127.0.0.1:${port}`,
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'testtest',
    AWS_REGION: 'us-east-1',
  }
  const child = spawn(process.execPath, args, { cwd: root, env, stdio: 'inherit' })
  interrupt = (signal) => child.kill(signal)
  return new Promise((resolve) => child.on('exit', (code) => resolve(code ?? 1)))
}

// From the start on: whoever interrupts this must not leave a server behind.
let interrupted = false
let interrupt = () => {}
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    interrupted = true
    interrupt(signal)
  })
}

async function main() {
  install()
  const folder = mkdtempSync(join(tmpdir(), 'tussock-s3-'))
  const server = join(folder, 'ceph')
  try {
    const port = await freePort()
    const started = spawnSync(script, ['start', server, String(port)], { stdio: 'inherit' })
    // A turn of the loop, in which a signal that came meanwhile is seen.
    await new Promise((resolve) => setImmediate(resolve))
    if (started.status !== 0 || interrupted) return 1
    return await runTests(port)
  } finally {
    spawnSync(script, ['stop', server], { stdio: 'inherit' })
    rmSync(folder, { recursive: true, force: true })
  }
}

main().then(
  (code) => process.exit(code),
  (error) => {
    console.error(error.message)
    process.exit(1)
  },
)
