//! Entries for people: a line each, and below it a line for each statement and answer.
//!
//! Bytes that are no text stand as `\xNN`, control characters as `\n`, `\t` or `\xNN`, a backslash as `\\`; so a line is a line, and every byte can be told.

use std::io::{self, Write};

use grove_recovery_log::{
    Entry, LoggedStatement, MembershipCause, Origin, Record, ResultOutcome, StatementBody, TemporaryUse,
};

use super::time;

/// The byte before the text of a COM_QUERY.
pub const COM_QUERY: u8 = 3;

/// Writes one entry.
pub fn write(output: &mut impl Write, record: &Record) -> io::Result<()> {
    let (position, time) = (record.position, time::written(record.unix_micros));
    write!(output, "#{position} {time} ")?;
    match &record.entry {
        Entry::Unit(unit) => {
            writeln!(output, "unit depends_on={} {}", unit.depends_on, origin(&unit.origin))?;
            match unit.temporary.usage {
                TemporaryUse::None | TemporaryUse::Untouched => {}
                TemporaryUse::Needed => writeln!(output, "  [with the session's temporary tables]")?,
                TemporaryUse::Only => writeln!(output, "  [on the session's temporary tables only]")?,
            }
            context(output, &unit.opening)?;
            unit.statements.iter().try_for_each(|next| statement(output, next))
        }
        Entry::Intent(intent) => {
            writeln!(output, "intent {}", origin(&intent.origin))?;
            context(output, &intent.context)?;
            writeln!(output, "  {}", body(&intent.body))
        }
        Entry::Standalone(standalone) => {
            writeln!(
                output,
                "standalone intent={} {}",
                standalone.intent,
                origin(&standalone.origin)
            )?;
            statement(output, &standalone.statement)
        }
        Entry::Membership(change) => {
            let online: Vec<String> = change.online.iter().map(|name| escaped(name.as_bytes())).collect();
            let (lead, online) = (escaped(change.lead.as_bytes()), online.join(","));
            write!(output, "membership epoch={} lead={lead} online={online}", change.epoch)?;
            match &change.cause {
                MembershipCause::Formed => writeln!(output, " formed"),
                MembershipCause::Evicted { server, reason } => {
                    let (server, reason) = (escaped(server.as_bytes()), escaped(reason.as_bytes()));
                    writeln!(output, " evicted={server}\n  because {reason}")
                }
                MembershipCause::Joined { server } => writeln!(output, " joined={}", escaped(server.as_bytes())),
            }
        }
        Entry::Checkpoint(checkpoint) => writeln!(output, "checkpoint {}", escaped(checkpoint.name.as_bytes())),
    }
}

fn origin(origin: &Origin) -> String {
    let (user, schema) = (escaped(origin.user.as_bytes()), escaped(&origin.schema));
    format!("user={user} schema={schema} connection={}", origin.connection_id)
}

fn statement(output: &mut impl Write, logged: &LoggedStatement) -> io::Result<()> {
    context(output, &logged.context)?;
    writeln!(output, "  {}", body(&logged.body))?;
    if logged.undone {
        writeln!(output, "    taken back by ROLLBACK TO SAVEPOINT")?;
    }
    if logged.generated_id > 0 {
        writeln!(output, "    first generated id {}", logged.generated_id)?;
    }
    for result in &logged.outcome.results {
        match result {
            ResultOutcome::Ok {
                affected_rows,
                last_insert_id,
                info,
            } => {
                let info = escaped(info);
                writeln!(
                    output,
                    "    -> ok affected_rows={affected_rows} insert_id={last_insert_id} {info}"
                )?;
            }
            ResultOutcome::Err { code } => writeln!(output, "    -> error {code}")?,
            ResultOutcome::Rows { rows } => writeln!(output, "    -> {rows} rows")?,
        }
    }
    Ok(())
}

fn context(output: &mut impl Write, context: &[bytes::Bytes]) -> io::Result<()> {
    let mut texts = context
        .iter()
        .map(|payload| escaped(payload.strip_prefix(&[COM_QUERY]).unwrap_or(payload)));
    texts.try_for_each(|text| writeln!(output, "  ({text})"))
}

fn body(body: &StatementBody) -> String {
    match body {
        StatementBody::Text(text) => escaped(text),
        StatementBody::Attributed { text, attributes } => {
            format!("{} [query attributes {}]", escaped(text), escaped(attributes))
        }
        StatementBody::Load { text, file } => format!("{} [the client's file of {} bytes]", escaped(text), file.len()),
        StatementBody::LoadWithoutFile(text) => format!("{} [the client's file is not in the log]", escaped(text)),
        StatementBody::Execute {
            text,
            parameters,
            long_data,
        } => {
            let long: usize = long_data.iter().map(|(_, value)| value.len()).sum();
            let (text, parameters) = (escaped(text), parameters.len());
            format!("{text} [executed with {parameters} bytes of parameters, {long} bytes of long data]")
        }
    }
}

fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\t' => text.push_str("\\t"),
                control if control.is_control() => {
                    let mut utf8 = [0; 4];
                    push_bytes(&mut text, control.encode_utf8(&mut utf8).as_bytes());
                }
                other => text.push(other),
            }
        }
        push_bytes(&mut text, chunk.invalid());
    }
    text
}

fn push_bytes(text: &mut String, bytes: &[u8]) {
    bytes.iter().for_each(|byte| text.push_str(&format!("\\x{byte:02X}")));
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use grove_recovery_log::{Outcome, Temporary, WriteUnit};

    #[test]
    fn every_byte_can_be_told() {
        assert_eq!(
            escaped(b"a\\xFF\xFF\xC3\xA9\n\0\xC2\x85"),
            "a\\\\xFF\\xFF\u{e9}\\n\\x00\\xC2\\x85"
        );
    }

    #[test]
    fn a_unit_is_a_line_with_its_statements_below() {
        let entry = Entry::Unit(WriteUnit {
            origin: Origin {
                user: "app".into(),
                schema: Bytes::from_static(b"shop"),
                connection_id: 7,
                session: 9,
                ..Origin::default()
            },
            depends_on: 3,
            opening: vec![Bytes::from_static(b"\x03BEGIN")],
            temporary: Temporary::default(),
            statements: vec![LoggedStatement {
                body: StatementBody::Text(Bytes::from_static(b"UPDATE t\nSET a='\xE9'")),
                context: vec![Bytes::from_static(b"\x03SET TIMESTAMP=1")],
                generated_id: 8,
                undone: false,
                outcome: Outcome {
                    results: [ResultOutcome::Err { code: 1062 }].into_iter().collect(),
                    in_transaction: true,
                },
            }],
        });
        let record = Record {
            position: 5,
            unix_micros: 0,
            payload_bytes: 0,
            entry,
        };
        let mut output = Vec::new();
        write(&mut output, &record).unwrap();
        let expected = "#5 1970-01-01T00:00:00.000000Z unit depends_on=3 user=app schema=shop connection=7\n  \
                        (BEGIN)\n  (SET TIMESTAMP=1)\n  UPDATE t\\nSET a='\\xE9'\n    first generated id 8\n    -> error 1062\n";
        assert_eq!(String::from_utf8(output).unwrap(), expected);
    }
}
