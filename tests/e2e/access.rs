//! Who may log in: Grove refuses in the words of a server whose accounts have hosts, limits and REQUIRE SSL.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use grove_sandbox::default_cache_directory;
use grove_testkit::{Cluster, ClusterOptions, Kind, Sandbox, SandboxOptions, TestDirectory, accounts, options_of};
use mysql_async::{Conn, Error, OptsBuilder};
use rustix::process::Signal;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::stage::{PROXYD, one, run};

/// A server alone, with the limit of one connection an account.
struct Direct {
    // Dropped before its directory.
    sandbox: Sandbox,
    _directory: TestDirectory,
}

impl Direct {
    async fn start(kind: Kind) -> Self {
        let directory = TestDirectory::create().unwrap();
        let mut options = SandboxOptions::new(kind, 1, directory.path());
        options.extra_options.push("--max-user-connections=1".to_owned());
        Self {
            sandbox: Sandbox::start(options).await.unwrap(),
            _directory: directory,
        }
    }

    fn address(&self) -> SocketAddr {
        self.sandbox.servers[0].address()
    }

    async fn run(&self, statements: &[&str]) {
        administrate(self.address(), statements).await;
    }
}

/// Runs statements on a server as its superuser.
async fn administrate(address: SocketAddr, statements: &[&str]) {
    let opts = options_of(address, accounts::SUPERUSER, accounts::SUPERUSER_PASSWORD);
    let mut conn = Conn::new(opts).await.unwrap();
    run(&mut conn, statements).await;
    conn.disconnect().await.unwrap();
}

async fn log_in(address: SocketAddr, user: &str) -> Result<Conn, Error> {
    Conn::new(options_of(address, user, "secret")).await
}

/// Code, SQLSTATE and message of a refusal. A server without name resolution writes this machine's address where Grove writes its name.
async fn refusal(address: SocketAddr, user: &str) -> String {
    match log_in(address, user).await {
        Ok(_) => panic!("{user} was let in"),
        Err(Error::Server(error)) => error.to_string().replace("127.0.0.1", "localhost"),
        Err(other) => panic!("not a server's error: {other}"),
    }
}

async fn accounts_are_refused_as_on_a_server(kind: Kind) {
    let grove_accounts = "  - { name: far, password: secret, allow_from: 192.0.2.0/24 }
  - { name: veiled, password: secret, require_tls: true }
  - { name: single, password: secret, max_connections: 1 }
";
    let options = ClusterOptions::new(kind, 1).configuration(grove_accounts);
    let cluster = Cluster::start_with(options, PROXYD).await.unwrap();
    let direct = Direct::start(kind).await;
    let single = [
        "CREATE USER single@'%' IDENTIFIED BY 'secret'",
        "GRANT ALL ON app.* TO single@'%'",
    ];
    // In one connection: the limit is the superuser's too.
    let restricted = [
        "CREATE USER far@'192.0.2.%' IDENTIFIED BY 'secret'",
        "CREATE USER veiled@'%' IDENTIFIED BY 'secret' REQUIRE SSL",
    ];
    direct.run(&[single, restricted].concat()).await;
    administrate(cluster.servers()[0].address(), &single).await;

    let veiled = refusal(direct.address(), "veiled").await;
    assert!(veiled.contains("1045"), "{veiled}");
    assert_eq!(refusal(cluster.grove_address(), "veiled").await, veiled);
    let far = veiled.replace("veiled", "far");
    assert_eq!(refusal(cluster.grove_address(), "far").await, far);
    // MySQL asks for an account that there is not with a plugin that it draws, and drivers do not know all of them.
    if kind == Kind::MariaDb {
        assert_eq!(refusal(direct.address(), "far").await, far);
    }
    let on_the_server = log_in(direct.address(), "single").await.unwrap();
    let through_grove = log_in(cluster.grove_address(), "single").await.unwrap();
    let expected = refusal(direct.address(), "single").await;
    assert!(expected.contains("1203"), "{expected}");
    assert_eq!(refusal(cluster.grove_address(), "single").await, expected);
    drop((on_the_server, through_grove));
}

