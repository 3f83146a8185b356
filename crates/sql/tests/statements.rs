//! Tables of statements with what the analysis must say about each: `tests/statements/*.txt`.
//!
//! A line is `class +flag .. | tables | statement`. Tables that may be written have a `!` before their name, `-` is none, `?` is "any table", and `!?`
//! says that any table may be written while the named ones are known. Flags are exact. A line `server: mysql 90704` (or `mariadb`, or `both`) and a line
//! `mode: ansi_quotes` hold for what follows.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use grove_sql::{Analyser, Analysis, AnalysisFlags, Class, Flavor, LexMode, TableName, TouchedTables};

#[test]
fn statements_mean_what_the_tables_say() {
    let mut wrong = String::new();
    let mut count = 0;
    for file in files() {
        let mut modes = both();
        let text = std::fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(server) = line.strip_prefix("server: ") {
                modes = servers(server);
                continue;
            }
            if let Some(mode) = line.strip_prefix("mode: ") {
                modes.iter_mut().for_each(|lex| set_mode(lex, mode));
                continue;
            }
            let mut columns = line.splitn(3, " | ");
            let (Some(class), Some(tables), Some(statement)) = (columns.next(), columns.next(), columns.next()) else {
                panic!("{line}");
            };
            let mut tables: Vec<&str> = tables.split(", ").collect();
            tables.sort_by_key(|table| table.trim_start_matches('!'));
            let expected = format!("{class} | {}", tables.join(", "));
            count += 1;
            for &mode in &modes {
                let analyser = Analyser::new(16);
                let first = analyser.analyse(statement.as_bytes(), mode);
                let again = analyser.analyse(statement.as_bytes(), mode);
                assert_eq!(first, again, "{statement}");
                let found = describe(&first);
                if found != expected {
                    let place = format!("{}:{}", file.file_name().unwrap().to_string_lossy(), number + 1);
                    writeln!(
                        wrong,
                        "{place} {:?}\n  {statement}\n  expected {expected}\n  found    {found}",
                        mode.flavor
                    )
                    .unwrap();
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count >= 400, "only {count} statements");
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/statements");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

fn both() -> Vec<LexMode> {
    vec![
        LexMode::new(Flavor::Mysql, 90_704),
        LexMode::new(Flavor::MariaDb, 101_119),
    ]
}

fn servers(text: &str) -> Vec<LexMode> {
    let mut words = text.split_whitespace();
    let flavor = match words.next() {
        Some("mysql") => Flavor::Mysql,
        Some("mariadb") => Flavor::MariaDb,
        _ => return both(),
    };
    vec![LexMode::new(flavor, words.next().unwrap().parse().unwrap())]
}

fn set_mode(lex: &mut LexMode, mode: &str) {
    lex.ansi_quotes = mode.contains("ansi_quotes");
    lex.no_backslash_escapes = mode.contains("no_backslash_escapes");
}

fn describe(analysis: &Analysis) -> String {
    let mut text = class(analysis.class);
    for flag in flags(&analysis.flags) {
        text.push_str(" +");
        text.push_str(flag);
    }
    text.push_str(" | ");
    text.push_str(&tables(analysis));
    text
}

fn class(class: Class) -> String {
    let options = |name: &str, options: &[(&str, bool)]| {
        let given: Vec<&str> = options
            .iter()
            .filter(|(_, given)| *given)
            .map(|(name, _)| *name)
            .collect();
        if given.is_empty() {
            name.to_owned()
        } else {
            format!("{name}({})", given.join(", "))
        }
    };
    match class {
        Class::Begin {
            consistent_snapshot,
            read_only,
        } => options("Begin", &[("snapshot", consistent_snapshot), ("read only", read_only)]),
        Class::Commit { chain, release } => options("Commit", &[("chain", chain), ("release", release)]),
        Class::Rollback { chain, release } => options("Rollback", &[("chain", chain), ("release", release)]),
        Class::Write(kind) => format!("{kind:?}"),
        other => format!("{other:?}"),
    }
}

fn flags(flags: &AnalysisFlags) -> Vec<&'static str> {
    let all = [
        ("clock", flags.reads_clock),
        ("sysdate", flags.uses_sysdate),
        ("rand", flags.uses_rand),
        ("uuid", flags.uses_uuid),
        ("connection", flags.uses_connection_id),
        ("user", flags.uses_current_user),
        ("insert-id", flags.uses_last_insert_id),
        ("row-count", flags.uses_found_rows_or_row_count),
        ("calc-rows", flags.calculates_found_rows),
        ("sysvar", flags.reads_system_variable),
        ("file", flags.reads_file),
        ("sleeps", flags.sleeps),
        ("unknown-function", flags.calls_unknown_function),
        ("named-lock", flags.named_lock),
        ("multi-row", flags.multi_row_insert),
        ("insert-select", flags.insert_select),
        ("on-duplicate", flags.on_duplicate_key),
        ("limit", flags.has_limit),
        ("returning", flags.returning),
        ("schema-info", flags.touches_information_schema),
        ("outfile", flags.into_outfile),
        ("diagnostics", flags.is_show_warnings_or_errors),
        ("ignore", flags.ignore),
        ("local", flags.load_local),
        ("describes", flags.describes_server),
    ];
    all.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect()
}

fn tables(analysis: &Analysis) -> String {
    let TouchedTables::Known(named) = &analysis.tables else {
        assert_eq!(
            analysis.written,
            TouchedTables::Unknown,
            "any table is touched, so any may be written"
        );
        return "?".to_owned();
    };
    let mut list = Vec::new();
    let written = match &analysis.written {
        TouchedTables::Unknown => {
            list.push("!?".to_owned());
            &[]
        }
        TouchedTables::Known(written) => written.as_slice(),
    };
    for table in written {
        assert!(named.contains(table), "{table:?} is written but not touched");
    }
    for table in named {
        let mark = if written.contains(table) { "!" } else { "" };
        list.push(format!("{mark}{}", name(table)));
    }
    list.sort_by(|a, b| a.trim_start_matches('!').cmp(b.trim_start_matches('!')));
    if list.is_empty() {
        "-".to_owned()
    } else {
        list.join(", ")
    }
}

fn name(table: &TableName) -> String {
    match &table.schema {
        Some(schema) => format!("{schema}.{}", table.name),
        None => table.name.to_string(),
    }
}
