//! Entries as bytes: what stands in a record's payload.
//!
//! Pure: bytes in, values out. Invariants: [`decode`] never panics, reads nothing outside of its input and allocates in proportion to it;
//! every entry has exactly one form, so what decodes encodes to the same bytes again. SQL, parameters and schema names are bytes of any kind;
//! only names that Grove itself gives are text. docs/recovery-log.md has the layout.
//! Deliberately absent: framing and checksums, which are `record`'s.

mod entries;
mod fields;

pub use entries::{Kind, VERSION, decode, encode};
pub use fields::DecodeError;
