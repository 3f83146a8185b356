// An application's everyday work with JDBC and MariaDB Connector/J. Prints a transcript that is the same against every correct server.
// Usage: java -cp mariadb-java-client.jar Everyday.java HOST PORT [tls] [later]

import java.io.ByteArrayInputStream;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.*;
import java.time.LocalDateTime;
import java.util.*;
import java.util.concurrent.*;

public class Everyday {
    static String host, port;
    static Set<String> wishes;

    interface Action {
        Object run() throws SQLException;
    }

    static void show(String title, Object... values) {
        System.out.println(title + ": " + String.join(", ", Arrays.stream(values).map(Everyday::text).toList()));
    }

    static String text(Object value) {
        if (value instanceof byte[] bytes) return bytes.length > 1000 ? bytes.length + " bytes" : "x" + HexFormat.of().formatHex(bytes);
        if (value instanceof Object[] items) return text(Arrays.asList(items));
        if (value instanceof List<?> items) return "[" + String.join(", ", items.stream().map(Everyday::text).toList()) + "]";
        if (value instanceof String string) return "'" + string.replace("\n", "\\n") + "'";
        if (value instanceof int[] counts) return Arrays.toString(counts);
        if (value instanceof Blob || value instanceof Clob) return value.getClass().getSimpleName();
        return String.valueOf(value);
    }

    /** The message without the connection's id, which the driver puts in front of it. */
    static Object[] problem(SQLException error) {
        return new Object[] {error.getClass().getSimpleName(), error.getErrorCode(), error.getSQLState(), error.getMessage().replaceFirst("^\\(conn=\\d+\\) ", "")};
    }

    static void fails(String title, Action action) {
        try {
            show(title, "no error", action.run());
        } catch (SQLException error) {
            show(title, problem(error));
        }
    }

    static Connection dial(String options) throws SQLException {
        String compression = wishes.contains("compressed") ? "&useCompression=true" : "";
        return DriverManager.getConnection("jdbc:mariadb://" + host + ":" + port + "/app?user=app&password=app&allowPublicKeyRetrieval=true" + compression + options);
    }

