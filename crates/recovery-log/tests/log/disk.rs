//! A disk in memory that keeps after a crash what was synced, and of the rest whatever the test wants: nothing, everything, or any of its sectors.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use grove_recovery_log::{Lock, Storage, StoredFile};

/// What a disk writes at once or not at all.
const SECTOR: usize = 512;

/// What of the data that was not synced a crash leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    Nothing,
    Everything,
    /// Each sector, cut and name by itself, by a generator with this seed.
    Some(u64),
}

/// The disk; its clones are the same disk.
#[derive(Clone, Default)]
pub struct Disk(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Default)]
struct State {
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    name_changes: Vec<NameChange>,
    files: BTreeMap<u64, File>,
    next_file: u64,
    locked: bool,
    /// Counts crashes, so that handles from before one are dead.
    life: u64,
    /// Changes until the power fails.
    fuse: Option<u64>,
    changes: u64,
    dead: bool,
    fail_syncs: bool,
    syncs: u64,
    hold_syncs: bool,
    held_syncs: usize,
    room: Option<u64>,
}

#[derive(Default)]
struct File {
    /// What is read.
    content: Vec<u8>,
    /// What is on the disk.
    durable: Vec<u8>,
    pending: Vec<Change>,
}

enum Change {
    Write(u64, Vec<u8>),
    Size(u64),
}

enum NameChange {
    Give(String, u64),
    Remove(String),
}

impl Disk {
    /// The power fails at the change with this number from now, 1 for the next.
    pub fn fail_at(&self, change: u64) {
        self.state().fuse = Some(change);
    }

    /// Changes so far.
    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    /// Syncs of files so far.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// From now on syncs of files fail, and what they could not write is forgotten as soon as memory is wanted for something else.
    pub fn fail_syncs(&self, fail: bool) {
        self.state().fail_syncs = fail;
    }

    /// Syncs of files wait until they are released.
    pub fn hold_syncs(&self, hold: bool) {
        self.state().hold_syncs = hold;
        self.0.released.notify_all();
    }

    /// Whether a sync waits to be released.
    pub fn holds_a_sync(&self) -> bool {
        self.state().held_syncs > 0
    }

    /// No file can be made that would bring all of them above so many bytes.
    pub fn limit_room(&self, bytes: Option<u64>) {
        self.state().room = bytes;
    }

    /// The process ends and the machine goes on: nothing is lost, and nothing becomes durable by it.
    pub fn kill(&self) {
        let mut state = self.state();
        state.life += 1;
        (state.dead, state.fuse, state.locked) = (false, None, false);
    }

    /// What one finds when the power is back.
    pub fn crash(&self, survival: Survival) {
        let mut state = self.state();
        let mut random = match survival {
            Survival::Some(seed) => seed,
            _ => 0,
        };
        let mut survives = || match survival {
            Survival::Nothing => false,
            Survival::Everything => true,
            Survival::Some(_) => next(&mut random) & 1 == 1,
        };
        let mut names = std::mem::take(&mut state.durable_names);
        // Not every file system keeps their order.
        for change in std::mem::take(&mut state.name_changes) {
            if !survives() {
                continue;
            }
            match change {
                NameChange::Give(name, file) => {
                    names.retain(|_, other| *other != file);
                    names.insert(name, file);
                }
                NameChange::Remove(name) => drop(names.remove(&name)),
            }
        }
        state.files.retain(|id, _| names.values().any(|named| named == id));
        for file in state.files.values_mut() {
            for change in std::mem::take(&mut file.pending) {
                match change {
                    Change::Size(bytes) if survives() => file.durable.resize(bytes as usize, 0),
                    Change::Size(_) => {}
                    Change::Write(offset, bytes) => {
                        let mut at = offset as usize;
                        let mut rest = bytes.as_slice();
                        while !rest.is_empty() {
                            let len = rest.len().min(SECTOR - at % SECTOR);
                            let end = file.durable.len().min(at + len);
                            if survives() && at < end {
                                file.durable[at..end].copy_from_slice(&rest[..end - at]);
                            }
                            at += len;
                            rest = &rest[len..];
                        }
                    }
                }
            }
            file.content = file.durable.clone();
        }
        state.durable_names = names.clone();
        state.names = names;
        state.life += 1;
        (state.dead, state.fuse, state.locked) = (false, None, false);
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> Vec<String> {
        let state = self.state();
        let names = state.names.keys().filter(|name| name.ends_with(".log"));
        names.cloned().collect()
    }

    /// A file's content.
    pub fn content(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.files[&state.names[name]].content.clone()
    }

    /// Another content for a file, on the disk too.
    pub fn overwrite(&self, name: &str, content: Vec<u8>) {
        let mut state = self.state();
        let id = state.names[name];
        let file = state.files.get_mut(&id).unwrap();
        (file.content, file.durable) = (content.clone(), content);
        file.pending.clear();
    }

    /// A copy of what is on this disk now.
    pub fn copy(&self) -> Disk {
        let other = Disk::default();
        let state = self.state();
        for (name, id) in &state.names {
            let content = &state.files[id].content;
            let file = other.create(name, content.len() as u64).unwrap();
            file.write_at(content, 0).unwrap();
            file.sync().unwrap();
        }
        other.sync().unwrap();
        other
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, id: u64, life: u64) -> Arc<dyn StoredFile> {
        let disk = self.clone();
        Arc::new(Handle { disk, id, life })
    }
}

impl State {
    /// Every change passes here; `Err` if the power fails before it is done.
    fn change(&mut self) -> io::Result<()> {
        self.changes += 1;
        if let Some(left) = &mut self.fuse {
            *left = left.saturating_sub(1);
            self.dead |= *left == 0;
        }
        self.alive()
    }

