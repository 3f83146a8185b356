//! What a statement does to the session, beyond its class: assignments, variables, names of prepared statements and savepoints, whom KILL means.

use grove_sql::{Analyser, Analysis, Class, Flavor, KillTarget, LexMode, Name, TouchedTables};
use std::sync::Arc;

fn analyse(flavor: Flavor, sql: &str) -> Arc<Analysis> {
    let version = if flavor == Flavor::Mysql { 90_704 } else { 101_119 };
    let analyser = Analyser::new(16);
    let analysis = analyser.analyse(sql.as_bytes(), LexMode::new(flavor, version));
    assert_eq!(
        analyser.analyse(sql.as_bytes(), LexMode::new(flavor, version)),
        analysis
    );
    analysis
}

/// The assignments of a SET statement as `scope name literal|computed [text] [value]`.
fn items(flavor: Flavor, sql: &str) -> Vec<String> {
    let analysis = analyse(flavor, sql);
    let item = |item: &grove_sql::SetItem| {
        let kind = if item.literal { "literal" } else { "computed" };
        let (text, value) = (&sql[item.text.clone()], &sql[item.value.clone()]);
        format!("{:?} {} {kind} [{text}] [{value}]", item.scope, item.name)
    };
    analysis.set.iter().map(item).collect()
}

#[track_caller]
fn check(sql: &str, expected: &[&str]) {
    for flavor in [Flavor::Mysql, Flavor::MariaDb] {
        check_on(flavor, sql, expected);
    }
}

#[track_caller]
fn check_on(flavor: Flavor, sql: &str, expected: &[&str]) {
    assert_eq!(items(flavor, sql), expected, "{flavor:?} {sql}");
}

#[test]
fn assignments_have_a_scope_a_name_and_a_value() {
    check("SET a = 1", &["Session a literal [a = 1] [1]"]);
    check("SET SESSION a='x y'", &["Session a literal [SESSION a='x y'] ['x y']"]);
    check("SET LOCAL a := ON", &["Session a literal [LOCAL a := ON] [ON]"]);
    check("SET @@a = -5", &["Session a literal [@@a = -5] [-5]"]);
    check(
        "SET @@session.a = 1, @@local.b = 2",
        &[
            "Session a literal [@@session.a = 1] [1]",
            "Session b literal [@@local.b = 2] [2]",
        ],
    );
    check(
        "SET @@`a` = DEFAULT",
        &["Session a literal [@@`a` = DEFAULT] [DEFAULT]"],
    );
    check("SET GLOBAL a = 1", &["Global a literal [GLOBAL a = 1] [1]"]);
    check("SET @@global.a = 1", &["Global a literal [@@global.a = 1] [1]"]);
    check(
        "SET @x = 1, @`y z` := 'a'",
        &["User x literal [@x = 1] [1]", "User y z literal [@`y z` := 'a'] ['a']"],
    );
    check(
        "SET a = b + 1, c = (1, 2)",
        &[
            "Session a computed [a = b + 1] [b + 1]",
            "Session c computed [c = (1, 2)] [(1, 2)]",
        ],
    );
    check(
        "SET a = CURRENT_TIMESTAMP",
        &["Session a computed [a = CURRENT_TIMESTAMP] [CURRENT_TIMESTAMP]"],
    );
    check("SET a = 'x' 'y'", &["Session a computed [a = 'x' 'y'] ['x' 'y']"]);
    check("SET /* x */ a = 1 /* y */ ;", &["Session a literal [a = 1] [1]"]);
    check(
        "SET hot.key_buffer_size = 1",
        &["Session hot.key_buffer_size literal [hot.key_buffer_size = 1] [1]"],
    );
    check_on(
        Flavor::Mysql,
        "SET PERSIST a = 1",
        &["Persist a literal [PERSIST a = 1] [1]"],
    );
    check_on(
        Flavor::Mysql,
        "SET @@persist_only.a = 1",
        &["Persist a literal [@@persist_only.a = 1] [1]"],
    );
}

