// Random views: each is SQL that tussock and DuckDB both take, and the columns that it has. Expressions are
// chosen so that both give the same value: no overflow, doubles whose sums are exact, no integer division.

/** Groups, joins and further expressions need exact values: an average is only looked at. */
const exact = (column) => column.type !== 'average'
const ofType = (relation, ...types) => relation.columns.filter(({ type }) => types.includes(type))
const INTEGERS = ['integer', 'bigint']
const NUMBERS = ['integer', 'bigint', 'numeric', 'double']
const JOINABLE = ['varchar', 'wide', 'huge', 'numeric', 'timestamp']
const WORDS = ["'a'", "'b'", "'é'", "'😀'", "''", "'Zz'", "'日本'"]
const MOMENTS = ["'2024-03-01 00:00:00'", "'2024-03-01 00:00:20.5'", "'1969-12-31 23:59:50'"]

/** A condition over one relation; `at` names a column in the query. */
function condition(random, relation, at, depth = 0) {
  const usable = relation.columns.filter(exact)
  if (depth < 2 && random.chance(0.3)) {
    const left = condition(random, relation, at, depth + 1)
    const right = condition(random, relation, at, depth + 1)
    return random.pick([`(${left} AND ${right})`, `(${left} OR ${right})`, `NOT (${left})`])
  }
  const column = random.pick(usable)
  const name = at(column.name)
  if (random.chance(0.15)) return `${name} IS ${random.chance(0.5) ? 'NOT ' : ''}NULL`
  const compare = random.pick(['=', '<>', '<', '<=', '>', '>='])
  switch (column.type) {
    case 'integer':
    case 'bigint':
      return random.pick([
        `${name} ${compare} ${random.int(-5, 15)}`,
        `${name} IN (1, 2, ${random.int(3, 12)})`,
        `${name} BETWEEN ${random.int(-5, 3)} AND ${random.int(4, 12)}`,
        `${name} IS DISTINCT FROM ${random.int(0, 9)}`,
        // The right side fails where the left one is false.
        `(${name} <> 0 AND 12 % ${name} > 1)`,
      ])
    case 'wide':
      return `${name} ${compare} ${random.pick(['0', '9007199254740993', '-9007199254740993'])}`
    case 'huge':
      return `${name} ${compare} ${random.pick(['0', '3', '12', '-9007199254740993'])}`
    case 'numeric':
      return `${name} ${compare} ${random.pick(['0', '1.5', '-2.25', '10.0001', '99'])}`
    case 'double':
      return `${name} ${compare} ${random.pick(['0', '0.25', '-1.5', '100'])}`
    case 'varchar':
      return random.pick([
        `${name} ${compare} ${random.pick(WORDS)}`,
        `${name} LIKE ${random.pick(["'a%'", "'%b'", "'_'", "'%é%'"])}`,
        `length(${name}) ${compare} ${random.int(0, 3)}`,
      ])
    case 'boolean':
      return random.pick([`${name}`, `NOT ${name}`, `${name} IS NOT TRUE`])
    case 'timestamp':
      return `${name} ${compare} TIMESTAMP ${random.pick(MOMENTS)}`
    default:
      throw new Error(`no condition on ${column.type}`)
  }
}

/** A projected expression and its type. */
function expression(random, relation, at) {
  const column = random.pick(relation.columns)
  const name = at(column.name)
  const { type } = column
  if (random.chance(0.5)) return { sql: name, type }
  switch (type) {
    case 'integer':
      return random.pick([
        { sql: `${name} + ${random.int(-3, 3)}`, type },
        { sql: `coalesce(${name}, ${random.int(-1, 4)})`, type },
        { sql: `abs(${name})`, type },
        { sql: `${name} % 5`, type },
        { sql: `CAST(${name} AS BIGINT)`, type: 'bigint' },
        { sql: `CASE WHEN ${name} > 3 THEN 1 WHEN ${name} < 0 THEN 2 ELSE NULL END`, type },
      ])
    case 'bigint':
      return random.pick([
        { sql: `${name} - ${random.int(0, 3)}`, type },
        { sql: `coalesce(${name}, 7)`, type },
        { sql: `${name} % 4`, type },
        { sql: `CASE WHEN ${name} <> 0 THEN 20 % ${name} END`, type },
        { sql: `nullif(${name}, ${random.int(0, 5)})`, type },
        { sql: `CAST(${name} AS VARCHAR)`, type: 'varchar' },
        { sql: `${name} IN (1, 2, 5)`, type: 'boolean' },
      ])
    case 'wide':
      return random.pick([
        { sql: `${name} + 1`, type },
        { sql: `${name} % 10`, type },
        { sql: `CAST(${name} AS VARCHAR)`, type: 'varchar' },
      ])
    case 'numeric':
      return random.pick([
        { sql: `${name} + 1.25`, type },
        { sql: `-${name}`, type },
        { sql: `coalesce(${name}, 0)`, type },
        { sql: `${name} > 1`, type: 'boolean' },
      ])
    case 'double':
      return random.pick([
        { sql: `${name} * 2`, type },
        { sql: `${name} + 0.5`, type },
        { sql: `abs(${name})`, type },
      ])
    case 'varchar':
      return random.pick([
        { sql: `${name} || '-é'`, type },
        { sql: `coalesce(${name}, '∅')`, type },
        { sql: `CAST(length(${name}) AS BIGINT)`, type: 'bigint' },
        { sql: `substring(${name}, 1, 1)`, type },
        { sql: `CASE ${name} WHEN 'a' THEN 'first' ELSE ${name} END`, type },
      ])
    case 'boolean':
      return random.pick([
        { sql: `NOT ${name}`, type },
        { sql: `CASE WHEN ${name} THEN 1 ELSE 0 END`, type: 'integer' },
        { sql: `${name} IS TRUE`, type },
      ])
    case 'timestamp':
      return random.pick([
        { sql: `date_trunc('minute', ${name})`, type },
        { sql: `${name} + INTERVAL '90' SECOND`, type },
        { sql: `${name} < TIMESTAMP '2024-03-01 00:00:10'`, type: 'boolean' },
        { sql: `CAST(extract(minute FROM ${name}) AS BIGINT)`, type: 'bigint' },
      ])
    default:
      return { sql: name, type }
  }
}

