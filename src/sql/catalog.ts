/**
 * What the database knows of its objects: plain data, kept with msgpack and committed with an epoch.
 * Every change gives a new catalog; ids only grow and are never given again.
 */

import { didYouMean } from '../common/did-you-mean.ts'
import type { JobPlan, StateTableSpec } from '../stream/plan.ts'
import type { DataType } from '../stream/schema.ts'
import type { Name, ObjectKind, Properties } from './ast.ts'
import { sqlError } from './sql-error.ts'

export interface CatalogColumn {
  readonly name: string
  readonly type: DataType
  readonly notNull: boolean
  /** Kept for the stream key or distribution; not shown by `SELECT *` and not nameable. */
  readonly hidden: boolean
}

export interface CatalogObject {
  readonly id: number
  readonly kind: ObjectKind
  readonly name: string
  /** The CREATE statement as written. */
  readonly sql: string
  /** Visible ones first, then hidden ones: the schema of `table`. Empty for sinks. */
  readonly columns: readonly CatalogColumn[]
  /** Declared primary key (tables, sources): positions in `columns`; empty for none. */
  readonly primaryKey: readonly number[]
  /** Only inserts come out of it. */
  readonly appendOnly: boolean
  readonly properties: Properties
  /** Ids of the objects it reads. */
  readonly dependsOn: readonly number[]
  /** What runs; null for sources, which run inside the jobs that read them. */
  readonly plan: JobPlan | null
  /** Tables and views: where the rows are. */
  readonly table: StateTableSpec | null
  /** Tables and views: the fragment whose output are the changes. */
  readonly outputFragment: number
}

export interface Catalog {
  /** Raised with each change. */
  readonly revision: number
  readonly nextObjectId: number
  /** State tables and source operators, which share one space of ids; 1 and up. */
  readonly nextTableId: number
  readonly nextFragmentId: number
  readonly objects: readonly CatalogObject[]
}

export function emptyCatalog(): Catalog {
  return {
    revision: 0,
    nextObjectId: 1,
    nextTableId: 1,
    nextFragmentId: 1,
    objects: [],
  }
}

export function findObject(catalog: Catalog, name: string): CatalogObject | null {
  return catalog.objects.find((object) => object.name === name) ?? null
}

/** @throws SQL_UNDEFINED_TABLE (42P01) */
export function getObject(catalog: Catalog, { name, position }: Name): CatalogObject {
  const object = findObject(catalog, name)
  if (object !== null) return object
  const hint = didYouMean(
    name,
    catalog.objects.map((candidate) => candidate.name),
  )
  throw sqlError('42P01', `relation "${name}" does not exist`, position, hint)
}

/** Every state table that an object's job owns: what a DROP gives back. */
export function stateTablesOf(plan: JobPlan): readonly StateTableSpec[] {
  return plan.fragments.flatMap((fragment) =>
    fragment.operators.flatMap((operator) => {
      switch (operator.kind) {
        case 'hash-join':
          return [operator.leftTable, operator.rightTable]
        case 'hash-aggregate':
          return [operator.table, ...operator.valueTables.filter((table) => table !== null)]
        case 'materialize':
          return [operator.table]
        default:
          return []
      }
    }),
  )
}

export const KIND_NAMES: Readonly<Record<ObjectKind, string>> = {
  source: 'source',
  table: 'table',
  view: 'materialized view',
  sink: 'sink',
}

export interface DropResult {
  readonly catalog: Catalog
  /** Null when IF EXISTS found nothing. */
  readonly dropped: CatalogObject | null
}

/** @throws 42P01 not there, 42809 of another kind, 2BP01 others read it */
export function dropObject(
  catalog: Catalog,
  name: Name,
  options: { readonly kind: ObjectKind; readonly ifExists: boolean },
): DropResult {
  if (options.ifExists && findObject(catalog, name.name) === null) return { catalog, dropped: null }
  const object = getObject(catalog, name)
  const actual = KIND_NAMES[object.kind]
  const wanted = KIND_NAMES[options.kind]
  if (object.kind !== options.kind) {
    const hint = `use DROP ${actual.toUpperCase()}`
    throw sqlError('42809', `"${name.name}" is a ${actual}, not a ${wanted}`, name.position, hint)
  }
  const readers = catalog.objects.filter((other) => other.dependsOn.includes(object.id))
  if (readers.length > 0) {
    const list = readers.map((reader) => `${KIND_NAMES[reader.kind]} ${reader.name}`).join(', ')
    const message = `cannot drop ${actual} ${name.name}: ${list} depends on it`
    throw sqlError('2BP01', message, name.position, `drop ${list} first`)
  }
  const objects = catalog.objects.filter((other) => other !== object)
  return { catalog: { ...catalog, revision: catalog.revision + 1, objects }, dropped: object }
}
