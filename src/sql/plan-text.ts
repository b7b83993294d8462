/** Plans as text for people: EXPLAIN, and the expected output of the planner's tests. */
import type {
  AggregateCall,
  Distribution,
  Expression,
  FragmentPlan,
  JobPlan,
  OperatorPlan,
  StateTableSpec,
} from '../stream/plan.ts'
import type { Schema } from '../stream/schema.ts'

/** The fragments of a job, those that give before those that take. */
export function explain(plan: Pick<JobPlan, 'fragments' | 'exchanges'>): string {
  return plan.fragments.flatMap((fragment) => explainFragment(fragment, plan)).join('\n')
}

function explainFragment(
  fragment: FragmentPlan,
  plan: Pick<JobPlan, 'fragments' | 'exchanges'>,
): string[] {
  const lines = [`fragment ${fragment.fragmentId} (${fragment.parallelism})`]
  const inputs = plan.exchanges.filter((item) => item.toFragment === fragment.fragmentId)
  for (const { fromFragment, input, distribution, snapshot } of inputs) {
    const from = plan.fragments.find((item) => item.fragmentId === fromFragment)
    const how = explainDistribution(distribution, from?.schema ?? [])
    const extra = snapshot ? ', snapshot first' : ''
    lines.push(`  input ${input}: fragment ${fromFragment} by ${how}${extra}`)
  }
  let schema: Schema = []
  for (const operator of fragment.operators) {
    lines.push(...explainOperator(operator, schema).map((line) => `  ${line}`))
    schema = schemaAfter(operator, schema)
  }
  lines.push(`  output ${columns(fragment.schema)}`)
  return lines
}

function explainDistribution(distribution: Distribution, schema: Schema): string {
  if (distribution.kind !== 'hash') return distribution.kind
  return `hash(${distribution.columns.map((index) => schema[index]?.name ?? `#${index}`).join(', ')})`
}

function explainOperator(operator: OperatorPlan, schema: Schema): string[] {
  switch (operator.kind) {
    case 'source': {
      const options = Object.entries(operator.properties).map(([key, value]) => `${key}=${value}`)
      const id =
        operator.rowIdColumn < 0 ? '' : ` row id ${operator.columns[operator.rowIdColumn].name}`
      const name = [operator.connector, ...options].join(' ')
      return [`source ${operator.sourceId} ${name} ${columns(operator.columns)}${id}`]
    }
    case 'dml':
      return [`dml table ${operator.tableId}`]
    case 'merge':
      return ['merge']
    case 'hash-join': {
      const { leftSchema: left, rightSchema: right } = operator
      const both = [...left, ...right]
      const keys = operator.leftKeys.map(
        (index, i) => `${left[index].name} = ${right[operator.rightKeys[i]].name}`,
      )
      const lines = [`hash-join on ${keys.join(' and ')}`]
      if (operator.condition !== null) {
        const names = both.map((field, i) => `${i < left.length ? 'left' : 'right'}.${field.name}`)
        lines.push(`  condition ${expressionText(operator.condition, names)}`)
      }
      lines.push(
        `  left  ${tableText(operator.leftTable)}`,
        `  right ${tableText(operator.rightTable)}`,
      )
      return lines
    }
    case 'filter':
      return [`filter ${expressionText(operator.predicate, nameList(schema))}`]
    case 'project': {
      const list = operator.expressions.map((item) => expressionText(item, nameList(schema)))
      return [`project ${list.join(', ')}`]
    }
    case 'hash-aggregate': {
      const input = operator.inputSchema
      const groups = operator.groupKeys.map((index) => input[index].name).join(', ')
      const calls = operator.calls.map((call) => callText(call, input)).join(', ')
      const by = groups === '' ? 'global' : `by ${groups}`
      const inserts = operator.appendOnly ? ' append-only' : ''
      const lines = [`hash-aggregate ${by}: ${calls === '' ? 'distinct' : calls}${inserts}`]
      lines.push(`  groups ${tableText(operator.table)}`)
      for (const table of operator.valueTables) {
        if (table !== null) lines.push(`  values ${tableText(table)}`)
      }
      return lines
    }
    case 'materialize': {
      const overwrite = operator.overwrite ? ' overwrite' : ''
      return [`materialize${overwrite} ${tableText(operator.table)}`]
    }
    case 'sink':
      return [`sink ${operator.connector}`]
  }
}

