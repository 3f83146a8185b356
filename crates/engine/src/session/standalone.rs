//! Statements that cannot share a transaction with others: DDL, account management, SET GLOBAL, LOCK TABLES, CALL outside a transaction, and
//! everything that was not understood.
//!
//! The lead executes first; the others then execute the same statement and must answer the same, errors included, because a statement of
//! this kind may have done part of its work before it failed. Gates keep every other writer of its tables away meanwhile.

use super::{MirroredKind, Session, Slot};
use crate::error::SessionError;
use crate::follower::agree;
use crate::group::Verdict;
use crate::io::{BackendId, ClientReply, Discard, LegError, LegReply, World};
use crate::session::write::forces_insert_id;
use crate::statement::{Statement, insert_id, outcome_of, query_payload};
use bytes::{Bytes, BytesMut};
use grove_recovery_log::{Entry, LoggedStatement, Outcome, ResultOutcome};
use grove_sql::Class;

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
        let frame = self.run_standalone(statement, sink).await?;
        if !grove_wire::is_err_frame(&frame) {
            self.note_mirrored(statement, hold);
        }
        Ok(frame)
    }

    async fn run_standalone<S: ClientReply>(
        &mut self,
        statement: &Statement,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        let running = std::sync::Arc::clone(&self.running);
        let mut attempts = 0;
        loop {
            let (_share, lead) = self.group.order.enter().await;
            if let Err(error) = self.told_leg(lead).await {
                self.after_failure(lead, error, &mut attempts).await?;
                continue;
            }
            let clock: Vec<Bytes> = self.clock_and_chance(statement).into_iter().collect();
            let sets_clock = !self.state.client_sets_clock;
            let Slot::Mine(leg) = self.slot(lead) else { continue };
            leg.clock_is_set = sets_clock;
            match leg.run_for_client(&clock, &statement.body, sink, &running).await {
                Ok(reply) => {
                    let outcome = outcome_of(&reply.reply);
                    if stopped_in_the_middle(statement, &outcome) {
                        self.doubt(
                            lead,
                            "a statement that may have done part of its work was interrupted on it",
                        );
                    } else if worth_repeating(&outcome) {
                        self.repeat_on_followers(lead, statement, &clock, &outcome).await;
                        self.note_insert_id(insert_id(&outcome));
                        self.log_standalone(statement, clock, outcome).await?;
                    }
                    self.capture_variables(lead, &statement.analysis.user_variables_written)
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

    /// What the lead did is not known, and no other server has done it: the others go on without the lead. False if it is the last server.
    pub(super) fn doubt(&self, lead: BackendId, reason: &str) -> bool {
        self.group.evict(lead, reason)
    }

    async fn repeat_on_followers(
        &mut self,
        lead: BackendId,
        statement: &Statement,
        clock: &[Bytes],
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
                if !matches!(verdict, Ok(Verdict::Alive)) {
                    self.group
                        .evict(backend, "could not be given a statement that the lead has executed");
                    break;
                }
            }
        }
        let mut prelude = clock.to_vec();
        let id = insert_id(outcome);
        if forces_insert_id(statement) && id > 0 {
            prelude.push(query_payload(format!("SET INSERT_ID={id}").as_bytes()));
        }
        let sets_clock = !self.state.client_sets_clock;
        let legs = self.slots.iter_mut().filter_map(|slot| match slot {
            Slot::Mine(leg) if followers.contains(&leg.backend) => Some(leg),
            _ => None,
        });
        let runs = legs.map(|leg| {
            leg.clock_is_set = sets_clock;
            repeat(leg, &prelude, statement)
        });
        let replies: Vec<(BackendId, Result<LegReply, LegError>)> = futures_util::future::join_all(runs).await;
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
        clock: Vec<Bytes>,
        outcome: Outcome,
    ) -> Result<(), SessionError> {
        let mut context: Vec<Bytes> = self.state.since(0).collect();
        context.extend(clock);
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
