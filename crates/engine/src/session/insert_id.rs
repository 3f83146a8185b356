//! Generated keys: what the lead generated is forced on the followers, and what LAST_INSERT_ID() says is known when it matters.

use super::{Session, Slot};
use crate::error::SessionError;
use crate::io::{BackendId, LegError, World};
use crate::state::InsertIdDoubt;
use crate::statement::{Body, Statement, insert_id, set_last_insert_id};
use crate::value::Answer;
use bytes::Bytes;
use grove_recovery_log::Outcome;
use grove_sql::{Class, WriteKind};

/// Grove's own question.
const LAST_INSERT_ID: &[u8] = b"SELECT LAST_INSERT_ID()";

impl<W: World> Session<W> {
    /// For a write that reads LAST_INSERT_ID(): its value, so that a leg which executes the write again does not find a later one.
    pub(super) async fn insert_id_for(&mut self, statement: &Statement) -> Option<Bytes> {
        if !statement.analysis.flags.uses_last_insert_id {
            return None;
        }
        if self.state.insert_id_doubt != InsertIdDoubt::None {
            let answer = match self.who_knows_insert_id() {
                (backend, InsertIdDoubt::Reply) => self.ask(backend, LAST_INSERT_ID).await,
                (backend, _) => self.ask_wherever(backend, LAST_INSERT_ID).await,
            };
            self.learn_insert_id(answer?.first()?)?;
        }
        Some(set_last_insert_id(self.state.last_insert_id))
    }

    /// A ROLLBACK does not take LAST_INSERT_ID() back: legs that missed statements of the transaction are told. All legs are at hand and at rest.
    pub(super) async fn tell_missed_insert_ids(&mut self) {
        let missed = |slot: &Slot<W>| matches!(slot, Slot::Mine(leg) if leg.missed_insert_ids);
        if !self.slots.iter().any(missed) {
            return;
        }
        if self.state.insert_id_doubt != InsertIdDoubt::None {
            let (backend, _) = self.who_knows_insert_id();
            // If that server is lost, the replies have told as much as anybody knows.
            if let Some([answer, ..]) = self.ask(backend, LAST_INSERT_ID).await.as_deref() {
                let _ = self.learn_insert_id(answer);
            }
        }
        let known = [set_last_insert_id(self.state.last_insert_id)];
        for slot in self.slots.iter_mut().filter(|slot| missed(slot)) {
            if let Slot::Mine(leg) = slot {
                leg.missed_insert_ids = false;
                if leg.tell(&known).await.is_err() {
                    *slot = Slot::Closed;
                }
            }
        }
    }

    /// The server that has seen what last changed LAST_INSERT_ID(), and how it was changed.
    fn who_knows_insert_id(&self) -> (BackendId, InsertIdDoubt) {
        let lead = self.transaction.as_ref().and_then(|t| t.lead);
        match (self.state.insert_id_doubt, lead) {
            (InsertIdDoubt::Reply, Some(lead)) => (lead, InsertIdDoubt::Reply),
            _ => (self.current_reader(), InsertIdDoubt::Read),
        }
    }

    fn learn_insert_id(&mut self, answer: &Answer) -> Option<()> {
        self.state.last_insert_id = number(answer)?;
        self.state.insert_id_doubt = InsertIdDoubt::None;
        Some(())
    }

    /// The first auto-increment value that a statement generated, if any. An upsert of several rows that only updated reports the key of the
    /// last one, which must not be forced on followers: their first row would collide with another one than on the lead.
    pub(super) async fn generated_id(
        &mut self,
        lead: BackendId,
        statement: &Statement,
        outcome: &Outcome,
    ) -> Result<Option<u64>, SessionError> {
        let reported = Some(insert_id(outcome)).filter(|&id| id > 0 && forces_insert_id(statement));
        let lost = || SessionError::Retry("the lead was lost while its generated id was asked for".into());
        if !reports_may_mislead(statement) {
            let doubtful = reported.filter(|&id| may_be_explicit(statement, id));
            let Some(id) = doubtful else { return Ok(reported) };
            let answer = self.ask(lead, LAST_INSERT_ID).await.ok_or_else(lost)?;
            let generated = answer.first().and_then(number);
            return Ok(doubtful.filter(|_| generated == Some(id)));
        }
        if reported.is_some() || reports_no_insert_id(statement) {
            let answer = self.ask(lead, LAST_INSERT_ID).await;
            let generated = answer
                .as_deref()
                .and_then(|row| number(row.first()?))
                .ok_or_else(lost)?;
            if generated > 0 {
                return Ok(Some(reported.unwrap_or(generated)));
            }
        }
        self.restore_insert_id(lead).await.map(|()| None).map_err(|_| lost())
    }

