//! The tables of `proxyctl backend list` and `proxyctl backend show`.
//!
//! Cells that have no value show `-`, so that every line has as many words before its reason.

use std::ffi::OsStr;
use std::io::{self, IsTerminal as _};

use crate::age;
use crate::server::{Server, printable};

const NO_VALUE: &str = "-";
const GAP: &str = "  ";

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const RESET: &str = "\x1b[0m";

/// Whether states are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Coloured,
}

impl Style {
    /// What suits standard output. NO_COLOR counts when it is not empty, as <https://no-color.org> has it.
    pub(crate) fn of_output() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| value != OsStr::new(""));
        match io::stdout().is_terminal() && !refused {
            true => Self::Coloured,
            false => Self::Plain,
        }
    }
}

#[derive(Clone, Copy)]
enum Align {
    Left,
    Right,
}

const COLUMNS: [(&str, Align); 9] = [
    ("NAME", Align::Left),
    ("STATE", Align::Left),
    ("ROLE", Align::Left),
    ("SINCE", Align::Right),
    ("POSITION", Align::Right),
    ("LAG", Align::Right),
    ("ETA", Align::Right),
    ("SESSIONS", Align::Right),
    ("REASON", Align::Left),
];
const STATE: usize = 1;
const SINCE: usize = 3;
const LAG: usize = 5;

