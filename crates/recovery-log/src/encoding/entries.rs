//! Each kind of entry, field by field. A field is added by a new [`VERSION`], which keeps reading the older ones.

use bytes::Bytes;

use super::fields::{DecodeError, Reader, Writer};
use crate::entry::{
    Checkpoint, Entry, Intent, LoggedStatement, MembershipCause, MembershipChange, Origin, Outcome, ResultOutcome,
    Standalone, StatementBody, Temporary, TemporaryUse, WriteUnit,
};

/// Version of the payloads that this code writes, and the newest that it reads.
pub const VERSION: u8 = 1;

/// What a record's header says about its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Entry::Unit`].
    Unit = 1,
    /// [`Entry::Intent`].
    Intent = 2,
    /// [`Entry::Standalone`].
    Standalone = 3,
    /// [`Entry::Membership`].
    Membership = 4,
    /// [`Entry::Checkpoint`].
    Checkpoint = 5,
}

impl Kind {
    /// The kind with this number, if there is one.
    pub fn numbered(number: u8) -> Option<Self> {
        [
            Self::Unit,
            Self::Intent,
            Self::Standalone,
            Self::Membership,
            Self::Checkpoint,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == number)
    }
}

/// The entry's kind and payload.
pub fn encode(entry: &Entry) -> (Kind, Vec<u8>) {
    let mut to = Writer(Vec::with_capacity(256));
    let kind = match entry {
        Entry::Unit(unit) => {
            put_origin(&mut to, &unit.origin);
            to.number(unit.depends_on);
            to.list(&unit.opening, |to, text| to.bytes(text));
            put_temporary(&mut to, &unit.temporary);
            to.list(&unit.statements, put_statement);
            Kind::Unit
        }
        Entry::Intent(intent) => {
            put_origin(&mut to, &intent.origin);
            put_body(&mut to, &intent.body);
            to.list(&intent.context, |to, text| to.bytes(text));
            Kind::Intent
        }
        Entry::Standalone(standalone) => {
            put_origin(&mut to, &standalone.origin);
            to.number(standalone.intent);
            put_temporary(&mut to, &standalone.temporary);
            put_statement(&mut to, &standalone.statement);
            Kind::Standalone
        }
        Entry::Membership(change) => {
            put_membership(&mut to, change);
            Kind::Membership
        }
        Entry::Checkpoint(checkpoint) => {
            to.bytes(checkpoint.name.as_bytes());
            Kind::Checkpoint
        }
    };
    (kind, to.0)
}

/// The entry of a payload of the current version.
pub fn decode(kind: Kind, payload: Bytes) -> Result<Entry, DecodeError> {
    let mut from = Reader::new(payload);
    let entry = match kind {
        Kind::Unit => Entry::Unit(WriteUnit {
            origin: take_origin(&mut from)?,
            depends_on: from.number()?,
            opening: from.list(Reader::bytes)?,
            temporary: take_temporary(&mut from)?,
            statements: from.list(take_statement)?,
        }),
        Kind::Intent => Entry::Intent(Intent {
            origin: take_origin(&mut from)?,
            body: take_body(&mut from)?,
            context: from.list(Reader::bytes)?,
        }),
        Kind::Standalone => Entry::Standalone(Standalone {
            origin: take_origin(&mut from)?,
            intent: from.number()?,
            temporary: take_temporary(&mut from)?,
            statement: take_statement(&mut from)?,
        }),
        Kind::Membership => Entry::Membership(take_membership(&mut from)?),
        Kind::Checkpoint => Entry::Checkpoint(Checkpoint { name: from.name()? }),
    };
    from.end()?;
    Ok(entry)
}

fn put_origin(to: &mut Writer, origin: &Origin) {
    to.bytes(origin.user.as_bytes());
    to.number(origin.capabilities);
    to.number(u64::from(origin.collation));
    to.bytes(&origin.schema);
    to.number(u64::from(origin.connection_id));
    to.number(origin.session);
}

fn take_origin(from: &mut Reader) -> Result<Origin, DecodeError> {
    Ok(Origin {
        user: from.name()?,
        capabilities: from.number()?,
        collation: from.small()?,
        schema: from.bytes()?,
        connection_id: from.small()?,
        session: from.number()?,
    })
}

fn put_statement(to: &mut Writer, statement: &LoggedStatement) {
    put_body(to, &statement.body);
    to.list(&statement.context, |to, text| to.bytes(text));
    to.number(statement.generated_id);
    to.byte(u8::from(statement.undone));
    to.list(&statement.outcome.results, put_result);
    to.byte(u8::from(statement.outcome.in_transaction));
}

fn take_statement(from: &mut Reader) -> Result<LoggedStatement, DecodeError> {
    Ok(LoggedStatement {
        body: take_body(from)?,
        context: from.list(Reader::bytes)?,
        generated_id: from.number()?,
        undone: from.truth()?,
        outcome: Outcome {
            results: from.list(take_result)?,
            in_transaction: from.truth()?,
        },
    })
}