#[test]
fn a_scope_keyword_holds_for_the_names_that_follow_it() {
    check(
        "SET GLOBAL a = 1, b = 2, @@c = 3, @d = 4, SESSION e = 5, f = 6",
        &[
            "Global a literal [GLOBAL a = 1] [1]",
            "Global b literal [b = 2] [2]",
            "Session c literal [@@c = 3] [3]",
            "User d literal [@d = 4] [4]",
            "Session e literal [SESSION e = 5] [5]",
            "Session f literal [f = 6] [6]",
        ],
    );
    check(
        "SET a = 1, GLOBAL b = 2",
        &["Session a literal [a = 1] [1]", "Global b literal [GLOBAL b = 2] [2]"],
    );
}

#[test]
fn transaction_characteristics_of_the_next_transaction_and_of_the_session() {
    check(
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY",
        &[
            "Transaction  literal [TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY] [ISOLATION LEVEL READ COMMITTED, READ ONLY]",
        ],
    );
    check(
        "SET SESSION TRANSACTION READ ONLY",
        &["SessionTransaction  literal [SESSION TRANSACTION READ ONLY] [READ ONLY]"],
    );
    check(
        "SET GLOBAL TRANSACTION READ WRITE",
        &["GlobalTransaction  literal [GLOBAL TRANSACTION READ WRITE] [READ WRITE]"],
    );
    check(
        "SET transaction_isolation = 'SERIALIZABLE'",
        &["Session transaction_isolation literal [transaction_isolation = 'SERIALIZABLE'] ['SERIALIZABLE']"],
    );
    // With @@ and without a scope it is the next transaction's.
    check(
        "SET @@transaction_isolation = 'SERIALIZABLE'",
        &["Transaction transaction_isolation literal [@@transaction_isolation = 'SERIALIZABLE'] ['SERIALIZABLE']"],
    );
    check(
        "SET @@session.tx_isolation = 3",
        &["Session tx_isolation computed [@@session.tx_isolation = 3] [3]"],
    );
}

#[test]
fn forms_with_a_syntax_of_their_own() {
    check("SET NAMES utf8mb4", &["Names  literal [NAMES utf8mb4] [utf8mb4]"]);
    check(
        "SET NAMES 'gbk' COLLATE gbk_bin",
        &["Names  literal [NAMES 'gbk' COLLATE gbk_bin] ['gbk']"],
    );
    check(
        "SET CHARACTER SET latin1",
        &["CharacterSet  literal [CHARACTER SET latin1] [latin1]"],
    );
    check(
        "SET CHARSET DEFAULT, a = 1",
        &[
            "CharacterSet  literal [CHARSET DEFAULT] [DEFAULT]",
            "Session a literal [a = 1] [1]",
        ],
    );
    check(
        "SET PASSWORD FOR u = 'x'",
        &["Password  literal [PASSWORD FOR u = 'x'] [FOR u = 'x']"],
    );
    check_on(Flavor::Mysql, "SET ROLE a, b", &["Role  literal [ROLE a, b] [a, b]"]);
    check_on(
        Flavor::MariaDb,
        "SET ROLE a, @b = 1",
        &["Role  literal [ROLE a] [a]", "User b literal [@b = 1] [1]"],
    );
    check_on(
        Flavor::Mysql,
        "SET DEFAULT ROLE a TO u, v",
        &["DefaultRole  literal [DEFAULT ROLE a TO u, v] [a TO u, v]"],
    );
    check_on(
        Flavor::Mysql,
        "SET RESOURCE GROUP g",
        &["ResourceGroup  literal [RESOURCE GROUP g] [g]"],
    );
    check_on(
        Flavor::MariaDb,
        "SET STATEMENT a = 1, b = 2 FOR SELECT 1",
        &["Statement a literal [a = 1] [1]", "Statement b literal [b = 2] [2]"],
    );
}

