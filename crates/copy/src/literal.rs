//! Names and values as SQL text.

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
    /// The server prints too few digits, but all of a DOUBLE.
    Float,
    /// Bits as a number.
    Bits,
    /// Bytes that a string without a character set gives back.
    Bytes,
    /// A type that reads text and takes bytes without a character set for something else.
    Text(&'static str),
}

impl Form {
    /// The form of a column of this type (`DATA_TYPE` in `information_schema.COLUMNS`).
    pub fn of(data_type: &str) -> Self {
        match data_type.to_ascii_lowercase().as_str() {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "double" | "year" => Self::Number,
            "float" => Self::Float,
            "bit" => Self::Bits,
            "json" => Self::Text("utf8mb4"),
            "uuid" | "inet4" | "inet6" => Self::Text("latin1"),
            _ => Self::Bytes,
        }
    }

    /// What is selected.
    pub fn question(self, column: &str) -> String {
        match self {
            Self::Float => format!("{column}+0e0"),
            Self::Bits => format!("{column}+0"),
            Self::Number | Self::Bytes | Self::Text(_) => column.to_owned(),
        }
    }

    /// Appends a value.
    pub fn put(self, sql: &mut Vec<u8>, value: Option<&[u8]>) {
        let Some(value) = value else {
            sql.extend_from_slice(b"NULL");
            return;
        };
        match self {
            Self::Number | Self::Float | Self::Bits => sql.extend_from_slice(value),
            Self::Bytes => put_quoted(sql, value),
            Self::Text(charset) => {
                sql.extend_from_slice(b"CONVERT(");
                put_quoted(sql, value);
                sql.extend_from_slice(format!(" USING {charset})").as_bytes());
            }
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
        assert_eq!(Form::of("float").question("`f`"), "`f`+0e0");
    }
}
