//! Whether servers hold the same: every table, view, trigger and routine of every schema that is not the server's or Grove's own.
//!
//! Tables are compared by `CHECKSUM TABLE … EXTENDED`, which reads every row; where checksums differ the rows are fetched and the first
//! that differs is reported. Counters of auto-increment columns are reported apart: a statement that fails takes numbers from the lead's
//! counter only, which no client can see in rows, so a test decides whether it demands equal counters.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use grove_sandbox::Server;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, Row, Value};

use crate::cluster::{Cluster, superuser_of};

/// How the servers differ.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// How many tables were compared.
    pub tables: usize,
    /// How many rows the first server has in them.
    pub rows: u64,
    /// Every difference in definitions and rows.
    pub differences: Vec<String>,
    /// Every difference between auto-increment counters.
    pub counters: Vec<String>,
}

/// A server to be compared.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its name in messages.
    pub name: String,
    /// How to reach it.
    pub opts: Opts,
}

impl Subject {
    /// This server, looked at past Grove.
    pub fn of(server: &Server) -> Self {
        Self {
            name: server.name().to_owned(),
            opts: superuser_of(server),
        }
    }
}

/// Compares all servers that Grove counts as online, and panics with every difference.
pub async fn assert_servers_equal(cluster: &Cluster) -> Comparison {
    let comparison = compare_online(cluster).await.expect("the servers can be compared");
    assert!(
        comparison.differences.is_empty(),
        "the servers differ:\n{}",
        comparison.differences.join("\n")
    );
    comparison
}

/// Compares all servers that Grove counts as online.
pub async fn compare_online(cluster: &Cluster) -> anyhow::Result<Comparison> {
    let subjects: Vec<Subject> = cluster.online().await?.into_iter().map(Subject::of).collect();
    compare(&subjects).await
}

/// Compares every server with the first.
pub async fn compare(subjects: &[Subject]) -> anyhow::Result<Comparison> {
    let mut comparison = Comparison::default();
    let mut inspected = Vec::new();
    for subject in subjects {
        let inspection = inspect(subject)
            .await
            .with_context(|| format!("look at {}", subject.name))?;
        inspected.push((subject, inspection));
    }
    let Some(((first, reference), others)) = inspected.split_first() else {
        return Ok(comparison);
    };
    comparison.tables = reference.checksums.len();
    comparison.rows = reference.rows;
    for (other, inspection) in others {
        let pair = format!("{} and {}", first.name, other.name);
        report_unequal(
            &pair,
            "definition",
            &reference.definitions,
            &inspection.definitions,
            &mut comparison.differences,
        );
        report_unequal(
            &pair,
            "auto-increment counter",
            &reference.counters,
            &inspection.counters,
            &mut comparison.counters,
        );
        for (table, checksum) in &reference.checksums {
            // A table that is on one side only is among the definitions' differences.
            let Some(theirs) = inspection.checksums.get(table) else {
                continue;
            };
            if theirs != checksum {
                let rows = first_unequal_row(first, other, table).await?;
                let line = format!("{pair} differ in {table}: checksums {checksum} and {theirs}; {rows}");
                comparison.differences.push(line);
            }
        }
    }
    Ok(comparison)
}

/// What one server holds.
#[derive(Debug, Default)]
struct Inspection {
    definitions: BTreeMap<String, String>,
    counters: BTreeMap<String, String>,
    checksums: BTreeMap<String, String>,
    rows: u64,
}

async fn inspect(subject: &Subject) -> anyhow::Result<Inspection> {
    let mut conn = Conn::new(subject.opts.clone()).await?;
    let mut inspection = Inspection::default();
    let objects: Vec<(String, String, String)> = conn
        .query(
            "SELECT CONVERT(table_schema USING utf8mb4), CONVERT(table_name USING utf8mb4), CONVERT(table_type USING utf8mb4)
             FROM information_schema.tables
             WHERE table_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema', '_grove')",
        )
        .await?;
    for (schema, name, kind) in objects {
        let table = format!("{}.{}", quoted(&schema), quoted(&name));
        let row: Option<Row> = conn.query_first(format!("SHOW CREATE TABLE {table}")).await?;
        let definition = row.map(|row| text(&row, 1)).unwrap_or_default();
        let (definition, counter) = without_counter(&definition);
        inspection.definitions.insert(table.clone(), definition);
        if kind == "BASE TABLE" {
            inspection.counters.insert(table.clone(), counter);
            let row: Option<Row> = conn.query_first(format!("CHECKSUM TABLE {table} EXTENDED")).await?;
            let checksum = row.map(|row| text(&row, 1)).unwrap_or_default();
            let rows: Option<u64> = conn.query_first(format!("SELECT COUNT(*) FROM {table}")).await?;
            inspection.rows += rows.unwrap_or_default();
            inspection.checksums.insert(table, checksum);
        }
    }
    for (kind, query) in PROGRAMS {
        let rows: Vec<Row> = conn.query(*query).await?;
        for row in rows {
            inspection
                .definitions
                .insert(format!("{kind} {}", text(&row, 0)), text(&row, 1));
        }
    }
    conn.disconnect().await?;
    Ok(inspection)
}