#[test]
fn a_value_that_does_not_say_what_it_means_is_no_literal() {
    check("SET sql_mode = 4", &["Session sql_mode computed [sql_mode = 4] [4]"]);
    check(
        "SET sql_mode = DEFAULT",
        &["Session sql_mode computed [sql_mode = DEFAULT] [DEFAULT]"],
    );
    check(
        "SET sql_mode = 'ORACLE'",
        &["Session sql_mode computed [sql_mode = 'ORACLE'] ['ORACLE']"],
    );
    check(
        "SET sql_mode = 'ansi_quotes,NO_ZERO_DATE'",
        &["Session sql_mode literal [sql_mode = 'ansi_quotes,NO_ZERO_DATE'] ['ansi_quotes,NO_ZERO_DATE']"],
    );
    check("SET sql_mode = ''", &["Session sql_mode literal [sql_mode = ''] ['']"]);
    check(
        "SET autocommit = DEFAULT",
        &["Session autocommit computed [autocommit = DEFAULT] [DEFAULT]"],
    );
    check(
        "SET autocommit = oFF",
        &["Session autocommit literal [autocommit = oFF] [oFF]"],
    );
    check(
        "SET autocommit = FALSE",
        &["Session autocommit literal [autocommit = FALSE] [FALSE]"],
    );
    check(
        "SET character_set_client = 28",
        &["Session character_set_client computed [character_set_client = 28] [28]"],
    );
    check(
        "SET character_set_client = gbk",
        &["Session character_set_client literal [character_set_client = gbk] [gbk]"],
    );
}

#[test]
fn one_shape_of_set_has_an_analysis_for_each_text() {
    let analyser = Analyser::new(16);
    let mode = LexMode::new(Flavor::MariaDb, 101_119);
    let value = |sql: &str| {
        let item = analyser.analyse(sql.as_bytes(), mode).set[0].clone();
        (item.literal, sql[item.value].to_owned())
    };
    assert_eq!(value("SET sql_mode = 4"), (false, "4".to_owned()));
    assert_eq!(
        value("SET sql_mode = 'TRADITIONAL'"),
        (true, "'TRADITIONAL'".to_owned())
    );
    assert_eq!(value("SET  sql_mode = ''"), (true, "''".to_owned()));
}

#[test]
fn user_variables_that_are_read_and_written() {
    let variables = |sql: &str| {
        let analysis = analyse(Flavor::MariaDb, sql);
        let names = |names: &[Name]| names.iter().map(Name::to_string).collect::<Vec<_>>().join(",");
        format!(
            "{}|{}",
            names(&analysis.user_variables_read),
            names(&analysis.user_variables_written)
        )
    };
    assert_eq!(variables("SELECT @a, @b := @c + 1"), "a,c|b");
    assert_eq!(variables("SELECT a INTO @a, @b FROM t WHERE x = @c"), "c|a,b");
    assert_eq!(variables("SET @a = @b, @c = 1"), "b|a,c");
    assert_eq!(variables("SET @a = @a + 1"), "a|a");
    assert_eq!(variables("SET sort_buffer_size = @a"), "a|");
    assert_eq!(variables("UPDATE t SET a = @a, b = (@b := @b + 1)"), "a,b|b");
    assert_eq!(variables("CALL p(@in, @out)"), "in,out|in,out");
    assert_eq!(variables("EXECUTE s USING @a, @b"), "a,b|a,b");
    assert_eq!(variables("PREPARE s FROM @text"), "text|");
    assert_eq!(variables("GET DIAGNOSTICS CONDITION @n @m = MESSAGE_TEXT"), "n|m");
    assert_eq!(
        variables("LOAD DATA INFILE 'x' INTO TABLE t (a, @b) SET c = @b + @d"),
        "b,d|b,d"
    );
    assert_eq!(variables("EXPLAIN FORMAT=JSON INTO @p SELECT @q"), "q|p");
    assert_eq!(variables("SELECT @`a``b`, @'c', @\"d\", @e.f"), "a`b,c,d,e.f|");
    assert_eq!(variables("DO @a := 1"), "|a");
}

