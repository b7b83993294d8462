/**
 * PostgreSQL's parse tree (libpg-query) → our syntax tree. What the tree can say and we cannot do is
 * refused here, with its position: nothing is dropped in silence.
 */
import type {
  A_Const,
  A_Expr,
  Alias,
  ColumnDef,
  Constraint,
  FuncCall,
  JoinExpr,
  Node,
  RangeFunction,
  RangeVar,
  SelectStmt,
  TypeName,
} from 'libpg-query'
import { assert } from '../common/assert.ts'
import type { DataType } from '../stream/schema.ts'
import type {
  AssignmentAst,
  ColumnAst,
  ExpressionAst,
  FromAst,
  Name,
  ObjectKind,
  OrderAst,
  SelectAst,
  SelectItemAst,
  StatementAst,
  TypeAst,
} from './ast.ts'
import { sqlError, unsupported } from './sql-error.ts'

/** PostgreSQL's internal names → ours. */
const TYPES: Readonly<Record<string, DataType>> = {
  bool: 'boolean',
  int2: 'smallint',
  int4: 'integer',
  int8: 'bigint',
  float4: 'real',
  float8: 'double',
  double: 'double',
  numeric: 'numeric',
  varchar: 'varchar',
  text: 'varchar',
  string: 'varchar',
  bytea: 'bytea',
  date: 'date',
  time: 'time',
  timestamp: 'timestamp',
  timestamptz: 'timestamptz',
  interval: 'interval',
}
const KNOWN_TYPES = new Set(['json', 'jsonb', 'uuid', 'bpchar', 'timetz', 'money', 'inet', 'bit'])

/** INTERVAL '…' UNIT, by PostgreSQL's bit masks. */
const INTERVAL_UNITS: Readonly<Record<number, string>> = {
  2: 'month',
  4: 'year',
  8: 'day',
  1024: 'hour',
  2048: 'minute',
  4096: 'second',
}
const INTERVAL_FULL_RANGE = 32767

/** What PostgreSQL's grammar writes as a call, and what the user wrote. */
const SYNTAX_FUNCTIONS: Readonly<Record<string, string>> = {
  like_escape: 'LIKE … ESCAPE',
  similar_to_escape: 'SIMILAR TO',
  timezone: 'AT TIME ZONE',
  btrim: 'TRIM',
  ltrim: 'TRIM',
  rtrim: 'TRIM',
  position: 'POSITION',
  overlay: 'OVERLAY',
  overlaps: 'OVERLAPS',
}

const DROPPED: Readonly<Record<string, ObjectKind>> = {
  OBJECT_TABLE: 'table',
  OBJECT_MATVIEW: 'view',
}

export class TreeReader {
  /** Byte offset in the text that was parsed → UTF-16 offset in the script. */
  private readonly positionOf: (byteOffset: number) => number
  private readonly text: string
  /** Where the statement begins; also the position of nodes without one. */
  private readonly start: number

  constructor(text: string, start: number, positionOf: (byteOffset: number) => number) {
    this.text = text
    this.start = start
    this.positionOf = positionOf
  }

