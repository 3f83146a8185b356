//! The options a private server runs with.
//!
//! They are small in memory, so that three servers and a proxy fit on a laptop, and quick rather than durable against
//! a power cut: a commit reaches the operating system, so kill -9 loses nothing that was acknowledged.

use std::ffi::OsString;
use std::path::Path;

use crate::installation::{Installation, Kind};

/// The options that both the initialisation and every start need.
pub(crate) fn basic(installation: &Installation) -> Vec<OsString> {
    let mut options: Vec<OsString> = vec!["--no-defaults".into()];
    if rustix::process::geteuid().is_root() {
        // Both servers refuse to run as root unless told so by name.
        options.push("--user=root".into());
    }
    if let Some(base) = &installation.base {
        options.push(option("--basedir", base));
        options.push(option("--plugin-dir", &base.join("lib/mysql/plugin")));
        options.push(option("--lc-messages-dir", &base.join("share/mysql")));
        options.push(option("--character-sets-dir", &base.join("share/mysql/charsets")));
        // The built-in value names a system folder that does not exist here, and the server would abort.
        options.push("--secure-file-priv=".into());
    }
    options
}

/// The options of a running server, in the order in which they are given (a later one wins).
pub(crate) fn running(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::MariaDb => MARIADB,
        Kind::MySql => MYSQL,
    }
}

/// Writes `name=path` without assuming that the path is UTF-8.
pub(crate) fn option(name: &str, path: &Path) -> OsString {
    let mut text = OsString::from(name);
    text.push("=");
    text.push(path);
    text
}

const MARIADB: &[&str] = &[
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--skip-log-bin",
    "--max-connections=400",
    "--max-allowed-packet=64M",
    "--event-scheduler=OFF",
    "--performance-schema=OFF",
    "--innodb-autoinc-lock-mode=1",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-buffer-pool-size=32M",
    "--innodb-log-file-size=16M",
    "--key-buffer-size=256K",
    "--aria-pagecache-buffer-size=1M",
    // 10.11.19 dies of signal 11 in choose_best_splitting, now and then, under UPDATE .. JOIN (SELECT .. GROUP BY ..).
    "--optimizer-switch=split_materialized=off",
    // The default of 10.11 is latin1; utf8mb4 is what MySQL has and what every driver of today expects.
    "--character-set-server=utf8mb4",
    "--collation-server=utf8mb4_general_ci",
];

const MYSQL: &[&str] = &[
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--skip-log-bin",
    "--mysqlx=OFF",
    "--max-connections=400",
    "--max-allowed-packet=64M",
    // As on MariaDB.
    "--local-infile=ON",
    "--event-scheduler=OFF",
    "--innodb-autoinc-lock-mode=1",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-buffer-pool-size=32M",
    "--innodb-redo-log-capacity=32M",
    // The tables `data_lock_waits` and `metadata_locks` need the performance schema, and the instruments of locks and threads,
    // which are on by default. All other instruments are off, because they cost memory and time.
    "--performance-schema=ON",
    "--performance-schema-instrument=%=OFF",
    "--performance-schema-instrument=wait/lock/metadata/sql/mdl=ON",
    "--performance-schema-instrument=thread/sql/one_connection=ON",
    "--performance-schema-consumer-thread-instrumentation=OFF",
    "--performance-schema-consumer-statements-digest=OFF",
    "--performance-schema-digests-size=0",
    "--performance-schema-error-size=0",
    "--performance-schema-max-digest-length=0",
    "--performance-schema-events-statements-history-long-size=0",
    "--performance-schema-events-statements-history-size=0",
    "--performance-schema-events-stages-history-long-size=0",
    "--performance-schema-events-transactions-history-long-size=0",
    "--performance-schema-events-waits-history-long-size=0",
];
