// Rows of tussock and of DuckDB as the same texts, and the difference of two multisets of them.

/** `1.50` and `1.5` are one number. */
function decimal(text) {
  let shown = text
  if (shown.includes('.')) shown = shown.replace(/0+$/, '').replace(/\.$/, '')
  return shown === '-0' ? '0' : shown
}

/** `2024-03-01 00:00:20.5`, with or without T and Z, as microseconds since 1970. */
function micros(text) {
  const [, seconds, fraction = ''] = /^(.*?\d\d:\d\d:\d\d)(?:\.(\d+))?/.exec(text)
  const milliseconds = Date.parse(`${seconds.replace(' ', 'T')}Z`)
  return BigInt(milliseconds) * 1000n + BigInt(fraction.padEnd(6, '0'))
}

function canonical(value, type) {
  if (value === null || value === undefined) return '∅'
  switch (type) {
    case 'timestamp':
      if (value instanceof Date) return String(BigInt(value.getTime()) * 1000n)
      return typeof value === 'string' ? String(micros(value)) : String(value.micros)
    case 'double':
      return String(Number(value) + 0)
    case 'average':
      // A quotient: a double there, a numeric here.
      return Number(Number(value).toPrecision(10)) === 0
        ? '0'
        : Number(String(value)).toPrecision(10)
    case 'varchar':
      return JSON.stringify(value)
    case 'boolean':
      return String(value)
    default:
      return decimal(String(value))
  }
}

/** Rows as objects by column name. */
export function canonicalRows(rows, columns) {
  return rows.map((row) => columns.map(({ name, type }) => canonical(row[name], type)).join(' | '))
}

/** Rows as arrays. */
export function canonicalTuples(rows, columns) {
  return rows.map((row) => columns.map(({ type }, i) => canonical(row[i], type)).join(' | '))
}

/** What one multiset has more than the other, as a short text; null when they are equal. */
export function difference(got, wanted) {
  const counts = new Map()
  for (const row of got) counts.set(row, (counts.get(row) ?? 0) + 1)
  for (const row of wanted) counts.set(row, (counts.get(row) ?? 0) - 1)
  const wrong = [...counts].filter(([, count]) => count !== 0)
  if (wrong.length === 0) return null
  const shown = wrong
    .slice(0, 8)
    .map(([row, count]) =>
      count > 0 ? `  too much, ${count} times: ${row}` : `  missing, ${-count} times: ${row}`,
    )
  const sizes = `${got.length} rows, wanted ${wanted.length}, ${wrong.length} differ`
  return [sizes, ...shown].join('\n')
}
