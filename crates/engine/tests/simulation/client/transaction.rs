//! A transaction from its beginning to its end, as a client that handles errors well runs it.

use super::{Client, Effect, Next, OpenTransaction, Savepoint, Stop, wrong};
use crate::answer::Answer;
use crate::board::Verdict;
use crate::model::sql::{Change, Filter, RowLock, Sql, Table};
use grove_wire::StatusFlags;

impl Client {
    pub(super) async fn transaction(&mut self) -> Result<(), Stop> {
        self.open = Some(OpenTransaction::default());
        let result = self.transaction_to_its_end().await;
        if let (Err(Stop::Left), Some(open)) = (&result, self.open.take()) {
            let verdict = if open.commits {
                Verdict::Unknown
            } else {
                Verdict::RolledBack
            };
            self.settle(&open.effects, verdict);
        }
        result
    }

    pub(super) async fn transaction_to_its_end(&mut self) -> Result<(), Stop> {
        if self.autocommit {
            let with_snapshot = self.random.chance(200);
            let floor = self.floor_now();
            self.expect_ok(&if with_snapshot {
                Sql::BeginWithSnapshot
            } else {
                Sql::Begin
            })
            .await?;
            if let Some(open) = &mut self.open
                && with_snapshot
            {
                open.floor = Some(floor);
            }
        }
        let mut next = Next::GoOn;
        let longest = if self.plan.storms { 7 } else { 5 };
        for _ in 0..self.random.between(1, longest) {
            self.pause().await;
            next = self.transaction_step().await?;
            if next != Next::GoOn {
                break;
            }
        }
        self.pause().await;
        if next == Next::GoOn && self.random.chance(850) {
            return self.commit().await;
        }
        if let Some(open) = &mut self.open {
            let effects = std::mem::take(&mut open.effects);
            self.settle(&effects, Verdict::RolledBack);
        }
        if next != Next::Gone || self.random.chance(300) {
            let was_open = self.session.in_transaction();
            let code = self.execute(&Sql::Rollback).await?.code();
            let killed = code == Some(1317) && self.plan.kills > 0 && !was_open;
            if code.is_some() && !killed {
                return wrong(format!("ROLLBACK failed with {code:?}"));
            }
        }
        if self.session.in_transaction() {
            return wrong("a transaction is open after its end".into());
        }
        self.open = None;
        Ok(())
    }

    pub(super) async fn commit(&mut self) -> Result<(), Stop> {
        if let Some(open) = &mut self.open {
            open.commits = true;
        }
        let was_open = self.session.in_transaction();
        let answer = self.execute(&Sql::Commit).await?;
        if answer.code() == Some(1317) && self.plan.kills > 0 && !was_open {
            // With autocommit=0 there may be nothing to commit, and that may be killed.
            self.open = None;
            return Ok(());
        }
        let Some(open) = self.open.take() else { return Ok(()) };
        match answer.code() {
            None => {
                self.around.board.notes().commits += 1;
                self.settle(&open.effects, Verdict::Committed);
            }
            Some(_) => {
                self.allow(&Sql::Commit, &answer)?;
                self.settle(&open.effects, Verdict::RolledBack);
            }
        }
        if self.session.in_transaction() {
            return wrong("a transaction is open after COMMIT".into());
        }
        Ok(())
    }

    pub(super) async fn transaction_step(&mut self) -> Result<Next, Stop> {
        let kind = self.random.below(20);
        match if self.plan.storms && kind < 18 {
            kind.max(6)
        } else {
            kind
        } {
            0..6 => {
                let sql = self.plan.workload.read(&mut self.random);
                self.checked_read(&sql).await
            }
            6 => {
                let sql = self.plan.workload.locking_read(&mut self.random);
                self.checked_read(&sql).await
            }
            7 => self.transfer().await,
            8 if !self.session.in_transaction() => Ok(Next::GoOn),
            8 => {
                let name = self.random.pick(&["s1", "s2"]).to_owned();
                self.step(&Sql::Savepoint(name), None).await
            }
            9 => {
                let known = self
                    .open
                    .as_ref()
                    .map(|open| open.savepoints.clone())
                    .unwrap_or_default();
                if known.is_empty() {
                    return Ok(Next::GoOn);
                }
                let savepoint = self.random.pick(&known);
                self.step(&Sql::RollbackTo(savepoint.name), None).await
            }
            10 => self.check_last_insert_id().await,
            11..13 if self.has_increments() => {
                let sql = Sql::Select {
                    table: Table::C,
                    filter: Filter::All,
                    lock: RowLock::None,
                };
                self.checked_read(&sql).await
            }
            _ => {
                let (sql, effect) = self.write_with_effect();
                self.step(&sql, effect).await
            }
        }
    }

