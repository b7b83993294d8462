// Packs the package and uses it from an empty project, as a user would: as ESM, as CommonJS, bundled by esbuild, and by its command.
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setUp } from './set-up.mjs'

setUp()
const { build } = await import('esbuild')
const root = fileURLToPath(new URL('..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'tussock-pack-'))
let failures = 0

function run(name, command, args, { expect = 0, output = null, input = '' } = {}) {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd: folder,
    encoding: 'utf8',
    input,
    timeout: 120_000,
  })
  const right = status === expect && (output === null || output.test(stdout + stderr))
  console.log(`${right ? 'ok  ' : 'FAIL'} ${name}`)
  if (right) return
  failures++
  console.log(`exit ${status}, expected ${expect}; output must match ${output}\n${stdout}\n${stderr}`)
}

const use = `
  const db = await open('memory://')
  await db.execute('CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR); CREATE MATERIALIZED VIEW n AS SELECT count(*) AS n FROM t')
  await db.table('t').insert([{ id: 1n, v: 'a' }, { id: 2n, v: 'b' }])
  await db.flush()
  const { rows } = await db.query('SELECT n FROM n')
  console.log('rows', String(rows[0].n))
  await db.close()
`

const types = `
  import { type ChangeSet, type Database, EngineError, type OpenOptions, open } from 'tussock'
  const options: OpenOptions = { parallelism: 1, cache: { stateBytes: 1 << 20 } }
  await using db: Database = await open('memory://', options)
  await using snapshot = await db.snapshot()
  const epoch: number = snapshot.epoch
  const changes: AsyncGenerator<ChangeSet, void, undefined> = db.subscribe('t')
  for await (const { changes: [first] } of changes) console.log(first.op, first.row['id'], epoch)
  await db.query('SELECT 1').catch((error: unknown) => {
    if (error instanceof EngineError && error.code === 'FENCED') console.log(error.context['hint'])
  })
`

try {
  spawnSync('npm', ['pack', '--silent', '--pack-destination', folder], { cwd: root, stdio: 'inherit' })
  const [tarball] = readdirSync(folder).filter((name) => name.endsWith('.tgz'))
  writeFileSync(join(folder, 'package.json'), '{ "name": "user", "private": true }')
  run('installs', 'npm', ['install', '--no-audit', '--no-fund', '--loglevel=error', `./${tarball}`])
  writeFileSync(join(folder, 'esm.mjs'), `import { open } from 'tussock'\n${use}`)
  run('ESM', 'node', ['esm.mjs'], { output: /rows 2/ })
  const wrapped = `const { open } = require('tussock')\n;(async () => {${use}})()`
  writeFileSync(join(folder, 'common.cjs'), wrapped)
  run('CommonJS', 'node', ['common.cjs'], { output: /rows 2/ })
  // Without skipLibCheck: what the types draw in must be sound, too.
  writeFileSync(join(folder, 'types.mts'), types)
  const tsc = join(root, 'node_modules', '.bin', 'tsc')
  const typeRoots = join(root, 'node_modules', '@types')
  for (const [module, resolution] of [['nodenext', 'nodenext'], ['esnext', 'bundler']]) {
    const options = ['--strict', '--noEmit', '--target', 'es2022', '--lib', 'es2023,esnext.disposable']
    const where = ['--module', module, '--moduleResolution', resolution, '--typeRoots', typeRoots]
    run(`types, ${resolution}`, tsc, [...options, ...where, '--types', 'node', 'types.mts'])
  }
  const bundle = (outfile, more) =>
    build({
      absWorkingDir: folder,
      entryPoints: ['esm.mjs'],
      bundle: true,
      platform: 'node',
      format: 'esm',
      outfile,
      logLevel: 'error',
      ...more,
    })
  await bundle('external.mjs', { external: ['tussock'] })
  run('bundled, tussock external', 'node', ['external.mjs'], { output: /rows 2/ })
  mkdirSync(join(folder, 'bundled'))
  const banner = `import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);`
  await bundle('bundled/all.mjs', { banner: { js: banner } })
  run('bundled whole', 'node', ['bundled/all.mjs'], { output: /rows 2/ })
  const tussock = join('node_modules', '.bin', 'tussock')
  run('the command', tussock, ['--help'], { output: /Streaming SQL/ })
  run('sql, from a pipe', tussock, ['sql', '--store', './data', '--format', 'json'], {
    input: 'CREATE TABLE t (id BIGINT PRIMARY KEY); INSERT INTO t VALUES (1), (2); FLUSH; SELECT count(*) AS n FROM t',
    output: /\[\{"n":2\}\]/,
  })
  run('sql, a typo', tussock, ['sql', '--store', './data', '-c', 'SELEC 1'], {
    expect: 2,
    output: /42601/,
  })
  run('sql, an unknown table', tussock, ['sql', '--store', './data', '-c', 'SELECT * FROM tt'], {
    expect: 2,
    output: /42P01[\s\S]*hint/,
  })
  run('verify', tussock, ['verify', '--store', './data', '--deep'], { output: /sound/ })
  run('verify, no store', tussock, ['verify', '--store', './nowhere'], {
    expect: 2,
    output: /STORE_NOT_FOUND/,
  })
} finally {
  rmSync(folder, { recursive: true, force: true })
}
console.log(failures === 0 ? 'the packed package works' : `${failures} failed`)
process.exit(failures === 0 ? 0 : 1)
