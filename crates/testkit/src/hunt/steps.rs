//! What a client may do next: a write, a read, a few statements that belong together, a mistake, a change of definitions.

use super::TemporaryTables;
use super::statement::{DUPLICATE, Statement, failing, group, item, prepared, range, text};
use super::writes::{update_range, write};
use crate::Random;

/// One statement, or a few that belong together, inside a transaction.
pub(super) fn inside_transaction(random: &mut Random, client: u32, tables: TemporaryTables) -> Vec<Statement> {
    match random.below(100) {
        0..60 => vec![write(random, client)],
        60..72 => vec![locking_read(random)],
        72..82 => vec![plain_read(random)],
        82..90 => with_user_variable(random, client),
        90..92 => vec![two_in_one(random, client)],
        92..94 => with_last_insert_id(random, client),
        94 if tables == TemporaryTables::Used => with_temporary_table(random),
        95 => with_text_prepare(random),
        _ => vec![mistake(random)],
    }
}

/// A read that takes locks.
pub(super) fn locking_read(random: &mut Random) -> Statement {
    let (from, to) = range(random);
    let mode = *random.pick(&["FOR UPDATE", "LOCK IN SHARE MODE"]);
    match random.below(4) {
        0 => text(format!("SELECT id, val FROM item WHERE grp = {} {mode}", group(random))),
        1 => text(format!(
            "SELECT id, val FROM item WHERE id BETWEEN {from} AND {to} {mode}"
        )),
        2 => text(format!("SELECT COUNT(*) FROM entry WHERE item = {from} {mode}")),
        _ => text(format!(
            "SELECT code FROM uniq WHERE code >= {} ORDER BY code LIMIT 2 {mode}",
            from * 5
        )),
    }
}

/// A read that takes no locks.
pub(super) fn plain_read(random: &mut Random) -> Statement {
    let (from, to) = range(random);
    match random.below(6) {
        0 => text(format!("SELECT * FROM item WHERE grp = {} ORDER BY id", group(random))),
        1 => text("SELECT COUNT(*), SUM(val) FROM entry".to_owned()),
        2 => text(
            "SELECT parent.id, COUNT(*) FROM parent JOIN child ON child.parent = parent.id GROUP BY parent.id"
                .to_owned(),
        ),
        3 => prepared(
            "SELECT id, val, note FROM item WHERE id BETWEEN ? AND ?",
            vec![from.into(), to.into()],
            &[],
        ),
        4 => text("SELECT name, n FROM counter".to_owned()),
        _ => text(format!("SELECT val FROM uniq WHERE code > {}", from * 5)),
    }
}

/// A user variable that is set, then used by a write.
fn with_user_variable(random: &mut Random, client: u32) -> Vec<Statement> {
    let (id, group) = (item(random), group(random));
    let set = match random.below(3) {
        0 => format!("SET @v = {}", random.below(50)),
        1 => format!("SELECT COALESCE(MAX(val), 0) % 50 INTO @v FROM item WHERE grp = {group}"),
        _ => format!("SELECT @v := {}", random.below(50)),
    };
    let uses = match random.below(3) {
        0 => format!("UPDATE item SET val = @v WHERE id = {id}"),
        1 => format!("INSERT INTO entry (client, item, val) VALUES ({client}, {id}, @v), ({client}, {id}, @v + 1)"),
        _ => format!("UPDATE item SET val = @v := @v + 1 WHERE grp = {group} ORDER BY id"),
    };
    vec![text(set), text(uses)]
}

/// Writes that read LAST_INSERT_ID() before and after it changes: whoever executes the first one again must find the old value.
fn with_last_insert_id(random: &mut Random, client: u32) -> Vec<Statement> {
    let mut uses = || {
        text(format!(
            "UPDATE item SET val = LAST_INSERT_ID() % 50 WHERE id = {}",
            item(random)
        ))
    };
    let (first, last) = (uses(), uses());
    vec![
        first,
        text(format!(
            "INSERT INTO entry (client, item, val) VALUES ({client}, {}, 1)",
            item(random)
        )),
        last,
    ]
}

