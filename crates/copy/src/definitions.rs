//! What there is on a server, and how it is made: the statements that the server itself gives for it.

use grove_engine::io::{CopyError, Leg};

use crate::connection::{Connection, Row, text};
use crate::literal::{self, Form, name};
use std::collections::HashMap;

/// Schemas that a server has by itself, and Grove's own. As a list for IN.
pub(crate) const NOT_COPIED: &str = "('mysql','information_schema','performance_schema','sys','_grove')";

/// Where a table's definition has expressions; it may seem to elsewhere.
const EXPRESSIONS: [&str; 4] = [" GENERATED ALWAYS AS (", "CHECK (", " ((", "PARTITION BY"];

/// A table with rows.
pub(crate) struct Table {
    pub schema: String,
    pub name: String,
    pub create: String,
    /// Those that have values of their own, with how these are written.
    pub columns: Vec<(String, Form)>,
    /// Whether a row that is inserted makes the server compute something besides: generated columns, checks, keys and partitions by an expression. It may
    /// warn of that.
    pub has_expressions: bool,
    /// The only column of the primary key, if it is a whole number.
    pub range_column: Option<String>,
    /// As many as the server believes.
    pub rows: u64,
}

impl Table {
    /// Schema and name as SQL has them.
    pub fn place(&self) -> String {
        format!("{}.{}", name(&self.schema), name(&self.name))
    }
}

/// What is made by a text in a character set of its own: a view, a trigger, a routine, an event.
pub(crate) struct Program {
    pub schema: String,
    pub name: String,
    pub create: Vec<u8>,
    /// The assignments that were in force when it was made.
    pub context: Vec<String>,
}

/// Each schema, and how it is made.
pub(crate) async fn schemas<L: Leg>(from: &mut Connection<L>) -> Result<Vec<(String, String)>, CopyError> {
    let question = format!(
        "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE LOWER(SCHEMA_NAME) NOT IN {NOT_COPIED} ORDER BY 1"
    );
    let mut schemas = Vec::new();
    for row in from.ask(question).await? {
        let schema = text(&row, 0);
        let create = from.ask(format!("SHOW CREATE DATABASE {}", name(&schema))).await?;
        let create = create.first().map(|row| text(row, 1)).unwrap_or_default();
        schemas.push((schema, create));
    }
    Ok(schemas)
}

/// Everything with rows that can be read as of one instant, and what cannot, with the reason.
pub(crate) async fn readable_tables<L: Leg>(from: &mut Connection<L>) -> Result<(Vec<Table>, Vec<String>), CopyError> {
    let listed = from
        .ask(format!(
            "SELECT t.TABLE_SCHEMA, t.TABLE_NAME, t.TABLE_TYPE, t.ENGINE, t.TABLE_ROWS, e.TRANSACTIONS \
             FROM information_schema.TABLES t LEFT JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE \
             WHERE LOWER(t.TABLE_SCHEMA) NOT IN {NOT_COPIED} AND t.TABLE_TYPE NOT IN ('VIEW','SYSTEM VIEW','SEQUENCE') ORDER BY 1, 2"
        ))
        .await?;
    let (unsuitable, listed): (Vec<Row>, Vec<Row>) = listed.into_iter().partition(|row| why_unsuitable(row).is_some());
    let mut columns = columns(from).await?;
    let mut keys = range_columns(from).await?;
    let mut tables = Vec::new();
    for row in listed {
        let (schema, table) = (text(&row, 0), text(&row, 1));
        let create = from
            .ask(format!("SHOW CREATE TABLE {}.{}", name(&schema), name(&table)))
            .await?;
        let create = create.first().map(|row| text(row, 1)).unwrap_or_default();
        let place = (schema, table);
        tables.push(Table {
            has_expressions: EXPRESSIONS.iter().any(|sign| create.contains(sign)),
            create,
            columns: columns.remove(&place).unwrap_or_default(),
            range_column: keys.remove(&place),
            rows: text(&row, 4).parse().unwrap_or(0),
            schema: place.0,
            name: place.1,
        });
    }
    let unsuitable = unsuitable.iter().filter_map(why_unsuitable).collect();
    Ok((tables, unsuitable))
}

