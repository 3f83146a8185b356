//! SHOW STATUS LIKE 'Ssl_cipher' and 'Ssl_version': about the client's own connection, not about Grove's to a server.
//!
//! Drivers and tools ask this as text to find out whether they are encrypted. The server answers, and the two values are replaced.

use super::query::Outcome;
use super::{After, Client, conclude, run_to_the_end};
use crate::error::LinkError;
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
pub(super) fn asks_for_tls(statement: &Statement) -> bool {
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
        && words[3 + scoped]
            .get(..3)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"ssl"))
}

impl<W: World> Client<W> {
    pub(super) async fn show_tls_status(
        &mut self,
        statement: &Statement,
        next: Next,
    ) -> Result<(After, Outcome), LinkError> {
        let cut = self.link.cut.clone();
        let mut answer = Collect::default();
        let execution = self.session.execute(statement, &mut answer);
        let mut result = run_to_the_end(&self.interrupter, &cut, execution).await;
        let rows = with_values(&answer.bytes, self.link.tls_values());
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

/// The frames with both values replaced. Definitions of columns are no rows of two values.
fn with_values(frames: &[u8], (cipher, version): (String, &str)) -> BytesMut {
    let mut out = BytesMut::with_capacity(frames.len() + cipher.len() + version.len());
    let mut rest = frames;
    while let Some(header) = rest.first_chunk::<HEADER_LEN>() {
        let (frame, tail) = rest.split_at(rest.len().min(HEADER_LEN + frame_payload_len(header)));
        let values: Vec<Option<&[u8]>> = text_row(&frame[HEADER_LEN..]).collect();
        let replaced = match values.as_slice() {
            [Some(name), Some(_)] if name.eq_ignore_ascii_case(b"ssl_cipher") => Some((*name, cipher.as_bytes())),
            [Some(name), Some(_)] if name.eq_ignore_ascii_case(b"ssl_version") => Some((*name, version.as_bytes())),
            _ => None,
        };
        match replaced {
            Some((name, value)) => {
                let mut row = Vec::new();
                put_text_value(&mut row, Some(name));
                put_text_value(&mut row, Some(value));
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
            ("SHOW GLOBAL STATUS LIKE 'Ssl_accepts'", false),
            ("SHOW STATUS LIKE 'Threads%'", false),
            ("SHOW STATUS", false),
            ("SELECT 'show status like ssl'", false),
        ] {
            let analysis = analyser.analyse(text.as_bytes(), LexMode::new(Flavor::Mysql, 90_704));
            let body = Body::query(text.as_bytes());
            assert_eq!(asks_for_tls(&Statement { body, analysis }), expected, "{text}");
        }
    }

    #[test]
    fn only_the_two_values_are_replaced() {
        let frames = b"\x0d\0\0\x03\x0aSsl_cipher\x01x\x0e\0\0\x04\x0bSsl_version\x01y\x04\0\0\x05\x01a\x01b";
        let replaced = with_values(frames, ("CIPHER".to_owned(), "TLSv1.3"));
        let expected =
            b"\x12\0\0\x03\x0aSsl_cipher\x06CIPHER\x14\0\0\x04\x0bSsl_version\x07TLSv1.3\x04\0\0\x05\x01a\x01b";
        assert_eq!(&replaced[..], &expected[..]);
    }
}
