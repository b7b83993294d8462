/** EXPLAIN: the plan that a statement would get, as text; nothing is changed. */
import { unreachable } from '../common/assert.ts'
import type { StatementAst } from './ast.ts'
import type { Parameters } from './binder.ts'
import type { Catalog } from './catalog.ts'
import { dropObject, getObject } from './catalog.ts'
import { explain, expressionText } from './plan-text.ts'
import { planJob } from './planner.ts'
import { planDml, planQuery, type QueryPlan } from './query-planner.ts'

/** @throws what the statement itself would throw before it runs */
export function explainStatement(
  statement: StatementAst,
  catalog: Catalog,
  parameters: Parameters = [],
): string {
  switch (statement.kind) {
    case 'create-source':
    case 'create-table':
    case 'create-view':
    case 'create-sink': {
      const { plan } = planJob(statement, catalog)
      return plan === null ? 'nothing to run' : explain(plan)
    }
    case 'select':
      return explainQuery(planQuery(statement.query, catalog, parameters))
    case 'insert':
    case 'update':
    case 'delete': {
      const plan = planDml(statement, catalog, parameters)
      return `${plan.kind} ${plan.object.name}\n${explainQuery(plan.query)}`
    }
    case 'drop': {
      const { objectKind: kind, ifExists } = statement
      const { dropped } = dropObject(catalog, statement.name, { kind, ifExists })
      return dropped === null ? 'nothing to drop' : `drop ${dropped.name}`
    }
    case 'describe':
      getObject(catalog, statement.name)
      return 'describe'
    case 'show':
    case 'flush':
      return statement.kind
    case 'explain':
      return explainStatement(statement.statement, catalog, parameters)
    default:
      return unreachable(statement)
  }
}

function explainQuery(plan: QueryPlan): string {
  const lines = plan.scans.map(({ object, keyPrefix, columns, table, fragmentId }) => {
    const names = columns.map((index) => table.schema[index].name).join(', ')
    const key = keyPrefix.map(
      (value, index) =>
        `${table.schema[table.key[index].column].name} = ${expressionText(value, [])}`,
    )
    const prefix = key.length === 0 ? '' : ` where ${key.join(' and ')}`
    return `scan ${object.name} [${names}]${prefix} into fragment ${fragmentId}`
  })
  lines.push(explain(plan))
  const names = plan.schema.map((field) => field.name)
  if (plan.order.length > 0) {
    const keys = plan.order.map(({ column, descending, nullsFirst }) => {
      const direction = `${descending ? ' desc' : ''}${nullsFirst ? ' nulls first' : ''}`
      return `${names[column] ?? `#${column}`}${direction}`
    })
    lines.push(`order by ${keys.join(', ')}`)
  }
  if (plan.limit !== null) lines.push(`limit ${plan.limit}`)
  if (plan.offset > 0) lines.push(`offset ${plan.offset}`)
  return lines.join('\n')
}
