/**
 * Logical plan → fragments cut at exchanges, with what streaming adds: stream keys, distribution and
 * the state tables. The same builder serves queries: there everything is one actor, scans are heads that
 * the executor feeds, and only inserts flow.
 */
import { assert } from '../common/assert.ts'
import type {
  Distribution,
  ExchangePlan,
  Expression,
  FragmentPlan,
  OperatorPlan,
  StateTableSpec,
} from '../stream/plan.ts'
import type { Field, Schema } from '../stream/schema.ts'
import type { CatalogObject } from './catalog.ts'
import { conjuncts, type LogicalPlan, mapColumns, pick } from './logical.ts'
import { sqlError, unsupported } from './sql-error.ts'

export const ROW_ID = '_row_id'

/** Hands out ids that are never given again; what is left over goes back into the catalog. */
export class IdSource {
  nextTableId: number
  nextFragmentId: number

  constructor(from: { readonly nextTableId: number; readonly nextFragmentId: number }) {
    this.nextTableId = from.nextTableId
    this.nextFragmentId = from.nextFragmentId
  }

  tableId(): number {
    return this.nextTableId++
  }

  fragmentId(): number {
    return this.nextFragmentId++
  }
}

/** A fragment that can still grow at its end. */
export interface FragmentDraft {
  readonly id: number
  readonly parallelism: 'all' | 'single'
  readonly operators: OperatorPlan[]
  schema: Schema
}

/** How rows are spread over the actors of a fragment. */
type Spread =
  | { readonly kind: 'single' }
  | { readonly kind: 'unknown' }
  /** By hash of these columns; each is named by all the positions that hold its value. */
  | { readonly kind: 'hash'; readonly columns: readonly (readonly number[])[] }

/** What leaves a fragment under construction. */
export interface Stream {
  readonly fragment: FragmentDraft
  readonly schema: Schema
  /** Column of the logical plan → column of `schema`, which may have more. */
  readonly columns: readonly number[]
  /** The stream key; null where nobody asked for it. */
  readonly key: readonly number[] | null
  readonly spread: Spread
  readonly appendOnly: boolean
}

/** A scan of a query, which the executor feeds into the head of `fragmentId`. */
export interface QueryScan {
  readonly fragmentId: number
  readonly object: CatalogObject
  readonly table: StateTableSpec
  /** Wanted columns: positions in `table.schema`, in the order of the head's schema. */
  readonly columns: readonly number[]
  /** Values (literals) of the first columns of the table's key that every wanted row has. */
  readonly keyPrefix: readonly Expression[]
}

/** Constant rows of a query. */
export interface QueryValues {
  readonly fragmentId: number
  readonly rows: readonly (readonly Expression[])[]
}

export class Fragmenter {
  readonly scans: QueryScan[] = []
  readonly values: QueryValues[] = []
  readonly dependsOn = new Set<number>()
  private readonly mode: 'stream' | 'query'
  private readonly ids: IdSource
  private readonly jobName: string
  private readonly fragments: FragmentDraft[] = []
  private readonly exchanges: ExchangePlan[] = []

  /** @param jobName begins the names of state tables */
  constructor(mode: 'stream' | 'query', ids: IdSource, jobName: string) {
    this.mode = mode
    this.ids = ids
    this.jobName = jobName
  }

  finish(): { readonly fragments: FragmentPlan[]; readonly exchanges: ExchangePlan[] } {
    const fragments = this.fragments.map(({ id, parallelism, operators, schema }) => ({
      fragmentId: id,
      parallelism,
      operators,
      schema,
    }))
    return { fragments, exchanges: this.exchanges }
  }

  fragment(parallelism: 'all' | 'single', head: OperatorPlan, schema: Schema): FragmentDraft {
    const actual = this.mode === 'query' ? 'single' : parallelism
    const id = this.ids.fragmentId()
    const draft: FragmentDraft = { id, parallelism: actual, operators: [head], schema }
    this.fragments.push(draft)
    return draft
  }

  connect(from: FragmentDraft, to: FragmentDraft, input: number, distribution: Distribution): void {
    this.exchanges.push({
      fromFragment: from.id,
      toFragment: to.id,
      input,
      distribution,
      snapshot: false,
    })
  }

