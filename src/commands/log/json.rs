//! Entries for programs: one JSON object per line.
//!
//! Bytes of clients are a string where they are UTF-8, and `{"hex": "..."}` where they are not; parameters are always hexadecimal.

use std::io::{self, Write};

use grove_recovery_log::{
    Entry, LoggedStatement, MembershipCause, Origin, Record, ResultOutcome, StatementBody, Temporary, TemporaryUse,
};
use serde_json::{Value, json};

use super::text::COM_QUERY;
use super::time;

/// Writes one entry.
pub fn write(output: &mut impl Write, record: &Record) -> io::Result<()> {
    let mut line = entry(&record.entry);
    line["position"] = json!(record.position);
    line["unix_micros"] = json!(record.unix_micros);
    line["time"] = json!(time::written(record.unix_micros));
    writeln!(output, "{line}")
}

fn entry(entry: &Entry) -> Value {
    match entry {
        Entry::Unit(unit) => json!({
            "kind": "unit",
            "origin": origin(&unit.origin),
            "depends_on": unit.depends_on,
            "opening": unit.opening.iter().map(|text| context(text)).collect::<Vec<_>>(),
            "temporary": temporary(&unit.temporary),
            "statements": unit.statements.iter().map(statement).collect::<Vec<_>>(),
        }),
        Entry::Intent(intent) => json!({
            "kind": "intent",
            "origin": origin(&intent.origin),
            "body": body(&intent.body),
            "context": intent.context.iter().map(|text| context(text)).collect::<Vec<_>>(),
        }),
        Entry::Standalone(standalone) => json!({
            "kind": "standalone",
            "origin": origin(&standalone.origin),
            "intent": standalone.intent,
            "temporary": temporary(&standalone.temporary),
            "statement": statement(&standalone.statement),
        }),
        Entry::Membership(change) => {
            let cause = match &change.cause {
                MembershipCause::Formed => json!({ "formed": true }),
                MembershipCause::Evicted { server, reason } => json!({ "evicted": server, "reason": reason }),
                MembershipCause::Joined { server } => json!({ "joined": server }),
            };
            let (epoch, lead, online) = (change.epoch, &change.lead, &change.online);
            json!({ "kind": "membership", "epoch": epoch, "lead": lead, "online": online, "cause": cause })
        }
        Entry::Checkpoint(checkpoint) => json!({ "kind": "checkpoint", "name": checkpoint.name }),
    }
}

fn temporary(temporary: &Temporary) -> Value {
    let usage = match temporary.usage {
        TemporaryUse::None => "none",
        TemporaryUse::Untouched => "untouched",
        TemporaryUse::Needed => "needed",
        TemporaryUse::Only => "only",
    };
    let names = temporary
        .names
        .iter()
        .map(|(schema, name)| json!([bytes(schema), bytes(name)]));
    json!({
        "usage": usage,
        "names": names.collect::<Vec<_>>(),
        "copy": temporary.copy.iter().map(|text| context(text)).collect::<Vec<_>>(),
    })
}

fn origin(origin: &Origin) -> Value {
    json!({
        "user": origin.user,
        "capabilities": origin.capabilities,
        "collation": origin.collation,
        "schema": bytes(&origin.schema),
        "connection_id": origin.connection_id,
        "session": origin.session,
    })
}

fn statement(statement: &LoggedStatement) -> Value {
    json!({
        "body": body(&statement.body),
        "context": statement.context.iter().map(|text| context(text)).collect::<Vec<_>>(),
        "generated_id": statement.generated_id,
        "undone": statement.undone,
        "results": statement.outcome.results.iter().map(result).collect::<Vec<_>>(),
        "in_transaction": statement.outcome.in_transaction,
    })
}

fn body(body: &StatementBody) -> Value {
    match body {
        StatementBody::Text(text) => json!({ "text": bytes(text) }),
        StatementBody::Attributed { text, attributes } => {
            json!({ "text": bytes(text), "attributes": bytes(attributes) })
        }
        StatementBody::Load { text, file } => json!({ "text": bytes(text), "file": bytes(file) }),
        StatementBody::LoadWithoutFile(text) => json!({ "text": bytes(text), "file": null }),
        StatementBody::Execute {
            text,
            parameters,
            long_data,
        } => {
            let long = |(index, value): &(u16, bytes::Bytes)| json!({ "parameter": index, "hex": hex(value) });
            json!({
                "prepared": bytes(text),
                "parameters": { "hex": hex(parameters) },
                "long_data": long_data.iter().map(long).collect::<Vec<_>>(),
            })
        }
    }
}

fn result(result: &ResultOutcome) -> Value {
    match result {
        ResultOutcome::Ok {
            affected_rows,
            last_insert_id,
            info,
        } => json!({ "affected_rows": affected_rows, "last_insert_id": last_insert_id, "info": bytes(info) }),
        ResultOutcome::Err { code } => json!({ "error": code }),
        ResultOutcome::Rows { rows } => json!({ "rows": rows }),
    }
}

fn context(payload: &[u8]) -> Value {
    bytes(payload.strip_prefix(&[COM_QUERY]).unwrap_or(payload))
}

fn bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "hex": hex(bytes) }),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn bytes_that_are_no_text_are_hexadecimal() {
        let execute = StatementBody::Execute {
            text: Bytes::from_static(b"SELECT '\xFF'"),
            parameters: Bytes::from_static(b"\x01\xAB"),
            long_data: vec![(2, Bytes::from_static(b"x"))],
        };
        let expected = json!({
            "prepared": { "hex": "53454c45435420 27ff27".replace(' ', "") },
            "parameters": { "hex": "01ab" },
            "long_data": [{ "parameter": 2, "hex": "78" }],
        });
        assert_eq!(body(&execute), expected);
    }
}
