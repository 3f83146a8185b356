//! Prepared statements of one client: Grove's own ids, parameter types, long data.
//!
//! The engine prepares a statement on each server when it is needed there; the client knows one id. Types that a client sent once are
//! put into its later executions, because a server that meets the statement for the first time has not seen them.

use super::{After, Client, conclude, run_to_the_end};
use crate::error::LinkError;
use crate::refusal::{self, StatementCommand};
use crate::reply::{Next, ReplyWriter};
use bytes::{Bytes, BytesMut};
use grove_engine::io::World;
use grove_engine::{Body, Prepared, Statement};
use grove_sql::Flavor;
use grove_wire::command::StmtExecute;
use grove_wire::{CapabilityFlags, ErrPacket, ResultEnd};
use std::collections::HashMap;
use std::sync::Arc;

/// The servers' default of `max_prepared_stmt_count`, here for one client.
const MAX_STATEMENTS: usize = 16_382;
/// Pieces of long data are joined up to this length, so that a server gets packets it accepts.
const LONG_DATA_LEN: usize = 1 << 20;
/// MariaDB: the statement that was prepared last.
const LAST_STATEMENT: u32 = u32::MAX;

/// The statements.
pub(super) struct Statements {
    by_id: HashMap<u32, Known>,
    last_id: u32,
    flavor: Flavor,
}

pub(super) struct Known {
    pub prepared: Arc<Prepared>,
    /// Of the last execution that sent them.
    pub types: Vec<u8>,
    long_data: Vec<(u16, BytesMut)>,
    long_data_len: usize,
    /// Refuses executions until a reset.
    pub broken: Option<ErrPacket>,
}

impl Known {
    fn new(prepared: Arc<Prepared>) -> Self {
        Self {
            prepared,
            types: Vec::new(),
            long_data: Vec::new(),
            long_data_len: 0,
            broken: None,
        }
    }

    fn add_long_data(&mut self, parameter: u16, data: &[u8], max_len: usize, flavor: Flavor) {
        if parameter >= self.prepared.params {
            self.broken = Some(refusal::wrong_arguments(StatementCommand::SendLongData, flavor));
            return;
        }
        if self.long_data_len + data.len() > max_len {
            self.broken = Some(refusal::long_data_too_long());
            return;
        }
        self.long_data_len += data.len();
        match self.long_data.last_mut() {
            Some((last, joined)) if *last == parameter && joined.len() + data.len() <= LONG_DATA_LEN => {
                joined.extend_from_slice(data);
            }
            _ => self.long_data.push((parameter, BytesMut::from(data))),
        }
    }

    pub fn take_long_data(&mut self) -> Arc<Vec<(u16, Bytes)>> {
        self.long_data_len = 0;
        let pieces = std::mem::take(&mut self.long_data).into_iter();
        Arc::new(pieces.map(|(parameter, data)| (parameter, data.freeze())).collect())
    }
}

impl Statements {
    pub fn new(flavor: Flavor) -> Self {
        Self {
            by_id: HashMap::new(),
            last_id: 0,
            flavor,
        }
    }

    fn next_id(&mut self) -> u32 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            let is_free = !matches!(self.last_id, 0 | LAST_STATEMENT) && !self.by_id.contains_key(&self.last_id);
            if is_free {
                return self.last_id;
            }
        }
    }

    pub fn find(&mut self, id: u32) -> Option<&mut Known> {
        let is_last = id == LAST_STATEMENT && self.flavor == Flavor::MariaDb;
        let id = if is_last { self.last_id } else { id };
        self.by_id.get_mut(&id)
    }
}

impl<W: World> Client<W> {
    pub(super) async fn prepare(&mut self, text: &[u8]) -> Result<After, LinkError> {
        if self.statements.by_id.len() >= MAX_STATEMENTS {
            return self.refuse(&refusal::too_many_statements(MAX_STATEMENTS)).await;
        }
        let id = self.statements.next_id();
        let analysis = self.shared.analyser.analyse(text, self.session.lex_mode());
        if analysis.flags.load_local {
            return self.refuse(&refusal::not_preparable()).await;
        }
        let mut writer = ReplyWriter::new(&mut self.link).with_statement_id(id);
        let result = match self.session.prepare(id, text, &mut writer).await {
            Ok(reply) => {
                if let Some(&ResultEnd::Prepared { params, .. }) = reply.reply.results.first() {
                    let prepared = Arc::new(Prepared {
                        id,
                        text: Bytes::copy_from_slice(text),
                        analysis,
                        params,
                    });
                    self.statements.by_id.insert(id, Known::new(prepared));
                }
                Ok(reply.last_frame)
            }
            Err(error) => Err(error),
        };
        conclude(writer, result, Next::End).await
    }