fn put_body(to: &mut Writer, body: &StatementBody) {
    match body {
        StatementBody::Text(text) => {
            to.byte(1);
            to.bytes(text);
        }
        StatementBody::Execute {
            text,
            parameters,
            long_data,
        } => {
            to.byte(2);
            to.bytes(text);
            to.bytes(parameters);
            to.list(long_data, |to, (index, value)| {
                to.number(u64::from(*index));
                to.bytes(value);
            });
        }
        StatementBody::LoadWithoutFile(text) => {
            to.byte(3);
            to.bytes(text);
        }
        StatementBody::Load { text, file } => {
            to.byte(5);
            to.bytes(text);
            to.bytes(file);
        }
        StatementBody::Attributed { text, attributes } => {
            to.byte(4);
            to.bytes(text);
            to.bytes(attributes);
        }
    }
}

fn take_body(from: &mut Reader) -> Result<StatementBody, DecodeError> {
    match from.byte()? {
        1 => Ok(StatementBody::Text(from.bytes()?)),
        2 => Ok(StatementBody::Execute {
            text: from.bytes()?,
            parameters: from.bytes()?,
            long_data: from.list(|from| Ok((from.small()?, from.bytes()?)))?,
        }),
        3 => Ok(StatementBody::LoadWithoutFile(from.bytes()?)),
        4 => Ok(StatementBody::Attributed {
            text: from.bytes()?,
            attributes: from.bytes()?,
        }),
        5 => Ok(StatementBody::Load {
            text: from.bytes()?,
            file: from.bytes()?,
        }),
        other => from.wrong(format!("{other} is no form of a statement; 1 to 5 are")),
    }
}

fn put_temporary(to: &mut Writer, temporary: &Temporary) {
    to.byte(temporary.usage as u8);
    to.list(&temporary.names, |to, (schema, name)| {
        to.bytes(schema);
        to.bytes(name);
    });
    to.list(&temporary.copy, |to, payload| to.bytes(payload));
}

fn take_temporary(from: &mut Reader) -> Result<Temporary, DecodeError> {
    Ok(Temporary {
        usage: match from.byte()? {
            0 => TemporaryUse::None,
            1 => TemporaryUse::Untouched,
            2 => TemporaryUse::Needed,
            3 => TemporaryUse::Only,
            other => return from.wrong(format!("{other} is no use of temporary tables; 0 to 3 are")),
        },
        names: from.list(|from| Ok((from.bytes()?, from.bytes()?)))?,
        copy: from.list(Reader::bytes)?,
    })
}

fn put_result(to: &mut Writer, result: &ResultOutcome) {
    match result {
        ResultOutcome::Ok {
            affected_rows,
            last_insert_id,
            info,
        } => {
            to.byte(1);
            to.number(*affected_rows);
            to.number(*last_insert_id);
            to.bytes(info);
        }
        ResultOutcome::Err { code } => {
            to.byte(2);
            to.number(u64::from(*code));
        }
        ResultOutcome::Rows { rows } => {
            to.byte(3);
            to.number(*rows);
        }
    }
}

fn take_result(from: &mut Reader) -> Result<ResultOutcome, DecodeError> {
    match from.byte()? {
        1 => Ok(ResultOutcome::Ok {
            affected_rows: from.number()?,
            last_insert_id: from.number()?,
            info: from.bytes()?,
        }),
        2 => Ok(ResultOutcome::Err { code: from.small()? }),
        3 => Ok(ResultOutcome::Rows { rows: from.number()? }),
        other => from.wrong(format!("{other} is no form of a result; 1 to 3 are")),
    }
}

fn put_membership(to: &mut Writer, change: &MembershipChange) {
    to.number(change.epoch);
    to.bytes(change.lead.as_bytes());
    to.list(&change.online, |to, name| to.bytes(name.as_bytes()));
    match &change.cause {
        MembershipCause::Formed => to.byte(1),
        MembershipCause::Evicted { server, reason } => {
            to.byte(2);
            to.bytes(server.as_bytes());
            to.bytes(reason.as_bytes());
        }
        MembershipCause::Joined { server } => {
            to.byte(3);
            to.bytes(server.as_bytes());
        }
    }
}

fn take_membership(from: &mut Reader) -> Result<MembershipChange, DecodeError> {
    Ok(MembershipChange {
        epoch: from.number()?,
        lead: from.name()?,
        online: from.list(Reader::name)?,
        cause: match from.byte()? {
            1 => MembershipCause::Formed,
            2 => MembershipCause::Evicted {
                server: from.name()?,
                reason: from.name()?,
            },
            3 => MembershipCause::Joined { server: from.name()? },
            other => return from.wrong(format!("{other} is no cause of an epoch; 1 to 3 are")),
        },
    })
}
