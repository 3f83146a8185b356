//! Statements about the session itself: SET, USE, and text-protocol PREPARE.
//!
//! They run on one leg; what they did is journalled with plain values and told to the other legs when those are next used.

use super::{Session, Slot};
use crate::error::SessionError;
use crate::io::{BackendId, ClientReply, LegError, LegReply, World};
use crate::state::StateKey;
use crate::statement::Statement;
use crate::value;
use bytes::{Bytes, BytesMut};
use grove_sql::{Analysis, Class, SetItem, SetScope};
use grove_wire::command::{COM_SET_OPTION, MULTI_STATEMENTS_ON};
use grove_wire::{CapabilityFlags, ReplyShape};
use std::sync::Arc;

impl<W: World> Session<W> {
    pub(super) async fn set<S: ClientReply>(
        &mut self,
        statement: &Statement,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        let items = &statement.analysis.set;
        let concerns_servers = items.is_empty() || items.iter().any(|item| concerns_the_server(item.scope));
        if concerns_servers {
            return self.write_or_standalone(statement, sink).await;
        }
        let text = statement.body.text();
        let ends_transaction = items.iter().any(|item| {
            item.scope == SetScope::Session
                && item.name.eq_ignore_case("autocommit")
                && !self.state.autocommit
                && !is_off(&text[item.value.clone()])
        });
        if ends_transaction {
            self.end_implicitly().await?;
        }
        let mut attempts = 0;
        loop {
            let (backend, reply) = self.run_on_current(statement, sink).await?;
            if reply.reply.err().is_some() {
                return Ok(reply.last_frame);
            }
            match self.journal(backend, items, text).await {
                Ok(()) => return Ok(reply.last_frame),
                // Its values are lost with the leg, so it is not done.
                Err(error) => self.current_leg_failed(backend, error, &mut attempts).await?,
            }
        }
    }

    async fn journal(&mut self, backend: BackendId, items: &[SetItem], text: &[u8]) -> Result<(), LegError> {
        for item in items {
            match item.scope {
                SetScope::User if !item.literal => {
                    let names = std::slice::from_ref(&item.name);
                    self.capture_variables(backend, names).await?;
                }
                SetScope::Session if !item.literal => {
                    let name = value::escape_backticks(item.name.as_bytes());
                    let question = [b"SELECT @@session.`".as_slice(), &name, b"`"].concat();
                    match self.ask(backend, &question).await.as_deref() {
                        Some([answer, ..]) => self.state.record_value(item, &answer.literal, &answer.plain),
                        _ => self.state.record_literal(item, text),
                    }
                }
                _ => self.state.record_literal(item, text),
            }
        }
        self.mark_told(backend);
        Ok(())
    }

    fn mark_told(&mut self, backend: BackendId) {
        let version = self.state.version();
        if let Slot::Mine(leg) = self.slot(backend) {
            leg.state_version = version;
        }
    }

    /// Runs a statement on the leg where the session is now; elsewhere if that is lost.
    async fn run_on_current<S: ClientReply>(
        &mut self,
        statement: &Statement,
        sink: &mut S,
    ) -> Result<(BackendId, LegReply), SessionError> {
        let running = Arc::clone(&self.running);
        let mut attempts = 0;
        loop {
            let backend = match &self.transaction {
                Some(_) => self.current(),
                None => self.settle_reader().await,
            };
            let result = match self.take_mine(backend).await {
                Ok(_) => {
                    let prelude = self.prelude(backend);
                    match self.slot(backend) {
                        Slot::Mine(leg) => leg.run_for_client(&prelude, &statement.body, sink, &running).await,
                        _ => continue,
                    }
                }
                Err(error) => Err(error),
            };
            match result {
                Ok(reply) => return Ok((backend, reply)),
                Err(error) => self.current_leg_failed(backend, error, &mut attempts).await?,
            }
        }
    }

    pub(super) async fn use_schema<S: ClientReply>(
        &mut self,
        statement: &Statement,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        let (backend, reply) = self.run_on_current(statement, sink).await?;
        if let (None, Some(schema)) = (reply.reply.err(), &statement.analysis.schema) {
            self.state.record_schema(schema.as_bytes());
            self.mark_told(backend);
        }
        Ok(reply.last_frame)
    }

