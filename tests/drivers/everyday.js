// An application's everyday work with mysql2. Prints a transcript that is the same against every correct server.
// Usage: everyday.js HOST PORT [tls], with mysql2 on NODE_PATH.
'use strict';

const mysql = require('mysql2/promise');

const [host, port, ...wishes] = process.argv.slice(2);
const account = { host, port: Number(port), user: 'app', password: 'app', database: 'app', charset: 'utf8mb4', compress: wishes.includes('compressed') };

function show(title, value) {
  const text = JSON.stringify(value, (key, item) => {
    if (typeof item === 'bigint') return `${item}n`;
    if (item && item.type === 'Buffer') return `0x${Buffer.from(item.data).toString('hex')}`;
    return item;
  });
  console.log(`${title}: ${text}`);
}

async function fails(title, action) {
  try {
    await action();
    show(title, 'no error');
  } catch (error) {
    show(title, [error.code, error.errno, error.sqlState, error.sqlMessage]);
  }
}

function summary(result) {
  const { affectedRows, insertId, warningStatus, info, changedRows } = result;
  return { affectedRows, insertId, warningStatus, info, changedRows };
}

async function types(connection) {
  await connection.query('DROP TABLE IF EXISTS js_types');
  // MariaDB's JSON is a text with a hint that Grove does not pass on; drivers then show it as text.
  const [[{ version }]] = await connection.query('SELECT VERSION() AS version');
  const json = version.includes('MariaDB') ? 'LONGTEXT' : 'JSON';
  await connection.query(`CREATE TABLE js_types (id INT AUTO_INCREMENT PRIMARY KEY, i BIGINT, d DECIMAL(30, 10), f DOUBLE,
    t VARCHAR(200) CHARACTER SET utf8mb4, b BLOB, day DATE, at DATETIME(3), took TIME, j ${json})`);
  const insert = 'INSERT INTO js_types (i, d, f, t, b, day, at, took, j) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)';
  const rows = [
    ['-9223372036854775808', '12345678901234567890.0123456789', 0.1, 'żółć 🦀 \' " \\ \n', Buffer.from([0, 1, 2, 255, 254]),
      '2024-02-29', '1999-12-31 23:59:59.999', '-25:00:00', '{"a": [1, null]}'],
    [null, null, null, null, null, null, null, null, null],
    [0, 0, -0.5, '', Buffer.alloc(0), '1000-01-01', '2038-01-20', '00:00:00', '[]'],
  ];
  for (const row of rows) {
    const [text] = await connection.query(insert, row);
    show('inserted as text', summary(text));
    const [prepared] = await connection.execute(insert, row);
    show('inserted prepared', summary(prepared));
  }
  const [asText, fields] = await connection.query('SELECT * FROM js_types ORDER BY id');
  asText.forEach((row) => show('text row', row));
  show('fields', fields.map((field) => [field.name, field.columnType, field.flags, field.characterSet]));
  for (const least of [1, 4, 99]) {
    const [rows] = await connection.execute('SELECT * FROM js_types WHERE id >= ? ORDER BY id', [least]);
    rows.forEach((row) => show('binary row', row));
    show('rows', rows.length);
  }
}

async function transactions(connection) {
  await connection.query('DROP TABLE IF EXISTS js_money');
  await connection.query('CREATE TABLE js_money (id INT PRIMARY KEY, balance INT NOT NULL)');
  await connection.query('INSERT INTO js_money VALUES ?', [[[1, 100], [2, 100]]]);
  await connection.beginTransaction();
  await connection.execute('UPDATE js_money SET balance = balance - ? WHERE id = ?', [30, 1]);
  await connection.execute('UPDATE js_money SET balance = balance + ? WHERE id = ?', [30, 2]);
  await connection.commit();
  await connection.beginTransaction();
  const [updated] = await connection.execute('UPDATE js_money SET balance = 0');
  show('updated', summary(updated));
  await connection.rollback();
  show('after rollback', (await connection.query('SELECT * FROM js_money ORDER BY id'))[0]);
}

