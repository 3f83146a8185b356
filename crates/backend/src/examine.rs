//! What a server is like before it takes part: settings that decide over results, what would keep it from executing what the others execute, and what
//! an operator should know.

use crate::control::{AskError, ControlPool, Row};
use grove_engine::io::{Examination, LegError, MACHINE_ZONE, Setting};

/// Settings that can be changed while the server runs. Those that a server does not have are not in its answer.
const CHANGEABLE: [&str; 41] = [
    "auto_increment_increment",
    "auto_increment_offset",
    "autocommit",
    "block_encryption_mode",
    "character_set_client",
    "character_set_collations",
    "character_set_connection",
    "character_set_filesystem",
    "character_set_results",
    "character_set_server",
    "check_constraint_checks",
    "collation_connection",
    "collation_server",
    "completion_type",
    "cte_max_recursion_depth",
    "default_collation_for_utf8mb4",
    "default_storage_engine",
    "default_week_format",
    "div_precision_increment",
    "explicit_defaults_for_timestamp",
    "foreign_key_checks",
    "group_concat_max_len",
    "innodb_default_row_format",
    "innodb_snapshot_isolation",
    "innodb_strict_mode",
    "lc_time_names",
    "local_infile",
    "log_bin_trust_function_creators",
    "max_allowed_packet",
    "max_recursive_iterations",
    "old_mode",
    "sql_auto_is_null",
    "sql_generate_invisible_primary_key",
    "sql_mode",
    "sql_require_primary_key",
    "sql_safe_updates",
    "sql_select_limit",
    "time_zone",
    "transaction_isolation",
    "tx_isolation",
    "unique_checks",
];
/// Settings that are the server's for as long as it runs, or for ever.
const FIXED: [&str; 3] = ["innodb_autoinc_lock_mode", "innodb_page_size", "lower_case_table_names"];
/// Schemas that hold no data of clients.
const OWN_SCHEMAS: &str = "('mysql','information_schema','performance_schema','sys','_grove')";
/// Things of one kind that are named.
const MOST_NAMED: usize = 5;

/// Asks the server. Each question is bounded in time.
pub(crate) async fn examine(control: &ControlPool) -> Result<Examination, LegError> {
    let mut found = Examination {
        is_mariadb: is_mariadb(control).await?,
        settings: settings(control).await?,
        ..Examination::default()
    };
    for read_only in ["read_only", "super_read_only", "offline_mode", "innodb_read_only"] {
        let value = variable(control, read_only).await?;
        if value.is_some_and(|value| !matches!(value.as_str(), "OFF" | "0" | "NO")) {
            found
                .obstacles
                .push(format!("{read_only} is on, so clients cannot write there: SET GLOBAL {read_only}=OFF, and take it out of its configuration"));
        }
    }
    let secure = variable(control, "secure_timestamp").await?;
    if secure.is_some_and(|value| value != "NO") {
        let obstacle = "secure_timestamp does not let Grove say what NOW() is: set secure_timestamp=NO in its configuration and start it again";
        found.obstacles.push(obstacle.to_owned());
    }
    found.scheduler_is_on = variable(control, "event_scheduler").await?.as_deref() == Some("ON");
    found.events = names(
        control,
        &format!(
            "SELECT CONCAT(EVENT_SCHEMA,'.',EVENT_NAME) FROM information_schema.EVENTS \
             WHERE STATUS='ENABLED' AND LOWER(EVENT_SCHEMA) NOT IN {OWN_SCHEMAS}"
        ),
    )
    .await?;
    Ok(found)
}

/// What an operator should know of the tables there.
pub(crate) async fn warnings(control: &ControlPool) -> Result<Vec<String>, LegError> {
    let mut warnings = Vec::new();
    let without_transactions = names(
        control,
        &format!(
            "SELECT CONCAT(t.TABLE_SCHEMA,'.',t.TABLE_NAME) FROM information_schema.TABLES t JOIN information_schema.ENGINES e ON e.ENGINE=t.ENGINE \
             WHERE e.TRANSACTIONS<>'YES' AND t.ENGINE<>'BLACKHOLE' AND t.TABLE_TYPE='BASE TABLE' AND LOWER(t.TABLE_SCHEMA) NOT IN {OWN_SCHEMAS}"
        ),
    )
    .await?;
    if !without_transactions.is_empty() {
        warnings.push(format!(
            "the engine of {} has no transactions: what a ROLLBACK or a crash takes back differs from server to server, and a rebuild cannot copy it; ALTER TABLE .. ENGINE=InnoDB",
            listed(&without_transactions)
        ));
    }
    let without_key = names(
        control,
        &format!(
            "SELECT CONCAT(t.TABLE_SCHEMA,'.',t.TABLE_NAME) FROM information_schema.TABLES t \
             LEFT JOIN information_schema.STATISTICS s ON s.TABLE_SCHEMA=t.TABLE_SCHEMA AND s.TABLE_NAME=t.TABLE_NAME AND s.INDEX_NAME='PRIMARY' \
             WHERE s.INDEX_NAME IS NULL AND t.TABLE_TYPE='BASE TABLE' AND LOWER(t.TABLE_SCHEMA) NOT IN {OWN_SCHEMAS}"
        ),
    )
    .await?;
    if !without_key.is_empty() {
        warnings.push(format!(
            "without a primary key: {}; rows come in another order there than elsewhere, which LIMIT without ORDER BY shows",
            listed(&without_key)
        ));
    }
    Ok(warnings)
}

