//! `proxyd playground`: private servers with Grove in front of them, and the restart of one of them.
//!
//! This process supervises; Grove is a child that runs `proxyd run`, so that it can be killed while its servers stay up
//! (see `grove_sandbox::playground`). Only the line for scripts goes to standard output before the words for people.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use grove_sandbox::playground::{Description, Notice, Playground, PlaygroundOptions, restart};
use grove_sandbox::{Kind, default_cache_directory};

use super::Failure;
use crate::logging;
use crate::signals::Signals;

/// What happens after a restart.
const COMES_BACK: &str =
    "if Grove had evicted it, it executes what it has missed and is online again then: GET /servers shows it";

/// The command line of `proxyd playground`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    start: Start,
}

#[derive(Debug, clap::Args)]
struct Start {
    /// Number of servers.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=16))]
    backends: u16,
    /// Directory for everything. What an earlier playground left in it is removed.
    #[arg(long, value_name = "DIR", default_value = "playground")]
    dir: PathBuf,
    /// Port on 127.0.0.1 for clients; 0 for any free one.
    #[arg(long, value_name = "P", default_value_t = 3307)]
    port: u16,
    /// Kind of the servers: mariadb or mysql.
    #[arg(long, value_name = "KIND", default_value_t = Kind::MariaDb)]
    server: Kind,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Start a server of a running playground again, on the same data and port.
    Restart {
        /// Directory of the playground.
        #[arg(long, value_name = "DIR", default_value = "playground")]
        dir: PathBuf,
        /// Name of the server, such as db2.
        #[arg(long, value_name = "NAME")]
        backend: String,
    },
}

/// Runs a playground until a signal, or asks one that runs for a restart.
pub fn playground(arguments: Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    match arguments.action {
        None => runtime.block_on(run(arguments.start))?,
        Some(Action::Restart { dir, backend }) => runtime.block_on(restart_server(dir, backend))?,
    }
    Ok(())
}

async fn restart_server(dir: PathBuf, backend: String) -> anyhow::Result<()> {
    let pid = restart(&dir, &backend).await?;
    say(&format!("{backend} runs again, with pid {pid}; {COMES_BACK}"));
    Ok(())
}

async fn run(start: Start) -> anyhow::Result<()> {
    logging::start(&logging::for_playground())?;
    let mut signals = Signals::listen()?;
    say(&format!(
        "starting {} private servers ({}) and Grove ...",
        start.backends, start.server
    ));
    let options = PlaygroundOptions {
        kind: start.server,
        backends: usize::from(start.backends),
        directory: start.dir,
        port: start.port,
        program: std::env::current_exe().context("cannot find the program proxyd itself")?,
    };
    // Dropping a start kills what it has started.
    let started = tokio::select! {
        started = Playground::start(options) => Some(started?),
        _ = signals.next() => None,
    };
    let Some(mut playground) = started else {
        say("stopped before it was ready");
        return Ok(());
    };
    say(&welcome(&playground));
    loop {
        // Dropping the supervision is said to be safe where it is defined.
        tokio::select! {
            notice = playground.supervise() => say(&words(&notice, &playground)),
            signal = signals.next() => {
                say(&format!("{signal}: stopping"));
                break;
            }
        }
    }
    // A second signal drops the playground, which kills its processes.
    tokio::select! {
        () = playground.shutdown() => say("everything is stopped"),
        _ = signals.next() => say("everything is killed"),
    }
    Ok(())
}

/// The line that scripts wait for, then what a person wants to know.
fn welcome(playground: &Playground) -> String {
    let Description {
        host,
        port,
        admin,
        user,
        password,
        database,
        server,
        backends,
        ..
    } = playground.description();
    let client = match server {
        Kind::MariaDb => "mariadb".to_owned(),
        // Unpacked beside the server by scripts/install-mysql.sh, and not on the PATH.
        Kind::MySql => default_cache_directory().join("mysql/bin/mysql").display().to_string(),
    };
    let mut text = format!(
        "ready: mysql://{host}:{port}\n\
         \n  connect     {client} -h{host} -P{port} -u{user} -p{password} {database}\n  \
         operators   curl http://{admin}/servers\n  \
         Grove       pid {}, log {}\n",
        playground.description().pid,
        playground.log().display()
    );
    for backend in backends {
        text.push_str(&format!(
            "  {:<11} pid {}, {client} -h{} -P{} -u{} -p{}\n",
            backend.name, backend.pid, backend.host, backend.port, backend.superuser, backend.password
        ));
    }
    text.push_str("\nCtrl-C stops everything.");
    text
}

fn words(notice: &Notice, playground: &Playground) -> String {
    let directory = playground.path().display();
    match notice {
        Notice::ServerEnded { name } => {
            format!("{name} ended. To start it again: proxyd playground restart --dir {directory} --backend {name}")
        }
        Notice::ServerRestarted { name, pid } => format!("{name} runs again, with pid {pid}; {COMES_BACK}"),
        Notice::GroveEnded { status } => format!(
            "Grove ended ({status}); the servers stay up. Its log is {}; to start it again: \
             proxyd run --config {directory}/proxy-config.yaml",
            playground.log().display()
        ),
    }
}

/// Writes to standard output. That may be closed, which is the starter's choice and no reason to end.
fn say(text: &str) {
    let mut output = io::stdout().lock();
    let _ = writeln!(output, "{text}").and_then(|()| output.flush());
}