async function errors(connection) {
  await fails('duplicate', () => connection.execute('INSERT INTO js_money VALUES (?, ?)', [1, 5]));
  await fails('no table', () => connection.query('SELECT * FROM js_missing'));
  await fails('prepare fails', () => connection.execute('SELECT nothing FROM js_money WHERE id = ?', [1]));
  await fails('null', () => connection.query('INSERT INTO js_money VALUES (7, NULL)'));
  await connection.query('INSERT IGNORE INTO js_money VALUES (1, 5)');
  show('warnings', (await connection.query('SHOW WARNINGS'))[0]);
  show('still there', (await connection.query('SELECT COUNT(*) AS n FROM js_money'))[0]);
}

async function manyRows(connection) {
  await connection.query('DROP TABLE IF EXISTS js_many');
  await connection.query('CREATE TABLE js_many (id INT PRIMARY KEY, t VARCHAR(100))');
  const rows = Array.from({ length: 20000 }, (_, n) => [n, `row ${n}`]);
  await connection.query('INSERT INTO js_many VALUES ?', [rows]);
  const [read] = await connection.execute('SELECT id, t FROM js_many ORDER BY id');
  show('read', [read.length, read.reduce((sum, row) => sum + row.id + row.t.length, 0)]);
}

async function severalResults() {
  const connection = await mysql.createConnection({ ...account, multipleStatements: true });
  const [results] = await connection.query("SELECT 1 AS one; UPDATE js_money SET balance = balance + 1; SELECT 'three' AS three");
  show('several', results.map((result) => (Array.isArray(result) ? result : summary(result))));
  await connection.query('DROP PROCEDURE IF EXISTS js_two');
  await connection.query('CREATE PROCEDURE js_two(a INT) BEGIN SELECT a; SELECT a + 1, a + 2; END');
  const [call] = await connection.query('CALL js_two(5)');
  show('call', call.map((result) => (Array.isArray(result) ? result : summary(result))));
  const [executed] = await connection.execute('CALL js_two(?)', [6]);
  show('call, prepared', executed.map((result) => (Array.isArray(result) ? result : summary(result))));
  await connection.ping();
  await connection.end();
}

async function pooled() {
  const pool = mysql.createPool({ ...account, connectionLimit: 4 });
  const counts = await Promise.all(Array.from({ length: 20 }, async (_, n) => {
    await pool.execute('INSERT INTO js_money VALUES (?, ?)', [100 + n, n]);
    const [[row]] = await pool.execute('SELECT balance FROM js_money WHERE id = ?', [100 + n]);
    return row.balance;
  }));
  show('pooled', counts);
  await pool.end();
}

async function logins() {
  try {
    await mysql.createConnection({ ...account, password: 'wrong' });
    show('wrong password', 'no error');
  } catch (error) {
    show('wrong password', [error.code, error.errno, error.sqlState]);
  }
  const connection = await mysql.createConnection(account);
  await connection.query('SET @kept = 1');
  await connection.changeUser({ user: 'app', password: 'app', database: 'app' });
  show('after change of user', (await connection.query('SELECT @kept AS kept, DATABASE() AS db'))[0]);
  await connection.end();
}

async function overTls() {
  const connection = await mysql.createConnection({ ...account, ssl: { rejectUnauthorized: false } });
  show('over TLS', (await connection.query("SELECT REPEAT('secret ', 3) AS text"))[0]);
  await connection.end();
}

async function main() {
  await logins();
  if (wishes.includes('tls')) await overTls();
  const connection = await mysql.createConnection({ ...account, dateStrings: true, supportBigNumbers: true, bigNumberStrings: true });
  show('compression', (await connection.query("SHOW STATUS LIKE 'Compression'"))[0]);
  await types(connection);
  await transactions(connection);
  await errors(connection);
  await manyRows(connection);
  await severalResults();
  await pooled();
  await connection.end();
  show('done', true);
}

main().catch((error) => {
  console.log('FAILED', error);
  process.exitCode = 1;
});
