// Makes a fresh clone ready: installs the dependencies and builds, only when something changed since the last time.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const say = (text) => process.stderr.write(`${text}\n`)

function npm(args) {
  // npm's own entry when npm started us: the same version, on every platform.
  const entry = process.env.npm_execpath
  const [command, prefix] = entry?.endsWith('.js') ? [process.execPath, [entry]] : ['npm', []]
  return spawnSync(command, [...prefix, ...args], { cwd: root, stdio: ['ignore', 2, 2] }).status
}

const digest = (files) => {
  const hash = createHash('sha256')
  for (const file of files) hash.update(`${file}\0`).update(readFileSync(join(root, file)))
  return hash.digest('hex')
}

const sources = (folder) =>
  readdirSync(join(root, folder))
    .sort()
    .flatMap((name) => {
      const path = join(folder, name)
      return statSync(join(root, path)).isDirectory() ? sources(path) : [path]
    })

function once(stamp, files, work) {
  const path = join(root, 'node_modules', '.tussock', stamp)
  const now = digest(files)
  if (existsSync(path) && readFileSync(path, 'utf8') === now) return
  work()
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, now)
}

export function setUp() {
  once('installed', ['package.json', 'package-lock.json'], () => {
    say('Installing dependencies …')
    // `ci` refuses where a registry lacks other platforms' optional binaries; `install` does not.
    if (npm(['ci', '--no-audit', '--no-fund', '--loglevel=error']) === 0) return
    say('npm ci failed; trying npm install --no-save …')
    if (npm(['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error']) !== 0) {
      say('The dependencies could not be installed.')
      process.exit(1)
    }
  })
  once('built', ['tsconfig.json', 'package-lock.json', ...sources('src'), ...sources('bench')], () => {
    say('Building …')
    const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
    const { status } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.json'], {
      cwd: root,
      stdio: ['ignore', 2, 2],
    })
    if (status !== 0) process.exit(1)
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) setUp()
