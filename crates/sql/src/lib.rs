//! Lexer, statement class, effects, tables and digest of a statement.
//!
//! The crate is pure: it does no I/O, reads no clock and knows nothing of the wire format. It works on bytes, because a
//! statement is written in the client's character set, which need not be UTF-8.
//!
//! The one invariant: a statement that may write, lock or change session state is never classified as [`Class::Read`].
//! Whatever the classifier does not understand is [`Class::Unknown`], which the engine runs as an ordered write on every
//! backend. A wrong `Unknown` costs speed; a wrong `Read` costs the data.

mod analyser;
mod analysis;
mod cache;
mod classify;
mod facts;
mod functions;
mod lexer;
mod mode;
mod name;
mod own_value;
mod parser;
mod rewrite;
mod shape;
mod split;
mod tokens;
mod verdict;
mod walk;

pub use analyser::Analyser;
pub use analysis::{
    Analysis, AnalysisFlags, Class, KillTarget, SetItem, SetScope, TableName, TouchedTables, WriteKind,
};
pub use lexer::{Lexer, Token, TokenKind};
pub use mode::{ClientCharset, Flavor, LexMode};
pub use name::Name;
pub use rewrite::{OwnValues, permits_unsafe};
pub use split::split;
pub use verdict::{Reason, Verdict};
