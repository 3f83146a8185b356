//! A TCP port that belongs to one sandbox.
//!
//! Asking the kernel for a free port and closing it again is a race between test processes, and a server that was
//! killed must get the same port again minutes later. So ports come from below the ephemeral range, and a locked file
//! per port marks it as taken for as long as its [`Port`] lives. The kernel releases the lock with the process.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process;

use crate::SandboxError;

/// Linux hands out ports from 32768 to clients; these are below.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A reserved port.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    /// Held for its lock only.
    _reservation: File,
}

impl Port {
    /// Reserves a port that nobody listens on. `cache` is shared by all processes that reserve ports.
    pub(crate) fn reserve(cache: &Path) -> Result<Self, SandboxError> {
        let directory = cache.join("ports");
        fs::create_dir_all(&directory).map_err(SandboxError::io("create", &directory))?;
        // Processes begin at different places, so that they seldom try the same ports.
        let start = (process::id() % u32::from(COUNT)) as u16;
        for step in 0..COUNT {
            let number = FIRST + (start + step * 7) % COUNT;
            let path = directory.join(number.to_string());
            let file = File::create(&path).map_err(SandboxError::io("create", &path))?;
            if file.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self {
                    number,
                    _reservation: file,
                });
            }
        }
        Err(SandboxError::Refused(
            "no free TCP port between 20000 and 32000 on 127.0.0.1".to_owned(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_is_not_given_twice() {
        let cache = std::env::temp_dir().join(format!("grove-port-test-{}", process::id()));
        let first = Port::reserve(&cache).unwrap();
        let second = Port::reserve(&cache).unwrap();
        assert_ne!(first.number, second.number);
        fs::remove_dir_all(&cache).unwrap();
    }
}
