/**
 * The boundary between `sql` (which makes plans), `runtime` (which places them) and `actors` (which
 * run them). Everything here is plain data: it crosses threads and is kept in the catalog (msgpack).
 */
import type { DataType, Field, Schema } from './schema.ts'

/** A bound, typed expression over the columns of one chunk. */
export type Expression =
  | { readonly kind: 'column'; readonly index: number; readonly type: DataType }
  | {
      readonly kind: 'literal'
      readonly type: DataType
      /** As in `Column`, narrow form; exact values beyond 2^53 as decimal text; text as itself; bytea as hex. */
      readonly value: number | string | boolean | null
      readonly scale: number
    }
  | {
      readonly kind: 'call'
      readonly name: ScalarFunction
      readonly args: readonly Expression[]
      readonly type: DataType
    }
  | {
      readonly kind: 'case'
      readonly branches: readonly { readonly when: Expression; readonly then: Expression }[]
      readonly otherwise: Expression | null
      readonly type: DataType
    }
  | { readonly kind: 'cast'; readonly argument: Expression; readonly type: DataType }

/**
 * Built-in scalar functions. Arguments of arithmetic and comparison were brought to one common type by
 * the binder. `in` is `args[0] IN (literals…)`; `between` is bound as two comparisons. `tumble_start`:
 * (timestamp, interval). `date_trunc`: (literal unit, timestamp). `like`: (text, literal pattern).
 */
export type ScalarFunction =
  | 'add'
  | 'subtract'
  | 'multiply'
  | 'divide'
  | 'modulo'
  | 'negate'
  | 'equal'
  | 'not_equal'
  | 'less'
  | 'less_equal'
  | 'greater'
  | 'greater_equal'
  | 'is_distinct'
  | 'is_not_distinct'
  | 'and'
  | 'or'
  | 'not'
  | 'is_null'
  | 'is_not_null'
  | 'is_true'
  | 'is_false'
  | 'in'
  | 'coalesce'
  | 'nullif'
  | 'greatest'
  | 'least'
  | 'abs'
  | 'round'
  | 'floor'
  | 'ceil'
  | 'lower'
  | 'upper'
  | 'length'
  | 'concat'
  | 'substring'
  | 'like'
  | 'tumble_start'
  | 'date_trunc'
  | 'extract'

export type AggregateFunction = 'count_star' | 'count' | 'sum' | 'min' | 'max' | 'avg'

export interface AggregateCall {
  readonly name: AggregateFunction
  /** Input column; -1 for count_star. */
  readonly column: number
  readonly argumentType: DataType | null
  readonly type: DataType
  /** FILTER (WHERE …): a boolean input column that must be true; -1 for none. */
  readonly filterColumn: number
}

/**
 * One table of keys and values in the store. Key: vnode of `distribution`, then `key` columns in
 * order, memcomparable. Value: all columns that are not in the key. Columns are positions in `schema`.
 */
export interface StateTableSpec {
  readonly tableId: number
  readonly name: string
  readonly group: 'state' | 'materialized'
  readonly schema: Schema
  readonly key: readonly { readonly column: number; readonly descending: boolean }[]
  readonly distribution: readonly number[]
  /** Leading key columns that readers look up by: the filter is built over them. 0 = no filter. */
  readonly prefixColumns: number
}

export type SortKey = {
  readonly column: number
  readonly descending: boolean
  readonly nullsFirst: boolean
}

