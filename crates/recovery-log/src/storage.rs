//! What the log needs of a file system, as traits: the real one is [`crate::Directory`], tests have one that forgets what was not synced.
//!
//! All calls block. Names are plain file names inside the one directory of the log. Contents that were written are durable after
//! [`StoredFile::sync`]; which names exist is durable after [`Storage::sync`]. Until then a crash may leave any part of them.

use std::io;
use std::sync::Arc;

/// Held as long as nobody else may write the log.
pub type Lock = Box<dyn Send + Sync>;

/// A directory for the log's files.
pub trait Storage: Send + Sync + 'static {
    /// The directory as messages name it.
    fn describe(&self) -> String;
    /// Names of all files.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Locks the directory; `None` if somebody else has.
    fn lock(&self) -> io::Result<Option<Lock>>;
    /// Opens a file for reading, and for writing if it may be written.
    fn open(&self, name: &str) -> io::Result<Arc<dyn StoredFile>>;
    /// Makes a file of `bytes` zeros with its room on the disk reserved, in place of what had the name.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn StoredFile>>;
    /// Gives a file another name, in place of what had that.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. Who has it open may go on reading it.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the names durable.
    fn sync(&self) -> io::Result<()>;

    /// A file as messages name it.
    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.describe())
    }
}

/// An open file.
pub trait StoredFile: Send + Sync {
    /// Its length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Reads at an offset, less than asked for only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all bytes at an offset.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts the file, or makes it longer with zeros.
    fn set_size(&self, bytes: u64) -> io::Result<()>;
    /// Makes the contents durable.
    fn sync(&self) -> io::Result<()>;
    /// Makes sure that what is read next comes from the disk, not from memory that a failed sync has left there.
    fn forget_cached(&self) -> io::Result<()>;
}
