//! What a connection is doing on its server, by the server's own process list.

use crate::control::{AskError, ControlPool, Row};
use grove_engine::io::{LegError, Phase};

/// Thread states before a statement's tables are open and their triggers read (MariaDB: "General Thread States"; MySQL manual 10.14.3).
/// `init` comes before and after; here it counts as before.
const OPENING: [&str; 8] = [
    "",
    "starting",
    "checking permissions",
    "checking query cache for query",
    "init",
    "opening table",
    "opening tables",
    "creating table",
];

/// What connection `thread_id` is doing. Bounded in time.
pub(crate) async fn of(control: &ControlPool, thread_id: u32) -> Result<Phase, LegError> {
    let question = format!("SELECT COMMAND, STATE FROM information_schema.PROCESSLIST WHERE ID = {thread_id}");
    match control.ask(&question).await {
        Ok(answer) => Ok(phase(&answer.rows)),
        Err(AskError::Leg(error)) => Err(error),
        Err(error @ AskError::Refused(_)) => Err(LegError::Protocol(format!(
            "{}: what a connection does: {error}",
            control.name()
        ))),
    }
}

fn phase(rows: &[Row]) -> Phase {
    let Some([command, state]) = rows.first().map(Vec::as_slice) else {
        return Phase::Idle;
    };
    if command.as_deref() == Some("Sleep") {
        return Phase::Idle;
    }
    let state = state.as_deref().unwrap_or_default();
    match OPENING.iter().any(|opening| state.eq_ignore_ascii_case(opening)) {
        true => Phase::Opening,
        false => Phase::Working,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_works_once_its_tables_are_open() {
        let row = |command: &str, state: Option<&str>| vec![vec![Some(command.to_owned()), state.map(str::to_owned)]];
        assert_eq!(phase(&[]), Phase::Idle);
        assert_eq!(phase(&row("Sleep", Some(""))), Phase::Idle);
        for opening in [None, Some(""), Some("Opening tables"), Some("starting"), Some("Init")] {
            assert_eq!(phase(&row("Query", opening)), Phase::Opening, "{opening:?}");
        }
        for working in [
            "Updating",
            "Waiting for table metadata lock",
            "Sending data",
            "User sleep",
        ] {
            assert_eq!(phase(&row("Execute", Some(working))), Phase::Working, "{working}");
        }
    }
}
