//! Grove's own statements about the schema `_grove`, in which a server says which log's entries it holds.
//!
//! They are understood exactly as the engine writes them. Its tables are tables like all others, with rows, locks and versions; only the
//! columns are squeezed into those that every table of the model has.

use super::sql::Table;
use std::fmt;

/// A statement about the schema `_grove`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Own {
    CreateSchema,
    CreateTable(Table),
    ReadStanding,
    /// Positions above this one.
    ReadApplied(u64),
    /// Raises the prefix, if the log is this one.
    RaisePrefix {
        log: String,
        prefix: u64,
    },
    WriteStanding {
        log: String,
        prefix: u64,
    },
    /// Locks the fence's row exclusively.
    WriteFence(u64),
    Mark {
        position: u64,
        token: u64,
    },
    /// Shares the fence's row until the transaction ends, and fails if it has another token.
    FencedMark {
        position: u64,
        token: u64,
    },
    /// Forgets marks up to a position.
    Fold(u64),
    /// How a client's table is defined. The model changes no definitions.
    Definition(Table),
}

const READ_STANDING: &str = "SELECT `log`,`prefix` FROM `_grove`.`standing`";
const READ_APPLIED: &str = "SELECT `position` FROM `_grove`.`applied` WHERE `position`>";
/// More than any server of a simulation has.
const APPLIED_ORDER: &str = " ORDER BY `position` LIMIT 10000";

impl Own {
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text == "CREATE DATABASE IF NOT EXISTS `_grove`" {
            return Some(Self::CreateSchema);
        }
        if let Some(rest) = text.strip_prefix("CREATE TABLE IF NOT EXISTS `_grove`.`") {
            let (name, columns) = rest.split_once('`')?;
            let table = Table::OWN.into_iter().find(|table| table.name() == name)?;
            let columns = columns.trim_start();
            return (columns.starts_with('(') && columns.contains(')')).then_some(Self::CreateTable(table));
        }
        if text == READ_STANDING {
            return Some(Self::ReadStanding);
        }
        if let Some(position) = text.strip_prefix("DELETE FROM `_grove`.`applied` WHERE `position`<=") {
            return position.parse().ok().map(Self::Fold);
        }
        if let Some(name) = text.strip_prefix("SHOW CREATE TABLE `app`.`") {
            let name = name.strip_suffix('`')?;
            let table = Table::ALL.into_iter().find(|table| table.name() == name)?;
            return Some(Self::Definition(table));
        }
        if let Some(rest) = text.strip_prefix(READ_APPLIED) {
            return rest.strip_suffix(APPLIED_ORDER)?.parse().ok().map(Self::ReadApplied);
        }
        if let Some(rest) = text.strip_prefix("UPDATE `_grove`.`standing` SET `prefix`=GREATEST(`prefix`,") {
            let (prefix, rest) = rest.split_once(") WHERE `log`='")?;
            let (prefix, log) = (prefix.parse().ok()?, rest.strip_suffix('\'')?.to_owned());
            return Some(Self::RaisePrefix { log, prefix });
        }
        Self::parse_insert(text.strip_prefix("INSERT INTO `_grove`.`")?)
    }

    fn parse_insert(rest: &str) -> Option<Self> {
        if let Some(rest) = rest.strip_prefix("standing` VALUES (1,'") {
            let (log, rest) = rest.split_once("',")?;
            let (prefix, _) = rest.split_once(')')?;
            let prefix = prefix.parse().ok()?;
            let is_hex = log.len() == 32 && log.bytes().all(|byte| byte.is_ascii_hexdigit());
            let log = log.to_owned();
            return exactly(Self::WriteStanding { log, prefix }, rest_of(rest)).filter(|_| is_hex);
        }
        if let Some(rest) = rest.strip_prefix("fence` VALUES (1,") {
            let (token, _) = rest.split_once(')')?;
            return exactly(Self::WriteFence(token.parse().ok()?), rest_of(rest));
        }
        let rest = rest.strip_prefix("applied` VALUES (")?;
        let (position, value) = rest.split_once(',')?;
        let position = position.parse().ok()?;
        let token = match value.strip_prefix("(SELECT `token` FROM `_grove`.`fence` WHERE `token`=") {
            None => {
                return Some(Self::Mark {
                    position,
                    token: value.strip_suffix(')')?.parse().ok()?,
                });
            }
            Some(token) => token.strip_suffix(" LOCK IN SHARE MODE))")?.parse().ok()?,
        };
        Some(Self::FencedMark { position, token })
    }

    /// The tables that the statement uses.
    pub fn tables(&self) -> Vec<Table> {
        match self {
            Self::CreateSchema | Self::CreateTable(_) | Self::Definition(_) => Vec::new(),
            Self::ReadStanding | Self::WriteStanding { .. } | Self::RaisePrefix { .. } => vec![Table::Standing],
            Self::WriteFence(_) => vec![Table::Fence],
            Self::ReadApplied(_) | Self::Mark { .. } | Self::Fold(_) => vec![Table::Applied],
            Self::FencedMark { .. } => vec![Table::Applied, Table::Fence],
        }
    }

    /// Whether it commits what is open before it.
    pub fn commits(&self) -> bool {
        matches!(self, Self::CreateSchema | Self::CreateTable(_))
    }
}

