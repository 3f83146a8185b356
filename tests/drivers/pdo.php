<?php
// An application's everyday work with PHP's PDO. Prints a transcript that is the same against every correct server.
// Usage: pdo.php HOST PORT [tls] [later]

[, $host, $port] = $argv;
$wishes = array_slice($argv, 3);
ini_set('memory_limit', '512M');

function show(string $title, mixed ...$values): void
{
    $flags = JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_PRESERVE_ZERO_FRACTION;
    echo $title, ': ', implode(', ', array_map(fn($value) => json_encode($value, $flags), $values)), "\n";
}

function dial(array $options = [], string $schema = 'app', string $password = 'app'): PDO
{
    global $host, $port;
    return new PDO("mysql:host=$host;port=$port;dbname=$schema;charset=utf8mb4", 'app', $password, $options);
}

function fails(string $title, callable $action): void
{
    try {
        show($title, 'no error', $action());
    } catch (PDOException $error) {
        show($title, $error->getCode(), $error->errorInfo ?? null, $error->getMessage());
    }
}

function logins(): void
{
    global $wishes;
    try {
        dial([], 'app', 'wrong');
    } catch (PDOException $error) {
        show('wrong password', $error->getCode());
    }
    fails('no such schema', fn() => dial([], 'missing'));
    if (in_array('tls', $wishes)) {
        $db = dial([PDO::MYSQL_ATTR_SSL_VERIFY_SERVER_CERT => false, PDO::MYSQL_ATTR_SSL_CA => '']);
        show('over TLS', $db->query("SELECT REPEAT('secret ', 3)")->fetchColumn());
    }
    show('at the start', dial([PDO::MYSQL_ATTR_INIT_COMMAND => 'SET @begun = 5'])->query('SELECT @begun')->fetchColumn());
}

