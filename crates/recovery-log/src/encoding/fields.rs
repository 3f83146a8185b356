//! Numbers, bytes and lists, the fields that entries are made of.
//!
//! A number is LEB128: seven bits a byte, lowest first, the top bit set on all but the last byte, never longer than needed. Bytes and lists
//! begin with their length as a number.

use bytes::{Buf as _, Bytes};

/// Longest form of a 64-bit number.
const LONGEST_NUMBER: u32 = 10;

/// A payload that no entry encodes to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {at} of the payload: {wrong}")]
pub struct DecodeError {
    /// Offset in the payload, in bytes.
    pub at: usize,
    /// What stands there, and what would be right.
    pub wrong: String,
}

/// Appends fields to a payload.
pub(super) struct Writer(pub Vec<u8>);

impl Writer {
    pub fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub fn list<T>(&mut self, items: &[T], item: impl Fn(&mut Self, &T)) {
        self.number(items.len() as u64);
        items.iter().for_each(|next| item(self, next));
    }
}

/// Takes fields from the front of a payload. Slices share its memory.
pub(super) struct Reader {
    rest: Bytes,
    len: usize,
}

impl Reader {
    pub fn new(payload: Bytes) -> Self {
        Self {
            len: payload.len(),
            rest: payload,
        }
    }

    /// An error about what stands at the current place.
    pub fn wrong<T>(&self, wrong: impl Into<String>) -> Result<T, DecodeError> {
        Err(DecodeError {
            at: self.len - self.rest.len(),
            wrong: wrong.into(),
        })
    }

    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        if self.rest.is_empty() {
            return self.wrong("the payload ends where another field should be");
        }
        Ok(self.rest.get_u8())
    }

    pub fn number(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0;
        for place in 0..LONGEST_NUMBER {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if place == LONGEST_NUMBER - 1 && bits > 1 {
                return self.wrong("a number above 64 bits");
            }
            number |= bits << (7 * place);
            if byte & 0x80 == 0 {
                if byte == 0 && place > 0 {
                    return self.wrong("a number that is longer than it must be");
                }
                return Ok(number);
            }
        }
        self.wrong("a number of more than ten bytes")
    }

    /// A number that must fit into a smaller type.
    pub fn small<T: TryFrom<u64>>(&mut self) -> Result<T, DecodeError> {
        let number = self.number()?;
        T::try_from(number).or_else(|_| self.wrong(format!("{number} is more than the field may hold")))
    }

    pub fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let len = self.number()?;
        match usize::try_from(len) {
            Ok(len) if len <= self.rest.len() => Ok(self.rest.split_to(len)),
            _ => self.wrong(format!("{len} bytes are announced and {} are there", self.rest.len())),
        }
    }

    /// A name that Grove gave, in UTF-8.
    pub fn name(&mut self) -> Result<String, DecodeError> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes.into()).or_else(|_| self.wrong("the name before this byte is no UTF-8"))
    }

    pub fn truth(&mut self) -> Result<bool, DecodeError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => self.wrong(format!("{other} is no truth value; 0 and 1 are")),
        }
    }

    /// A list. Each item takes at least one byte, so a false length ends with the payload; no memory is taken in advance for it.
    pub fn list<T, C: Default + Extend<T>>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<C, DecodeError> {
        let len = self.number()?;
        if len > self.rest.len() as u64 {
            return self.wrong(format!(
                "{len} items are announced and {} bytes are there",
                self.rest.len()
            ));
        }
        let mut items = C::default();
        for _ in 0..len {
            items.extend([item(self)?]);
        }
        Ok(items)
    }

    /// Nothing may follow the last field.
    pub fn end(&self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            more => self.wrong(format!("{more} bytes follow the last field")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<u64, DecodeError> {
        Reader::new(Bytes::copy_from_slice(bytes)).number()
    }

    #[test]
    fn numbers_have_one_form_each() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut writer = Writer(Vec::new());
            writer.number(number);
            assert_eq!(read(&writer.0), Ok(number));
        }
        assert!(read(&[0x80, 0]).unwrap_err().wrong.contains("longer than it must be"));
        assert!(read(&[0xFF; 9]).unwrap_err().wrong.contains("ends"));
        assert!(read(&[0xFF; 11]).unwrap_err().wrong.contains("above 64 bits"));
    }

    #[test]
    fn a_false_length_takes_no_memory() {
        let mut writer = Writer(Vec::new());
        writer.number(u64::MAX);
        let payload = Bytes::from(writer.0);
        assert!(Reader::new(payload.clone()).bytes().is_err());
        assert!(Reader::new(payload).list::<_, Vec<u8>>(Reader::byte).is_err());
    }
}
