//! Whether two servers hold the same: definitions, and the rows of every table by checksum. Nobody may write meanwhile.
//!
//! Servers of the same version are compared by their own words and by CHECKSUM TABLE. Others word the same definition differently and have other
//! checksums, so of these only the names of tables and the numbers of their rows are compared.

use futures_util::future::try_join;
use grove_engine::io::{CopyError, Leg};
use std::collections::{BTreeMap, BTreeSet};

use crate::connection::{Connection, text};
use crate::definitions;
use crate::literal::name;
use crate::prepare_to_read;
use crate::sequences;

/// Differences that are named.
const MOST_NAMED: usize = 20;

/// What is compared: a name for each thing, and what a server says of it.
pub(crate) type Holdings = BTreeMap<String, String>;

/// What the second server holds otherwise than the first, in words, up to some; empty if they hold the same. Takes fresh connections of Grove's own account.
pub async fn differences<L: Leg>(first: L, second: L) -> Result<Vec<String>, CopyError> {
    let (mut first, mut second) = (Connection::new(first), Connection::new(second));
    try_join(prepare_to_read(&mut first), prepare_to_read(&mut second)).await?;
    let versions = try_join(version(&mut first), version(&mut second)).await?;
    let is_same_version = versions.0 == versions.1;
    let holdings = try_join(
        holdings(&mut first, is_same_version),
        holdings(&mut second, is_same_version),
    );
    let (first, second) = holdings.await?;
    Ok(compare(&first, &second))
}

pub(crate) fn compare(first: &Holdings, second: &Holdings) -> Vec<String> {
    let things: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let differences = things
        .into_iter()
        .filter_map(|thing| match (first.get(thing), second.get(thing)) {
            (Some(ours), Some(theirs)) if ours == theirs => None,
            (Some(ours), Some(theirs)) if ours.len().max(theirs.len()) < 80 => {
                Some(format!("{thing}: {ours} and {theirs}"))
            }
            (Some(_), Some(_)) => Some(format!("{thing} is not the same")),
            (Some(_), None) => Some(format!("{thing} is missing there")),
            (None, _) => Some(format!("{thing} is there only")),
        });
    differences.take(MOST_NAMED).collect()
}

pub(crate) async fn version<L: Leg>(of: &mut Connection<L>) -> Result<String, CopyError> {
    let rows = of.ask("SELECT VERSION()").await?;
    Ok(rows.first().map(|row| text(row, 0)).unwrap_or_default())
}

/// Everything: definitions, if in detail, and rows.
async fn holdings<L: Leg>(of: &mut Connection<L>, in_detail: bool) -> Result<Holdings, CopyError> {
    let mut holdings = Holdings::new();
    if in_detail {
        holdings = defined(of).await?;
        for sequence in sequences::read(of).await? {
            let values = sequences::values(of, &sequence).await?;
            holdings.insert(format!("the value of {}.{}", sequence.schema, sequence.name), values);
        }
    } else {
        for (schema, _) in definitions::schemas(of).await? {
            holdings.insert(format!("schema {schema}"), String::new());
        }
    }
    for (schema, table) in definitions::table_names(of).await? {
        let place = format!("{}.{}", name(&schema), name(&table));
        let (what, question) = match in_detail {
            true => ("the checksum", format!("CHECKSUM TABLE {place}")),
            false => ("the number of rows", format!("SELECT '', COUNT(*) FROM {place}")),
        };
        let rows = of.ask(question).await?;
        let answer = rows.first().map(|row| text(row, 1)).unwrap_or_default();
        holdings.insert(format!("{what} of {schema}.{table}"), answer);
    }
    Ok(holdings)
}

/// All definitions, in the server's own words.
pub(crate) async fn defined<L: Leg>(of: &mut Connection<L>) -> Result<Holdings, CopyError> {
    let mut holdings = Holdings::new();
    for (schema, create) in definitions::schemas(of).await? {
        holdings.insert(format!("schema {schema}"), create);
    }
    for (schema, table) in definitions::table_names(of).await? {
        let create = of
            .ask(format!("SHOW CREATE TABLE {}.{}", name(&schema), name(&table)))
            .await?;
        let create = create.first().map(|row| without_counter(&text(row, 1)));
        holdings.insert(
            format!("the definition of {schema}.{table}"),
            create.unwrap_or_default(),
        );
    }
    for sequence in sequences::read(of).await? {
        let thing = format!("sequence {}.{}", sequence.schema, sequence.name);
        holdings.insert(thing, sequence.create);
    }
    let programs = [
        ("routine", definitions::routines(of).await?),
        ("view", definitions::views(of).await?),
        ("trigger", definitions::triggers(of).await?),
        ("event", definitions::events(of).await?),
    ];
    for (kind, programs) in programs {
        for program in programs {
            let thing = format!("{kind} {}.{}", program.schema, program.name);
            let create = String::from_utf8_lossy(&program.create).into_owned();
            holdings.insert(thing, format!("{create} {}", program.context.join("; ")));
        }
    }
    Ok(holdings)
}

/// The counter may differ where the rows are the same.
fn without_counter(create: &str) -> String {
    let Some((before, after)) = create.rsplit_once(" AUTO_INCREMENT=") else {
        return create.to_owned();
    };
    [before, after.trim_start_matches(|c: char| c.is_ascii_digit())].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named() {
        let holdings = |things: &[(&str, &str)]| -> Holdings {
            let things = things
                .iter()
                .map(|(thing, what)| ((*thing).to_owned(), (*what).to_owned()));
            things.collect()
        };
        let long = "x".repeat(100);
        let first = holdings(&[("a", "1"), ("b", "2"), ("c", "3"), ("e", &long)]);
        let second = holdings(&[("a", "1"), ("b", "5"), ("d", "4"), ("e", "")]);
        assert_eq!(
            compare(&first, &second),
            [
                "b: 2 and 5",
                "c is missing there",
                "d is there only",
                "e is not the same"
            ]
        );
        assert!(compare(&first, &first).is_empty());
    }

    #[test]
    fn counters_are_no_difference() {
        let create = "CREATE TABLE `t` (`a` int) ENGINE=InnoDB AUTO_INCREMENT=17 DEFAULT CHARSET=utf8mb4";
        assert_eq!(
            without_counter(create),
            "CREATE TABLE `t` (`a` int) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
        );
    }
}
