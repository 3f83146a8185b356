//! What an operator wants of a server: that it takes part, stays out, or is made anew from another one.
//!
//! A command says at once whether it can be done, and what happens next; the server's own task ([`Group::watch`]) then does it, and its state shows how far it is.

use crate::group::Group;
use crate::io::World;

/// A command for one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Out of the group, until it is enabled.
    Disable {
        /// Shown to whoever looks at the server's state; may be empty.
        reason: String,
    },
    /// Back into the group.
    Enable,
    /// Everything that it holds is replaced by a copy of another server.
    Rebuild {
        /// The name of that server; if absent, Grove chooses.
        donor: Option<String>,
    },
}

/// Why a command is not carried out. The messages say what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No server has this name.
    #[error("{0}")]
    UnknownServer(String),
    /// The server's state, or the group's, does not permit it.
    #[error("{0}")]
    NotNow(String),
}

impl<W: World> Group<W> {
    /// Takes a command for the server of this name. Gives a sentence that says what happens next.
    pub fn command(&self, name: &str, command: Command) -> Result<String, Refusal> {
        let _ = command;
        Err(Refusal::NotNow(format!("{name}: not possible yet")))
    }
}
