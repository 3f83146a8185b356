//! A TCP port for one of Grove's own listeners.
//!
//! The admin API's port must be known before Grove starts. As in the sandbox, a locked file marks a port as taken while its holder
//! lives, so that parallel test processes never get the same one. The range is below the sandbox's.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, bail};

const FIRST: u16 = 12_000;
const COUNT: u16 = 8_000;

/// A reserved port.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    /// Held for its lock only.
    _reservation: File,
}

impl Port {
    pub(crate) fn reserve() -> anyhow::Result<Self> {
        let directory = grove_sandbox::default_cache_directory().join("ports");
        fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
        let start = (std::process::id() % u32::from(COUNT)) as u16;
        for step in 0..COUNT {
            let number = FIRST + (start + step) % COUNT;
            let file = File::create(directory.join(number.to_string())).context("create a port reservation")?;
            if file.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self {
                    number,
                    _reservation: file,
                });
            }
        }
        bail!("no free TCP port between {FIRST} and {} on 127.0.0.1", FIRST + COUNT)
    }
}
