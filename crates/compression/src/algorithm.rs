//! Which algorithm two peers agree on.

use grove_wire::CapabilityFlags;

/// The level of zstd that clients ask for unless told otherwise, as `zstd-compression-level` of MySQL's programs.
pub const DEFAULT_ZSTD_LEVEL: u8 = 3;

/// How packets are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// zlib at its default level, 6, which is what servers use. Every server and most clients have it.
    Zlib,
    /// zstd, on MySQL 8.0.18 and later.
    Zstd {
        /// 1 to 22; the client chooses for both sides.
        level: u8,
    },
}

impl Algorithm {
    /// What a connection with these capabilities uses after its login. Where both are there, zlib: MySQL goes through its own list,
    /// `protocol_compression_algorithms`, which begins with it.
    pub fn agreed(capabilities: CapabilityFlags, zstd_level: u8) -> Option<Self> {
        if capabilities.contains(CapabilityFlags::COMPRESS) {
            Some(Self::Zlib)
        } else if capabilities.contains(CapabilityFlags::ZSTD) {
            Some(Self::Zstd { level: zstd_level })
        } else {
            None
        }
    }

    /// Whether the level is one that the algorithm has. Servers refuse others.
    pub fn is_possible(self) -> bool {
        (1..=22).contains(&self.level())
    }

    /// Its name, as servers show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zlib => "zlib",
            Self::Zstd { .. } => "zstd",
        }
    }

    /// Its level, as servers show it.
    pub fn level(self) -> u8 {
        match self {
            Self::Zlib => 6,
            Self::Zstd { level } => level,
        }
    }
}