/// One line for the columns' names and one for each server. `now` is in seconds since 1970-01-01.
pub(crate) fn table(servers: &[Server], now: u64, style: Style) -> String {
    let rows: Vec<_> = servers.iter().map(|server| cells(server, now)).collect();
    let head = COLUMNS.map(|(title, _)| title.to_owned());
    let mut widths = [0; COLUMNS.len()];
    for row in rows.iter().chain([&head]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = line(&head, &widths, Style::Plain);
    for row in &rows {
        text.push_str(&line(row, &widths, style));
    }
    text
}

/// One line for each field: the columns of [`table`], and the time itself beside its age.
pub(crate) fn fields(server: &Server, now: u64, style: Style) -> String {
    let mut values = cells(server, now);
    values[SINCE] = match values[SINCE].as_str() {
        NO_VALUE => printable(&server.since),
        age => format!("{} ({age} ago)", printable(&server.since)),
    };
    if let Some(lag) = server.lag_ms.filter(|&lag| lag > 0) {
        values[LAG].push_str(&format!(" entries, of the last {}", age::words(lag.div_ceil(1000))));
    }
    let width = COLUMNS.iter().map(|(title, _)| title.len()).max().unwrap_or(0);
    let mut text = String::new();
    let mut say = |title: &str, value: &str| {
        text.push_str(format!("{title:width$}{GAP}{value}").trim_end());
        text.push('\n');
    };
    for (index, (value, (title, _))) in values.iter().zip(COLUMNS).enumerate() {
        say(title, &coloured(value, index, style));
        if title == "NAME" {
            say("ADDRESS", &printable(&server.address));
        }
    }
    text
}

fn cells(server: &Server, now: u64) -> [String; COLUMNS.len()] {
    // Clocks differ: Grove's may be ahead of this machine's.
    let since = age::unix_seconds(&server.since).map(|since| age::words(now.saturating_sub(since)));
    let eta = server.eta_ms.map(|ms| age::words(ms.div_ceil(1000)));
    let role = if server.lead { "lead" } else { NO_VALUE };
    [
        printable(&server.name),
        printable(&server.state),
        role.to_owned(),
        value(since),
        value(server.position),
        value(server.lag_entries),
        value(eta),
        server.sessions.to_string(),
        printable(&server.reason),
    ]
}

fn value(value: Option<impl ToString>) -> String {
    value.map_or_else(|| NO_VALUE.to_owned(), |value| value.to_string())
}

fn line(row: &[String; COLUMNS.len()], widths: &[usize; COLUMNS.len()], style: Style) -> String {
    let mut line = String::new();
    for (index, ((cell, width), (_, align))) in row.iter().zip(widths).zip(COLUMNS).enumerate() {
        if index > 0 {
            line.push_str(GAP);
        }
        let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
        let cell = coloured(cell, index, style);
        match align {
            Align::Left => line.extend([cell, padding]),
            Align::Right => line.extend([padding, cell]),
        }
    }
    line.truncate(line.trim_end().len());
    line.push('\n');
    line
}

fn coloured(cell: &str, index: usize, style: Style) -> String {
    match style {
        Style::Coloured if index == STATE => format!("{}{cell}{RESET}", colour(cell)),
        _ => cell.to_owned(),
    }
}

fn colour(state: &str) -> &'static str {
    match state {
        "online" => GREEN,
        "failed" | "diverged" | "unreachable" => RED,
        _ => YELLOW,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_192;

    fn server(name: &str, state: &str) -> Server {
        Server {
            name: name.to_owned(),
            address: String::new(),
            state: state.to_owned(),
            reason: String::new(),
            since: "2023-11-14T22:13:20.123Z".to_owned(),
            lead: false,
            sessions: 0,
            position: None,
            lag_entries: None,
            lag_ms: None,
            eta_ms: None,
        }
    }

    fn three() -> Vec<Server> {
        let mut online = server("db1", "online");
        (online.lead, online.sessions, online.position, online.lag_entries) = (true, 12, Some(1_234_567), Some(0));
        online.reason = "answered at start".to_owned();
        let mut replaying = server("database-2", "replaying");
        (replaying.position, replaying.lag_entries, replaying.eta_ms) = (Some(1_200_000), Some(34_567), Some(4001));
        (replaying.address, replaying.lag_ms) = ("10.0.0.1:3306".to_owned(), Some(11_001));
        replaying.reason = "executes what\nit has missed".to_owned();
        let mut failed = server("db3", "failed");
        failed.since = "2030-01-01T00:00:00Z".to_owned();
        vec![online, replaying, failed]
    }

    #[test]
    fn columns_are_aligned() {
        let expected = "\
NAME        STATE      ROLE  SINCE  POSITION    LAG  ETA  SESSIONS  REASON
db1         online     lead  3m12s   1234567      0    -        12  answered at start
database-2  replaying  -     3m12s   1200000  34567   5s         0  executes what it has missed
db3         failed     -        0s         -      -    -         0
";
        assert_eq!(table(&three(), NOW, Style::Plain), expected);
    }

    #[test]
    fn colours_change_nothing_but_the_states_colour() {
        let coloured = table(&three(), NOW, Style::Coloured);
        for text in [
            "\x1b[32monline\x1b[0m   ",
            "\x1b[33mreplaying\x1b[0m ",
            "\x1b[31mfailed\x1b[0m ",
        ] {
            assert!(coloured.contains(text), "{coloured}");
        }
        let mut plain = coloured;
        for code in [GREEN, RED, YELLOW, RESET] {
            plain = plain.replace(code, "");
        }
        assert_eq!(plain, table(&three(), NOW, Style::Plain));
    }

    #[test]
    fn one_server_has_a_line_for_each_field() {
        let expected = "\
NAME      database-2
ADDRESS   10.0.0.1:3306
STATE     replaying
ROLE      -
SINCE     2023-11-14T22:13:20.123Z (3m12s ago)
POSITION  1200000
LAG       34567 entries, of the last 12s
ETA       5s
SESSIONS  0
REASON    executes what it has missed
";
        assert_eq!(fields(&three()[1], NOW, Style::Plain), expected);
        let coloured = fields(&three()[2], NOW, Style::Coloured);
        assert!(coloured.contains("STATE     \x1b[31mfailed\x1b[0m\n"), "{coloured}");
        assert!(coloured.ends_with("\nREASON\n"), "{coloured}");
    }

    #[test]
    fn no_servers_are_a_table_too() {
        let expected = "NAME  STATE  ROLE  SINCE  POSITION  LAG  ETA  SESSIONS  REASON\n";
        assert_eq!(table(&[], NOW, Style::Coloured), expected);
    }
}
