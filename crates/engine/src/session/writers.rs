//! The legs of a transaction that writes: the lead's at hand, every other online server's with a follower, all with the transaction so far.

use super::{Session, Slot};
use crate::error::SessionError;
use crate::follower::{Follower, Opening};
use crate::io::{BackendId, Discard, World};
use crate::statement::Body;
use std::sync::Arc;

impl<W: World> Session<W> {
    /// Makes sure that the lead's leg is at hand and every other online server has a follower, all with the transaction so far.
    pub(super) async fn become_writer(&mut self, lead: BackendId) -> Result<(), SessionError> {
        let Some(current) = self.transaction.as_ref().map(|t| t.lead) else {
            return Ok(());
        };
        let at_hand = matches!(self.slot(lead), Slot::Mine(_));
        match current {
            Some(current) if current == lead && at_hand => Ok(()),
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
    async fn promote(&mut self, old: BackendId, lead: BackendId) -> Result<(), SessionError> {
        let held_work = self
            .transaction
            .as_ref()
            .is_some_and(|t| !t.entries.is_empty() || t.reader == Some(lead));
        let was_away = matches!(self.slot(lead), Slot::Away(_) | Slot::Mine(_));
        if held_work && !was_away {
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
        }
        let Some(transaction) = &mut self.transaction else {
            return Ok(());
        };
        transaction.lead = Some(lead);
        if transaction.reader == Some(old) && old != lead {
            return self.prove_reads(lead).await;
        }
        Ok(())
    }

    async fn open_writing_legs(&mut self, lead: BackendId) -> Result<(), SessionError> {
        let mut attempts = 0;
        let online = self.group.view().online.clone();
        for &backend in &online {
            loop {
                match self.told_leg(backend).await {
                    Ok(()) => break,
                    Err(error) => {
                        self.after_failure(backend, error, &mut attempts).await?;
                        if self.transaction.as_ref().is_some_and(|t| t.reader == Some(backend)) {
                            Box::pin(self.move_transaction(backend)).await?;
                        }
                        if !self.group.is_online(backend) {
                            break;
                        }
                    }
                }
            }
        }
        if !self.group.is_online(lead) {
            // The caller asks for the lead again; nothing has been sent to any.
            let (_share, next) = self.group.order.enter().await;
            return Box::pin(self.open_writing_legs(next)).await;
        }
        let Some(transaction) = &self.transaction else {
            return Ok(());
        };
        let opening = Opening {
            state: Arc::new(self.state.since(0).collect()),
            state_version: self.state.version(),
            begin: transaction.begin.clone(),
        };
        let entries = transaction.entries.clone();
        for &backend in online.iter().filter(|&&backend| backend != lead) {
            let Slot::Mine(leg) = std::mem::replace(self.slot(backend), Slot::Closed) else {
                continue;
            };
            let began = leg.in_transaction;
            let (group, identity) = (Arc::clone(&self.group), Arc::clone(&self.identity));
            let mut follower = Follower::new(group, identity, opening.clone(), *leg, began);
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
        Ok(())
    }

    async fn begin_again_on_lead(&mut self, lead: BackendId) -> Result<(), SessionError> {
        let Some(transaction) = &self.transaction else {
            return Ok(());
        };
        let mut statements = transaction.begin.clone();
        statements.extend(transaction.entries.iter().filter_map(|entry| match &entry.body {
            Body::Query(payload) => Some(payload.clone()),
            Body::Execute { .. } => None,
        }));
        let Slot::Mine(leg) = self.slot(lead) else {
            return Ok(());
        };
        for statement in statements {
            let body = Body::Query(statement);
            if let Err(error) = leg.run(&[], &body, &mut Discard).await {
                return Err(SessionError::Retry(format!(
                    "the lead was lost while its savepoints were set: {error}"
                )));
            }
        }
        Ok(())
    }

    /// Gives every online server that has lost its leg the whole transaction again, on a fresh connection. Before a commit.
    pub(super) async fn restore_followers(&mut self, lead: BackendId) {
        let Some(transaction) = &self.transaction else { return };
        let (opening, entries) = (transaction.opening.clone(), transaction.entries.clone());
        let online = self.group.view().online.clone();
        for backend in online.into_iter().filter(|&backend| backend != lead) {
            if !matches!(self.slot(backend), Slot::Closed) {
                continue;
            }
            let (group, identity) = (Arc::clone(&self.group), Arc::clone(&self.identity));
            match Follower::open(group, identity, opening.clone(), backend).await {
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
    }
}
