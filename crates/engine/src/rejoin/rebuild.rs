//! Making a server anew: everything that it holds is replaced by a copy of what another one holds at one instant, whose position rows say where that is in the
//! log. Then it comes back like any other server that was away.
//!
//! The barrier is closed while the instant is fixed, so that all connections of the copy show the same one, and no statement that commits by
//! itself is half way through.

use crate::group::Group;
use crate::io::{BackendId, Clock, Copier, CopyError, CopyProgress, LegError, Servers, World};
use crate::member::{MemberState, Wish};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Between two notes how far the copy is.
const BETWEEN_NOTES: Duration = Duration::from_millis(500);

impl<W: World> Group<W> {
    /// One attempt to rebuild a server. What comes of it stands in its state and in what is wanted of it.
    pub(super) async fn rebuild(&self, id: BackendId, named: Option<BackendId>) {
        let clock = self.world.clock();
        let Some(donor) = self.choose_donor(named) else {
            let reason = match named {
                Some(named) => format!("waits for {} to be online, which is to be copied", self.name(named)),
                None => "waits for a server that can be copied: none is online".to_owned(),
            };
            self.change_status(id, MemberState::Rebuilding, &reason);
            clock.sleep(self.settings.rejoin_pause).await;
            return;
        };
        tracing::info!(
            backend = self.name(id),
            donor = self.name(donor),
            "the server is rebuilt"
        );
        let began = clock.now();
        self.member(id).is_copied.store(false, Ordering::SeqCst);
        match self.copy(id, donor).await {
            Ok(rows) => {
                let took = clock.now().saturating_sub(began);
                tracing::info!(
                    backend = self.name(id),
                    donor = self.name(donor),
                    rows,
                    ?took,
                    "the copy is complete"
                );
                let reason = format!(
                    "is a copy of {} with {rows} rows; executes what came since",
                    self.name(donor)
                );
                self.is_rebuilt(id);
                self.end_rebuild(id, named, MemberState::Replaying, &reason);
            }
            Err(CopyError::Unsuitable(reason)) => {
                tracing::error!(
                    backend = self.name(id),
                    donor = self.name(donor),
                    reason,
                    "the server cannot be rebuilt"
                );
                let reason = format!(
                    "could not be rebuilt from {}: {reason}; then order the rebuild again",
                    self.name(donor)
                );
                self.end_rebuild(id, named, MemberState::Diverged, &reason);
            }
            Err(error) => {
                tracing::warn!(backend = self.name(id), donor = self.name(donor), %error, "the copy begins again");
                let reason = format!("the copy of {} begins again: {error}", self.name(donor));
                self.member(id).is_copied.store(false, Ordering::SeqCst);
                self.change_status(id, MemberState::Rebuilding, &reason);
                clock.sleep(self.settings.rejoin_pause).await;
            }
        }
    }

    /// The rebuild that was ordered is over, unless an operator wants something else by now.
    fn end_rebuild(&self, id: BackendId, named: Option<BackendId>, state: MemberState, reason: &str) {
        let _one_at_a_time = self.commanding.lock().unwrap_or_else(PoisonError::into_inner);
        if self.member(id).wish() == Wish::Rebuild(named) {
            self.set_status(id, state, reason);
            self.member(id).wish.send_replace(Wish::TakePart);
            self.note_memory();
        }
    }

    /// The one that an operator has named; or one that does not lead, if there is one.
    fn choose_donor(&self, named: Option<BackendId>) -> Option<BackendId> {
        let view = self.view();
        if let Some(named) = named {
            return Some(named).filter(|named| view.online.contains(named));
        }
        let others = view.online.iter().copied().filter(|&other| other != view.lead);
        others
            .min_by_key(|&other| self.member(other).readers.load(Ordering::Relaxed))
            .or(view.online.first().copied())
    }

    async fn copy(&self, id: BackendId, donor: BackendId) -> Result<u64, CopyError> {
        let servers = self.world.servers();
        let progress = CopyProgress::default();
        let gone = self.gone(donor);
        let copying = async {
            servers.probe(id).await?;
            servers.expel(id, &self.accounts.names()).await?;
            // Events are part of the copy.
            let found = self.examine(id).await?;
            self.stop_scheduler(id, &found)
                .await
                .map_err(|setback| CopyError::Changed(setback.to_string()))?;
            self.member(id).is_copied.store(true, Ordering::SeqCst);
            // The log keeps what the copy will lack.
            let donors = self
                .member(donor)
                .progress
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .position;
            let now = self.world.clock().unix_micros();
            self.note_position(id, donors.unwrap_or(0), Some(now));
            self.set_status(
                id,
                MemberState::Rebuilding,
                &format!("becomes a copy of {}", self.name(donor)),
            );
            let mut copier = servers.prepare_copy(donor, id).await?;
            let definitions = self
                .fix_instant(|| {
                    // Open sessions' temporary tables are not in the copy.
                    self.note_loss();
                    copier.freeze()
                })
                .await?;
            copier.survey().await?;
            if self.definitions.load(Ordering::SeqCst) != definitions {
                let reason = "a definition changed while all of them were read";
                return Err(CopyError::Changed(reason.into()));
            }
            self.must_be_rebuilt(id, "a copy onto it has begun and is not complete");
            copier.fill(&progress).await?;
            copier.complete().await
        };
        let noting = async {
            loop {
                self.world.clock().sleep(BETWEEN_NOTES).await;
                let (rows, expected) = (
                    progress.rows.load(Ordering::Relaxed),
                    progress.expected.load(Ordering::Relaxed),
                );
                let reason = format!(
                    "becomes a copy of {}: {rows} of about {expected} rows",
                    self.name(donor)
                );
                self.change_status(id, MemberState::Rebuilding, &reason);
            }
        };
        tokio::select! {
            biased;
            () = gone.cancelled() => Err(LegError::Lost(format!("{} has left the group", self.name(donor))).into()),
            copied = copying => copied.map(|()| progress.rows.load(Ordering::Relaxed)),
            () = noting => Ok(0),
        }
    }
}
