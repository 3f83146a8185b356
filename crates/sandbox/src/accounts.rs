//! The accounts every private server has.
//!
//! They are created while the template is initialised, so a fresh server needs no set-up statements. Their host is
//! `%`: the servers listen on loopback only, and with `skip-name-resolve` the same accounts then work over the socket.

use crate::Kind;

/// The user for operators and probes; it has every right.
pub const SUPERUSER: &str = "grove";
/// The password of [`SUPERUSER`].
pub const SUPERUSER_PASSWORD: &str = "grove-superuser";
/// The user of applications. It has all rights with GRANT OPTION on everything, so that an application can be tried
/// with statements that need more than its own database, such as SET GLOBAL.
pub const APP_USER: &str = "app";
/// The password of [`APP_USER`].
pub const APP_PASSWORD: &str = "app";
/// The database that exists from the start.
pub const APP_DATABASE: &str = "app";

/// The statements that create the accounts and the database, one per line, as the servers' bootstrap modes want them.
pub(crate) fn statements(kind: Kind) -> String {
    // MySQL 9 has only `caching_sha2_password` for servers; MariaDB 10.11 has no `caching_sha2_password`.
    let plugin = match kind {
        Kind::MySql => "IDENTIFIED WITH caching_sha2_password BY",
        Kind::MariaDb => "IDENTIFIED BY",
    };
    let mut sql = String::new();
    if kind == Kind::MariaDb {
        // The bootstrap mode runs without grant tables; account statements work after they are loaded.
        sql.push_str("FLUSH PRIVILEGES;\n");
    }
    for (user, password) in [(SUPERUSER, SUPERUSER_PASSWORD), (APP_USER, APP_PASSWORD)] {
        sql.push_str(&format!("CREATE USER '{user}'@'%' {plugin} '{password}';\n"));
        sql.push_str(&format!(
            "GRANT ALL PRIVILEGES ON *.* TO '{user}'@'%' WITH GRANT OPTION;\n"
        ));
    }
    sql.push_str(&format!("CREATE DATABASE {APP_DATABASE} CHARACTER SET utf8mb4;\n"));
    sql
}