    static void run(Connection connection, String... statements) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            for (String sql : statements) statement.execute(sql);
        }
    }

    static List<Object> rows(ResultSet result) throws SQLException {
        List<Object> rows = new ArrayList<>();
        while (result.next()) {
            Object[] row = new Object[result.getMetaData().getColumnCount()];
            for (int index = 0; index < row.length; index++) row[index] = result.getObject(index + 1);
            rows.add(row);
        }
        return rows;
    }

    static List<Object> rows(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet result = statement.executeQuery(sql)) {
            return rows(result);
        }
    }

    /** Every result of a statement that was executed. */
    static List<Object> results(Statement statement, boolean isResult) throws SQLException {
        List<Object> all = new ArrayList<>();
        while (isResult || statement.getUpdateCount() != -1) {
            all.add(isResult ? rows(statement.getResultSet()) : statement.getUpdateCount());
            isResult = statement.getMoreResults();
        }
        return all;
    }

    static void logins() throws SQLException {
        try {
            DriverManager.getConnection("jdbc:mariadb://" + host + ":" + port + "/app?user=app&password=wrong&allowPublicKeyRetrieval=true").close();
        } catch (SQLException error) {
            show("wrong password", error.getErrorCode(), error.getSQLState());
        }
        try (Connection connection = dial("&sessionVariables=sql_mode='ANSI_QUOTES'")) {
            show("compression", rows(connection, "SHOW STATUS LIKE 'Compression'"));
            show("session variables", rows(connection, "SELECT @@sql_mode AS \"mode\""));
        }
        if (!wishes.contains("tls")) return;
        try (Connection connection = dial("&useSsl=true&trustServerCertificate=true")) {
            show("over TLS", rows(connection, "SELECT REPEAT('secret ', 3)"));
        }
    }

    static void types(String way, Connection connection) throws SQLException {
        run(connection, "DROP TABLE IF EXISTS java_types",
            "CREATE TABLE java_types (id INT AUTO_INCREMENT PRIMARY KEY, i BIGINT, u BIGINT UNSIGNED, d DECIMAL(40, 12), f DOUBLE, r FLOAT,"
                + " t VARCHAR(200), b BLOB, day DATE, at DATETIME(6), took TIME(3), e ENUM('a', 'b'), yes BOOL, bits BIT(9))");
        String insert = "INSERT INTO java_types (i, u, d, f, r, t, b, day, at, took, e, yes, bits) VALUES (?" + ", ?".repeat(12) + ")";
        byte[] bytes = {0, 1, 2, (byte) 254, (byte) 255, '\'', '\\'};
        Object[][] sent = {
            {Long.MIN_VALUE, new BigDecimal("18446744073709551615"), new BigDecimal("-1234567890123456789012345678.012345678912"), 0.1, 1.5f, "żółć 🦀 ' \" \\ \n", bytes,
                "2024-02-29", LocalDateTime.of(1999, 12, 31, 23, 59, 59, 999_999_000), "12:34:56.125", "b", 1, new byte[] {1, 5}},
            new Object[13],
            {0L, 0, BigDecimal.ZERO, -0.25, 0f, "", new byte[0], "1000-01-01", "2038-01-20 00:00:00", "00:00:00", "a", 0, new byte[] {0}},
        };
        try (PreparedStatement statement = connection.prepareStatement(insert, Statement.RETURN_GENERATED_KEYS)) {
            for (Object[] row : sent) {
                for (int index = 0; index < row.length; index++) statement.setObject(index + 1, row[index]);
                show(way + ": inserted", statement.executeUpdate(), rows(statement.getGeneratedKeys()));
            }
        }
        try (PreparedStatement statement = connection.prepareStatement("INSERT INTO java_types (i, t) VALUES (?, ?)", Statement.RETURN_GENERATED_KEYS)) {
            for (int number = 0; number < 5; number++) {
                statement.setInt(1, number);
                statement.setString(2, "row " + number);
                statement.addBatch();
            }
            show(way + ": batch", statement.executeBatch(), rows(statement.getGeneratedKeys()));
        }
        try (PreparedStatement statement = connection.prepareStatement("SELECT *, HEX(b) AS hex, i / 3 AS third FROM java_types WHERE id < ? ORDER BY id")) {
            statement.setInt(1, 100);
            ResultSet result = statement.executeQuery();
            ResultSetMetaData columns = result.getMetaData();
            for (int index = 1; index <= columns.getColumnCount(); index++)
                show(way + ": column", columns.getColumnLabel(index), columns.getColumnTypeName(index), columns.getColumnClassName(index), columns.getTableName(index),
                    columns.getPrecision(index), columns.getScale(index), columns.isNullable(index), columns.isAutoIncrement(index), columns.isSigned(index), columns.getColumnDisplaySize(index));
            for (Object row : rows(result)) show(way + ": row", row);
        }
    }

    static void large(String way, Connection connection) throws SQLException {
        run(connection, "DROP TABLE IF EXISTS java_large", "CREATE TABLE java_large (id INT PRIMARY KEY, b LONGBLOB)");
        // One value needs more than one packet.
        for (int size : way.equals("prepared") ? new int[] {1 << 20, 17 << 20} : new int[] {1 << 20}) {
            byte[] value = "0123456789abcdef".repeat(size / 16).getBytes(StandardCharsets.UTF_8);
            value[size - 1] = (byte) 255;
            try (PreparedStatement statement = connection.prepareStatement("INSERT INTO java_large VALUES (?, ?)")) {
                statement.setInt(1, size);
                statement.setBinaryStream(2, new ByteArrayInputStream(value));
                show(way + ": large", statement.executeUpdate());
            }
            try (PreparedStatement statement = connection.prepareStatement("SELECT b, SHA2(b, 256) FROM java_large WHERE id = ?")) {
                statement.setInt(1, size);
                ResultSet result = statement.executeQuery();
                result.next();
                show(way + ": read", result.getBytes(1).length, Arrays.equals(result.getBytes(1), value), result.getString(2));
            }
        }
    }

    static void transactions(String way, Connection connection) throws SQLException {
        run(connection, "DROP TABLE IF EXISTS java_money", "CREATE TABLE java_money (id INT PRIMARY KEY, balance INT NOT NULL)");
        connection.setTransactionIsolation(Connection.TRANSACTION_REPEATABLE_READ);
        connection.setAutoCommit(false);
        run(connection, "INSERT INTO java_money VALUES (1, 100), (2, 100)");
        connection.commit();
        try (Statement statement = connection.createStatement()) {
            show(way + ": updated", statement.executeUpdate("UPDATE java_money SET balance = 0"), rows(connection, "SELECT * FROM java_money ORDER BY id"));
            connection.rollback();
            show(way + ": after rollback", rows(connection, "SELECT * FROM java_money ORDER BY id"));
            Savepoint savepoint = connection.setSavepoint("one");
            show(way + ": deleted", statement.executeUpdate("DELETE FROM java_money WHERE id = 1"));
            connection.rollback(savepoint);
            connection.releaseSavepoint(connection.setSavepoint());
            connection.commit();
            connection.setAutoCommit(true);
            // This driver asks for found rows unless it is told not to.
            show(way + ": found rows", statement.executeUpdate("UPDATE java_money SET balance = 100"));
            show(way + ": on duplicate", statement.executeUpdate("INSERT INTO java_money VALUES (1, 5), (3, 7) ON DUPLICATE KEY UPDATE balance = 5"));
        }
        connection.setReadOnly(true);
        show(way + ": read only", rows(connection, "SELECT COUNT(*) FROM java_money"));
        connection.setReadOnly(false);
        try (Connection changed = dial("&useAffectedRows=true"); Statement statement = changed.createStatement()) {
            show(way + ": changed rows", statement.executeUpdate("UPDATE java_money SET balance = 5"));
        }
    }

    static void errors(String way, Connection connection) throws SQLException {
        String[] statements = {"INSERT INTO java_money VALUES (1, ?)", "SELECT * FROM java_missing WHERE id = ?", "SELEC ?", "UPDATE java_money SET balance = 99999999999 + ?",
            "SELECT nothing FROM java_money WHERE id = ?"};
        for (String sql : statements) {
            fails(way + ": " + sql, () -> {
                try (PreparedStatement statement = connection.prepareStatement(sql)) {
                    statement.setInt(1, 5);
                    return statement.execute();
                }
            });
        }
        try (Statement statement = connection.createStatement()) {
            show(way + ": ignored", statement.executeUpdate("INSERT IGNORE INTO java_money VALUES (1, 5), (2, 5)"));
            for (SQLWarning warning = statement.getWarnings(); warning != null; warning = warning.getNextWarning())
                show(way + ": warning", problem(warning));
            statement.addBatch("INSERT INTO java_money VALUES (20, 1)");
            statement.addBatch("INSERT INTO java_money VALUES (1, 1)");
            statement.addBatch("INSERT INTO java_money VALUES (21, 1)");
            try {
                show(way + ": batch", statement.executeBatch());
            } catch (BatchUpdateException error) {
                show(way + ": batch with an error", error.getUpdateCounts(), problem(error));
            }
            statement.setQueryTimeout(5);
            show(way + ": in time", rows(statement.executeQuery("SELECT 1")));
        }
    }

    static void severalResults(Connection connection) throws SQLException {
        try (Connection several = dial("&allowMultiQueries=true"); Statement statement = several.createStatement()) {
            show("several", results(statement, statement.execute("SELECT 1; UPDATE java_money SET balance = balance + 1; SELECT 'three', 3")));
        }
        run(connection, "DROP PROCEDURE IF EXISTS java_two", "CREATE PROCEDURE java_two(a INT, OUT b INT) BEGIN SELECT a; SELECT a + 1, a + 2; SET b = 9; END");
        try (CallableStatement call = connection.prepareCall("{CALL java_two(?, ?)}")) {
            call.setInt(1, 5);
            call.registerOutParameter(2, Types.INTEGER);
            show("called", results(call, call.execute()));
        }
        fails("one at a time", () -> rows(connection, "SELECT 1; SELECT 2"));
    }

    static void streamed(String way, Connection connection) throws SQLException {
        run(connection, "DROP TABLE IF EXISTS java_many", "CREATE TABLE java_many (id INT PRIMARY KEY, t VARCHAR(100))");
        connection.setAutoCommit(false);
        try (PreparedStatement statement = connection.prepareStatement("INSERT INTO java_many VALUES (?, ?)")) {
            for (int id = 0; id < 250; id++) {
                statement.setInt(1, id);
                statement.setString(2, String.format("%050d", id));
                statement.addBatch();
            }
            show(way + ": batch", Arrays.stream(statement.executeBatch()).filter(count -> count >= 0 || count == Statement.SUCCESS_NO_INFO).count());
        }
        for (int more = 250; more <= 2000; more *= 2) run(connection, "INSERT INTO java_many SELECT id + " + more + ", t FROM java_many ORDER BY id");
        connection.commit();
        connection.setAutoCommit(true);
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(100);
            ResultSet result = statement.executeQuery("SELECT id, t FROM java_many ORDER BY id");
            int count = 0, total = 0;
            for (; result.next(); count++) total += result.getInt(1) + result.getString(2).length();
            show(way + ": streamed", count, total);
            result = statement.executeQuery("SELECT id FROM java_many ORDER BY id");
            show(way + ": begun", result.next());
            show(way + ": in step", rows(connection, "SELECT COUNT(*) FROM java_many"));
        }
    }

    static void connections(Connection connection) throws Exception {
        show("valid", connection.isValid(5));
        DatabaseMetaData data = connection.getMetaData();
        show("tables", rows(data.getTables("app", null, "java_m%", new String[] {"TABLE"})));
        show("keys", rows(data.getPrimaryKeys("app", null, "java_money")));
        show("schema", connection.getCatalog());
        connection.setCatalog("app");
        ExecutorService workers = Executors.newFixedThreadPool(4);
        List<Future<Integer>> done = new ArrayList<>();
        for (int worker = 0; worker < 4; worker++) {
            int first = 20000 + worker * 10;
            done.add(workers.submit(() -> {
                try (Connection own = dial(""); Statement statement = own.createStatement()) {
                    int count = 0;
                    for (int round = 0; round < 5; round++) count += statement.executeUpdate("INSERT INTO java_many VALUES (" + (first + round) + ", 'pooled')");
                    return count;
                }
            }));
        }
        for (Future<Integer> result : done) show("pooled", result.get());
        workers.shutdown();
        Connection victim = dial("");
        run(connection, "KILL " + rows(victim, "SELECT CONNECTION_ID()").stream().map(row -> ((Object[]) row)[0].toString()).findFirst().get());
        Thread.sleep(100);
        show("valid after KILL", victim.isValid(5));
        show("closed", connection.isClosed());
    }

    static void later(Connection connection) throws Exception {
        Path file = Files.createTempFile("load", null);
        Files.writeString(file, "30001\tone\n30002\ttwo\n");
        try (Connection local = dial("&allowLocalInfile=true"); Statement statement = local.createStatement()) {
            fails("load data", () -> statement.executeUpdate("LOAD DATA LOCAL INFILE '" + file + "' INTO TABLE java_many"));
            show("loaded", rows(local, "SELECT * FROM java_many WHERE id > 30000 ORDER BY id"));
        }
        Files.delete(file);
        try (CallableStatement call = connection.prepareCall("{CALL java_two(?, ?)}")) {
            call.setInt(1, 5);
            call.registerOutParameter(2, Types.INTEGER);
            call.execute();
            show("out", call.getInt(2));
        }
    }

    public static void main(String[] arguments) throws Exception {
        System.setOut(new java.io.PrintStream(System.out, true, StandardCharsets.UTF_8));
        TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
        host = arguments[0];
        port = arguments[1];
        wishes = new HashSet<>(Arrays.asList(arguments));
        logins();
        Map<String, String> ways = new TreeMap<>(Map.of("text", "", "prepared", "&useServerPrepStmts=true", "rewritten", "&rewriteBatchedStatements=true"));
        for (var way : ways.entrySet()) {
            try (Connection connection = dial(way.getValue())) {
                types(way.getKey(), connection);
                large(way.getKey(), connection);
                transactions(way.getKey(), connection);
                errors(way.getKey(), connection);
                streamed(way.getKey(), connection);
            }
        }
        try (Connection connection = dial("")) {
            severalResults(connection);
            connections(connection);
            if (wishes.contains("later")) later(connection);
        }
        System.out.println("done");
    }
}