    fn alive(&self) -> io::Result<()> {
        match self.dead {
            true => Err(io::Error::other("the power is off")),
            false => Ok(()),
        }
    }

    fn find(&self, name: &str) -> io::Result<u64> {
        self.names
            .get(name)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Storage for Disk {
    fn describe(&self) -> String {
        "disk".into()
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let state = self.state();
        state.alive()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn lock(&self) -> io::Result<Option<Lock>> {
        let mut state = self.state();
        if state.locked {
            return Ok(None);
        }
        state.locked = true;
        Ok(Some(Box::new(Locked(self.clone(), state.life))))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StoredFile>> {
        let state = self.state();
        state.alive()?;
        Ok(self.handle(state.find(name)?, state.life))
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn StoredFile>> {
        let mut state = self.state();
        state.change()?;
        if let Some(old) = state.names.remove(name) {
            state.files.remove(&old);
        }
        let named = state.names.values().map(|id| state.files[id].content.len() as u64);
        if state.room.is_some_and(|room| named.sum::<u64>() + bytes > room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.next_file += 1;
        let (id, life) = (state.next_file, state.life);
        let file = File {
            content: vec![0; bytes as usize],
            durable: Vec::new(),
            pending: vec![Change::Size(bytes)],
        };
        state.files.insert(id, file);
        state.names.insert(name.to_owned(), id);
        state.name_changes.push(NameChange::Give(name.to_owned(), id));
        drop(state);
        Ok(self.handle(id, life))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        let id = state.find(from)?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), id);
        state.name_changes.push(NameChange::Give(to.to_owned(), id));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        state.find(name)?;
        state.names.remove(name);
        state.name_changes.push(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        state.durable_names = state.names.clone();
        state.name_changes.clear();
        Ok(())
    }
}

struct Locked(Disk, u64);

impl Drop for Locked {
    fn drop(&mut self) {
        let mut state = self.0.state();
        // A process that a crash has ended holds nothing any more.
        if state.life == self.1 {
            state.locked = false;
        }
    }
}

struct Handle {
    disk: Disk,
    id: u64,
    life: u64,
}

impl Handle {
    fn with<T>(&self, changes: bool, action: impl FnOnce(&mut File) -> T) -> io::Result<T> {
        let mut state = self.disk.state();
        if state.life != self.life {
            return Err(io::Error::other("the process that had this file open is dead"));
        }
        if changes {
            state.change()?;
        }
        state.alive()?;
        let file = state.files.get_mut(&self.id);
        file.map(action).ok_or_else(|| io::Error::other("the file is gone"))
    }
}

impl StoredFile for Handle {
    fn size(&self) -> io::Result<u64> {
        self.with(false, |file| file.content.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(false, |file| {
            let rest = file.content.get(offset as usize..).unwrap_or_default();
            let len = rest.len().min(buffer.len());
            buffer[..len].copy_from_slice(&rest[..len]);
            len
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let write = |file: &mut File| {
            let (start, end) = (offset as usize, offset as usize + bytes.len());
            assert!(
                end <= file.content.len(),
                "a write outside of the room that was reserved"
            );
            file.content[start..end].copy_from_slice(bytes);
            file.pending.push(Change::Write(offset, bytes.to_vec()));
        };
        match self.with(true, write) {
            // What is written in the moment when the power fails may get there too.
            Err(error) => {
                let mut state = self.disk.state();
                if state.life == self.life
                    && let Some(file) = state.files.get_mut(&self.id)
                {
                    file.pending.push(Change::Write(offset, bytes.to_vec()));
                }
                Err(error)
            }
            done => done,
        }
    }

    fn set_size(&self, bytes: u64) -> io::Result<()> {
        self.with(true, |file| {
            file.content.resize(bytes as usize, 0);
            file.pending.push(Change::Size(bytes));
        })
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.held_syncs += 1;
        while state.hold_syncs {
            state = self.disk.0.released.wait(state).unwrap();
        }
        state.held_syncs -= 1;
        state.syncs += 1;
        let fails = state.fail_syncs;
        drop(state);
        self.with(true, |file| {
            // What could not be written counts as written from now on, as on Linux.
            let pending = std::mem::take(&mut file.pending);
            if fails {
                return Err(io::Error::other("the disk does not answer"));
            }
            for change in pending {
                match change {
                    Change::Size(bytes) => file.durable.resize(bytes as usize, 0),
                    Change::Write(offset, bytes) => {
                        let (start, end) = (offset as usize, offset as usize + bytes.len());
                        file.durable[start..end].copy_from_slice(&bytes);
                    }
                }
            }
            Ok(())
        })?
    }

    fn forget_cached(&self) -> io::Result<()> {
        self.with(false, |file| {
            if file.pending.is_empty() {
                file.content = file.durable.clone();
            }
        })
    }
}

/// The next number of a small generator (SplitMix64).
pub fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