#[test]
fn prepared_statements_savepoints_schemas_and_kill() {
    let text = |sql: &str| {
        analyse(Flavor::MariaDb, sql)
            .prepared_text
            .clone()
            .map(|range| sql[range].to_owned())
    };
    let name = |sql: &str| {
        analyse(Flavor::MariaDb, sql)
            .prepared_name
            .as_ref()
            .map(Name::to_string)
    };
    assert_eq!(text("PREPARE s FROM 'SELECT 1'").as_deref(), Some("'SELECT 1'"));
    assert_eq!(text("prepare s from \"SELECT 1\" ;").as_deref(), Some("\"SELECT 1\""));
    assert_eq!(text("PREPARE s FROM @x"), None);
    assert_eq!(text("PREPARE s FROM 'a' 'b'"), None);
    assert_eq!(text("PREPARE s FROM N'a'"), None);
    assert_eq!(
        text("EXECUTE IMMEDIATE 'SELECT ?' USING @a").as_deref(),
        Some("'SELECT ?'")
    );
    assert_eq!(text("EXECUTE IMMEDIATE CONCAT('a')"), None);
    assert_eq!(name("PREPARE `a b` FROM 'x'").as_deref(), Some("a b"));
    assert_eq!(name("EXECUTE s").as_deref(), Some("s"));
    assert_eq!(name("EXECUTE immediate USING @a").as_deref(), Some("immediate"));
    assert_eq!(name("EXECUTE IMMEDIATE 'x'"), None);
    assert_eq!(name("DROP PREPARE s").as_deref(), Some("s"));
    let savepoint = |sql: &str| analyse(Flavor::Mysql, sql).savepoint.as_ref().map(Name::to_string);
    assert_eq!(savepoint("SAVEPOINT a").as_deref(), Some("a"));
    assert_eq!(savepoint("ROLLBACK TO `b c`").as_deref(), Some("b c"));
    assert_eq!(savepoint("RELEASE SAVEPOINT d").as_deref(), Some("d"));
    assert_eq!(analyse(Flavor::Mysql, "USE `x y`").schema, Some(Name::from("x y")));
    let kill = |sql: &str| analyse(Flavor::MariaDb, sql).kill;
    let target = |id, query_only| Some(KillTarget { id, query_only });
    assert_eq!(kill("KILL 5"), target(Some(5), false));
    assert_eq!(kill("KILL CONNECTION 6"), target(Some(6), false));
    assert_eq!(kill("KILL HARD QUERY 7"), target(Some(7), true));
    assert_eq!(kill("KILL QUERY ID 8"), target(None, true));
    assert_eq!(kill("KILL @x"), target(None, false));
    assert_eq!(kill("KILL USER u"), target(None, false));
}

#[test]
fn digests_are_equal_for_equal_shapes_only() {
    let digest = |sql: &str| analyse(Flavor::Mysql, sql).digest;
    let same = |a: &str, b: &str| assert_eq!(digest(a), digest(b), "{a} / {b}");
    let other = |a: &str, b: &str| assert_ne!(digest(a), digest(b), "{a} / {b}");
    same("SELECT * FROM t WHERE id = 1", "SELECT * FROM t WHERE  id=-20 ;");
    same("SELECT 1", "SELECT 'x'");
    same(
        "SELECT a FROM t WHERE b IN (1)",
        "SELECT a FROM t WHERE b IN (1, 2, 'x', NULL)",
    );
    same(
        "INSERT INTO t VALUES (1, 2), (3, 4)",
        "INSERT INTO t VALUES (1, 'a'), (3, NULL), (5, -6), (7, 8)",
    );
    same("SELECT 1 /* x */ -- y", "SELECT 1");
    same("SELECT ?", "SELECT 7");
    other("INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (1), (2)");
    other("INSERT INTO t VALUES (1), (2)", "INSERT INTO t VALUES (1), (NOW())");
    other("SELECT a FROM t", "SELECT a FROM T");
    other("SELECT a b FROM t", "SELECT ab FROM t");
    other("SELECT `a` `b` FROM t", "SELECT `a``b` FROM t");
    other("SELECT @a", "SELECT @b");
    other("SELECT @a := 1", "SELECT @a : = 1");
    other("SELECT NOW()", "SELECT NOW ()");
    other("SELECT 1", "SELECT 1; SELECT 1");
    other("SELECT a.b", "SELECT a . `b`");
}

