/**
 * Who may import whom, and that time, chance, files and threads come only from the injected environment:
 * what the simulation and the correctness of recovery hang on. The rules are data; each is also shown a
 * breach, so that the test itself is known to see one.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { describe, expect, test } from 'vitest'

const root = join(import.meta.dirname, '..', 'src')

/** `entry` is the files directly in `src`: the public API and the threads' own beginnings. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  common: [],
  storage: ['common'],
  stream: ['common', 'storage'],
  connectors: ['common', 'stream'],
  sql: ['common', 'stream'],
  actors: ['common', 'storage', 'stream', 'connectors'],
  runtime: ['common', 'storage', 'stream', 'connectors', 'sql', 'actors'],
  entry: ['common', 'storage', 'stream', 'connectors', 'sql', 'actors', 'runtime'],
  // Looks into stores (`inspect`, `verify`); everything else through the entries.
  cli: ['common', 'storage', 'entry'],
}

/** Files that begin a thread, or start one: the environment is made here. */
const THREAD_FILES = [
  'actors/worker.ts',
  'runtime/control-thread.ts',
  'control-thread.ts',
  'storage/job-worker.ts',
]
const ENVIRONMENT = ['common/node-env.ts', ...THREAD_FILES]

interface Ban {
  readonly name: string
  readonly pattern: RegExp
  /** Paths below `src`; a folder ends with a slash. */
  readonly except: readonly string[]
  /** Code that the pattern must see. */
  readonly breaches: readonly string[]
  /** Code that it must let pass. */
  readonly fine: readonly string[]
}

