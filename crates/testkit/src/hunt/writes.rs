//! The writes of the hunt: each is deterministic given the context that Grove sends along.
//!
//! Every multi-row insert that numbers its rows reads them in the order of a unique key, and LIMIT stands only behind such an order:
//! other forms are among the exceptions that a client of Grove accepts.

use super::schema::{GROUPS, ITEMS};
use super::statement::{DUPLICATE, Statement, failing, group, item, prepared, range, text};
use crate::Random;

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

/// Changes the items of a range of ids.
pub(super) fn update_range(random: &mut Random, client: u32) -> Statement {
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
            let token = *random.pick(&["''", "UUID()", "UUID_SHORT()", "CONCAT(SYSDATE(6), UUID())"]);
            let (item, val) = (item(random), random.below(50));
            format!("({client}, {item}, {val}, {dice}, {made}, {token})")
        })
        .collect();
    text(format!(
        "INSERT INTO entry (client, item, val, dice, made, token) VALUES {}",
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
            "INSERT INTO entry (client, item, val, dice, token) VALUES (?, ?, ?, FLOOR(RAND() * 100), UUID())",
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
