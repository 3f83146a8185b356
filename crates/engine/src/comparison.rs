//! Comparing all online servers while clients go on: one instant, all definitions, every row. It only finds out; what is to be done is an operator's matter.

use crate::group::Group;
use crate::io::{BackendId, Clock, Compared, Comparer, ComparisonProgress, CopyError, LegError, Servers, World};
use crate::operator::{Refusal, not_now};
use grove_recovery_log::Position;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use tokio_util::sync::CancellationToken;

/// Definitions may change while they are compared; it begins again as often as this.
const MOST_ATTEMPTS: usize = 5;

/// The newest comparison.
#[derive(Clone, Debug)]
pub struct Comparison {
    servers: Vec<BackendId>,
    /// The server with which the others are compared.
    pub first: String,
    /// The others.
    pub others: Vec<String>,
    /// The newest entry of the log at the instant that is compared; until that is fixed, at the beginning.
    pub position: Position,
    /// When it was ordered, in microseconds since 1970-01-01 UTC.
    pub began_unix_micros: u64,
    /// How far it is.
    pub progress: Arc<ComparisonProgress>,
    /// What has come of it; `None` while it is under way.
    pub outcome: Option<Outcome>,
}

impl Comparison {
    /// One that has just been ordered.
    pub fn of(first: &str, others: &[&str]) -> Self {
        Self {
            servers: Vec::new(),
            first: first.to_owned(),
            others: others.iter().map(|&other| other.to_owned()).collect(),
            position: 0,
            began_unix_micros: 0,
            progress: Arc::default(),
            outcome: None,
        }
    }
}

/// What a comparison has come to.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Everything that can be compared was.
    Complete {
        /// Server and what it holds otherwise than the first; some, if there are many.
        differences: Vec<(String, String)>,
        /// Tables that could not be compared, with the reasons.
        left_out: Vec<String>,
    },
    /// It ended early; why.
    Failed(String),
}

impl<W: World> Group<W> {
    /// Orders a comparison of all online servers. Gives a sentence that says what happens next.
    pub fn begin_comparison(&self) -> Result<String, Refusal> {
        let _one_at_a_time = self.commanding.lock().unwrap_or_else(PoisonError::into_inner);
        let view = self.view();
        let others: Vec<BackendId> = view.online.iter().copied().filter(|&id| id != view.lead).collect();
        let first = self.name(view.lead).to_owned();
        if others.is_empty() {
            return not_now(format!(
                "{first} is the only server that is online: there is nothing to compare it with"
            ));
        }
        if self.comparison().is_some_and(|comparison| comparison.outcome.is_none()) {
            return not_now("a comparison is under way already");
        }
        let names: Vec<&str> = others.iter().map(|&id| self.name(id)).collect();
        let next = format!("{first} is compared with {}, while clients go on", names.join(", "));
        self.comparison.send_replace(Some(Comparison {
            servers: [&[view.lead], others.as_slice()].concat(),
            position: self.log.last_position(),
            began_unix_micros: self.world.clock().unix_micros(),
            ..Comparison::of(&first, &names)
        }));
        Ok(next)
    }

    /// Carries comparisons out as they are ordered, until `stop` is cancelled.
    pub async fn carry_out_comparisons(&self, stop: CancellationToken) {
        let mut ordered = self.comparison.subscribe();
        loop {
            let wanted = ordered.borrow_and_update().clone();
            let work = async {
                match wanted {
                    Some(Comparison {
                        servers,
                        progress,
                        outcome: None,
                        ..
                    }) => self.carry_out(&servers, &progress).await,
                    _ => drop(ordered.changed().await),
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = work => {}
            }
        }
    }

    async fn carry_out(&self, servers: &[BackendId], progress: &ComparisonProgress) {
        let outcome = match servers.split_first() {
            Some((&first, others)) => self.compare(first, others, progress).await,
            None => Outcome::Failed("there is nothing to compare".into()),
        };
        match &outcome {
            Outcome::Complete { differences, .. } if differences.is_empty() => {
                tracing::info!(
                    rows = progress.rows.load(Ordering::Relaxed),
                    "the servers hold the same"
                );
            }
            Outcome::Complete { differences, .. } => {
                tracing::error!(?differences, "the servers do not hold the same");
            }
            Outcome::Failed(reason) => tracing::warn!(reason, "the servers could not be compared"),
        }
        self.note_comparison(|comparison| comparison.outcome = Some(outcome));
    }

    /// The newest comparison, if there was one.
    pub fn comparison(&self) -> Option<Comparison> {
        self.comparison.borrow().clone()
    }

    fn note_comparison(&self, note: impl FnOnce(&mut Comparison)) {
        self.comparison.send_modify(|comparison| {
            if let Some(comparison) = comparison {
                note(comparison);
            }
        });
    }

    async fn compare(&self, first: BackendId, others: &[BackendId], progress: &ComparisonProgress) -> Outcome {
        for _ in 0..MOST_ATTEMPTS {
            match self.attempt_comparison(first, others, progress).await {
                Ok(compared) => {
                    let name = |place: usize| others.get(place).map(|&id| self.name(id).to_owned());
                    let differences = compared.differences.into_iter();
                    return Outcome::Complete {
                        differences: differences
                            .map(|difference| (name(difference.server).unwrap_or_default(), difference.what))
                            .collect(),
                        left_out: compared.left_out,
                    };
                }
                Err(CopyError::Changed(reason)) => tracing::info!(reason, "the comparison begins again"),
                Err(error) => return Outcome::Failed(error.to_string()),
            }
        }
        Outcome::Failed("definitions change all the time; compare when nobody changes them".into())
    }

    async fn attempt_comparison(
        &self,
        first: BackendId,
        others: &[BackendId],
        progress: &ComparisonProgress,
    ) -> Result<Compared, CopyError> {
        let gone = others.iter().chain([&first]).map(|&id| {
            let gone = self.gone(id);
            Box::pin(async move {
                gone.cancelled().await;
                id
            })
        });
        let gone: Vec<_> = gone.collect();
        let comparing = async {
            let mut comparer = self.world.servers().prepare_comparison(first, others).await?;
            let definitions = self
                .fix_instant(|| {
                    let position = self.log.last_position();
                    self.note_comparison(|comparison| comparison.position = position);
                    comparer.freeze()
                })
                .await?;
            comparer.definitions().await?;
            if self.definitions.load(Ordering::SeqCst) != definitions {
                return Err(CopyError::Changed(
                    "a definition changed while all of them were read".into(),
                ));
            }
            comparer.rows(progress).await
        };
        tokio::select! {
            biased;
            (id, ..) = futures_util::future::select_all(gone) => {
                Err(LegError::Lost(format!("{} has left the group", self.name(id))).into())
            }
            compared = comparing => compared,
        }
    }
}