  table(
    name: string,
    layout: Omit<StateTableSpec, 'tableId' | 'name' | 'key'> & { readonly key: readonly number[] },
  ): StateTableSpec {
    const key = layout.key.map((column) => ({ column, descending: false }))
    return { ...layout, tableId: this.ids.tableId(), name: `${this.jobName}.${name}`, key }
  }

  /** @param needKey whether the rows must carry their stream key */
  build(plan: LogicalPlan, needKey: boolean): Stream {
    switch (plan.kind) {
      case 'scan':
        return this.scan(plan, needKey, [])
      case 'values':
        return this.constantRows(plan)
      case 'filter': {
        const input =
          plan.input.kind === 'scan'
            ? this.scan(plan.input, needKey, conjuncts(plan.predicate))
            : this.build(plan.input, needKey)
        const predicate = onto(plan.predicate, input.columns)
        input.fragment.operators.push({ kind: 'filter', predicate })
        return input
      }
      case 'project':
        return this.project(plan, needKey)
      case 'join':
        return this.join(plan, needKey)
      case 'aggregate':
        return this.aggregate(plan)
    }
  }

  private scan(
    plan: Extract<LogicalPlan, { kind: 'scan' }>,
    needKey: boolean,
    predicates: readonly Expression[],
  ): Stream {
    this.dependsOn.add(plan.object.id)
    if (this.mode === 'query') return this.queryScan(plan, predicates)
    return plan.object.kind === 'source'
      ? this.sourceScan(plan, needKey)
      : this.upstreamScan(plan, needKey)
  }

  private sourceScan(plan: Extract<LogicalPlan, { kind: 'scan' }>, needKey: boolean): Stream {
    const { object } = plan
    const { connector, ...properties } = object.properties
    const wanted = plan.columns.length > 0 || needKey ? plan.columns : [cheapest(object)]
    const schema: Field[] = wanted.map((index) => fieldOf(object, index))
    if (needKey) schema.push({ name: ROW_ID, type: 'bigint' })
    const rowIdColumn = needKey ? schema.length - 1 : -1
    const head: OperatorPlan = {
      kind: 'source',
      // From the counter of table ids: the offsets of sources and DML heads share one space of names.
      sourceId: this.ids.tableId(),
      connector,
      properties,
      columns: schema,
      rowIdColumn,
    }
    return {
      fragment: this.fragment('all', head, schema),
      schema,
      columns: plan.columns.map((_, index) => index),
      key: needKey ? [rowIdColumn] : null,
      spread: { kind: 'unknown' },
      appendOnly: true,
    }
  }

  /** Rows of a table or view of another job: first those it holds, then its changes. */
  private upstreamScan(plan: Extract<LogicalPlan, { kind: 'scan' }>, needKey: boolean): Stream {
    const { object } = plan
    const { table, outputFragment } = object
    const upstream = object.plan?.fragments.find((item) => item.fragmentId === outputFragment)
    assert(table !== null && upstream !== undefined, 'tables and views run and keep rows')
    const schema = table.schema
    const draft = this.fragment(upstream.parallelism, { kind: 'merge', schema }, schema)
    this.exchanges.push({
      fromFragment: outputFragment,
      toFragment: draft.id,
      input: 0,
      distribution: { kind: 'forward' },
      snapshot: true,
    })
    const stream: Stream = {
      fragment: draft,
      schema,
      columns: plan.columns,
      key: table.key.map((item) => item.column),
      spread:
        upstream.parallelism === 'single'
          ? { kind: 'single' }
          : { kind: 'hash', columns: table.distribution.map((column) => [column]) },
      appendOnly: object.appendOnly,
    }
    const wanted = plan.columns.length > 0 || needKey ? plan.columns : [cheapest(object)]
    const kept = needKey ? unique([...wanted, ...(stream.key ?? [])]) : unique(wanted)
    return this.arrange(stream, kept)
  }

