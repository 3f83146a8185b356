//! The statements of the hunt, drawn at random: each is deterministic given the context that Grove sends along.
//!
//! Every multi-row insert that numbers its rows reads them in the order of a unique key, and LIMIT stands only behind such an order:
//! other forms are among the exceptions that a client of Grove accepts.

use mysql_async::Value;

use super::schema::{GROUPS, ITEMS};
use crate::Random;

/// A statement and the errors that it may lead to on a single server, besides those of locking.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) sql: String,
    /// Values for a prepared statement; `None` for the text protocol.
    pub(super) params: Option<Vec<Value>>,
    pub(super) expected: &'static [u16],
}

const DUPLICATE: u16 = 1062;

fn text(sql: String) -> Statement {
    failing(sql, &[])
}

fn failing(sql: String, expected: &'static [u16]) -> Statement {
    Statement {
        sql,
        params: None,
        expected,
    }
}

fn prepared(sql: &str, params: Vec<Value>, expected: &'static [u16]) -> Statement {
    Statement {
        sql: sql.to_owned(),
        params: Some(params),
        expected,
    }
}

/// One statement, or a few that belong together, inside a transaction.
pub(super) fn inside_transaction(random: &mut Random, client: u32) -> Vec<Statement> {
    match random.below(100) {
        0..60 => vec![write(random, client)],
        60..72 => vec![locking_read(random)],
        72..82 => vec![plain_read(random)],
        82..90 => with_user_variable(random, client),
        90..94 => vec![two_in_one(random, client)],
        94 => with_temporary_table(random),
        95 => with_text_prepare(random),
        _ => vec![mistake(random)],
    }
}

/// A statement that writes.
pub(super) fn write(random: &mut Random, client: u32) -> Statement {
    match random.below(26) {
        0..3 => update_range(random, client),
        3..5 => update_by_secondary_index(random, client),
        5 => delete_by_secondary_index(random),
        6..8 => insert_items(random),
        8..10 => replace_items(random, client),
        10..13 => upsert_counters(random),
        13..15 => insert_select(random, client),
        15 => update_with_subquery(random, client),
        16 => multi_table(random),
        17..19 => insert_entries(random, client),
        19..21 => foreign_keys(random),
        21..23 => unique_codes(random),
        23 => with_limit(random),
        24 => prepared_write(random, client),
        _ => scratch(random),
    }
}

fn item(random: &mut Random) -> u64 {
    random.between(1, ITEMS)
}

fn group(random: &mut Random) -> u64 {
    random.between(1, GROUPS)
}

/// Two ends of a short range of items.
fn range(random: &mut Random) -> (u64, u64) {
    let from = item(random);
    (from, from + random.below(8))
}

fn update_range(random: &mut Random, client: u32) -> Statement {
    let (from, to) = range(random);
    let amount = random.between(1, 5);
    match random.below(3) {
        0 => text(format!(
            "UPDATE item SET val = val + {amount} WHERE id BETWEEN {from} AND {to}"
        )),
        1 => text(format!(
            "UPDATE item SET val = val % 40 + {amount}, note = 'client {client}' WHERE id >= {from} AND id < {to}"
        )),
        _ => text(format!(
            "UPDATE item SET note = CONCAT(NOW(6), '/', {client}) WHERE id = {from} OR id = {to}"
        )),
    }
}

fn update_by_secondary_index(random: &mut Random, client: u32) -> Statement {
    let (group, val) = (group(random), random.below(50));
    match random.below(3) {
        0 => text(format!(
            "UPDATE item SET val = val + 1, note = 'client {client}' WHERE grp = {group}"
        )),
        1 => text(format!(
            "UPDATE item SET grp = {group} WHERE val BETWEEN {val} AND {}",
            val + 2
        )),
        _ => text(format!(
            "UPDATE entry SET val = val + {val} WHERE item = {}",
            item(random)
        )),
    }
}

fn delete_by_secondary_index(random: &mut Random) -> Statement {
    let val = random.below(60);
    match random.below(4) {
        0 => text(format!("DELETE FROM item WHERE val = {val}")),
        1 => text(format!(
            "DELETE FROM item WHERE grp = {} AND val > {}",
            group(random),
            val + 20
        )),
        2 => text(format!("DELETE FROM entry WHERE item = {}", item(random))),
        _ => text(format!("DELETE FROM uniq WHERE val = {}", val % 9)),
    }
}

