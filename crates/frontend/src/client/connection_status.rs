//! SHOW STATUS LIKE 'Ssl_cipher', 'Ssl_version' and 'Compression': about the client's own connection, not about Grove's to a server.
//!
//! Drivers and tools ask this as text to find out whether they are encrypted or compressed. The server answers, and the values are replaced.

use super::query::Outcome;
use super::{After, Client, conclude, run_to_the_end};
use crate::error::LinkError;
use crate::link::Link;
use crate::reply::{Next, ReplyWriter};
use bytes::BytesMut;
use grove_engine::io::{Collect, ReplySink, World};
use grove_engine::{Body, SessionError, Statement};
use grove_sql::Class;
use grove_wire::packet::{HEADER_LEN, encode_frames, frame_payload_len};
use grove_wire::row::{put_text_value, text_row};

/// Longer texts ask something else.
const LONGEST: usize = 80;

/// Whether a statement asks for one of the values, in one of the forms in use.
pub(super) fn asks_for_connection(statement: &Statement) -> bool {
    let Body::Query(query) = &statement.body else {
        return false;
    };
    let text = query.text();
    if statement.analysis.class != Class::Read || text.len() > LONGEST || !matches!(text.first(), Some(b's' | b'S')) {
        return false;
    }
    let words: Vec<&[u8]> = text
        .split(|byte| byte.is_ascii_whitespace() || matches!(byte, b'\'' | b'"' | b';'))
        .filter(|word| !word.is_empty())
        .collect();
    let is = |at: usize, word: &[u8]| words.get(at).is_some_and(|found| found.eq_ignore_ascii_case(word));
    let scoped = usize::from(is(1, b"session") || is(1, b"local"));
    is(0, b"show")
        && is(1 + scoped, b"status")
        && is(2 + scoped, b"like")
        && words.len() == 4 + scoped
        && [b"ssl".as_slice(), b"compress"].iter().any(|known| {
            let start = words[3 + scoped].get(..known.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(known))
        })
}

impl<W: World> Client<W> {
    pub(super) async fn show_connection_status(
        &mut self,
        statement: &Statement,
        next: Next,
    ) -> Result<(After, Outcome), LinkError> {
        let cut = self.link.cut.clone();
        let mut answer = Collect::default();
        let execution = self.session.execute(statement, &mut answer);
        let mut result = run_to_the_end(&self.interrupter, &cut, execution).await;
        let rows = with_values(&answer.bytes, &values_of(&self.link));
        let mut writer = ReplyWriter::new(&mut self.link).followed_by(next);
        if result.is_ok()
            && let Err(reason) = writer.forward(&rows).await
        {
            result = Err(SessionError::Fatal(reason));
        }
        let succeeded = matches!(&result, Ok(frame) if !grove_wire::is_err_frame(frame));
        let (outcome, next) = if succeeded {
            (Outcome::Success, next)
        } else {
            (Outcome::Error, Next::End)
        };
        Ok((conclude(writer, result, next).await?, outcome))
    }
}

/// What the servers say about a connection, by their names for it. MariaDB has no more about compression than whether it is on.
fn values_of(link: &Link) -> [(&'static str, String); 5] {
    let (cipher, version) = link.tls_values();
    let compression = link.compression();
    let (is_on, algorithm, level) = match compression {
        Some(algorithm) => ("ON", algorithm.name(), algorithm.level()),
        None => ("OFF", "", 0),
    };
    [
        ("Ssl_cipher", cipher),
        ("Ssl_version", version.to_owned()),
        ("Compression", is_on.to_owned()),
        ("Compression_algorithm", algorithm.to_owned()),
        ("Compression_level", level.to_string()),
    ]
}

/// The frames with these values in the place of those that are there. Definitions of columns are no rows of two values.
fn with_values(frames: &[u8], own: &[(&str, String)]) -> BytesMut {
    let mut out = BytesMut::with_capacity(frames.len());
    let mut rest = frames;
    while let Some(header) = rest.first_chunk::<HEADER_LEN>() {
        let (frame, tail) = rest.split_at(rest.len().min(HEADER_LEN + frame_payload_len(header)));
        let values: Vec<Option<&[u8]>> = text_row(&frame[HEADER_LEN..]).collect();
        let replaced = match values.as_slice() {
            [Some(name), Some(_)] => own
                .iter()
                .find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes())),
            _ => None,
        };
        match replaced {
            Some((name, value)) => {
                let mut row = Vec::new();
                put_text_value(&mut row, Some(name.as_bytes()));
                put_text_value(&mut row, Some(value.as_bytes()));
                encode_frames(&row, &mut { header[3] }, &mut out);
            }
            None => out.extend_from_slice(frame),
        }
        rest = tail;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use grove_sql::{Analyser, Flavor, LexMode};

    #[test]
    fn the_forms_in_use_are_known() {
        let analyser = Analyser::new(16);
        for (text, expected) in [
            ("SHOW STATUS LIKE 'Ssl_cipher'", true),
            ("show session status like \"ssl\\_version%\";", true),
            ("SHOW STATUS LIKE 'Ssl%'", true),
            ("SHOW STATUS LIKE 'Compression'", true),
            ("SHOW GLOBAL STATUS LIKE 'Ssl_accepts'", false),
            ("SHOW STATUS LIKE 'Com%'", false),
            ("SHOW STATUS LIKE 'Threads%'", false),
            ("SHOW STATUS", false),
            ("SELECT 'show status like ssl'", false),
        ] {
            let analysis = analyser.analyse(text.as_bytes(), LexMode::new(Flavor::Mysql, 90_704));
            let body = Body::query(text.as_bytes());
            assert_eq!(asks_for_connection(&Statement { body, analysis }), expected, "{text}");
        }
    }

    #[test]
    fn only_the_values_in_question_are_replaced() {
        let frames = b"\x0d\0\0\x03\x0aSsl_cipher\x01x\x0e\0\0\x04\x0bSsl_version\x01y\x04\0\0\x05\x01a\x01b";
        let replaced = with_values(
            frames,
            &[
                ("Ssl_cipher", "CIPHER".to_owned()),
                ("Ssl_version", "TLSv1.3".to_owned()),
            ],
        );
        let expected =
            b"\x12\0\0\x03\x0aSsl_cipher\x06CIPHER\x14\0\0\x04\x0bSsl_version\x07TLSv1.3\x04\0\0\x05\x01a\x01b";
        assert_eq!(&replaced[..], &expected[..]);
    }
}
