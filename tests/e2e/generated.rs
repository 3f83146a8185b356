//! Generated conversations: a seed draws statements of all kinds with values of all types, and every packet of the answers is compared.

use std::fmt::Write;

use grove_testkit::raw_client::EVERYDAY;
use grove_testkit::{Kind, Random};
use grove_wire::CapabilityFlags;
use grove_wire::command::{COM_INIT_DB, COM_PING, COM_STMT_CLOSE, COM_STMT_EXECUTE, COM_STMT_RESET};

use crate::stage::{Notes, Place, Stage};

const STEPS: u32 = 120;
/// Seeds from 1 on. `GROVE_CONVERSATIONS=20` draws as many fresh ones instead, `GROVE_CONVERSATION_SEED` repeats one.
const CONVERSATIONS: u64 = 3;

/// Lengths around those where a length takes more bytes.
const LENGTHS: [usize; 10] = [0, 1, 2, 250, 251, 252, 300, 65_535, 65_536, 70_000];

const TABLE: &str = "CREATE TABLE g (id INT AUTO_INCREMENT PRIMARY KEY, i TINYINT, u BIGINT UNSIGNED, d DECIMAL(20,5), f FLOAT, r DOUBLE, b BIT(12), \
    s VARCHAR(400), c CHAR(5), t MEDIUMTEXT, x MEDIUMBLOB, day DATE, at DATETIME(6), span TIME(3), y YEAR, e ENUM('a', 'b', ''), m SET('p', 'q'), \
    UNIQUE KEY (u)) DEFAULT CHARSET utf8mb4";
const COLUMNS: [&str; 16] = [
    "i", "u", "d", "f", "r", "b", "s", "c", "t", "x", "day", "at", "span", "y", "e", "m",
];

/// A literal, some of them too large or of the wrong type for a column.
fn literal(random: &mut Random) -> String {
    match random.below(16) {
        0 | 1 => "NULL".to_owned(),
        2 | 3 => random.below(200).to_string(),
        4 => format!("-{}", random.number()),
        5 => random.number().to_string(),
        6 => format!("{}.{:05}", random.below(100_000), random.below(100_000)),
        7 => format!("{}e{}", random.below(1000), random.below(30)),
        8 => format!("b'{:b}'", random.below(4096)),
        9 => format!("x'{:04x}'", random.below(65_536)),
        10 => format!("REPEAT('z', {})", random.pick(&LENGTHS)),
        11 => format!(
            "'{}-{:02}-{:02}'",
            random.between(1000, 9999),
            random.between(1, 13),
            random.between(1, 31)
        ),
        12 => format!(
            "'2024-02-{:02} 13:14:15.{:06}'",
            random.between(1, 30),
            random.below(1_000_000)
        ),
        13 => format!("'-{}:59:59.5'", random.below(900)),
        14 => (*random.pick(&["'a'", "'p,q'", "''", "'\u{e4}\u{20ac}'", "_latin1'x'", "TRUE", "'12x'"])).to_owned(),
        _ => format!("'{}'", "q".repeat(random.below(300) as usize)),
    }
}

fn list(random: &mut Random, most: u64) -> String {
    let values: Vec<String> = (0..random.between(1, most)).map(|_| literal(random)).collect();
    values.join(", ")
}