fn insert_items(random: &mut Random) -> Statement {
    let count = random.between(1, 3);
    let rows = item_rows(random, count, "");
    match random.below(5) {
        // One row only: which rows of several are ignored would depend on nothing else, but their order should not matter here.
        0 => text(format!(
            "INSERT IGNORE INTO item (id, grp, val, note) VALUES {}",
            item_rows(random, 1, "ignore")
        )),
        _ => failing(
            format!("INSERT INTO item (id, grp, val, note) VALUES {rows}"),
            &[DUPLICATE],
        ),
    }
}

fn item_rows(random: &mut Random, count: u64, note: &str) -> String {
    let rows: Vec<String> = (0..count)
        .map(|_| format!("({}, {}, {}, '{note}')", item(random), group(random), random.below(50)))
        .collect();
    rows.join(", ")
}

fn replace_items(random: &mut Random, client: u32) -> Statement {
    let count = random.between(1, 3);
    match random.below(4) {
        0 => text(format!(
            "REPLACE INTO item (id, grp, val) SELECT id, grp, val + 1 FROM item WHERE grp = {} ORDER BY id",
            group(random)
        )),
        _ => text(format!(
            "REPLACE INTO item (id, grp, val, note) VALUES {}",
            item_rows(random, count, &format!("replaced by {client}"))
        )),
    }
}

fn upsert_counters(random: &mut Random) -> Statement {
    let count = random.between(1, 3);
    let rows: Vec<String> = (0..count).map(|_| format!("('c{}', 1)", random.below(12))).collect();
    match random.below(3) {
        0 => text(format!(
            "INSERT INTO counter (name, n) SELECT CONCAT('g', grp), COUNT(*) FROM item WHERE grp <= {} GROUP BY grp ORDER BY grp
             ON DUPLICATE KEY UPDATE n = n + VALUES(n)",
            group(random)
        )),
        _ => text(format!(
            "INSERT INTO counter (name, n) VALUES {} ON DUPLICATE KEY UPDATE n = n + VALUES(n)",
            rows.join(", ")
        )),
    }
}

fn insert_select(random: &mut Random, client: u32) -> Statement {
    let (from, to) = range(random);
    match random.below(3) {
        0 => text(format!(
            "INSERT INTO entry (client, item, val) SELECT {client}, id, val FROM item WHERE grp = {} ORDER BY id",
            group(random)
        )),
        1 => text(format!(
            "INSERT INTO entry (client, item, val) SELECT {client}, id, val FROM item WHERE id BETWEEN {from} AND {to} ORDER BY id"
        )),
        _ => failing(
            format!(
                "INSERT INTO item (id, grp, val) SELECT id + 1, grp, val FROM item WHERE id BETWEEN {from} AND {to} ORDER BY id"
            ),
            &[DUPLICATE],
        ),
    }
}

fn update_with_subquery(random: &mut Random, client: u32) -> Statement {
    let (one, other) = (item(random), item(random));
    match random.below(4) {
        0 => text(format!(
            "UPDATE item SET val = (SELECT COUNT(*) FROM entry WHERE item = {one}) % 50 WHERE id = {other}"
        )),
        1 => text(format!(
            "UPDATE item SET val = val + 1 WHERE id IN (SELECT item FROM entry WHERE client = {client} AND item < {one})"
        )),
        2 => text(format!(
            "DELETE FROM entry WHERE item NOT IN (SELECT id FROM item) AND client = {client}"
        )),
        _ => text(format!(
            "UPDATE parent SET total = (SELECT COALESCE(SUM(val), 0) FROM item WHERE grp = parent.id) WHERE id <= {}",
            group(random)
        )),
    }
}

fn multi_table(random: &mut Random) -> Statement {
    let (from, to) = range(random);
    match random.below(3) {
        0 => text(format!(
            "UPDATE item JOIN parent ON parent.id = item.grp SET item.val = item.val + 1, parent.total = parent.total + 1
             WHERE item.id BETWEEN {from} AND {to}"
        )),
        1 => text(format!("DELETE entry FROM entry JOIN item ON item.id = entry.item WHERE item.id BETWEEN {from} AND {to}")),
        _ => text(format!(
            "UPDATE item JOIN (SELECT item, COUNT(*) AS n FROM entry WHERE item <= {to} GROUP BY item) AS counted
             ON counted.item = item.id SET item.val = counted.n % 50"
        )),
    }
}

