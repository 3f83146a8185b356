//! COM_CHANGE_USER: another account on the same connection, authenticated like a login.
//!
//! A client that knows plugins is asked again, as the servers do; others have answered the greeting's challenge. A refusal ends
//! the connection on MySQL; on MariaDB the old account goes on, in a session that has been reset.

use super::prepared::Statements;
use super::{After, Client};
use crate::error::LinkError;
use crate::login::{
    Account, Answer, Authenticator, Denied, Offer, Plugin, denied, first_ok, layout_of, no_seat, session_refused,
    wait_for_refusals,
};
use crate::refusal;
use grove_engine::Session;
use grove_engine::io::{Identity, World};
use grove_sql::Flavor;
use grove_wire::handshake::ChangeUser;
use grove_wire::{CapabilityFlags, ErrPacket};
use std::sync::Arc;
use tokio::time::Instant;

impl<W: World> Client<W> {
    pub(super) async fn change_user(&mut self, change: ChangeUser) -> Result<After, LinkError> {
        let facts = self.shared.group.server_facts();
        let facts = facts.ok_or_else(|| LinkError::Refused(refusal::no_server()))?;
        let offer = Offer::new(&facts, self.shared.tls.acceptor.is_some(), self.shared.compression);
        self.wait_for_refusals().await?;
        let limit = self.shared.connect_timeout;
        // Dropping the exchange may lose bytes, and ends the connection.
        let proof = tokio::time::timeout(limit, self.prove_again(&change, &offer)).await;
        let account = match proof.map_err(|_| LinkError::Silent(limit))? {
            Ok(account) => account,
            Err(Denied::Link(error)) => return Err(error),
            Err(Denied::Password(password)) => {
                let refused = denied(&self.shared, &change.user, self.peer, password);
                return self.stay_or_end(refused).await;
            }
        };
        self.shared.refusals.clear(self.peer);
        match self.become_user(account, change, &offer).await {
            Ok(ok) => {
                self.link.send_packet(&ok).await?;
                Ok(After::GoesOn)
            }
            Err(LinkError::Refused(err)) => self.stay_or_end(err).await,
            Err(error) => Err(error),
        }
    }

    /// A client that guesses is slowed down here as at a login. What its session holds on the servers is given up before: the command ends
    /// the session in any case.
    async fn wait_for_refusals(&mut self) -> Result<(), LinkError> {
        if self.shared.refusals.wait_of(self.peer, Instant::now()).is_zero() {
            return Ok(());
        }
        self.session.close().await;
        let cut = self.link.cut.clone();
        // Dropping the wait loses nothing.
        tokio::select! {
            biased;
            () = cut.cancelled() => Err(LinkError::Cut),
            _ = wait_for_refusals(&self.shared, self.peer) => Ok(()),
        }
    }

    /// The other account is refused.
    async fn stay_or_end(&mut self, err: ErrPacket) -> Result<After, LinkError> {
        if self.flavor == Flavor::Mysql {
            return Err(LinkError::Refused(err));
        }
        self.statements = Statements::new(self.flavor);
        self.session.reset().await.map_err(session_refused)?;
        self.refuse(&err).await
    }

    async fn prove_again(&mut self, change: &ChangeUser, offer: &Offer) -> Result<Account, Denied> {
        let knows_plugins = self.link.capabilities.contains(CapabilityFlags::PLUGIN_AUTH);
        let mut authenticator = Authenticator {
            link: &mut self.link,
            accounts: &self.shared.accounts,
            password_key: &self.shared.password_key,
            peer: self.peer,
        };
        if knows_plugins {
            let plugin = authenticator.or_default(Plugin::named(&change.auth_plugin), offer.plugin);
            return match plugin {
                // The servers ask with the greeting's challenge again, and libmariadb answers that one whatever it is asked.
                Plugin::Native => authenticator.switch_with(&change.user, plugin, &self.challenge).await,
                _ => authenticator.switch_to(&change.user, plugin).await,
            };
        }
        let answer = Answer {
            plugin: Some(Plugin::Native),
            challenge: self.challenge,
            response: change.auth_response.clone().into(),
        };
        authenticator.authenticate(&change.user, answer, offer.plugin).await
    }

    /// Ends the old session and begins one for the new account; gives its OK packet.
    async fn become_user(&mut self, account: Account, change: ChangeUser, offer: &Offer) -> Result<Vec<u8>, LinkError> {
        // A client that stays with its account keeps its seat there, even if there is no other one.
        let seat = if account.user == self.user {
            None
        } else {
            Some(account.take_seat().ok_or_else(|| no_seat(&self.shared, &account))?)
        };
        self.session.close().await;
        let collation = change.collation.unwrap_or(self.collation);
        let database = if change.database.is_empty() {
            account.default_schema.clone()
        } else {
            change.database
        };
        let ok = first_ok(self.link.capabilities, &database);
        let identity = Identity {
            user: account.user.to_string(),
            password: account.password().to_owned(),
            capabilities: layout_of(self.link.capabilities),
            collation,
            max_packet_len: self.max_packet_len,
            database,
            connect_attributes: change.connect_attributes,
            connection_id: self.id,
        };
        let (group, analyser) = (Arc::clone(&self.shared.group), Arc::clone(&self.shared.analyser));
        let opened = Session::open(group, analyser, identity, offer.lex_mode(collation));
        self.session = opened.await.map_err(session_refused)?;
        self.interrupter = self.session.interrupter();
        self.statements = Statements::new(self.flavor);
        self.collation = collation;
        self.user = account.user;
        if let Some(seat) = seat {
            self._seat = seat;
        }
        self.shared.registry.own(self.id, &self.user, self.interrupter.clone());
        Ok(ok)
    }
}
