"""An application's everyday work with asyncmy. Prints a transcript that is the same against every correct server.

Usage: asynchronous.py HOST PORT [tls] [later]
"""

import asyncio
import datetime
import decimal
import ssl
import sys

import asyncmy
import asyncmy.cursors
from asyncmy.constants import CLIENT
from asyncmy.errors import Error

HOST, PORT, *WISHES = sys.argv[1:]


def account(**options):
    return {"host": HOST, "port": int(PORT), "user": "app", "password": "app", "db": "app", "charset": "utf8mb4", **options}


def show(title, *values):
    print(f"{title}: {', '.join(map(repr, values))}", flush=True)


async def rows(connection, sql, args=None):
    async with connection.cursor() as cursor:
        await cursor.execute(sql, args)
        return await cursor.fetchall()


async def run(connection, *statements):
    async with connection.cursor() as cursor:
        for sql in statements:
            await cursor.execute(sql)


async def fails(title, action):
    try:
        show(title, "no error", await action)
    except Error as error:
        show(title, type(error).__name__, *error.args)


async def logins():
    try:
        await asyncmy.connect(**account(password="wrong"))
    except Error as error:
        show("wrong password", error.args[0])
    await fails("no such schema", asyncmy.connect(**account(db="missing")))
    connection = await asyncmy.connect(**account(init_command="SET @begun = 5", sql_mode="ANSI_QUOTES", autocommit=True))
    show("settings", await rows(connection, "SELECT @begun, @@sql_mode, @@autocommit"))
    if "tls" in WISHES:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = await asyncmy.connect(**account(ssl=context))
        show("over TLS", await rows(connection, "SELECT REPEAT('secret ', 3)"))


async def types(connection):
    await run(
        connection,
        "DROP TABLE IF EXISTS aio_types",
        "CREATE TABLE aio_types (id INT AUTO_INCREMENT PRIMARY KEY, i BIGINT, u BIGINT UNSIGNED, d DECIMAL(40, 12), f DOUBLE, t VARCHAR(200),"
        " b BLOB, day DATE, at DATETIME(6), took TIME(3), y YEAR, e ENUM('a', 'b'), bits BIT(9))",
    )
    sent = [
        (-(2**63), 2**64 - 1, decimal.Decimal("-1234567890123456789012345678.012345678912"), 0.1, "żółć 🦀 ' \" \\ \n", bytes(range(256)),
         datetime.date(2024, 2, 29), datetime.datetime(1999, 12, 31, 23, 59, 59, 999999), datetime.timedelta(hours=25), 2155, "b", b"\x00\x05"),
        (None,) * 12,
        (0, 0, decimal.Decimal("0"), -0.25, "", b"", datetime.date(1000, 1, 1), datetime.datetime(2038, 1, 20), datetime.timedelta(0), 1901, "a", b"\x00"),
    ]
    insert = "INSERT INTO aio_types (i, u, d, f, t, b, day, at, took, y, e, bits) VALUES (" + ", ".join(["%s"] * 12) + ")"
    async with connection.cursor() as cursor:
        for row in sent:
            show("inserted", await cursor.execute(insert, row), cursor.lastrowid)
        show("inserted many", await cursor.executemany("INSERT INTO aio_types (i, t) VALUES (%s, %s)", [(n, f"row {n}") for n in range(5)]))
        await connection.commit()
        await cursor.execute("SELECT *, HEX(b) AS hex, i / 3 AS third FROM aio_types ORDER BY id")
        show("description", *cursor.description)
        for row in await cursor.fetchall():
            show("row", row)
    async with connection.cursor(cursor=asyncmy.cursors.DictCursor) as cursor:
        await cursor.execute("SELECT COUNT(*) AS n, MAX(i) AS most FROM aio_types WHERE t LIKE %s", ("row%",))
        show("by name", await cursor.fetchone())