    /// A statement of several rows failed on the lead. It has taken its rows back, but LAST_INSERT_ID() tells the first key that it had generated.
    pub(super) async fn note_insert_id_of_failed(&mut self, lead: BackendId, statement: &Statement, alone: bool) {
        let flags = &statement.analysis.flags;
        let has_several_rows = flags.multi_row_insert || flags.insert_select || statement.body.is_bulk();
        let is_load = statement.analysis.class == Class::Write(WriteKind::LoadData);
        if !forces_insert_id(statement) || flags.uses_last_insert_id || !(has_several_rows || is_load) {
            return;
        }
        // The question would clear them.
        self.keep_warnings(lead, alone).await;
        // If the lead is lost here, nobody knows of it, on any server.
        let answer = self.ask(lead, LAST_INSERT_ID).await;
        let id = answer.as_deref().and_then(|row| number(row.first()?));
        if let Some(id) = id.filter(|&id| id > 0 && id != self.state.last_insert_id) {
            self.state.record_insert_id(id);
        }
    }

    /// Nothing was generated: what the session knew before the statement is true again on the lead.
    pub(super) async fn restore_insert_id(&mut self, lead: BackendId) -> Result<(), LegError> {
        let before = set_last_insert_id(self.state.last_insert_id);
        match self.slot(lead) {
            Slot::Mine(leg) => leg.tell(&[before]).await,
            _ => Err(LegError::Lost("the lead's leg is not at hand".into())),
        }
    }

    /// Remembers what a reply says about LAST_INSERT_ID().
    pub(super) fn note_insert_id(&mut self, id: u64) {
        if id > 0 {
            self.state.forget_used_insert_id();
            self.state.last_insert_id = id;
            self.state.insert_id_doubt = InsertIdDoubt::Reply;
        }
    }
}

/// LAST_INSERT_ID() after a statement that the lead answered with OK, if it changes that. A key that the client brought is reported, and changes nothing.
pub(super) fn last_insert_id(statement: &Statement, generated_id: Option<u64>, outcome: &Outcome) -> Option<u64> {
    match forces_insert_id(statement) && !statement.analysis.flags.uses_last_insert_id {
        true => generated_id,
        false => Some(insert_id(outcome)).filter(|&id| id > 0),
    }
}

/// Whether the lead must be asked what a statement generated, which clears its warnings there.
pub(super) fn must_be_asked_about(statement: &Statement, outcome: &Outcome) -> bool {
    let id = insert_id(outcome);
    reports_may_mislead(statement) || (id > 0 && forces_insert_id(statement) && may_be_explicit(statement, id))
}

/// Whether a statement may itself have brought the key that it reports. If that were forced on a follower, it would not be used there, but by
/// the next row that wants one: of a routine, for example, or of a client's after the follower has become the lead. True more often than need be.
fn may_be_explicit(statement: &Statement, id: u64) -> bool {
    let analysis = &statement.analysis;
    if analysis.flags.uses_last_insert_id {
        // It changes what would be asked for.
        return false;
    }
    if analysis.flags.insert_select || !analysis.user_variables_read.is_empty() {
        return true;
    }
    let digits = id.to_string();
    if contains(statement.body.text(), digits.as_bytes()) {
        return true;
    }
    let Body::Execute { payload, long_data, .. } = &statement.body else {
        return false;
    };
    let binary = id.to_le_bytes();
    // A parameter has as many bytes as its type says.
    let width = match id {
        0..=0xFF => 1,
        0x100..=0xFFFF => 2,
        0x1_0000..=0xFFFF_FFFF => 4,
        _ => 8,
    };
    contains(payload, &binary[..width])
        || contains(payload, digits.as_bytes())
        || contains(payload, &(id as f64).to_le_bytes())
        || long_data.iter().any(|(_, data)| contains(data, digits.as_bytes()))
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// LOAD DATA and INSERT .. RETURNING report no id, and an upsert of several rows reports one whether it generated it or not. (A single row that was updated is the row with the reported key: if
/// that is forced, it collides with itself.) One that calls LAST_INSERT_ID() sets what would be asked for, so its report is taken as it is.
pub(super) fn reports_may_mislead(statement: &Statement) -> bool {
    let flags = &statement.analysis.flags;
    let has_several_rows = flags.multi_row_insert || flags.insert_select || statement.body.is_bulk();
    let upserts = flags.on_duplicate_key && has_several_rows;
    (upserts && !flags.uses_last_insert_id) || reports_no_insert_id(statement)
}

/// LOAD DATA generates keys, and its OK packet says 0. INSERT .. RETURNING answers with rows, which have no place for an id; one that reads
/// LAST_INSERT_ID() cannot be asked about by way of it.
pub(super) fn reports_no_insert_id(statement: &Statement) -> bool {
    let flags = &statement.analysis.flags;
    let returns = flags.returning && !flags.uses_last_insert_id && forces_insert_id(statement);
    returns || statement.analysis.class == Class::Write(WriteKind::LoadData)
}

fn number(answer: &Answer) -> Option<u64> {
    std::str::from_utf8(&answer.plain).ok()?.parse().ok()
}

pub(super) fn forces_insert_id(statement: &Statement) -> bool {
    matches!(
        statement.analysis.class,
        Class::Write(WriteKind::Insert | WriteKind::Replace | WriteKind::LoadData)
    )
}
