//! Statements that cannot share a transaction with others: DDL, account management, SET GLOBAL, LOCK TABLES, CALL outside a transaction, and
//! everything that was not understood.
//!
//! The lead executes first; the others then execute the same statement and must answer the same, errors included, because a statement of
//! this kind may have done part of its work before it failed. Gates keep every other writer of its tables away meanwhile.

use super::insert_id::forces_insert_id;
use super::{LegOf, MirroredKind, Session, Slot};
use crate::error::SessionError;
use crate::follower::agree;
use crate::gate::Hold;
use crate::group::{Group, Verdict};
use crate::io::{BackendId, ClientReply, Discard, LegError, LegReply, World};
use crate::order::Share;
use crate::statement::{Statement, insert_id, outcome_of, query_payload};
use bytes::{Bytes, BytesMut};
use grove_recovery_log::{Entry, LoggedStatement, Outcome, ResultOutcome};
use grove_sql::{Class, Name};
use std::sync::Arc;

impl<W: World> Session<W> {
    pub(super) async fn standalone<S: ClientReply>(
        &mut self,
        statement: &Statement,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        debug_assert!(
            self.transaction.is_none(),
            "a standalone statement would tear an open transaction apart"
        );
        if statement.analysis.class == Class::LockTables && self.is_mirrored(MirroredKind::TableLocks) {
            // LOCK TABLES releases earlier table locks before it waits for new ones.
            self.unlock_tables().await?;
        }
        let hold = self.group.new_hold();
        if self.mirrored.is_none() {
            // In the mirrored state the gates that began it cover what may be touched.
            self.take_gates(&hold, statement).await?;
        }
        let frame = self.run_standalone(statement, &hold, sink).await?;
        if !grove_wire::is_err_frame(&frame) {
            self.note_mirrored(statement, hold);
        }
        Ok(frame)
    }

    async fn run_standalone<S: ClientReply>(
        &mut self,
        statement: &Statement,
        hold: &Arc<Hold>,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        let running = Arc::clone(&self.running);
        let mut attempts = 0;
        loop {
            let (share, lead) = self.group.order.enter().await;
            self.tell_all_legs(&mut attempts).await?;
            if !self.group.is_online(lead) {
                continue;
            }
            let clock: Vec<Bytes> = self.clock_and_chance(statement).into_iter().collect();
            let sets_clock = !self.state.client_sets_clock;
            let in_doubt = InDoubt::new(&self.group, lead);
            let Slot::Mine(leg) = self.slot(lead) else {
                in_doubt.settle();
                continue;
            };
            leg.clock_is_set = sets_clock;
            let result = leg.run_for_client(&clock, &statement.body, sink, &running).await;
            in_doubt.settle();
            match result {
                Ok(reply) => {
                    let outcome = outcome_of(&reply.reply);
                    if stopped_in_the_middle(statement, &outcome) {
                        self.doubt(
                            lead,
                            "a statement that may have done part of its work was interrupted on it",
                        );
                    } else if worth_repeating(&outcome) {
                        self.note_insert_id(insert_id(&outcome));
                        self.repeat_on_followers(lead, statement, clock, outcome, (share, Arc::clone(hold)))
                            .await?;
                    }
                    self.capture_anywhere(&statement.analysis.user_variables_written)
                        .await?;
                    return Ok(reply.last_frame);
                }
                Err(error) => {
                    let verdict = self.after_failure(lead, error, &mut attempts).await?;
                    if !sink.start_over() {
                        return Err(SessionError::Fatal("the lead died in the middle of a result".into()));
                    }
                    if verdict == Verdict::Alive
                        && !self.doubt(
                            lead,
                            "lost its connection in the middle of a statement that commits by itself",
                        )
                    {
                        return Err(SessionError::Fatal("the outcome of the statement is not known".into()));
                    }
                }
            }
        }
    }

    /// What the statement assigned, from the first leg that still says it: all have executed it.
    async fn capture_anywhere(&mut self, names: &[Name]) -> Result<(), SessionError> {
        let mut failure = LegError::Lost("no leg is left".into());
        for backend in self.group.view().online.clone() {
            match self.capture_variables(backend, names).await {
                Ok(_) => return Ok(()),
                Err(error) => failure = error,
            }
        }
        Err(SessionError::Fatal(format!(
            "what a statement assigned is not known: {failure}"
        )))
    }

    /// Opens a leg on every online server and tells it the session's state.
    async fn tell_all_legs(&mut self, attempts: &mut usize) -> Result<(), SessionError> {
        for backend in self.group.view().online.clone() {
            while let Err(error) = self.told_leg(backend).await {
                if self.after_failure(backend, error, attempts).await? == Verdict::Evicted {
                    break;
                }
            }
        }
        Ok(())
    }

    /// What the lead did is not known, and no other server has done it: the others go on without the lead. False if it is the last server.
    pub(super) fn doubt(&self, lead: BackendId, reason: &str) -> bool {
        self.group.evict(lead, reason)
    }