/** One operator of a fragment. The first of a fragment is its head, the others are unary. */
export type OperatorPlan =
  /** Head. Rows of an outside source; `rowIdColumn` is the output column that gets a unique bigint, or -1. */
  | {
      readonly kind: 'source'
      readonly sourceId: number
      readonly connector: string
      readonly properties: Readonly<Record<string, string>>
      /** Wanted columns by the connector's own names, in output order (pruned). */
      readonly columns: readonly Field[]
      readonly rowIdColumn: number
    }
  /** Head. Rows that DML statements and `table().insert` bring; one actor a table, so that their order is kept. */
  | {
      readonly kind: 'dml'
      readonly tableId: number
      /** All columns, hidden ones too: batches have exactly these. */
      readonly schema: Schema
      /** Column that gets a unique bigint where a batch holds null (the counter is the offset of source `tableId`), or -1. */
      readonly rowIdColumn: number
    }
  /** Head. One input exchange, passed on. */
  | { readonly kind: 'merge'; readonly schema: Schema }
  /**
   * Head. Inner join of two inputs; output = left columns then right columns, cut to `output`. The schemas of
   * the tables are those of the inputs; their keys begin with the join columns, in the order of `leftKeys` and
   * `rightKeys`, which have equal types pairwise.
   */
  | {
      readonly kind: 'hash-join'
      readonly leftSchema: Schema
      readonly rightSchema: Schema
      readonly leftKeys: readonly number[]
      readonly rightKeys: readonly number[]
      /** Over left columns then right columns; null for none. */
      readonly condition: Expression | null
      readonly output: readonly number[]
      readonly leftTable: StateTableSpec
      readonly rightTable: StateTableSpec
    }
  | { readonly kind: 'filter'; readonly predicate: Expression }
  | { readonly kind: 'project'; readonly expressions: readonly Expression[] }
  /**
   * Output = group columns, then one column a call. State: group key → accumulators and row count.
   * `table.schema` begins with the group columns in the order of `groupKeys`, and these are its key; the operator
   * alone knows the value columns (`aggregateStateSchema`), so the plan may leave them out.
   */
  | {
      readonly kind: 'hash-aggregate'
      readonly inputSchema: Schema
      readonly groupKeys: readonly number[]
      /** Input columns that identify a row; used by `valueTables`. */
      readonly streamKey: readonly number[]
      readonly calls: readonly AggregateCall[]
      /** No deletes can arrive: min and max keep one value. */
      readonly appendOnly: boolean
      readonly table: StateTableSpec
      /**
       * For min/max that must survive deletes: one table of sorted values a call, else null. Schema: group
       * columns, the argument, then the columns of `streamKey`; all of them are the key, in this order (a stream
       * key column that is a group column too may stand there twice), the argument descending for max.
       */
      readonly valueTables: readonly (StateTableSpec | null)[]
    }
  /**
   * Writes the rows to `table` and passes the changes on. With `overwrite` an insert of a key that is
   * there becomes an update (tables with a primary key); without, changes are exact already (views).
   */
  | { readonly kind: 'materialize'; readonly table: StateTableSpec; readonly overwrite: boolean }
  | {
      readonly kind: 'sink'
      readonly sinkId: number
      readonly connector: string
      readonly properties: Readonly<Record<string, string>>
      readonly schema: Schema
    }

/** How rows of one fragment reach the actors of another. */
export type Distribution =
  | { readonly kind: 'hash'; readonly columns: readonly number[] }
  | { readonly kind: 'forward' }
  | { readonly kind: 'broadcast' }
  | { readonly kind: 'single' }

export interface FragmentPlan {
  /** Unique within the database; never reused. */
  readonly fragmentId: number
  /** 'all': one actor on each worker; 'single': one actor in all. */
  readonly parallelism: 'all' | 'single'
  readonly operators: readonly OperatorPlan[]
  /** Schema of what leaves the last operator. */
  readonly schema: Schema
}

export interface ExchangePlan {
  readonly fromFragment: number
  readonly toFragment: number
  /** Which input of the head: 0, or 1 for the right side of a join. */
  readonly input: number
  readonly distribution: Distribution
  /**
   * The upstream is a table or view of another job: when this job starts, the upstream actor first
   * sends the rows it holds as inserts, then the live changes. Always 'forward'.
   */
  readonly snapshot: boolean
}

/** What one CREATE statement runs: fragments and the exchanges that feed them (also from other jobs). */
export interface JobPlan {
  readonly jobId: number
  readonly fragments: readonly FragmentPlan[]
  readonly exchanges: readonly ExchangePlan[]
}