function types(string $way, PDO $db): void
{
    $db->exec('DROP TABLE IF EXISTS pdo_types');
    $db->exec("CREATE TABLE pdo_types (id INT AUTO_INCREMENT PRIMARY KEY, i BIGINT, u BIGINT UNSIGNED, d DECIMAL(40, 12), f DOUBLE,
        t VARCHAR(200), b BLOB, day DATE, at DATETIME(6), took TIME(3), y YEAR, e ENUM('a', 'b'), yes BOOL)");
    $insert = $db->prepare('INSERT INTO pdo_types (i, u, d, f, t, b, day, at, took, y, e, yes)
        VALUES (:i, :u, :d, :f, :t, :b, :day, :at, :took, :y, :e, :yes)');
    $names = ['i', 'u', 'd', 'f', 't', 'b', 'day', 'at', 'took', 'y', 'e', 'yes'];
    $rows = [
        [PHP_INT_MAX, '18446744073709551615', '-1234567890123456789012345678.012345678912', 0.1, "żółć 🦀 ' \" \\ \n", "\0\1\2\xff\xfe",
            '2024-02-29', '1999-12-31 23:59:59.999999', '-25:00:00.125', 2155, 'b', true],
        array_fill(0, 12, null),
        [0, 0, 0, -0.25, '', '', '1000-01-01', '2038-01-20', '00:00:00', 1901, 'a', false],
    ];
    foreach ($rows as $row) {
        foreach ($row as $index => $value) {
            $type = match (true) {
                $value === null => PDO::PARAM_NULL,
                is_bool($value) => PDO::PARAM_BOOL,
                is_int($value) => PDO::PARAM_INT,
                $names[$index] === 'b' => PDO::PARAM_LOB,
                default => PDO::PARAM_STR,
            };
            $insert->bindValue($names[$index], $value, $type);
        }
        $insert->execute();
        show("$way: inserted", $insert->rowCount(), $db->lastInsertId());
    }
    $select = $db->prepare('SELECT *, HEX(b) AS hex, i / 3 AS third FROM pdo_types WHERE id < ? ORDER BY id');
    $select->execute([100]);
    for ($column = 0; $column < $select->columnCount(); $column++) {
        show("$way: column", $select->getColumnMeta($column));
    }
    while ($row = $select->fetch(PDO::FETCH_ASSOC)) {
        $row['b'] = $row['b'] === null ? null : bin2hex($row['b']);
        show("$way: row", array_values($row));
    }
    show("$way: pairs", $db->query('SELECT id, t FROM pdo_types ORDER BY id')->fetchAll(PDO::FETCH_KEY_PAIR));
}

function large(string $way, PDO $db): void
{
    $db->exec('DROP TABLE IF EXISTS pdo_large');
    $db->exec('CREATE TABLE pdo_large (id INT PRIMARY KEY, b LONGBLOB)');
    $insert = $db->prepare('INSERT INTO pdo_large VALUES (?, ?)');
    $select = $db->prepare('SELECT b, SHA2(b, 256) FROM pdo_large WHERE id = ?');
    foreach ([1 << 16, 1 << 20] as $size) {
        $value = str_repeat("0123456789abcde\xff", $size / 16);
        $insert->bindValue(1, $size);
        $insert->bindValue(2, $value, PDO::PARAM_LOB);
        $insert->execute();
        $select->execute([$size]);
        [$read, $sum] = $select->fetch(PDO::FETCH_NUM);
        show("$way: large", strlen($read), $read === $value, $sum);
        $select->closeCursor();
    }
}

function transactions(string $way, PDO $db): void
{
    $db->exec('DROP TABLE IF EXISTS pdo_money');
    $db->exec('CREATE TABLE pdo_money (id INT PRIMARY KEY, balance INT NOT NULL)');
    $rows = fn() => $db->query('SELECT * FROM pdo_money ORDER BY id')->fetchAll(PDO::FETCH_NUM);
    $db->beginTransaction();
    show("$way: inserted", $db->exec('INSERT INTO pdo_money VALUES (1, 100), (2, 100)'), $db->inTransaction());
    $db->commit();
    $db->beginTransaction();
    show("$way: updated", $db->exec('UPDATE pdo_money SET balance = 0'));
    show("$way: inside", $rows());
    $db->rollBack();
    show("$way: after rollback", $rows(), $db->inTransaction());
    $db->beginTransaction();
    $db->exec('SAVEPOINT one');
    $delete = $db->prepare('DELETE FROM pdo_money WHERE id = ?');
    $delete->execute([1]);
    show("$way: deleted", $delete->rowCount());
    $db->exec('ROLLBACK TO SAVEPOINT one');
    show("$way: changed nothing", $db->exec('UPDATE pdo_money SET balance = 100'));
    // A statement that commits by itself ends the transaction; PDO sees it in the status of the reply.
    $db->exec('CREATE TABLE IF NOT EXISTS pdo_money_more LIKE pdo_money');
    show("$way: ended by CREATE", $db->inTransaction());
    $db->setAttribute(PDO::ATTR_AUTOCOMMIT, false);
    $db->exec('UPDATE pdo_money SET balance = 1');
    $db->setAttribute(PDO::ATTR_AUTOCOMMIT, true);
    show("$way: at the end", $rows(), $db->inTransaction());
    show("$way: found rows", dial([PDO::MYSQL_ATTR_FOUND_ROWS => true])->exec('UPDATE pdo_money SET balance = 1'));
}

function errors(string $way, PDO $db): void
{
    $statements = ['INSERT INTO pdo_money VALUES (1, ?)' => [5], 'SELECT * FROM pdo_missing WHERE id = ?' => [1], 'SELEC ?' => [1],
        'INSERT INTO pdo_money VALUES (7, ?)' => [null], 'UPDATE pdo_money SET balance = ?' => ['text'], 'SELECT ?, ?' => [1]];
    foreach ($statements as $sql => $values) {
        fails("$way: $sql", fn() => $db->prepare($sql)->execute($values));
    }
    $silent = dial([PDO::ATTR_ERRMODE => PDO::ERRMODE_SILENT]);
    show("$way: silent", $silent->exec('INSERT INTO pdo_money VALUES (1, 5)'), $silent->errorCode(), $silent->errorInfo());
    show("$way: ignored", $db->exec('INSERT IGNORE INTO pdo_money VALUES (1, 5)'));
    show("$way: warnings", $db->query('SHOW WARNINGS')->fetchAll(PDO::FETCH_NUM));
}

function several_results(string $way, PDO $db): void
{
    $db->exec('DROP PROCEDURE IF EXISTS pdo_two');
    $db->exec('CREATE PROCEDURE pdo_two(a INT) BEGIN SELECT a; SELECT a + 1, a + 2; END');
    $call = $db->prepare('CALL pdo_two(?)');
    $call->execute([5]);
    do {
        show("$way: called", $call->fetchAll(PDO::FETCH_NUM));
    } while ($call->nextRowset());
    if ($way === 'prepared') {
        fails('several prepared', fn() => $db->query('SELECT 1; SELECT 2'));
        return;
    }
    $several = $db->query("SELECT 1; UPDATE pdo_money SET balance = balance + 1; SELECT 'three', 3");
    do {
        show("$way: one of several", $several->columnCount() ? $several->fetchAll(PDO::FETCH_NUM) : $several->rowCount());
    } while ($several->nextRowset());
}

function streamed(string $way, PDO $db): void
{
    $db->exec('DROP TABLE IF EXISTS pdo_many');
    $db->exec('CREATE TABLE pdo_many (id INT PRIMARY KEY, t VARCHAR(100))');
    $insert = $db->prepare('INSERT INTO pdo_many VALUES ' . implode(', ', array_fill(0, 1000, '(?, ?)')));
    for ($start = 0; $start < 10000; $start += 1000) {
        $insert->execute(array_merge(...array_map(fn($id) => [$id, sprintf('%050d', $id)], range($start, $start + 999))));
    }
    $db->setAttribute(PDO::MYSQL_ATTR_USE_BUFFERED_QUERY, false);
    $result = $db->prepare('SELECT id, t FROM pdo_many WHERE id >= ? ORDER BY id');
    $result->execute([10]);
    [$count, $total] = [0, 0];
    foreach ($result as [$id, $t]) {
        $count++;
        $total += $id + strlen($t);
    }
    show("$way: streamed", $count, $total);
    $result->execute([10]);
    show("$way: begun", $result->fetch(PDO::FETCH_NUM));
    fails("$way: while a result is open", fn() => $db->query('SELECT 1')->fetchAll());
    $result->closeCursor();
    $db->setAttribute(PDO::MYSQL_ATTR_USE_BUFFERED_QUERY, true);
    show("$way: in step", $db->query('SELECT COUNT(*) FROM pdo_many')->fetchColumn());
}

function connections(PDO $db): void
{
    $pool = array_map(fn() => dial(), range(1, 4));
    foreach (range(1, 20) as $number) {
        $pool[$number % 4]->prepare('INSERT INTO pdo_many VALUES (?, ?)')->execute([20000 + $number, 'pooled']);
    }
    show('pooled', array_map(fn($member) => $member->query("SELECT COUNT(*) FROM pdo_many WHERE t = 'pooled'")->fetchColumn(), $pool));
    for ($round = 0; $round < 2; $round++) {
        $kept = dial([PDO::ATTR_PERSISTENT => true]);
        show('persistent', $kept->query('SELECT @kept')->fetchColumn());
        $kept->exec('SET @kept = 1');
        $kept = null;
    }
    $own = dial();
    $db->exec('KILL ' . $own->query('SELECT CONNECTION_ID()')->fetchColumn());
    try {
        show('after KILL', @$own->query('SELECT 1')->fetchColumn());
    } catch (PDOException) {
        show('after KILL', 'ended');
    }
    show('driver', $db->getAttribute(PDO::ATTR_DRIVER_NAME), $db->quote("it's"));
}

function later(PDO $db): void
{
    show('statistics', preg_match('/^Uptime: \d+  Threads: \d+  Questions: \d+/', $db->getAttribute(PDO::ATTR_SERVER_INFO)));
    $file = tempnam(sys_get_temp_dir(), 'load');
    file_put_contents($file, "30001\tone\n30002\ttwo\n");
    $local = dial([PDO::MYSQL_ATTR_LOCAL_INFILE => true]);
    fails('load data', fn() => $local->exec("LOAD DATA LOCAL INFILE '$file' INTO TABLE pdo_many"));
    show('loaded', $local->query('SELECT id, t FROM pdo_many WHERE id > 30000 ORDER BY id')->fetchAll(PDO::FETCH_NUM));
    unlink($file);
}

logins();
foreach (['emulated' => true, 'prepared' => false] as $way => $emulates) {
    $db = dial([PDO::ATTR_EMULATE_PREPARES => $emulates]);
    foreach (['types', 'large', 'transactions', 'errors', 'several_results', 'streamed'] as $part) {
        $part($way, $db);
    }
}
connections($db);
if (in_array('later', $wishes)) {
    later($db);
}
echo "done\n";