    /// COM_INIT_DB succeeded on the current leg.
    pub(super) fn record_schema(&mut self, schema: &[u8]) {
        let backend = self.current();
        self.state.record_schema(schema);
        self.mark_told(backend);
    }

    /// COM_SET_OPTION: whether the servers take several statements in one text.
    pub async fn set_option<S: ClientReply>(&mut self, option: u16, sink: &mut S) -> Result<BytesMut, SessionError> {
        let [low, high] = option.to_le_bytes();
        let command = Bytes::copy_from_slice(&[COM_SET_OPTION, low, high]);
        let frame = self.command(command.clone(), ReplyShape::SingleOk, sink).await?;
        if !grove_wire::is_err_frame(&frame) {
            let backend = self.current();
            let identity = Arc::make_mut(&mut self.identity);
            match option {
                MULTI_STATEMENTS_ON => identity.capabilities.insert(CapabilityFlags::MULTI_STATEMENTS),
                _ => identity.capabilities.remove(CapabilityFlags::MULTI_STATEMENTS),
            }
            self.state.record_option(command);
            self.mark_told(backend);
        }
        Ok(frame)
    }

    pub(super) async fn prepare_text<S: ClientReply>(
        &mut self,
        statement: &Statement,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        let (backend, reply) = self.run_on_current(statement, sink).await?;
        if let (None, Some(name)) = (reply.reply.err(), &statement.analysis.prepared_name) {
            let text = statement.body.text();
            let inner = self.inner_analysis(statement, text);
            self.prepared_texts.insert(name.as_bytes().to_ascii_lowercase(), inner);
            self.state
                .record(StateKey::PreparedText(name.as_bytes().to_ascii_lowercase()), text);
            self.mark_told(backend);
        }
        Ok(reply.last_frame)
    }

    pub(super) async fn deallocate_text<S: ClientReply>(
        &mut self,
        statement: &Statement,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        let (_, reply) = self.run_on_current(statement, sink).await?;
        if let (None, Some(name)) = (reply.reply.err(), &statement.analysis.prepared_name) {
            self.prepared_texts.remove(&name.as_bytes().to_ascii_lowercase());
            self.state.forget_prepared(name.as_bytes());
        }
        Ok(reply.last_frame)
    }

    /// What `EXECUTE name` or `EXECUTE IMMEDIATE '...'` runs.
    pub(super) fn prepared_analysis(&self, statement: &Statement) -> Arc<Analysis> {
        let analysis = &statement.analysis;
        if analysis.prepared_text.is_some() {
            return self.inner_analysis(statement, statement.body.text());
        }
        let name = analysis
            .prepared_name
            .as_ref()
            .map(|name| name.as_bytes().to_ascii_lowercase());
        let known = name.and_then(|name| self.prepared_texts.get(&name).cloned());
        known.unwrap_or_else(|| self.unknown())
    }

    fn inner_analysis(&self, statement: &Statement, text: &[u8]) -> Arc<Analysis> {
        let Some(range) = statement.analysis.prepared_text.clone() else {
            return self.unknown();
        };
        let literal = &text[range];
        let plain = literal.len() >= 2
            && !literal[1..literal.len() - 1]
                .iter()
                .any(|byte| matches!(byte, b'\\' | b'\'' | b'"'));
        if !plain {
            return self.unknown();
        }
        let inner = self
            .analyser
            .analyse(&literal[1..literal.len() - 1], self.state.lex_mode);
        // Ranges and names in these classes belong to the inner text, which is not what is sent.
        match inner.class {
            Class::Set | Class::Use | Class::Prepare | Class::Execute | Class::Deallocate => self.unknown(),
            _ => inner,
        }
    }

    fn unknown(&self) -> Arc<Analysis> {
        self.analyser.analyse(b"?", self.state.lex_mode)
    }
}

fn concerns_the_server(scope: SetScope) -> bool {
    matches!(
        scope,
        SetScope::Global
            | SetScope::Persist
            | SetScope::Password
            | SetScope::DefaultRole
            | SetScope::GlobalTransaction
            | SetScope::Statement
            | SetScope::ResourceGroup
    )
}

fn is_off(value: &[u8]) -> bool {
    value == b"0" || value.eq_ignore_ascii_case(b"off") || value.eq_ignore_ascii_case(b"false")
}