fn statement(random: &mut Random) -> String {
    let column = *random.pick(&COLUMNS);
    let id = random.between(1, 20);
    match random.below(24) {
        0..5 => format!("SELECT {}", list(random, 8)),
        5..9 => format!(
            "INSERT INTO g ({column}) VALUES ({}), ({})",
            literal(random),
            literal(random)
        ),
        9 => format!("INSERT IGNORE INTO g ({column}) VALUES ({})", literal(random)),
        10 => format!("REPLACE INTO g (id, {column}) VALUES ({id}, {})", literal(random)),
        11 => format!("UPDATE g SET {column} = {} WHERE id = {id}", literal(random)),
        12 => format!("DELETE FROM g WHERE id = {id}"),
        13 => format!("SELECT * FROM g WHERE id <= {id} ORDER BY id"),
        14 => format!("SELECT {column} AS named, COUNT(*) FROM g GROUP BY {column} ORDER BY 1, 2"),
        15 => format!("SELECT {} UNION ALL SELECT {}", literal(random), literal(random)),
        16 => format!("SELECT nothing FROM g; SELECT {}", literal(random)),
        17 => format!(
            "SELECT {}; UPDATE g SET s = 'm' WHERE id = {id}; SELECT s FROM g WHERE id = {id}",
            literal(random)
        ),
        18 => format!("SELECT {} FROM", literal(random)),
        19 => (*random.pick(&[
            "BEGIN",
            "COMMIT",
            "ROLLBACK",
            "SAVEPOINT a",
            "ROLLBACK TO a",
            "SET autocommit = 1",
        ]))
        .to_owned(),
        20 => format!("SET @v = {}", literal(random)),
        21 => "SELECT @v, LAST_INSERT_ID()".to_owned(),
        22 => (*random.pick(&[
            "SET sql_mode = ''",
            "SET sql_mode = DEFAULT",
            "SET NAMES latin1",
            "SET NAMES utf8mb4",
            "SET time_zone = '+03:00'",
        ]))
        .to_owned(),
        _ => format!("SELECT COUNT(*), SUM({column}) FROM g"),
    }
}

/// Kinds of parameters that a client may bind.
const KINDS: u64 = 6;

/// An execution with parameters of these kinds.
fn execution(random: &mut Random, id: u32, kinds: &[u64]) -> Vec<u8> {
    let params = kinds.len();
    let mut payload = [&[COM_STMT_EXECUTE][..], &id.to_le_bytes(), &[0, 1, 0, 0, 0]].concat();
    if params == 0 {
        return payload;
    }
    let nulls: Vec<bool> = (0..params).map(|_| random.chance(20)).collect();
    let mut bitmap = vec![0; params.div_ceil(8)];
    for (index, _) in nulls.iter().enumerate().filter(|(_, is_null)| **is_null) {
        bitmap[index / 8] |= 1 << (index % 8);
    }
    payload.extend(bitmap);
    payload.push(1);
    let (mut types, mut values) = (Vec::new(), Vec::new());
    for (is_null, kind) in nulls.into_iter().zip(kinds) {
        let (kind, flag, value): (u8, u8, Vec<u8>) = match *kind {
            0 => (1, 0, vec![random.below(256) as u8]),
            1 => (3, 0, (random.number() as i32).to_le_bytes().to_vec()),
            2 => (8, 0x80, random.number().to_le_bytes().to_vec()),
            3 => (5, 0, (random.below(1_000_000) as f64 / 64.0).to_le_bytes().to_vec()),
            // 2024-02-29 12:34:56
            4 => (12, 0, vec![7, 0xE8, 7, 2, 29, 12, 34, 56]),
            _ => {
                let length = random.below(250) as u8;
                let text = vec![b'w'; usize::from(length)];
                (253, 0, [vec![length], text].concat())
            }
        };
        types.extend([kind, flag]);
        if !is_null {
            values.extend(value);
        }
    }
    payload.extend(types);
    payload.extend(values);
    payload
}

/// The answer to a command that is no statement. MySQL counts there the warnings of the statement before, which may have run on another server.
fn without_warnings(answer: &[u8]) -> &[u8] {
    let is_ok = answer.first() == Some(&0);
    if is_ok { &answer[..5] } else { answer }
}

