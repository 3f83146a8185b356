// An application's everyday work with the connector `mariadb`. Prints a transcript that is the same against every correct server.
// Usage: mariadb.js HOST PORT [tls] [later] [compressed], with mariadb on NODE_PATH.
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { Readable } = require('stream');
const mariadb = require('mariadb');

const [host, port, ...wishes] = process.argv.slice(2);
// Without bulk execution, which only MariaDB offers and Grove does not yet.
const account = { host, port: Number(port), user: 'app', password: 'app', database: 'app', allowPublicKeyRetrieval: true, bulk: false, dateStrings: true, decimalAsNumber: false, compress: wishes.includes('compressed') };

function show(title, ...values) {
  const texts = values.map((value) => JSON.stringify(value, (key, item) => {
    if (typeof item === 'bigint') return `${item}n`;
    if (item && item.type === 'Buffer') return item.data.length > 1000 ? `${item.data.length} bytes` : `0x${Buffer.from(item.data).toString('hex')}`;
    return item;
  }));
  console.log(`${title}: ${texts.join(', ')}`);
}

async function fails(title, action) {
  try {
    show(title, 'no error', await action());
  } catch (error) {
    show(title, error.code, error.errno, error.sqlState, error.sqlMessage);
  }
}

async function logins() {
  try {
    await mariadb.createConnection({ ...account, password: 'wrong' });
  } catch (error) {
    show('wrong password', error.errno, error.sqlState);
  }
  await fails('no such schema', () => mariadb.createConnection({ ...account, database: 'missing' }));
  const options = { sessionVariables: { sql_mode: 'ANSI_QUOTES' }, initSql: ['SET @begun = 5'] };
  const connection = await mariadb.createConnection({ ...account, ...options });
  show('compression', await connection.query("SHOW STATUS LIKE 'Compression'"));
  show('settings', await connection.query('SELECT @@sql_mode AS mode, @begun AS begun'));
  await connection.end();
  if (!wishes.includes('tls')) return;
  const secret = await mariadb.createConnection({ ...account, ssl: { rejectUnauthorized: false } });
  show('over TLS', await secret.query("SELECT REPEAT('secret ', 3) AS text"));
  await secret.end();
}

async function types(connection) {
  await connection.query('DROP TABLE IF EXISTS mjs_types');
  await connection.query(`CREATE TABLE mjs_types (id INT AUTO_INCREMENT PRIMARY KEY, i BIGINT, u BIGINT UNSIGNED, d DECIMAL(40, 12), f DOUBLE,
    t VARCHAR(200), b BLOB, day DATE, at DATETIME(6), took TIME(3), y YEAR, e ENUM('a', 'b'), bits BIT(9))`);
  const insert = `INSERT INTO mjs_types (i, u, d, f, t, b, day, at, took, y, e, bits) VALUES (${Array(12).fill('?').join(', ')})`;
  const rows = [
    [-(2n ** 63n), 2n ** 64n - 1n, '-1234567890123456789012345678.012345678912', 0.1, 'żółć 🦀 \' " \\ \n', Buffer.from([0, 1, 2, 255, 254]),
      '2024-02-29', '1999-12-31 23:59:59.999999', '-25:00:00.125', 2155, 'b', Buffer.from([0, 5])],
    Array(12).fill(null),
    [0, 0n, 0, -0.25, '', Buffer.alloc(0), '1000-01-01', '2038-01-20', '00:00:00', 1901, 'a', Buffer.from([0])],
  ];
  for (const way of ['query', 'execute']) {
    for (const row of rows) show(`${way}: inserted`, await connection[way](insert, row));
  }
  show('batch', await connection.batch('INSERT INTO mjs_types (i, t) VALUES (?, ?)', [[1, 'row 1'], [2, null], [3, 'row 3']]));
  for (const way of ['query', 'execute']) {
    const found = await connection[way]('SELECT *, HEX(b) AS hex, i / 3 AS third FROM mjs_types WHERE id < ? ORDER BY id', [100]);
    for (const column of found.meta) {
      const { type, columnLength, scale, flags, columnType } = column;
      show(`${way}: column`, column.name(), column.orgTable(), column.db(), type, columnType, columnLength, scale, flags, column.collation.name);
    }
    for (const row of found) show(`${way}: row`, Object.values(row));
  }
  show('as arrays', await connection.query({ sql: 'SELECT id, t FROM mjs_types ORDER BY id', rowsAsArray: true }));
  show('nested', await connection.query({ sql: 'SELECT a.id, b.t FROM mjs_types a JOIN mjs_types b USING (id) ORDER BY a.id LIMIT 2', nestTables: '_' }));
}

