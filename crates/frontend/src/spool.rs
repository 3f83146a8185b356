//! A client's file for LOAD DATA LOCAL: kept until every server has it, in memory while it is small, then in a file that has no name.

use bytes::Bytes;
use grove_engine::LocalFile;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;

/// Longest file that is kept in memory.
const IN_MEMORY: usize = 256 << 10;

/// A file that is still coming.
#[derive(Debug, Default)]
pub(crate) struct Spool {
    memory: Vec<u8>,
    disk: Option<Arc<File>>,
}

impl Spool {
    /// Takes the next bytes; waits for the disk when there are many.
    pub async fn append(&mut self, piece: &Bytes) -> io::Result<()> {
        if self.disk.is_none() && self.memory.len() + piece.len() <= IN_MEMORY {
            self.memory.extend_from_slice(piece);
            return Ok(());
        }
        let first = std::mem::take(&mut self.memory);
        let (disk, piece) = (self.disk.clone(), piece.clone());
        let written = tokio::task::spawn_blocking(move || {
            let disk = match disk {
                Some(disk) => disk,
                None => Arc::new(tempfile::tempfile()?),
            };
            let mut file: &File = &disk;
            file.write_all(&first)?;
            file.write_all(&piece)?;
            Ok::<_, io::Error>(disk)
        });
        self.disk = Some(written.await.map_err(io::Error::other)??);
        Ok(())
    }

    /// The file as it has come.
    pub fn finish(self) -> Arc<dyn LocalFile> {
        match self.disk {
            Some(disk) => Arc::new(OnDisk(disk)),
            None => Arc::new(InMemory(self.memory.into())),
        }
    }
}

#[derive(Debug)]
struct InMemory(Bytes);

impl LocalFile for InMemory {
    fn cost(&self) -> usize {
        self.0.len()
    }

    fn read_at(&self, at: u64, len: usize) -> Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send + '_>> {
        let start = usize::try_from(at).map_or(self.0.len(), |at| at.min(self.0.len()));
        let piece = self.0.slice(start..self.0.len().min(start + len));
        Box::pin(std::future::ready(Ok(piece)))
    }
}

#[derive(Debug)]
struct OnDisk(Arc<File>);

impl LocalFile for OnDisk {
    /// As much as the longest file in memory, because descriptors and disks have their bounds too.
    fn cost(&self) -> usize {
        IN_MEMORY
    }

    fn read_at(&self, at: u64, len: usize) -> Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send + '_>> {
        let file = Arc::clone(&self.0);
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || {
                let mut piece = vec![0; len];
                let read = file.read_at(&mut piece, at)?;
                piece.truncate(read);
                Ok::<_, io::Error>(Bytes::from(piece))
            });
            let piece = read.await.map_err(io::Error::other).and_then(|piece| piece);
            piece.map_err(|error| format!("a client's file that was kept cannot be read: {error}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_of_any_length_comes_back() {
        for pieces in [0, 1, 3, 40] {
            let mut spool = Spool::default();
            let mut whole = Vec::new();
            for index in 0..pieces {
                let piece = Bytes::from(vec![index as u8; 10_000 + index]);
                spool.append(&piece).await.unwrap();
                whole.extend_from_slice(&piece);
            }
            assert_eq!(spool.disk.is_some(), whole.len() > IN_MEMORY);
            let file = spool.finish();
            let mut back = Vec::new();
            loop {
                let piece = file.read_at(back.len() as u64, 7_777).await.unwrap();
                if piece.is_empty() {
                    break;
                }
                back.extend_from_slice(&piece);
            }
            assert_eq!(back, whole);
        }
    }
}