/// Definitions that are not tables: kind, and a query for name and text.
const PROGRAMS: &[(&str, &str)] = &[
    (
        "schema",
        "SELECT schema_name, CONCAT_WS(' ', default_character_set_name, default_collation_name)
         FROM information_schema.schemata WHERE schema_name NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema', '_grove')",
    ),
    (
        "trigger",
        "SELECT CONCAT_WS('.', trigger_schema, trigger_name),
                CONCAT_WS(' ', event_object_table, action_timing, event_manipulation, action_statement, sql_mode, definer)
         FROM information_schema.triggers WHERE trigger_schema NOT IN ('mysql', 'sys', '_grove')",
    ),
    (
        "routine",
        "SELECT CONCAT_WS('.', routine_schema, routine_type, routine_name), CONCAT_WS(' ', routine_definition, sql_mode, definer)
         FROM information_schema.routines WHERE routine_schema NOT IN ('mysql', 'sys', '_grove')",
    ),
];

fn report_unequal(
    pair: &str,
    what: &str,
    ours: &BTreeMap<String, String>,
    theirs: &BTreeMap<String, String>,
    differences: &mut Vec<String>,
) {
    let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    for name in names {
        match (ours.get(name), theirs.get(name)) {
            (Some(a), Some(b)) if a == b => {}
            (a, b) => differences.push(format!(
                "{pair} differ in the {what} of {name}: {} | {}",
                a.map_or("missing", String::as_str),
                b.map_or("missing", String::as_str)
            )),
        }
    }
}

/// Fetches a table from both servers and describes the first difference.
async fn first_unequal_row(first: &Subject, other: &Subject, table: &str) -> anyhow::Result<String> {
    let (ours, theirs) = (sorted_rows(first, table).await?, sorted_rows(other, table).await?);
    let pair = ours.iter().zip(&theirs).find(|(a, b)| a != b);
    let counts = format!("{} and {} rows", ours.len(), theirs.len());
    Ok(match pair {
        Some((a, b)) => format!("{counts}; first: {a} | {b}"),
        None if ours.len() > theirs.len() => format!("{counts}; first: {} | missing", ours[theirs.len()]),
        None if ours.len() < theirs.len() => format!("{counts}; first: missing | {}", theirs[ours.len()]),
        None => format!("{counts}; equal when fetched"),
    })
}

async fn sorted_rows(subject: &Subject, table: &str) -> anyhow::Result<Vec<String>> {
    let mut conn = Conn::new(subject.opts.clone()).await?;
    let columns: Vec<Row> = conn.query(format!("SHOW COLUMNS FROM {table}")).await?;
    let order: Vec<String> = (1..=columns.len()).map(|number| number.to_string()).collect();
    let rows: Vec<Row> = conn
        .query(format!("SELECT * FROM {table} ORDER BY {}", order.join(", ")))
        .await?;
    conn.disconnect().await?;
    Ok(rows
        .iter()
        .map(|row| {
            let values: Vec<String> = (0..row.len()).map(|index| text(row, index)).collect();
            format!("({})", values.join(", "))
        })
        .collect())
}

/// A value as text; bytes that are no UTF-8 are shown in hex.
fn text(row: &Row, index: usize) -> String {
    match row.as_ref(index) {
        None | Some(Value::NULL) => "NULL".to_owned(),
        Some(Value::Bytes(bytes)) => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => bytes
                .iter()
                .fold("0x".to_owned(), |hex, byte| format!("{hex}{byte:02x}")),
        },
        Some(other) => other.as_sql(true),
    }
}

/// Splits ` AUTO_INCREMENT=123` off a table's definition.
fn without_counter(definition: &str) -> (String, String) {
    const OPTION: &str = " AUTO_INCREMENT=";
    let Some(start) = definition.rfind(OPTION) else {
        return (definition.to_owned(), String::new());
    };
    let digits = &definition[start + OPTION.len()..];
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    (
        format!("{}{}", &definition[..start], &digits[end..]),
        digits[..end].to_owned(),
    )
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use super::without_counter;

    #[test]
    fn the_counter_is_split_off_a_definition() {
        let (definition, counter) =
            without_counter("CREATE TABLE `t` (…) ENGINE=InnoDB AUTO_INCREMENT=42 DEFAULT CHARSET=utf8mb4");
        assert_eq!(definition, "CREATE TABLE `t` (…) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4");
        assert_eq!(counter, "42");
        assert_eq!(without_counter("CREATE VIEW v").1, "");
    }
}