  statement(node: Node): StatementAst {
    const base = { text: this.text, position: this.start }
    if ('SelectStmt' in node)
      return { ...base, kind: 'select', query: this.select(node.SelectStmt, this.start) }
    if ('CreateStmt' in node) return this.createTable(node.CreateStmt, base)
    if ('CreateTableAsStmt' in node) {
      const { query, into, objtype, if_not_exists } = node.CreateTableAsStmt
      if (objtype !== 'OBJECT_MATVIEW') {
        const hint = 'write CREATE MATERIALIZED VIEW name AS SELECT …'
        throw unsupported('CREATE TABLE AS is', this.start, hint)
      }
      assert(query !== undefined && 'SelectStmt' in query, 'a view has a query')
      this.refuse(into?.options, 'WITH options of a view are')
      this.refuse(into?.tableSpaceName ?? into?.accessMethod, 'a storage option of a view is')
      this.refuse(into?.skipData, 'WITH NO DATA is')
      return {
        ...base,
        kind: 'create-view',
        name: this.relationName(into?.rel),
        ifNotExists: if_not_exists === true,
        columnAliases: names(into?.colNames),
        query: this.select(query.SelectStmt, this.start),
      }
    }
    if ('DropStmt' in node) return this.drop(node.DropStmt, base)
    if ('InsertStmt' in node) return this.insert(node.InsertStmt, base)
    if ('UpdateStmt' in node) return this.update(node.UpdateStmt, base)
    if ('DeleteStmt' in node) {
      const { relation, usingClause, whereClause, returningClause, withClause } = node.DeleteStmt
      this.refuse(usingClause, 'DELETE … USING is')
      this.refuse(returningClause, 'RETURNING is')
      this.refuse(withClause, 'WITH is', 'write the query as a subquery in FROM')
      return {
        ...base,
        kind: 'delete',
        table: this.relationName(relation),
        alias: relation?.alias?.aliasname ?? null,
        where: this.optional(whereClause),
      }
    }
    const hint =
      'supported: CREATE SOURCE / TABLE / MATERIALIZED VIEW / SINK, DROP, SHOW, DESCRIBE, EXPLAIN, ' +
      'INSERT, UPDATE, DELETE, SELECT, FLUSH'
    throw unsupported('this statement is', this.start, hint)
  }

  /** Name, columns and primary key of CREATE TABLE or, with the keyword replaced, CREATE SOURCE. */
  createTable(
    stmt: Extract<Node, { CreateStmt: unknown }>['CreateStmt'],
    base: { readonly text: string; readonly position: number },
  ): Extract<StatementAst, { kind: 'create-table' }> {
    this.refuse(stmt.inhRelations, 'INHERITS is')
    this.refuse(stmt.partspec, 'PARTITION BY is')
    this.refuse(stmt.options, 'CREATE TABLE … WITH is', 'use CREATE SOURCE for a connector')
    this.refuse(stmt.tablespacename ?? stmt.accessMethod, 'a storage option of a table is')
    this.refuse(stmt.ofTypename, 'CREATE TABLE OF is')
    if (stmt.relation?.relpersistence !== 'p') throw unsupported('a temporary table is', this.start)
    const columns: ColumnAst[] = []
    let primaryKey: Name[] = []
    const key = (keys: Name[], position: number): void => {
      if (primaryKey.length > 0)
        throw sqlError('42P16', 'multiple primary keys are not allowed', position)
      primaryKey = keys
    }
    for (const element of stmt.tableElts ?? []) {
      if ('ColumnDef' in element) columns.push(this.column(element.ColumnDef, key))
      else if ('Constraint' in element) this.tableConstraint(element.Constraint, key)
      else throw unsupported('this clause of CREATE TABLE is', this.start)
    }
    return {
      ...base,
      kind: 'create-table',
      name: this.relationName(stmt.relation),
      ifNotExists: stmt.if_not_exists === true,
      columns,
      primaryKey,
    }
  }

  private column(column: ColumnDef, key: (keys: Name[], at: number) => void): ColumnAst {
    const position = this.at(column.location)
    const name = column.colname ?? ''
    let notNull = false
    if (column.collClause !== undefined) {
      throw unsupported('COLLATE is', position, 'text orders by its UTF-8 bytes (C collation)')
    }
    if ((column.storage_name ?? column.compression ?? column.fdwoptions) !== undefined) {
      throw unsupported('a storage option of a column is', position)
    }
    for (const node of column.constraints ?? []) {
      assert('Constraint' in node, 'a column has constraints only')
      const { contype, location } = node.Constraint
      if (contype === 'CONSTR_NOTNULL') notNull = true
      else if (contype === 'CONSTR_PRIMARY') key([{ name, position }], this.at(location))
      else if (contype !== 'CONSTR_NULL') throw this.constraintError(node.Constraint)
    }
    assert(column.typeName !== undefined, 'a column has a type')
    return { name, type: this.type(column.typeName).type, notNull, position }
  }

  private tableConstraint(constraint: Constraint, key: (keys: Name[], at: number) => void): void {
    if (constraint.contype !== 'CONSTR_PRIMARY') throw this.constraintError(constraint)
    const position = this.at(constraint.location)
    key(
      names(constraint.keys).map((name) => ({ name, position })),
      position,
    )
  }

