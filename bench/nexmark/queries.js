const ms = (value) => value.getTime()
export const QUERIES = {
  q1: {
    select: 'SELECT auction, bidder, price * 908 AS price, date_time, extra FROM bid',
    columns: { bid: ['auction', 'bidder', 'price', 'date_time', 'extra'] },
    spell: (row) => [
      Number(row['auction']),
      Number(row['bidder']),
      Number(row['price']),
      ms(row['date_time']),
      row['extra'],
    ],
  },
  q3: {
    select: `SELECT P.name, P.city, P.state, A.id FROM auction AS A INNER JOIN person AS P ON A.seller = P.id
      WHERE A.category = 10 AND P.state IN ('OR', 'ID', 'CA')`,
    columns: { person: ['id', 'name', 'city', 'state'], auction: ['id', 'seller', 'category'] },
    spell: (row) => [row['name'], row['city'], row['state'], Number(row['id'])],
  },
  q4: {
    select: `SELECT category, sum(final) AS total, count(*) AS n FROM (
      SELECT max(B.price) AS final, A.category FROM auction A, bid B
      WHERE A.id = B.auction AND B.date_time BETWEEN A.date_time AND A.expires
      GROUP BY A.id, A.category) Q GROUP BY category`,
    columns: {
      auction: ['id', 'category', 'date_time', 'expires'],
      bid: ['auction', 'price', 'date_time'],
    },
    spell: (row) => [Number(row['category']), Number(row['total']), Number(row['n'])],
  },
  q5w: {
    select: `SELECT auction, window_start, count(*) AS n
      FROM TUMBLE(bid, date_time, INTERVAL '10' SECOND) GROUP BY auction, window_start`,
    columns: { bid: ['auction', 'date_time'] },
    spell: (row) => [Number(row['auction']), ms(row['window_start']), Number(row['n'])],
  },
}
/** What 1M events of seed 42 give, over all systems measured. */
export const KNOWN_HASHES = {
  q1: '8666727ef99768fd',
  q3: '8e193e4381908647',
  q4: '91a521ece337e804',
  q5w: '9c0867805b9bce3a',
}
const COLUMN_TYPES = {
  person: `id BIGINT, name VARCHAR, email_address VARCHAR, credit_card VARCHAR, city VARCHAR,
    state VARCHAR, date_time TIMESTAMP, extra VARCHAR`,
  auction: `id BIGINT, item_name VARCHAR, description VARCHAR, initial_bid BIGINT, reserve BIGINT,
    date_time TIMESTAMP, expires TIMESTAMP, seller BIGINT, category BIGINT, extra VARCHAR`,
  bid: `auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR,
    date_time TIMESTAMP, extra VARCHAR`,
}
/** CREATE SOURCE (or TABLE, without properties) for one of the three tables. */
export function createRelation(table, properties) {
  if (properties === null) return `CREATE TABLE ${table} (${COLUMN_TYPES[table]});`
  const list = Object.entries(properties).map(([name, value]) => `${name} = '${value}'`)
  return `CREATE SOURCE ${table} (${COLUMN_TYPES[table]}) WITH (${list.join(', ')});`
}
export function capitalized(table) {
  return table[0].toUpperCase() + table.slice(1)
}
//# sourceMappingURL=queries.js.map