#[tokio::test]
async fn accounts_are_refused_as_on_mariadb() {
    accounts_are_refused_as_on_a_server(Kind::MariaDb).await;
}

#[tokio::test]
async fn accounts_are_refused_as_on_mysql() {
    accounts_are_refused_as_on_a_server(Kind::MySql).await;
}

/// Everything that is sent to a client that says nothing, as text.
async fn all_that_is_said(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut said = Vec::new();
    let reading = stream.read_to_end(&mut said);
    let limit = Duration::from_secs(8);
    tokio::time::timeout(limit, reading).await.expect("an end").unwrap();
    said.escape_ascii().to_string()
}

async fn without_an_account_there_is_no_greeting(kind: Kind) {
    let options = ClusterOptions::new(kind, 1).grove_user("allow_from: [192.0.2.0/24, 2001:db8::1]");
    let cluster = Cluster::start_with(options, PROXYD).await.unwrap();
    let direct = Direct::start(kind).await;
    direct
        .run(&[
            "RENAME USER app@'%' TO app@'192.0.2.%'",
            "RENAME USER grove@'%' TO grove@'192.0.2.%'",
            "DROP USER IF EXISTS root@'127.0.0.1'",
            "FLUSH PRIVILEGES",
        ])
        .await;
    let expected = all_that_is_said(direct.address()).await;
    assert!(expected.contains("is not allowed to connect"), "{expected}");
    let heard = all_that_is_said(cluster.grove_address()).await;
    // Names have the same length, so that lengths on the wire are the same too.
    assert_eq!(heard, expected.replace("127.0.0.1", "localhost"));
}

#[tokio::test]
async fn without_an_account_there_is_no_greeting_on_mariadb() {
    without_an_account_there_is_no_greeting(Kind::MariaDb).await;
}

#[tokio::test]
async fn without_an_account_there_is_no_greeting_on_mysql() {
    without_an_account_there_is_no_greeting(Kind::MySql).await;
}

/// A client of this machine, through Grove's socket.
async fn through(socket: &Path, cluster: &Cluster) -> Result<Conn, Error> {
    let socket = Some(socket.display().to_string());
    Conn::new(OptsBuilder::from_opts(cluster.grove_opts()).socket(socket)).await
}

async fn clients_use_the_socket(kind: Kind) {
    let directory = TestDirectory::create().unwrap();
    let socket = directory.path().join("grove.sock");
    let options = ClusterOptions::new(kind, 1)
        .grove_listen(&format!("socket: {}", socket.display()))
        .grove_user("allow_from: localhost");
    let mut cluster = Cluster::start_with(options, PROXYD).await.unwrap();
    let mut client = through(&socket, &cluster).await.unwrap();
    assert_eq!(one(&mut client, "SELECT 40 + 2").await, "42");

    let mut killed = cluster.stop_grove().unwrap();
    killed.signal(Signal::KILL);
    while killed.exit_status().is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(socket.exists(), "a killed process cannot remove its socket");
    cluster.start_grove().await.unwrap();
    let mut client = through(&socket, &cluster).await.unwrap();
    assert_eq!(one(&mut client, "SELECT 40 + 2").await, "42");
    drop(client);

    let status = cluster.stop_grove().unwrap().terminate().await.unwrap();
    assert!(status.success(), "{status}");
    assert!(!socket.exists());
}

#[tokio::test]
async fn clients_use_the_socket_before_mariadb() {
    clients_use_the_socket(Kind::MariaDb).await;
}

#[tokio::test]
async fn clients_use_the_socket_before_mysql() {
    clients_use_the_socket(Kind::MySql).await;
}

/// The hashes of `app secret`: MariaDB's PASSWORD(), and what MySQL 9.7.4 had in mysql.user.
const GROVE_HASHES: &str = r#"  - { name: starred, password_hash: "*C59FB35116D870D298C2A21D24F5D1BEE9934857" }
  - name: salted
    password_hash: "0x24412430304124624B651C50275B51254C484F2C6D5B45320B7D436878656A31434C68495164476A3669752E72684637392E79354D633176384B784E5A454747332F57465137"
