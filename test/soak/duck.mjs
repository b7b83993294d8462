// The mirror in DuckDB: the rows that were acknowledged, and the same views as plain views.
import { DuckDBInstance } from '@duckdb/node-api'

const SQL_TYPES = {
  integer: 'INTEGER',
  bigint: 'BIGINT',
  wide: 'BIGINT',
  numeric: 'DECIMAL(18,4)',
  double: 'DOUBLE',
  varchar: 'VARCHAR',
  boolean: 'BOOLEAN',
  timestamp: 'TIMESTAMP',
}

const quote = (text) => `'${text.replaceAll("'", "''")}'`

/** A value as a literal that both databases take. */
export function literal(value, type) {
  if (value === null) return 'NULL'
  if (type === 'varchar') return quote(value)
  if (type === 'timestamp') return `TIMESTAMP '${value}'`
  if (type === 'boolean') return String(value)
  if (type === 'double') return `CAST(${value} AS DOUBLE PRECISION)`
  return String(value)
}

const duckLiteral = (value, type) =>
  value === null || type === 'varchar' || type === 'boolean' || type === 'timestamp'
    ? literal(value, type)
    : `CAST(${value} AS ${SQL_TYPES[type]})`

export class Duck {
  static async open() {
    const instance = await DuckDBInstance.create(':memory:', { threads: '1' })
    return new Duck(instance, await instance.connect())
  }

  constructor(instance, connection) {
    this.instance = instance
    this.connection = connection
  }

  async createTable({ name, columns }) {
    const fields = columns.map((column) => `${column.name} ${SQL_TYPES[column.type]}`)
    await this.connection.run(`CREATE TABLE ${name} (${fields.join(', ')})`)
  }

  async createView(name, sql) {
    await this.connection.run(`CREATE VIEW ${name} AS ${sql}`)
  }

  async drop(kind, name) {
    await this.connection.run(`DROP ${kind} ${name}`)
  }

  /** Rows over a key replace those that are there, the last one of a batch wins. */
  async insert(table, rows) {
    const { name, columns, key } = table
    let kept = rows
    if (key.length > 0) {
      const keyOf = (row) => key.map((column) => String(row[column])).join('\u0001')
      kept = [...new Map(rows.map((row) => [keyOf(row), row])).values()]
      const of = (column) => columns.find((candidate) => candidate.name === column)
      const keys = kept.map(
        (row) => `(${key.map((k) => duckLiteral(row[k], of(k).type)).join(', ')})`,
      )
      const tuple = `(${key.join(', ')})`
      await this.connection.run(
        `DELETE FROM ${name} WHERE ${tuple} IN (SELECT ${tuple.slice(1, -1)} FROM (VALUES ${keys.join(', ')}) x${tuple})`,
      )
    }
    const tuples = kept.map(
      (row) =>
        `(${columns.map((column) => duckLiteral(row[column.name], column.type)).join(', ')})`,
    )
    await this.connection.run(`INSERT INTO ${name} VALUES ${tuples.join(', ')}`)
  }

  async run(sql) {
    await this.connection.run(sql)
  }

  /** Rows as arrays of values. */
  async rows(sql) {
    const result = await this.connection.runAndReadAll(sql)
    return result.getRows()
  }

  close() {
    this.connection.closeSync()
    this.instance.closeSync()
  }
}
