//! An identifier as bytes, without its quotes.

use std::fmt;

/// An unquoted identifier in the client's charset: a table, schema, savepoint, statement or variable name.
///
/// Equality is by bytes. Whether names differ by case depends on `lower_case_table_names` and on the kind of the name,
/// which this crate does not know; [`Name::eq_ignore_case`] is there for the kinds that never do.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

impl Name {
    /// A name from its bytes.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes of the name, without quotes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether the names are equal when ASCII letters are compared without case.
    pub fn eq_ignore_case(&self, other: impl AsRef<[u8]>) -> bool {
        self.0.eq_ignore_ascii_case(other.as_ref())
    }
}

impl AsRef<[u8]> for Name {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl From<&[u8]> for Name {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}
