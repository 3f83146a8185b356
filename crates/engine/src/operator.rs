//! What an operator wants of a server: that it takes part, stays out, or is made anew from another one.
//!
//! A command says at once whether it can be done, and what happens next; the server's own task ([`Group::watch`]) then does it, and its state shows how far it is.

use crate::group::{Fault, Group};
use crate::io::{BackendId, Clock, World};
use crate::member::{MemberState, Wish};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Reads that are under way may go on for this long on a server that leaves.
const LONGEST_DRAIN: Duration = Duration::from_secs(10);
/// Between two looks whether they have ended.
const PAUSE: Duration = Duration::from_millis(20);

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

pub(crate) fn not_now<T>(reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::NotNow(reason.into()))
}

impl<W: World> Group<W> {
    /// Takes a command for the server of this name. Gives a sentence that says what happens next.
    pub fn command(&self, name: &str, command: Command) -> Result<String, Refusal> {
        let id = self.find(name)?;
        if self.log.id().is_none() {
            return not_now(
                "without a recovery log no server can come back: set recovery_log.directory and start Grove again",
            );
        }
        let _one_at_a_time = self.commanding.lock().unwrap_or_else(PoisonError::into_inner);
        let next = match command {
            Command::Disable { reason } => self.disable(id, &reason),
            Command::Enable => self.enable(id),
            Command::Rebuild { donor } => self.order_rebuild(id, donor.as_deref()),
        }?;
        self.note_memory();
        tracing::info!(backend = name, next, "an operator's command was taken");
        Ok(next)
    }

    fn find(&self, name: &str) -> Result<BackendId, Refusal> {
        let ids = || (0..).map(BackendId).take(self.member_count());
        ids().find(|&id| self.name(id) == name).ok_or_else(|| {
            let known: Vec<&str> = ids().map(|id| self.name(id)).collect();
            Refusal::UnknownServer(format!("there is no server {name}; there are {}", known.join(", ")))
        })
    }

    fn disable(&self, id: BackendId, reason: &str) -> Result<String, Refusal> {
        let (name, member) = (self.name(id), self.member(id));
        let reason = match reason {
            "" => "disabled by an operator".to_owned(),
            reason => format!("disabled by an operator: {reason}"),
        };
        if let Wish::StayOut(_) = member.wish() {
            return not_now(format!("{name} is disabled already"));
        }
        if member.state() == MemberState::Diverged {
            return not_now(format!(
                "{name} is out of the group already, and stays out until it is rebuilt"
            ));
        }
        if !self.is_online(id) {
            self.note_disabled(id, &reason);
            member.wish.send_replace(Wish::StayOut(reason));
            return Ok(format!("{name} is not in the group, and stays out until it is enabled"));
        }
        let view = self.view();
        if !view.online.iter().any(|&other| other != id && !self.is_draining(other)) {
            return not_now(format!(
                "{name} is the only server that is online: clients would have none; bring another one back first"
            ));
        }
        member.is_draining.store(true, Ordering::SeqCst);
        self.set_status(id, MemberState::Draining, &reason);
        member.wish.send_replace(Wish::StayOut(reason));
        Ok(format!(
            "{name} gets no new reads; it leaves the group when those under way have ended, after {LONGEST_DRAIN:?} at the latest"
        ))
    }

    fn enable(&self, id: BackendId) -> Result<String, Refusal> {
        let (name, member) = (self.name(id), self.member(id));
        match (member.wish(), member.state()) {
            (Wish::StayOut(_), _) if self.is_online(id) => {
                member.is_draining.store(false, Ordering::SeqCst);
                self.set_status(id, MemberState::Online, "enabled before it had left the group");
                member.wish.send_replace(Wish::TakePart);
                Ok(format!("{name} stays in the group"))
            }
            (Wish::StayOut(_), _) if member.unfit().is_some() => not_now(format!(
                "{name} must be rebuilt: {}",
                member.unfit().unwrap_or_default()
            )),
            (Wish::StayOut(_), _) => {
                self.set_status(
                    id,
                    MemberState::Replaying,
                    "enabled by an operator; executes what it has missed",
                );
                member.wish.send_replace(Wish::TakePart);
                Ok(format!("{name} executes what it has missed and then joins the group"))
            }
            (Wish::TakePart, MemberState::Diverged) if member.unfit().is_none() => {
                self.set_status(
                    id,
                    MemberState::Replaying,
                    "enabled by an operator; it is looked at what it holds",
                );
                member.wish.send_replace(Wish::TakePart);
                Ok(format!(
                    "{name} joins the group if its position rows and the recovery log permit it now"
                ))
            }
            (Wish::TakePart, MemberState::Diverged) => not_now(format!(
                "{name} holds something else than the group and cannot come back as it is: rebuild it"
            )),
            (Wish::Rebuild(_), _) => not_now(format!(
                "{name} is being rebuilt and joins the group afterwards by itself"
            )),
            (Wish::TakePart, MemberState::Online) => not_now(format!("{name} is online already")),
            (Wish::TakePart, _) => not_now(format!(
                "{name} is not disabled; it comes back by itself as soon as it can"
            )),
        }
    }

    fn order_rebuild(&self, id: BackendId, donor: Option<&str>) -> Result<String, Refusal> {
        let (name, member) = (self.name(id), self.member(id));
        let donor = donor.map(|donor| self.find(donor)).transpose()?;
        if donor == Some(id) {
            return not_now(format!(
                "{name} cannot be a copy of itself; name another server, or none"
            ));
        }
        if let Some(donor) = donor.filter(|&donor| !self.is_online(donor)) {
            let donor = self.name(donor);
            return not_now(format!(
                "{donor} is not online, so what it holds may be old; name another server, or none"
            ));
        }
        if let Wish::Rebuild(_) = member.wish() {
            return not_now(format!("{name} is being rebuilt already"));
        }
        if self.is_online(id) {
            return not_now(format!(
                "{name} is online and holds what the others hold; if it is to be made anew all the same, disable it first"
            ));
        }
        self.set_status(id, MemberState::Rebuilding, "waits for its copy to begin");
        member.wish.send_replace(Wish::Rebuild(donor));
        let source = donor.map_or("another server", |donor| self.name(donor));
        Ok(format!(
            "everything on {name} is replaced by a copy of {source}; then it executes what it has missed and joins the group"
        ))
    }

    /// Lets the reads that are under way on a server end, and takes it out of the group. Ends early when the operator wants something else.
    pub(crate) async fn leave(&self, id: BackendId, reason: &str) {
        let (clock, member) = (self.world.clock(), self.member(id));
        let deadline = clock.now() + LONGEST_DRAIN;
        member.is_draining.store(true, Ordering::SeqCst);
        let stays_out = || matches!(member.wish(), Wish::StayOut(_));
        while stays_out() && self.at_work.iter().any(|running| running.reads_on(id)) && clock.now() < deadline {
            clock.sleep(PAUSE).await;
        }
        let _one_at_a_time = self.commanding.lock().unwrap_or_else(PoisonError::into_inner);
        if !stays_out() {
            member.is_draining.store(false, Ordering::SeqCst);
            return;
        }
        if self.take_out(id, Fault::Disabled, reason) {
            return;
        }
        member.is_draining.store(false, Ordering::SeqCst);
        member.wish.send_replace(Wish::TakePart);
        self.note_memory();
        self.set_status(
            id,
            MemberState::Online,
            "was not disabled: the others have left, and it is the only server now",
        );
    }
}