    pub(super) async fn execute_prepared(&mut self, id: u32, payload: Bytes) -> Result<After, LinkError> {
        let Some(known) = self.statements.find(id) else {
            return self.unknown_statement(id, StatementCommand::Execute).await;
        };
        if let Some(err) = known.broken.clone() {
            return self.refuse(&err).await;
        }
        let has_attributes = self.link.capabilities.contains(CapabilityFlags::QUERY_ATTRIBUTES);
        let params = usize::from(known.prepared.params);
        let parsed = match StmtExecute::parse(&payload, known.prepared.params, self.link.capabilities) {
            Ok(parsed) => parsed,
            Err(error) if has_attributes => return self.refuse(&refusal::malformed(&error, self.flavor)).await,
            Err(error) => return Err(error.into()),
        };
        if parsed.count < params {
            return self.refuse(&refusal::parameters_are_missing()).await;
        }
        let mut payload = payload;
        if !parsed.types.is_empty() {
            known.types.clear();
            known.types.extend_from_slice(&payload[parsed.own_types.clone()]);
        } else if parsed.count > params {
            return self.refuse(&refusal::malformed_packet(self.flavor)).await;
        } else if params > 0 {
            if known.types.is_empty() {
                return self.refuse(&refusal::types_are_missing()).await;
            }
            payload = parsed.with_types(&payload, &known.types);
        }
        let statement = Statement {
            analysis: Arc::clone(&known.prepared.analysis),
            body: Body::Execute {
                prepared: Arc::clone(&known.prepared),
                payload,
                long_data: known.take_long_data(),
            },
        };
        let (after, _) = self.run_statement(statement, Next::End).await?;
        Ok(after)
    }

    /// Takes a piece of a long parameter. There is no reply: what is wrong with it refuses the next execution.
    pub(super) fn add_long_data(&mut self, id: u32, parameter: u16, data: &[u8]) {
        if let Some(known) = self.statements.find(id) {
            known.add_long_data(parameter, data, self.shared.max_packet_len, self.flavor);
        }
    }

    /// There is no reply.
    pub(super) async fn close_prepared(&mut self, id: u32) -> Result<After, LinkError> {
        if self.statements.by_id.remove(&id).is_some() {
            self.session.close_statement(id).await;
        }
        Ok(After::GoesOn)
    }

    pub(super) async fn reset_prepared(&mut self, id: u32) -> Result<After, LinkError> {
        let Some(known) = self.statements.find(id) else {
            return self.unknown_statement(id, StatementCommand::Reset).await;
        };
        known.long_data.clear();
        known.long_data_len = 0;
        known.broken = None;
        let id = known.prepared.id;
        let mut writer = ReplyWriter::new(&mut self.link);
        match self.session.reset_statement(id, &mut writer).await {
            Ok(None) => self.ping().await,
            Ok(Some(frame)) => conclude(writer, Ok(frame), Next::End).await,
            Err(error) => conclude(writer, Err(error), Next::End).await,
        }
    }

    /// Rows of a cursor.
    pub(super) async fn fetch(&mut self, id: u32, rows: u32) -> Result<After, LinkError> {
        let Some(known) = self.statements.find(id) else {
            return self.unknown_statement(id, StatementCommand::Fetch).await;
        };
        let known_id = known.prepared.id;
        let cut = self.link.cut.clone();
        let mut writer = ReplyWriter::new(&mut self.link);
        let fetching = self.session.fetch(known_id, rows, &mut writer);
        match run_to_the_end(&self.interrupter, &cut, fetching).await {
            Ok(None) => self.refuse(&refusal::no_cursor(id, self.flavor)).await,
            Ok(Some(frame)) => conclude(writer, Ok(frame), Next::End).await,
            Err(error) => conclude(writer, Err(error), Next::End).await,
        }
    }

    pub(super) async fn unknown_statement(&mut self, id: u32, command: StatementCommand) -> Result<After, LinkError> {
        self.refuse(&refusal::unknown_statement(id, command, self.flavor)).await
    }
}
