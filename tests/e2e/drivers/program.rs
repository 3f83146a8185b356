//! The programs in `tests/drivers`: how each is started, and its output as notes.
//!
//! A program gets a host and a port, and writes a transcript that is the same against every correct server. It opens with what it needs and
//! ends with `done`. Interpreters come from the distribution; what else a program needs is where `scripts/install-drivers.sh` put it.

use std::path::PathBuf;
use std::time::Duration;

use grove_testkit::Kind;
use tokio::process::Command;

use crate::stage::{Notes, Place};

/// What the programs are asked for besides their everyday work. `"later"` are the steps with the protocol's rarer commands: files, cursors,
/// statistics, options and kills.
const WISHES: &[&str] = &["later"];

/// What a program is asked for that is to compress its connections.
const COMPRESSED: &[&str] = &["later", "compressed"];

/// A program over one driver.
#[derive(Clone, Copy, Debug)]
pub enum Program {
    Asyncmy,
    CommandLine,
    ConnectorJ,
    ConnectorPython,
    DbdMysql,
    GoSqlDriver,
    MariaDbNode,
    Mysql2Node,
    Mysql2Ruby,
    Mysqlclient,
    Mysqli,
    Pdo,
    PyMySql,
}

impl Program {
    pub const ALL: &[Self] = &[
        Self::Asyncmy,
        Self::CommandLine,
        Self::ConnectorJ,
        Self::ConnectorPython,
        Self::DbdMysql,
        Self::GoSqlDriver,
        Self::MariaDbNode,
        Self::Mysql2Node,
        Self::Mysql2Ruby,
        Self::Mysqlclient,
        Self::Mysqli,
        Self::Pdo,
        Self::PyMySql,
    ];

    /// Those whose drivers can compress, with zlib, and say so in their transcripts. That of Go cannot in the distribution's version.
    pub const COMPRESSING: &[Self] = &[
        Self::CommandLine,
        Self::ConnectorJ,
        Self::ConnectorPython,
        Self::DbdMysql,
        Self::MariaDbNode,
        Self::Mysql2Node,
        Self::Mysqlclient,
    ];

    /// Runs the program to its end and takes its output as notes.
    pub async fn transcript(self, place: Place) -> Notes {
        self.transcript_with(WISHES, place).await
    }

    /// The same over compressed connections.
    pub async fn compressed_transcript(self, place: Place) -> Notes {
        self.transcript_with(COMPRESSED, place).await
    }

    async fn transcript_with(self, wishes: &[&str], place: Place) -> Notes {
        let mut command = self.command();
        command
            .arg(place.address.ip().to_string())
            .arg(place.address.port().to_string());
        // MariaDB has no TLS without certificates of its own; Grove always has.
        if place.kind == Kind::MySql {
            command.arg("tls");
        }
        command.args(wishes);
        let running = command.kill_on_drop(true).output();
        let output = tokio::time::timeout(Duration::from_secs(120), running).await;
        let output = output.unwrap_or_else(|_| panic!("{self:?} does not end")).unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{self:?} against {place:?}: {}\n{text}\n{errors}",
            output.status
        );
        assert!(
            text.contains("done"),
            "{self:?} did not come to its end:\n{text}\n{errors}"
        );
        let mut notes = Notes::default();
        text.lines().for_each(|line| notes.line(line));
        notes
    }

    fn command(self) -> Command {
        match self {
            Self::Asyncmy => python("asynchronous.py"),
            Self::CommandLine => interpreter("sh", "everyday.sh"),
            Self::ConnectorJ => {
                let mut command = Command::new("java");
                // A program of a second or two is quicker without the optimising compiler.
                command.args(["-XX:TieredStopAtLevel=1", "-Xmx512m"]);
                command.args(["-cp", "/usr/share/java/mariadb-java-client.jar"]);
                command.arg(source("Everyday.java"));
                command
            }
            Self::ConnectorPython => python("connector.py"),
            Self::DbdMysql => interpreter("perl", "everyday.pl"),
            Self::GoSqlDriver => {
                let mut command = Command::new("go");
                // Debian's packages of Go libraries are sources below a GOPATH.
                command.env("GOPATH", "/usr/share/gocode").env("GO111MODULE", "off");
                command.arg("run").arg(source("everyday.go"));
                command
            }
            Self::MariaDbNode => node("mariadb.js"),
            Self::Mysql2Node => node("everyday.js"),
            Self::Mysql2Ruby => interpreter("ruby", "everyday.rb"),
            Self::Mysqlclient => python("mysqlclient.py"),
            Self::Mysqli => {
                let mut command = Command::new("php");
                // The driver lets a program read files for LOAD DATA LOCAL only when the interpreter was told so.
                command.args(["-d", "mysqli.allow_local_infile=1"]);
                command.arg(source("mysqli.php"));
                command
            }
            Self::Pdo => interpreter("php", "pdo.php"),
            Self::PyMySql => python("everyday.py"),
        }
    }
}

fn interpreter(name: &str, program: &str) -> Command {
    let mut command = Command::new(name);
    command.arg(source(program));
    command
}

fn python(program: &str) -> Command {
    let mut command = Command::new(installed("python/bin/python"));
    command.arg(source(program));
    command
}

fn node(program: &str) -> Command {
    let mut command = interpreter("node", program);
    command.env("NODE_PATH", installed("node/node_modules"));
    command
}

/// A program's source.
fn source(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/drivers")
        .join(name)
}

/// Something that `scripts/install-drivers.sh` installed.
fn installed(path: &str) -> PathBuf {
    let cache = match std::env::var_os("GROVE_CACHE").filter(|value| !value.is_empty()) {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/grove"),
    };
    let path = cache.join("drivers").join(path);
    assert!(
        path.exists(),
        "{} is missing: run scripts/install-drivers.sh",
        path.display()
    );
    path
}
