//! Where the demonstration is shown: on a terminal a table that is redrawn in place below the announcements, elsewhere plain lines.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use rustix::termios::tcgetwinsize;

/// For a terminal that does not say how wide it is.
const USUAL_WIDTH: usize = 80;

/// Standard output.
#[derive(Debug)]
pub(crate) enum Screen {
    /// A terminal, with the table below the announcements that the next one replaces.
    Terminal { table: Vec<String> },
    /// A file or a pipe.
    Plain,
}

impl Screen {
    pub(crate) fn of_standard_output() -> Self {
        match io::stdout().is_terminal() {
            true => Self::Terminal { table: Vec::new() },
            false => Self::Plain,
        }
    }

    /// How often there is something new to show.
    pub(crate) fn pace(&self) -> Duration {
        match self {
            Self::Terminal { .. } => Duration::from_millis(250),
            Self::Plain => Duration::from_secs(1),
        }
    }

    /// A line that stays, above the table.
    pub(crate) fn say(&self, line: &str) -> io::Result<()> {
        let (cleared, table) = match self {
            Self::Terminal { table } => (back_over(table.len()), table.as_slice()),
            Self::Plain => (String::new(), [].as_slice()),
        };
        put(&format!("{cleared}{}\n{}", self.fit(line), self.fit_all(table)))
    }

    /// Replaces the table, or what there is of it in a file: adds lines.
    pub(crate) fn redraw(&mut self, lines: Vec<String>) -> io::Result<()> {
        let text = self.fit_all(&lines);
        let cleared = match self {
            Self::Terminal { table } => back_over(std::mem::replace(table, lines).len()),
            Self::Plain => String::new(),
        };
        put(&format!("{cleared}{text}"))
    }

    fn fit_all(&self, lines: &[String]) -> String {
        lines.iter().map(|line| self.fit(line) + "\n").collect()
    }

    /// A terminal would break a line that is too long, and the next table would not find its place. Servers' messages may hold line breaks.
    fn fit(&self, line: &str) -> String {
        let line = on_one_line(line);
        match self {
            Self::Terminal { .. } => cut(&line, width()).to_owned(),
            Self::Plain => line,
        }
    }
}

/// In one write, so that no half table is seen.
fn put(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes())?;
    output.flush()
}

/// Moves up so many lines and clears what is there (ECMA-48: CUU, ED).
fn back_over(lines: usize) -> String {
    match lines {
        0 => String::new(),
        lines => format!("\x1b[{lines}A\x1b[J"),
    }
}

fn width() -> usize {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        _ => USUAL_WIDTH,
    }
}

fn on_one_line(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect()
}

fn cut(text: &str, width: usize) -> &str {
    match text.char_indices().nth(width) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::{cut, on_one_line};

    #[test]
    fn a_line_is_cut_at_characters() {
        assert_eq!(cut("ab…d", 3), "ab…");
        assert_eq!(cut("ab…d", 4), "ab…d");
        assert_eq!(cut("", 0), "");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(on_one_line("a\nb\x1b[Jc"), "a b [Jc");
    }
}