async def large(connection):
    await run(connection, "DROP TABLE IF EXISTS aio_large", "CREATE TABLE aio_large (id INT PRIMARY KEY, b LONGBLOB)")
    # This driver does not read a value that needs more than one packet.
    for size in (1 << 20, 15 << 20):
        value = b"0123456789abcdef" * (size // 16)
        await rows(connection, "INSERT INTO aio_large VALUES (%s, %s)", (size, value))
        read = await rows(connection, "SELECT b FROM aio_large WHERE id = %s", (size,))
        show("large", len(read[0][0]), read[0][0] == value)
    await connection.commit()


async def transactions(connection):
    table = "SELECT * FROM aio_money ORDER BY id"
    await run(connection, "DROP TABLE IF EXISTS aio_money", "CREATE TABLE aio_money (id INT PRIMARY KEY, balance INT NOT NULL)")
    await connection.begin()
    await run(connection, "INSERT INTO aio_money VALUES (1, 100), (2, 100)")
    await connection.commit()
    async with connection.cursor() as cursor:
        show("updated", await cursor.execute("UPDATE aio_money SET balance = 0"), await rows(connection, table))
        await connection.rollback()
        show("after rollback", await rows(connection, table))
        await run(connection, "SAVEPOINT one", "DELETE FROM aio_money WHERE id = 1", "ROLLBACK TO one")
        show("changed nothing", await cursor.execute("UPDATE aio_money SET balance = 100"))
        await connection.commit()
    found = await asyncmy.connect(**account(client_flag=CLIENT.FOUND_ROWS, autocommit=True))
    async with found.cursor() as cursor:
        show("found rows", await cursor.execute("UPDATE aio_money SET balance = 100"))
    show("at the end", await rows(connection, table))


async def errors(connection):
    for sql in ("INSERT INTO aio_money VALUES (1, 5)", "SELECT * FROM aio_missing", "SELEC 1", "INSERT INTO aio_money VALUES (7, NULL)",
                "INSERT INTO aio_money VALUES (7, 99999999999)", "SELECT nothing FROM aio_money"):
        await fails(sql, rows(connection, sql))
    await connection.rollback()


async def several_results():
    connection = await asyncmy.connect(**account(client_flag=CLIENT.MULTI_STATEMENTS, autocommit=True))
    await run(connection, "DROP PROCEDURE IF EXISTS aio_two", "CREATE PROCEDURE aio_two(a INT) BEGIN SELECT a; SELECT a + 1, a + 2; END")
    async with connection.cursor() as cursor:
        for sql in ("SELECT 1; UPDATE aio_money SET balance = balance + 1; SELECT 'three', 3", "CALL aio_two(5)"):
            await cursor.execute(sql)
            show("first", cursor.rowcount, await cursor.fetchall())
            while await cursor.nextset():
                show("next", cursor.rowcount, await cursor.fetchall())


async def streamed(connection):
    await run(connection, "DROP TABLE IF EXISTS aio_many", "CREATE TABLE aio_many (id INT PRIMARY KEY, t VARCHAR(100))")
    async with connection.cursor() as cursor:
        await cursor.executemany("INSERT INTO aio_many VALUES (%s, %s)", [(n, f"{n:050d}") for n in range(10000)])
    await connection.commit()
    async with connection.cursor(cursor=asyncmy.cursors.SSCursor) as cursor:
        await cursor.execute("SELECT * FROM aio_many ORDER BY id")
        count = total = 0
        while row := await cursor.fetchone():
            count, total = count + 1, total + row[0] + len(row[1])
        show("streamed", count, total)
    show("in step", await rows(connection, "SELECT COUNT(*) FROM aio_many"))


async def connections(connection):
    await connection.ping()
    pool = await asyncmy.create_pool(minsize=1, maxsize=4, **account(autocommit=True))

    async def insert(number):
        async with pool.acquire() as member:
            await run(member, f"INSERT INTO aio_many VALUES ({20000 + number}, 'pooled')")
            return await rows(member, f"SELECT t FROM aio_many WHERE id = {20000 + number}")

    show("pooled", await asyncio.gather(*map(insert, range(20))))
    pool.close()
    await pool.wait_closed()
    victim = await asyncmy.connect(**account())
    await run(connection, f"KILL {victim.thread_id()}")
    try:
        show("after KILL", await rows(victim, "SELECT 1"))
    except Error:
        show("after KILL", "ended")
    await connection.ping()


# A write's warnings in a transaction that began with a read, over several connections, because each may read from another server.
async def warnings_after_reads():
    pool = [await asyncmy.connect(**account()) for _ in range(6)]
    for connection in pool:
        await rows(connection, "SELECT * FROM aio_money")
        await run(connection, "INSERT IGNORE INTO aio_money VALUES (1, 5), (2, 5)")
        show("warnings", await rows(connection, "SHOW WARNINGS"))
        await connection.rollback()


async def main():
    await logins()
    connection = await asyncmy.connect(**account())
    for part in (types, large, transactions, errors):
        await part(connection)
    await several_results()
    await streamed(connection)
    await connections(connection)
    if "later" in WISHES:
        await warnings_after_reads()
    print("done")


asyncio.run(main())
