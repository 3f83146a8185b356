"""An application's everyday work with MySQL Connector/Python, in pure Python and over the C library. Prints a transcript that is the same
against every correct server.

Usage: connector.py HOST PORT [tls] [later] [compressed]
"""

import datetime
import decimal
import hashlib
import sys
import tempfile

import mysql.connector
import mysql.connector.pooling
from mysql.connector.constants import ClientFlag

HOST, PORT, *WISHES = sys.argv[1:]


def account(**options):
    # With caching_sha2_password the C library sends no password over a connection without TLS.
    options = {"user": "app", "password": "app", "database": "app", "charset": "utf8mb4", "ssl_disabled": "tls" not in WISHES, **options}
    options["compress"] = "compressed" in WISHES
    return {"host": HOST, "port": int(PORT), **options}


class Work:
    """The work over one implementation of the driver."""

    def __init__(self, pure):
        self.pure = pure
        self.name = "pure" if pure else "C"

    def connect(self, **options):
        return mysql.connector.connect(use_pure=self.pure, **account(**options))

    def show(self, title, *values):
        print(f"{self.name}: {title}: {', '.join(map(repr, values))}", flush=True)

    def fails(self, title, action, *args, **options):
        try:
            self.show(title, "no error", action(*args, **options))
        except mysql.connector.Error as error:
            self.show(title, type(error).__name__, error.errno, error.sqlstate, error.msg)

    def rows(self, connection, sql, args=None, **options):
        with connection.cursor(**options) as cursor:
            cursor.execute(sql, args or ())
            return cursor.fetchall()

    def run(self, connection, *statements):
        with connection.cursor() as cursor:
            for sql in statements:
                cursor.execute(sql)

    def logins(self):
        try:
            self.connect(password="wrong")
        except mysql.connector.Error as error:
            self.show("wrong password", error.errno, error.sqlstate)
        self.fails("no such schema", self.connect, database="missing")
        connection = self.connect(sql_mode="ANSI_QUOTES", time_zone="+01:00", init_command="SET @begun = 5")
        self.show("compression", self.rows(connection, "SHOW STATUS LIKE 'Compression'"))
        self.show("settings", self.rows(connection, "SELECT @@sql_mode, @@time_zone, @begun"))

    def types(self, connection):
        self.run(
            connection,
            "DROP TABLE IF EXISTS con_types",
            "CREATE TABLE con_types (id INT AUTO_INCREMENT PRIMARY KEY, i BIGINT, u BIGINT UNSIGNED, d DECIMAL(40, 12), f DOUBLE, t VARCHAR(200),"
            " b BLOB, day DATE, at DATETIME(6), took TIME(3), y SMALLINT, e ENUM('a', 'b'), s SET('x', 'y'), bits BIT(9))",
        )
        # More than 2^63 does not fit into a parameter over the C library.
        sent = [
            (-(2**63), 2**63 - 1, decimal.Decimal("-1234567890123456789012345678.012345678912"), 0.1, "żółć 🦀 ' \" \\ \n", bytes(range(256)),
             datetime.date(2024, 2, 29), datetime.datetime(1999, 12, 31, 23, 59, 59, 999999), "-13:00:05", 2155, "b", "x", 5),
            (None,) * 13,
            (0, 0, decimal.Decimal("0"), -0.25, "", b"", datetime.date(1000, 1, 1), datetime.datetime(2038, 1, 20), "00:00:00", 1901, "a", "", 0),
        ]
        insert = "INSERT INTO con_types (i, u, d, f, t, b, day, at, took, y, e, s, bits) VALUES (" + ", ".join(["%s"] * 13) + ")"
        for way in ({}, {"prepared": True}):
            with connection.cursor(**way) as cursor:
                for row in sent:
                    cursor.execute(insert, row)
                    self.show("inserted", way, cursor.rowcount, cursor.lastrowid, cursor.warning_count)
                cursor.executemany("INSERT INTO con_types (i, t) VALUES (%s, %s)", [(n, f"row {n}") for n in range(3)])
                self.show("inserted many", way, cursor.rowcount)
        connection.commit()
        for way in ({}, {"prepared": True}, {"raw": True}, {"dictionary": True}):
            with connection.cursor(**way) as cursor:
                cursor.execute("SELECT *, HEX(b) AS hex, i / 3 AS third FROM con_types WHERE id <> %s ORDER BY id", (100,))
                self.show("description", way, *cursor.description)
                for row in cursor.fetchall():
                    self.show("row", way, row)

    def large(self, connection):
        self.run(connection, "DROP TABLE IF EXISTS con_large", "CREATE TABLE con_large (id INT PRIMARY KEY, b LONGBLOB)")
        # One value needs more than one packet.
        for size in (1 << 20, 17 << 20) if self.pure else (1 << 20,):
            value = b"0123456789abcde\xff" * (size // 16)
            with connection.cursor(prepared=True) as cursor:
                cursor.execute("INSERT INTO con_large VALUES (%s, %s)", (size, value))
            read, digest = self.rows(connection, "SELECT b, SHA2(b, 256) FROM con_large WHERE id = %s", (size,))[0]
            self.show("large", len(read), read == value, digest == hashlib.sha256(value).hexdigest())
        self.run(connection, f"INSERT INTO con_large VALUES (1, '{'x' * (1 << 20)}')")
        read = self.rows(connection, "SELECT b FROM con_large WHERE id = %s", (1,), prepared=True)[0][0]
        self.show("large of a prepared one", len(read))
        connection.commit()

    def transactions(self, connection):
        self.run(connection, "DROP TABLE IF EXISTS con_money", "CREATE TABLE con_money (id INT PRIMARY KEY, balance INT NOT NULL)")
        table = "SELECT * FROM con_money ORDER BY id"
        connection.start_transaction(consistent_snapshot=True, isolation_level="REPEATABLE READ")
        self.run(connection, "INSERT INTO con_money VALUES (1, 100), (2, 100)")
        self.show("in a transaction", connection.in_transaction)
        connection.commit()
        cursor = connection.cursor()
        cursor.execute("UPDATE con_money SET balance = 0")
        self.show("updated", cursor.rowcount, self.rows(connection, table))
        connection.rollback()
        self.show("after rollback", self.rows(connection, table), connection.in_transaction)
        connection.rollback()
        self.run(connection, "SAVEPOINT one", "DELETE FROM con_money WHERE id = 1", "ROLLBACK TO one")
        connection.commit()
        cursor.execute("UPDATE con_money SET balance = 100")
        self.show("changed nothing", cursor.rowcount)
        connection.commit()
        found = self.connect(client_flags=[ClientFlag.FOUND_ROWS], autocommit=True)
        with found.cursor() as cursor:
            cursor.execute("UPDATE con_money SET balance = 100")
            self.show("found rows", cursor.rowcount)
            cursor.execute("INSERT INTO con_money VALUES (1, 5), (3, 7) ON DUPLICATE KEY UPDATE balance = 5")
            self.show("on duplicate", cursor.rowcount)
        self.run(connection, "START TRANSACTION READ ONLY")
        self.fails("write in a read only one", self.run, connection, "DELETE FROM con_money")
        connection.rollback()
        self.show("at the end", self.rows(connection, table))

    def errors(self, connection):
        for sql in ("INSERT INTO con_money VALUES (1, 5)", "SELECT * FROM con_missing", "SELEC 1", "INSERT INTO con_money VALUES (7, NULL)",
                    "INSERT INTO con_money VALUES (7, 99999999999)", "SELECT nothing FROM con_money"):
            self.fails(sql, self.run, connection, sql)
            self.fails(f"prepared: {sql}", self.rows, connection, sql, prepared=True)
        warned = self.connect(get_warnings=True, autocommit=True)
        with warned.cursor() as cursor:
            cursor.execute("INSERT IGNORE INTO con_money VALUES (1, 5), (2, 5)")
            self.show("ignored", cursor.rowcount, cursor.warning_count, cursor.warnings)
        strict = self.connect(raise_on_warnings=True)
        self.fails("a warning that raises", self.rows, strict, "SELECT 1 / 0")
        connection.rollback()

    def several_results(self, connection):
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1; UPDATE con_money SET balance = balance + 1; SELECT 'three', 3")
            self.show("one of several", cursor.fetchall())
            while cursor.nextset():
                self.show("one of several", cursor.fetchall() if cursor.with_rows else cursor.rowcount)
        self.run(
            connection,
            "DROP PROCEDURE IF EXISTS con_two",
            "CREATE PROCEDURE con_two(a INT, OUT b INT) BEGIN SELECT a; SELECT a + 1, a + 2; SET b = 9; END",
        )
        with connection.cursor() as cursor:
            self.show("called", cursor.callproc("con_two", (5, 0)), [result.fetchall() for result in cursor.stored_results()])
        connection.commit()

    def streamed(self, connection):
        self.run(connection, "DROP TABLE IF EXISTS con_many", "CREATE TABLE con_many (id INT PRIMARY KEY, t VARCHAR(100))")
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO con_many VALUES (%s, %s)", [(n, f"{n:050d}") for n in range(5000)])
        connection.commit()
        with connection.cursor(buffered=False) as cursor:
            cursor.execute("SELECT * FROM con_many ORDER BY id")
            self.show("streamed", cursor.fetchone(), cursor.fetchmany(2), sum(number + len(text) for number, text in cursor))
            cursor.execute("SELECT * FROM con_many ORDER BY id")
            self.show("begun", cursor.fetchone())
            self.fails("while a result is open", self.rows, connection, "SELECT 1")
            cursor.fetchall()
        self.show("in step", self.rows(connection, "SELECT COUNT(*) FROM con_many"))

    def connections(self, connection):
        connection.ping()
        self.run(connection, "SET @mine = 1")
        connection.cmd_reset_connection()
        self.show("after a reset", self.rows(connection, "SELECT @mine, DATABASE()"))
        self.run(connection, "SET @mine = 1")
        connection.reset_session(user_variables={"mine": 2})
        self.show("after a reset of the session", self.rows(connection, "SELECT @mine"))
        connection.database = "app"
        self.show("schema", connection.database)
        # A pool refuses compression where it takes the server for an old one, as it does with MariaDB.
        if "compressed" not in WISHES:
            self.pooled()
        victim = self.connect()
        self.run(connection, f"KILL {victim.connection_id}")
        try:
            self.show("after KILL", self.rows(victim, "SELECT 1"))
        except mysql.connector.Error:
            self.show("after KILL", "ended")
        victim.reconnect(attempts=3)
        self.show("reconnected", self.rows(victim, "SELECT 1"), victim.is_connected())

    def pooled(self):
        pool = mysql.connector.pooling.MySQLConnectionPool(pool_size=3, pool_name=f"pool_{self.pure}", use_pure=self.pure, **account(autocommit=True))
        for number in range(12):
            with pool.get_connection() as member:
                self.run(member, f"INSERT INTO con_many VALUES ({20000 + number}, 'pooled')", "SET @mine = 5")
        with pool.get_connection() as member:
            self.show("pooled", self.rows(member, "SELECT COUNT(*), @mine FROM con_many WHERE t = 'pooled'"))

    def later(self, connection):
        if self.pure:
            self.show("statistics", sorted(connection.cmd_statistics()))
        # The pure implementation does not do this with compression.
        if "compressed" not in WISHES:
            connection.cmd_change_user("app", "app", "app")
        self.show("after a change of user", self.rows(connection, "SELECT @mine, DATABASE()"))
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("40001\tone\n40002\ttwo\n")
            file.flush()
            local = self.connect(allow_local_infile=True)
            self.fails("load data", self.run, local, f"LOAD DATA LOCAL INFILE '{file.name}' INTO TABLE con_many")
            self.show("loaded", self.rows(local, "SELECT * FROM con_many WHERE id > 40000 ORDER BY id"))
            local.commit()

    def attributes(self, connection):
        """Query attributes: of texts and of prepared statements, read by a query and by a write."""
        if "MariaDB" in connection.server_info:
            return
        asked = "SELECT mysql_query_attribute_string('trace'), mysql_query_attribute_string('number'), mysql_query_attribute_string('none')"
        self.run(
            connection,
            "INSTALL COMPONENT 'file://component_query_attributes'",
            "CREATE TABLE con_traced (id INT AUTO_INCREMENT PRIMARY KEY, trace VARCHAR(50))",
        )
        for options in ({}, {"prepared": True}):
            with connection.cursor(**options) as cursor:
                cursor.add_attribute("trace", "żółć")
                cursor.add_attribute("number", 5)
                cursor.execute(asked)
                self.show("attributes", cursor.fetchall())
                cursor.execute("INSERT INTO con_traced (trace) VALUES (CONCAT(%s, mysql_query_attribute_string('trace')))", ("by ",))
                self.show("traced", cursor.rowcount, cursor.lastrowid)
                cursor.clear_attributes()
                cursor.execute(asked)
                self.show("no attributes", cursor.fetchall())
        connection.commit()
        self.show("all traced", self.rows(connection, "SELECT * FROM con_traced ORDER BY id"))
        self.run(connection, "DROP TABLE con_traced", "UNINSTALL COMPONENT 'file://component_query_attributes'")

    def all(self):
        self.logins()
        connection = self.connect()
        for part in (self.types, self.large, self.transactions, self.errors, self.several_results, self.streamed, self.attributes, self.connections):
            part(connection)
        if "later" in WISHES:
            self.later(connection)


Work(True).all()
Work(False).all()
print("done")
