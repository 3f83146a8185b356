//! What is remembered of the servers over the end of Grove: a small JSON file beside the recovery log, `servers.json`, like
//! `{"db2": {"disabled": "new disks"}, "db3": {"must_be_rebuilt": "entry 7 differs", "rebuild": {"from": "db1"}}}`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use grove_engine::{Group, Remembered};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::world::Reality;

/// The disk may have room again.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// One server's part of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Server {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    disabled: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    must_be_rebuilt: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rebuild: Option<Rebuild>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rebuild {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
}

impl From<Remembered> for Server {
    fn from(remembered: Remembered) -> Self {
        Self {
            disabled: remembered.disabled,
            must_be_rebuilt: remembered.must_be_rebuilt,
            rebuild: remembered.rebuild.map(|from| Rebuild { from }),
        }
    }
}

impl From<Server> for Remembered {
    fn from(server: Server) -> Self {
        Self {
            disabled: server.disabled,
            must_be_rebuilt: server.must_be_rebuilt,
            rebuild: server.rebuild.map(|rebuild| rebuild.from),
        }
    }
}

/// The file, or none where there is no recovery log: then no server can come back, so nothing is to be remembered.
pub struct Memory {
    file: Option<PathBuf>,
    /// What stood there about servers that are not configured now. They may be again.
    others: BTreeMap<String, Server>,
}

impl Memory {
    /// It is kept in the directory of the recovery log.
    pub fn beside(log: Option<&Path>) -> Self {
        Self {
            file: log.map(|directory| directory.join("servers.json")),
            others: BTreeMap::new(),
        }
    }

    /// What is known of each server, by its name; `is_configured` says whether there is one.
    pub fn load(&mut self, is_configured: impl Fn(&str) -> bool) -> anyhow::Result<BTreeMap<String, Remembered>> {
        let Some(file) = &self.file else {
            return Ok(BTreeMap::new());
        };
        let text = match fs::read_to_string(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            text => text.with_context(|| format!("cannot read {}", file.display()))?,
        };
        let servers: BTreeMap<String, Server> = serde_json::from_str(&text).with_context(|| {
            format!(
                "{} does not say which servers are disabled and which must be rebuilt: it should be like {{\"db2\":{{\"disabled\":\"reason\"}}}}, or not be there",
                file.display()
            )
        })?;
        let (servers, others) = servers.into_iter().partition(|(name, _)| is_configured(name));
        let servers: BTreeMap<String, Server> = servers;
        self.others = others;
        let servers = servers.into_iter().map(|(name, server)| (name, server.into()));
        Ok(servers.collect())
    }

    /// Writes the file after each change, until `stop`; what has changed by then is written too.
    pub async fn follow(self, group: Arc<Group<Reality>>, stop: CancellationToken) {
        let mut memories = group.memories();
        // Forming the group may have changed something.
        memories.mark_changed();
        loop {
            // Changes go first: a server may be found to differ in the moment in which Grove is told to stop.
            tokio::select! {
                biased;
                changed = memories.changed() => if changed.is_err() { return },
                () = stop.cancelled() => return,
            }
            let count = *memories.borrow_and_update();
            let servers = group.remembered().into_iter();
            let servers = servers.map(|(name, remembered)| (name, remembered.into()));
            let others = self.others.iter().map(|(name, server)| (name.clone(), server.clone()));
            match self.save(&others.chain(servers).collect()) {
                Ok(()) => group.note_kept(count),
                Err(error) => {
                    tracing::error!(error = %format!("{error:#}"), "which servers are disabled or must be rebuilt will not be known after a start of Grove");
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(PAUSE_AFTER_FAILURE) => memories.mark_changed(),
                    }
                }
            }
        }
    }

    /// A reader finds the old servers or the new ones.
    fn save(&self, servers: &BTreeMap<String, Server>) -> anyhow::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let new = file.with_extension("json.new");
        let write = || {
            let mut output = File::create(&new)?;
            output.write_all(&serde_json::to_vec_pretty(servers)?)?;
            output.sync_all()?;
            fs::rename(&new, file)?;
            File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()
        };
        write().with_context(|| format!("cannot write {}", file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grove_testkit::TestDirectory;

    #[test]
    fn what_is_saved_is_loaded() {
        let directory = TestDirectory::create().unwrap();
        let mut memory = Memory::beside(Some(directory.path()));
        assert!(memory.load(|_| true).unwrap().is_empty());
        let disabled = Remembered {
            disabled: Some("new \"disks\"".to_owned()),
            ..Remembered::default()
        };
        let diverged = Remembered {
            must_be_rebuilt: Some("entry 7 differs".to_owned()),
            rebuild: Some(Some("db1".to_owned())),
            ..Remembered::default()
        };
        let unnamed = Remembered {
            rebuild: Some(None),
            ..Remembered::default()
        };
        let servers = [("db2", disabled), ("db3", diverged), ("db4", unnamed)];
        let servers = servers.map(|(name, remembered)| (name.to_owned(), remembered));
        let saved = servers.clone().map(|(name, remembered)| (name, remembered.into()));
        memory.save(&BTreeMap::from(saved)).unwrap();
        assert_eq!(memory.load(|_| true).unwrap(), BTreeMap::from(servers.clone()));
        // Who is not configured is not forgotten.
        let known = memory.load(|name| name != "db3").unwrap();
        assert_eq!(known.len(), 2);
        assert_eq!(memory.others.keys().collect::<Vec<_>>(), ["db3"]);
        fs::write(directory.path().join("servers.json"), "{\"db2\":{\"disabeld\":\"x\"}}").unwrap();
        assert!(
            memory
                .load(|_| true)
                .unwrap_err()
                .to_string()
                .contains("should be like")
        );
        assert!(Memory::beside(None).load(|_| true).unwrap().is_empty());
    }
}
