//! LOCK TABLES and XA transactions: state that the servers keep for the session and that Grove's own transactions would end.
//!
//! While one is in force, every statement that is not about the session or a plain read is a standalone one: the lead executes it, then the
//! others, before the client is answered. The gates that began it keep other writers away until it ends.
//! Deliberately absent: the servers' own rules of what is allowed meanwhile; they answer for themselves.

use super::{Mirrored, MirroredKind, Session};
use crate::error::SessionError;
use crate::gate::Hold;
use crate::io::{ClientReply, Discard, World};
use crate::statement::{Body, Statement};
use bytes::BytesMut;
use grove_sql::Class;
use std::sync::Arc;

impl<W: World> Session<W> {
    /// Runs a statement in the mirrored state; `None` if it takes its ordinary way.
    pub(super) async fn dispatch_mirrored<S: ClientReply>(
        &mut self,
        class: Class,
        statement: &Statement,
        sink: &mut S,
    ) -> Option<Result<BytesMut, SessionError>> {
        match class {
            Class::Read | Class::Set | Class::Use | Class::Prepare | Class::Deallocate | Class::Execute => None,
            Class::Begin { .. } if self.is_mirrored(MirroredKind::TableLocks) => {
                if let Err(error) = self.unlock_tables().await {
                    return Some(Err(error));
                }
                None
            }
            _ => Some(self.standalone(statement, sink).await),
        }
    }

    /// BEGIN releases table locks, on every server.
    pub(super) async fn unlock_tables(&mut self) -> Result<(), SessionError> {
        let sql = b"UNLOCK TABLES";
        let unlock = Statement {
            body: Body::query(sql),
            analysis: self.analyser.analyse(sql, self.state.lex_mode),
        };
        Box::pin(self.standalone(&unlock, &mut Discard)).await.map(|_| ())
    }

    pub(super) fn is_mirrored(&self, kind: MirroredKind) -> bool {
        self.mirrored.as_ref().is_some_and(|mirrored| mirrored.kind == kind)
    }

    /// What a statement does to the mirrored state once the servers have accepted it.
    pub(super) fn note_mirrored(&mut self, statement: &Statement, hold: Arc<Hold>) {
        let begins = |kind| Some(Mirrored { kind, _hold: hold });
        match statement.analysis.class {
            Class::LockTables => self.mirrored = begins(MirroredKind::TableLocks),
            Class::UnlockTables if self.is_mirrored(MirroredKind::TableLocks) => self.mirrored = None,
            Class::Xa => match xa_verb(statement).as_slice() {
                b"START" | b"BEGIN" => self.mirrored = begins(MirroredKind::Xa),
                b"PREPARE" | b"COMMIT" | b"ROLLBACK" => self.mirrored = None,
                _ => {}
            },
            _ => {}
        }
    }
}

/// Whether an XA statement ends a transaction that another session may have left behind: it must not wait for those that wait for it.
pub(super) fn ends_xa(statement: &Statement) -> bool {
    matches!(
        xa_verb(statement).as_slice(),
        b"COMMIT" | b"ROLLBACK" | b"RECOVER" | b"END" | b"PREPARE"
    )
}

/// The word after XA, in upper case. An unusual spelling (a comment in between) gives another word, and with it the cautious way.
fn xa_verb(statement: &Statement) -> Vec<u8> {
    let text = statement.body.text();
    let words = text
        .split(|byte| byte.is_ascii_whitespace())
        .filter(|word| !word.is_empty());
    words.skip(1).take(1).flatten().map(u8::to_ascii_uppercase).collect()
}
