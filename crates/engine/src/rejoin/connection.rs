//! Connections that replay what clients have written: with the client's account, and the session state that its connection had.
//!
//! Invariant: a unit begins on a connection that has the state of its session and no other. Units tell all of their session's state, so a connection can
//! be used again by a unit that tells everything again which was told there before: one of the same session, or of another if nothing else was left behind.

use super::Setback;
use crate::group::Group;
use crate::io::{BackendId, Identity, LegError, Servers, World};
use crate::leg::OpenLeg;
use crate::position_rows::Fence;
use bytes::Bytes;
use grove_recovery_log::{Origin, Position};
use grove_wire::CapabilityFlags;
use grove_wire::command::COM_QUERY;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The longest packet that a client may announce.
const MAX_PACKET_LEN: u32 = 1 << 30;

/// A connection as the client's session had one.
pub(super) struct ReplayConnection<W: World> {
    pub leg: OpenLeg<<W::Servers as Servers>::Leg>,
    origin: Origin,
    /// Which pieces of state it was told of, and with which words; without words where a statement may have changed them since.
    told: HashMap<Vec<u8>, Option<Bytes>>,
    /// Something else was left behind.
    pub is_dirty: bool,
    /// It belongs to its session.
    pub has_temporary_tables: bool,
}

/// Where connections are opened, and those that can be used again.
pub(super) struct Connections<W: World> {
    pub group: Arc<Group<W>>,
    pub backend: BackendId,
    pub fence: Fence,
    /// Cancelled when the replay ends.
    pub scope: CancellationToken,
}

impl<W: World> Connections<W> {
    pub async fn open(&self, origin: &Origin, position: Position) -> Result<ReplayConnection<W>, Setback> {
        let Some(password) = self.group.accounts.password(&origin.user) else {
            let user = &origin.user;
            return Err(Setback::Later(format!(
                "entry {position} was written by `{user}`, whose password is not known: list the account under users, or let a client log in \
                 with it"
            )));
        };
        let identity = Arc::new(Identity {
            user: origin.user.clone(),
            password,
            capabilities: CapabilityFlags(origin.capabilities),
            collation: origin.collation,
            max_packet_len: MAX_PACKET_LEN,
            database: origin.schema.to_vec(),
            connect_attributes: Vec::new(),
            connection_id: origin.connection_id,
        });
        let opened = match self.group.world.servers().connect(self.backend, &identity).await {
            // The schema may have been dropped since, or it is made by what is replayed next.
            Err(LegError::Refused(err)) if err.code == ER_BAD_DB => {
                let identity = Arc::new(Identity {
                    database: Vec::new(),
                    ..(*identity).clone()
                });
                self.group.world.servers().connect(self.backend, &identity).await
            }
            opened => opened,
        };
        let leg = opened.map_err(|error| match error {
            LegError::Refused(err) => Setback::Later(format!(
                "entry {position} cannot be replayed as `{}`, whom the server refuses: {}",
                origin.user,
                String::from_utf8_lossy(&err.message)
            )),
            error => Setback::Lost(error),
        })?;
        Ok(ReplayConnection {
            leg: OpenLeg::new(self.backend, leg, self.scope.clone(), Some(self.fence)),
            origin: origin.clone(),
            told: HashMap::new(),
            is_dirty: false,
            has_temporary_tables: false,
        })
    }
}

/// ER_BAD_DB_ERROR
const ER_BAD_DB: u16 = 1049;

impl<W: World> ReplayConnection<W> {
    /// Whether something of this session, which begins by telling `opening`, finds the state here that it needs: whatever was told before is told again.
    pub fn suits(&self, origin: &Origin, opening: &[Bytes]) -> bool {
        let is_same_session = self.origin.session == origin.session;
        let same_login = self.origin.user == origin.user
            && self.origin.capabilities == origin.capabilities
            && self.origin.collation == origin.collation
            && self.origin.schema == origin.schema;
        if self.leg.in_transaction || !same_login || (self.is_dirty && !is_same_session) {
            return false;
        }
        let told_again: HashSet<Vec<u8>> = opening.iter().filter_map(|payload| piece_of_state(payload)).collect();
        self.told.keys().all(|piece| told_again.contains(piece))
    }

