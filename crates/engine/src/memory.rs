//! What Grove remembers of its servers over its own end: who is disabled, who must be rebuilt, and whose rebuild is not complete.
//!
//! A server's own position rows say what it has committed, and not whether that is right. So a server that has answered otherwise than the lead
//! must not come back because Grove was started again, or because an operator has disabled and enabled it.

use crate::group::Group;
use crate::io::{BackendId, LegError, World};
use crate::member::{Remembered, Wish};
use std::sync::PoisonError;
use tokio::sync::watch;

impl<W: World> Group<W> {
    /// What is to be remembered of each server, by name; servers of which that is nothing are left out.
    pub fn remembered(&self) -> Vec<(String, Remembered)> {
        let ids = (0..).map(BackendId).take(self.member_count());
        let remembered = ids.map(|id| {
            let member = self.member(id);
            let (disabled, rebuild) = match member.wish() {
                Wish::TakePart => (None, None),
                Wish::StayOut(reason) => (Some(reason), None),
                Wish::Rebuild(donor) => (None, Some(donor.map(|donor| self.name(donor).to_owned()))),
            };
            let remembered = Remembered {
                disabled,
                must_be_rebuilt: member.unfit(),
                rebuild,
            };
            (self.name(id).to_owned(), remembered)
        });
        remembered
            .filter(|(_, remembered)| *remembered != Remembered::default())
            .collect()
    }

    /// Changes whenever [`Group::remembered`] may give something else.
    pub fn memories(&self) -> watch::Receiver<u64> {
        self.memories.subscribe()
    }

    /// What [`Group::remembered`] gave when [`Group::memories`] stood at `count` is written down.
    pub fn note_kept(&self, count: u64) {
        self.kept_memories.send_replace(count);
    }

    /// Completes when everything up to now is written down; never, if nobody does that.
    pub async fn all_is_kept(&self) {
        let wanted = *self.memories.borrow();
        let mut kept = self.kept_memories.subscribe();
        // The group has the sender.
        let _ = kept.wait_for(|&count| count >= wanted).await;
    }

    pub(crate) fn note_memory(&self) {
        self.memories.send_modify(|count| *count += 1);
    }

    /// From now on the server counts as holding something else than the group, until it is a copy.
    pub(crate) fn must_be_rebuilt(&self, id: BackendId, reason: &str) {
        let mut unfit = self.member(id).unfit.lock().unwrap_or_else(PoisonError::into_inner);
        unfit.get_or_insert_with(|| reason.to_owned());
        drop(unfit);
        self.note_memory();
    }

    /// The server is a copy.
    pub(crate) fn is_rebuilt(&self, id: BackendId) {
        *self.member(id).unfit.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.note_memory();
    }

    /// Why no server takes part in a group that is to be formed.
    pub(crate) fn why_none(&self) -> LegError {
        let statuses = self.statuses();
        let words = statuses
            .iter()
            .map(|status| format!("{}: {}", status.name, status.reason));
        let words: Vec<String> = words.collect();
        LegError::Lost(match words.as_slice() {
            [] => "no server is configured".to_owned(),
            words => format!("no server can take part: {}", words.join("; ")),
        })
    }
}