async function large(connection) {
  await connection.query('DROP TABLE IF EXISTS mjs_large');
  await connection.query('CREATE TABLE mjs_large (id INT PRIMARY KEY, b LONGBLOB)');
  // One value needs more than one packet.
  for (const [way, size] of [['query', 1 << 20], ['execute', 17 << 20]]) {
    const value = Buffer.alloc(size, '0123456789abcde\xff', 'latin1');
    await connection[way]('INSERT INTO mjs_large VALUES (?, ?)', [size, value]);
    const [row] = await connection[way]('SELECT b, SHA2(b, 256) AS digest FROM mjs_large WHERE id = ?', [size]);
    show(`${way}: large`, row.b.length, row.b.equals(value), row.digest === crypto.createHash('sha256').update(value).digest('hex'));
  }
  // A stream as a value goes in pieces.
  await connection.execute('INSERT INTO mjs_large VALUES (?, ?)', [1, Readable.from([Buffer.alloc(70000, 'a'), Buffer.alloc(70000, 'b')])]);
  show('a stream', await connection.query('SELECT LENGTH(b) AS length, SHA2(b, 256) AS digest FROM mjs_large WHERE id = 1'));
}

async function transactions(connection) {
  await connection.query('DROP TABLE IF EXISTS mjs_money');
  await connection.query('CREATE TABLE mjs_money (id INT PRIMARY KEY, balance INT NOT NULL)');
  const rows = () => connection.query({ sql: 'SELECT * FROM mjs_money ORDER BY id', rowsAsArray: true });
  await connection.beginTransaction();
  show('inserted', await connection.query('INSERT INTO mjs_money VALUES (1, 100), (2, 100)'));
  await connection.commit();
  await connection.beginTransaction();
  show('updated', await connection.query('UPDATE mjs_money SET balance = 0'), await rows());
  await connection.rollback();
  show('after rollback', await rows());
  await connection.beginTransaction();
  await connection.query('SAVEPOINT one');
  await connection.execute('DELETE FROM mjs_money WHERE id = ?', [1]);
  await connection.query('ROLLBACK TO one');
  await connection.commit();
  // This driver asks for found rows unless it is told not to.
  show('found rows', await connection.query('UPDATE mjs_money SET balance = 100'));
  const changed = await mariadb.createConnection({ ...account, foundRows: false });
  show('changed rows', await changed.query('UPDATE mjs_money SET balance = 100'));
  await changed.end();
  show('on duplicate', await connection.query('INSERT INTO mjs_money VALUES (1, 5), (3, 7) ON DUPLICATE KEY UPDATE balance = 5'), await rows());
}

async function errors(connection) {
  for (const sql of ['INSERT INTO mjs_money VALUES (1, 5)', 'SELECT * FROM mjs_missing', 'SELEC 1', 'INSERT INTO mjs_money VALUES (7, NULL)',
    'INSERT INTO mjs_money VALUES (7, 99999999999)', 'SELECT nothing FROM mjs_money']) {
    await fails(`query: ${sql}`, () => connection.query(sql));
    await fails(`execute: ${sql}`, () => connection.execute(sql));
  }
  await fails('batch', () => connection.batch('INSERT INTO mjs_money VALUES (?, ?)', [[30, 1], [1, 1], [31, 1]]));
  show('ignored', await connection.query('INSERT IGNORE INTO mjs_money VALUES (1, 5), (2, 5)'));
  show('warnings', await connection.query('SHOW WARNINGS'));
  // Commands may be sent before the replies to the ones in front of them.
  const pipelined = await Promise.allSettled(['SELECT 1 AS one', 'SELEC 2', 'SELECT 3 AS three'].map((sql) => connection.query(sql)));
  show('pipelined', pipelined.map((result) => (result.value ? result.value : result.reason.errno)));
}

