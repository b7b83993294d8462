// Workloads as data: a list of steps made from a seed, independent of what running them gives, so that a list
// can be run again with steps left out.

import { literal } from './duck.mjs'
import { Random } from './rng.mjs'
import { randomView } from './views.mjs'

const TEXTS = ['a', 'b', 'é', '😀', '', 'Zz', '日本', 'ab', "it's", 'a%_\\', 'x'.repeat(40)]
const TIME_BASE = Date.UTC(2024, 2, 1)

/** Column kinds of tables: which value a row has; `scale` widens the small domains. */
const VALUES = {
  integer: (random, scale) => random.int(-6, 19 * scale - 7),
  bigint: (random, scale) => BigInt(random.int(0, 10 * scale - 1)),
  wide: (random) =>
    BigInt(random.int(-3, 3)) * 1_152_921_504_606_846_976n + BigInt(random.int(-2, 2)),
  // One value in several spellings is one key.
  numeric: (random, scale) => {
    if (random.chance(0.5)) return random.int(0, 6 * scale).toFixed(random.int(0, 3))
    return (random.int(-40_000, 400_000) / 10 ** random.int(0, 4)).toFixed(4)
  },
  double: (random) => random.int(-400, 400) / 4,
  varchar: (random, scale) =>
    scale > 1 && random.chance(0.9) ? `w${random.int(0, 10 * scale)}` : random.pick(TEXTS),
  boolean: (random) => random.chance(0.5),
  timestamp: (random) => {
    const base = random.chance(0.1) ? -5000 : TIME_BASE
    const at = new Date(base + random.int(0, 120_000)).toISOString()
    return `${at.slice(0, 10)} ${at.slice(11, 23)}${random.chance(0.2) ? '457' : '000'}`
  },
}

function randomTable(random, name, scale) {
  const types = ['bigint', 'varchar', 'numeric', 'timestamp']
  for (const type of Object.keys(VALUES)) if (random.chance(0.6)) types.push(type)
  const columns = types.map((type, index) => ({ name: `${name}_${index}`, type }))
  const shape = random.weighted([
    [5, 'id'],
    [2, 'pair'],
    [3, 'none'],
  ])
  if (shape === 'id') columns.unshift({ name: `${name}_id`, type: 'wide' })
  // The key's columns need not come first.
  if (shape === 'pair') {
    columns.push({ name: `${name}_p`, type: 'varchar' }, { name: `${name}_q`, type: 'bigint' })
  }
  const key = { id: [`${name}_id`], pair: [`${name}_p`, `${name}_q`], none: [] }[shape]
  return { name, columns, key, rows: 60 * scale, scale }
}

function randomRow(random, table) {
  const { scale } = table
  const row = {}
  for (const { name, type } of table.columns) {
    if (table.key.includes(name)) {
      const key = 9_007_199_254_740_990n + BigInt(random.int(0, 60 * scale))
      row[name] = type === 'wide' ? key : VALUES[type](random, scale)
    } else row[name] = random.chance(0.12) ? null : VALUES[type](random, scale)
  }
  return row
}

function randomChange(random, table) {
  const free = table.columns.filter(({ name }) => !table.key.includes(name))
  const picked = random.pick(table.columns)
  const value = randomRow(random, table)[picked.name]
  const compare = random.pick(['=', '=', '<', '>='])
  const where =
    value === null
      ? `${picked.name} IS NULL`
      : `${picked.name} ${compare} ${literal(value, picked.type)}`
  if (random.chance(0.45)) return { do: 'delete', table: table.name, where }
  const set = random.some(free, random.int(1, 2)).map(({ name, type }) => {
    const to = randomRow(random, table)[name]
    const same = type === 'bigint' || type === 'numeric' || type === 'integer'
    return same && random.chance(0.3) ? `${name} = ${name} + 1` : `${name} = ${literal(to, type)}`
  })
  return { do: 'update', table: table.name, set: set.join(', '), where }
}

export function randomOptions(random) {
  const tiny = random.chance(0.6)
  return {
    parallelism: random.int(1, 4),
    barrierIntervalMs: random.int(5, 50),
    checkpointIntervalMs: random.weighted([
      [8, random.int(20, 500)],
      [1, 0],
    ]),
    ...(tiny
      ? {
          cache: { stateBytes: 64 * 1024, memoryBytes: 1024 * 1024 },
          sharedBufferBytes: 4 * 1024 * 1024,
          storage: { blockBytes: 4096, sstBytes: 65536 },
        }
      : {}),
  }
}

/** The next step; knows which tables and views there should be. */
class Generator {
  constructor(seed, { restarts, reads, deaths, scale }) {
    this.random = new Random(seed)
    this.scale = scale
    this.deaths = deaths
    this.restarts = restarts
    this.reads = reads
    this.tables = []
    this.views = []
    this.serial = 0
    this.held = 0
  }

  setUp() {
    const steps = []
    const count = this.random.int(2, 4)
    for (let i = 0; i < count; i++) steps.push(this.createTable())
    if (this.random.chance(0.5)) steps.push(this.createView())
    return steps
  }

