"""An application's everyday work with mysqlclient (the C API). Prints a transcript that is the same against every correct server.

Usage: mysqlclient.py HOST PORT [tls] [later] [compressed]
"""

import datetime
import decimal
import hashlib
import re
import sys
import tempfile

import MySQLdb
import MySQLdb.cursors
from MySQLdb.constants import CLIENT

HOST, PORT, *WISHES = sys.argv[1:]


def connect(**options):
    options = {"user": "app", "password": "app", "database": "app", "charset": "utf8mb4", "compress": "compressed" in WISHES, **options}
    return MySQLdb.connect(host=HOST, port=int(PORT), **options)


def show(title, *values):
    print(f"{title}: {', '.join(map(repr, values))}", flush=True)


def fails(title, action, *args):
    try:
        show(title, "no error", action(*args))
    except MySQLdb.Error as error:
        show(title, type(error).__name__, *error.args)


def rows(connection, sql, args=None):
    cursor = connection.cursor()
    cursor.execute(sql, args)
    return cursor.fetchall()


def logins():
    try:
        connect(password="wrong")
    except MySQLdb.Error as error:
        show("wrong password", type(error).__name__, error.args[0])
    fails("no such schema", lambda: connect(database="missing"))
    connection = connect(init_command="SET @begun = 5", sql_mode="ANSI_QUOTES", autocommit=True)
    show("begun", rows(connection, 'SELECT @begun, @@sql_mode, @@autocommit AS "auto"'))
    show("compression", rows(connection, "SHOW STATUS LIKE 'Compression'"))
    show("character set", connection.character_set_name(), connection.get_character_set_info())
    if "tls" in WISHES:
        connection = connect(ssl_mode="REQUIRED", ssl={"check_hostname": False})
        show("over TLS", rows(connection, "SELECT REPEAT('secret ', 3)"))


def types(connection):
    cursor = connection.cursor()
    cursor.execute("DROP TABLE IF EXISTS capi_types")
    cursor.execute(
        "CREATE TABLE capi_types (id INT AUTO_INCREMENT PRIMARY KEY, i BIGINT, u BIGINT UNSIGNED, d DECIMAL(40, 12), f DOUBLE,"
        " t VARCHAR(200), b BLOB, day DATE, at DATETIME(6), took TIME(3), y YEAR, e ENUM('a', 'b'), s SET('x', 'y'), bits BIT(9))"
    )
    sent = [
        (-(2**63), 2**64 - 1, decimal.Decimal("-1234567890123456789012345678.012345678912"), 0.1, "żółć 🦀 ' \" \\ \n", bytes(range(256)),
         datetime.date(2024, 2, 29), datetime.datetime(1999, 12, 31, 23, 59, 59, 999999), datetime.timedelta(hours=-25, milliseconds=125),
         2155, "b", "x,y", b"\x00\x05"),
        (None,) * 13,
        (0, 0, decimal.Decimal("0"), -0.25, "", b"", datetime.date(1000, 1, 1), datetime.datetime(2038, 1, 20), datetime.timedelta(0), 1901, "a", "", b"\x00"),
    ]
    insert = "INSERT INTO capi_types (i, u, d, f, t, b, day, at, took, y, e, s, bits) VALUES (" + ", ".join(["%s"] * 13) + ")"
    for row in sent:
        show("inserted", cursor.execute(insert, row), cursor.lastrowid, connection.insert_id(), cursor.rowcount)
    show("inserted many", cursor.executemany("INSERT INTO capi_types (i, t) VALUES (%s, %s)", [(n, f"row {n}") for n in range(5)]), connection.info())
    connection.commit()
    cursor.execute("SELECT *, HEX(b) AS hex, i / 3 AS third FROM capi_types ORDER BY id")
    show("description", *cursor.description)
    show("flags", cursor.description_flags)
    for row in cursor.fetchall():
        show("row", *row)
    cursor = connection.cursor(MySQLdb.cursors.DictCursor)
    cursor.execute("SELECT t AS text, COUNT(*) AS n FROM capi_types WHERE i >= %(least)s GROUP BY t ORDER BY t", {"least": 1})
    show("by name", cursor.fetchmany(2), cursor.fetchall())
    # What lies below: results of the C API, and how it describes their columns.
    connection.query("SELECT id, t, NULL, 1.5 FROM capi_types WHERE id = 1")
    result = connection.store_result()
    show("C API", result.num_rows(), result.num_fields(), result.describe(), result.field_flags(), result.fetch_row(0, 1))


