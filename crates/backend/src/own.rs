//! What Grove does on a server in its own name so that the server can come back: ending the connections of the time before, and permitting accounts to
//! write position rows.

use crate::control::{AskError, ControlPool};
use grove_engine::io::LegError;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// ER_NO_SUCH_THREAD
const NO_SUCH_THREAD: u16 = 1094;
/// Between two looks whether a killed connection has ended.
const PAUSE: Duration = Duration::from_millis(10);
/// A statement that rolls back much takes long to end.
const LONGEST_EXPULSION: Duration = Duration::from_secs(30);

/// Ends every connection of these accounts, and waits until there is none.
pub(crate) async fn expel(control: &ControlPool, accounts: &[String]) -> Result<(), LegError> {
    if accounts.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = accounts.iter().map(|name| literal(name)).collect();
    let question = format!(
        "SELECT ID FROM information_schema.PROCESSLIST WHERE USER IN ({}) AND ID<>CONNECTION_ID()",
        names.join(",")
    );
    let deadline = Instant::now() + LONGEST_EXPULSION;
    loop {
        let answer = control.ask(&question).await.map_err(|error| refused(control, error))?;
        let ids: Vec<String> = answer.rows.into_iter().flatten().flatten().collect();
        if ids.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(LegError::Timeout(LONGEST_EXPULSION));
        }
        for id in ids {
            match control.ask(&format!("KILL CONNECTION {id}")).await {
                Ok(_) => {}
                Err(AskError::Refused(err)) if err.code == NO_SUCH_THREAD => {}
                Err(error) => return Err(refused(control, error)),
            }
        }
        sleep(PAUSE).await;
    }
}

/// Grove's account grants itself what it must be able to grant others.
pub(crate) async fn may_permit_marks(control: &ControlPool) -> Result<(), LegError> {
    let answer = control.ask("SELECT CURRENT_USER()").await;
    let rows = answer.map_err(|error| refused(control, error))?.rows;
    let account = rows.into_iter().flatten().flatten().next().unwrap_or_default();
    permit_marks(control, account.as_bytes()).await
}

/// Permits `user@host` to write position rows.
pub(crate) async fn permit_marks(control: &ControlPool, account: &[u8]) -> Result<(), LegError> {
    let account = String::from_utf8_lossy(account).into_owned();
    let (user, host) = account.rsplit_once('@').unwrap_or((&account, "%"));
    let account = format!("`{}`@`{}`", user.replace('`', "``"), host.replace('`', "``"));
    tracing::debug!(
        backend = control.name(),
        account,
        "the account is permitted to write position rows"
    );
    for permission in ["INSERT ON `_grove`.`applied`", "SELECT ON `_grove`.`fence`"] {
        let grant = format!("GRANT {permission} TO {account}");
        control.ask(&grant).await.map_err(|error| match error {
            AskError::Refused(err) => LegError::Protocol(format!(
                "{}: Grove's account may not {grant}: {}; run it as an administrator, or give Grove's account the privilege with GRANT OPTION",
                control.name(),
                String::from_utf8_lossy(&err.message)
            )),
            AskError::Leg(error) => error,
        })?;
    }
    Ok(())
}

fn refused(control: &ControlPool, error: AskError) -> LegError {
    match error {
        AskError::Leg(error) => error,
        error @ AskError::Refused(_) => LegError::Protocol(format!("{}: {error}", control.name())),
    }
}

/// A text that means the same whatever the server's sql_mode is.
fn literal(text: &str) -> String {
    let digits: String = text.bytes().map(|byte| format!("{byte:02X}")).collect();
    format!("x'{digits}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_literals_in_every_mode() {
        assert_eq!(literal("o'neil\\"), "x'6F276E65696C5C'");
    }
}
