//! `proxyctl`: what an operator asks of a running Grove, through its HTTP API.
//!
//! Exit codes are a promise to scripts: [`Failure`] lists them. Results go to standard output, everything else to
//! standard error. Deliberately absent: any decision. Grove says what is possible; here its answers are shown and
//! waited for.

mod age;
mod arguments;
mod client;
mod command;
mod compare;
mod list;
mod server;
mod show;
mod status;
mod table;
mod wait;

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use arguments::{Action, Arguments, Backend};
use client::{Client, Unreachable};

/// Why a command did not end well; the exit code follows from it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line asks for what cannot be meant: exit code 2.
    CommandLine(String),
    /// Something failed that has no code of its own: exit code 1.
    Failed(anyhow::Error),
    /// Standard output has said what is wrong: exit code 1 without more words.
    Told,
    /// Nobody reads standard output any more, as after `| head`: exit code 1 without words.
    Unread,
    /// No backend has the name: exit code 3.
    NoSuchBackend(String),
    /// It is not possible now, says Grove: exit code 4.
    Refused(String),
    /// `--timeout` has passed: exit code 5.
    TimedOut(String),
    /// Standard output has said in what backends differ: exit code 7 without more words.
    Differ,
    /// No Grove answers at the admin address: exit code 8.
    Unreachable(Unreachable),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Unreachable> for Failure {
    fn from(error: Unreachable) -> Self {
        Self::Unreachable(error)
    }
}

fn main() -> ExitCode {
    let (text, code) = match run(Arguments::parse()) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Told | Failure::Unread) => return ExitCode::FAILURE,
        Err(Failure::Differ) => return ExitCode::from(7),
        Err(Failure::Failed(error)) => (format!("{error:#}"), 1),
        Err(Failure::CommandLine(text)) => (text, 2),
        Err(Failure::NoSuchBackend(text)) => (text, 3),
        Err(Failure::Refused(text)) => (text, 4),
        Err(Failure::TimedOut(text)) => (text, 5),
        Err(Failure::Unreachable(error)) => (error.to_string(), 8),
    };
    complain(&text);
    ExitCode::from(code)
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let variable = std::env::var(arguments::ADMIN_VARIABLE).ok();
    let client = Client::new(arguments.admin(variable)?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        match arguments.action {
            Action::Status => status::status(&client).await,
            Action::Backend(Backend::List(options)) => list::list(&client, &options).await,
            Action::Backend(Backend::Show(options)) => show::show(&client, &options).await,
            Action::Backend(Backend::Disable(options)) => command::disable(&client, options).await,
            Action::Backend(Backend::Enable(options)) => command::enable(&client, options).await,
            Action::Backend(Backend::Rebuild(options)) => command::rebuild(&client, options).await,
            Action::Backend(Backend::Compare(options)) => compare::compare(&client, &options).await,
        }
    })
}

/// Writes to standard output at once, also when it is a file or a pipe. `println!` would panic after `| head`.
pub(crate) fn say(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::Unread,
        _ => Failure::Failed(anyhow::Error::from(error).context("cannot write to standard output")),
    })
}

/// Writes a line to standard error. If that is closed, there is nobody left to tell.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "proxyctl: {text}");
}