const BANS: readonly Ban[] = [
  {
    name: 'clocks',
    pattern:
      /\bDate\s*\.\s*now\b|\bnew\s+Date\s*(?:\(\s*\)|(?![\w(\s]))|(?<![\w.])(?<!\bnew\s+)Date\s*\(|\bperformance\s*\.|\bhrtime\b|perf_hooks/,
    except: [...ENVIRONMENT, 'cli/'],
    breaches: [
      'Date.now()',
      'new Date()',
      'new Date( )',
      'new Date;',
      'Date()',
      'performance.now()',
    ],
    fine: ['new Date(valueMs)', 'Date.UTC(2024, 0, 1)', 'nowMs: () => env.nowMs()', 'toDate(x)'],
  },
  {
    name: 'timers',
    pattern: /\bset(?:Timeout|Interval|Immediate)\b|node:timers/,
    except: [...ENVIRONMENT, 'cli/'],
    breaches: ['setTimeout(f, 1)', 'globalThis.setInterval(f)', "import 'node:timers/promises'"],
    fine: ['env.setTimer(1, f)'],
  },
  {
    name: 'chance',
    pattern: /\bMath\s*\.\s*random\b|\brandomUUID\b|\brandomBytes\b|\bgetRandomValues\b/,
    except: [...ENVIRONMENT, 'cli/'],
    breaches: ['Math.random()', 'crypto.randomUUID()', 'getRandomValues(a)'],
    fine: ['env.random()', 'Math.round(1)'],
  },
  {
    name: 'files',
    pattern: /\bfrom\s+'(?:node:)?fs(?:\/promises)?'|import\(\s*'(?:node:)?fs/,
    // Looks whether the file of the control thread lies beside it, before there is an environment.
    except: [...ENVIRONMENT, 'control-link.ts', 'cli/'],
    breaches: ["import { open } from 'node:fs/promises'", "await import('node:fs')"],
    fine: ["import { join } from 'node:path'", "import type { Stats } from 'node:fs'"],
  },
  {
    name: 'threads and processes',
    pattern: /\bfrom\s+'node:(?:worker_threads|child_process|cluster)'/,
    except: [...THREAD_FILES, 'control-link.ts', 'runtime/threads.ts', 'cli/'],
    breaches: ["import { Worker } from 'node:worker_threads'"],
    fine: ["import type { MessagePort } from 'node:worker_threads'"],
  },
  {
    name: 'sockets',
    pattern:
      /\bfrom\s+'node:(?:net|http|https|http2|dgram|tls|dns)'|(?<![\w.])fetch\s*\(\s*['"`]http/,
    except: [],
    breaches: ["import { createServer } from 'node:http'"],
    fine: ['this.fetch(key)'],
  },
  {
    name: 'foreign errors',
    pattern: /\bthrow\s+new\s+(?:Error|TypeError|RangeError)\b/,
    except: [],
    breaches: ["throw new Error('bad')"],
    fine: ["throw new EngineError('INTERNAL', '')"],
  },
]

interface SourceFile {
  /** Below `src`, with slashes. */
  readonly path: string
  /** Without comments. */
  readonly code: string
}

function withoutComments(text: string): string {
  const token =
    /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g
  return text.replace(token, (found) => (found.startsWith('/') ? ' ' : found))
}

/** Types cost nothing and do nothing. */
function withoutTypeImports(code: string): string {
  return code.replace(/\b(?:import|export)\s+type\s[^;'"]*?from\s+'[^']*'/g, '')
}

const files: readonly SourceFile[] = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .map((path) => ({
    path: path.replaceAll('\\', '/'),
    code: withoutComments(readFileSync(join(root, path), 'utf8')),
  }))

function layerOf(path: string): string {
  return path.includes('/') ? path.slice(0, path.indexOf('/')) : 'entry'
}

/** Paths below `src` of the files that a file imports; those outside begin with `..`. */
function importsOf(file: SourceFile, code = file.code): string[] {
  const specifier = /(?:\bfrom\s+|\bimport\s*\(\s*|\bimport\s+)'(\.[^']+)'/g
  return [...code.matchAll(specifier)].map((match) =>
    relative('/src', join('/src', dirname(file.path), match[1])).replaceAll('\\', '/'),
  )
}

function wrongImports(file: SourceFile): string[] {
  const layer = layerOf(file.path)
  const allowed = [layer, ...(MAY_IMPORT[layer] ?? [])]
  return importsOf(file)
    .filter((path) => !(layer === 'cli' && path.startsWith('../bench/')))
    .filter((path) => path.startsWith('..') || !allowed.includes(layerOf(path)))
    .map((path) => `${file.path} imports ${path}`)
}

function bannedUses(ban: Ban, file: SourceFile): string[] {
  const excepted = ban.except.some((path) =>
    path.endsWith('/') ? file.path.startsWith(path) : file.path === path,
  )
  const match = excepted ? null : ban.pattern.exec(withoutTypeImports(file.code))
  return match === null ? [] : [`${file.path}: ${match[0].trim()}`]
}

/** A way from a node back to itself, or null. */
function findCycle(edges: ReadonlyMap<string, readonly string[]>): string[] | null {
  const state = new Map<string, 'open' | 'done'>()
  const walk = (node: string, way: readonly string[]): string[] | null => {
    if (state.get(node) === 'done') return null
    if (state.get(node) === 'open') return [...way.slice(way.indexOf(node)), node]
    state.set(node, 'open')
    for (const next of edges.get(node) ?? []) {
      const cycle = walk(next, [...way, node])
      if (cycle !== null) return cycle
    }
    state.set(node, 'done')
    return null
  }
  for (const node of edges.keys()) {
    const cycle = walk(node, [])
    if (cycle !== null) return cycle
  }
  return null
}

/** Imports from one folder into another from where a way leads back; within a folder that is its own affair. */
function mutualImports(edges: ReadonlyMap<string, readonly string[]>): string[] {
  const reachableFrom = (start: string): Set<string> => {
    const reached = new Set([start])
    for (const node of reached) for (const next of edges.get(node) ?? []) reached.add(next)
    return reached
  }
  const found: string[] = []
  for (const [from, targets] of edges) {
    const abroad = targets.filter((to) => dirname(to) !== dirname(from))
    for (const to of abroad) if (reachableFrom(to).has(from)) found.push(`${from} <-> ${to}`)
  }
  return found
}

describe('who may import whom', () => {
  test('every folder is a layer', () => {
    expect(files.length).toBeGreaterThan(20)
    const layers = new Set(files.map((file) => layerOf(file.path)))
    expect([...layers].filter((layer) => !(layer in MAY_IMPORT))).toEqual([])
  })

  test('layers are imported downwards only', () => {
    expect(files.flatMap(wrongImports)).toEqual([])
  })

  test('the layers have an order', () => {
    expect(findCycle(new Map(Object.entries(MAY_IMPORT)))).toBeNull()
  })

  test('no files of two folders need each other to be loaded', () => {
    const edges = new Map(
      files.map((file) => [file.path, importsOf(file, withoutTypeImports(file.code))]),
    )
    expect(mutualImports(edges)).toEqual([])
  })

  test('a breach is seen', () => {
    const wrong = (path: string, code: string) => wrongImports({ path, code })
    expect(wrong('storage/a.ts', "import { x } from '../stream/x.ts'").length).toBe(1)
    expect(wrong('storage/a/b.ts', "import type { x } from '../../sql/x.ts'").length).toBe(1)
    expect(wrong('common/a.ts', "export { x } from '../storage/x.ts'").length).toBe(1)
    expect(wrong('sql/a.ts', "const x = await import('../runtime/x.ts')").length).toBe(1)
    expect(wrong('stream/a.ts', "import '../database.ts'").length).toBe(1)
    expect(wrong('stream/a.ts', "import { x } from '../../test/x.ts'").length).toBe(1)
    expect(wrong('stream/a.ts', "import { x } from '../common/x.ts'")).toEqual([])
    expect(
      mutualImports(
        new Map([
          ['a/x', ['b/y']],
          ['b/y', ['b/z']],
          ['b/z', ['a/x']],
        ]),
      ).length,
    ).toBe(2)
    expect(
      mutualImports(
        new Map([
          ['a/x', ['a/y']],
          ['a/y', ['a/x', 'b/z']],
        ]),
      ),
    ).toEqual([])
    expect(
      findCycle(
        new Map([
          ['a', ['b']],
          ['b', ['c']],
          ['c', ['b']],
        ]),
      ),
    ).toEqual(['b', 'c', 'b'])
  })
})

describe('only the environment has', () => {
  test.each(BANS)('$name', (ban) => {
    expect(files.flatMap((file) => bannedUses(ban, file))).toEqual([])
  })

  test.each(BANS)('$name: a breach is seen, and nothing else', (ban) => {
    const uses = (code: string) =>
      bannedUses(ban, { path: 'stream/a.ts', code: withoutComments(code) })
    for (const code of ban.breaches) expect(uses(code), code).not.toEqual([])
    for (const code of ban.fine) expect(uses(code), code).toEqual([])
    for (const code of ban.breaches) expect(uses(`/* ${code} */ // ${code}`), code).toEqual([])
  })

  test('exceptions are of files that are there or planned', () => {
    const planned = ['actors/worker.ts', 'runtime/control-thread.ts', 'control-thread.ts']
    const known = [...files.map((file) => file.path), ...planned, 'cli/', 'control-link.ts']
    const named = BANS.flatMap((ban) => ban.except)
    expect(named.filter((path) => !known.includes(path))).toEqual([])
  })
})
