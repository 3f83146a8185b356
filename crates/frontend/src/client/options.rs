//! Small commands of the protocol's early days: COM_STATISTICS, COM_DEBUG, COM_FIELD_LIST, COM_SET_OPTION, COM_PROCESS_KILL.
//!
//! A server answers them, except that Grove's own ids of connections mean nothing to it.

use super::{After, Client, conclude};
use crate::error::LinkError;
use crate::refusal;
use crate::reply::{Next, ReplyWriter};
use bytes::Bytes;
use grove_engine::io::World;
use grove_sql::Flavor;
use grove_wire::command::MULTI_STATEMENTS_ON;
use grove_wire::{CapabilityFlags, ReplyShape};

impl<W: World> Client<W> {
    pub(super) async fn statistics(&mut self, payload: Bytes) -> Result<After, LinkError> {
        let mut writer = ReplyWriter::new(&mut self.link);
        let result = self
            .session
            .command(payload, ReplyShape::SinglePacket, &mut writer)
            .await;
        conclude(writer, result, Next::End).await
    }

    /// One server writes to its log.
    pub(super) async fn debug(&mut self, payload: Bytes) -> Result<After, LinkError> {
        let mut writer = ReplyWriter::new(&mut self.link);
        let result = self.session.command(payload, ReplyShape::SingleOk, &mut writer).await;
        conclude(writer, result, Next::End).await
    }

    pub(super) async fn field_list(&mut self, payload: Bytes) -> Result<After, LinkError> {
        let mut writer = ReplyWriter::new(&mut self.link);
        let result = self.session.command(payload, ReplyShape::FieldList, &mut writer).await;
        conclude(writer, result, Next::End).await
    }

    /// From now on several statements in one text are cut apart, or are a syntax error.
    pub(super) async fn set_option(&mut self, option: u16) -> Result<After, LinkError> {
        let mut writer = ReplyWriter::new(&mut self.link);
        let result = self.session.set_option(option, &mut writer).await;
        let succeeded = matches!(&result, Ok(frame) if !grove_wire::is_err_frame(frame));
        let after = conclude(writer, result, Next::End).await?;
        if succeeded && option == MULTI_STATEMENTS_ON {
            self.link.capabilities.insert(CapabilityFlags::MULTI_STATEMENTS);
        } else if succeeded {
            self.link.capabilities.remove(CapabilityFlags::MULTI_STATEMENTS);
        }
        Ok(after)
    }

    /// MySQL has given this command up.
    pub(super) async fn process_kill(&mut self, id: u32) -> Result<After, LinkError> {
        if self.flavor == Flavor::Mysql {
            return self.refuse(&refusal::unknown_command()).await;
        }
        let (after, _) = self.kill_connection(u64::from(id), false, Next::End).await?;
        Ok(after)
    }
}
