<?php
// An application's everyday work with PHP's mysqli. Prints a transcript that is the same against every correct server.
// Usage: php -d mysqli.allow_local_infile=1 mysqli.php HOST PORT [tls] [later]

[, $host, $port] = $argv;
$wishes = array_slice($argv, 3);
ini_set('memory_limit', '512M');

function show(string $title, mixed ...$values): void
{
    $shorten = fn($value) => is_string($value) && strlen($value) > 1000 ? strlen($value) . ' of ' . substr($value, 0, 8) : $value;
    array_walk_recursive($values, function (&$value) use ($shorten) { $value = $shorten($value); });
    $flags = JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE | JSON_PRESERVE_ZERO_FRACTION;
    echo $title, ': ', implode(', ', array_map(fn($value) => json_encode($value, $flags), $values)), "\n";
}

function dial(int $flags = 0, array $options = []): mysqli
{
    global $host, $port;
    $db = mysqli_init();
    foreach ($options as $option => $value) {
        $db->options($option, $value);
    }
    $db->real_connect($host, 'app', 'app', 'app', (int) $port, null, $flags);
    $db->set_charset('utf8mb4');
    return $db;
}

function fails(string $title, callable $action): void
{
    try {
        show($title, 'no error', $action());
    } catch (mysqli_sql_exception $error) {
        show($title, $error->getCode(), $error->getSqlState(), $error->getMessage());
    }
}

function logins(): void
{
    global $host, $port, $wishes;
    try {
        new mysqli($host, 'app', 'wrong', 'app', (int) $port);
    } catch (mysqli_sql_exception $error) {
        show('wrong password', $error->getCode(), $error->getSqlState());
    }
    fails('no such schema', fn() => new mysqli($host, 'app', 'app', 'missing', (int) $port));
    if (in_array('tls', $wishes)) {
        $db = dial(MYSQLI_CLIENT_SSL | MYSQLI_CLIENT_SSL_DONT_VERIFY_SERVER_CERT);
        show('over TLS', $db->query("SELECT REPEAT('secret ', 3)")->fetch_row());
    }
    show('protocol', dial()->protocol_version);
}

function types(mysqli $db): void
{
    $db->query('DROP TABLE IF EXISTS php_types');
    $db->query("CREATE TABLE php_types (id INT AUTO_INCREMENT PRIMARY KEY, i BIGINT, u BIGINT UNSIGNED, d DECIMAL(40, 12), f DOUBLE, r FLOAT,
        t VARCHAR(200), b BLOB, day DATE, at DATETIME(6), took TIME(3), y YEAR, e ENUM('a', 'b'), s SET('x', 'y'), bits BIT(9))");
    $rows = [
        [PHP_INT_MIN, '18446744073709551615', '1234567890123456789012345678.012345678912', 0.1, 1.5, "żółć 🦀 ' \" \\ \n", "\0\1\2\xff\xfe",
            '2024-02-29', '1999-12-31 23:59:59.999999', '-25:00:00.125', 2155, 'b', 'x,y', 5],
        array_fill(0, 14, null),
        [0, 0, 0, -0.25, 0, '', '', '1000-01-01', '2038-01-20', '00:00:00', 1901, 'a', '', 0],
    ];
    $columns = '(i, u, d, f, r, t, b, day, at, took, y, e, s, bits)';
    $insert = $db->prepare("INSERT INTO php_types $columns VALUES (" . implode(', ', array_fill(0, 14, '?')) . ')');
    foreach ($rows as $row) {
        $insert->bind_param('issddsssssissi', ...$row);
        $insert->execute();
        show('prepared', $insert->affected_rows, $insert->insert_id, $insert->param_count);
        $quoted = array_map(fn($value) => $value === null ? 'NULL' : (is_string($value) ? "'" . $db->real_escape_string($value) . "'" : $value), $row);
        $quoted[6] = $row[6] === null ? 'NULL' : "x'" . bin2hex($row[6]) . "'";
        $db->query("INSERT INTO php_types $columns VALUES (" . implode(', ', $quoted) . ')');
        show('text', $db->affected_rows, $db->insert_id, $db->info);
    }
    $text = $db->query('SELECT *, HEX(b) AS hex, i + 0.5 AS sum FROM php_types ORDER BY id');
    $select = $db->prepare('SELECT *, HEX(b) AS hex, i + 0.5 AS sum FROM php_types WHERE id < ? ORDER BY id');
    $select->execute([100]);
    foreach (['text' => $text, 'prepared' => $select->get_result()] as $way => $result) {
        foreach ($result->fetch_fields() as $field) {
            $seen = (array) $field;
            // max_length is what a client counted, or not.
            unset($seen['max_length']);
            show("$way: column", implode(' ', $seen));
        }
        while ($row = $result->fetch_assoc()) {
            $row['b'] = $row['b'] === null ? null : bin2hex($row['b']);
            show("$way: row", array_values($row));
        }
    }
}

