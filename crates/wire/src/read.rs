//! Reading primitive values out of untrusted bytes. Every read checks its length.

/// Bytes that break the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A packet ends before a field that it must have.
    #[error("malformed packet: ends inside {0}")]
    Truncated(&'static str),
    /// A field has a value that the protocol does not allow.
    #[error("malformed packet: {0}")]
    Malformed(&'static str),
    /// A sequence number is not the expected one.
    #[error("packets out of order: expected sequence {expected}, got {got}")]
    OutOfOrder {
        /// What should have come.
        expected: u8,
        /// What came.
        got: u8,
    },
    /// A compressed packet does not decompress to what its header announces.
    #[error("a compressed packet {0}")]
    Uncompress(&'static str),
    /// A payload is longer than the configured bound.
    #[error("packet longer than {0} bytes")]
    TooLong(usize),
}

/// A cursor over a payload.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn len(&self) -> usize {
        self.rest.len()
    }

    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub fn bytes(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], WireError> {
        let (head, tail) = self.rest.split_at_checked(count).ok_or(WireError::Truncated(what))?;
        self.rest = tail;
        Ok(head)
    }

    /// Little-endian integer of up to eight bytes.
    pub fn int(&mut self, width: usize, what: &'static str) -> Result<u64, WireError> {
        let bytes = self.bytes(width, what)?;
        Ok(bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    pub fn u8(&mut self, what: &'static str) -> Result<u8, WireError> {
        Ok(self.int(1, what)? as u8)
    }

    pub fn u16(&mut self, what: &'static str) -> Result<u16, WireError> {
        Ok(self.int(2, what)? as u16)
    }

    pub fn u32(&mut self, what: &'static str) -> Result<u32, WireError> {
        Ok(self.int(4, what)? as u32)
    }

    /// Length-encoded integer; 0xFB (NULL) and 0xFF are refused.
    pub fn lenenc_int(&mut self, what: &'static str) -> Result<u64, WireError> {
        match self.u8(what)? {
            value @ 0..=0xFA => Ok(u64::from(value)),
            0xFC => self.int(2, what),
            0xFD => self.int(3, what),
            0xFE => self.int(8, what),
            _ => Err(WireError::Malformed("length-encoded integer begins with 0xFB or 0xFF")),
        }
    }

    pub fn lenenc_bytes(&mut self, what: &'static str) -> Result<&'a [u8], WireError> {
        let length = usize::try_from(self.lenenc_int(what)?).map_err(|_| WireError::Truncated(what))?;
        self.bytes(length, what)
    }

    /// Bytes up to a NUL, which is consumed.
    pub fn nul_bytes(&mut self, what: &'static str) -> Result<&'a [u8], WireError> {
        let end = self
            .rest
            .iter()
            .position(|&byte| byte == 0)
            .ok_or(WireError::Truncated(what))?;
        let bytes = self.bytes(end, what)?;
        self.rest = &self.rest[1..];
        Ok(bytes)
    }
}

/// Appends a length-encoded integer.
pub(crate) fn put_lenenc_int(out: &mut Vec<u8>, value: u64) {
    match value {
        0..=0xFA => out.push(value as u8),
        0xFB..=0xFFFF => {
            out.push(0xFC);
            out.extend_from_slice(&value.to_le_bytes()[..2]);
        }
        0x1_0000..=0xFF_FFFF => {
            out.push(0xFD);
            out.extend_from_slice(&value.to_le_bytes()[..3]);
        }
        _ => {
            out.push(0xFE);
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
}

/// Appends a length-encoded string.
pub(crate) fn put_lenenc_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_lenenc_int(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