    /// What of `opening` the connection must be told; it counts as told.
    pub fn tell(&mut self, opening: &[Bytes]) -> Vec<Bytes> {
        let is_new = |(piece, payload): (Option<Vec<u8>>, &Bytes)| match piece {
            Some(piece) => !matches!(self.told.get(&piece), Some(Some(told)) if told == payload),
            None => false,
        };
        let is_independent =
            |payload: &Bytes| payload.starts_with(b"\x03SET @") || payload.starts_with(b"\x03SET LAST_INSERT_ID");
        let pieces = || opening.iter().map(|payload| (piece_of_state(payload), payload));
        // Character sets and modes depend on each other's order, so all of them are told again if one is new.
        let tells_all = pieces().any(|(piece, payload)| !is_independent(payload) && is_new((piece, payload)));
        let told = pieces().filter(|(piece, payload)| tells_all || piece.is_none() || is_new((piece.clone(), payload)));
        let told = told.map(|(_, payload)| payload.clone()).collect();
        for (piece, payload) in opening.iter().map(|payload| (piece_of_state(payload), payload)) {
            if let Some(piece) = piece {
                self.told.insert(piece, Some(payload.clone()));
            }
        }
        told
    }

    /// A statement is executed after these words about the session. What it may have changed is not known afterwards.
    pub fn note(&mut self, context: &[Bytes], text: &[u8]) {
        for payload in context {
            if let Some(piece) = piece_of_state(payload) {
                self.told.insert(piece, Some(payload.clone()));
            }
        }
        let may_assign = text.contains(&b'@');
        for (piece, told) in &mut self.told {
            if piece.starts_with(b"SET LAST_INSERT_ID") || (may_assign && piece.starts_with(b"SET @")) {
                *told = None;
            }
        }
    }

    /// Nothing of what it was told is sure any more.
    pub fn forget(&mut self) {
        self.told.values_mut().for_each(|told| *told = None);
    }

    /// The session that it stands for.
    pub fn session(&self) -> u64 {
        self.origin.session
    }

    /// It goes on for this session.
    pub fn stands_for(&mut self, origin: &Origin) {
        self.origin.session = origin.session;
    }

    /// Whether the client's statements may be several in one text.
    pub fn takes_several(&self) -> bool {
        CapabilityFlags(self.origin.capabilities).contains(CapabilityFlags::MULTI_STATEMENTS)
    }
}

/// Which piece of a session's state a statement of Grove's own sets; `None` if none that lasts.
fn piece_of_state(payload: &[u8]) -> Option<Vec<u8>> {
    let (command, text) = payload.split_first()?;
    if *command != COM_QUERY {
        return Some(vec![*command]);
    }
    let text = text.to_ascii_uppercase();
    let begins = |words: &[u8]| text.starts_with(words);
    let words: [&[u8]; 7] = [
        b"BEGIN",
        b"START TRANSACTION",
        b"SET TRANSACTION ",
        // For one statement.
        b"SET INSERT_ID",
        b"SET TIMESTAMP=",
        b"SET RAND_SEED1=",
        // One that is left over disturbs nobody: it is prepared again before it is executed.
        b"PREPARE ",
    ];
    if words.iter().any(|words| begins(words)) {
        return None;
    }
    if begins(b"SET NAMES") || begins(b"SET CHARACTER SET") {
        return Some(b"SET NAMES".to_vec());
    }
    let name = text.iter().position(|&byte| byte == b'=');
    match name {
        Some(end) if begins(b"SET ") && !text.contains(&b',') => Some(text[..end].trim_ascii_end().to_vec()),
        _ => Some(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_value_takes_the_place_of_an_earlier_one_of_the_same_name() {
        let same = |told: &[u8], new: &[u8]| piece_of_state(told) == piece_of_state(new);
        assert!(same(b"\x03SET LAST_INSERT_ID=7", b"\x03SET LAST_INSERT_ID=81"));
        assert!(same(b"\x03SET @`a` = 7", b"\x03SET @`a` = 'x'"));
        assert!(same(b"\x02one", b"\x02other"));
        assert!(!same(b"\x03SET @`a` = 7", b"\x03SET @`b` = 7"));
        assert!(!same(b"\x03SET a=1, b=2", b"\x03SET a=1"));
        assert_eq!(piece_of_state(b"\x03BEGIN"), None);
    }
}
