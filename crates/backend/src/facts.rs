//! The probe: does the server answer, and what kind of server is it?
//!
//! The variables are read anew by every probe, because an operator may change them; the greeting is that of the control connection, which
//! does not outlive the server's process.

use crate::control::{AskError, ControlPool, Row};
use grove_engine::io::{LegError, ServerFacts};
use grove_wire::handshake::Greeting;
use std::sync::atomic::{AtomicBool, Ordering};

/// ER_UNKNOWN_SYSTEM_VARIABLE
const UNKNOWN_VARIABLE: u16 = 1193;

pub(crate) struct Probe {
    control: ControlPool,
    /// Servers from MySQL 5.7.20 and MariaDB 11.1.1 on call it `transaction_isolation`; MySQL 8 no longer knows `tx_isolation`.
    has_old_isolation: AtomicBool,
}

impl Probe {
    pub fn new(control: ControlPool) -> Self {
        Self {
            control,
            has_old_isolation: AtomicBool::new(false),
        }
    }

    /// Asks the server. Bounded in time.
    pub async fn ask(&self) -> Result<ServerFacts, LegError> {
        let old = self.has_old_isolation.load(Ordering::Relaxed);
        let mut answer = self.control.ask(question(old)).await;
        if matches!(&answer, Err(AskError::Refused(err)) if err.code == UNKNOWN_VARIABLE) {
            // Also after an upgrade of the server in place.
            self.has_old_isolation.store(!old, Ordering::Relaxed);
            answer = self.control.ask(question(!old)).await;
        }
        let named = |what: &str| LegError::Protocol(format!("{}: the probe's question: {what}", self.control.name()));
        match answer {
            Ok(answer) => facts(&answer.greeting, &answer.rows).ok_or_else(|| named("no usable answer")),
            Err(AskError::Leg(error)) => Err(error),
            Err(AskError::Refused(err)) => Err(named(&AskError::Refused(err).to_string())),
        }
    }
}

fn question(old_isolation: bool) -> &'static str {
    if old_isolation {
        "SELECT @@global.innodb_autoinc_lock_mode, @@global.sql_mode, @@global.tx_isolation, @@global.innodb_lock_wait_timeout, @@global.max_connections"
    } else {
        "SELECT @@global.innodb_autoinc_lock_mode, @@global.sql_mode, @@global.transaction_isolation, @@global.innodb_lock_wait_timeout, @@global.max_connections"
    }
}

fn facts(greeting: &Greeting, rows: &[Row]) -> Option<ServerFacts> {
    let [row] = rows else { return None };
    let [
        Some(autoinc),
        Some(sql_mode),
        Some(isolation),
        Some(lock_wait),
        Some(max_connections),
    ] = row.as_slice()
    else {
        return None;
    };
    Some(ServerFacts {
        version: String::from_utf8_lossy(&greeting.version).into_owned(),
        capabilities: greeting.capabilities,
        collation: greeting.collation,
        auth_plugin: String::from_utf8_lossy(&greeting.auth_plugin).into_owned(),
        autoinc_lock_mode: autoinc.parse().ok()?,
        sql_mode: sql_mode.clone(),
        isolation: isolation.clone(),
        // Up to 2^30 in MySQL; "no limit" must not fail the probe of a healthy server.
        lock_wait_timeout_s: lock_wait.parse().unwrap_or(u32::MAX),
        max_connections: max_connections.parse().ok()?,
    })
}
