//! The real binary against the real API, with servers that only say what the test wants.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use grove_control::{Control, Members};
use grove_engine::{Command, Comparison, ComparisonOutcome, MemberState, MemberStatus, Refusal};
use grove_telemetry::Metrics;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command as Process};
use tokio_util::sync::CancellationToken;

/// How long a program may take that ends by itself.
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Fixed {
    statuses: Vec<MemberStatus>,
    commands: Vec<(String, Command)>,
    /// What db2 becomes after a command, one item each time that it is asked for.
    next: VecDeque<(MemberState, &'static str)>,
    /// What a comparison will come to.
    comparison: Option<Comparison>,
    compared: Option<Comparison>,
}

#[derive(Default)]
struct Shared(Mutex<Fixed>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Fixed> {
        self.0.lock().unwrap()
    }
}

impl Members for Shared {
    fn statuses(&self) -> Vec<MemberStatus> {
        let mut fixed = self.lock();
        if !fixed.commands.is_empty()
            && let Some((state, reason)) = fixed.next.pop_front()
        {
            fixed.statuses[1].state = state;
            fixed.statuses[1].reason = reason.to_owned();
        }
        fixed.statuses.clone()
    }

    fn command(&self, server: &str, command: Command) -> Result<String, Refusal> {
        self.lock().commands.push((server.to_owned(), command));
        match server {
            "db1" => Err(Refusal::NotNow("db1 is the last online server".to_owned())),
            "db2" => Ok("db2 does as it is told".to_owned()),
            // The server had a name when proxyctl looked, and has none any more.
            _ => Err(Refusal::UnknownServer(format!("no server is named {server}"))),
        }
    }

    fn begin_comparison(&self) -> Result<String, Refusal> {
        let next = self.lock().comparison.take();
        match next {
            Some(comparison) => {
                self.lock().compared = Some(comparison);
                Ok("db2 is compared with db1".to_owned())
            }
            None => Err(Refusal::NotNow("db1 is the only server that is online".to_owned())),
        }
    }

    fn comparison(&self) -> Option<Comparison> {
        self.lock().compared.clone()
    }

    fn all_is_kept(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {})
    }
}

fn member(name: &str, state: MemberState, reason: &str) -> MemberStatus {
    MemberStatus {
        name: name.to_owned(),
        address: "10.0.0.1:3306".to_owned(),
        state,
        since_unix_micros: 4_000_000_000_000_000,
        reason: reason.to_owned(),
        is_lead: name == "db1",
        position: Some(70),
        lag_entries: Some(0),
        lag: Some(Duration::ZERO),
        eta: None,
        sessions: 2,
    }
}

/// A Grove with db1 online and db2 as given.
struct Grove {
    admin: SocketAddr,
    members: Arc<Shared>,
    _stop: tokio_util::sync::DropGuard,
}

impl Grove {
    async fn start(state: MemberState, reason: &str) -> Self {
        let members = Arc::new(Shared::default());
        members.lock().statuses = vec![
            member("db1", MemberState::Online, "answered at start"),
            member("db2", state, reason),
            member("db 3", MemberState::Joining, ""),
        ];
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let control = Control::bind(any, Arc::clone(&members) as _, Arc::new(Metrics::default()));
        let control = control.await.unwrap();
        let (admin, stop) = (control.local_addr(), CancellationToken::new());
        tokio::spawn(control.serve(stop.clone()));
        let _stop = stop.drop_guard();
        Self { admin, members, _stop }
    }

