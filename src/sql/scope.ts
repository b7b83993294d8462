/** The columns that names may mean at one place of a query. */
import { didYouMean } from '../common/did-you-mean.ts'
import type { DataType } from '../stream/schema.ts'
import { sqlError, unsupported } from './sql-error.ts'

export interface ScopeColumn {
  /** Null for a relation without a name. */
  readonly relation: string | null
  readonly name: string
  readonly type: DataType
  /** Position in the input that expressions refer to. */
  readonly index: number
}

export class Scope {
  readonly columns: readonly ScopeColumn[]

  constructor(columns: readonly ScopeColumn[]) {
    this.columns = columns
  }

  /** The columns of both; those of `other` stand behind. */
  concat(other: Scope): Scope {
    const offset = this.columns.length
    const shifted = other.columns.map((column) => ({ ...column, index: column.index + offset }))
    return new Scope([...this.columns, ...shifted])
  }

  /** @throws 42703, 42702 ambiguous, 42P01 unknown relation */
  resolve(path: readonly string[], position: number): ScopeColumn {
    if (path.length > 2) throw unsupported('a schema name is', position)
    const name = path[path.length - 1]
    const relation = path.length === 2 ? path[0] : null
    const candidates = relation === null ? this.columns : this.columnsOf(relation, position)
    const found = candidates.filter((column) => column.name === name)
    if (found.length === 1) return found[0]
    const text = path.join('.')
    if (found.length > 1) {
      const hint = `write ${found.map((column) => `${column.relation}.${name}`).join(' or ')}`
      throw sqlError('42702', `column reference "${text}" is ambiguous`, position, hint)
    }
    const hint = didYouMean(
      name,
      candidates.map((column) => column.name),
    )
    throw sqlError('42703', `column "${text}" does not exist`, position, hint)
  }

  /** `relation.*`, or `*` for null. @throws 42P01 */
  columnsOf(relation: string | null, position: number): readonly ScopeColumn[] {
    if (relation === null) return this.columns
    const found = this.columns.filter((column) => column.relation === relation)
    if (found.length > 0) return found
    const names = new Set(this.columns.flatMap((column) => column.relation ?? []))
    const message = `missing FROM-clause entry for table "${relation}"`
    throw sqlError('42P01', message, position, didYouMean(relation, names))
  }
}
