//! Parts of a table by ranges of its primary key, without any row left out or in two of them.

use grove_engine::io::{CopyError, Leg};

use crate::connection::{Connection, Row, text};
use crate::definitions::Table;
use crate::literal::name;

/// However many rows the server believes that there are.
const MOST_RANGES: u64 = 256;

/// Keys from one on and below another one; without a bound where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Range {
    pub from: Option<i128>,
    pub below: Option<i128>,
}

impl Range {
    /// ` WHERE ..`; nothing for all keys, or without a column to divide by.
    pub fn condition(self, column: Option<&String>) -> String {
        let Some(column) = column.map(|column| name(column)) else {
            return String::new();
        };
        match (self.from, self.below) {
            (None, None) => String::new(),
            (None, Some(below)) => format!(" WHERE {column}<{below}"),
            (Some(from), None) => format!(" WHERE {column}>={from}"),
            (Some(from), Some(below)) => format!(" WHERE {column}>={from} AND {column}<{below}"),
        }
    }

    /// Its parts: about so many keys in each, if keys lie evenly between `least` and `most`.
    pub fn divided(self, least: i128, most: i128, parts: i128) -> Vec<Self> {
        let step = (most - least) / parts + 1;
        let bounds = (1..parts)
            .map(|part| least + part * step)
            .filter(|bound| *bound <= most);
        let mut ranges = Vec::new();
        let mut rest = self;
        for bound in bounds {
            ranges.push(Self {
                below: Some(bound),
                ..rest
            });
            rest.from = Some(bound);
        }
        ranges.push(rest);
        ranges
    }
}

/// Ranges of about so many rows each; a single one if the table is not divided.
pub(crate) async fn ranges<L: Leg>(
    from: &mut Connection<L>,
    table: &Table,
    rows_at_once: u64,
) -> Result<Vec<Range>, CopyError> {
    let parts = (table.rows / rows_at_once).min(MOST_RANGES);
    let all = Range::default();
    let bounds = match parts > 1 {
        true => bounds(from, table, all).await?,
        false => None,
    };
    Ok(match bounds {
        None => vec![all],
        Some((least, most)) => all.divided(least, most, i128::from(parts)),
    })
}

/// The least and the greatest key in a range; none if it is empty, or if the table has no such key.
pub(crate) async fn bounds<L: Leg>(
    of: &mut Connection<L>,
    table: &Table,
    range: Range,
) -> Result<Option<(i128, i128)>, CopyError> {
    let Some(column) = &table.range_column else {
        return Ok(None);
    };
    let question = format!(
        "SELECT MIN({column}), MAX({column}) FROM {}{}",
        table.place(),
        range.condition(Some(column)),
        column = name(column)
    );
    let rows = of.ask(question).await?;
    let bound = |at| rows.first().and_then(|row: &Row| text(row, at).parse().ok());
    Ok(bound(0).zip(bound(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divided(least: i128, most: i128, parts: i128) -> Vec<String> {
        let column = "id".to_owned();
        let ranges = Range::default().divided(least, most, parts).into_iter();
        ranges.map(|range| range.condition(Some(&column))).collect()
    }

    #[test]
    fn ranges_leave_no_key_out() {
        assert_eq!(
            divided(-5, 12, 3),
            [" WHERE `id`<1", " WHERE `id`>=1 AND `id`<7", " WHERE `id`>=7"]
        );
        assert_eq!(divided(1, 1, 2), [""]);
        assert_eq!(divided(1, 2, 2), [" WHERE `id`<2", " WHERE `id`>=2"]);
        assert_eq!(divided(i128::from(i64::MIN), i128::from(u64::MAX), 256).len(), 256);
    }

    #[test]
    fn parts_of_a_range_are_inside_it() {
        let range = Range {
            from: Some(10),
            below: Some(30),
        };
        let bound = |from, below| Range {
            from: Some(from),
            below: Some(below),
        };
        assert_eq!(range.divided(12, 25, 2), [bound(10, 19), bound(19, 30)]);
    }
}
