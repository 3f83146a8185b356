//! The recovery log against disks that fail, forget and run full, and against the real file system.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod appending;
mod crashes;
mod damage;
mod directory;
mod disk;
mod encoding;
mod reading;
mod retention;
mod stage;