  private queryScan(
    plan: Extract<LogicalPlan, { kind: 'scan' }>,
    predicates: readonly Expression[],
  ): Stream {
    const { object, position } = plan
    if (object.table === null) {
      const hint = 'create a materialized view over it and select from that'
      throw unsupported(`reading the source "${object.name}" in a query is`, position, hint)
    }
    const table = object.table
    const wanted = plan.columns.length > 0 ? plan.columns : [cheapest(object)]
    // The stream key makes rows of a join's state distinct; a few more columns cost little here.
    const columns = unique([...wanted, ...table.key.map((item) => item.column)])
    const schema = pick(table.schema, columns)
    const draft = this.fragment('single', { kind: 'merge', schema }, schema)
    const keyPrefix = keyPrefixOf(table, plan.columns, predicates)
    this.scans.push({ fragmentId: draft.id, object, table, columns, keyPrefix })
    return {
      fragment: draft,
      schema,
      columns: plan.columns.map((index) => columns.indexOf(index)),
      key: table.key.map((item) => columns.indexOf(item.column)),
      spread: { kind: 'single' },
      appendOnly: true,
    }
  }

  private constantRows(plan: Extract<LogicalPlan, { kind: 'values' }>): Stream {
    if (this.mode === 'stream') {
      throw sqlError('0A000', 'a streaming query without FROM is not supported yet', -1)
    }
    const { schema } = plan
    const draft = this.fragment('single', { kind: 'merge', schema }, schema)
    this.values.push({ fragmentId: draft.id, rows: plan.rows })
    return {
      fragment: draft,
      schema,
      columns: schema.map((_, index) => index),
      key: [],
      spread: { kind: 'single' },
      appendOnly: true,
    }
  }

  private project(plan: Extract<LogicalPlan, { kind: 'project' }>, needKey: boolean): Stream {
    const input = this.build(plan.input, needKey)
    const expressions = plan.expressions.map((item) => onto(item, input.columns))
    return this.projectPhysical(input, expressions, plan.schema, needKey ? (input.key ?? []) : null)
  }

  /** Only these columns of the stream, in this order. Free when that is what it has. */
  arrange(stream: Stream, kept: readonly number[]): Stream {
    const position = (index: number): number => kept.indexOf(index)
    if (kept.length === stream.schema.length && kept.every((index, i) => index === i)) return stream
    const schema = pick(stream.schema, kept)
    const expressions = kept.map((index) => columnOf(stream.schema, index))
    pushProject(stream.fragment, expressions)
    stream.fragment.schema = schema
    const hasKey = stream.key?.every((index) => kept.includes(index))
    return {
      ...stream,
      schema,
      columns: stream.columns.map(position),
      key: hasKey === true && stream.key !== null ? stream.key.map(position) : null,
      spread: moveSpread(stream.spread, (index) => [position(index)].filter((at) => at >= 0)),
    }
  }

  /** Computes `expressions`; the columns of `key` that are not among them stand behind. */
  private projectPhysical(
    input: Stream,
    expressions: readonly Expression[],
    schema: Schema,
    key: readonly number[] | null,
  ): Stream {
    const all = [...expressions]
    const fields = [...schema]
    const positionsOf = (index: number): number[] =>
      all.flatMap((item, at) => (item.kind === 'column' && item.index === index ? [at] : []))
    for (const index of key ?? []) {
      if (positionsOf(index).length > 0) continue
      all.push(columnOf(input.schema, index))
      fields.push(input.schema[index])
    }
    const isSame =
      all.length === input.schema.length &&
      all.every((item, index) => item.kind === 'column' && item.index === index)
    if (!isSame) pushProject(input.fragment, all)
    input.fragment.schema = fields
    return {
      ...input,
      schema: fields,
      columns: expressions.map((_, index) => index),
      key: key === null ? null : key.map((index) => positionsOf(index)[0]),
      spread: moveSpread(input.spread, positionsOf),
    }
  }