  private constraintError(constraint: Constraint): Error {
    const name = (constraint.contype ?? '').replace('CONSTR_', '')
    return unsupported(`the constraint ${name} is`, this.at(constraint.location))
  }

  private drop(
    stmt: Extract<Node, { DropStmt: unknown }>['DropStmt'],
    base: { readonly text: string; readonly position: number },
  ): StatementAst {
    const objectKind = DROPPED[stmt.removeType ?? '']
    if (objectKind === undefined) throw unsupported('dropping this kind of object is', this.start)
    if (stmt.behavior === 'DROP_CASCADE')
      throw unsupported('CASCADE is', this.start, 'drop the dependent objects first')
    if (stmt.objects?.length !== 1)
      throw unsupported('dropping several objects at once is', this.start, 'write one DROP each')
    const [object] = stmt.objects
    const path = 'List' in object ? names(object.List.items) : names([object])
    if (path.length !== 1) throw unsupported('a schema name is', this.start)
    // PostgreSQL gives no position for the name: it is the statement's last word.
    const position = this.start + Math.max(0, this.text.lastIndexOf(path[0]))
    const ifExists = stmt.missing_ok === true
    return { ...base, kind: 'drop', objectKind, name: { name: path[0], position }, ifExists }
  }

  private insert(
    stmt: Extract<Node, { InsertStmt: unknown }>['InsertStmt'],
    base: { readonly text: string; readonly position: number },
  ): StatementAst {
    this.refuse(
      stmt.onConflictClause,
      'ON CONFLICT is',
      'an insert of a key that is there replaces it',
    )
    this.refuse(stmt.returningClause, 'RETURNING is')
    this.refuse(stmt.withClause, 'WITH is', 'write the query as a subquery in FROM')
    if (stmt.selectStmt === undefined || !('SelectStmt' in stmt.selectStmt))
      throw unsupported('INSERT … DEFAULT VALUES is', this.start)
    const columns = stmt.cols?.map((node) => {
      assert('ResTarget' in node, 'an insert names columns')
      return { name: node.ResTarget.name ?? '', position: this.at(node.ResTarget.location) }
    })
    return {
      ...base,
      kind: 'insert',
      table: this.relationName(stmt.relation),
      columns: columns ?? null,
      query: this.select(stmt.selectStmt.SelectStmt, this.start),
    }
  }

  private update(
    stmt: Extract<Node, { UpdateStmt: unknown }>['UpdateStmt'],
    base: { readonly text: string; readonly position: number },
  ): StatementAst {
    this.refuse(stmt.fromClause, 'UPDATE … FROM is')
    this.refuse(stmt.returningClause, 'RETURNING is')
    this.refuse(stmt.withClause, 'WITH is', 'write the query as a subquery in FROM')
    const assignments: AssignmentAst[] = (stmt.targetList ?? []).map((node) => {
      assert('ResTarget' in node, 'an update has targets')
      const { name, indirection, val, location } = node.ResTarget
      this.refuse(indirection, 'assigning to a part of a column is')
      assert(val !== undefined, 'an assignment has a value')
      return { column: name ?? '', value: this.expression(val), position: this.at(location) }
    })
    return {
      ...base,
      kind: 'update',
      table: this.relationName(stmt.relation),
      alias: stmt.relation?.alias?.aliasname ?? null,
      assignments,
      where: this.optional(stmt.whereClause),
    }
  }

