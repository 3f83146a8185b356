//! A decided commit: the unit goes into the log, then COMMIT goes to every leg in parallel, and a server that does not confirm is evicted.
//!
//! Invariant: once the log has the unit, every server that stays online commits it. That work is a task of its own, because the client may
//! disconnect or be killed meanwhile; the task keeps the transaction's gates until the last server has answered.

use super::{LegOf, Session, Slot};
use crate::error::SessionError;
use crate::gate::Hold;
use crate::group::Group;
use crate::io::{BackendId, Discard, Leg, LegError, LegReply, World};
use crate::leg::OpenLeg;
use crate::order::CommitUnderWay;
use crate::statement::Body;
use grove_recovery_log::{Entry, WriteUnit};
use std::sync::Arc;

/// Everything that the task needs.
struct DecidedCommit<W: World> {
    group: Arc<Group<W>>,
    unit: WriteUnit,
    body: Body,
    lead: BackendId,
    legs: Vec<Box<LegOf<W>>>,
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
    /// Commits a transaction that has written; every follower has executed all of it and is back.
    pub(super) async fn commit_writes(&mut self, body: Body, lead: BackendId) -> Result<LegReply, SessionError> {
        let mut legs = Vec::new();
        for slot in &mut self.slots {
            if matches!(slot, Slot::Mine(leg) if leg.in_transaction)
                && let Slot::Mine(leg) = std::mem::replace(slot, Slot::Closed)
            {
                legs.push(leg);
            }
        }
        let holders: Vec<BackendId> = legs.iter().map(|leg| leg.backend).collect();
        if !holders.iter().any(|&backend| self.group.is_online(backend)) {
            return Err(SessionError::Retry(
                "every server lost the transaction before it was decided".into(),
            ));
        }
        let Some(transaction) = self.transaction.take() else {
            return Err(SessionError::Fatal("a commit without a transaction".into()));
        };
        self.evict_all_but(&holders);
        let commit = DecidedCommit {
            group: Arc::clone(&self.group),
            unit: transaction.write_unit(self.identity.logged()),
            body,
            lead,
            legs,
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
            lead,
            mut legs,
            ..
        } = self;
        match group.log.append(Entry::Unit(unit)).await {
            // Before the lead can release a lock.
            Ok(position) => group.commits.sent(position),
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
        }
        let runs = legs.iter_mut().map(|leg| async {
            let mut sink = Discard;
            leg.run(&[], &body, &mut sink).await
        });
        let replies = futures_util::future::join_all(runs).await;
        let committed = judge(&group, lead, legs, replies);
        group.metrics().commits.add(1);
        committed
    }
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
                group.evict(
                    backend,
                    &format!("COMMIT failed here and not elsewhere: {:?}", reply.reply.err()),
                );
            }
            Err(error) => {
                let reason = format!("the connection was lost during COMMIT: {error}");
                if !group.evict(backend, &reason) {
                    tracing::error!(
                        backend = group.name(backend),
                        reason,
                        "whether the last server has committed is not known"
                    );
                }
            }
        }
    }
    Committed { answer, legs: kept }
}
