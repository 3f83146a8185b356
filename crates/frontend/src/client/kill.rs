//! KILL by Grove's own connection ids: never sent to a server, whose ids mean other connections.

use super::query::Outcome;
use super::{After, Client};
use crate::error::LinkError;
use crate::refusal;
use crate::registry::Killed;
use crate::reply::Next;
use grove_engine::io::World;
use grove_sql::Analysis;
use grove_wire::ErrPacket;

impl<W: World> Client<W> {
    pub(super) async fn kill(&mut self, analysis: &Analysis, next: Next) -> Result<(After, Outcome), LinkError> {
        let target = analysis.kill.and_then(|target| Some((target.id?, target.query_only)));
        let Some((id, query_only)) = target else {
            return self.kill_refused(&refusal::kill_needs_a_number()).await;
        };
        self.kill_connection(id, query_only, next).await
    }

    pub(super) async fn kill_connection(
        &mut self,
        id: u64,
        query_only: bool,
        next: Next,
    ) -> Result<(After, Outcome), LinkError> {
        if id == u64::from(self.id) {
            // The statement that it interrupts is itself.
            if query_only {
                return self.kill_refused(&refusal::interrupted()).await;
            }
            self.link.send_err(&refusal::killed_itself(self.flavor)).await?;
            return Ok((After::Ends, Outcome::Error));
        }
        let registry = &self.shared.registry;
        let killed = if query_only {
            registry.kill_query(id, &self.user).await
        } else {
            registry.kill_connection(id, &self.user)
        };
        match killed {
            Killed::Done => Ok((self.ping_then(next).await?, Outcome::Success)),
            Killed::Unknown => self.kill_refused(&refusal::unknown_thread(id)).await,
            Killed::NotOwner => self.kill_refused(&refusal::not_owner(id)).await,
        }
    }

    async fn kill_refused(&mut self, err: &ErrPacket) -> Result<(After, Outcome), LinkError> {
        Ok((self.refuse(err).await?, Outcome::Error))
    }
}
