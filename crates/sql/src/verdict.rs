//! Whether a write gives the same rows on every server, and if not, why.
//!
//! It speaks of what the text says, as all of the analysis does: what triggers, column defaults, views and stored functions ask for is known to
//! the servers alone. It errs towards "unsafe" where the rows depend on more than it can see, but for three things that would condemn too much:
//! ORDER BY is believed to be unique, rows that a query gives without LIMIT are believed to be visited in one order, and a table is believed to
//! have one unique key.

use std::fmt;

use crate::analysis::{Class, WriteKind};
use crate::facts::{Choice, Facts};
use crate::own_value::{Found, OwnValue};

/// What is known about the rows that a statement leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// They are the same on every server that executes it with the same clock, seeds, keys and session state. Also said of what writes no rows,
    /// and of what was not understood.
    Deterministic,
    /// They are, once the values that each server would make for itself stand in the text: [`crate::Analyser::rewrite`].
    Rewritable,
    /// They may differ.
    Unsafe(Reason),
}

/// Why rows may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The function gives another value for each row.
    EachRow(&'static str),
    /// Its value is each server's own.
    EachServer(&'static str),
    /// RAND() over several rows, in the order in which the server visits them.
    RandomOrder,
    /// LIMIT without ORDER BY. `of_one_value`: among the rows with one value in some column, which are few and often one.
    Limit {
        /// The condition names a value.
        of_one_value: bool,
    },
    /// LOAD DATA without LOCAL.
    File,
    /// A table that describes the server.
    ServerTables,
    /// SKIP LOCKED.
    SkipLocked,
    /// The text that is prepared by PREPARE or run by EXECUTE IMMEDIATE asks for a value that would be replaced elsewhere.
    PreparedText,
    /// One execution for many rows.
    Bulk,
    /// A call that would be replaced if its argument were a plain number.
    Argument(&'static str),
    /// With the values in its place the text would be too long.
    TooLong,
}

impl Reason {
    /// What would be right.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::EachRow(_) | Self::EachServer(_) | Self::RandomOrder | Self::Argument(_) => {
                "select the value first and write it as a literal or a parameter"
            }
            Self::Limit { .. } => "add ORDER BY with a unique column",
            Self::File => "use LOAD DATA LOCAL",
            Self::ServerTables => "read it first and write what was read",
            Self::SkipLocked => "choose the rows first, with SELECT .. FOR UPDATE SKIP LOCKED",
            Self::PreparedText => "send the statement itself, or prepare it over the protocol",
            Self::Bulk => "execute it for each row",
            Self::TooLong => "write fewer rows with one statement",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EachRow(function) => write!(f, "{function} gives each row another value, on each server"),
            Self::EachServer(what) => write!(f, "{what} is not the same on every server"),
            Self::RandomOrder => {
                f.write_str("RAND() over several rows depends on the order in which a server visits them")
            }
            Self::Limit { .. } => f.write_str("LIMIT without ORDER BY may choose other rows on each server"),
            Self::File => f.write_str("LOAD DATA without LOCAL reads a file of each server's own"),
            Self::ServerTables => f.write_str("information_schema, performance_schema and sys describe each server"),
            Self::SkipLocked => f.write_str("SKIP LOCKED may choose other rows on each server"),
            Self::PreparedText => {
                f.write_str("a value that each server makes for itself cannot be replaced in the text of PREPARE")
            }
            Self::Bulk => f.write_str("a bulk execution makes a value of its own for each row, on each server"),
            Self::Argument(function) => write!(f, "the argument of {function} is no plain number"),
            Self::TooLong => f.write_str("too many values would have to be put into the text"),
        }
    }
}

/// How often a statement evaluates its expressions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Evaluation {
    /// Each where it stands, outside of queries.
    Once,
    /// For each of the rows that it finds, or that a file has.
    EachRow,
    /// The same, and the columns of a new table get their types from the expressions, so that these must stay.
    NewTable,
}

/// The verdict, and what is to be replaced.
pub(crate) fn judge(class: Class, facts: &Facts) -> (Verdict, Vec<Found>) {
    let flags = &facts.flags;
    let evaluation = match class {
        Class::Write(WriteKind::Insert | WriteKind::Replace) if !flags.insert_select => Evaluation::Once,
        Class::Write(WriteKind::LoadData) if !flags.load_local => return condemn(Reason::File),
        // What a SELECT gives goes to the client and into no row.
        Class::Write(WriteKind::Sequence) => return (Verdict::Deterministic, Vec::new()),
        Class::Write(_) => Evaluation::EachRow,
        Class::Ddl | Class::TemporaryDdl if flags.insert_select => Evaluation::NewTable,
        // Of its arguments. What the routine does is its own affair.
        Class::Call => Evaluation::Once,
        _ => return (Verdict::Deterministic, Vec::new()),
    };
    if flags.touches_information_schema {
        return condemn(Reason::ServerTables);
    }
    if flags.skips_locked {
        return condemn(Reason::SkipLocked);
    }
    let mut replaceable = Vec::new();
    for found in &facts.own_values {
        match fate(found, evaluation, class, facts) {
            Fate::Stays => {}
            Fate::IsReplaced => replaceable.push(found.clone()),
            Fate::Condemns(reason) => return condemn(reason),
        }
    }
    if facts.choice != Choice::None {
        let of_one_value = facts.choice == Choice::OfOneValue;
        return condemn(Reason::Limit { of_one_value });
    }
    match replaceable.is_empty() {
        true => (Verdict::Deterministic, replaceable),
        false => (Verdict::Rewritable, replaceable),
    }
}

fn condemn(reason: Reason) -> (Verdict, Vec<Found>) {
    (Verdict::Unsafe(reason), Vec::new())
}

enum Fate {
    Stays,
    IsReplaced,
    Condemns(Reason),
}

fn fate(found: &Found, evaluation: Evaluation, class: Class, facts: &Facts) -> Fate {
    let name = found.value.name();
    let is_plain = !found.in_subquery && !facts.opaque;
    let upserts_several = found.in_upsert && facts.flags.multi_row_insert;
    let is_once = is_plain && evaluation == Evaluation::Once && !upserts_several;
    match found.value {
        // Any instant of the statement's is as good as another, so one will do for all rows.
        OwnValue::Sysdate | OwnValue::ConnectionId if is_plain && evaluation != Evaluation::NewTable => {
            Fate::IsReplaced
        }
        OwnValue::Sysdate | OwnValue::ConnectionId => Fate::Condemns(Reason::EachServer(name)),
        OwnValue::Uuid | OwnValue::UuidShort | OwnValue::SystemGuid | OwnValue::RandomBytes => match is_once {
            true => Fate::IsReplaced,
            false => Fate::Condemns(Reason::EachRow(name)),
        },
        OwnValue::Rand => match is_once || is_plain && class == Class::Write(WriteKind::LoadData) {
            // The seeds are the same, and so is the order of the calls.
            true => Fate::Stays,
            false => Fate::Condemns(Reason::RandomOrder),
        },
        OwnValue::Other(_) => Fate::Condemns(Reason::EachServer(name)),
    }
}
