//! Rights, given one by one as a server lists them. Those on what is not there any more are left out with a warning: servers keep them when a table, a
//! column or a routine is dropped, and refuse to give them again.

use grove_engine::io::{CopyError, Leg};

use crate::connection::{Connection, refused};

const ER_ACCESS_DENIED_NO_PASSWORD: u16 = 1698;
const ER_BAD_FIELD_ERROR: u16 = 1054;
/// ER_NO_SUCH_TABLE, ER_SP_DOES_NOT_EXIST
const GONE: [u16; 2] = [1146, 1305];

pub(crate) async fn give<L: Leg>(into: &mut Connection<L>, grant: &str) -> Result<(), CopyError> {
    match into.attempt(grant.as_bytes()).await? {
        Some(err) if err.code == ER_BAD_FIELD_ERROR => {
            for single in singly(grant) {
                give_single(into, &single).await?;
            }
            Ok(())
        }
        Some(err) => left_out(grant, &err),
        None => Ok(()),
    }
}

async fn give_single<L: Leg>(into: &mut Connection<L>, grant: &str) -> Result<(), CopyError> {
    match into.attempt(grant.as_bytes()).await? {
        Some(err) if err.code == ER_BAD_FIELD_ERROR => {
            tracing::warn!(grant, "was not copied: there is no such column");
            Ok(())
        }
        Some(err) => left_out(grant, &err),
        None => Ok(()),
    }
}

fn left_out(grant: &str, err: &grove_wire::ErrPacket) -> Result<(), CopyError> {
    // Only who has it may give it. Every server has such grants for its first accounts, and nothing that clients do depends on them.
    if err.code == ER_ACCESS_DENIED_NO_PASSWORD && grant.starts_with("GRANT PROXY") {
        tracing::warn!(grant, "was not copied: Grove's account lacks the privilege itself");
        return Ok(());
    }
    if GONE.contains(&err.code) {
        tracing::warn!(grant, "was not copied: there is no such table or routine");
        return Ok(());
    }
    Err(refused(grant.as_bytes(), err))
}

/// The same as one statement for each privilege, and for each column of one.
fn singly(grant: &str) -> Vec<String> {
    let Some(listed) = grant.strip_prefix("GRANT ") else {
        return vec![grant.to_owned()];
    };
    let (privileges, rest) = listed.split_at(outside_names(listed, " ON ").next().unwrap_or(listed.len()));
    let mut statements = Vec::new();
    for privilege in separated(privileges) {
        match privilege.split_once(" (") {
            Some((kind, columns)) => {
                for column in separated(columns.trim_end_matches(')')) {
                    statements.push(format!("GRANT {kind} ({column}){rest}"));
                }
            }
            None => statements.push(format!("GRANT {privilege}{rest}")),
        }
    }
    statements
}

fn separated(list: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut begin = 0;
    for comma in outside_names(list, ", ") {
        parts.push(&list[begin..comma]);
        begin = comma + 2;
    }
    parts.push(&list[begin..]);
    parts
}

/// Where this stands, neither between backticks nor between brackets.
fn outside_names<'a>(list: &'a str, sought: &'a str) -> impl Iterator<Item = usize> + 'a {
    let (mut is_name, mut depth) = (false, 0_u32);
    list.char_indices().filter_map(move |(at, char)| {
        match char {
            '`' => is_name = !is_name,
            '(' if !is_name => depth += 1,
            ')' if !is_name => depth = depth.saturating_sub(1),
            _ => {}
        }
        (!is_name && depth == 0 && list[at..].starts_with(sought)).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_falls_into_single_privileges() {
        let grant = "GRANT SELECT (`a`, `b, (x`), INSERT, UPDATE (`c`` ON `) ON `s`.`t` TO `u`@`%` WITH GRANT OPTION";
        assert_eq!(
            singly(grant),
            [
                "GRANT SELECT (`a`) ON `s`.`t` TO `u`@`%` WITH GRANT OPTION",
                "GRANT SELECT (`b, (x`) ON `s`.`t` TO `u`@`%` WITH GRANT OPTION",
                "GRANT INSERT ON `s`.`t` TO `u`@`%` WITH GRANT OPTION",
                "GRANT UPDATE (`c`` ON `) ON `s`.`t` TO `u`@`%` WITH GRANT OPTION",
            ]
        );
    }
}
