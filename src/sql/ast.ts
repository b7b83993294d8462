/**
 * The syntax tree: what a statement says, names not yet resolved. Positions are 0-based UTF-16 offsets
 * in the script that was given to `parseScript`.
 */
import type { DataType } from '../stream/schema.ts'

interface Positioned {
  readonly position: number
}

export interface Name extends Positioned {
  readonly name: string
}

export type ExpressionAst = Positioned &
  (
    | {
        readonly kind: 'column'
        readonly path: readonly string[]
        /** Set where `*` was spelled out: the very column, whose name need not be unique. */
        readonly index?: number
      }
    | { readonly kind: 'star'; readonly qualifier: string | null }
    | { readonly kind: 'number'; readonly text: string }
    | { readonly kind: 'string'; readonly value: string }
    | { readonly kind: 'boolean'; readonly value: boolean }
    | { readonly kind: 'null' }
    /** `$index`, from 1. */
    | { readonly kind: 'parameter'; readonly index: number }
    /** DEFAULT, in VALUES and SET. */
    | { readonly kind: 'default' }
    /** `args` has one item for a prefix operator. */
    | { readonly kind: 'operator'; readonly name: string; readonly args: readonly ExpressionAst[] }
    | {
        readonly kind: 'logic'
        readonly name: 'and' | 'or' | 'not'
        readonly args: readonly ExpressionAst[]
      }
    | {
        readonly kind: 'test'
        readonly test: 'null' | 'true' | 'false' | 'unknown'
        readonly negated: boolean
        readonly argument: ExpressionAst
      }
    | {
        readonly kind: 'in'
        readonly argument: ExpressionAst
        readonly items: readonly ExpressionAst[]
        readonly negated: boolean
      }
    | {
        readonly kind: 'between'
        readonly argument: ExpressionAst
        readonly low: ExpressionAst
        readonly high: ExpressionAst
        readonly negated: boolean
      }
    | {
        readonly kind: 'like'
        readonly argument: ExpressionAst
        readonly pattern: ExpressionAst
        readonly negated: boolean
      }
    | {
        readonly kind: 'case'
        readonly operand: ExpressionAst | null
        readonly branches: readonly {
          readonly when: ExpressionAst
          readonly result: ExpressionAst
        }[]
        readonly otherwise: ExpressionAst | null
      }
    | { readonly kind: 'cast'; readonly argument: ExpressionAst; readonly type: TypeAst }
    | {
        readonly kind: 'function'
        readonly name: string
        readonly args: readonly ExpressionAst[]
        readonly star: boolean
        readonly distinct: boolean
        readonly filter: ExpressionAst | null
      }
  )

export interface TypeAst extends Positioned {
  readonly type: DataType
  /** The unit of an INTERVAL '…' UNIT literal; null for others. */
  readonly intervalUnit: string | null
}

export interface ColumnAst extends Positioned {
  readonly name: string
  readonly type: DataType
  readonly notNull: boolean
}

export type FromAst = Positioned &
  (
    | {
        readonly kind: 'relation'
        readonly name: string
        readonly alias: string | null
        readonly columnAliases: readonly string[]
      }
    | {
        readonly kind: 'subquery'
        readonly query: SelectAst
        readonly alias: string | null
        readonly columnAliases: readonly string[]
      }
    | {
        readonly kind: 'tumble'
        readonly input: FromAst
        readonly timeColumn: ExpressionAst
        readonly size: ExpressionAst
        readonly alias: string | null
        readonly columnAliases: readonly string[]
      }
    | {
        readonly kind: 'join'
        readonly left: FromAst
        readonly right: FromAst
        readonly on: ExpressionAst | null
      }
  )

export interface SelectItemAst extends Positioned {
  readonly expression: ExpressionAst
  readonly alias: string | null
}

export interface OrderAst extends Positioned {
  readonly expression: ExpressionAst
  readonly descending: boolean
  readonly nullsFirst: boolean
}

export interface SelectAst extends Positioned {
  readonly distinct: boolean
  readonly items: readonly SelectItemAst[]
  readonly from: readonly FromAst[]
  readonly where: ExpressionAst | null
  readonly groupBy: readonly ExpressionAst[]
  readonly having: ExpressionAst | null
  readonly orderBy: readonly OrderAst[]
  readonly limit: ExpressionAst | null
  readonly offset: ExpressionAst | null
  /** VALUES (…), (…): then all others are empty. */
  readonly values: readonly (readonly ExpressionAst[])[] | null
}

export interface AssignmentAst extends Positioned {
  readonly column: string
  readonly value: ExpressionAst
}

export type Properties = Readonly<Record<string, string>>
export type ObjectKind = 'source' | 'table' | 'view' | 'sink'

interface StatementBase extends Positioned {
  /** The statement as written, without the semicolon. */
  readonly text: string
}

export type StatementAst = StatementBase &
  (
    | { readonly kind: 'select'; readonly query: SelectAst }
    | {
        readonly kind: 'create-source'
        readonly name: Name
        readonly ifNotExists: boolean
        readonly columns: readonly ColumnAst[]
        readonly primaryKey: readonly Name[]
        readonly properties: Properties
      }
    | {
        readonly kind: 'create-table'
        readonly name: Name
        readonly ifNotExists: boolean
        readonly columns: readonly ColumnAst[]
        readonly primaryKey: readonly Name[]
      }
    | {
        readonly kind: 'create-view'
        readonly name: Name
        readonly ifNotExists: boolean
        readonly columnAliases: readonly string[]
        readonly query: SelectAst
      }
    | {
        readonly kind: 'create-sink'
        readonly name: Name
        readonly ifNotExists: boolean
        readonly query: SelectAst
        readonly properties: Properties
      }
    | {
        readonly kind: 'drop'
        readonly objectKind: ObjectKind
        readonly name: Name
        readonly ifExists: boolean
      }
    | { readonly kind: 'show'; readonly objectKind: ObjectKind }
    | { readonly kind: 'describe'; readonly name: Name }
    | { readonly kind: 'explain'; readonly statement: StatementAst }
    | {
        readonly kind: 'insert'
        readonly table: Name
        /** Null: all, in table order. */
        readonly columns: readonly Name[] | null
        readonly query: SelectAst
      }
    | {
        readonly kind: 'update'
        readonly table: Name
        readonly alias: string | null
        readonly assignments: readonly AssignmentAst[]
        readonly where: ExpressionAst | null
      }
    | {
        readonly kind: 'delete'
        readonly table: Name
        readonly alias: string | null
        readonly where: ExpressionAst | null
      }
    | { readonly kind: 'flush' }
  )

export type StatementOf<Kind extends StatementAst['kind']> = Extract<
  StatementAst,
  { readonly kind: Kind }
>
