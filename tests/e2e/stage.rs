//! Where a test's body plays: a single server, or Grove in front of three.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::Duration;

use grove_testkit::equality::assert_servers_equal;
use grove_testkit::raw_client::Login;
use grove_testkit::{
    Cluster, ClusterOptions, Kind, RawClient, Sandbox, SandboxOptions, TestDirectory, accounts, options_of,
};
use grove_wire::CapabilityFlags;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Opts, Row, Value};

/// The server binary under test.
pub const PROXYD: &str = env!("CARGO_BIN_EXE_proxyd");

/// Something that speaks MySQL's protocol, with the accounts of the sandbox.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub address: SocketAddr,
    pub kind: Kind,
}

impl Place {
    pub fn of(cluster: &Cluster) -> Self {
        Self {
            address: cluster.grove_address(),
            kind: cluster.kind(),
        }
    }

    pub fn opts(&self) -> Opts {
        options_of(self.address, accounts::APP_USER, accounts::APP_PASSWORD)
    }

    pub async fn client(&self) -> Conn {
        Conn::new(self.opts()).await.unwrap()
    }

    pub async fn raw(&self, capabilities: CapabilityFlags) -> RawClient {
        // A server with caching_sha2_password lets a client without RSA in once it has seen the account's password.
        self.client().await.disconnect().await.unwrap();
        RawClient::login(self.address, &Login::app().with(capabilities))
            .await
            .unwrap()
    }
}

/// One server, and Grove in front of three of the same kind.
pub struct Stage {
    kind: Kind,
    // Dropped before its directory.
    single: Sandbox,
    _directory: TestDirectory,
    cluster: Cluster,
}

impl Stage {
    pub async fn open(kind: Kind) -> Self {
        Self::open_with(ClusterOptions::new(kind, 3)).await
    }

    /// The same with other options of the cluster.
    pub async fn open_with(options: ClusterOptions) -> Self {
        let kind = options.kind;
        // The cluster first: it waits for its turn.
        let cluster = Cluster::start_with(options, PROXYD).await.unwrap();
        let directory = TestDirectory::create().unwrap();
        let single = Sandbox::start(SandboxOptions::new(kind, 1, directory.path()))
            .await
            .unwrap();
        Self {
            kind,
            single,
            _directory: directory,
            cluster,
        }
    }

    /// The ends of all logs.
    pub fn log_tails(&self, lines: usize) -> String {
        self.cluster.log_tails(lines)
    }

    /// Runs the body against the single server and through Grove, each with an empty schema, and compares what the two runs noted.
    pub async fn same_as_direct(&self, body: impl AsyncFn(Place) -> Notes) {
        let address = self.single.servers[0].address();
        let play = async |address| {
            let place = Place {
                address,
                kind: self.kind,
            };
            let fresh = ["DROP DATABASE app", "CREATE DATABASE app CHARACTER SET utf8mb4"];
            run(&mut place.client().await, &fresh).await;
            in_time(body(place)).await
        };
        let (direct, through) = tokio::join!(play(address), play(self.cluster.grove_address()));
        direct.expect_same(&through);
        // Nothing that a client did may cost a server its place, or make it differ.
        assert_all_online(&self.cluster).await;
        assert_servers_equal(&self.cluster).await;
    }
}

/// Ends a body that hangs, so that the logs are shown.
async fn in_time<T>(body: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(120);
    tokio::time::timeout(limit, body)
        .await
        .unwrap_or_else(|_| panic!("not finished after {limit:?}"))
}

/// Every server is still in the group.
pub async fn assert_all_online(cluster: &Cluster) {
    let members = cluster.members().await.unwrap();
    assert!(members.iter().all(|member| member.is_online()), "{members:?}");
}

/// What a body saw, line by line.
#[derive(Debug, Default)]
pub struct Notes {
    lines: Vec<String>,
}

impl Notes {
    pub fn note(&mut self, title: &str, seen: impl Debug) {
        self.lines.push(format!("{title}: {seen:?}"));
    }

    pub fn line(&mut self, line: &str) {
        self.lines.push(line.to_owned());
    }

    pub fn contains(&self, text: &str) -> bool {
        self.lines.iter().any(|line| line.contains(text))
    }

    pub fn packets(&mut self, title: &str, packets: &[impl AsRef<[u8]>]) {
        self.lines.push(title.to_owned());
        for packet in packets {
            self.lines.push(format!("    {}", packet.as_ref().escape_ascii()));
        }
    }

    /// Runs a query and notes its answer, whatever it is.
    pub async fn query(&mut self, conn: &mut Conn, sql: &str) {
        let answer = answer(conn, sql).await;
        self.note(sql, answer);
    }

    fn expect_same(&self, through: &Self) {
        for (index, line) in self.lines.iter().enumerate() {
            let theirs = through.lines.get(index);
            let before = self.lines[index.saturating_sub(90)..index].join("\n");
            assert!(
                theirs == Some(line),
                "after\n{before}\na server says\n  {line}\nand Grove says\n  {}",
                theirs.map_or("nothing", String::as_str)
            );
        }
        assert_eq!(self.lines.len(), through.lines.len(), "{:?}", through.lines.last());
    }
}

/// Rows of the first result as text, or affected rows and insert id, or the error.
pub async fn answer(conn: &mut Conn, sql: &str) -> String {
    match conn.query::<Row, _>(sql).await {
        Ok(rows) if rows.is_empty() => {
            format!(
                "{} affected, insert id {:?}, {}",
                conn.affected_rows(),
                conn.last_insert_id(),
                conn.info()
            )
        }
        Ok(rows) => rows.iter().map(row_text).collect::<Vec<_>>().join(" "),
        Err(error) => error.to_string(),
    }
}

pub fn row_text(row: &Row) -> String {
    let values: Vec<String> = (0..row.len())
        .map(|index| row.as_ref(index).map_or("-".to_owned(), |value| value.as_sql(true)))
        .collect();
    format!("({})", values.join(", "))
}

/// Runs statements that must succeed.
pub async fn run(conn: &mut Conn, statements: &[&str]) {
    for sql in statements {
        conn.query_drop(*sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

/// The one value that a query answers, as text.
pub async fn one(conn: &mut Conn, sql: &str) -> String {
    let value: Option<Value> = conn
        .query_first(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    match value {
        None => "nothing".to_owned(),
        Some(Value::Bytes(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        Some(value) => value.as_sql(true),
    }
}

/// The code of a server's error.
pub fn code(error: &Error) -> u16 {
    match error {
        Error::Server(server) => server.code,
        other => panic!("not a server's error: {other}"),
    }
}

/// The code of the error that a statement must end with.
pub async fn failing(conn: &mut Conn, sql: &str) -> u16 {
    match conn.query_drop(sql).await {
        Ok(()) => panic!("{sql} succeeded"),
        Err(error) => code(&error),
    }
}