#[test]
fn deep_and_long_texts_are_analysed_all_the_same() {
    let deep = format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000));
    assert_eq!(analyse(Flavor::Mysql, &deep).class, Class::Read);
    let unbalanced = format!("SELECT {}1", "(".repeat(20_000));
    assert_eq!(analyse(Flavor::Mysql, &unbalanced).class, Class::Unknown);
    let rows = vec!["(1, 'x')"; 50_000].join(",");
    let insert = analyse(Flavor::Mysql, &format!("INSERT INTO t VALUES {rows}"));
    assert!(insert.flags.multi_row_insert);
    let nested = format!("SELECT * FROM {}t{}", "(".repeat(5_000), ")".repeat(5_000));
    let TouchedTables::Known(tables) = &analyse(Flavor::Mysql, &nested).tables else {
        panic!("the table is not known");
    };
    assert_eq!(tables.len(), 1);
    for hostile in [
        "SELECT ".to_owned() + &"POINT(".repeat(20_000),
        "SELECT * FROM ".to_owned() + &(0..20_000).map(|i| format!("t{i},")).collect::<String>(),
        "SELECT ".to_owned() + &(0..20_000).map(|i| format!("@v{i},")).collect::<String>() + "1",
        "SELECT * FROM ".to_owned() + &"t PARTITION,".repeat(20_000),
        "DELETE ".to_owned() + &"t,".repeat(20_000) + "t FROM " + &"t,".repeat(20_000) + "t",
        "WITH ".to_owned()
            + &(0..20_000)
                .map(|i| format!("c{i} AS (SELECT 1 FROM c{i}),"))
                .collect::<String>()
            + "d AS (SELECT 1) SELECT 1",
        "LOCK TABLES ".to_owned() + &(0..20_000).map(|i| format!("t{i} WRITE,")).collect::<String>() + "t READ",
        "DROP TABLE ".to_owned() + &(0..20_000).map(|i| format!("t{i},")).collect::<String>() + "t",
        "CREATE TABLE t (a INT) ".to_owned() + &"UNION=(a,b,c) ".repeat(20_000),
        "SET ".to_owned() + &(0..20_000).map(|i| format!("@v{i}=@w{i},")).collect::<String>() + "@a=1",
    ] {
        let started = std::time::Instant::now();
        analyse(Flavor::MariaDb, &hostile);
        let elapsed = started.elapsed();
        assert!(elapsed.as_secs() < 10, "{elapsed:?} for {}", &hostile[..60]);
    }
    let executable = "/*!".repeat(20_000);
    assert_eq!(analyse(Flavor::Mysql, &executable).class, Class::Unknown);
}

#[test]
fn skip_locked_is_seen_behind_a_locking_clause_only() {
    for (sql, expected) in [
        ("SELECT id FROM job LIMIT 1 FOR UPDATE SKIP LOCKED", true),
        ("SELECT id FROM job FOR SHARE OF job SKIP LOCKED", true),
        ("SELECT id FROM job LOCK IN SHARE MODE SKIP LOCKED", true),
        ("SELECT id FROM job FOR UPDATE NOWAIT", false),
        ("SELECT skip locked FROM job", false),
    ] {
        let analysis = analyse(Flavor::MariaDb, sql);
        assert_eq!(analysis.flags.skips_locked, expected, "{sql}");
    }
}
