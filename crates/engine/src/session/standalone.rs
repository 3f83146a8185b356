//! Statements that cannot share a transaction with others: DDL, account management, SET GLOBAL, LOCK TABLES, CALL outside a transaction, and
//! everything that was not understood.
//!
//! The lead executes first; the others then execute the same statement and must answer the same, errors included, because a statement of
//! this kind may have done part of its work before it failed. Gates keep every other writer of its tables away meanwhile.

use super::{Session, Slot};
use crate::error::SessionError;
use crate::follower::agree;
use crate::io::{BackendId, ClientReply, Discard, LegError, LegReply, World};
use crate::session::end::join_all;
use crate::session::write::forces_insert_id;
use crate::statement::{Statement, insert_id, outcome_of, query_payload};
use bytes::BytesMut;
use grove_recovery_log::{Entry, LoggedStatement, Outcome, ResultOutcome};
use grove_sql::Class;

impl<W: World> Session<W> {
    pub(super) async fn standalone<S: ClientReply>(
        &mut self,
        statement: &Statement,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        let class = statement.analysis.class;
        if class == Class::LockTables {
            self.release_table_locks();
        }
        let owner = self.table_locks.unwrap_or_else(|| self.group.next_owner());
        let result = match self.table_locks {
            // Whoever holds table locks may use only those tables, whose gates it has.
            Some(_) => self.run_standalone(statement, sink).await,
            None => match self.take_gates(owner, statement).await {
                Ok(()) => self.run_standalone(statement, sink).await,
                Err(error) => Err(error),
            },
        };
        let holds = class == Class::LockTables && matches!(&result, Ok(frame) if !grove_wire::is_err_frame(frame));
        if holds {
            self.table_locks = Some(owner);
        } else if class == Class::UnlockTables {
            self.release_table_locks();
        } else if self.table_locks != Some(owner) {
            self.group.gates.release_all(owner);
        }
        result
    }

    async fn run_standalone<S: ClientReply>(
        &mut self,
        statement: &Statement,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        let mut attempts = 0;
        loop {
            let (share, lead) = self.group.order.enter().await;
            let clock = self.clock_and_chance(statement);
            let result = match self.told_leg(lead).await {
                Ok(()) => match self.slot(lead) {
                    Slot::Mine(leg) => {
                        leg.clock_is_set = true;
                        leg.run(std::slice::from_ref(&clock), &statement.body, sink).await
                    }
                    _ => continue,
                },
                Err(error) => Err(error),
            };
            match result {
                Ok(reply) => {
                    let outcome = outcome_of(&reply.reply);
                    if worth_repeating(&outcome) {
                        self.repeat_on_followers(lead, statement, &clock, &outcome).await;
                        self.log_standalone(statement, clock, outcome).await?;
                    }
                    self.capture_variables(lead, &statement.analysis.user_variables_written)
                        .await?;
                    drop(share);
                    return Ok(reply.last_frame);
                }
                Err(error) => {
                    drop(share);
                    let verdict = self.after_failure(lead, error, &mut attempts).await?;
                    if !sink.start_over() {
                        return Err(SessionError::Fatal("the lead died in the middle of a result".into()));
                    }
                    if verdict == crate::group::Verdict::Alive {
                        // Whether the statement took effect there is not known; the others have not seen it.
                        self.group.evict(
                            lead,
                            "lost its connection in the middle of a statement that commits by itself",
                        );
                        if self.group.is_online(lead) {
                            return Err(SessionError::Fatal("the outcome of the statement is not known".into()));
                        }
                    }
                }
            }
        }
    }

    async fn repeat_on_followers(
        &mut self,
        lead: BackendId,
        statement: &Statement,
        clock: &bytes::Bytes,
        outcome: &Outcome,
    ) {
        let followers: Vec<BackendId> = self
            .group
            .view()
            .online
            .iter()
            .copied()
            .filter(|&b| b != lead)
            .collect();
        for &backend in &followers {
            let mut attempts = 0;
            while let Err(error) = self.told_leg(backend).await {
                let verdict = self.after_failure(backend, error, &mut attempts).await;
                if !matches!(verdict, Ok(crate::group::Verdict::Alive)) {
                    self.group
                        .evict(backend, "could not be given a statement that the lead has executed");
                    break;
                }
            }
        }
        let mut prelude = vec![clock.clone()];
        let id = insert_id(outcome);
        if forces_insert_id(statement) && id > 0 {
            prelude.push(query_payload(format!("SET INSERT_ID={id}").as_bytes()));
        }
        let legs = self.slots.iter_mut().filter_map(|slot| match slot {
            Slot::Mine(leg) if followers.contains(&leg.backend) => Some(leg),
            _ => None,
        });
        let runs = legs.map(|leg| repeat(leg, &prelude, statement)).collect();
        let replies: Vec<(BackendId, Result<LegReply, LegError>)> = join_all(runs).await;
        for (backend, result) in replies {
            let reason = match result {
                Ok(reply) if agree(outcome, &outcome_of(&reply.reply)) => continue,
                Ok(reply) => format!(
                    "answered differently from the lead: {:?} instead of {:?}",
                    outcome_of(&reply.reply).results,
                    outcome.results
                ),
                Err(error) => format!("lost in the middle of a statement that commits by itself: {error}"),
            };
            self.close_leg(backend);
            self.group.evict(backend, &reason);
        }
    }

    async fn log_standalone(
        &mut self,
        statement: &Statement,
        clock: bytes::Bytes,
        outcome: Outcome,
    ) -> Result<(), SessionError> {
        let mut context: Vec<bytes::Bytes> = self.state.since(0).collect();
        context.push(clock);
        let logged = LoggedStatement {
            body: statement.body.logged(),
            context,
            outcome,
        };
        let appended = self.group.log.append(Entry::Standalone(logged)).await;
        appended
            .map(|_| ())
            .map_err(|error| SessionError::Fatal(error.to_string()))
    }
}

async fn repeat<L: crate::io::Leg>(
    leg: &mut crate::leg::OpenLeg<L>,
    prelude: &[bytes::Bytes],
    statement: &Statement,
) -> (BackendId, Result<LegReply, LegError>) {
    let backend = leg.backend;
    leg.clock_is_set = true;
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

/// A statement that the parser refused (1064), or that only waited for a lock or was interrupted, has done nothing.
fn worth_repeating(outcome: &Outcome) -> bool {
    !matches!(
        outcome.results.as_slice(),
        [ResultOutcome::Err {
            code: 1064 | 1205 | 1213 | 1317
        }]
    )
}
