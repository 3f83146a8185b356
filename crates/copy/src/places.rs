//! Whether every table's name still stands for the rows that it stood for: a table that is renamed, or that changes places with a partition, takes its rows with
//! it, and a snapshot is no protection from that.

use grove_engine::io::{CopyError, Leg};
use std::collections::HashMap;

use crate::connection::{Connection, text};

/// ER_UNKNOWN_TABLE: there is no such table in information_schema.
const ER_UNKNOWN_TABLE: u16 = 1109;

/// InnoDB's number of each table and partition, with its name; and how often tables have been renamed.
pub(crate) struct Places {
    names: HashMap<String, String>,
    renamings: String,
}

impl Places {
    pub async fn read<L: Leg>(of: &mut Connection<L>) -> Result<Self, CopyError> {
        let mysql = "SELECT TABLE_ID, NAME FROM information_schema.INNODB_TABLES";
        let rows = match of.ask_unless(mysql, &[ER_UNKNOWN_TABLE]).await? {
            Some(rows) => rows,
            // MariaDB.
            None => {
                of.ask("SELECT TABLE_ID, NAME FROM information_schema.INNODB_SYS_TABLES")
                    .await?
            }
        };
        let renamings = of.ask("SHOW GLOBAL STATUS LIKE 'Com_rename_table'").await?;
        Ok(Self {
            names: rows.iter().map(|row| (text(row, 0), text(row, 1))).collect(),
            renamings: renamings.first().map(|row| text(row, 1)).unwrap_or_default(),
        })
    }

    /// Refuses if a table has another name now. One that has been made anew is another table, of which the snapshot's transactions say so themselves.
    pub async fn must_be_unmoved<L: Leg>(&self, of: &mut Connection<L>) -> Result<(), CopyError> {
        let now = Self::read(of).await?;
        let moved = now.names.iter().find_map(|(number, name)| {
            let before = self.names.get(number).filter(|before| *before != name)?;
            Some(format!(
                "the table {before} has become {name} while the tables were read"
            ))
        });
        if let Some(moved) = moved {
            return Err(CopyError::Changed(moved));
        }
        if now.renamings != self.renamings {
            // There and back again, perhaps.
            return Err(CopyError::Changed("tables were renamed while they were read".into()));
        }
        Ok(())
    }
}