function large(mysqli $db): void
{
    $db->query('DROP TABLE IF EXISTS php_large');
    $db->query('CREATE TABLE php_large (id INT PRIMARY KEY, b LONGBLOB)');
    $insert = $db->prepare('INSERT INTO php_large VALUES (?, ?)');
    // One value needs more than one packet.
    foreach ([1 << 20, 17 << 20] as $size) {
        $value = str_repeat("0123456789abcde\xff", $size / 16);
        $nothing = null;
        $insert->bind_param('ib', $size, $nothing);
        foreach (str_split($value, 1 << 19) as $piece) {
            $insert->send_long_data(1, $piece);
        }
        $insert->execute();
        $read = $db->query("SELECT b, SHA2(b, 256) FROM php_large WHERE id = $size")->fetch_row();
        show('large', strlen($read[0]), $read[0] === $value, $read[1]);
    }
    $db->query("INSERT INTO php_large VALUES (1, '" . str_repeat('x', 1 << 20) . "')");
    $select = $db->prepare('SELECT b FROM php_large WHERE id = ?');
    $select->execute([1]);
    show('large as text', $db->affected_rows, strlen($select->get_result()->fetch_row()[0]));
    show('sizes', $db->query('SELECT id, LENGTH(b) FROM php_large ORDER BY id')->fetch_all());
}

function transactions(mysqli $db): void
{
    $db->query('DROP TABLE IF EXISTS php_money');
    $db->query('CREATE TABLE php_money (id INT PRIMARY KEY, balance INT NOT NULL)');
    $rows = fn() => $db->query('SELECT * FROM php_money ORDER BY id')->fetch_all();
    $db->begin_transaction(MYSQLI_TRANS_START_WITH_CONSISTENT_SNAPSHOT);
    $db->query('INSERT INTO php_money VALUES (1, 100), (2, 100)');
    $db->commit();
    $db->autocommit(false);
    $db->query('UPDATE php_money SET balance = 0');
    show('updated', $db->affected_rows, $db->info);
    show('inside', $rows());
    $db->rollback();
    show('after rollback', $rows());
    $db->savepoint('one');
    $db->query('DELETE FROM php_money WHERE id = 1');
    $db->query('ROLLBACK TO one');
    $db->release_savepoint('one');
    $db->query('UPDATE php_money SET balance = 100');
    show('changed nothing', $db->affected_rows);
    $db->commit(MYSQLI_TRANS_COR_AND_CHAIN);
    $db->commit(MYSQLI_TRANS_COR_AND_NO_CHAIN);
    $db->autocommit(true);
    $db->begin_transaction(MYSQLI_TRANS_START_READ_ONLY);
    fails('write in a read only one', fn() => $db->query('DELETE FROM php_money'));
    $db->rollback();
    show('at the end', $rows());
    $found = dial(MYSQLI_CLIENT_FOUND_ROWS);
    $found->query('UPDATE php_money SET balance = 100');
    show('found rows', $found->affected_rows, $found->info);
    $db->query('INSERT INTO php_money VALUES (1, 5), (3, 7) ON DUPLICATE KEY UPDATE balance = 5');
    show('on duplicate', $db->affected_rows, $db->info);
}

function errors(mysqli $db): void
{
    $statements = ['INSERT INTO php_money VALUES (1, 5)', 'SELECT * FROM php_missing', 'SELEC 1', 'INSERT INTO php_money VALUES (7, NULL)',
        'INSERT INTO php_money VALUES (7, 99999999999)', 'SELECT nothing FROM php_money', "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'my own'"];
    foreach ($statements as $sql) {
        fails("text: $sql", fn() => $db->query($sql));
        fails("prepared: $sql", fn() => $db->prepare($sql)->execute());
    }
    show('last error', $db->errno, $db->sqlstate, $db->error_list);
    $db->query('INSERT IGNORE INTO php_money VALUES (1, 5), (2, 5)');
    show('ignored', $db->affected_rows, $db->warning_count, $db->info);
    for ($warning = $db->get_warnings(), $more = (bool) $warning; $more; $more = $warning->next()) {
        show('warning', $warning->errno, $warning->sqlstate, $warning->message);
    }
    show('division', $db->query('SELECT 1 / 0')->fetch_row(), $db->warning_count);
}

function called(mysqli $db): void
{
    $db->query('DROP PROCEDURE IF EXISTS php_two');
    $db->query('CREATE PROCEDURE php_two(a INT, OUT b INT) BEGIN SELECT a; SELECT a + 1, a + 2; SET b = 9; END');
    show('called', $db->query('CALL php_two(5, @b)')->fetch_all());
    while ($db->more_results() && $db->next_result()) {
        $result = $db->store_result();
        show('called', $result ? $result->fetch_all() : $db->affected_rows);
    }
    $call = $db->prepare('CALL php_two(?, @b)');
    $call->execute([6]);
    do {
        $result = $call->get_result();
        show('called prepared', $result ? $result->fetch_all() : $call->affected_rows);
    } while ($call->next_result());
    show('in step', $db->query('SELECT @b')->fetch_row());
}