    fn becomes<const N: usize>(&self, states: [(MemberState, &'static str); N]) {
        self.members.lock().next = states.into();
    }

    fn commands(&self) -> Vec<(String, Command)> {
        self.members.lock().commands.clone()
    }

    async fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        run(&self.admin.to_string(), arguments).await
    }
}

/// The program, which has the address from its environment, and no terminal.
fn program(admin: &str, arguments: &[&str]) -> Process {
    let mut program = Process::new(env!("CARGO_BIN_EXE_proxyctl"));
    program.args(arguments).env("PROXYCTL_ADMIN", admin).kill_on_drop(true);
    program.stdin(Stdio::null());
    program
}

/// The exit code, and what was written to standard output and standard error.
async fn run(admin: &str, arguments: &[&str]) -> (i32, String, String) {
    let ended = tokio::time::timeout(LIMIT, program(admin, arguments).output()).await;
    let Output { status, stdout, stderr } = ended.expect("proxyctl does not end").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn watched(admin: &str, arguments: &[&str]) -> (Child, BufReader<tokio::process::ChildStdout>) {
    let mut child = program(admin, arguments).stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

async fn line(output: &mut (impl tokio::io::AsyncBufRead + Unpin)) -> String {
    let mut line = String::new();
    let read = tokio::time::timeout(LIMIT, output.read_line(&mut line)).await;
    read.expect("no line").unwrap();
    line
}

const TABLE: &str = "\
NAME  STATE    ROLE  SINCE  POSITION  LAG  ETA  SESSIONS  REASON
db1   online   lead     0s        70    0    -         2  answered at start
db2   failed   -        0s        70    0    -         2  does not answer
db 3  joining  -        0s        70    0    -         2
";

#[tokio::test]
async fn backends_are_a_table_or_groves_json() {
    let grove = Grove::start(MemberState::Failed, "does not answer").await;
    assert_eq!(
        grove.run(&["backend", "list"]).await,
        (0, TABLE.to_owned(), String::new())
    );

    let (code, json, _) = grove.run(&["backend", "list", "-o", "json"]).await;
    let servers: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &servers[1]["state"]), (0, &"failed".into()));
    assert_eq!(json.lines().count(), 1);

    let admin = format!("http://{}/", grove.admin);
    let (code, table, _) = run("127.0.0.1:1", &["--admin", &admin, "backend", "list"]).await;
    assert_eq!(
        (code, table.as_str()),
        (0, TABLE),
        "the option goes before PROXYCTL_ADMIN"
    );
}

#[tokio::test]
async fn one_backend_is_shown_with_all_its_fields() {
    let grove = Grove::start(MemberState::Failed, "does not answer").await;
    let expected = "\
NAME      db2
ADDRESS   10.0.0.1:3306
STATE     failed
ROLE      -
SINCE     2096-10-02T07:06:40.000Z (0s ago)
POSITION  70
LAG       0
ETA       -
SESSIONS  2
REASON    does not answer
";
    let shown = grove.run(&["backend", "show", "db2"]).await;
    assert_eq!(shown, (0, expected.to_owned(), String::new()));

    let (_, list, _) = grove.run(&["backend", "list", "-o", "json"]).await;
    let (code, json, _) = grove.run(&["backend", "show", "db2", "-o", "json"]).await;
    assert_eq!((code, json.lines().count()), (0, 1));
    assert!(
        json.starts_with(r#"{"name":"db2","address":"10.0.0.1:3306","state":"failed""#),
        "{json}"
    );
    assert!(list.contains(json.trim_end()), "{json} is not as in {list}");
}

#[tokio::test]
async fn status_is_well_while_every_backend_is_online_or_disabled() {
    let grove = Grove::start(MemberState::Failed, "does not answer").await;
    let told = |code: i32, text: &str| (code, text.to_owned(), String::new());
    let wrong = "not ok: 1 of 3 backends online\ndb2 failed: does not answer\ndb 3 joining\n";
    assert_eq!(grove.run(&["status"]).await, told(1, wrong));

    grove.members.lock().statuses[1].state = MemberState::Online;
    grove.members.lock().statuses[2].state = MemberState::Disabled;
    let disabled = told(0, "ok: 2 of 3 backends online, 1 disabled\n");
    assert_eq!(grove.run(&["status"]).await, disabled);
    grove.members.lock().statuses[2].state = MemberState::Online;
    assert_eq!(grove.run(&["status"]).await, told(0, "ok: 3 of 3 backends online\n"));

    for status in &mut grove.members.lock().statuses {
        status.state = MemberState::Disabled;
    }
    let (code, output, _) = grove.run(&["status"]).await;
    let beginning = "not ok: 0 of 3 backends online, 3 disabled\nGrove says: no server is online\n";
    assert!(code == 1 && output.starts_with(beginning), "{code} {output}");
    assert_eq!(run("127.0.0.1:1", &["status"]).await.0, 8);
}

#[tokio::test]
async fn watching_without_a_terminal_prints_what_changed() {
    let grove = Grove::start(MemberState::Failed, "does not answer").await;
    let (mut child, mut output) = watched(&grove.admin.to_string(), &["backend", "list", "--watch"]);
    for expected in TABLE.lines() {
        assert_eq!(line(&mut output).await.trim_end(), expected);
    }
    // Long enough for a table that should not be there.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    grove.members.lock().statuses[1].state = MemberState::Online;
    assert_eq!(line(&mut output).await, "\n");
    for _ in 0..2 {
        line(&mut output).await;
    }
    assert!(line(&mut output).await.starts_with("db2   online "));
    child.kill().await.unwrap();
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_it_without_a_panic() {
    let grove = Grove::start(MemberState::Failed, "does not answer").await;
    let mut program = program(&grove.admin.to_string(), &["backend", "list", "--watch", "-o", "json"]);
    let mut child = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    line(&mut output).await;
    drop(output);
    grove.members.lock().statuses[1].state = MemberState::Online;
    let ended = tokio::time::timeout(LIMIT, child.wait()).await.unwrap().unwrap();
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).await.unwrap();
    assert_eq!((ended.code(), errors.as_str()), (Some(1), ""));
}

#[tokio::test]
async fn commands_are_sent_with_their_options() {
    let grove = Grove::start(MemberState::Online, "").await;
    let told = (0, "db2 does as it is told\n".to_owned(), String::new());
    for arguments in [
        &["backend", "disable", "db2", "--reason", "new \"disk\""][..],
        &["backend", "disable", "db2"],
        &["backend", "enable", "db2"],
        &["backend", "rebuild", "db2", "--yes", "--from", "db1"],
        &["backend", "rebuild", "--yes", "db2"],
    ] {
        assert_eq!(grove.run(arguments).await, told, "{arguments:?}");
    }
    let reason = |reason: &str| Command::Disable {
        reason: reason.to_owned(),
    };
    let donor = |donor: Option<&str>| Command::Rebuild {
        donor: donor.map(str::to_owned),
    };
    let expected = [
        reason("new \"disk\""),
        reason(""),
        Command::Enable,
        donor(Some("db1")),
        donor(None),
    ];
    let expected: Vec<_> = expected.map(|command| ("db2".to_owned(), command)).into();
    assert_eq!(grove.commands(), expected);
}

#[tokio::test]
async fn waiting_shows_each_change_until_the_state_is_reached() {
    let grove = Grove::start(MemberState::Online, "").await;
    grove.becomes([
        (MemberState::Online, ""),
        (MemberState::Draining, "new disk"),
        (MemberState::Draining, "new disk"),
        (MemberState::Disabled, "new disk"),
    ]);
    let told = "db2 does as it is told\n";
    let output = format!("{told}db2 draining: new disk\ndb2 disabled: new disk\n");
    assert_eq!(
        grove.run(&["backend", "disable", "db2", "--wait"]).await,
        (0, output, String::new())
    );

    grove.becomes([
        (MemberState::Disabled, "new disk"),
        (MemberState::Replaying, "executes what it has missed"),
        (MemberState::Online, ""),
    ]);
    // The first status is asked for before the command.
    let output = format!("{told}db2 replaying: executes what it has missed\ndb2 online\n");
    assert_eq!(
        grove.run(&["backend", "enable", "db2", "--wait"]).await,
        (0, output, String::new())
    );
}

#[tokio::test]
async fn waiting_ends_with_the_reason_when_it_cannot_be_reached() {
    let grove = Grove::start(MemberState::Diverged, "entry 7 differs").await;
    grove.becomes([
        (MemberState::Diverged, "entry 7 differs"),
        (MemberState::Rebuilding, "copies from db1"),
        (MemberState::Diverged, "entry 9 differs"),
    ]);
    let (code, output, errors) = grove.run(&["backend", "rebuild", "db2", "--yes", "--wait"]).await;
    let expected = "db2 does as it is told\ndb2 rebuilding: copies from db1\ndb2 diverged: entry 9 differs\n";
    assert_eq!((code, output.as_str()), (1, expected));
    assert_eq!(errors, "proxyctl: db2 is diverged: entry 9 differs\n");

    let (code, _, errors) = grove
        .run(&["backend", "enable", "db2", "--wait", "--timeout", "1"])
        .await;
    assert_eq!(code, 5);
    assert_eq!(
        errors,
        "proxyctl: db2 is not online after 1 s, but diverged: entry 9 differs\n"
    );
}

#[tokio::test]
async fn refusals_are_told() {
    let grove = Grove::start(MemberState::Failed, "").await;
    let refused = |code: i32, why: &str| (code, String::new(), format!("proxyctl: {why}\n"));
    let unknown = refused(3, "no backend is named `db9`; the backends are db1, db2, db 3");
    assert_eq!(grove.run(&["backend", "show", "db9"]).await, unknown);
    assert_eq!(grove.run(&["backend", "enable", "db9"]).await, unknown);
    assert_eq!(
        grove
            .run(&["backend", "rebuild", "db2", "--from", "db9", "--yes"])
            .await,
        unknown
    );
    assert!(grove.commands().is_empty());

    let forgotten = refused(3, "no server is named db 3; the backends are db1, db2, db 3");
    assert_eq!(grove.run(&["backend", "enable", "db 3"]).await, forgotten);
    let last = refused(4, "db1 is the last online server");
    assert_eq!(grove.run(&["backend", "disable", "db1", "--wait"]).await, last);
}

#[tokio::test]
async fn a_wrong_command_line_reaches_nobody() {
    let grove = Grove::start(MemberState::Failed, "").await;
    for (arguments, expected) in [
        (&["backend", "rebuild", "db2"][..], "say --yes"),
        (&["backend", "restart", "db2"], "restart"),
        (&["backend", "enable"], "<NAME>"),
        (&["backend"], "Usage"),
        (&["backend", "list", "-o", "yaml"], "table, json"),
        (&["enable", "db2"], "enable"),
        (&["backend", "enable", "db2", "--timeout", "3"], "--wait"),
        (&["--admin", "nowhere", "backend", "list"], "HOST:PORT"),
    ] {
        let (code, _, errors) = grove.run(arguments).await;
        assert_eq!(code, 2, "{arguments:?}: {errors}");
        assert!(errors.contains(expected), "{arguments:?}: {errors}");
    }
    let (code, _, errors) = run("nowhere", &["backend", "list"]).await;
    assert_eq!(code, 2, "{errors}");
    assert!(errors.contains("PROXYCTL_ADMIN is `nowhere`"), "{errors}");
    assert!(grove.commands().is_empty());
}

#[tokio::test]
async fn an_address_without_grove_is_named_with_the_ways_to_change_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let admin = listener.local_addr().unwrap().to_string();
    let other = tokio::spawn(async move {
        for answer in [
            "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello",
            "5.5.5-10.11\n",
        ] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    for expected in ["404 Not Found hello", "does not answer as Grove does"] {
        let (code, _, errors) = run(&admin, &["backend", "list"]).await;
        assert_eq!(code, 8);
        for part in [expected, &admin, "--admin HOST:PORT", "PROXYCTL_ADMIN"] {
            assert!(errors.contains(part), "{errors}");
        }
    }
    other.await.unwrap();
    // The listener is gone with its task.
    let (code, _, errors) = run(&admin, &["backend", "disable", "db1"]).await;
    assert_eq!(code, 8);
    for part in [
        "cannot reach Grove at",
        &admin,
        "refused",
        "--admin HOST:PORT",
        "PROXYCTL_ADMIN",
    ] {
        assert!(errors.contains(part), "{errors}");
    }
}

fn comparison(outcome: ComparisonOutcome) -> Comparison {
    let mut comparison = Comparison::of("db1", &["db2"]);
    comparison.outcome = Some(outcome);
    comparison
}

#[tokio::test]
async fn a_comparison_says_whether_backends_differ() {
    let grove = Grove::start(MemberState::Online, "").await;
    let (code, output, errors) = grove.run(&["backend", "compare"]).await;
    assert_eq!((code, output.as_str()), (4, ""));
    assert!(errors.contains("db1 is the only server that is online"), "{errors}");

    let same = ComparisonOutcome::Complete {
        differences: Vec::new(),
        left_out: vec!["app.log (engine MyISAM)".to_owned()],
    };
    grove.members.lock().comparison = Some(comparison(same));
    let (code, output, errors) = grove.run(&["backend", "compare"]).await;
    let expected = "db2 and db1 hold the same: 0 tables, 0 rows\nnot compared: app.log (engine MyISAM)\n";
    assert_eq!((code, output.as_str()), (0, expected));
    assert_eq!(errors, "proxyctl: db2 is compared with db1\n");

    let differ = || ComparisonOutcome::Complete {
        differences: vec![("db2".to_owned(), "the rows of app.t".to_owned())],
        left_out: Vec::new(),
    };
    grove.members.lock().comparison = Some(comparison(differ()));
    let (code, output, _) = grove.run(&["backend", "compare"]).await;
    let expected = "1 differences from db1:\ndb2 the rows of app.t\n";
    assert_eq!((code, output.as_str()), (7, expected));
    grove.members.lock().comparison = Some(comparison(differ()));
    let (code, json, _) = grove.run(&["backend", "compare", "-o", "json"]).await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["differences"][0]["server"]), (7, &"db2".into()));

    let failed = ComparisonOutcome::Failed("db2 has left the group".to_owned());
    grove.members.lock().comparison = Some(comparison(failed));
    let (code, output, _) = grove.run(&["backend", "compare"]).await;
    assert_eq!((code, output.as_str()), (1, "not compared: db2 has left the group\n"));
}