def large(connection):
    cursor = connection.cursor()
    cursor.execute("DROP TABLE IF EXISTS capi_large")
    cursor.execute("CREATE TABLE capi_large (id INT PRIMARY KEY, b LONGBLOB)")
    for size in (1 << 20, 17 << 20):
        value = b"0123456789abcde\xff" * (size // 16)
        cursor.execute("INSERT INTO capi_large VALUES (%s, %s)", (size, value))
        cursor.execute("SELECT b, SHA2(b, 256) FROM capi_large WHERE id = %s", (size,))
        read, digest = cursor.fetchone()
        show("large", len(read), read == value, digest == hashlib.sha256(value).hexdigest())
    connection.commit()


def transactions(connection):
    cursor = connection.cursor()
    cursor.execute("DROP TABLE IF EXISTS capi_money")
    cursor.execute("CREATE TABLE capi_money (id INT PRIMARY KEY, balance INT NOT NULL)")
    show("autocommit", connection.get_autocommit())
    show("inserted", cursor.execute("INSERT INTO capi_money VALUES (1, 100), (2, 100)"), connection.info())
    connection.commit()
    show("updated", cursor.execute("UPDATE capi_money SET balance = 0"), connection.info(), rows(connection, "SELECT * FROM capi_money"))
    connection.rollback()
    show("after rollback", rows(connection, "SELECT * FROM capi_money"))
    cursor.execute("SAVEPOINT one")
    cursor.execute("DELETE FROM capi_money WHERE id = %s", (1,))
    cursor.execute("ROLLBACK TO one")
    cursor.execute("RELEASE SAVEPOINT one")
    show("changed nothing", cursor.execute("UPDATE capi_money SET balance = 100"), connection.info())
    connection.commit()
    found = connect(client_flag=CLIENT.FOUND_ROWS, autocommit=True)
    show("found rows", found.cursor().execute("UPDATE capi_money SET balance = 100"))
    connection.autocommit(True)
    show("on duplicate", cursor.execute("INSERT INTO capi_money VALUES (1, 5), (3, 7) ON DUPLICATE KEY UPDATE balance = 5"), connection.info())
    connection.autocommit(False)
    show("at the end", rows(connection, "SELECT * FROM capi_money ORDER BY id"))


def errors(connection):
    cursor = connection.cursor()
    for sql in ("INSERT INTO capi_money VALUES (1, 5)", "SELECT * FROM capi_missing", "SELEC 1", "INSERT INTO capi_money VALUES (7, NULL)",
                "INSERT INTO capi_money VALUES (7, 99999999999)", "SELECT nothing FROM capi_money", "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'my own'"):
        fails(sql, cursor.execute, sql)
    show("last error", connection.errno(), connection.error())
    connection.rollback()
    show("ignored", cursor.execute("INSERT IGNORE INTO capi_money VALUES (1, 5), (2, 5)"), connection.warning_count(), connection.show_warnings())
    connection.rollback()


def several_results():
    connection = connect(client_flag=CLIENT.MULTI_STATEMENTS)
    cursor = connection.cursor()

    def all_of(title):
        show(title, cursor.rowcount, cursor.fetchall() if cursor.description else None)
        while cursor.nextset():
            show(title, cursor.rowcount, cursor.fetchall() if cursor.description else None)

    cursor.execute("SELECT 1; UPDATE capi_money SET balance = balance + 1; SELECT 'three', 3")
    all_of("one of several")
    cursor.execute("SELECT 1; SELEC 2; SELECT 3")
    try:
        all_of("before the error")
    except MySQLdb.ProgrammingError as error:
        # How much of the text the message quotes is not the same everywhere.
        show("in the middle", error.args[0])
    cursor.execute("DROP PROCEDURE IF EXISTS capi_two")
    cursor.execute("CREATE PROCEDURE capi_two(a INT, OUT b INT) BEGIN SELECT a; SELECT a + 1, a + 2; SET b = 9; END")
    cursor.callproc("capi_two", (5, 0))
    all_of("called")
    show("out", rows(connection, "SELECT @_capi_two_0, @_capi_two_1"))
    connection.commit()
    connection.close()
    fails("closed", cursor.execute, "SELECT 1")


def streamed(connection):
    cursor = connection.cursor()
    cursor.execute("DROP TABLE IF EXISTS capi_many")
    cursor.execute("CREATE TABLE capi_many (id INT PRIMARY KEY, t VARCHAR(100))")
    cursor.executemany("INSERT INTO capi_many VALUES (%s, %s)", [(n, f"{n:050d}") for n in range(20000)])
    connection.commit()
    cursor = connection.cursor(MySQLdb.cursors.SSCursor)
    cursor.execute("SELECT * FROM capi_many WHERE id >= %s ORDER BY id", (10,))
    show("streamed", cursor.fetchone(), cursor.fetchmany(2), sum(number + len(text) for number, text in cursor))
    cursor.execute("SELECT * FROM capi_many ORDER BY id")
    show("begun", cursor.fetchone())
    cursor.close()
    show("in step", rows(connection, "SELECT COUNT(*) FROM capi_many"))


def connections(connection):
    show("ping", connection.ping())
    connection.select_db("app")
    fails("select_db", connection.select_db, "missing")
    pool = [connect(autocommit=True) for _ in range(4)]
    for number in range(20):
        pool[number % 4].cursor().execute("INSERT INTO capi_many VALUES (%s, 'pooled')", (30000 + number,))
    show("pooled", [rows(member, "SELECT COUNT(*) FROM capi_many WHERE t = 'pooled'") for member in pool])
    connection.cursor().execute(f"KILL {pool[0].thread_id()}")
    try:
        show("after KILL", rows(pool[0], "SELECT 1"))
    except MySQLdb.OperationalError:
        show("after KILL", "ended")
    with connect() as again:
        show("again", rows(again, "SELECT 1"))


def later(connection):
    # The client library answers the switch of plugin with the scramble of the greeting, whatever scramble comes with the switch.
    connection.query("SET @mine = 1")
    connection.store_result()
    connection.change_user("app", "app", "app")
    show("after a change of user", rows(connection, "SELECT @mine, DATABASE()"))
    show("statistics", re.findall(r"Uptime|Threads|Questions", connection.stat()))
    show("debug", connection.dump_debug_info())
    connection.set_server_option(0)  # MYSQL_OPTION_MULTI_STATEMENTS_ON
    cursor = connection.cursor()
    cursor.execute("SELECT 1; SELECT 2")
    show("several", cursor.fetchall(), cursor.nextset(), cursor.fetchall())
    connection.set_server_option(1)
    fails("one at a time", cursor.execute, "SELECT 1; SELECT 2")
    victim = connect()
    fails("kill", connection.kill, victim.thread_id())
    with tempfile.NamedTemporaryFile("w") as file:
        file.write("40001\tone\n40002\ttwo\n")
        file.flush()
        local = connect(local_infile=True)
        fails("load data", local.cursor().execute, f"LOAD DATA LOCAL INFILE '{file.name}' INTO TABLE capi_many")
        show("loaded", local.info(), rows(local, "SELECT * FROM capi_many WHERE id > 40000 ORDER BY id"))
        local.commit()


def main():
    logins()
    connection = connect()
    for part in (types, large, transactions, errors):
        part(connection)
    several_results()
    streamed(connection)
    connections(connection)
    if "later" in WISHES:
        later(connection)
    print("done")


main()