function streamed(mysqli $db): void
{
    $db->query('DROP TABLE IF EXISTS php_many');
    $db->query('CREATE TABLE php_many (id INT PRIMARY KEY, t VARCHAR(100))');
    $db->query('INSERT INTO php_many VALUES ' . implode(', ', array_map(fn($id) => sprintf("(%d, '%050d')", $id, $id), range(1, 10000))));
    show('inserted many', $db->affected_rows, $db->info);
    $result = $db->query('SELECT * FROM php_many ORDER BY id', MYSQLI_USE_RESULT);
    [$count, $total] = [0, 0];
    while ($row = $result->fetch_row()) {
        $count++;
        $total += $row[0] + strlen($row[1]);
    }
    show('streamed', $count, $total);
    $statement = $db->prepare('SELECT id, t FROM php_many WHERE id > ? ORDER BY id');
    $statement->execute([9000]);
    $statement->bind_result($id, $t);
    for ($count = 0; $statement->fetch(); $count++);
    show('streamed prepared', $count, $id, $t);
    $statement->execute([9000]);
    $statement->fetch();
    $statement->free_result();
    $statement->reset();
    show('left', $id, $db->query('SELECT COUNT(*) FROM php_many')->fetch_row());
}

function connections(mysqli $db): void
{
    global $host, $port;
    $db->query("SET @mine = 1");
    $db->change_user('app', 'app', 'app');
    show('after a change of user', $db->query('SELECT @mine, DATABASE()')->fetch_row());
    try {
        show('change to a wrong password', dial()->change_user('app', 'wrong', 'app'));
    } catch (mysqli_sql_exception $error) {
        show('change to a wrong password', $error->getCode());
    }
    show('select_db', $db->select_db('app'));
    fails('no such schema', fn() => $db->select_db('missing'));
    // A persistent connection is reset by the driver when it is used again.
    for ($round = 0; $round < 2; $round++) {
        $kept = new mysqli("p:$host", 'app', 'app', 'app', (int) $port);
        show('persistent', $kept->query('SELECT @kept')->fetch_row());
        $kept->query('SET @kept = 1');
        $kept->close();
    }
    $pool = [dial(), dial(), dial()];
    foreach ($pool as $number => $member) {
        $member->query("INSERT INTO php_many SELECT 20000 + $number, SLEEP(0.05)", MYSQLI_ASYNC);
    }
    foreach ($pool as $member) {
        $member->reap_async_query();
        show('asynchronous', $member->affected_rows);
    }
    $own = dial();
    $db->query("KILL {$own->thread_id}");
    try {
        show('after KILL', @$own->query('SELECT 1')->fetch_row());
    } catch (mysqli_sql_exception) {
        show('after KILL', 'ended');
    }
    show('again', dial()->query('SELECT COUNT(*) FROM php_many WHERE id >= 20000')->fetch_row());
}

// The driver switches several statements on with COM_SET_OPTION, and off again.
function several_statements(mysqli $db): void
{
    $drain = function (string $title) use ($db): void {
        do {
            $result = $db->store_result();
            show($title, $result ? $result->fetch_all() : $db->affected_rows);
        } while ($db->more_results() && $db->next_result());
    };
    $db->multi_query("SELECT 1; UPDATE php_money SET balance = balance + 1; CALL php_two(1, @b); SELECT 'three', 3");
    $drain('one of several');
    $db->multi_query('SELECT 1; SELEC 2; SELECT 3');
    try {
        $drain('before the error');
    } catch (mysqli_sql_exception $error) {
        // How much of the text the message quotes is not the same everywhere.
        show('in the middle', $error->getCode(), $error->getSqlState());
    }
    fails('one at a time', fn() => $db->query('SELECT 1; SELECT 2'));
}

function later(mysqli $db): void
{
    several_statements($db);
    show('statistics', preg_match('/^Uptime: \d+  Threads: \d+  Questions: \d+/', $db->stat()));
    show('debug', $db->dump_debug_info());
    $victim = dial();
    fails('kill', fn() => $db->kill($victim->thread_id));
    $select = $db->prepare('SELECT id FROM php_many WHERE id < 12 ORDER BY id');
    $select->attr_set(MYSQLI_STMT_ATTR_CURSOR_TYPE, MYSQLI_CURSOR_TYPE_READ_ONLY);
    $select->execute();
    $select->bind_result($id);
    for ($ids = []; $select->fetch();) {
        $ids[] = $id;
    }
    show('cursor', $ids);
    $file = tempnam(sys_get_temp_dir(), 'load');
    file_put_contents($file, "30001\tone\n30002\ttwo\n");
    $local = dial(0, [MYSQLI_OPT_LOCAL_INFILE => true]);
    fails('load data', fn() => $local->query("LOAD DATA LOCAL INFILE '$file' INTO TABLE php_many"));
    show('loaded', $local->info, $local->query('SELECT id, t FROM php_many WHERE id > 30000 ORDER BY id')->fetch_all());
    unlink($file);
}

mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
logins();
$db = dial();
foreach (['types', 'large', 'transactions', 'errors', 'called', 'streamed', 'connections'] as $part) {
    $part($db);
}
if (in_array('later', $wishes)) {
    later($db);
}
echo "done\n";