function aggregate(random, relation, at) {
  const filter = random.chance(0.25) ? ` FILTER (WHERE ${condition(random, relation, at)})` : ''
  const usable = relation.columns.filter(exact)
  const column = random.pick(usable)
  const name = at(column.name)
  const numbers = [...INTEGERS, 'wide', 'huge', 'numeric', 'double']
  const choices = [
    { sql: `count(*)${filter}`, type: 'bigint' },
    { sql: `count(${name})${filter}`, type: 'bigint' },
  ]
  if (column.type !== 'boolean') {
    choices.push({ sql: `min(${name})${filter}`, type: column.type })
    choices.push({ sql: `max(${name})${filter}`, type: column.type })
  }
  if (INTEGERS.includes(column.type)) {
    choices.push({ sql: `sum(30 % ${name}) FILTER (WHERE ${name} <> 0)`, type: 'huge' })
  }
  if (numbers.includes(column.type)) {
    const type = ['double', 'numeric'].includes(column.type) ? column.type : 'huge'
    choices.push({ sql: `sum(${name})${filter}`, type }, { sql: `sum(${name})${filter}`, type })
    choices.push({ sql: `avg(${name})${filter}`, type: 'average' })
  }
  return random.pick(choices)
}

/** Names are the view's own: a name that is an input's too would mean different things in GROUP BY. */
const named = (prefix, parts) => ({
  list: parts.map(({ sql }, index) => `${sql} AS ${prefix}${index}`).join(', '),
  columns: parts.map(({ type }, index) => ({ name: `${prefix}${index}`, type })),
})

const many = (random, from, to, make) => Array.from({ length: random.int(from, to) }, make)

function projection(random, prefix, relation) {
  const at = (name) => name
  const { list, columns } = named(
    prefix,
    many(random, 1, 5, () => expression(random, relation, at)),
  )
  const where = random.chance(0.6) ? ` WHERE ${condition(random, relation, at)}` : ''
  const distinct = columns.every(exact) && random.chance(0.25) ? 'DISTINCT ' : ''
  return {
    sql: `SELECT ${distinct}${list} FROM ${relation.name}${where}`,
    columns,
    rows: relation.rows,
    inputs: [relation.name],
  }
}

/** Pairs of columns that may be equal. */
function joinable(random, left, right) {
  const pairs = []
  for (const a of left.columns.filter(exact)) {
    for (const b of right.columns.filter(exact)) {
      const whole = NUMBERS.includes(a.type) && NUMBERS.includes(b.type)
      const same = a.type === b.type && JOINABLE.includes(a.type)
      // Columns of few values are what joins are made of.
      if (whole || same) pairs.push([a.name, b.name])
    }
  }
  return random.some(pairs, random.chance(0.3) ? 2 : 1)
}

