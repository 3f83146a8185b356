//! The session's state as a journal: what a connection must be told before it behaves like the client's session.
//!
//! Each piece of state has one entry, the newest, and each leg remembers the version up to which it has been told. Entries are statements
//! with plain values: an expression is evaluated once, on the leg that ran it, and its value is journalled. Bounded by the number of
//! distinct variables that a client sets.

use crate::io::Leg;
use crate::leg::OpenLeg;
use crate::statement::{query_payload, set_last_insert_id};
use crate::temporary::TemporaryTables;
use crate::value::{escape_backticks, user_variable};
use bytes::{BufMut, Bytes, BytesMut};
use grove_sql::{ClientCharset, LexMode, Name, SetItem, SetScope};
use grove_wire::command::COM_INIT_DB;

/// A piece of session state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum StateKey {
    Schema,
    /// COM_SET_OPTION.
    MultiStatements,
    CharacterSet,
    Isolation,
    AccessMode,
    Role,
    Variable(Vec<u8>),
    UserVariable(Vec<u8>),
    PreparedText(Vec<u8>),
    /// Not understood: every one is kept, in order.
    Other(u64),
}

impl StateKey {
    pub fn user_variable(name: &Name) -> Self {
        Self::UserVariable(name.as_bytes().to_ascii_lowercase())
    }
}

/// How a transaction sees and locks rows, as far as ordering is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// READ COMMITTED or READ UNCOMMITTED: row locks alone do not order its statements.
    ReadCommitted,
    RepeatableRead,
    /// Plain reads lock.
    Serializable,
}

impl Isolation {
    /// The level that a SET TRANSACTION or a variable's value names.
    pub fn named_in(text: &[u8]) -> Option<Self> {
        // As a variable's value the words are joined by hyphens.
        if contains_word(text, b"committed") || contains_word(text, b"uncommitted") {
            Some(Self::ReadCommitted)
        } else if contains_word(text, b"repeatable") {
            Some(Self::RepeatableRead)
        } else if contains_word(text, b"serializable") {
            Some(Self::Serializable)
        } else {
            None
        }
    }
}

/// Why LAST_INSERT_ID() may be something else than replies have told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InsertIdDoubt {
    None,
    /// A reply reports a key that the client chose as if it were generated. Every leg that executed the statement knows.
    Reply,
    /// A read may have changed it, on the reader's leg alone.
    Read,
}

/// The journal, and what Grove itself must know of the state.
#[derive(Clone, Debug)]
pub(crate) struct SessionState {
    version: u64,
    entries: Vec<(u64, StateKey, Bytes)>,
    /// How the client's statements are to be read.
    pub lex_mode: LexMode,
    pub schema: Vec<u8>,
    pub autocommit: bool,
    pub isolation: Isolation,
    /// What `DEFAULT` means for it.
    default_isolation: Isolation,
    /// `SET TRANSACTION ...` for the next transaction only, and the isolation level that it names.
    pub next_transaction: Option<(Bytes, Option<Isolation>)>,
    pub temporary_tables: TemporaryTables,
    /// The client set `timestamp` itself, so Grove does not.
    pub client_sets_clock: bool,
    /// What LAST_INSERT_ID() says as far as the servers' replies tell. Only a fresh connection is told: the others executed it.
    pub last_insert_id: u64,
    pub insert_id_doubt: InsertIdDoubt,
}

impl SessionState {
    pub fn new(lex_mode: LexMode, schema: Vec<u8>, isolation: Isolation) -> Self {
        Self {
            // A fresh leg is at 0, so that it is told everything, the insert id too.
            version: 1,
            entries: Vec::new(),
            lex_mode,
            schema,
            autocommit: true,
            isolation,
            default_isolation: isolation,
            next_transaction: None,
            temporary_tables: TemporaryTables::default(),
            client_sets_clock: false,
            last_insert_id: 0,
            insert_id_doubt: InsertIdDoubt::None,
        }
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    /// Statements that bring a leg from `version` to now.
    pub fn since(&self, version: u64) -> impl Iterator<Item = Bytes> + '_ {
        let fresh = version == 0 && self.last_insert_id > 0;
        let insert_id = fresh.then(|| set_last_insert_id(self.last_insert_id));
        let journal = self.changed_since(version).map(|(_, payload)| payload);
        journal.chain(insert_id)
    }