  select(stmt: SelectStmt, position: number): SelectAst {
    if (stmt.op !== undefined && stmt.op !== 'SETOP_NONE')
      throw unsupported('UNION, INTERSECT and EXCEPT are', position)
    this.refuse(stmt.withClause, 'WITH is', 'write the query as a subquery in FROM')
    this.refuse(stmt.windowClause, 'WINDOW is')
    this.refuse(stmt.intoClause, 'SELECT INTO is')
    this.refuse(stmt.groupDistinct, 'GROUP BY DISTINCT is')
    this.refuse(stmt.lockingClause, 'FOR UPDATE and FOR SHARE are')
    if (stmt.limitOption === 'LIMIT_OPTION_WITH_TIES') throw unsupported('WITH TIES is', position)
    // SELECT DISTINCT is a list of one empty node, DISTINCT ON a list of expressions.
    const distinct = stmt.distinctClause ?? []
    if (distinct.some((node) => Object.keys(node).length > 0))
      throw unsupported('DISTINCT ON is', position, 'use GROUP BY with min or max')
    const items = (stmt.targetList ?? []).map((node) => this.item(node))
    return {
      distinct: distinct.length > 0,
      items,
      from: (stmt.fromClause ?? []).map((node) => this.from(node)),
      where: this.optional(stmt.whereClause),
      groupBy: (stmt.groupClause ?? []).map((node) => this.expression(node)),
      having: this.optional(stmt.havingClause),
      orderBy: (stmt.sortClause ?? []).map((node) => this.order(node)),
      limit: this.optional(stmt.limitCount),
      offset: this.optional(stmt.limitOffset),
      values:
        stmt.valuesLists?.map((row) => {
          assert('List' in row, 'VALUES is a list of lists')
          return (row.List.items ?? []).map((node) => this.expression(node))
        }) ?? null,
      position: items[0]?.position ?? position,
    }
  }

  private item(node: Node): SelectItemAst {
    assert('ResTarget' in node, 'a select list has targets')
    const { name, val, location } = node.ResTarget
    assert(val !== undefined, 'a target has a value')
    return { expression: this.expression(val), alias: name ?? null, position: this.at(location) }
  }

  private order(node: Node): OrderAst {
    assert('SortBy' in node, 'a sort clause has sort keys')
    const { sortby_dir, sortby_nulls, node: key } = node.SortBy
    assert(key !== undefined, 'a sort key has an expression')
    const expression = this.expression(key)
    if (sortby_dir === 'SORTBY_USING') throw unsupported('ORDER BY … USING is', expression.position)
    const descending = sortby_dir === 'SORTBY_DESC'
    const nullsFirst =
      sortby_nulls === 'SORTBY_NULLS_FIRST' || (sortby_nulls !== 'SORTBY_NULLS_LAST' && descending)
    return { expression, descending, nullsFirst, position: expression.position }
  }

  private from(node: Node): FromAst {
    if ('RangeVar' in node) {
      const { name, position } = this.relationName(node.RangeVar)
      return { kind: 'relation', name, position, ...aliasOf(node.RangeVar.alias) }
    }
    if ('RangeSubselect' in node) {
      const { lateral, subquery, alias } = node.RangeSubselect
      assert(subquery !== undefined && 'SelectStmt' in subquery, 'a subquery is a select')
      const query = this.select(subquery.SelectStmt, this.start)
      if (lateral) throw unsupported('LATERAL is', query.position)
      return { kind: 'subquery', query, position: query.position, ...aliasOf(alias) }
    }
    if ('RangeFunction' in node) return this.tableFunction(node.RangeFunction)
    if ('JoinExpr' in node) return this.join(node.JoinExpr)
    throw unsupported('this item of FROM is', this.start)
  }

  private join(join: JoinExpr): FromAst {
    assert(join.larg !== undefined && join.rarg !== undefined, 'a join has two sides')
    const left = this.from(join.larg)
    const right = this.from(join.rarg)
    const position = right.position
    if (join.jointype !== 'JOIN_INNER') {
      const kind = (join.jointype ?? '').replace('JOIN_', '')
      throw unsupported(`${kind} JOIN is`, position, 'only INNER JOIN runs so far')
    }
    const hint = 'write the condition with ON'
    if (join.isNatural) throw unsupported('NATURAL JOIN is', position, hint)
    if (join.usingClause !== undefined) throw unsupported('JOIN … USING is', position, hint)
    if (join.alias !== undefined) throw unsupported('an alias of a join is', position)
    return { kind: 'join', left, right, on: this.optional(join.quals), position }
  }