function joined(random, prefix, left, right) {
  const scale = Math.max(left.scale, right.scale)
  const on = joinable(random, left, right)
  if (on.length === 0 || left.rows * right.rows > 60_000 * scale * scale) return null
  const atLeft = (name) => `l.${name}`
  const atRight = (name) => `r.${name}`
  const conditions = on.map(([a, b]) => `l.${a} = r.${b}`)
  if (random.chance(0.2)) conditions.push(condition(random, left, atLeft))
  if (random.chance(0.2)) {
    const [a, b] = joinable(random, left, right)[0]
    conditions.push(`l.${a} ${random.pick(['<', '<=', '<>', '>='])} r.${b}`)
  }
  const where = random.chance(0.4) ? ` WHERE ${condition(random, right, atRight)}` : ''
  const from = `FROM ${left.name} l JOIN ${right.name} r ON ${conditions.join(' AND ')}${where}`
  const inputs = [...new Set([left.name, right.name])]
  const rows = Math.max(1, Math.round((left.rows * right.rows) / (8 * scale)))
  const pick = (make) =>
    random.chance(0.5) ? make(random, left, atLeft) : make(random, right, atRight)
  if (random.chance(0.4)) {
    const side = random.pick(left.columns.filter(exact))
    const calls = many(random, 1, 3, () => pick(aggregate))
    const { list, columns } = named(prefix, [{ sql: `l.${side.name}`, type: side.type }, ...calls])
    const having = random.chance(0.3) ? ` HAVING count(*) > ${random.int(1, 3)}` : ''
    const sql = `SELECT ${list} ${from} GROUP BY l.${side.name}${having}`
    return { sql, columns, inputs, rows: left.rows }
  }
  const { list, columns } = named(
    prefix,
    many(random, 1, 5, () => pick(expression)),
  )
  return { sql: `SELECT ${list} ${from}`, columns, inputs, rows }
}

function grouped(random, prefix, relation) {
  const at = (name) => name
  const keys = random.some(relation.columns.filter(exact), random.int(0, 2))
  const parts = keys.map(({ name, type }) => ({ sql: name, type }))
  const calls = many(random, 1, 4, () => aggregate(random, relation, at))
  const { list, columns } = named(prefix, [...parts, ...calls])
  const where = random.chance(0.3) ? ` WHERE ${condition(random, relation, at)}` : ''
  const group = keys.length === 0 ? '' : ` GROUP BY ${keys.map(({ name }) => name).join(', ')}`
  const having = random.chance(0.25)
    ? ` HAVING ${random.pick(['count(*) > 1', 'count(*) < 4', `${calls[0].sql} IS NOT NULL`])}`
    : ''
  return {
    sql: `SELECT ${list} FROM ${relation.name}${where}${group}${having}`,
    columns,
    rows: keys.length === 0 ? 1 : Math.ceil(relation.rows / 2),
    inputs: [relation.name],
  }
}

/** An aggregate of an aggregate, or a distinct one, in a subquery. */
function nested(random, prefix, relation) {
  const inner = random.pick([grouped, projection])(random, `${prefix}i`, relation)
  if (!inner.columns.some(exact)) return null
  const outer = grouped(random, prefix, { name: 'q', columns: inner.columns, rows: inner.rows })
  const sql = outer.sql.replace(' FROM q', ` FROM (${inner.sql}) q`)
  return { ...outer, sql, inputs: inner.inputs }
}

function windows(random, prefix, relation) {
  const times = ofType(relation, 'timestamp')
  if (times.length === 0) return null
  const time = random.pick(times).name
  const size = random.pick([1, 10, 30])
  const at = (name) => name
  const calls = many(random, 1, 3, () => aggregate(random, relation, at))
  const keys = random.some(relation.columns.filter(exact), random.int(0, 1))
  const parts = keys.map(({ name, type }) => ({ sql: name, type }))
  const { list, columns } = named(prefix, [
    { sql: 'window_start', type: 'timestamp' },
    ...parts,
    ...calls,
  ])
  const group = ['window_start', ...keys.map(({ name }) => name)].join(', ')
  const over = (from) => `SELECT ${list} FROM ${from} GROUP BY ${group}`
  const bucket = `time_bucket(INTERVAL '${size} seconds', ${time}, TIMESTAMP '1970-01-01')`
  return {
    sql: over(`TUMBLE(${relation.name}, ${time}, INTERVAL '${size}' SECOND)`),
    duck: over(`(SELECT *, ${bucket} AS window_start FROM ${relation.name})`),
    columns,
    rows: relation.rows,
    inputs: [relation.name],
  }
}

/** One side of a join may be a query itself, a join or an aggregate too. */
function inlined(random, prefix, left, right) {
  const shape = random.pick([grouped, joined, projection, nested])
  const inner = shape(random, `${prefix}s`, left, random.pick([left, right]))
  if (inner === null || !inner.columns.some(exact)) return null
  const query = { ...inner, name: `(${inner.sql})`, scale: left.scale }
  const sides = random.chance(0.5) ? [query, right] : [right, query]
  const made = joined(random, prefix, ...sides)
  return made === null ? null : { ...made, inputs: [...new Set([...inner.inputs, right.name])] }
}

/**
 * A random view over these relations: `{ sql, duck, columns, inputs, rows }`; `rows` is a guess of its size.
 */
export function randomView(random, name, relations) {
  for (;;) {
    const relation = random.pick(relations)
    const shape = random.weighted([
      [3, projection],
      [4, grouped],
      [2, nested],
      [2, windows],
      [4, joined],
      [2, inlined],
    ])
    const made = shape(random, `${name}_`, relation, random.pick(relations))
    if (made === null) continue
    if (made.columns.some(exact)) return { duck: made.sql, ...made, scale: relation.scale }
  }
}
