//! The functions that the servers have built in, and what calling one means.
//!
//! A name that is not here, or that the server's version does not have, may be a stored function or a loadable one, and those may write. So the
//! table errs towards leaving out: a missing function costs an ordered execution, a wrong one the data.

mod table;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

use crate::analysis::AnalysisFlags;
use crate::mode::{Flavor, LexMode};

/// What a built-in function does besides returning a value that its arguments and the tables decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// It depends on the clock.
    Clock,
    /// SYSDATE.
    Sysdate,
    /// It draws random numbers from the session's seeds or elsewhere.
    Random,
    /// It makes an identifier that is unique.
    Unique,
    /// It names the connection.
    Connection,
    /// It names the account or the role.
    Account,
    /// LAST_INSERT_ID.
    LastInsertId,
    /// FOUND_ROWS or ROW_COUNT.
    RowCount,
    /// LOAD_FILE.
    File,
    /// It waits.
    Wait,
    /// A named lock is taken, given back or asked for.
    NamedLock,
    /// It advances the sequence that is its first argument.
    AdvanceSequence,
    /// It repeats what the session has drawn from a sequence.
    OwnSequence,
    /// ROWNUM.
    RowNumber,
}

impl Effect {
    /// Records the effect.
    pub fn note(self, flags: &mut AnalysisFlags) {
        match self {
            Self::None | Self::AdvanceSequence | Self::OwnSequence => {}
            Self::Clock => flags.reads_clock = true,
            Self::Sysdate => {
                flags.reads_clock = true;
                flags.uses_sysdate = true;
            }
            Self::Random => flags.uses_rand = true,
            Self::Unique => flags.uses_uuid = true,
            Self::Connection => flags.uses_connection_id = true,
            Self::Account => flags.uses_current_user = true,
            Self::LastInsertId => flags.uses_last_insert_id = true,
            Self::RowCount => flags.uses_found_rows_or_row_count = true,
            Self::File => flags.reads_file = true,
            Self::Wait => flags.sleeps = true,
            Self::NamedLock => flags.named_lock = true,
            Self::RowNumber => flags.has_limit = true,
        }
    }

    fn of(name: &str) -> Self {
        match name {
            "NOW" | "CURDATE" | "CURTIME" | "CURRENT_DATE" | "CURRENT_TIME" | "CURRENT_TIMESTAMP" | "LOCALTIME"
            | "LOCALTIMESTAMP" | "UNIX_TIMESTAMP" | "UTC_DATE" | "UTC_TIME" | "UTC_TIMESTAMP" => Self::Clock,
            "SYSDATE" => Self::Sysdate,
            // ENCRYPT without a salt makes one up.
            "RAND" | "RANDOM_BYTES" | "ENCRYPT" => Self::Random,
            "UUID" | "UUID_SHORT" | "SYS_GUID" | "UUID_V4" | "UUID_V7" => Self::Unique,
            "CONNECTION_ID" | "PS_CURRENT_THREAD_ID" | "PS_THREAD_ID" => Self::Connection,
            "USER" | "CURRENT_USER" | "SESSION_USER" | "SYSTEM_USER" | "CURRENT_ROLE" | "ROLES_GRAPHML" => {
                Self::Account
            }
            "LAST_INSERT_ID" => Self::LastInsertId,
            "FOUND_ROWS" | "ROW_COUNT" => Self::RowCount,
            "LOAD_FILE" => Self::File,
            "SLEEP"
            | "BENCHMARK"
            | "MASTER_POS_WAIT"
            | "SOURCE_POS_WAIT"
            | "MASTER_GTID_WAIT"
            | "WAIT_FOR_EXECUTED_GTID_SET"
            | "WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS"
            | "WSREP_SYNC_WAIT_UPTO_GTID" => Self::Wait,
            "GET_LOCK" | "RELEASE_LOCK" | "RELEASE_ALL_LOCKS" | "IS_FREE_LOCK" | "IS_USED_LOCK" => Self::NamedLock,
            "NEXTVAL" | "SETVAL" => Self::AdvanceSequence,
            "LASTVAL" => Self::OwnSequence,
            "ROWNUM" => Self::RowNumber,
            _ => Self::None,
        }
    }
}

#[derive(Clone, Debug, Default)]
struct BuiltIn {
    mysql: Range<u32>,
    mariadb: Range<u32>,
}

static BUILT_IN: LazyLock<HashMap<&'static str, BuiltIn>> = LazyLock::new(|| {
    let mut functions: HashMap<&'static str, BuiltIn> = HashMap::new();
    for group in table::GROUPS {
        for name in group.names.split_ascii_whitespace() {
            let function = functions.entry(name).or_default();
            let versions = match group.flavor {
                Flavor::Mysql => &mut function.mysql,
                Flavor::MariaDb => &mut function.mariadb,
            };
            *versions = group.versions.clone();
        }
    }
    functions
});

/// What the function `name`, in upper case, does on a server; `None` if the server does not have it.
pub(crate) fn effect(name: &str, flavor: Flavor, version: u32) -> Option<Effect> {
    let function = BUILT_IN.get(name)?;
    let versions = match flavor {
        Flavor::Mysql => &function.mysql,
        Flavor::MariaDb => &function.mariadb,
    };
    versions.contains(&version).then(|| Effect::of(name))
}

