//! Lead, epochs, legs, gates, commit and eviction: what keeps the servers identical.
//!
//! The lead's row locks decide the order; the log makes the decision durable; followers obey. Every statement that writes runs on the lead
//! first, then on every follower, which must answer the same. This crate reaches servers, time and chance only through the traits in
//! [`io`], and knows nothing of clients' sockets.

pub mod gate;
pub mod io;

mod accounts;
mod barrier;
mod comparison;
mod error;
mod fate;
mod follower;
mod group;
mod health;
mod instant;
mod interrupt;
mod leg;
mod local_file;
mod marking;
mod member;
mod memory;
mod notices;
mod on_server;
mod operator;
mod order;
mod position_rows;
mod preflight;
mod rejoin;
mod savepoints;
mod session;
mod settings;
mod state;
mod statement;
mod temporary;
mod transaction;
mod unique;
mod value;

pub use accounts::Accounts;
pub use comparison::{Comparison, Outcome as ComparisonOutcome};
pub use error::SessionError;
pub use group::{Group, View};
pub use interrupt::Interrupter;
pub use local_file::{FilePart, LocalFile};
pub use member::{MemberSpec, MemberState, MemberStatus, Remembered};
pub use operator::{Command, Refusal};
pub use session::{Explanation, Session};
pub use settings::{FirstStart, ReadCommitted, ReadPolicy, Settings, UnequalSettings, UnsafeStatements};
pub use statement::{Body, Prepared, Query, Statement};
