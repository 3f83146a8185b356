#![no_main]
//! A log whose last segment holds any bytes behind a sound beginning is opened with that beginning, or refused; nothing else comes out of it.
//! The first byte of the input says what is done with the rest: it replaces the end of the segment from some place on, or is laid over it.

use std::sync::{Arc, Mutex, OnceLock};
use std::{io, mem};

use grove_recovery_log::{
    Checkpoint, DurableLog, Entry, Environment, LogReader, Lock, Options, OrderedLog as _, Storage, StoredFile,
};
use libfuzzer_sys::fuzz_target;

/// One file in memory.
#[derive(Clone, Default)]
struct OneFile(Arc<Mutex<(String, Vec<u8>)>>);

impl Storage for OneFile {
    fn describe(&self) -> String {
        "memory".into()
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let name = self.0.lock().expect("no panic holds it").0.clone();
        Ok(if name.is_empty() { Vec::new() } else { vec![name] })
    }

    fn lock(&self) -> io::Result<Option<Lock>> {
        Ok(Some(Box::new(())))
    }

    fn open(&self, _: &str) -> io::Result<Arc<dyn StoredFile>> {
        Ok(Arc::new(self.clone()))
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn StoredFile>> {
        *self.0.lock().expect("no panic holds it") = (name.to_owned(), vec![0; bytes as usize]);
        Ok(Arc::new(self.clone()))
    }

    fn rename(&self, _: &str, to: &str) -> io::Result<()> {
        self.0.lock().expect("no panic holds it").0 = to.to_owned();
        Ok(())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl StoredFile for OneFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.lock().expect("no panic holds it").1.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let file = self.0.lock().expect("no panic holds it");
        let rest = file.1.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.lock().expect("no panic holds it").1[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn set_size(&self, bytes: u64) -> io::Result<()> {
        self.0.lock().expect("no panic holds it").1.resize(bytes as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn forget_cached(&self) -> io::Result<()> {
        Ok(())
    }
}

struct Fixed;

impl Environment for Fixed {
    fn unix_micros(&self) -> u64 {
        1
    }

    fn random(&self) -> u64 {
        7
    }
}

fn entry(position: u64) -> Entry {
    Entry::Checkpoint(Checkpoint {
        name: position.to_string(),
    })
}

const ENTRIES: u64 = 8;

/// A sound segment.
fn sound() -> &'static (String, Vec<u8>) {
    static SOUND: OnceLock<(String, Vec<u8>)> = OnceLock::new();
    SOUND.get_or_init(|| {
        let file = OneFile::default();
        let options = Options {
            segment_bytes: 1024,
            ..Options::default()
        };
        let log = DurableLog::open(Arc::new(file.clone()), Arc::new(Fixed), &options).expect("a new log");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        for position in 1..=ENTRIES {
            runtime.block_on(log.append(entry(position))).expect("room for it");
        }
        drop(log);
        mem::take(&mut *file.0.lock().expect("no panic holds it"))
    })
}

fuzz_target!(|input: &[u8]| {
    let [how, place, rest @ ..] = input else { return };
    let (name, mut content) = sound().clone();
    let at = 64 + usize::from(*place) * 3;
    if how & 1 == 0 {
        content.truncate(at);
        content.extend_from_slice(rest);
    } else {
        content[at..].iter_mut().zip(rest).for_each(|(byte, change)| *byte ^= change);
    }
    let file = OneFile(Arc::new(Mutex::new((name, content))));
    let reader = LogReader::open(Arc::new(file)).expect("memory is always read");
    let mut expected = 1;
    for record in reader.read_from(1) {
        let record = record.expect("what was checked is read");
        assert_eq!((record.position, record.entry), (expected, entry(expected)));
        expected += 1;
    }
    assert!(expected <= ENTRIES + 1);
});
