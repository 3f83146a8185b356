//! Names and values as SQL text.

use crate::json;

/// A name between backticks.
pub(crate) fn name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text between quotes, for questions about names in utf8mb4. Right while neither NO_BACKSLASH_ESCAPES nor a character set with unusual quotes is in force.
pub(crate) fn text(text: &str) -> String {
    let mut literal = Vec::with_capacity(text.len() + 2);
    put_quoted(&mut literal, text.as_bytes());
    String::from_utf8_lossy(&literal).into_owned()
}

/// Appends bytes between quotes. The connection's character set is binary and its sql_mode does not have NO_BACKSLASH_ESCAPES.
pub(crate) fn put_quoted(sql: &mut Vec<u8>, value: &[u8]) {
    sql.push(b'\'');
    for &byte in value {
        match byte {
            0 => sql.extend_from_slice(b"\\0"),
            b'\n' => sql.extend_from_slice(b"\\n"),
            b'\r' => sql.extend_from_slice(b"\\r"),
            0x1A => sql.extend_from_slice(b"\\Z"),
            b'\'' | b'\\' => sql.extend_from_slice(&[b'\\', byte]),
            byte => sql.push(byte),
        }
    }
    sql.push(b'\'');
}

/// How a column's values are asked for and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it comes.
    Number,
    /// With the sign of a zero, which only MySQL has.
    Double,
    /// The server prints too few digits, but all of a DOUBLE. MariaDB has a zero with a sign here, and prints it without.
    Float,
    /// Bits as a number.
    Bits,
    /// One of a list, as its place there; 0 if it is none of them, of which the server warns whenever it is written.
    Member,
    /// Bytes that a string without a character set gives back.
    Bytes,
    /// A type that reads text in latin1 and takes bytes without a character set for something else.
    Latin,
    /// MySQL's JSON.
    Json,
}

impl Form {
    /// The form of a column of this type (`DATA_TYPE` in `information_schema.COLUMNS`).
    pub fn of(data_type: &str) -> Self {
        match data_type.to_ascii_lowercase().as_str() {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "year" => Self::Number,
            "double" => Self::Double,
            "float" => Self::Float,
            "bit" => Self::Bits,
            "enum" => Self::Member,
            "json" => Self::Json,
            "uuid" | "inet4" | "inet6" => Self::Latin,
            _ => Self::Bytes,
        }
    }

    /// What is selected.
    pub fn question(self, column: &str) -> String {
        match self {
            // What is too small for a FLOAT becomes a zero that keeps its sign.
            Self::Float => format!("IF({column}=0 AND ATAN2({column},-1)<0,-1e-46,{column}*1e0)"),
            Self::Bits | Self::Member => format!("{column}+0"),
            Self::Json => json::question(column),
            Self::Number | Self::Double | Self::Bytes | Self::Latin => column.to_owned(),
        }
    }

    /// Appends a value.
    pub fn put(self, sql: &mut Vec<u8>, value: Option<&[u8]>) {
        let Some(value) = value else {
            sql.extend_from_slice(b"NULL");
            return;
        };
        match self {
            // Without an exponent it is a whole number, and those have no such zero.
            Self::Double if value == b"-0" => sql.extend_from_slice(b"-0e0"),
            Self::Number | Self::Double | Self::Float | Self::Bits | Self::Member => sql.extend_from_slice(value),
            Self::Bytes => put_quoted(sql, value),
            Self::Latin => {
                sql.extend_from_slice(b"CONVERT(");
                put_quoted(sql, value);
                sql.extend_from_slice(b" USING latin1)");
            }
            Self::Json => json::put(sql, value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_bytes_are_read_back_as_they_were() {
        let mut sql = Vec::new();
        put_quoted(&mut sql, b"o'n\\e\0\n\r\x1a\xff");
        assert_eq!(sql, b"'o\\'n\\\\e\\0\\n\\r\\Z\xff'");
        assert_eq!(name("a`b"), "`a``b`");
    }

    #[test]
    fn values_are_written_as_their_column_wants_them() {
        let written = |data_type: &str, value: Option<&[u8]>| {
            let mut sql = Vec::new();
            Form::of(data_type).put(&mut sql, value);
            String::from_utf8(sql).unwrap()
        };
        assert_eq!(written("int", Some(b"-5")), "-5");
        assert_eq!(written("varchar", Some(b"-5")), "'-5'");
        assert_eq!(written("json", Some(b"[]")), "CONVERT('[]' USING utf8mb4)");
        assert_eq!(written("json", None), "NULL");
        assert_eq!(written("json", Some(b"JSON_SET(1,2)")), "JSON_SET(1,2)");
        assert_eq!(written("double", Some(b"-0")), "-0e0");
        assert_eq!(written("decimal", Some(b"-0")), "-0");
        assert_eq!(written("uuid", Some(b"a")), "CONVERT('a' USING latin1)");
    }
}