/// The statement, if its `ON DUPLICATE KEY` clause says the same as its values.
fn exactly(own: Own, clause: &str) -> Option<Own> {
    own.to_string().ends_with(clause).then_some(own)
}

fn rest_of(values: &str) -> &str {
    values.find(')').map_or("", |at| &values[at..])
}

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateSchema => f.write_str("CREATE DATABASE IF NOT EXISTS `_grove`"),
            Self::CreateTable(table) => write!(f, "CREATE TABLE IF NOT EXISTS `_grove`.`{}` (..)", table.name()),
            Self::ReadStanding => f.write_str(READ_STANDING),
            Self::ReadApplied(above) => write!(f, "{READ_APPLIED}{above}{APPLIED_ORDER}"),
            Self::RaisePrefix { log, prefix } => write!(
                f,
                "UPDATE `_grove`.`standing` SET `prefix`=GREATEST(`prefix`,{prefix}) WHERE `log`='{log}'"
            ),
            Self::WriteStanding { log, prefix } => write!(
                f,
                "INSERT INTO `_grove`.`standing` VALUES (1,'{log}',{prefix}) ON DUPLICATE KEY UPDATE `log`='{log}',`prefix`={prefix}"
            ),
            Self::WriteFence(token) => write!(
                f,
                "INSERT INTO `_grove`.`fence` VALUES (1,{token}) ON DUPLICATE KEY UPDATE `token`={token}"
            ),
            Self::Mark { position, token } => write!(f, "INSERT INTO `_grove`.`applied` VALUES ({position},{token})"),
            Self::FencedMark { position, token } => write!(
                f,
                "INSERT INTO `_grove`.`applied` VALUES ({position},(SELECT `token` FROM `_grove`.`fence` WHERE `token`={token} LOCK IN SHARE MODE))"
            ),
            Self::Definition(table) => write!(f, "SHOW CREATE TABLE `app`.`{}`", table.name()),
            Self::Fold(position) => write!(f, "DELETE FROM `_grove`.`applied` WHERE `position`<={position}"),
        }
    }
}

#[test]
fn every_statement_of_its_own_is_read_back_as_it_was_written() {
    let log = "0123456789abcdef0123456789abcdef".to_owned();
    let statements = [
        Own::CreateSchema,
        Own::CreateTable(Table::Fence),
        Own::ReadStanding,
        Own::ReadApplied(3),
        Own::RaisePrefix {
            log: log.clone(),
            prefix: 18,
        },
        Own::WriteStanding { log, prefix: 17 },
        Own::WriteFence(u64::MAX),
        Own::Mark { position: 4, token: 9 },
        Own::FencedMark { position: 5, token: 9 },
        Own::Fold(17),
        Own::Definition(Table::T),
    ];
    for own in statements {
        assert_eq!(Own::parse(&own.to_string()), Some(own));
    }
    let wrong = "INSERT INTO `_grove`.`fence` VALUES (1,4) ON DUPLICATE KEY UPDATE `token`=5";
    assert_eq!(Own::parse(wrong), None);
    assert_eq!(Own::parse("DELETE FROM `_grove`.`applied`"), None);
}
