//! Warnings of an INSERT: the server has changed a value that it was given. Two are harmless: of what it computes from a row, and of a member of an ENUM that is none of
//! its list, which arrives.

use grove_engine::io::{CopyError, Leg};

use crate::connection::{Connection, text};
use crate::definitions::Table;
use crate::literal::Form;

/// What the statement before has changed, in the server's words.
pub(crate) async fn of_a_changed_value<L: Leg>(
    into: &mut Connection<L>,
    table: &Table,
) -> Result<Option<String>, CopyError> {
    let warnings = into.ask("SHOW WARNINGS").await?;
    let mut messages = warnings.iter().map(|row| text(row, 2));
    Ok(messages.find(|message| !is_harmless(message, table)))
}

fn is_harmless(message: &str, table: &Table) -> bool {
    let named = table.columns.iter().find(|(column, _)| names(message, column));
    match named {
        Some((_, form)) => *form == Form::Member,
        None => table.has_expressions,
    }
}

/// Whether it is about this column: `column 'c' at row 1`, on MariaDB also ``column `s`.`t`.`c` at row 1``.
fn names(message: &str, column: &str) -> bool {
    message.contains(&format!("olumn '{column}'")) || message.contains(&format!("`{column}` at row "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_about_changed_values_are_told_from_others() {
        let mut table = Table {
            schema: "s".into(),
            name: "t".into(),
            create: String::new(),
            columns: vec![("c".into(), Form::Number), ("e".into(), Form::Member)],
            has_expressions: true,
            range_column: None,
            rows: 0,
        };
        for of_a_change in [
            "Out of range value for column 'c' at row 1",
            "Incorrect datetime value: 'x' for column `s`.`t`.`c` at row 7",
            "Column 'c' cannot be null",
        ] {
            assert!(!is_harmless(of_a_change, &table), "{of_a_change}");
        }
        let of_a_member = "Data truncated for column 'e' at row 1";
        let of_an_expression = "Truncated incorrect INTEGER value: 'c'";
        assert!(is_harmless(of_a_member, &table));
        assert!(is_harmless(of_an_expression, &table));
        table.has_expressions = false;
        assert!(is_harmless(of_a_member, &table));
        assert!(!is_harmless(of_an_expression, &table));
    }
}