  private join(plan: Extract<LogicalPlan, { kind: 'join' }>, needKey: boolean): Stream {
    if (plan.leftKeys.length === 0) {
      const hint = 'add a condition like a.x = b.y between the two'
      throw unsupported('a join without an equality is', plan.position, hint)
    }
    const left = this.build(plan.left, true)
    const right = this.build(plan.right, true)
    const leftKeys = plan.leftKeys.map((index) => left.columns[index])
    const rightKeys = plan.rightKeys.map((index) => right.columns[index])
    const width = left.schema.length
    const combined = [...left.columns, ...right.columns.map((index) => width + index)]
    const visible = plan.output.map((index) => combined[index])
    const output = unique(visible)
    // Both hold the same value, so either may stand for it in the key and the distribution.
    const alternatives = (index: number): number[] => {
      const pair = leftKeys.findIndex((item, i) => item === index || width + rightKeys[i] === index)
      return pair < 0 ? [index] : unique([index, leftKeys[pair], width + rightKeys[pair]])
    }
    const positionsOf = (index: number): number[] =>
      alternatives(index).flatMap((item) => {
        const at = output.indexOf(item)
        return at < 0 ? [] : [at]
      })
    const wanted = [...leftKeys, ...(left.key ?? []), ...(right.key ?? []).map((i) => width + i)]
    if (needKey) {
      for (const index of wanted) if (positionsOf(index).length === 0) output.push(index)
    }
    const both = [...left.schema, ...right.schema]
    const schema = pick(both, output)
    const head: OperatorPlan = {
      kind: 'hash-join',
      leftSchema: left.schema,
      rightSchema: right.schema,
      leftKeys,
      rightKeys,
      condition: plan.condition === null ? null : onto(plan.condition, combined),
      output,
      leftTable: this.joinTable('join_left', left, leftKeys),
      rightTable: this.joinTable('join_right', right, rightKeys),
    }
    const draft = this.fragment('all', head, schema)
    this.connect(left.fragment, draft, 0, { kind: 'hash', columns: leftKeys })
    this.connect(right.fragment, draft, 1, { kind: 'hash', columns: rightKeys })
    const spread: Spread = { kind: 'hash', columns: leftKeys.map(positionsOf) }
    return {
      fragment: draft,
      schema,
      columns: visible.map((index) => output.indexOf(index)),
      key: needKey ? unique(wanted.map((index) => positionsOf(index)[0])) : null,
      spread: spread.columns.every((item) => item.length > 0) ? spread : { kind: 'unknown' },
      appendOnly: left.appendOnly && right.appendOnly,
    }
  }

  private joinTable(name: string, side: Stream, keys: readonly number[]): StateTableSpec {
    assert(side.key !== null, 'a side of a join has a stream key')
    return this.table(name, {
      group: 'state',
      schema: side.schema,
      key: unique([...keys, ...side.key]),
      distribution: keys,
      prefixColumns: keys.length,
    })
  }

  private aggregate(plan: Extract<LogicalPlan, { kind: 'aggregate' }>): Stream {
    const isExtreme = (name: string): boolean => name === 'min' || name === 'max'
    const onlyInserts = this.mode === 'query' || isAppendOnly(plan.input)
    const needKey = !onlyInserts && plan.calls.some((call) => isExtreme(call.name))
    const input = this.gather(this.build(plan.input, needKey), plan.groupKeys)
    const groupKeys = plan.groupKeys.map((index) => input.columns[index])
    const at = (index: number): number => (index < 0 ? index : input.columns[index])
    const calls = plan.calls.map((call) => ({
      ...call,
      column: at(call.column),
      filterColumn: at(call.filterColumn),
    }))
    const { schema } = plan
    const groups = pick(
      schema,
      groupKeys.map((_, index) => index),
    )
    const spread = moveSpread(input.spread, (index) => {
      const position = groupKeys.indexOf(index)
      return position < 0 ? [] : [position]
    })
    const distribution = spread.kind === 'hash' ? spread.columns.map(([first]) => first) : []
    const layout = { group: 'state', distribution, prefixColumns: groups.length } as const
    const groupColumns = groups.map((_, index) => index)
    const streamKey = needKey ? (input.key ?? []) : []
    const table = this.table('aggregate', { ...layout, schema: groups, key: groupColumns })
    const valueTables = calls.map((call) => {
      if (onlyInserts || !isExtreme(call.name)) return null
      const fields = [...groups, ...pick(input.schema, [call.column, ...streamKey])]
      const key = fields.map((_, index) => index)
      const made = this.table(`aggregate_${call.name}`, { ...layout, schema: fields, key })
      const descending = call.name === 'max'
      const value = groups.length
      return {
        ...made,
        key: made.key.map((item) => (item.column === value ? { ...item, descending } : item)),
      }
    })
    input.fragment.operators.push({
      kind: 'hash-aggregate',
      inputSchema: input.schema,
      groupKeys,
      streamKey,
      calls,
      appendOnly: onlyInserts,
      table,
      valueTables,
    })
    input.fragment.schema = schema
    return {
      fragment: input.fragment,
      schema,
      columns: schema.map((_, index) => index),
      key: groupColumns,
      spread,
      appendOnly: this.mode === 'query',
    }
  }

