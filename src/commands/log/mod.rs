//! `proxyd log`: a recovery log as text, and whether it is sound. Reads only, without a lock, so it may run beside a Grove that writes.
//!
//! Exit code 0: the log is sound; an unfinished group at its end is told on standard error and is no fault. Exit code 1: it is damaged, written by a
//! newer Grove, or cannot be read; `dump` has then written everything before that. Exit code 2: the command line is wrong.

mod json;
mod text;
mod time;

use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use grove_recovery_log::{Directory, LogReader, Record};

use super::Failure;

/// The command line of `proxyd log`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write the entries to standard output.
    Dump {
        /// Position of the first one; without it, the oldest that is there.
        #[arg(long, value_name = "N")]
        from: Option<u64>,
        /// text: for people. jsonl: one object per line.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
        /// The log's directory.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Check every byte, and say what the log holds.
    Verify {
        /// The log's directory.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Jsonl,
}

/// Looks into a log.
pub fn log(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.action {
        Action::Dump {
            from,
            format,
            directory,
        } => dump(directory, *from, *format)?,
        Action::Verify { directory } => verify(directory)?,
    }
    Ok(())
}

fn dump(directory: &Path, from: Option<u64>, format: Format) -> anyhow::Result<()> {
    let reader = open(directory)?;
    let mut output = BufWriter::new(io::stdout().lock());
    for record in reader.read_from(from.unwrap_or(reader.summary().first)) {
        let written = match (record, format) {
            (Err(error), _) => {
                // What was read so far belongs to the reader of this output.
                output.flush()?;
                return Err(error.into());
            }
            (Ok(record), Format::Text) => text::write(&mut output, &record),
            (Ok(record), Format::Jsonl) => json::write(&mut output, &record),
        };
        match written {
            // Whoever reads this has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other.context("cannot write to standard output")?,
        }
    }
    match output.flush() {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        other => other.context("cannot write to standard output")?,
    }
    judge(&reader)
}

fn verify(directory: &Path) -> anyhow::Result<()> {
    let reader = open(directory)?;
    let (mut entries, mut oldest, mut newest) = (0_u64, None, None);
    for record in reader.read_from(reader.summary().first) {
        let Record { unix_micros, .. } = record?;
        entries += 1;
        oldest = oldest.or(Some(unix_micros));
        newest = Some(unix_micros);
    }
    judge(&reader)?;
    let summary = reader.summary();
    let id = summary.log.map(|id| id.to_string()).unwrap_or_default();
    println!("{}: log {id} is sound", directory.display());
    println!("  {} segments, {} bytes", summary.segments, summary.bytes);
    match (oldest, newest) {
        (Some(oldest), Some(newest)) => println!(
            "  {entries} entries, {} to {}, from {} to {}",
            summary.first,
            summary.last,
            time::written(oldest),
            time::written(newest)
        ),
        _ => println!("  no entry; the next one is {}", summary.first),
    }
    Ok(())
}

fn open(directory: &Path) -> anyhow::Result<LogReader> {
    let files = Directory::open(directory).with_context(|| format!("cannot open {}", directory.display()))?;
    let reader = LogReader::open(Arc::new(files))?;
    let summary = reader.summary();
    if summary.log.is_none() && summary.problem.is_none() {
        anyhow::bail!(
            "{} holds no recovery log; name the directory that recovery_log.directory names",
            directory.display()
        );
    }
    Ok(reader)
}

/// What is wrong at the end of what could be read.
fn judge(reader: &LogReader) -> anyhow::Result<()> {
    let summary = reader.summary();
    if let Some(problem) = &summary.problem {
        return Err(problem.clone().into());
    }
    if let Some(torn) = &summary.torn {
        eprintln!(
            "note: {} ends with an unfinished group of {} bytes at byte {} ({}). Grove is writing it now, or was when it ended; nobody was told \
             that it is durable, and the next start cuts it",
            torn.file, torn.bytes, torn.offset, torn.wrong
        );
    }
    Ok(())
}