  private tableFunction(range: RangeFunction): FromAst {
    if (range.lateral || range.ordinality || range.is_rowsfrom || range.coldeflist !== undefined) {
      throw unsupported('LATERAL, ORDINALITY or ROWS FROM of a table function is', this.start)
    }
    const [list] = range.functions ?? []
    const [call] = list !== undefined && 'List' in list ? (list.List.items ?? []) : []
    if (call === undefined || !('FuncCall' in call))
      throw unsupported('this item of FROM is', this.start)
    const position = this.at(call.FuncCall.location)
    const name = names(call.FuncCall.funcname).at(-1)
    if (name !== 'tumble') {
      throw unsupported(
        `the table function ${name} is`,
        position,
        'TUMBLE is the one there is so far',
      )
    }
    const args = (call.FuncCall.args ?? []).map((arg) => this.expression(arg))
    const [input, timeColumn, size] = args
    if (args.length !== 3 || input.kind !== 'column' || input.path.length !== 1) {
      const hint = "write TUMBLE(relation, time_column, INTERVAL '10' SECOND)"
      throw sqlError(
        '42883',
        'TUMBLE takes a relation, a time column and an interval',
        position,
        hint,
      )
    }
    return {
      kind: 'tumble',
      input: {
        kind: 'relation',
        name: input.path[0],
        alias: null,
        columnAliases: [],
        position: input.position,
      },
      timeColumn,
      size,
      position,
      ...aliasOf(range.alias),
    }
  }

  private optional(node: Node | undefined): ExpressionAst | null {
    return node === undefined ? null : this.expression(node)
  }

  expression(node: Node): ExpressionAst {
    if ('ColumnRef' in node)
      return this.columnRef(node.ColumnRef.fields ?? [], node.ColumnRef.location)
    if ('A_Const' in node) return this.constant(node.A_Const)
    if ('ParamRef' in node) {
      const { number: index, location } = node.ParamRef
      return { kind: 'parameter', index: index ?? 0, position: this.at(location) }
    }
    if ('A_Expr' in node) return this.operator(node.A_Expr)
    if ('BoolExpr' in node) {
      const { boolop, args, location } = node.BoolExpr
      const name = boolop === 'AND_EXPR' ? 'and' : boolop === 'OR_EXPR' ? 'or' : 'not'
      return { kind: 'logic', name, args: this.list(args), position: this.at(location) }
    }
    if ('FuncCall' in node) return this.call(node.FuncCall)
    if ('TypeCast' in node) return this.cast(node.TypeCast)
    return this.special(node)
  }

  private special(node: Node): ExpressionAst {
    if ('NullTest' in node) {
      const { arg, nulltesttype, location } = node.NullTest
      const negated = nulltesttype === 'IS_NOT_NULL'
      return {
        kind: 'test',
        test: 'null',
        negated,
        argument: this.need(arg),
        position: this.at(location),
      }
    }
    if ('BooleanTest' in node) {
      const { arg, booltesttype, location } = node.BooleanTest
      const kind = booltesttype ?? ''
      const test = kind.endsWith('TRUE') ? 'true' : kind.endsWith('FALSE') ? 'false' : 'unknown'
      const negated = kind.startsWith('IS_NOT')
      return { kind: 'test', test, negated, argument: this.need(arg), position: this.at(location) }
    }
    if ('CaseExpr' in node) {
      const { arg, args, defresult, location } = node.CaseExpr
      const branches = (args ?? []).map((branch) => {
        assert('CaseWhen' in branch, 'CASE has branches')
        return { when: this.need(branch.CaseWhen.expr), result: this.need(branch.CaseWhen.result) }
      })
      const operand = this.optional(arg)
      const otherwise = this.optional(defresult)
      return { kind: 'case', operand, branches, otherwise, position: this.at(location) }
    }
    if ('CoalesceExpr' in node) {
      const { args, location } = node.CoalesceExpr
      return this.plainCall('coalesce', this.list(args), location)
    }
    if ('MinMaxExpr' in node) {
      const { op, args, location } = node.MinMaxExpr
      return this.plainCall(op === 'IS_LEAST' ? 'least' : 'greatest', this.list(args), location)
    }
    if ('SetToDefault' in node) {
      return { kind: 'default', position: this.at(node.SetToDefault.location) }
    }
    if ('SubLink' in node) {
      const hint = 'write it as a join with a subquery in FROM'
      throw unsupported('a subquery in an expression is', this.at(node.SubLink.location), hint)
    }
    if ('SQLValueFunction' in node) {
      const name = (node.SQLValueFunction.op ?? '').replace('SVFOP_', '')
      throw unsupported(`${name} is`, this.at(node.SQLValueFunction.location))
    }
    if ('A_ArrayExpr' in node) throw unsupported('an array is', this.at(node.A_ArrayExpr.location))
    if ('RowExpr' in node) throw unsupported('a row value is', this.at(node.RowExpr.location))
    if ('GroupingSet' in node) {
      throw unsupported('GROUPING SETS, ROLLUP and CUBE are', this.at(node.GroupingSet.location))
    }
    if ('CollateClause' in node) {
      const hint = 'text orders by its UTF-8 bytes (C collation)'
      throw unsupported('COLLATE is', this.at(node.CollateClause.location), hint)
    }
    throw unsupported(`this expression (${Object.keys(node)[0]}) is`, this.start)
  }