/// Gives the server another value of a setting that can be changed while it runs. Connections that are open keep theirs.
pub(crate) async fn adjust(control: &ControlPool, setting: &str, value: &str) -> Result<(), LegError> {
    let statement = format!("SET GLOBAL {setting}={}", literal(value));
    control.ask(&statement).await.map(drop).map_err(|error| match error {
        AskError::Leg(error) => error,
        AskError::Refused(err) => LegError::Unsuitable(format!(
            "{statement} is refused: {}",
            String::from_utf8_lossy(&err.message)
        )),
    })
}

/// As SET GLOBAL takes it: numbers and switches as they are.
fn literal(value: &str) -> String {
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    match value {
        "ON" | "OFF" => value.to_owned(),
        _ if is_number => value.to_owned(),
        _ => format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''")),
    }
}

async fn settings(control: &ControlPool) -> Result<Vec<Setting>, LegError> {
    let all: Vec<String> = CHANGEABLE
        .iter()
        .chain(&FIXED)
        .map(|name| format!("'{name}'"))
        .collect();
    let question = format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({})", all.join(","));
    let mut settings: Vec<Setting> = rows(control, &question)
        .await?
        .into_iter()
        .filter_map(|row| {
            let [name, value] = <[Option<String>; 2]>::try_from(row).ok()?;
            let name = name?;
            Some(Setting {
                is_changeable: CHANGEABLE.contains(&name.as_str()),
                value: value.unwrap_or_default(),
                name,
            })
        })
        .collect();
    // The server's own word for it changes with the season in which it was started.
    let zone = "SELECT CONCAT(CONVERT_TZ('2025-01-15 12:00:00','+00:00','SYSTEM'),', ',CONVERT_TZ('2025-07-15 12:00:00','+00:00','SYSTEM'))";
    settings.push(Setting {
        name: MACHINE_ZONE.to_owned(),
        value: rows(control, zone).await?.into_iter().flatten().flatten().collect(),
        is_changeable: false,
    });
    if let Some(zones) = unless_denied(rows(control, "SELECT COUNT(*) FROM mysql.time_zone_name").await)? {
        let is_empty = zones.first().and_then(|row| row.first()?.as_deref()) == Some("0");
        settings.push(Setting {
            name: "the table mysql.time_zone_name".to_owned(),
            value: if is_empty { "empty" } else { "filled" }.to_owned(),
            is_changeable: false,
        });
    }
    Ok(settings)
}

async fn is_mariadb(control: &ControlPool) -> Result<bool, LegError> {
    let rows = rows(control, "SELECT VERSION()").await?;
    Ok(rows
        .into_iter()
        .flatten()
        .flatten()
        .any(|version| version.contains("MariaDB")))
}

async fn variable(control: &ControlPool, name: &str) -> Result<Option<String>, LegError> {
    let rows = rows(control, &format!("SHOW GLOBAL VARIABLES LIKE '{name}'")).await?;
    Ok(rows.into_iter().next().and_then(|row| row.into_iter().nth(1)?))
}

/// Up to one more than are named.
async fn names(control: &ControlPool, question: &str) -> Result<Vec<String>, LegError> {
    let rows = rows(control, &format!("{question} ORDER BY 1 LIMIT {}", MOST_NAMED + 1)).await?;
    Ok(rows.into_iter().flatten().flatten().collect())
}

fn listed(names: &[String]) -> String {
    let more = if names.len() > MOST_NAMED { " and others" } else { "" };
    format!("{}{more}", names[..names.len().min(MOST_NAMED)].join(", "))
}

async fn rows(control: &ControlPool, question: &str) -> Result<Vec<Row>, LegError> {
    match control.ask(question).await {
        Ok(answer) => Ok(answer.rows),
        Err(AskError::Leg(error)) => Err(error),
        Err(error @ AskError::Refused(_)) => Err(LegError::Unsuitable(format!("{error}, on: {question}"))),
    }
}

/// What an account without rights on a table is not told.
fn unless_denied<T>(answer: Result<T, LegError>) -> Result<Option<T>, LegError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(LegError::Unsuitable(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_set_global_takes_them() {
        assert_eq!(literal("1048576"), "1048576");
        assert_eq!(literal("ON"), "ON");
        assert_eq!(literal(""), "''");
        assert_eq!(literal("REPEATABLE-READ"), "'REPEATABLE-READ'");
        assert_eq!(literal("o'\\"), "'o''\\\\'");
    }

    #[test]
    fn many_names_are_cut() {
        let names: Vec<String> = (0..6).map(|at| format!("t{at}")).collect();
        assert_eq!(listed(&names), "t0, t1, t2, t3, t4 and others");
        assert_eq!(listed(&names[..1]), "t0");
    }
}