/// A temporary table that is filled from others and then decides about their rows.
fn with_temporary_table(random: &mut Random) -> Vec<Statement> {
    let (group, amount) = (group(random), random.between(1, 3));
    vec![
        // Left over where an earlier transaction was given up half way.
        text("DROP TEMPORARY TABLE IF EXISTS picked".to_owned()),
        text("CREATE TEMPORARY TABLE picked (id INT PRIMARY KEY, val INT NOT NULL) ENGINE=InnoDB".to_owned()),
        text(format!(
            "INSERT INTO picked SELECT id, val FROM item WHERE grp = {group}"
        )),
        text(format!("DELETE FROM picked WHERE val % 2 = {}", random.below(2))),
        text(format!(
            "UPDATE item JOIN picked ON picked.id = item.id SET item.val = picked.val + {amount}"
        )),
        text("DROP TEMPORARY TABLE picked".to_owned()),
    ]
}

/// The text protocol's own prepared statements.
fn with_text_prepare(random: &mut Random) -> Vec<Statement> {
    let (id, amount) = (item(random), random.between(1, 9));
    vec![
        text("PREPARE raise FROM 'UPDATE item SET val = (val + ?) % 50 WHERE id = ?'".to_owned()),
        text(format!("SET @amount = {amount}, @id = {id}")),
        text("EXECUTE raise USING @amount, @id".to_owned()),
    ]
}

/// Two statements in one command.
fn two_in_one(random: &mut Random, client: u32) -> Statement {
    let parts = [write(random, client), write(random, client)];
    let mut joined = text(String::new());
    for part in parts {
        // Prepared statements and those that may fail go alone, so that it is known which part of the two has failed.
        let part = if part.params.is_some() || !part.expected.is_empty() {
            update_range(random, client)
        } else {
            part
        };
        joined.sql.push_str(&part.sql);
        joined.sql.push_str("; ");
    }
    joined.sql.truncate(joined.sql.len() - 2);
    joined
}

/// A statement that fails on every server.
fn mistake(random: &mut Random) -> Statement {
    match random.below(24) {
        0..6 => failing(
            "INSERT INTO account (id, balance) VALUES (1, 5)".to_owned(),
            &[DUPLICATE],
        ),
        6..11 => failing("UPDATE item SET nothing = 1".to_owned(), &[1054]),
        11..15 => failing(
            "INSERT INTO item (id, grp, val, note) VALUES (1000, 1, 1, REPEAT('x', 100))".to_owned(),
            &[1406],
        ),
        15..18 => failing("DELETE FROM missing WHERE id = 1".to_owned(), &[1146]),
        // Rare, because nothing is known of its tables: everyone else waits for it.
        18 => failing("UPDAT item SET val = 1".to_owned(), &[1064]),
        // Fails at its second row, after the first one is in.
        _ => failing(
            "INSERT INTO uniq (id, code, val) VALUES (900, 90000, 1), (900, 90001, 1)".to_owned(),
            &[DUPLICATE],
        ),
    }
}

/// A change of definitions, outside transactions.
pub(super) fn ddl(random: &mut Random) -> Statement {
    let extra = random.below(3);
    match random.below(8) {
        0 => failing("ALTER TABLE item ADD INDEX by_note (note)".to_owned(), &[1061]),
        1 => failing("ALTER TABLE item DROP INDEX by_note".to_owned(), &[1091]),
        2 => text("TRUNCATE TABLE scratch".to_owned()),
        3 => failing(
            format!("CREATE TABLE extra_{extra} (id INT AUTO_INCREMENT PRIMARY KEY, val INT NOT NULL)"),
            &[1050],
        ),
        4 => failing(format!("DROP TABLE extra_{extra}"), &[1051]),
        5 => text(format!("DROP TABLE IF EXISTS extra_{extra}")),
        6 => failing(
            "ALTER TABLE scratch ADD COLUMN more INT NOT NULL DEFAULT 7".to_owned(),
            &[1060],
        ),
        _ => failing("ALTER TABLE scratch DROP COLUMN more".to_owned(), &[1091]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_statements_again() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            (0..200)
                .flat_map(|_| inside_transaction(&mut random, 3, TemporaryTables::Used))
                .map(|statement| statement.sql)
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(5), draw(5));
        assert_ne!(draw(5), draw(6));
    }
}
