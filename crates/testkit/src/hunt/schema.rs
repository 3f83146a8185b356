//! The hunt's tables: small, so that clients meet; with every kind of key.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

/// Rows of `account`, each beginning with [`BALANCE`].
pub(super) const ACCOUNTS: u64 = 20;
/// What an account begins with.
pub(super) const BALANCE: u64 = 1000;
/// Ids of `item` and `uniq` are from 1 to this.
pub(super) const ITEMS: u64 = 60;
/// Groups of items, and ids of `parent`, are from 1 to this.
pub(super) const GROUPS: u64 = 6;

const TABLES: &[&str] = &[
    "DROP DATABASE IF EXISTS hunt",
    "CREATE DATABASE hunt DEFAULT CHARACTER SET utf8mb4",
    "USE hunt",
    // Only transfers write here: the sum never changes.
    "CREATE TABLE account (id INT PRIMARY KEY, balance INT NOT NULL,
       changed TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)) ENGINE=InnoDB",
    // One row per client, and one receipt per acknowledged commit: nothing lost, nothing twice.
    "CREATE TABLE ledger (client INT PRIMARY KEY, commits INT NOT NULL) ENGINE=InnoDB",
    "CREATE TABLE receipt (client INT, number INT, made TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
       PRIMARY KEY (client, number)) ENGINE=InnoDB",
    "CREATE TABLE pulse (id INT PRIMARY KEY, value INT NOT NULL) ENGINE=InnoDB",
    "CREATE TABLE item (id INT PRIMARY KEY, grp INT NOT NULL, val INT NOT NULL, note VARCHAR(40) NOT NULL DEFAULT '',
       changed TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
       KEY (grp), KEY (val)) ENGINE=InnoDB",
    "CREATE TABLE counter (name VARCHAR(20) PRIMARY KEY, n INT NOT NULL,
       changed TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP) ENGINE=InnoDB",
    "CREATE TABLE uniq (id INT PRIMARY KEY, code INT NOT NULL, val INT NOT NULL, UNIQUE KEY (code), KEY (val)) ENGINE=InnoDB",
    "CREATE TABLE entry (id INT AUTO_INCREMENT PRIMARY KEY, client INT NOT NULL, item INT NOT NULL, val INT NOT NULL,
       dice INT NOT NULL DEFAULT 0, token VARCHAR(80) NOT NULL DEFAULT '', made DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), KEY (item), KEY (client)) ENGINE=InnoDB",
    "CREATE TABLE parent (id INT PRIMARY KEY, total INT NOT NULL DEFAULT 0) ENGINE=InnoDB",
    "CREATE TABLE child (id INT AUTO_INCREMENT PRIMARY KEY, parent INT NOT NULL, val INT NOT NULL, KEY (val),
       CONSTRAINT child_parent FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE) ENGINE=InnoDB",
    "CREATE TABLE ward (id INT AUTO_INCREMENT PRIMARY KEY, parent INT NOT NULL, val INT NOT NULL,
       CONSTRAINT ward_parent FOREIGN KEY (parent) REFERENCES parent (id)) ENGINE=InnoDB",
    "CREATE TRIGGER uniq_changes AFTER UPDATE ON uniq FOR EACH ROW
       UPDATE parent SET total = total + NEW.val WHERE id = NEW.id % 6 + 1",
    "CREATE TABLE scratch (id INT AUTO_INCREMENT PRIMARY KEY, val INT NOT NULL) ENGINE=InnoDB",
];

/// Creates and fills the tables of the schema `hunt`; one that is there already is dropped.
pub(super) async fn create(conn: &mut Conn, clients: u32) -> Result<(), mysql_async::Error> {
    for statement in TABLES {
        conn.query_drop(*statement).await?;
    }
    let rows = |range: std::ops::RangeInclusive<u64>, row: &dyn Fn(u64) -> String| {
        range.map(row).collect::<Vec<_>>().join(",")
    };
    let fill = [
        format!(
            "account (id, balance) VALUES {}",
            rows(1..=ACCOUNTS, &|id| format!("({id},{BALANCE})"))
        ),
        format!(
            "ledger VALUES {}",
            rows(1..=u64::from(clients), &|client| format!("({},0)", client - 1))
        ),
        "pulse VALUES (1, 0)".to_owned(),
        format!(
            "item (id, grp, val) VALUES {}",
            rows(1..=ITEMS, &|id| format!("({id},{},{})", id % GROUPS + 1, id * 7 % 50))
        ),
        format!(
            "uniq VALUES {}",
            rows(1..=ITEMS / 2, &|id| format!("({id},{},{})", id * 10, id % 9))
        ),
        format!("parent (id) VALUES {}", rows(1..=GROUPS, &|id| format!("({id})"))),
    ];
    for insert in fill {
        conn.query_drop(format!("INSERT INTO {insert}")).await?;
    }
    Ok(())
}