    /// What was recorded after `version`: the piece of state, and the statement that tells it.
    pub fn changed_since(&self, version: u64) -> impl Iterator<Item = (StateKey, Bytes)> + '_ {
        let first = self.entries.partition_point(|(at, _, _)| *at <= version);
        self.entries[first..]
            .iter()
            .map(|(_, key, payload)| (key.clone(), payload.clone()))
    }

    /// What a leg must be told before the client's next statement. The leg counts as told.
    pub fn catch_up<L: Leg>(&self, leg: &mut OpenLeg<L>) -> Vec<Bytes> {
        let mut prelude = Vec::new();
        if leg.clock_is_set {
            prelude.push(query_payload(b"SET TIMESTAMP=DEFAULT"));
            leg.clock_is_set = false;
        }
        if leg.state_version < self.version {
            // After the clock, which the client may have set itself.
            prelude.extend(self.since(leg.state_version));
            leg.state_version = self.version;
        }
        prelude
    }

    fn record_payload(&mut self, key: StateKey, payload: Bytes) {
        self.version += 1;
        self.entries.retain(|(_, existing, _)| *existing != key);
        self.entries.push((self.version, key, payload));
    }

    pub fn record(&mut self, key: StateKey, sql: &[u8]) {
        self.record_payload(key, query_payload(sql));
    }

    pub fn record_other(&mut self, sql: &[u8]) {
        let key = StateKey::Other(self.version);
        self.record(key, sql);
    }

    pub fn record_schema(&mut self, schema: &[u8]) {
        let mut payload = BytesMut::with_capacity(schema.len() + 1);
        payload.put_u8(COM_INIT_DB);
        payload.put_slice(schema);
        self.schema = schema.to_vec();
        self.record_payload(StateKey::Schema, payload.freeze());
    }

    pub fn record_option(&mut self, command: Bytes) {
        self.record_payload(StateKey::MultiStatements, command);
    }

    /// A key was generated: INSERT_ID is for one statement, and LAST_INSERT_ID() has changed, so a leg that is told later must be told neither.
    pub fn forget_used_insert_id(&mut self) {
        let names: [&[u8]; 3] = [b"insert_id", b"last_insert_id", b"identity"];
        let used = |key: &StateKey| matches!(key, StateKey::Variable(name) if names.contains(&name.as_slice()));
        self.entries.retain(|(_, key, _)| !used(key));
    }

    /// LAST_INSERT_ID() has changed on one leg only; the others will be told.
    pub fn record_insert_id(&mut self, id: u64) {
        self.last_insert_id = id;
        self.insert_id_doubt = InsertIdDoubt::None;
        self.record_payload(StateKey::Variable(b"last_insert_id".to_vec()), set_last_insert_id(id));
    }

    pub fn forget_prepared(&mut self, name: &[u8]) {
        let key = StateKey::PreparedText(name.to_ascii_lowercase());
        self.entries.retain(|(_, existing, _)| *existing != key);
    }

    /// Records one assignment whose value is plain; `sql` is the SET statement's text.
    pub fn record_literal(&mut self, item: &SetItem, sql: &[u8]) {
        let assignment = &sql[item.text.clone()];
        let value = &sql[item.value.clone()];
        let statement = [b"SET ".as_slice(), assignment].concat();
        self.note(item, assignment, value);
        match item.scope {
            SetScope::Transaction => {
                self.next_transaction = Some((query_payload(&statement), Isolation::named_in(assignment)));
            }
            SetScope::User => {
                self.record(StateKey::user_variable(&item.name), &statement);
            }
            SetScope::Session => {
                self.record(
                    StateKey::Variable(item.name.as_bytes().to_ascii_lowercase()),
                    &statement,
                );
            }
            SetScope::Names | SetScope::CharacterSet => self.record(StateKey::CharacterSet, &statement),
            SetScope::SessionTransaction => {
                // One that names both is kept for each, until another one names it.
                if contains_word(assignment, b"isolation") {
                    self.record(StateKey::Isolation, &statement);
                }
                if contains_word(assignment, b"read") && contains_any_word(assignment, &[b"only", b"write"]) {
                    self.record(StateKey::AccessMode, &statement);
                }
            }
            SetScope::Role => self.record(StateKey::Role, &statement),
            _ => self.record_other(&statement),
        }
    }

    /// Records the value that a system variable was found to have after an assignment.
    pub fn record_value(&mut self, item: &SetItem, literal: &[u8], plain: &[u8]) {
        let key = StateKey::Variable(item.name.as_bytes().to_ascii_lowercase());
        self.note(item, &[], plain);
        let name = escape_backticks(item.name.as_bytes());
        self.record(key, &[b"SET SESSION `".as_slice(), &name, b"` = ", literal].concat());
    }

    pub fn record_user_variable(&mut self, name: &[u8], literal: &[u8]) {
        let sql = [b"SET ".as_slice(), &user_variable(name), b" = ", literal].concat();
        self.record(StateKey::UserVariable(name.to_ascii_lowercase()), &sql);
    }

    /// Keeps what Grove itself needs to know: autocommit, isolation, how to read SQL.
    fn note(&mut self, item: &SetItem, assignment: &[u8], value: &[u8]) {
        let value = unquoted(value);
        match item.scope {
            SetScope::Session if item.name.eq_ignore_case("autocommit") => {
                self.autocommit =
                    value == b"1" || value.eq_ignore_ascii_case(b"on") || value.eq_ignore_ascii_case(b"true");
            }
            SetScope::Session
                if item.name.eq_ignore_case("transaction_isolation") || item.name.eq_ignore_case("tx_isolation") =>
            {
                self.isolation = Isolation::named_in(value).unwrap_or(self.default_isolation);
            }
            SetScope::Session if item.name.eq_ignore_case("last_insert_id") || item.name.eq_ignore_case("identity") => {
                // The leg that ran it knows, as after a reply.
                self.insert_id_doubt = InsertIdDoubt::Reply;
            }
            SetScope::Session if item.name.eq_ignore_case("timestamp") => {
                self.client_sets_clock = !(value.eq_ignore_ascii_case(b"default") || value == b"0");
            }
            SetScope::Session if item.name.eq_ignore_case("sql_mode") => {
                let has = |mode: &[u8]| contains_word(value, mode);
                self.lex_mode.ansi_quotes = has(b"ansi_quotes") || has(b"ansi");
                self.lex_mode.no_backslash_escapes = has(b"no_backslash_escapes");
            }
            SetScope::Session if item.name.eq_ignore_case("character_set_client") => {
                self.lex_mode.charset = ClientCharset::from_name(value);
            }
            SetScope::Names | SetScope::CharacterSet => {
                let name = value.split(|b| b.is_ascii_whitespace()).next().unwrap_or(value);
                self.lex_mode.charset = ClientCharset::from_name(unquoted(name));
            }
            SetScope::SessionTransaction if contains_word(assignment, b"isolation") => {
                self.isolation = Isolation::named_in(assignment).unwrap_or(self.isolation);
            }
            _ => {}
        }
    }
}

fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] | [b'`', inner @ .., b'`'] => inner,
        other => other,
    }
}

/// Whether `text` has `word` between characters that are no part of a word, without regard to case.
pub(crate) fn contains_word(text: &[u8], word: &[u8]) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    text.split(|byte| !is_word(byte))
        .any(|part| part.eq_ignore_ascii_case(word))
}

fn contains_any_word(text: &[u8], words: &[&[u8]]) -> bool {
    words.iter().any(|word| contains_word(text, word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use grove_sql::Flavor;

    #[test]
    fn a_newer_value_replaces_the_older_and_legs_catch_up_by_version() {
        let mut state = SessionState::new(
            LexMode::new(Flavor::MariaDb, 101_119),
            Vec::new(),
            Isolation::RepeatableRead,
        );
        state.record(StateKey::Variable(b"a".to_vec()), b"SET a=1");
        let told = state.version();
        state.record(StateKey::Variable(b"b".to_vec()), b"SET b=1");
        state.record(StateKey::Variable(b"a".to_vec()), b"SET a=2");
        let texts = |version| state.since(version).map(|p| p[1..].to_vec()).collect::<Vec<_>>();
        assert_eq!(texts(0), [b"SET b=1".to_vec(), b"SET a=2".to_vec()]);
        assert_eq!(texts(told), [b"SET b=1".to_vec(), b"SET a=2".to_vec()]);
        assert!(texts(state.version()).is_empty());
    }

    #[test]
    fn words_are_found_whole() {
        assert!(contains_word(b"STRICT_ALL_TABLES,ANSI_QUOTES", b"ansi_quotes"));
        assert!(!contains_word(b"MY_ANSI_QUOTES_X", b"ansi_quotes"));
    }
}