  /** The stream spread so that all rows of a group meet in one actor. */
  private gather(input: Stream, groupKeys: readonly number[]): Stream {
    if (input.spread.kind === 'single') return input
    if (groupKeys.length === 0) return this.exchange(input, { kind: 'single' })
    const columns = groupKeys.map((index) => input.columns[index])
    const { spread } = input
    const meets =
      spread.kind === 'hash' &&
      spread.columns.every((item) => item.some((position) => columns.includes(position)))
    return meets ? input : this.exchange(input, { kind: 'hash', columns })
  }

  /** A new fragment behind an exchange. */
  exchange(
    input: Stream,
    distribution: Extract<Distribution, { kind: 'hash' | 'single' }>,
  ): Stream {
    const { schema } = input
    const isSingle = distribution.kind === 'single'
    const draft = this.fragment(isSingle ? 'single' : 'all', { kind: 'merge', schema }, schema)
    this.connect(input.fragment, draft, 0, distribution)
    const spread: Spread = isSingle
      ? { kind: 'single' }
      : { kind: 'hash', columns: distribution.columns.map((index) => [index]) }
    return { ...input, fragment: draft, spread }
  }
}

/** A projection over one that only chooses columns is one projection. */
function pushProject(fragment: FragmentDraft, expressions: readonly Expression[]): void {
  const last = fragment.operators[fragment.operators.length - 1]
  if (last.kind !== 'project' || last.expressions.some((item) => item.kind !== 'column')) {
    fragment.operators.push({ kind: 'project', expressions })
    return
  }
  const merged = expressions.map((item) =>
    mapColumns(item, (found) => last.expressions[found.index]),
  )
  fragment.operators[fragment.operators.length - 1] = { kind: 'project', expressions: merged }
}

/** Whether only inserts can come out. */
export function isAppendOnly(plan: LogicalPlan): boolean {
  switch (plan.kind) {
    case 'scan':
      return plan.object.appendOnly
    case 'values':
      return true
    case 'filter':
    case 'project':
      return isAppendOnly(plan.input)
    case 'join':
      return isAppendOnly(plan.left) && isAppendOnly(plan.right)
    case 'aggregate':
      return false
  }
}

/** Literals that the predicates demand of the leading columns of the table's key. */
function keyPrefixOf(
  table: StateTableSpec,
  columns: readonly number[],
  predicates: readonly Expression[],
): Expression[] {
  const values = new Map<number, Expression>()
  for (const item of predicates) {
    if (item.kind !== 'call' || item.name !== 'equal') continue
    const [a, b] = item.args[0].kind === 'column' ? item.args : [item.args[1], item.args[0]]
    if (a.kind === 'column' && b.kind === 'literal' && b.value !== null) {
      values.set(columns[a.index], b)
    }
  }
  const prefix: Expression[] = []
  for (const { column } of table.key) {
    const value = values.get(column)
    if (value === undefined) break
    prefix.push(value)
  }
  return prefix
}

function moveSpread(spread: Spread, positionsOf: (index: number) => readonly number[]): Spread {
  if (spread.kind !== 'hash') return spread
  const columns = spread.columns.map((item) => item.flatMap(positionsOf))
  return columns.every((item) => item.length > 0) ? { kind: 'hash', columns } : { kind: 'unknown' }
}

/** A column to count rows by: the first that is not text. */
function cheapest(object: CatalogObject): number {
  const index = object.columns.findIndex((item) => item.type !== 'varchar' && item.type !== 'bytea')
  return Math.max(0, index)
}

function fieldOf(object: CatalogObject, index: number): Field {
  const { name, type } = object.columns[index]
  return { name, type }
}

function columnOf(schema: Schema, index: number): Expression {
  return { kind: 'column', index, type: schema[index].type }
}

/** An expression over logical columns as one over the columns of a stream. */
function onto(expression: Expression, columns: readonly number[]): Expression {
  return mapColumns(expression, (found) => ({ ...found, index: columns[found.index] }))
}

export function unique<T>(items: readonly T[]): T[] {
  return [...new Set(items)]
}
