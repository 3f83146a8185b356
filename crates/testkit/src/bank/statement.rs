//! One statement of a bank's client, and how it may end.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError, Error, Params, Value};

/// The transaction was a deadlock's victim, or waited too long for a lock: the client does the same again.
const TRY_AGAIN: [u16; 2] = [1213, 1205];
/// Grove shuts down: it closes the connection.
const SHUTDOWN: u16 = 1053;

/// In which protocol a statement goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Text,
    Prepared,
}

/// How a statement, or a whole transaction, did not end well.
#[derive(Debug)]
pub(super) enum Trouble {
    /// 1213 or 1205.
    TryAgain,
    /// The connection is gone.
    Lost(String),
    /// No single server would have answered this.
    Wrong(String),
}

impl Trouble {
    pub(super) fn of(sql: &str, error: Error) -> Self {
        match error {
            Error::Server(server) if TRY_AGAIN.contains(&server.code) => Self::TryAgain,
            Error::Server(server) if server.code == SHUTDOWN => Self::Lost(format!("{sql}: {server}")),
            Error::Io(error) => Self::Lost(format!("{sql}: {error}")),
            Error::Driver(error @ (DriverError::ConnectionClosed | DriverError::PoolDisconnected)) => {
                Self::Lost(format!("{sql}: {error}"))
            }
            error => Self::Wrong(format!("{sql}: {error}")),
        }
    }
}

/// Runs a statement that changes exactly this many rows; its values stand as question marks in the text.
pub(super) async fn change(
    conn: &mut Conn,
    protocol: Protocol,
    sql: &str,
    values: &[i64],
    rows: u64,
) -> Result<(), Trouble> {
    let result = match protocol {
        Protocol::Text => conn.query_drop(filled_in(sql, values)).await,
        Protocol::Prepared => {
            let values = values.iter().map(|value| Value::Int(*value)).collect();
            conn.exec_drop(sql, Params::Positional(values)).await
        }
    };
    result.map_err(|error| Trouble::of(sql, error))?;
    match conn.affected_rows() {
        affected if affected == rows => Ok(()),
        affected => Err(Trouble::Wrong(format!(
            "{}: {affected} rows instead of {rows}",
            filled_in(sql, values)
        ))),
    }
}

fn filled_in(sql: &str, values: &[i64]) -> String {
    let mut parts = sql.split('?');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for (part, value) in parts.zip(values) {
        text.push_str(&format!("{value}{part}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::filled_in;

    #[test]
    fn values_take_the_place_of_question_marks() {
        assert_eq!(filled_in("f(?, ?) + ?", &[1, -2, 3]), "f(1, -2) + 3");
        assert_eq!(filled_in("COMMIT", &[]), "COMMIT");
    }
}
