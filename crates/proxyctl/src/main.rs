//! `proxyctl`: what an operator asks of a running Grove, through its HTTP API.
//!
//! Exit codes are a promise to scripts: 0 when it is done, 1 when it was refused or failed, 2 when the command line has
//! errors. Results go to standard output, everything else to standard error. Deliberately absent: any decision. Grove
//! says what is possible; here its answers are shown and waited for.

mod age;
mod arguments;
mod client;
mod command;
mod list;
mod server;
mod table;
mod wait;

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use arguments::{Action, Arguments};
use client::Client;

/// Why a command did not end well; the exit code follows from it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line asks for what cannot be meant: exit code 2.
    CommandLine(String),
    /// Grove refused, or something failed: exit code 1.
    Failed(anyhow::Error),
    /// Nobody reads standard output any more, as after `| head`: exit code 1 without words.
    Unread,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

fn main() -> ExitCode {
    let (text, code) = match run(Arguments::parse()) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Unread) => return ExitCode::FAILURE,
        Err(Failure::CommandLine(text)) => (text, ExitCode::from(2)),
        Err(Failure::Failed(error)) => (format!("{error:#}"), ExitCode::FAILURE),
    };
    complain(&text);
    code
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let variable = std::env::var(arguments::ADMIN_VARIABLE).ok();
    let client = Client::new(arguments.admin(variable)?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    match arguments.action {
        Action::Servers(options) => runtime.block_on(list::servers(&client, &options)),
        Action::Disable(options) => runtime.block_on(command::disable(&client, options)),
        Action::Enable(options) => runtime.block_on(command::enable(&client, options)),
        Action::Rebuild(options) => runtime.block_on(command::rebuild(&client, options)),
    }
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
