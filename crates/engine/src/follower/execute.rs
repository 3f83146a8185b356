//! Executing what the lead has answered, one statement after the other, and who waits for whom meanwhile.

use super::{Executed, Follower};
use crate::group::Fault;
use crate::interrupt::{Running, kill_statement};
use crate::io::{Clock, Discard, LegError, World};
use crate::statement::{outcome_of, query_payload, set_last_insert_id};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// Lock trouble among Grove's own legs ends after a few; this many is no longer trouble but a fault.
const MOST_ATTEMPTS: u32 = 1000;
/// Lock wait timeouts of one transaction go on for this long before its server is given up. Grove's own legs release their locks long before.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What became of one statement.
pub(super) enum Step {
    Executed,
    StartOver(Duration),
    /// Error 1205: whoever holds the lock did not start over when asked to.
    LockWaitEnded,
}

impl<W: World> Follower<W> {
    /// Executes every entry that the leg's transaction does not hold yet.
    pub(super) async fn catch_up(&mut self) -> Result<(), LegError> {
        let mut attempts = 0;
        while self.executed < self.entries.len() {
            if self.fate.is_abandoned() {
                return self.leave_undone().await;
            }
            if self.pass_over_undone() {
                continue;
            }
            let begins = !self.leg.in_transaction;
            let step = self.execute_next().await;
            self.restart.stepped();
            let step = match step {
                Ok(step) => step,
                Err(LegError::Protocol(reason)) if begins => {
                    // If it was the BEGIN that was refused, then the statement behind it has committed by itself.
                    let reason = format!("whether a transaction was begun here is not known: {reason}");
                    return Err(self.give_up_as(Fault::Diverged, &reason));
                }
                Err(error @ (LegError::Lost(_) | LegError::Protocol(_))) => {
                    attempts += 1;
                    if attempts > MOST_ATTEMPTS {
                        let reason =
                            format!("a transaction could not be executed here in {MOST_ATTEMPTS} attempts: {error}");
                        return Err(self.give_up(&reason));
                    }
                    self.reconnect(error).await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            match step {
                Step::Executed => {
                    self.restart.owes(None);
                    self.entries[self.executed].1 = None;
                    self.executed += 1;
                }
                Step::StartOver(pause) => {
                    attempts += 1;
                    if attempts > MOST_ATTEMPTS {
                        return Err(self.give_up("a transaction could not be executed here in 1000 attempts"));
                    }
                    self.start_over(pause).await?;
                }
                Step::LockWaitEnded => {
                    self.give_up_waiting()?;
                    self.start_over(Duration::ZERO).await?;
                }
            }
        }
        Ok(())
    }

    /// Leaves the next entry out if the lead has taken it back; the ROLLBACK TO SAVEPOINT that did so is still to come. What it says about the
    /// session goes with the entry behind it.
    fn pass_over_undone(&mut self) -> bool {
        let (executed, share) = &mut self.entries[self.executed];
        if !executed.is_gone() {
            return false;
        }
        *share = None;
        self.passed_over.extend(executed.context.iter().cloned());
        self.passed_over.extend(executed.last_insert_id.map(set_last_insert_id));
        self.executed += 1;
        true
    }

    fn flight(&mut self) -> (Vec<Bytes>, Arc<Executed>) {
        let executed = Arc::clone(&self.entries[self.executed].0);
        let mut prelude = if self.leg.in_transaction {
            Vec::new()
        } else {
            self.opening.begin.clone()
        };
        prelude.append(&mut self.passed_over);
        prelude.extend(executed.context.iter().cloned());
        if let Some(id) = executed.generated_id {
            let first = id.saturating_sub(self.shift_here());
            prelude.push(query_payload(format!("SET INSERT_ID={first}").as_bytes()));
        }
        (prelude, executed)
    }

    /// Correction of the insert id of the entry that is executed now.
    pub(super) fn shift_here(&self) -> u64 {
        let here = self.insert_id_shift.filter(|(at, _)| *at == self.executed);
        here.map_or(0, |(_, shift)| shift)
    }

    pub(super) async fn execute_next(&mut self) -> Result<Step, LegError> {
        let (prelude, executed) = self.flight();
        self.leg.clock_is_set = executed.sets_clock;
        let group = Arc::clone(&self.group);
        let (restart, lead) = (self.restart.clone(), executed.lead);
        let (backend, thread_id) = (self.leg.backend, self.leg.thread_id());
        let is_new = self.entries[self.executed].1.is_some();
        restart.owes(is_new.then_some(lead));
        let running = Running::default();
        let mut told_to_restart = false;
        let mut late_kill = None;
        let mut patience = group.settings.follower_lock_wait;
        let began = group.world.clock().now();
        let reply = {
            let mut sink = Discard;
            let run = self
                .leg
                .run_announced(&prelude, &executed.body, &mut sink, Some(&running));
            // One future to the end of the statement: dropped, it would lose a signal that it has taken.
            let stop = restart.must_stop(&running);
            tokio::pin!(run, stop);
            loop {
                tokio::select! {
                    biased;
                    reply = &mut run => break reply?,
                    () = &mut stop, if !told_to_restart => {
                        told_to_restart = true;
                        // The leg waits itself; only the server can wake it.
                        late_kill = kill_statement(&group, backend, thread_id).await.err();
                    }
                    () = group.world.clock().sleep(patience) => {
                        patience = (patience * 2).min(Duration::from_secs(5));
                        if told_to_restart {
                            // The kill did not get through.
                            late_kill = late_kill.or(kill_statement(&group, backend, thread_id).await.err());
                            continue;
                        }
                        let is_late = lead != backend && group.view().lead == backend;
                        if is_late && group.world.clock().now().saturating_sub(began) > group.settings.late_lock_wait {
                            // Seen by `must_stop`.
                            self.fate.doom();
                        }
                        restart.free_the_way(&group, (backend, thread_id), patience).await;
                    }
                }
            }
        };
        let outcome = outcome_of(&reply.reply);
        if let Some(error) = late_kill {
            // It may still come, and hit what is executed next on this connection.
            return Err(LegError::Lost(format!("a kill was not answered: {error}")));
        }
        if told_to_restart {
            return Ok(Step::StartOver(Duration::ZERO));
        }
        self.judge(&executed, &reply, outcome).await
    }

    /// Counts a lock wait timeout; an error when there have been enough of them.
    fn give_up_waiting(&mut self) -> Result<(), LegError> {
        let now = self.group.world.clock().now();
        let since = *self.waits_since.get_or_insert(now);
        if now.saturating_sub(since) < LONGEST_WAIT {
            return Ok(());
        }
        let reason = "a lock was not released in several lock wait timeouts: another client than Grove writes here";
        if self.group.view().lead == self.leg.backend {
            // It has become the lead, and what holds the lock is a transaction that goes on here. This one can be run again.
            self.fate.doom();
            return Ok(());
        }
        Err(self.give_up(reason))
    }
}