  createTable() {
    const table = randomTable(this.random, `t${this.serial++}`, this.scale)
    this.tables.push(table)
    return { do: 'createTable', ...table }
  }

  createView() {
    const name = `v${this.serial++}`
    const view = { name, ...randomView(this.random, name, [...this.tables, ...this.views]) }
    this.views.push(view)
    return { do: 'createView', ...view }
  }

  /** Nothing may read what is dropped. */
  drop() {
    const { random } = this
    const read = new Set(this.views.flatMap(({ inputs }) => inputs))
    const views = this.views.filter(({ name }) => !read.has(name))
    const tables = this.tables.filter(({ name }) => !read.has(name))
    if (tables.length > 0 && this.tables.length > 2 && random.chance(0.4)) {
      const { name } = random.pick(tables)
      this.tables = this.tables.filter((table) => table.name !== name)
      return { do: 'drop', kind: 'TABLE', name }
    }
    if (views.length === 0) return this.insert()
    const view = random.pick(views)
    this.views = this.views.filter(({ name }) => name !== view.name)
    return { do: 'drop', kind: 'VIEW', name: view.name }
  }

  /** Dropped and made anew, with the same name and another query. */
  recreate() {
    const read = new Set(this.views.flatMap(({ inputs }) => inputs))
    const index = this.views.findIndex(({ name }) => !read.has(name))
    if (index < 0) return this.insert()
    const { name } = this.views[index]
    const others = [...this.tables, ...this.views.filter((view) => view.name !== name)]
    const view = { name, ...randomView(this.random, name, others) }
    this.views.splice(index, 1, view)
    return { do: 'recreate', ...view }
  }

  insert() {
    const { random } = this
    const table = random.pick(this.tables)
    const count = random.weighted([
      [5, random.int(1, 4)],
      [3, random.int(5, 40)],
      [this.scale > 1 ? 4 : 0, random.int(100, 75 * this.scale)],
    ])
    const rows = Array.from({ length: count }, () => randomRow(random, table))
    const how = random.weighted([
      [4, 'rows'],
      [1, 'sql'],
      [1, 'durable'],
    ])
    return { do: 'insert', table: table.name, rows, how }
  }

  change() {
    return randomChange(this.random, this.random.pick(this.tables))
  }

  next() {
    const { random } = this
    return random.weighted([
      [45, () => this.insert()],
      [14, () => this.change()],
      [12, () => ({ do: 'flush' })],
      [this.views.length < 8 ? 8 : 0, () => this.createView()],
      [this.tables.length < 4 ? 2 : 0, () => this.createTable()],
      [4, () => this.drop()],
      [2, () => this.recreate()],
      [3, () => this.together()],
      [this.reads ? 6 : 0, () => ({ do: 'peek' })],
      [this.reads ? 3 : 0, () => ({ do: 'hold', id: this.held++ })],
      [this.reads ? 3 : 0, () => ({ do: 'checkHeld', release: random.chance(0.7) })],
      [this.reads ? 3 : 0, () => this.subscribe()],
      [this.reads ? 2 : 0, () => ({ do: 'settle', milliseconds: random.int(1, 60) })],
      [this.deaths ? 8 : 0, () => ({ do: 'die', which: random.int(0, 7) })],
      [this.restarts ? 2 : 0, () => ({ do: 'reopen', options: randomOptions(random) })],
    ])()
  }

  /** Statements of several clients at once: of different tables, so that their order does not matter. */
  together() {
    const { random } = this
    const tables = random.some(this.tables, random.int(2, 3))
    const steps = tables.map((table) => {
      if (random.chance(0.4)) return randomChange(random, table)
      const rows = Array.from({ length: random.int(1, 8) }, () => randomRow(random, table))
      return { do: 'insert', table: table.name, rows, how: random.pick(['rows', 'durable', 'sql']) }
    })
    if (this.views.length < 8 && random.chance(0.6)) steps.push(this.createView())
    if (random.chance(0.4)) steps.push({ do: 'flushOnly' })
    return { do: 'together', steps }
  }

  subscribe() {
    const relation = this.random.pick([...this.views, ...this.views, ...this.tables])
    return { do: 'subscribe', name: relation.name }
  }
}

/** A workload of about `count` steps, always the same one for a seed. */
export function makeWorkload(seed, count, wishes = {}) {
  const { restarts = true, reads = true, deaths = false, scale = seed % 4 === 3 ? 20 : 1 } = wishes
  const generator = new Generator(seed, { restarts, reads, deaths, scale })
  const options = randomOptions(generator.random)
  const steps = generator.setUp()
  while (steps.length < count) steps.push(generator.next())
  steps.push({ do: 'flush' })
  return { seed, options, steps }
}

/** Statements one after the other, each of which is there wholly or not at all: for lives that are cut short. */
export function killableSteps(seed, count) {
  const { steps } = makeWorkload(seed, count, { restarts: false, reads: false })
  return steps.flatMap((step) => {
    if (step.do === 'recreate') {
      return [
        { do: 'drop', kind: 'VIEW', name: step.name },
        { ...step, do: 'createView' },
      ]
    }
    return step.do === 'together' ? step.steps : [step]
  })
}
