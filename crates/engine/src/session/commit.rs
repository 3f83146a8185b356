//! A decided commit: the unit goes into the log, then COMMIT goes to every leg in parallel, and a server that does not confirm is evicted.
//!
//! Invariant: once the log has the unit, every server that stays online commits it. That work is a task of its own, because the client may
//! disconnect or be killed meanwhile; the task keeps the transaction's gates until the last server has answered.

use super::{LegOf, Session, Slot};
use crate::barrier::Pass;
use crate::error::SessionError;
use crate::gate::Hold;
use crate::group::Group;
use crate::io::{BackendId, Discard, Identity, Leg, LegError, LegReply, World};
use crate::leg::OpenLeg;
use crate::order::CommitUnderWay;
use crate::position_rows::is_access_denied;
use crate::statement::Body;
use grove_recovery_log::{Entry, Position, WriteUnit};
use grove_wire::CapabilityFlags;
use std::sync::Arc;

/// Everything that the task needs.
struct DecidedCommit<W: World> {
    group: Arc<Group<W>>,
    unit: WriteUnit,
    body: Body,
    identity: Arc<Identity>,
    /// Whether the client's statements may be several in one text.
    takes_several: bool,
    lead: BackendId,
    legs: Vec<Box<LegOf<W>>>,
    /// Given back when the log has the unit.
    pass: Pass,
    /// Released when the task ends.
    _hold: Arc<Hold>,
    _under_way: CommitUnderWay,
}

struct Committed<W: World> {
    answer: Result<LegReply, SessionError>,
    /// Legs that go back to the session.
    legs: Vec<Box<LegOf<W>>>,
}

impl<W: World> Session<W> {
    /// Commits a transaction that has written; every follower has executed all of it and is back. The barrier has been passed since.
    pub(super) async fn commit_writes(
        &mut self,
        body: Body,
        lead: BackendId,
        pass: Pass,
    ) -> Result<LegReply, SessionError> {
        let mut legs = Vec::new();
        for slot in &mut self.slots {
            if matches!(slot, Slot::Mine(leg) if leg.in_transaction)
                && let Slot::Mine(leg) = std::mem::replace(slot, Slot::Closed)
                // One of a server that has left may hold less than the whole transaction, and must not say that it holds the unit.
                && !leg.gone().is_cancelled()
            {
                legs.push(leg);
            }
        }
        let holders: Vec<BackendId> = legs.iter().map(|leg| leg.backend).collect();
        if !holders.iter().any(|&backend| self.group.is_online(backend)) {
            let lost = LegError::Lost("every connection of the transaction was lost".into());
            let verdict = self.group.verify(self.group.view().lead, &lost).await;
            verdict.map_err(SessionError::NoServer)?;
            return Err(SessionError::Retry(
                "every server lost the transaction before it was decided".into(),
            ));
        }
        let Some(transaction) = self.transaction.take() else {
            return Err(SessionError::Fatal("a commit without a transaction".into()));
        };
        // Not from the time at which the lead executed its last statement: a lead that has lost other transactions (it was started again a moment ago)
        // lets pass what their locks hold up on the others.
        let mut unit = transaction.write_unit(self.identity.logged(self.generation), self.group.commits.newest_sent());
        transaction.add_files(&mut unit).await;
        self.evict_all_but(&holders);
        let commit = DecidedCommit {
            group: Arc::clone(&self.group),
            unit,
            body,
            identity: Arc::clone(&self.identity),
            takes_several: self.identity.capabilities.contains(CapabilityFlags::MULTI_STATEMENTS),
            lead,
            legs,
            pass,
            _hold: transaction.hold,
            _under_way: self.group.commits.begin(),
        };
        let committed = tokio::spawn(commit.carry_out()).await;
        let committed = committed.map_err(|error| SessionError::Fatal(format!("a commit was cut off: {error}")))?;
        for leg in committed.legs {
            let backend = leg.backend;
            *self.slot(backend) = Slot::Mine(leg);
        }
        committed.answer
    }

    /// Online servers that do not hold a transaction which the others commit leave the group.
    pub(super) fn evict_all_but(&self, holders: &[BackendId]) {
        for &backend in &self.group.view().online {
            if !holders.contains(&backend) {
                self.group
                    .evict(backend, "lost its part of a transaction that the others commit");
            }
        }
    }
}

