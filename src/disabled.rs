//! Which servers operators have disabled, so that a start of Grove does not bring them back: a small JSON file beside the recovery log,
//! `{"db2":"disabled by an operator: new disks"}`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use grove_engine::Group;
use tokio_util::sync::CancellationToken;

use crate::world::Reality;

/// The file, or none where there is no recovery log: then no server can be disabled.
pub struct DisabledServers {
    file: Option<PathBuf>,
}

impl DisabledServers {
    /// They are kept in the directory of the recovery log.
    pub fn beside(log: Option<&Path>) -> Self {
        Self {
            file: log.map(|directory| directory.join("disabled.json")),
        }
    }

    /// Names and reasons.
    pub fn load(&self) -> anyhow::Result<Vec<(String, String)>> {
        let Some(file) = &self.file else { return Ok(Vec::new()) };
        let text = match fs::read_to_string(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text.with_context(|| format!("cannot read {}", file.display()))?,
        };
        let servers: BTreeMap<String, String> = serde_json::from_str(&text).with_context(|| {
            format!(
                "{} does not say which servers are disabled: it should be like {{\"db2\":\"reason\"}}, or not be there",
                file.display()
            )
        })?;
        Ok(servers.into_iter().collect())
    }

    /// Writes the file after each command, until `stop`.
    pub async fn follow(self, group: Arc<Group<Reality>>, stop: CancellationToken) {
        let mut commands = group.commands();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                changed = commands.changed() => if changed.is_err() { return },
            }
            let servers = group.disabled().into_iter().collect();
            if let Err(error) = self.save(&servers) {
                tracing::error!(error = %format!("{error:#}"), "who is disabled will not be known after a start of Grove");
            }
        }
    }

    /// A reader finds the old servers or the new ones.
    fn save(&self, servers: &BTreeMap<String, String>) -> anyhow::Result<()> {
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
        let disabled = DisabledServers::beside(Some(directory.path()));
        assert!(disabled.load().unwrap().is_empty());
        let servers = BTreeMap::from([("db2".to_owned(), "new \"disks\"".to_owned())]);
        disabled.save(&servers).unwrap();
        assert_eq!(disabled.load().unwrap(), servers.into_iter().collect::<Vec<_>>());
        fs::write(directory.path().join("disabled.json"), "db2").unwrap();
        assert!(disabled.load().unwrap_err().to_string().contains("should be like"));
        assert!(DisabledServers::beside(None).load().unwrap().is_empty());
    }
}
