//! The command line.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::Failure;

/// The variable that names the admin address where the command line does not.
pub(crate) const ADMIN_VARIABLE: &str = "PROXYCTL_ADMIN";

/// Where Grove listens for operators unless `admin.address` says something else.
const DEFAULT_ADMIN: &str = "127.0.0.1:3308";

const ADDRESS_FORM: &str = "write HOST:PORT, as in 127.0.0.1:3308";

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong command line, 3 no such backend, 4 refused, \
    5 not done within --timeout, 7 backends differ, 8 Grove cannot be reached.";

/// See the backends of a running Grove, take them out, bring them back, make them anew.
#[derive(Debug, Parser)]
#[command(name = "proxyctl", version, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    /// Grove's admin address; else that in PROXYCTL_ADMIN, else 127.0.0.1:3308.
    #[arg(long, value_name = "HOST:PORT", global = true, value_parser = address)]
    admin: Option<String>,
    #[command(subcommand)]
    pub(crate) action: Action,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Say whether every backend is online, or disabled by an operator; fail if not.
    Status,
    /// See the backends, the servers behind Grove, and command one of them.
    #[command(subcommand, after_help = EXIT_CODES)]
    Backend(Backend),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Backend {
    /// Show every backend with its state.
    List(List),
    /// Show everything about one backend.
    Show(Show),
    /// Take a backend out of the group, until it is enabled.
    Disable(Disable),
    /// Bring a disabled backend back: it executes what it has missed and joins.
    Enable(Enable),
    /// Replace everything on a backend that is not online by a copy of another one.
    Rebuild(Rebuild),
    /// Compare all online backends, definitions and every row, while clients go on; fail with 7 if they differ.
    Compare(Compare),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Show them again whenever they changed, once a second at most, until Ctrl-C.
    #[arg(long)]
    pub(crate) watch: bool,
    /// How they are shown.
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The backend's name.
    pub(crate) name: String,
    /// How it is shown.
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) output: Output,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Columns for people.
    #[default]
    Table,
    /// Grove's own JSON, one line for each answer.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Disable {
    /// The backend's name.
    pub(crate) name: String,
    /// Shown in the backend's state, for whoever wonders.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

#[derive(Debug, Args)]
pub(crate) struct Enable {
    /// The backend's name.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

#[derive(Debug, Args)]
pub(crate) struct Rebuild {
    /// The backend's name.
    pub(crate) name: String,
    /// The backend that is copied; else Grove chooses.
    #[arg(long, value_name = "DONOR")]
    pub(crate) from: Option<String>,
    /// Do not ask whether everything on the backend may be replaced.
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// How the result is shown.
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) output: Output,
    /// Wait no longer than this, and fail then; the comparison goes on.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
}

impl Compare {
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout.map(Duration::from_secs)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Wait until it is done, and print each change of the backend's state.
    #[arg(long)]
    pub(crate) wait: bool,
    /// Wait no longer than this, and fail then.
    #[arg(long, value_name = "SECONDS", requires = "wait", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
}

impl Arguments {
    /// The admin address: the option, else the variable's value, else the default.
    pub(crate) fn admin(&self, variable: Option<String>) -> Result<String, Failure> {
        if let Some(admin) = &self.admin {
            return Ok(admin.clone());
        }
        match variable.filter(|value| !value.is_empty()) {
            Some(value) => {
                address(&value).map_err(|why| Failure::CommandLine(format!("{ADMIN_VARIABLE} is `{value}`: {why}")))
            }
            None => Ok(DEFAULT_ADMIN.to_owned()),
        }
    }
}

impl Wait {
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout.map(Duration::from_secs)
    }
}

/// A URL's beginning is taken too, because that is what people have at hand.
fn address(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let (host, port) = bare.rsplit_once(':').ok_or(ADDRESS_FORM)?;
    let is_port = port.parse::<u16>().is_ok_and(|port| port != 0);
    let is_host = !host.is_empty() && !host.contains(['/', '@', ' ']);
    match is_host && is_port {
        true => Ok(bare.to_owned()),
        false => Err(ADDRESS_FORM.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;
    use clap::error::ErrorKind;

    fn parse(line: &str) -> Result<Arguments, ErrorKind> {
        let words = std::iter::once("proxyctl").chain(line.split(' '));
        Arguments::try_parse_from(words).map_err(|error| error.kind())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_option_goes_before_the_variable_and_the_variable_before_the_default() {
        let variable = || Some("db.example:1".to_owned());
        let admin = |line, variable| parse(line).unwrap().admin(variable).unwrap();
        assert_eq!(admin("--admin 10.0.0.1:99 status", variable()), "10.0.0.1:99");
        assert_eq!(
            admin("backend list --admin http://[::1]:3308/", variable()),
            "[::1]:3308"
        );
        assert_eq!(admin("status", variable()), "db.example:1");
        assert_eq!(admin("status", Some(String::new())), DEFAULT_ADMIN);
        assert_eq!(admin("status", None), DEFAULT_ADMIN);
    }

    #[test]
    fn an_address_needs_a_host_and_a_port() {
        for wrong in ["127.0.0.1", ":3308", "127.0.0.1:0", "127.0.0.1:70000", "a/b:1", "u@h:1"] {
            let refused = parse(&format!("--admin {wrong} status")).map(|_| ());
            assert_eq!(refused, Err(ErrorKind::ValueValidation), "{wrong}");
            let refused = parse("status").unwrap().admin(Some(wrong.to_owned()));
            assert!(matches!(refused, Err(Failure::CommandLine(_))), "{wrong}");
        }
    }

    #[test]
    fn output_is_a_table_unless_json_is_asked_for() {
        let output = |line| match parse(line)?.action {
            Action::Backend(Backend::List(list)) => Ok(list.output),
            Action::Backend(Backend::Show(show)) => Ok(show.output),
            other => panic!("{other:?}"),
        };
        assert_eq!(output("backend list"), Ok(Output::Table));
        assert_eq!(output("backend list -o table"), Ok(Output::Table));
        assert_eq!(output("backend list --watch -o json"), Ok(Output::Json));
        assert_eq!(output("backend show db2 --output json"), Ok(Output::Json));
        assert_eq!(output("backend list -o yaml"), Err(ErrorKind::InvalidValue));
    }

    #[test]
    fn a_timeout_needs_a_wait() {
        let timeout = |line| match parse(line)?.action {
            Action::Backend(Backend::Enable(enable)) => Ok(enable.wait.timeout()),
            other => panic!("{other:?}"),
        };
        assert_eq!(timeout("backend enable db2 --wait"), Ok(None));
        assert_eq!(
            timeout("backend enable db2 --wait --timeout 5"),
            Ok(Some(Duration::from_secs(5)))
        );
        assert_eq!(
            timeout("backend enable db2 --timeout 5"),
            Err(ErrorKind::MissingRequiredArgument)
        );
        assert_eq!(
            timeout("backend enable db2 --wait --timeout 0"),
            Err(ErrorKind::ValueValidation)
        );
    }
}
