//! One instant on several connections: while it is fixed no commit is under way anywhere, and no statement that commits by itself is half way through.

use crate::group::Group;
use crate::io::{Clock, CopyError, LegError, World};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Transactions with a snapshot begin within this time, while commits wait.
const LONGEST_FREEZE: Duration = Duration::from_secs(1);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

impl<W: World> Group<W> {
    /// Has `freeze` begin transactions that show the same instant. Gives how many statements had begun until then that may change definitions.
    pub(crate) async fn fix_instant<F>(&self, freeze: impl FnOnce() -> F) -> Result<u64, CopyError>
    where
        F: Future<Output = Result<(), CopyError>>,
    {
        let (clock, limit) = (self.world.clock(), self.settings.join_pause);
        loop {
            let Some(closed) = self.barrier.close(clock, limit).await else {
                clock.sleep(PAUSE).await;
                continue;
            };
            let definitions = self.definitions.load(Ordering::SeqCst);
            let settled = async {
                self.commits.settled().await;
                self.standalones.settled().await;
            };
            let is_settled = tokio::select! {
                biased;
                () = settled => true,
                () = clock.sleep(limit) => false,
            };
            if is_settled {
                let frozen = tokio::select! {
                    biased;
                    frozen = freeze() => frozen,
                    () = clock.sleep(LONGEST_FREEZE) => Err(LegError::Timeout(LONGEST_FREEZE).into()),
                };
                return frozen.map(|()| definitions);
            }
            drop(closed);
            clock.sleep(PAUSE).await;
        }
    }
}