    fn has_increments(&self) -> bool {
        let effects = self.open.as_ref().map(|open| open.effects.as_slice());
        effects.is_some_and(|effects| effects.iter().any(|effect| matches!(effect, Effect::Increment(_))))
    }

    /// Moves money: both halves or none.
    pub(super) async fn transfer(&mut self) -> Result<Next, Stop> {
        let (from, to, amount) = (
            self.random.between(1, 5),
            self.random.between(1, 5),
            self.random.between(1, 20),
        );
        for (k, amount) in [(from, -amount), (to, amount)] {
            let sql = Sql::Update {
                table: Table::B,
                change: Change::Add(amount),
                filter: Filter::Key(k),
            };
            match self.step(&sql, None).await? {
                Next::GoOn if matches!(&self.last, Some(Answer::Error(..))) => return Ok(Next::RollBack),
                Next::GoOn => {}
                end => return Ok(end),
            }
        }
        Ok(Next::GoOn)
    }

    /// One statement inside the transaction.
    pub(super) async fn step(&mut self, sql: &Sql, effect: Option<Effect>) -> Result<Next, Stop> {
        let answer = self.execute(sql).await?;
        let next = self.after(sql, &answer)?;
        let Some(open) = &mut self.open else { return Ok(next) };
        if answer.code().is_none() {
            open.effects.extend(effect);
            open.changed.extend(sql.changed_table());
            match sql {
                Sql::Savepoint(name) => {
                    open.savepoints.retain(|other| other.name != *name);
                    open.savepoints.push(Savepoint {
                        name: name.clone(),
                        effects: open.effects.len(),
                        is_first: open.floor.is_none() && open.reads.is_empty() && open.changed.is_empty(),
                    });
                }
                Sql::RollbackTo(name) => {
                    if let Some(at) = open.savepoints.iter().position(|other| other.name == *name) {
                        open.savepoints.truncate(at + 1);
                        let undone = open.effects.split_off(open.savepoints[at].effects);
                        if open.savepoints[at].is_first {
                            open.reads.clear();
                            open.floor = None;
                        }
                        self.settle(&undone, Verdict::RolledBack);
                    }
                }
                _ => {}
            }
        } else if let Some(effect) = effect {
            self.settle(&[effect], Verdict::RolledBack);
        }
        self.last = Some(answer);
        Ok(next)
    }

    /// What becomes of the transaction after an answer; and whether the session agrees.
    pub(super) fn after(&mut self, sql: &Sql, answer: &Answer) -> Result<Next, Stop> {
        let open = self.session.in_transaction();
        let Some(code) = answer.code() else {
            let flagged = answer
                .status()
                .is_none_or(|status| status.contains(StatusFlags::IN_TRANS));
            if !open || !flagged {
                return wrong(format!(
                    "{sql} was answered as if no transaction were open ({open}, {flagged})"
                ));
            }
            return Ok(Next::GoOn);
        };
        self.allow(sql, answer)?;
        match code {
            1213 if open => wrong(format!("1213 for {sql} left a transaction open")),
            // A commit that the log refused: one that the statement implies, too.
            1213 | 1180 => Ok(Next::Gone),
            // It does not say whether the transaction survived.
            1467 => Ok(Next::RollBack),
            // With autocommit=0 the first statement's failure leaves nothing open.
            _ if !open && !self.autocommit => Ok(Next::RollBack),
            _ if !open => wrong(format!("{code} for {sql} ended the transaction")),
            1205 if self.random.chance(500) => Ok(Next::RollBack),
            _ => Ok(Next::GoOn),
        }
    }
}
