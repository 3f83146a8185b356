//! The legs of a transaction that writes: the lead's at hand, every other online server's with a follower, all with the transaction so far.

use super::{Session, Slot};
use crate::error::SessionError;
use crate::follower::{Follower, Opening};
use crate::health::Verdict;
use crate::io::{BackendId, Discard, World};
use crate::statement::Body;
use std::sync::Arc;

/// Whether a transaction may write under the lead that was asked for.
#[must_use]
pub(super) enum Readiness {
    Ready,
    /// The lead, or the server on which the snapshot is, has been lost meanwhile: give the share up, move the transaction if its reader is
    /// lost, and enter again.
    Again {
        lost_reader: Option<BackendId>,
    },
}

impl<W: World> Session<W> {
    /// Makes sure that the lead's leg is at hand and every other online server has a follower, all with the transaction so far. Under a share
    /// of the epoch in which `lead` leads, so it never enters an epoch itself: it would wait for that share.
    pub(super) async fn become_writer(&mut self, lead: BackendId) -> Result<Readiness, SessionError> {
        let Some(current) = self.transaction.as_ref().map(|t| t.lead) else {
            return Ok(Readiness::Ready);
        };
        let at_hand = matches!(self.slot(lead), Slot::Mine(_));
        match current {
            Some(current) if current == lead && at_hand => Ok(Readiness::Ready),
            None => self.open_writing_legs(lead).await,
            Some(current) => {
                if current != lead {
                    self.close_leg(current);
                }
                self.promote(current, lead).await
            }
        }
    }

    /// A follower becomes the lead: what it was given is executed first.
    async fn promote(&mut self, old: BackendId, lead: BackendId) -> Result<Readiness, SessionError> {
        if self.transaction.as_ref().is_some_and(|t| t.locks_on_lead_only) {
            return Err(SessionError::Retry(
                "rows locked with SKIP LOCKED were locked on the lead that was lost".into(),
            ));
        }
        let held_work = self
            .transaction
            .as_ref()
            .is_some_and(|t| !t.entries.is_empty() || t.reader == Some(lead));
        if held_work && matches!(self.slot(lead), Slot::Closed) {
            return Err(SessionError::Retry("the new lead's leg was lost as well".into()));
        }
        if let Err(error) = self.take_mine(lead).await {
            if held_work {
                return Err(SessionError::Retry(format!(
                    "the new lead's leg was lost as well: {error}"
                )));
            }
            let mut attempts = 0;
            self.after_failure(lead, error, &mut attempts).await?;
            return Ok(Readiness::Again { lost_reader: None });
        }
        if held_work && matches!(self.slot(lead), Slot::Mine(leg) if !leg.in_transaction) {
            return Err(SessionError::Retry(
                "the new lead has come after the transaction was begun".into(),
            ));
        }
        if let Some(doomed) = self.doomed() {
            // The leg that was taken may be the one that could not execute it.
            return Err(doomed);
        }
        let Some(transaction) = &mut self.transaction else {
            return Ok(Readiness::Ready);
        };
        transaction.lead = Some(lead);
        let read_on_lead = transaction.reader == Some(lead) && transaction.snapshot_lost;
        if read_on_lead || (transaction.reader == Some(old) && old != lead) {
            self.prove_reads(lead).await?;
        }
        Ok(Readiness::Ready)
    }