function schemaAfter(operator: OperatorPlan, schema: Schema): Schema {
  switch (operator.kind) {
    case 'source':
      return operator.columns
    case 'dml':
    case 'merge':
      return operator.schema
    case 'hash-join':
      return operator.output.map((index) =>
        index < operator.leftSchema.length
          ? operator.leftSchema[index]
          : operator.rightSchema[index - operator.leftSchema.length],
      )
    case 'project':
      return operator.expressions.map((item, index) => ({
        name: item.kind === 'column' ? schema[item.index].name : `#${index}`,
        type: item.type,
      }))
    case 'hash-aggregate':
      return [
        ...operator.groupKeys.map((index) => operator.inputSchema[index]),
        ...operator.calls.map((call) => ({
          name: callText(call, operator.inputSchema),
          type: call.type,
        })),
      ]
    default:
      return schema
  }
}

const nameList = (schema: Schema): readonly string[] => schema.map((field) => field.name)

function columns(schema: Schema): string {
  return `[${schema.map((field) => `${field.name} ${field.type}`).join(', ')}]`
}

function tableText(table: StateTableSpec): string {
  const name = (index: number): string => table.schema[index].name
  const key = table.key.map((item) => `${name(item.column)}${item.descending ? ' desc' : ''}`)
  const values = table.schema.flatMap((field, index) =>
    table.key.some((item) => item.column === index) ? [] : [field.name],
  )
  return (
    `table ${table.tableId} ${table.group} key (${key.join(', ')}) value (${values.join(', ')}) ` +
    `distribution (${table.distribution.map(name).join(', ')}) prefix ${table.prefixColumns}`
  )
}

function callText(call: AggregateCall, schema: Schema): string {
  const argument = call.column < 0 ? '*' : schema[call.column].name
  const where = call.filterColumn < 0 ? '' : ` filter ${schema[call.filterColumn].name}`
  return `${call.name === 'count_star' ? 'count' : call.name}(${argument})${where}`
}

const SYMBOLS: Readonly<Record<string, string>> = {
  add: '+',
  subtract: '-',
  multiply: '*',
  divide: '/',
  modulo: '%',
  equal: '=',
  not_equal: '<>',
  less: '<',
  less_equal: '<=',
  greater: '>',
  greater_equal: '>=',
  and: 'and',
  or: 'or',
  like: 'like',
  concat: '||',
}

/** @param names of the columns, by position */
export function expressionText(expression: Expression, names: readonly string[]): string {
  const text = (part: Expression): string => expressionText(part, names)
  switch (expression.kind) {
    case 'column':
      return names[expression.index] ?? `#${expression.index}`
    case 'literal':
      return literalText(expression)
    case 'cast':
      return `cast(${text(expression.argument)} as ${expression.type})`
    case 'case': {
      const branches = expression.branches.map(
        (item) => `when ${text(item.when)} then ${text(item.then)}`,
      )
      const otherwise = expression.otherwise === null ? '' : ` else ${text(expression.otherwise)}`
      return `case ${branches.join(' ')}${otherwise} end`
    }
    case 'call': {
      const args = expression.args.map(text)
      if (expression.name === 'in') return `${args[0]} in (${args.slice(1).join(', ')})`
      const symbol = SYMBOLS[expression.name]
      return symbol === undefined || args.length < 2
        ? `${expression.name}(${args.join(', ')})`
        : `(${args.join(` ${symbol} `)})`
    }
  }
}

function literalText(literal: Extract<Expression, { kind: 'literal' }>): string {
  const { value, type, scale } = literal
  if (value === null) return 'null'
  if (type === 'varchar') return `'${String(value).replaceAll("'", "''")}'`
  if (type === 'numeric' && scale > 0) return `${value}e-${scale}`
  return type === 'bigint' || type === 'integer' || type === 'boolean'
    ? String(value)
    : `${type} ${value}`
}