"#;

async fn a_driver_brings_the_password_to_a_hash(kind: Kind) {
    let options = ClusterOptions::new(kind, 1).configuration(GROVE_HASHES);
    let cluster = Cluster::start_with(options, PROXYD).await.unwrap();
    for user in ["starred", "salted"] {
        let (create, grant) = (
            format!("CREATE USER {user}@'%' IDENTIFIED BY 'app secret'"),
            format!("GRANT ALL ON app.* TO {user}@'%'"),
        );
        administrate(cluster.servers()[0].address(), &[&create, &grant]).await;
        // Once to be taught, once knowing.
        for _ in 0..2 {
            assert!(refusal(cluster.grove_address(), user).await.contains("1045"));
            let opts = options_of(cluster.grove_address(), user, "app secret");
            let mut conn = Conn::new(opts).await.unwrap();
            let current = one(&mut conn, "SELECT CURRENT_USER()").await;
            assert_eq!(current, format!("{user}@%"));
        }
    }
}

#[tokio::test]
async fn a_driver_brings_the_password_to_a_hash_before_mariadb() {
    a_driver_brings_the_password_to_a_hash(Kind::MariaDb).await;
}

#[tokio::test]
async fn a_driver_brings_the_password_to_a_hash_before_mysql() {
    a_driver_brings_the_password_to_a_hash(Kind::MySql).await;
}

/// MySQL's own command-line client, told to send its password in clear.
async fn command_line(cluster: &Cluster, password: &str) -> String {
    let output = Command::new(default_cache_directory().join("mysql/bin/mysql"))
        .arg("--no-defaults")
        .args(["--enable-cleartext-plugin", "--default-auth=mysql_clear_password"])
        .args(["--ssl-mode=REQUIRED", "-h127.0.0.1", "-uapp"])
        .arg(format!("-P{}", cluster.grove_address().port()))
        .arg(format!("-p{password}"))
        .args(["-N", "-e", "SELECT 40 + 2"])
        .output()
        .await
        .unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[tokio::test]
async fn the_command_line_sends_its_password_in_clear_over_tls() {
    let cluster = Cluster::start(Kind::MySql, 1, PROXYD).await.unwrap();
    let said = command_line(&cluster, accounts::APP_PASSWORD).await;
    assert!(said.starts_with("42\n"), "{said}");
    let said = command_line(&cluster, "wrong").await;
    assert!(
        said.contains("ERROR 1045 (28000): Access denied for user 'app'"),
        "{said}"
    );
}

/// The plugin ed25519: a server's account has it, and so may a client of Grove.
#[tokio::test]
async fn signatures_log_in_on_both_sides() {
    let options = ClusterOptions::new(Kind::MariaDb, 2).configuration("  - { name: signer, password: secret }\n");
    let cluster = Cluster::start_with(options, PROXYD).await.unwrap();
    for server in cluster.servers() {
        let statements = [
            "INSTALL SONAME 'auth_ed25519'",
            "CREATE USER signer IDENTIFIED VIA ed25519 USING PASSWORD('secret')",
            "GRANT ALL ON app.* TO signer",
        ];
        administrate(server.address(), &statements).await;
    }
    let grove = cluster.grove_address();
    let mut conn = log_in(grove, "signer").await.unwrap();
    run(
        &mut conn,
        &["CREATE TABLE signed (id INT)", "INSERT INTO signed VALUES (1)"],
    )
    .await;
    assert_eq!(one(&mut conn, "SELECT CURRENT_USER()").await, "signer@%");
    for (password, wanted) in [("secret", "1"), ("wrong", "")] {
        let client = Command::new("mariadb")
            .args(["--no-defaults", "--default-auth=client_ed25519", "--protocol=tcp"])
            .args(["-h", "127.0.0.1", "-P", &grove.port().to_string(), "-u", "signer"])
            .args([&format!("-p{password}"), "-N", "-e", "SELECT id FROM signed", "app"])
            .output();
        let output = client.await.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), wanted, "{errors}");
        assert_eq!(errors.contains("ERROR 1045"), wanted.is_empty(), "{errors}");
    }
}