/// Everything with rows. Refuses what cannot be read as of one instant.
pub(crate) async fn tables<L: Leg>(from: &mut Connection<L>) -> Result<Vec<Table>, CopyError> {
    let (tables, unsuitable) = readable_tables(from).await?;
    if !unsuitable.is_empty() {
        return Err(CopyError::Unsuitable(format!(
            "these cannot be read as of one instant while clients write: {}; convert them, or copy the server by other means while nobody writes",
            unsuitable.join(", ")
        )));
    }
    Ok(tables)
}

/// Schemas and names of all tables with rows.
pub(crate) async fn table_names<L: Leg>(from: &mut Connection<L>) -> Result<Vec<(String, String)>, CopyError> {
    let rows = from
        .ask(format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES \
             WHERE LOWER(TABLE_SCHEMA) NOT IN {NOT_COPIED} AND TABLE_TYPE NOT IN ('VIEW','SYSTEM VIEW','SEQUENCE') ORDER BY 1, 2"
        ))
        .await?;
    Ok(rows.iter().map(|row| (text(row, 0), text(row, 1))).collect())
}

fn why_unsuitable(row: &Row) -> Option<String> {
    let (schema, table, kind, engine) = (text(row, 0), text(row, 1), text(row, 2), text(row, 3));
    if kind != "BASE TABLE" {
        return Some(format!("{schema}.{table} ({})", kind.to_lowercase()));
    }
    // BLACKHOLE holds nothing.
    let is_consistent = text(row, 5) == "YES" || engine == "BLACKHOLE";
    (!is_consistent).then(|| format!("{schema}.{table} (engine {engine})"))
}

type Place = (String, String);

async fn columns<L: Leg>(from: &mut Connection<L>) -> Result<HashMap<Place, Vec<(String, Form)>>, CopyError> {
    let rows = from
        .ask(format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE, EXTRA FROM information_schema.COLUMNS \
             WHERE LOWER(TABLE_SCHEMA) NOT IN {NOT_COPIED} ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION"
        ))
        .await?;
    let mut columns: HashMap<Place, Vec<(String, Form)>> = HashMap::new();
    for row in rows {
        let extra = text(&row, 4);
        // Not DEFAULT_GENERATED, which is a default.
        if extra.contains("VIRTUAL GENERATED") || extra.contains("STORED GENERATED") {
            continue;
        }
        let place = (text(&row, 0), text(&row, 1));
        let column = (text(&row, 2), Form::of(&text(&row, 3)));
        columns.entry(place).or_default().push(column);
    }
    Ok(columns)
}

/// The column of each primary key that is one whole number.
async fn range_columns<L: Leg>(from: &mut Connection<L>) -> Result<HashMap<Place, String>, CopyError> {
    let rows = from
        .ask(format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS \
             WHERE LOWER(TABLE_SCHEMA) NOT IN {NOT_COPIED} AND COLUMN_KEY = 'PRI' ORDER BY 1, 2"
        ))
        .await?;
    let mut keys: HashMap<Place, Vec<(String, Form)>> = HashMap::new();
    for row in rows {
        let form = match text(&row, 3).as_str() {
            "decimal" => Form::Bytes,
            other => Form::of(other),
        };
        let place = (text(&row, 0), text(&row, 1));
        keys.entry(place).or_default().push((text(&row, 2), form));
    }
    let ranges = keys
        .into_iter()
        .filter_map(|(place, columns)| match columns.as_slice() {
            [(column, Form::Number)] => Some((place, column.clone())),
            _ => None,
        });
    Ok(ranges.collect())
}

/// Where SHOW CREATE says what about a kind of program.
struct Shape {
    kind: &'static str,
    create: usize,
    sql_mode: Option<usize>,
    time_zone: Option<usize>,
    /// `character_set_client`; `collation_connection` is behind it.
    charset: usize,
}

impl Shape {
    fn of(kind: &str) -> Self {
        let (kind, create, sql_mode, time_zone, charset) = match kind {
            "VIEW" => ("VIEW", 1, None, None, 2),
            "TRIGGER" => ("TRIGGER", 2, Some(1), None, 3),
            "EVENT" => ("EVENT", 3, Some(1), Some(2), 4),
            "FUNCTION" => ("FUNCTION", 2, Some(1), None, 3),
            "PACKAGE" => ("PACKAGE", 2, Some(1), None, 3),
            "PACKAGE BODY" => ("PACKAGE BODY", 2, Some(1), None, 3),
            _ => ("PROCEDURE", 2, Some(1), None, 3),
        };
        Self {
            kind,
            create,
            sql_mode,
            time_zone,
            charset,
        }
    }
}