async fn conversation(place: Place, capabilities: CapabilityFlags, seed: u64) -> Notes {
    let (mut random, mut notes) = (Random::new(seed), Notes::default());
    let mut client = place.raw(capabilities).await;
    client.query(TABLE).await.unwrap();
    for step in 0..STEPS {
        match random.below(20) {
            0 => {
                let pong = client.command(&[COM_PING]).await.unwrap();
                notes.packets("ping", &[without_warnings(&pong[0])]);
            }
            1 => {
                let schema = *random.pick(&["app", "missing"]);
                let command = [&[COM_INIT_DB], schema.as_bytes()].concat();
                let answer = client.command(&command).await.unwrap();
                notes.packets("init db", &[without_warnings(&answer[0])]);
            }
            2..7 => {
                let params = random.below(4) as usize;
                let mut sql = String::from("SELECT 1");
                (0..params).for_each(|_| sql.push_str(", ?"));
                if random.chance(30) {
                    sql = format!("INSERT INTO g (s, r, t) VALUES ('p'{})", ", ?".repeat(2));
                }
                let count = sql.matches('?').count();
                let (id, mut packets) = client.prepare(&sql).await.unwrap();
                // The statement's id is a server's own.
                if let Some(head) = packets.first_mut().filter(|head| head.first() == Some(&0)) {
                    *head = head.slice(5..);
                }
                notes.packets(&format!("{step} prepare {sql}"), &packets);
                let mut kinds: Vec<u64> = (0..count).map(|_| random.below(KINDS)).collect();
                for _ in 0..random.between(1, 3) {
                    let payload = execution(&mut random, id, &kinds);
                    let packets = client.command(&payload).await.unwrap();
                    let mut title = String::new();
                    let _ = write!(title, "execute {}", payload[10..].escape_ascii());
                    notes.packets(&title, &packets);
                    if sql.starts_with("SELECT") {
                        // What a write is given once, MySQL takes for the type of later values too, and Grove does not.
                        kinds.iter_mut().for_each(|kind| *kind = random.below(KINDS));
                    }
                }
                if random.chance(50) {
                    let reset = [&[COM_STMT_RESET][..], &id.to_le_bytes()].concat();
                    let answer = client.command(&reset).await.unwrap();
                    notes.packets("reset", &[without_warnings(&answer[0])]);
                }
                client
                    .send(&[&[COM_STMT_CLOSE][..], &id.to_le_bytes()].concat())
                    .await
                    .unwrap();
            }
            _ => {
                let sql = statement(&mut random);
                let packets = client
                    .query(&sql)
                    .await
                    .unwrap_or_else(|error| panic!("{sql}: {error:#}"));
                notes.packets(&format!("{step} {sql}"), &packets);
                // MariaDB keeps them from one statement without tables to the next, which may run on another server.
                let uses_tables = sql.contains(" g");
                if uses_tables && random.chance(30) {
                    notes.packets("warnings", &client.query("SHOW WARNINGS").await.unwrap());
                }
            }
        }
    }
    // What is open ends, so that the servers can be compared.
    notes.packets("end", &client.query("ROLLBACK").await.unwrap());
    notes
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

async fn conversations(kind: Kind) {
    let stage = Stage::open(kind).await;
    let seeds: Vec<u64> = match (variable("GROVE_CONVERSATION_SEED"), variable("GROVE_CONVERSATIONS")) {
        (Some(seed), _) => vec![seed],
        (None, Some(count)) => (0..count).map(|_| Random::fresh_seed()).collect(),
        (None, None) => (1..=CONVERSATIONS).collect(),
    };
    for seed in seeds {
        eprintln!("seed {seed}");
        for capabilities in [EVERYDAY, EVERYDAY | CapabilityFlags::DEPRECATE_EOF] {
            stage
                .same_as_direct(async |place| conversation(place, capabilities, seed).await)
                .await;
        }
    }
}

#[tokio::test]
async fn conversations_are_answered_as_mariadb_does() {
    conversations(Kind::MariaDb).await;
}

#[tokio::test]
async fn conversations_are_answered_as_mysql_does() {
    conversations(Kind::MySql).await;
}
