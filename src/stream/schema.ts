/** Types and names of the columns that flow; PostgreSQL's names for its types. */

/**
 * How each type stands in a `Column` (narrow form, `numbers`):
 * boolean 0/1; smallint, integer, bigint the integer; real, double the number (NaN is largest and
 * equals itself); numeric the integer `value x 10^scale`; date days since 1970-01-01; time
 * microseconds since midnight; timestamp and timestamptz microseconds since 1970-01-01T00:00Z;
 * interval microseconds (months are refused so far). varchar and bytea stand in `offsets`/`data`.
 */
export type DataType =
  | 'boolean'
  | 'smallint'
  | 'integer'
  | 'bigint'
  | 'real'
  | 'double'
  | 'numeric'
  | 'varchar'
  | 'bytea'
  | 'date'
  | 'time'
  | 'timestamp'
  | 'timestamptz'
  | 'interval'

export interface Field {
  readonly name: string
  readonly type: DataType
}

export type Schema = readonly Field[]

/** True where values are bytes of variable length. */
export function isText(type: DataType): boolean {
  return type === 'varchar' || type === 'bytea'
}

/** True where the value is a 64-bit (or, for numeric, unbounded) integer inside. */
export function isExact(type: DataType): boolean {
  return !isText(type) && type !== 'real' && type !== 'double'
}

/** PostgreSQL's spelling of a type, for messages. */
export function typeName(type: DataType): string {
  switch (type) {
    case 'double':
      return 'double precision'
    case 'varchar':
      return 'character varying'
    case 'timestamp':
      return 'timestamp without time zone'
    case 'timestamptz':
      return 'timestamp with time zone'
    default:
      return type
  }
}