impl<W: World> DecidedCommit<W> {
    async fn carry_out(self) -> Committed<W> {
        let Self {
            group,
            unit,
            body,
            identity,
            takes_several,
            lead,
            mut legs,
            pass,
            _hold,
            _under_way,
        } = self;
        let position = match group.log.append(Entry::Unit(unit)).await {
            // Before the lead can release a lock.
            Ok(position) => {
                group.commits.sent(position);
                position
            }
            // Dropping the legs rolls the transaction back everywhere. If it is in the log nevertheless, the next start of Grove will find it.
            Err(error) if error.leaves_open() => {
                return Committed {
                    answer: Err(SessionError::Fatal(format!(
                        "the outcome of the commit is not known: {error}"
                    ))),
                    legs: Vec::new(),
                };
            }
            Err(error) => {
                return Committed {
                    answer: Err(SessionError::NotLogged(error)),
                    legs: undo(legs).await,
                };
            }
        };
        drop(pass);
        let runs = legs
            .iter_mut()
            .map(|leg| commit_on(&group, leg, position, &body, takes_several));
        let replies = futures_util::future::join_all(runs).await;
        let mut committed = judge(&group, lead, legs, replies);
        if let Err(error @ SessionError::Fatal(_)) = &mut committed.answer
            && group.log.id().is_some()
            && let Some(reply) = confirmed_later(&group, &identity, &body).await
        {
            tracing::warn!(position, %error, "the commit was confirmed only after its last server had been brought back");
            committed.answer = Ok(reply);
        }
        group.metrics().commits.add(1);
        committed
    }
}

/// Commits on one server, with the unit's position. An account that has not written there before is permitted to write positions.
async fn commit_on<W: World>(
    group: &Group<W>,
    leg: &mut LegOf<W>,
    position: Position,
    body: &Body,
    takes_several: bool,
) -> Result<LegReply, LegError> {
    let reply = leg.commit(position, body, takes_several).await?;
    match reply.reply.err() {
        Some(err) if is_access_denied(err.code) => {
            group.permit_marks(leg).await?;
            leg.commit(position, body, takes_several).await
        }
        _ => Ok(reply),
    }
}

/// The unit is decided, and no server has confirmed it: the last one was lost in between. It is brought to the log's end before anybody goes on there, so
/// whoever is let in then finds the unit done. `None` if that takes too long.
async fn confirmed_later<W: World>(group: &Arc<Group<W>>, identity: &Arc<Identity>, body: &Body) -> Option<LegReply> {
    let lead = group.view().lead;
    let mut leg = group.open_leg(lead, identity).await.ok()?;
    leg.run(&[], body, &mut Discard).await.ok()
}

/// Rolls back what was not decided; the legs on which that is certain.
async fn undo<L: Leg>(mut legs: Vec<Box<OpenLeg<L>>>) -> Vec<Box<OpenLeg<L>>> {
    let rollback = Body::query(b"ROLLBACK");
    let ends = legs.iter_mut().map(|leg| async {
        let undone = leg.run(&[], &rollback, &mut Discard).await;
        undone.is_ok_and(|reply| reply.reply.err().is_none()) && !leg.in_transaction
    });
    let mut ended = futures_util::future::join_all(ends).await.into_iter();
    legs.retain(|_| ended.next().unwrap_or(false));
    legs
}

/// A server that did not confirm is evicted: the unit is decided. The answer is the lead's if it confirmed.
fn judge<W: World>(
    group: &Group<W>,
    lead: BackendId,
    legs: Vec<Box<LegOf<W>>>,
    replies: Vec<Result<LegReply, LegError>>,
) -> Committed<W> {
    let anybody = replies
        .iter()
        .any(|result| matches!(result, Ok(reply) if reply.reply.err().is_none()));
    let mut answer = Err(SessionError::Fatal("no server confirmed the commit".into()));
    let mut kept = Vec::with_capacity(legs.len());
    for (leg, result) in legs.into_iter().zip(replies) {
        let backend = leg.backend;
        match result {
            Ok(reply) if reply.reply.err().is_none() => {
                kept.push(leg);
                if answer.is_err() || backend == lead {
                    answer = Ok(reply);
                }
            }
            // The same refusal everywhere is the client's answer.
            Ok(reply) if !anybody => answer = Ok(reply),
            Ok(reply) => {
                let reason = format!("COMMIT failed here and not elsewhere: {:?}", reply.reply.err());
                if !group.evict(backend, &reason) {
                    group.owes(backend, &reason);
                }
            }
            Err(error) => {
                let reason = format!("the connection was lost during COMMIT: {error}");
                if !group.evict(backend, &reason) {
                    tracing::error!(
                        backend = group.name(backend),
                        reason,
                        "whether the last server has committed is not known"
                    );
                    group.owes(backend, &reason);
                }
            }
        }
    }
    Committed { answer, legs: kept }
}