/// Functions, procedures and packages.
pub(crate) async fn routines<L: Leg>(from: &mut Connection<L>) -> Result<Vec<Program>, CopyError> {
    let question = format!(
        "SELECT ROUTINE_SCHEMA, ROUTINE_NAME, ROUTINE_TYPE FROM information_schema.ROUTINES \
         WHERE LOWER(ROUTINE_SCHEMA) NOT IN {NOT_COPIED} ORDER BY 1, 3, 2"
    );
    programs(from, &question).await
}

/// Views, in no order that their making could follow.
pub(crate) async fn views<L: Leg>(from: &mut Connection<L>) -> Result<Vec<Program>, CopyError> {
    let question = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, 'VIEW' FROM information_schema.TABLES \
         WHERE LOWER(TABLE_SCHEMA) NOT IN {NOT_COPIED} AND TABLE_TYPE = 'VIEW' ORDER BY 1, 2"
    );
    programs(from, &question).await
}

/// Triggers, those of one table in the order in which they act.
pub(crate) async fn triggers<L: Leg>(from: &mut Connection<L>) -> Result<Vec<Program>, CopyError> {
    let question = format!(
        "SELECT TRIGGER_SCHEMA, TRIGGER_NAME, 'TRIGGER' FROM information_schema.TRIGGERS \
         WHERE LOWER(TRIGGER_SCHEMA) NOT IN {NOT_COPIED} ORDER BY 1, EVENT_OBJECT_TABLE, ACTION_ORDER"
    );
    programs(from, &question).await
}

pub(crate) async fn events<L: Leg>(from: &mut Connection<L>) -> Result<Vec<Program>, CopyError> {
    let question = format!(
        "SELECT EVENT_SCHEMA, EVENT_NAME, 'EVENT' FROM information_schema.EVENTS \
         WHERE LOWER(EVENT_SCHEMA) NOT IN {NOT_COPIED} ORDER BY 1, 2"
    );
    programs(from, &question).await
}

async fn programs<L: Leg>(from: &mut Connection<L>, question: &str) -> Result<Vec<Program>, CopyError> {
    let mut programs = Vec::new();
    for row in from.ask(question).await? {
        let (schema, program, shape) = (text(&row, 0), text(&row, 1), Shape::of(&text(&row, 2)));
        let show = format!("SHOW CREATE {} {}.{}", shape.kind, name(&schema), name(&program));
        let Some(mut shown) = from.ask(&show).await?.into_iter().next() else {
            return Err(CopyError::Changed(format!("{schema}.{program} is gone")));
        };
        let (charset, collation) = (text(&shown, shape.charset), text(&shown, shape.charset + 1));
        let mut create = shown.get_mut(shape.create).and_then(Option::take);
        if create.as_ref().is_some_and(|create| !create.is_ascii()) && charset != "utf8mb4" {
            // In the bytes in which it was written.
            from.say(format!("SET character_set_results={charset}")).await?;
            let again = from.ask(&show).await?.into_iter().next();
            create = again.and_then(|mut row| row.get_mut(shape.create).and_then(Option::take));
            from.say("SET character_set_results=utf8mb4").await?;
        }
        let Some(create) = create else {
            return Err(CopyError::Unsuitable(format!(
                "Grove's account is not shown how {schema}.{program} is made: it needs SELECT on the schema mysql, or SHOW_ROUTINE"
            )));
        };
        let assignment = |variable: &str, at: Option<usize>| {
            at.map(|at| format!("SET SESSION {variable}={}", literal::text(&text(&shown, at))))
        };
        let mut context = vec![format!(
            "SET character_set_client={charset}, collation_connection={collation}"
        )];
        context.extend(assignment("sql_mode", shape.sql_mode));
        context.extend(assignment("time_zone", shape.time_zone));
        programs.push(Program {
            schema,
            name: program,
            create,
            context,
        });
    }
    Ok(programs)
}