    /// Everybody else executes what the lead has executed, and the log gets it: in a task of its own, because the client may leave meanwhile.
    async fn repeat_on_followers(
        &mut self,
        lead: BackendId,
        statement: &Statement,
        clock: Vec<Bytes>,
        outcome: Outcome,
        guards: (Arc<Share>, Arc<Hold>),
    ) -> Result<(), SessionError> {
        let mut context: Vec<Bytes> = self.state.since(0).collect();
        context.extend(clock.iter().cloned());
        let mut prelude = clock;
        let id = insert_id(&outcome);
        if forces_insert_id(statement) && id > 0 {
            prelude.push(query_payload(format!("SET INSERT_ID={id}").as_bytes()));
        }
        let mut legs = Vec::new();
        for backend in self.group.view().online.iter().copied().filter(|&b| b != lead) {
            match std::mem::replace(self.slot(backend), Slot::Closed) {
                Slot::Mine(mut leg) => {
                    leg.clock_is_set = !self.state.client_sets_clock;
                    legs.push(leg);
                }
                _ => {
                    let reason = "could not be given a statement that the lead has executed";
                    self.group.evict(backend, reason);
                }
            }
        }
        let repetition = Repetition {
            group: Arc::clone(&self.group),
            statement: statement.clone(),
            prelude,
            logged: LoggedStatement {
                body: statement.body.logged(),
                context,
                outcome,
            },
            legs,
            _guards: guards,
        };
        let repeated = tokio::spawn(repetition.carry_out()).await;
        let legs = repeated.map_err(|error| SessionError::Fatal(format!("a statement was cut off: {error}")))??;
        for leg in legs {
            let backend = leg.backend;
            *self.slot(backend) = Slot::Mine(leg);
        }
        Ok(())
    }
}

/// The lead executes a statement that commits by itself. If that is cut off (a client that is gone, a process that ends), nobody knows whether the
/// lead has done it, and the others have not: dropping this without settling it takes the lead out of the group.
struct InDoubt<W: World>(Option<(Arc<Group<W>>, BackendId)>);

impl<W: World> InDoubt<W> {
    fn new(group: &Arc<Group<W>>, lead: BackendId) -> Self {
        Self(Some((Arc::clone(group), lead)))
    }

    fn settle(mut self) {
        self.0 = None;
    }
}

impl<W: World> Drop for InDoubt<W> {
    fn drop(&mut self) {
        if let Some((group, lead)) = self.0.take() {
            group.evict(
                lead,
                "a statement that commits by itself was cut off while it ran there",
            );
        }
    }
}

/// What is left to do for a statement that the lead has executed.
struct Repetition<W: World> {
    group: Arc<Group<W>>,
    statement: Statement,
    prelude: Vec<Bytes>,
    logged: LoggedStatement,
    legs: Vec<Box<LegOf<W>>>,
    /// The epoch's share and the gates: released when every server has it.
    _guards: (Arc<Share>, Arc<Hold>),
}

impl<W: World> Repetition<W> {
    /// The legs that executed it and answered as the lead did.
    async fn carry_out(mut self) -> Result<Vec<Box<LegOf<W>>>, SessionError> {
        let (prelude, statement) = (&self.prelude, &self.statement);
        let runs = self.legs.iter_mut().map(|leg| repeat(leg, prelude, statement));
        let replies: Vec<(BackendId, Result<LegReply, LegError>)> = futures_util::future::join_all(runs).await;
        let outcome = &self.logged.outcome;
        let mut kept = Vec::new();
        for (leg, (backend, result)) in self.legs.into_iter().zip(replies) {
            let reason = match result {
                Ok(reply) if agree(outcome, &outcome_of(&reply.reply)) => {
                    kept.push(leg);
                    continue;
                }
                Ok(reply) => format!(
                    "answered differently from the lead: {:?} instead of {:?}",
                    outcome_of(&reply.reply).results,
                    outcome.results
                ),
                Err(error) => format!("lost in the middle of a statement that commits by itself: {error}"),
            };
            self.group.evict(backend, &reason);
        }
        let appended = self.group.log.append(Entry::Standalone(self.logged)).await;
        appended.map_err(|error| SessionError::Fatal(error.to_string()))?;
        Ok(kept)
    }
}

async fn repeat<L: crate::io::Leg>(
    leg: &mut crate::leg::OpenLeg<L>,
    prelude: &[Bytes],
    statement: &Statement,
) -> (BackendId, Result<LegReply, LegError>) {
    let backend = leg.backend;
    for _ in 0..10 {
        match leg.run(prelude, &statement.body, &mut Discard).await {
            Ok(reply) if is_lock_wait(&outcome_of(&reply.reply)) => {}
            other => return (backend, other),
        }
    }
    (backend, leg.run(prelude, &statement.body, &mut Discard).await)
}

fn is_lock_wait(outcome: &Outcome) -> bool {
    matches!(outcome.results.last(), Some(ResultOutcome::Err { code: 1205 | 1213 }))
}

/// Whether a statement ended in the middle for a reason that another server need not have. A routine, or a statement that was not understood,
/// may have committed part of its work by then.
fn stopped_in_the_middle(statement: &Statement, outcome: &Outcome) -> bool {
    let first_word = statement.body.text().trim_ascii_start();
    let is_query = [
        b"select".as_slice(),
        b"with",
        b"(",
        b"insert",
        b"update",
        b"delete",
        b"replace",
    ]
    .iter()
    .any(|word| {
        first_word
            .get(..word.len())
            .is_some_and(|w| w.eq_ignore_ascii_case(word))
    });
    let may_be_partial = match statement.analysis.class {
        Class::Call => true,
        // A single query is atomic whatever it calls.
        Class::Unknown => !is_query,
        _ => false,
    };
    // Lock wait, deadlock, interrupted, and the two servers' statement time limits (ER_QUERY_TIMEOUT, ER_STATEMENT_TIMEOUT).
    may_be_partial
        && matches!(
            outcome.results.last(),
            Some(ResultOutcome::Err {
                code: 1205 | 1213 | 1317 | 3024 | 1969
            })
        )
}

/// A statement that the parser refused (1064), or that only waited for a lock or was interrupted, has done nothing.
fn worth_repeating(outcome: &Outcome) -> bool {
    !matches!(
        outcome.results.as_slice(),
        [ResultOutcome::Err {
            code: 1064 | 1205 | 1213 | 1317
        }]
    )
}