    async fn open_writing_legs(&mut self, lead: BackendId) -> Result<Readiness, SessionError> {
        let mut attempts = 0;
        let online = self.group.view().online.clone();
        for &backend in &online {
            while let Err(error) = self.told_leg(backend).await {
                let verdict = self.after_failure(backend, error, &mut attempts).await?;
                if self.transaction.as_ref().is_some_and(|t| t.reader == Some(backend)) {
                    return Ok(Readiness::Again {
                        lost_reader: Some(backend),
                    });
                }
                if verdict == Verdict::Evicted {
                    break;
                }
            }
        }
        if !self.group.is_online(lead) {
            return Ok(Readiness::Again { lost_reader: None });
        }
        let (temporary_names, losses) = (self.state.temporary_tables.names(), self.group.losses());
        let opening = Opening {
            state: Arc::new(self.state.changed_since(0).collect()),
            last_insert_id: self.state.last_insert_id,
            has_temporary_tables: self.state.temporary_tables.any(),
            temporary_names: temporary_names.unwrap_or_default(),
            temporary_copy: self.copy_for_the_log(losses).await,
            losses,
            state_version: self.state.version(),
            begin: self.transaction.as_ref().map(|t| t.begin.clone()).unwrap_or_default(),
        };
        let Some(transaction) = &self.transaction else {
            return Ok(Readiness::Ready);
        };
        let (entries, fate) = (transaction.entries.clone(), Arc::clone(&transaction.fate));
        for &backend in online.iter().filter(|&&backend| backend != lead) {
            let Slot::Mine(leg) = std::mem::replace(self.slot(backend), Slot::Closed) else {
                continue;
            };
            let began = leg.in_transaction;
            let (group, identity) = (Arc::clone(&self.group), Arc::clone(&self.identity));
            let mut follower = Follower::new(group, identity, opening.clone(), *leg, Arc::clone(&fate));
            entries
                .iter()
                .for_each(|entry| follower.enqueue(Arc::clone(entry), None));
            if began {
                follower.is_up_to_date();
            }
            *self.slot(backend) = Slot::Away(follower.start());
        }
        if let Slot::Mine(leg) = self.slot(lead)
            && !leg.in_transaction
            && !entries.is_empty()
        {
            self.begin_again_on_lead(lead).await?;
        }
        let version = self.state.version();
        if let Some(transaction) = &mut self.transaction {
            transaction.lead = Some(lead);
            transaction.state_version = version;
            transaction.opening = opening;
        }
        Ok(Readiness::Ready)
    }

    async fn begin_again_on_lead(&mut self, lead: BackendId) -> Result<(), SessionError> {
        let Some(transaction) = &self.transaction else {
            return Ok(());
        };
        let mut statements: Vec<Body> = transaction.begin.iter().cloned().map(Body::own).collect();
        statements.extend(transaction.entries.iter().filter_map(|entry| match &entry.body {
            body @ Body::Query(_) => Some(body.clone()),
            Body::Execute { .. } | Body::Load { .. } => None,
        }));
        let Slot::Mine(leg) = self.slot(lead) else {
            return Ok(());
        };
        for statement in statements {
            if let Err(error) = leg.run(&[], &statement, &mut Discard).await {
                return Err(SessionError::Retry(format!(
                    "the lead was lost while its savepoints were set: {error}"
                )));
            }
        }
        Ok(())
    }

    /// Gives every online server that has lost its leg the whole transaction again, on a fresh connection. Before a commit.
    pub(super) async fn restore_followers(&mut self, lead: BackendId) -> Result<(), SessionError> {
        let Some(transaction) = &self.transaction else {
            return Ok(());
        };
        let (opening, entries) = (transaction.opening.clone(), transaction.entries.clone());
        let fate = Arc::clone(&transaction.fate);
        let online = self.group.view().online.clone();
        for backend in online.into_iter().filter(|&backend| backend != lead) {
            match self.slot(backend) {
                Slot::Closed => {}
                // Of a time before it was lost, or of one before it joined.
                Slot::Mine(leg) if !leg.in_transaction => self.close_leg(backend),
                _ => continue,
            }
            if opening.has_temporary_tables {
                // Those of the beginning are what it needs.
                if self.transaction.as_ref().is_some_and(|t| t.temporary.has_changed_any()) {
                    return Err(SessionError::Retry(
                        "a server lacks temporary tables that the transaction has changed".into(),
                    ));
                }
                match self.open_with_temporary_tables(backend).await {
                    Ok(leg) => {
                        let (group, identity) = (Arc::clone(&self.group), Arc::clone(&self.identity));
                        let mut follower = Follower::new(group, identity, opening.clone(), *leg, Arc::clone(&fate));
                        entries
                            .iter()
                            .for_each(|entry| follower.enqueue(Arc::clone(entry), None));
                        *self.slot(backend) = Slot::Away(follower.start());
                    }
                    Err(error) => {
                        self.after_failure(backend, error, &mut 0).await?;
                    }
                }
                continue;
            }
            let (group, identity) = (Arc::clone(&self.group), Arc::clone(&self.identity));
            match Follower::open(group, identity, opening.clone(), backend, Arc::clone(&fate)).await {
                Ok(mut follower) => {
                    entries
                        .iter()
                        .for_each(|entry| follower.enqueue(Arc::clone(entry), None));
                    *self.slot(backend) = Slot::Away(follower.start());
                }
                // The server answers nobody and is evicted, or it will be for want of its part.
                Err(error) => tracing::warn!(backend = self.group.name(backend), %error, "a lost leg was not restored"),
            }
        }
        Ok(())
    }
}
