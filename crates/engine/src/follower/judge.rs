//! Whether a follower gave the lead's answer, and what it means if not.

use super::execute::Step;
use super::{Executed, Follower};
use crate::fate::Fate;
use crate::group::{Fault, Group};
use crate::io::{Entropy, LegError, LegReply, World};
use crate::statement::{insert_id, words_of};
use grove_recovery_log::{Outcome, ResultOutcome};
use std::time::Duration;

impl<W: World> Follower<W> {
    pub(super) async fn judge(
        &mut self,
        executed: &Executed,
        reply: &LegReply,
        mut outcome: Outcome,
    ) -> Result<Step, LegError> {
        if let Some(ResultOutcome::Err { code }) = outcome.results.last() {
            let code = *code;
            if code == 1205 && Some(&ResultOutcome::Err { code }) != executed.outcome.results.last() {
                return Ok(Step::LockWaitEnded);
            }
            if is_lock_trouble(code) && Some(&ResultOutcome::Err { code }) != executed.outcome.results.last() {
                let jitter = self.group.world.entropy().next_u64() % 20;
                return Ok(Step::StartOver(Duration::from_millis(jitter)));
            }
            // An ERR packet does not say whether the transaction is still open.
            outcome.in_transaction = self.leg.ask_in_transaction().await?;
        }
        let must_ask = executed.reports_no_insert_id && executed.generated_id.is_some();
        let got = match must_ask {
            true => self.leg.last_insert_id().await?,
            false => insert_id(&outcome),
        };
        let has_same_keys = !must_ask || executed.generated_id == Some(got);
        if has_same_keys && agree(&executed.outcome, &outcome) {
            return Ok(Step::Executed);
        }
        if let Some(wanted) = executed.generated_id
            && self.shift_here() == 0
            && got > wanted
            && got - wanted < wanted
        {
            // The first generated id went to a row that was not inserted: begin that much earlier.
            self.insert_id_shift = Some((self.executed, got - wanted));
            return Ok(Step::StartOver(Duration::ZERO));
        }
        if executed.outcome.in_transaction && !outcome.in_transaction {
            return Ok(Step::StartOver(Duration::ZERO));
        }
        let message = reply.reply.err().map(|err| String::from_utf8_lossy(&err.message));
        self.answered_differently(executed, &outcome, message.as_deref()).await
    }

    /// Evicts the server, if the lead's answer counts.
    async fn answered_differently(
        &mut self,
        executed: &Executed,
        outcome: &Outcome,
        message: Option<&str>,
    ) -> Result<Step, LegError> {
        let lead_gone = self.group.gone(executed.lead);
        // None of these futures loses anything when it is dropped.
        let abandoned = tokio::select! {
            biased;
            () = self.leg.gone().cancelled() => return Err(LegError::Lost("the server has left the group".into())),
            () = lead_gone.cancelled() => false,
            abandoned = settled_and_abandoned(&self.group, &self.fate) => abandoned,
            () = self.restart.told() => return Ok(Step::StartOver(Duration::ZERO)),
        };
        if abandoned {
            return Ok(Step::StartOver(Duration::ZERO));
        }
        if executed.is_undone() {
            // The lead has taken it back, and others may have overtaken it here. The ROLLBACK TO SAVEPOINT behind it undoes what it did.
            return Ok(Step::Executed);
        }
        if !self.group.is_online(executed.lead) || self.started_over {
            // A lead that was killed and started again between two probes holds no locks of this transaction any more, and its session may not know
            // yet: others have overtaken what is executed here for the second time.
            // Nobody can say any more who was right, and no connection will execute it as the client was told. If it is this server that differs, the
            // next transaction will show it.
            self.fate.doom();
            return Ok(Step::StartOver(Duration::ZERO));
        }
        let statement: String = String::from_utf8_lossy(executed.body.text())
            .chars()
            .take(300)
            .collect();
        let reason = format!(
            "answered differently from the lead: {}{} instead of {} to: {statement}",
            words_of(&outcome.results),
            message.map(|message| format!(" ({message})")).unwrap_or_default(),
            words_of(&executed.outcome.results)
        );
        Err(self.give_up_as(Fault::Diverged, &reason))
    }
}

/// Whether a transaction is abandoned, once that is known and the commits of now are through: a lead that has lost a decided unit (its
/// connection broke during COMMIT) answers without it until it is evicted.
async fn settled_and_abandoned<W: World>(group: &Group<W>, fate: &Fate) -> bool {
    group.commits.settled().await;
    fate.known_abandoned().await
}

/// Errors that only say that locks were granted in another order here: 1205 lock wait, 1213 deadlock, 1317 interrupted by Grove itself,
/// 1467 (MariaDB's answer to a deadlock victim that wanted an auto-increment value), 3058 and 1614 (MySQL's further deadlock codes), 1020
/// (MariaDB: record changed since the snapshot), 1412 (the snapshot here is older than a DDL statement, the lead's is not), 1615 (prepared again
/// and again because of DDL), 3572 (NOWAIT).
pub(crate) fn is_lock_trouble(code: u16) -> bool {
    matches!(
        code,
        1205 | 1213 | 1317 | 1467 | 3058 | 1614 | 1020 | 1412 | 1615 | 3572
    )
}

/// Whether a reply ended with lock trouble.
pub(crate) fn is_lock_trouble_of(outcome: &Outcome) -> bool {
    matches!(outcome.results.last(), Some(ResultOutcome::Err { code }) if is_lock_trouble(*code))
}

/// Whether two servers answered the same. Rows of locking reads are counted.
pub(crate) fn agree(lead: &Outcome, follower: &Outcome) -> bool {
    lead == follower
}
