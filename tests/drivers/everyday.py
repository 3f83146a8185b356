"""An application's everyday work with PyMySQL. Prints a transcript that is the same against every correct server.

Usage: everyday.py HOST PORT
"""

import datetime
import decimal
import ssl
import sys

import pymysql


def connect(**options):
    host, port = sys.argv[1], int(sys.argv[2])
    return pymysql.connect(host=host, port=port, user="app", password="app", database="app", **options)


def show(title, value):
    print(f"{title}: {value!r}")


def fails(title, cursor, sql, args=None):
    try:
        cursor.execute(sql, args)
        show(title, "no error")
    except pymysql.MySQLError as error:
        show(title, (type(error).__name__,) + error.args)


def types(connection):
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS py_types")
        cursor.execute(
            "CREATE TABLE py_types (id INT AUTO_INCREMENT PRIMARY KEY, i BIGINT, u BIGINT UNSIGNED, d DECIMAL(30, 10),"
            " f DOUBLE, t VARCHAR(200) CHARACTER SET utf8mb4, b BLOB, day DATE, at DATETIME(6), took TIME, flags BIT(9), e ENUM('a', 'b'))"
        )
        rows = [
            (-(2**63), 2**64 - 1, decimal.Decimal("12345678901234567890.0123456789"), 0.1, "żółć 🦀 ' \" \\ \n", bytes(range(256)),
             datetime.date(2024, 2, 29), datetime.datetime(1999, 12, 31, 23, 59, 59, 999999), datetime.timedelta(hours=-25), b"\x01\x02", "b"),
            (None,) * 11,
            (0, 0, decimal.Decimal("0"), -0.5, "", b"", datetime.date(1000, 1, 1), datetime.datetime(2038, 1, 20), datetime.timedelta(0), b"\x00", "a"),
        ]
        insert = "INSERT INTO py_types (i, u, d, f, t, b, day, at, took, flags, e) VALUES (" + ", ".join(["%s"] * 11) + ")"
        for row in rows:
            show("inserted", (cursor.execute(insert, row), cursor.lastrowid))
        show("inserted many", (cursor.executemany("INSERT INTO py_types (i, t) VALUES (%s, %s)", [(n, f"row {n}") for n in range(5)]), cursor.lastrowid))
    connection.commit()
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM py_types ORDER BY id")
        for row in cursor.fetchall():
            show("row", row)
        show("description", [(column[0], column[1], column[6]) for column in cursor.description])
    with connection.cursor(pymysql.cursors.DictCursor) as cursor:
        cursor.execute("SELECT COUNT(*) AS n, MAX(i) AS most FROM py_types WHERE t LIKE %s", ("row%",))
        show("dict", cursor.fetchone())


def transactions(connection):
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS py_money")
        cursor.execute("CREATE TABLE py_money (id INT PRIMARY KEY, balance INT NOT NULL)")
        cursor.execute("INSERT INTO py_money VALUES (1, 100), (2, 100)")
        connection.commit()
        cursor.execute("UPDATE py_money SET balance = balance - 30 WHERE id = 1")
        cursor.execute("UPDATE py_money SET balance = balance + 30 WHERE id = 2")
        connection.commit()
        cursor.execute("UPDATE py_money SET balance = 0")
        show("updated", cursor.rowcount)
        connection.rollback()
        cursor.execute("SELECT * FROM py_money ORDER BY id")
        show("after rollback", cursor.fetchall())
        connection.begin()
        cursor.execute("SAVEPOINT one")
        cursor.execute("DELETE FROM py_money WHERE id = 1")
        cursor.execute("ROLLBACK TO one")
        connection.commit()
        cursor.execute("SELECT COUNT(*) FROM py_money")
        show("after savepoint", cursor.fetchone())


def errors(connection):
    with connection.cursor() as cursor:
        fails("duplicate", cursor, "INSERT INTO py_money VALUES (%s, %s)", (1, 5))
        fails("no table", cursor, "SELECT * FROM py_missing")
        fails("no column", cursor, "SELECT nothing FROM py_money")
        fails("null", cursor, "INSERT INTO py_money VALUES (7, NULL)")
        fails("too big", cursor, "INSERT INTO py_money VALUES (7, 99999999999)")
        fails("division", cursor, "SELECT 1 / 0")
        cursor.execute("SHOW WARNINGS")
        show("warnings", cursor.fetchall())
        cursor.execute("INSERT IGNORE INTO py_money VALUES (1, 5)")
        cursor.execute("SHOW WARNINGS")
        show("warnings of a write", cursor.fetchall())
        cursor.execute("SELECT COUNT(*) FROM py_money")
        show("still there", cursor.fetchone())


def many_rows(connection):
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS py_many")
        cursor.execute("CREATE TABLE py_many (id INT PRIMARY KEY, t VARCHAR(100))")
        cursor.executemany("INSERT INTO py_many VALUES (%s, %s)", [(n, f"{n:050d}") for n in range(20000)])
    connection.commit()
    with connection.cursor(pymysql.cursors.SSCursor) as cursor:
        cursor.execute("SELECT id, t FROM py_many ORDER BY id")
        count = total = 0
        for number, text in cursor:
            count, total = count + 1, total + number + len(text)
        show("streamed", (count, total))
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO py_many VALUES (-1, REPEAT('x', 100)), (-2, %s)", ("y" * 100,))
        show("large", cursor.execute("SELECT REPEAT('z', 5000000), t FROM py_many WHERE id < 0 ORDER BY id"))
        show("lengths", [[len(value) for value in row] for row in cursor.fetchall()])
    connection.commit()


def several_results():
    connection = connect(client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS, autocommit=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1; UPDATE py_money SET balance = balance + 1; SELECT 'three', 3")
        show("first", cursor.fetchall())
        while cursor.nextset():
            show("next", (cursor.rowcount, cursor.fetchall()))
        cursor.execute("DROP PROCEDURE IF EXISTS py_two")
        cursor.execute("CREATE PROCEDURE py_two(a INT) BEGIN SELECT a; SELECT a + 1, a + 2; END")
        cursor.callproc("py_two", (5,))
        show("call", cursor.fetchall())
        while cursor.nextset():
            show("call, next", cursor.fetchall())
    connection.ping(reconnect=False)
    connection.close()


def logins():
    try:
        pymysql.connect(host=sys.argv[1], port=int(sys.argv[2]), user="app", password="wrong")
    except pymysql.MySQLError as error:
        # The client's own address in the message is not the same everywhere.
        show("wrong password", (type(error).__name__, error.args[0], error.args[1].split("'@")[0]))
    try:
        connect(init_command="SELECT missing")
    except pymysql.MySQLError as error:
        show("init command", (type(error).__name__, error.args[0]))
    connection = pymysql.connect(host=sys.argv[1], port=int(sys.argv[2]), user="app", password="app")
    with connection.cursor() as cursor:
        cursor.execute("SELECT DATABASE()")
        show("no schema", cursor.fetchone())
    connection.select_db("app")
    with connection.cursor() as cursor:
        cursor.execute("SELECT DATABASE()")
        show("schema", cursor.fetchone())
    connection.close()


def over_tls():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = connect(ssl=context)
    with connection.cursor() as cursor:
        cursor.execute("SELECT REPEAT('secret ', 3)")
        show("over TLS", (isinstance(connection._sock, ssl.SSLSocket), cursor.fetchone()))
    connection.close()


def main():
    logins()
    if "tls" in sys.argv[3:]:
        over_tls()
    connection = connect()
    types(connection)
    transactions(connection)
    errors(connection)
    many_rows(connection)
    several_results()
    connection.close()
    show("done", True)


main()