  private columnRef(fields: readonly Node[], location: number | undefined): ExpressionAst {
    const position = this.at(location)
    const path = names(fields)
    const last = fields.at(-1)
    if (last !== undefined && 'A_Star' in last) {
      if (path.length > 1) throw unsupported('a schema name is', position)
      return { kind: 'star', qualifier: path[0] ?? null, position }
    }
    return { kind: 'column', path, position }
  }

  private constant(constant: A_Const): ExpressionAst {
    const position = this.at(constant.location)
    if (constant.isnull) return { kind: 'null', position }
    if (constant.ival !== undefined) {
      return { kind: 'number', text: String(constant.ival.ival ?? 0), position }
    }
    if (constant.fval !== undefined) {
      return { kind: 'number', text: constant.fval.fval ?? '0', position }
    }
    if (constant.boolval !== undefined) {
      return { kind: 'boolean', value: constant.boolval.boolval === true, position }
    }
    if (constant.sval !== undefined) {
      return { kind: 'string', value: constant.sval.sval ?? '', position }
    }
    throw unsupported('a bit string is', position)
  }

  private operator(expression: A_Expr): ExpressionAst {
    const position = this.at(expression.location)
    const name = names(expression.name).at(-1) ?? ''
    switch (expression.kind) {
      case 'AEXPR_OP': {
        const args = [expression.lexpr, expression.rexpr].flatMap((arg) =>
          arg === undefined ? [] : [this.expression(arg)],
        )
        return { kind: 'operator', name, args, position }
      }
      case 'AEXPR_DISTINCT':
      case 'AEXPR_NOT_DISTINCT': {
        const args = [this.need(expression.lexpr), this.need(expression.rexpr)]
        const operator = expression.kind === 'AEXPR_DISTINCT' ? 'is_distinct' : 'is_not_distinct'
        return { kind: 'operator', name: operator, args, position }
      }
      case 'AEXPR_NULLIF': {
        const args = [this.need(expression.lexpr), this.need(expression.rexpr)]
        return this.plainCall('nullif', args, expression.location)
      }
      case 'AEXPR_IN':
        return {
          kind: 'in',
          argument: this.need(expression.lexpr),
          items: this.listOf(expression.rexpr),
          negated: name === '<>',
          position,
        }
      case 'AEXPR_LIKE':
        return {
          kind: 'like',
          argument: this.need(expression.lexpr),
          pattern: this.need(expression.rexpr),
          negated: name === '!~~',
          position,
        }
      case 'AEXPR_BETWEEN':
      case 'AEXPR_NOT_BETWEEN': {
        const [low, high] = this.listOf(expression.rexpr)
        const negated = expression.kind === 'AEXPR_NOT_BETWEEN'
        return {
          kind: 'between',
          argument: this.need(expression.lexpr),
          low,
          high,
          negated,
          position,
        }
      }
      case 'AEXPR_ILIKE':
        throw unsupported('ILIKE is', position, 'write lower(column) LIKE …')
      default:
        throw unsupported(`this operator (${name}) is`, position)
    }
  }

