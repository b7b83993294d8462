/** SELECT over small tables: the executor with its real operators, without storage. */
import { beforeAll, describe, expect, test } from 'vitest'
import { catalogOf, errorText, MemoryTables } from './harness.ts'

let tables: MemoryTables

beforeAll(async () => {
  tables = new MemoryTables(
    await catalogOf(`
      CREATE TABLE item (id BIGINT PRIMARY KEY, name VARCHAR, price NUMERIC, at TIMESTAMP, n INTEGER NOT NULL);
      CREATE TABLE tag (item BIGINT, word VARCHAR);
    `),
  )
  await tables.insert(`INSERT INTO item VALUES
    (1, 'apple', 1.50, '2024-01-01 00:00:01', 10),
    (2, 'pear', 2.25, '2024-01-01 00:00:11', 20),
    (3, NULL, NULL, NULL, 30),
    (4, 'fig', 0.75, '2024-01-02 00:00:00', 40)`)
  await tables.insert(
    `INSERT INTO tag (word, item) VALUES ('red', 1), ('green', 1), ('green', 2), ('?', NULL)`,
  )
})

describe('select', () => {
  const cases: [string, unknown[][]][] = [
    ['SELECT 1, $1', [[1, 'x']]],
    [
      'SELECT id, name FROM item WHERE price > 1 ORDER BY id DESC',
      [
        [2, 'pear'],
        [1, 'apple'],
      ],
    ],
    ['SELECT id FROM item ORDER BY name', [[1], [4], [2], [3]]],
    ['SELECT id FROM item ORDER BY name DESC', [[3], [2], [4], [1]]],
    ['SELECT id FROM item ORDER BY name DESC NULLS LAST LIMIT 2 OFFSET 1', [[4], [1]]],
    [
      'SELECT count(*), sum(n), max(name), min(price), count(price) FROM item',
      [[4, 100, 'pear', '0.75', 3]],
    ],
    ['SELECT count(*), sum(n) FROM item WHERE id > 100', [[0, null]]],
    [
      'SELECT i.name, t.word FROM item i JOIN tag t ON t.item = i.id ORDER BY 1, 2',
      [
        ['apple', 'green'],
        ['apple', 'red'],
        ['pear', 'green'],
      ],
    ],
    [
      'SELECT word, count(*) AS c FROM item, tag WHERE item.id = tag.item GROUP BY word HAVING count(*) > 1',
      [['green', 2]],
    ],
    ['SELECT DISTINCT word FROM tag ORDER BY word', [['?'], ['green'], ['red']]],
    [
      "SELECT window_start, count(*) FROM TUMBLE(item, at, INTERVAL '10' SECOND) WHERE id < 3 GROUP BY 1 ORDER BY 1",
      [
        ['2024-01-01T00:00:00', 1],
        ['2024-01-01T00:00:10', 1],
      ],
    ],
    ['SELECT id FROM item LIMIT 0', []],
    ['SELECT * FROM (SELECT 1 AS x, 2 AS x) q', [[1, 2]]],
    ['SELECT t.*, i.id FROM item i, tag t WHERE i.id = t.item AND i.id = 2', [[2, 'green', 2]]],
    ['SELECT count(*) FROM (SELECT 1) q', [[1]]],
    ['SELECT 1 WHERE false', []],
    [
      'VALUES (1, $1), (2.5, NULL)',
      [
        ['1.0', 'x'],
        ['2.5', null],
      ],
    ],
    ['SELECT sum(n) FILTER (WHERE id < 3) AS a, count(*) FROM item', [[30, 4]]],
    ["SELECT id FROM item WHERE name LIKE '%p%' AND at IS NOT NULL ORDER BY id", [[1], [2]]],
    [
      'SELECT q.m FROM (SELECT max(n) AS m, word FROM item, tag WHERE id = item GROUP BY word) q ORDER BY m',
      [[10], [20]],
    ],
  ]
  test.each(cases)('%s', async (sql, expected) => {
    expect(await tables.query(sql, ['x'])).toEqual(expected)
  })

  test('a key that the condition spells out is a prefix scan', async () => {
    tables.prefixes.length = 0
    await tables.query('SELECT * FROM item WHERE id = $1', [2n])
    await tables.query('SELECT * FROM item WHERE id > 2')
    expect(tables.prefixes[0]).toMatch(/^[0-9a-f]{4}08800000000000000[0-9a-f]$/)
    expect(tables.prefixes[1]).toBeNull()
  })

  test('memory is bounded', async () => {
    const small = new MemoryTables(tables.catalog, 100)
    for (const [id, chunks] of tables.chunks) small.chunks.set(id, chunks)
    await expect(small.query('SELECT * FROM item')).rejects.toMatchObject({
      code: 'MEMORY_EXHAUSTED',
    })
  })
})

describe('insert', () => {
  test('a null where none may be', async () => {
    const error = await tables
      .insert("INSERT INTO item (id, name) VALUES (9, 'x')")
      .catch(errorText)
    expect(error).toMatch(/^NOT_NULL 23502 .*"n" of relation "item"/)
  })
})