async function severalResults(connection) {
  const several = await mariadb.createConnection({ ...account, multipleStatements: true });
  show('several', await several.query("SELECT 1 AS one; UPDATE mjs_money SET balance = balance + ?; SELECT 'three' AS three", [1]));
  await fails('one at a time', () => connection.query('SELECT 1; SELECT 2'));
  await several.end();
  await connection.query('DROP PROCEDURE IF EXISTS mjs_two');
  await connection.query('CREATE PROCEDURE mjs_two(a INT) BEGIN SELECT a; SELECT a + 1 AS b, a + 2 AS c; END');
  for (const way of ['query', 'execute']) show(`${way}: called`, await connection[way]('CALL mjs_two(?)', [5]));
}

async function streamed(connection) {
  await connection.query('DROP TABLE IF EXISTS mjs_many');
  await connection.query('CREATE TABLE mjs_many (id INT PRIMARY KEY, t VARCHAR(100))');
  const rows = Array.from({ length: 250 }, (_, id) => [id, String(id).padStart(50, '0')]);
  await connection.batch('INSERT INTO mjs_many VALUES (?, ?)', rows);
  for (const more of [250, 500, 1000, 2000]) await connection.query('INSERT INTO mjs_many SELECT id + ?, t FROM mjs_many ORDER BY id', [more]);
  let [count, total] = [0, 0];
  for await (const row of connection.queryStream('SELECT * FROM mjs_many WHERE id >= ? ORDER BY id', [10])) {
    count += 1;
    total += row.id + row.t.length;
  }
  show('streamed', count, total);
  const prepared = await connection.prepare('SELECT id FROM mjs_many WHERE id < ? ORDER BY id');
  for (const bound of [2, 3]) show('prepared', await prepared.execute([bound]));
  prepared.close();
}

async function connections(connection) {
  await connection.ping();
  await connection.query('SET @mine = 1');
  await connection.reset();
  show('after a reset', await connection.query('SELECT @mine AS mine, DATABASE() AS db'));
  await connection.query('SET @mine = 1');
  // The driver does this on MariaDB only.
  await fails('change of user', () => connection.changeUser({ user: 'app', password: 'app', database: 'app' }));
  show('after it', await connection.query('SELECT @mine AS mine, DATABASE() AS db'));
  const pool = mariadb.createPool({ ...account, connectionLimit: 4 });
  const done = await Promise.all(Array.from({ length: 20 }, async (_, number) => {
    await pool.execute('INSERT INTO mjs_many VALUES (?, ?)', [20000 + number, 'pooled']);
    return (await pool.query('SELECT t FROM mjs_many WHERE id = ?', [20000 + number]))[0].t;
  }));
  show('pooled', done);
  await pool.end();
  const victim = await mariadb.createConnection(account);
  const ended = new Promise((resolve) => { victim.on('error', () => resolve('ended')); });
  await connection.query(`KILL ${victim.threadId}`);
  show('after KILL', await ended, victim.isValid());
}

async function later() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'load-'));
  const file = path.join(folder, 'rows');
  fs.writeFileSync(file, '30001\tone\n30002\ttwo\n');
  const local = await mariadb.createConnection({ ...account, permitLocalInfile: true });
  await fails('load data', () => local.query({ sql: `LOAD DATA LOCAL INFILE '${file}' INTO TABLE mjs_many`, infileStreamFactory: () => fs.createReadStream(file) }));
  show('loaded', await local.query('SELECT * FROM mjs_many WHERE id > 30000 ORDER BY id'));
  fs.rmSync(folder, { recursive: true });
  await local.end();
}

async function main() {
  await logins();
  const connection = await mariadb.createConnection(account);
  for (const part of [types, large, transactions, errors, severalResults, streamed, connections]) await part(connection);
  if (wishes.includes('later')) await later();
  await connection.end();
  console.log('done');
}

main().catch((error) => {
  console.log('FAILED', error);
  process.exitCode = 1;
});