/// Whether the number of arguments decides if `name` is the built-in function: MariaDB's constructors of geometries.
pub(crate) fn may_be_overloaded(name: &str, flavor: Flavor) -> bool {
    const CONSTRUCTORS: [&str; 7] = [
        "GEOMETRYCOLLECTION",
        "LINESTRING",
        "MULTILINESTRING",
        "MULTIPOINT",
        "MULTIPOLYGON",
        "POINT",
        "POLYGON",
    ];
    flavor == Flavor::MariaDb && CONSTRUCTORS.contains(&name)
}

/// Whether such a name means a stored function with this number of arguments.
pub(crate) fn is_overloaded(name: &str, arguments: usize) -> bool {
    if name == "POINT" {
        arguments != 2
    } else {
        arguments == 0
    }
}

/// Words that may stand before a parenthesis without being called: the servers read all of them as keywords, so no stored function of that
/// name can be meant unless it is quoted or qualified.
pub(crate) fn is_syntax(word: &str, flavor: Flavor) -> bool {
    static WORDS: LazyLock<std::collections::HashSet<&'static str>> =
        LazyLock::new(|| table::SYNTAX.split_ascii_whitespace().collect());
    // RETURNING and EXCEPT are keywords of MariaDB in all versions, of MySQL only in some.
    WORDS.contains(word) || flavor == Flavor::MariaDb && matches!(word, "RETURNING" | "EXCEPT" | "INTERSECT" | "ROWS")
}

/// Words that call a function without parentheses.
pub(crate) fn effect_of_bare_word(word: &str) -> Option<Effect> {
    match word {
        "CURRENT_DATE" | "CURRENT_TIME" | "CURRENT_TIMESTAMP" | "LOCALTIME" | "LOCALTIMESTAMP" | "UTC_DATE"
        | "UTC_TIME" | "UTC_TIMESTAMP" | "SYSDATE" | "CURRENT_USER" | "CURRENT_ROLE" => Some(Effect::of(word)),
        _ => None,
    }
}

/// Functions that the servers recognise only where the parenthesis follows at once (unless IGNORE_SPACE is set): with a space in between the name
/// is that of a stored function. COUNT is one of them too; no stored function can be called with `*`.
pub(crate) fn needs_adjacent_parenthesis(word: &[u8], mode: LexMode) -> bool {
    const EITHER: [&[&str]; 15] = [
        &[],
        &[],
        &[],
        &["MAX", "MID", "MIN", "NOW", "STD", "SUM"],
        &["CAST", "TRIM"],
        &["COUNT"],
        &["BIT_OR", "STDDEV", "SUBSTR"],
        &[
            "ADDDATE", "BIT_AND", "BIT_XOR", "CURDATE", "CURTIME", "EXTRACT", "SUBDATE", "SYSDATE", "VAR_POP",
        ],
        &["DATE_ADD", "DATE_SUB", "POSITION", "VARIANCE", "VAR_SAMP"],
        &["SUBSTRING"],
        &["STDDEV_POP", "ST_COLLECT"],
        &["STDDEV_SAMP", "SYSTEM_USER"],
        &["GROUP_CONCAT", "SESSION_USER"],
        &["JSON_ARRAYAGG"],
        &["JSON_OBJECTAGG"],
    ];
    const MARIADB: [&[&str]; 16] = [
        &[],
        &[],
        &[],
        &["LAG"],
        &["LEAD", "RANK"],
        &["NTILE"],
        &["MEDIAN"],
        &[],
        &[],
        &["CUME_DIST", "NTH_VALUE"],
        &["DENSE_RANK"],
        &["FIRST_VALUE", "TRIM_ORACLE"],
        &["PERCENT_RANK"],
        &[],
        &[],
        &["PERCENTILE_CONT", "PERCENTILE_DISC"],
    ];
    let is_in = |lists: &[&[&str]]| {
        let names = lists.get(word.len()).copied().unwrap_or_default();
        names.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes()))
    };
    // ROW_NUMBER became a keyword in MariaDB 10.7, for GET DIAGNOSTICS.
    let is_row_number = || mode.version < 100_700 && word.eq_ignore_ascii_case(b"ROW_NUMBER");
    is_in(&EITHER) || mode.flavor == Flavor::MariaDb && (is_in(&MARIADB) || is_row_number())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_built_in_only_on_the_servers_that_have_it() {
        assert_eq!(effect("ABS", Flavor::Mysql, 50_624), Some(Effect::None));
        assert_eq!(effect("NOW", Flavor::MariaDb, 101_119), Some(Effect::Clock));
        assert_eq!(effect("BIN_TO_UUID", Flavor::MariaDb, 101_119), None);
        assert_eq!(effect("JSON_EXTRACT", Flavor::Mysql, 50_624), None);
        assert_eq!(effect("PASSWORD", Flavor::Mysql, 80_400), None);
        assert_eq!(effect("PASSWORD", Flavor::Mysql, 50_744), Some(Effect::None));
        assert_eq!(effect("NEXTVAL", Flavor::Mysql, 90_704), None);
    }

    #[test]
    fn names_are_listed_once_per_server_and_in_upper_case() {
        let mut seen = std::collections::HashSet::new();
        for group in table::GROUPS {
            for name in group.names.split_ascii_whitespace() {
                assert!(
                    seen.insert((group.flavor, name)),
                    "{name} is listed twice for {:?}",
                    group.flavor
                );
                assert_eq!(name, name.to_ascii_uppercase());
            }
        }
    }
}