  private call(call: FuncCall): ExpressionAst {
    const position = this.at(call.location)
    if (call.over !== undefined) throw unsupported('a window function is', position)
    if (call.agg_within_group) throw unsupported('WITHIN GROUP is', position)
    if (call.func_variadic) throw unsupported('VARIADIC is', position)
    this.refuse(call.agg_order, 'ORDER BY in an aggregate is')
    const name = names(call.funcname).at(-1) ?? ''
    const syntax = SYNTAX_FUNCTIONS[name]
    if (syntax !== undefined) throw unsupported(`${syntax} is`, position)
    return {
      kind: 'function',
      name,
      args: this.list(call.args),
      star: call.agg_star === true,
      distinct: call.agg_distinct === true,
      filter: this.optional(call.agg_filter),
      position,
    }
  }

  private cast(cast: Extract<Node, { TypeCast: unknown }>['TypeCast']): ExpressionAst {
    assert(cast.typeName !== undefined, 'a cast names a type')
    const type = this.type(cast.typeName)
    const argument = this.need(cast.arg)
    // PostgreSQL gives INTERVAL '…' no position of its own; its type stands first.
    const position = (cast.location ?? 0) < 0 ? type.position : argument.position
    return { kind: 'cast', argument, type, position }
  }

  private type(name: TypeName): TypeAst {
    const position = this.at(name.location)
    const internal = names(name.names).at(-1) ?? ''
    if (name.arrayBounds !== undefined) throw unsupported('an array type is', position)
    const type = TYPES[internal]
    if (type === undefined) {
      if (KNOWN_TYPES.has(internal)) throw unsupported(`the type ${internal} is`, position)
      throw sqlError('42704', `type "${internal}" does not exist`, position)
    }
    const modifiers = (name.typmods ?? []).map((node) =>
      'A_Const' in node ? (node.A_Const.ival?.ival ?? 0) : 0,
    )
    if (type === 'interval') {
      const unit = modifiers[0] === undefined ? null : (INTERVAL_UNITS[modifiers[0]] ?? undefined)
      if (modifiers.length > 1 || (unit === undefined && modifiers[0] !== INTERVAL_FULL_RANGE)) {
        throw unsupported('this interval unit is', position, 'use DAY, HOUR, MINUTE or SECOND')
      }
      return { type, intervalUnit: unit ?? null, position }
    }
    if (modifiers.length > 0) {
      const hint = 'leave it out: values are kept as they are'
      throw unsupported('a length, precision or scale of a type is', position, hint)
    }
    return { type, intervalUnit: null, position }
  }

  private plainCall(
    name: string,
    args: readonly ExpressionAst[],
    location: number | undefined,
  ): ExpressionAst {
    const position = this.at(location)
    return { kind: 'function', name, args, star: false, distinct: false, filter: null, position }
  }

  private need(node: Node | undefined): ExpressionAst {
    assert(node !== undefined, 'the grammar gives every operand')
    return this.expression(node)
  }

  private list(nodes: readonly Node[] | undefined): readonly ExpressionAst[] {
    return (nodes ?? []).map((node) => this.expression(node))
  }

  private listOf(node: Node | undefined): readonly ExpressionAst[] {
    assert(node !== undefined, 'the grammar gives every operand')
    return 'List' in node ? this.list(node.List.items) : [this.expression(node)]
  }

  private relationName(relation: RangeVar | undefined): Name {
    assert(relation?.relname !== undefined, 'a relation has a name')
    const position = this.at(relation.location)
    if (relation.schemaname !== undefined && relation.schemaname !== 'public') {
      throw unsupported('a schema name is', position, 'all objects live in one schema, "public"')
    }
    if (relation.inh !== true) throw unsupported('ONLY is', position)
    return { name: relation.relname, position }
  }

  /** Protocol buffers leave a 0 out. */
  private at(location: number | undefined): number {
    return this.positionOf(Math.max(0, location ?? 0))
  }

  private refuse(clause: unknown, what: string, hint?: string): void {
    if (clause !== undefined) throw unsupported(what, this.start, hint)
  }
}

/** The strings of a list; other nodes (such as `*`) are left out. */
function names(nodes: readonly Node[] | undefined): string[] {
  return (nodes ?? []).flatMap((node) => ('String' in node ? [node.String.sval ?? ''] : []))
}

function aliasOf(alias: Alias | undefined): {
  readonly alias: string | null
  readonly columnAliases: readonly string[]
} {
  return { alias: alias?.aliasname ?? null, columnAliases: names(alias?.colnames) }
}