fn insert_entries(random: &mut Random, client: u32) -> Statement {
    let count = random.between(1, 4);
    let rows: Vec<String> = (0..count)
        .map(|_| {
            let dice = *random.pick(&["0", "FLOOR(RAND() * 1000)", "FLOOR(1 + RAND() * 6)"]);
            let made = *random.pick(&["NOW(6)", "DEFAULT", "CURRENT_TIMESTAMP - INTERVAL 1 DAY"]);
            format!("({client}, {}, {}, {dice}, {made})", item(random), random.below(50))
        })
        .collect();
    text(format!(
        "INSERT INTO entry (client, item, val, dice, made) VALUES {}",
        rows.join(", ")
    ))
}

fn foreign_keys(random: &mut Random) -> Statement {
    // One id more than there are parents, and parents come and go: some of these fail.
    let (parent, val) = (random.between(1, GROUPS + 1), random.below(20));
    match random.below(7) {
        0..2 => failing(
            format!("INSERT INTO child (parent, val) VALUES ({parent}, {val}), ({parent}, {val} + 1)"),
            &[1452],
        ),
        2 => failing(
            format!("INSERT INTO ward (parent, val) VALUES ({parent}, {val})"),
            &[1452],
        ),
        3 => failing(format!("DELETE FROM parent WHERE id = {parent}"), &[1451]),
        4 => failing(format!("INSERT INTO parent (id) VALUES ({parent})"), &[DUPLICATE]),
        5 => text(format!("DELETE FROM ward WHERE parent = {parent}")),
        _ => failing(format!("UPDATE child SET parent = {parent} WHERE val = {val}"), &[1452]),
    }
}

fn unique_codes(random: &mut Random) -> Statement {
    let (id, code) = (random.between(1, ITEMS / 2), random.between(1, ITEMS) * 5);
    match random.below(5) {
        0 => failing(
            format!("INSERT INTO uniq (id, code, val) VALUES ({id}, {code}, {})", id % 9),
            &[DUPLICATE],
        ),
        1 => failing(format!("UPDATE uniq SET code = {code} WHERE id = {id}"), &[DUPLICATE]),
        // From the top, so that no row meets its neighbour whatever the plan.
        2 => text(format!(
            "UPDATE uniq SET code = code + 1 WHERE code >= {code} ORDER BY code DESC"
        )),
        3 => text(format!("DELETE FROM uniq WHERE code BETWEEN {code} AND {}", code + 15)),
        _ => text(format!("UPDATE uniq SET val = (val + 1) % 9 WHERE val = {}", id % 9)),
    }
}

fn with_limit(random: &mut Random) -> Statement {
    let (group, limit) = (group(random), random.between(1, 3));
    match random.below(3) {
        0 => text(format!(
            "UPDATE item SET val = val + 1 WHERE grp = {group} ORDER BY id LIMIT {limit}"
        )),
        1 => text(format!(
            "DELETE FROM item WHERE grp = {group} ORDER BY id DESC LIMIT {limit}"
        )),
        _ => text(format!("DELETE FROM entry ORDER BY id LIMIT {limit}")),
    }
}

fn prepared_write(random: &mut Random, client: u32) -> Statement {
    let (from, to) = range(random);
    match random.below(4) {
        0 => prepared(
            "UPDATE item SET val = val + ?, note = ? WHERE id BETWEEN ? AND ?",
            vec![
                random.between(1, 5).into(),
                format!("prepared by {client}").into(),
                from.into(),
                to.into(),
            ],
            &[],
        ),
        1 => prepared(
            "INSERT INTO entry (client, item, val, dice) VALUES (?, ?, ?, FLOOR(RAND() * 100))",
            vec![client.into(), from.into(), random.below(50).into()],
            &[],
        ),
        2 => prepared(
            "INSERT INTO item (id, grp, val) VALUES (?, ?, ?)",
            vec![from.into(), group(random).into(), to.into()],
            &[DUPLICATE],
        ),
        _ => prepared("DELETE FROM item WHERE val = ?", vec![random.below(60).into()], &[]),
    }
}

fn scratch(random: &mut Random) -> Statement {
    let val = random.below(50);
    match random.below(4) {
        0..2 => text(format!("INSERT INTO scratch (val) VALUES ({val}), ({val} + 1)")),
        2 => text(format!("UPDATE scratch SET val = val + 1 WHERE val < {val}")),
        _ => failing(
            format!("INSERT INTO extra_{} (val) VALUES ({val})", random.below(3)),
            &[1146],
        ),
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
                .flat_map(|_| inside_transaction(&mut random, 3))
                .map(|statement| statement.sql)
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(5), draw(5));
        assert_ne!(draw(5), draw(6));
    }
}
