#!/bin/sh
# Everyday work with the mariadb command-line client. Prints a transcript that is the same against every correct server.
# Usage: everyday.sh HOST PORT [tls] [later] [compressed]
set -u

host=$1
port=$2
wishes=" $* "
compression=
case $wishes in *' compressed '*) compression=--compress ;; esac

client() {
    mariadb --no-defaults --protocol=tcp --host="$host" --port="$port" --user=app --password=app \
        --default-character-set=utf8mb4 $compression "$@" 2>&1
}

echo '--- batch'
client --batch --force app <<'SQL'
DROP TABLE IF EXISTS cli;
CREATE TABLE cli (id INT AUTO_INCREMENT PRIMARY KEY, t VARCHAR(50), d DECIMAL(10, 2), b BLOB, at DATETIME);
INSERT INTO cli (t, d, b, at) VALUES ('żółć 🦀', 1.50, x'00ff', '2024-02-29 12:00:00'), (NULL, NULL, NULL, NULL);
SELECT id, t, d, HEX(b), at FROM cli ORDER BY id;
SELECT LAST_INSERT_ID();
BEGIN;
UPDATE cli SET d = d + 1;
SELECT d FROM cli ORDER BY id;
ROLLBACK;
SELECT d FROM cli ORDER BY id;
INSERT INTO cli (id) VALUES (1);
SELECT * FROM missing;
SELEC 1;
DELIMITER //
DROP PROCEDURE IF EXISTS cli_two//
CREATE PROCEDURE cli_two() BEGIN SELECT 'one'; SELECT 'two', 2; END//
DELIMITER ;
CALL cli_two();
SET @a = 5, @b = 'text';
SELECT @a + 1, @b;
PREPARE s FROM 'SELECT ? + 1';
EXECUTE s USING @a;
DEALLOCATE PREPARE s;
CREATE TEMPORARY TABLE cli_t SELECT id FROM cli;
SELECT COUNT(*) FROM cli_t;
TRUNCATE cli;
SHOW TABLES LIKE 'cli%';
SHOW CREATE TABLE cli;
DESCRIBE cli;
SELECT CONVERT('ä' USING latin1) = 'ä', CHARSET('x'), @@character_set_client, @@sql_mode LIKE '%STRICT%';
SQL

echo '--- table output and warnings'
client --table --verbose --verbose --show-warnings app <<'SQL' | sed -E 's/ \([0-9.]+ sec\)//; s/ in set.*/ in set/'
SELECT 1 AS one, 'x' AS x;
SELECT 1 / 0 AS nothing;
INSERT INTO cli (t) VALUES ('a'), ('b'), ('c');
UPDATE cli SET t = 'z' WHERE id > 1;
DELETE FROM cli WHERE id = 2;
INSERT IGNORE INTO cli (id) VALUES (1);
SQL

echo '--- a wrong password'
mariadb --no-defaults --protocol=tcp --host="$host" --port="$port" --user=app --password=wrong -e 'SELECT 1' 2>&1 | sed -E "s/'app'@'[^']*'/'app'@'…'/"
echo '--- a missing schema'
client -e 'SELECT 1' no_such_schema

echo '--- compression'
client --batch --skip-column-names -e "SHOW STATUS LIKE 'Compression'"

case $wishes in *' tls '*)
    echo '--- TLS'
    client --ssl --disable-ssl-verify-server-cert -e status app | sed -nE 's/^(SSL:[[:space:]]*)Cipher in use.*/\1in use/p'
esac

echo '--- a dump goes in and comes out the same'
dump() {
    mariadb-dump --no-defaults --protocol=tcp --host="$host" --port="$port" --user=app --password=app $compression --skip-comments \
        --skip-dump-date --no-tablespaces --single-transaction app cli 2>&1
}
first=$(dump)
printf '%s\n' "$first" | client app
second=$(dump)
[ "$first" = "$second" ] && echo same || printf 'not the same:\n%s\n%s\n' "$first" "$second"
echo '--- done'
