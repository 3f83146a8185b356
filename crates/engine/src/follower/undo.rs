//! How a leg forgets session state that its transaction changed and a ROLLBACK does not take back, so that its statements can be executed again.
//!
//! The connection stays: a new one would have none of the session's temporary tables, and costs a login. LAST_INSERT_ID() is not brought back,
//! because a statement that reads it is told its value.

use super::Opening;
use crate::state::StateKey;
use crate::statement::query_payload;
use crate::value::{escape_backticks, user_variable};
use bytes::Bytes;
use grove_wire::command::COM_INIT_DB;
use std::collections::HashSet;

/// Statements that bring session state back to what it was when the transaction began, after `changed` was touched. `None` if only a new
/// connection can.
pub(super) fn undo(opening: &Opening, login_schema: &[u8], changed: &HashSet<StateKey>) -> Option<Vec<Bytes>> {
    let known: HashSet<&StateKey> = opening.state.iter().map(|(key, _)| key).collect();
    let mut statements = Vec::new();
    for key in changed.iter().filter(|key| !known.contains(key)) {
        statements.extend(initial_value(key, login_schema)?);
    }
    let told_again = opening.state.iter().filter(|(key, _)| changed.contains(key));
    statements.extend(told_again.map(|(_, payload)| payload.clone()));
    Some(statements)
}

/// What gives a piece of state that the session had not set the value of a new connection.
fn initial_value(key: &StateKey, login_schema: &[u8]) -> Option<Option<Bytes>> {
    let sql = match key {
        StateKey::UserVariable(name) => [b"SET ".as_slice(), &user_variable(name), b"=NULL"].concat(),
        // A new connection has these from the login's character set.
        StateKey::Variable(name) if name.starts_with(b"character_set") || name.starts_with(b"collation") => {
            return None;
        }
        StateKey::Variable(name) => [b"SET SESSION `".as_slice(), &escape_backticks(name), b"`=DEFAULT"].concat(),
        StateKey::Schema if login_schema.is_empty() => return None,
        StateKey::Schema => return Some(Some([&[COM_INIT_DB], login_schema].concat().into())),
        // It is named again before it is used.
        StateKey::PreparedText(_) => return Some(None),
        StateKey::MultiStatements
        | StateKey::CharacterSet
        | StateKey::Isolation
        | StateKey::AccessMode
        | StateKey::Role
        | StateKey::Other(_) => return None,
    };
    Some(Some(query_payload(&sql)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn texts(changed: &[StateKey]) -> Option<Vec<String>> {
        let opening = Opening {
            state: Arc::new(vec![
                (StateKey::UserVariable(b"a".to_vec()), query_payload(b"SET @`a` = 7")),
                (StateKey::UserVariable(b"b".to_vec()), query_payload(b"SET @`b` = 8")),
            ]),
            ..Opening::default()
        };
        let changed = changed.iter().cloned().collect();
        let statements = undo(&opening, b"app", &changed)?;
        Some(
            statements
                .iter()
                .map(|payload| String::from_utf8_lossy(&payload[1..]).into_owned())
                .collect(),
        )
    }

    #[test]
    fn what_was_set_before_gets_its_old_value_and_the_rest_that_of_a_new_connection() {
        let texts = |key| texts(&[key]).unwrap();
        assert_eq!(texts(StateKey::UserVariable(b"a".to_vec())), ["SET @`a` = 7"]);
        assert_eq!(texts(StateKey::UserVariable(b"c".to_vec())), ["SET @`c`=NULL"]);
        assert_eq!(
            texts(StateKey::Variable(b"sql_mode".to_vec())),
            ["SET SESSION `sql_mode`=DEFAULT"]
        );
    }

    #[test]
    fn what_is_not_understood_needs_a_new_connection() {
        assert_eq!(texts(&[StateKey::Other(3)]), None);
        assert_eq!(texts(&[StateKey::Variable(b"character_set_client".to_vec())]), None);
    }
}
