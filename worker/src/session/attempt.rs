//! One attempt from grant to report: is it done already, compute, is it done meanwhile, upload, commit.

use std::sync::Arc;
use std::time::Duration;

use limbic_proto::commit::Commit;
use limbic_proto::key::UnitKey;
use limbic_proto::unit::UnitKind;
use limbic_proto::wire::Grant;
use limbic_store::{Store, StoreError};

use super::holding::{Held, Outcome};
use super::publish::{Publication, Publish};
use super::{SessionError, Shared};
use crate::device;
use crate::execute::{Advice, ExecuteError};
use crate::inputs::{InputError, Inputs};
use crate::pause::freshly;

/// A granted unit on its way.
pub(super) struct Attempt {
    pub(super) shared: Arc<Shared>,
    pub(super) store: Store,
    pub(super) held: Arc<Held>,
    pub(super) grant: Grant,
}

/// How long an attempt's log may take to be written, and finished blocks to be removed.
const ASIDE: Duration = Duration::from_secs(2);

/// What came of computing.
pub(super) enum Computed {
    /// It was over before it was begun: given back, or committed by another attempt.
    Unbegun(Outcome),
    /// Artifacts to be published.
    Output { key: UnitKey, computed: device::Computed },
    /// The attempt ended without.
    Ended(Outcome),
    /// It ended without, and the worker can't go on.
    Leave { outcome: Outcome, error: SessionError },
}

impl Attempt {
    /// Computes the unit, unless a commit stands already.
    pub(super) async fn compute(&self) -> Computed {
        let (unit, generations) = match self.grant.unit().and_then(|unit| Ok((unit, self.grant.generations()?))) {
            Ok((unit, generations)) => (Arc::new(unit), generations),
            Err(error) => {
                tracing::warn!(error = %with_causes(&error), "the unit can't be read");
                return Computed::Ended(Outcome::Failed { error: error.to_string(), permanent: true });
            }
        };
        let key = unit.spec.key();
        if let Some(ended) = self.over_already(&key).await {
            return ended;
        }
        tracing::info!(title = %unit.hints.title, worker = %self.shared.settings.id, device = %self.shared.settings.device, "begun");
        let inputs = Inputs::new(
            self.store.clone(),
            self.shared.shelf.clone(),
            tokio::runtime::Handle::current(),
            self.shared.settings.timing,
            self.held.progress.clone(),
        )
        .out_of(self.shared.proven.clone())
        .in_generations(self.held.generation, generations);
        match self.shared.device.execute(unit, inputs, self.held.progress.clone()).await {
            Ok(computed) => Computed::Output { key, computed },
            Err(error) => self.failed(error),
        }
    }

    fn failed(&self, error: ExecuteError) -> Computed {
        if matches!(error, ExecuteError::Cancelled | ExecuteError::Input(InputError::Cancelled)) {
            return Computed::Ended(Outcome::Released);
        }
        if let ExecuteError::Input(InputError::Corrupt { unit, generation, .. }) = &error {
            tracing::warn!(error = %with_causes(&error), "a dependency is corrupt");
            return Computed::Ended(Outcome::Corrupt { bad: *unit, generation: *generation, error: error.to_string() });
        }
        let (message, advice) = (error.to_string(), error.advice());
        let error = match error {
            ExecuteError::Input(InputError::Store(error)) if advice == Advice::Leave => {
                return self.unreadable(error, "the unit's inputs can't be read; it is given back");
            }
            other => other,
        };
        tracing::warn!(error = %with_causes(&error), "the unit failed");
        let failed = Outcome::Failed { error: message.clone(), permanent: advice == Advice::Reject };
        match (advice, error) {
            // Where the hub is never heard each unit would be given back without end.
            (Advice::Leave, ExecuteError::Input(InputError::Model(_))) => {
                Computed::Leave { outcome: failed, error: SessionError::Model { message } }
            }
            (Advice::Leave, _) => Computed::Leave { outcome: Outcome::Released, error: SessionError::Device { message } },
            (Advice::Abort, _) => Computed::Leave { outcome: failed, error: SessionError::Device { message } },
            (Advice::Retry | Advice::Reject, _) => Computed::Ended(failed),
        }
    }

    /// That the store can't be read is not the unit's fault. It is given back, and this worker ends and says why.
    fn unreadable(&self, error: StoreError, what: &str) -> Computed {
        tracing::warn!(error = %with_causes(&error), "{what}");
        let passing = self.shared.proven.reads_again(&error);
        Computed::Leave { outcome: Outcome::Released, error: SessionError::Store { error: Box::new(error), passing } }
    }

    /// How it ends where a commit stands before anything is computed, where it is to end before the store says, or where the store
    /// doesn't say for longer than the patience. A store that is away is waited for, and an answer that came late is asked for
    /// again: what is committed must not be computed again.
    async fn over_already(&self, key: &UnitKey) -> Option<Computed> {
        let shared = &self.shared;
        let look = shared.proven.reading(&shared.settings.timing, || freshly(|| self.store.commit(key, self.held.generation)));
        let found = tokio::select! {
            biased;
            found = look => found,
            () = self.held.progress.cancellation() => return Some(Computed::Unbegun(Outcome::Released)),
            () = shared.drain.over() => return Some(Computed::Unbegun(Outcome::Released)),
        };
        match found {
            // Something stands there that is no commit: whoever reads the result finds it corrupt, and the coordinator voids it.
            Err(StoreError::Corrupt { .. }) | Ok(_) => self.outcome(found).map(Computed::Unbegun),
            Err(error) => Some(self.unreadable(error, "can't see whether the unit is committed; it is given back")),
        }
    }

    /// The outcome where a commit stands once everything is computed. Whoever publishes waits for a store that is away.
    async fn committed_already(&self, key: &UnitKey) -> Option<Outcome> {
        self.outcome(self.store.commit(key, self.held.generation).await)
    }

    fn outcome(&self, found: Result<Option<Commit>, StoreError>) -> Option<Outcome> {
        match found {
            Ok(commit) => commit.map(|_| Outcome::Committed { mine: false, tokens: 0 }),
            Err(error) => {
                tracing::warn!(error = %with_causes(&error), "can't see whether the unit is committed");
                None
            }
        }
    }

    /// Uploads and commits what was computed, and reports.
    pub(super) async fn publish(&self, computed: Computed) -> Result<(), SessionError> {
        let outcome = match computed {
            Computed::Unbegun(outcome) => {
                self.held.say(&outcome);
                let blocks = matches!(outcome, Outcome::Committed { .. }) && self.may_have_blocks();
                let (reported, ()) = tokio::join!(self.shared.report(&self.held, outcome), self.drop_blocks(blocks));
                return reported;
            }
            Computed::Ended(outcome) => return self.end(outcome, false).await,
            Computed::Leave { outcome, error } => {
                self.end(outcome, false).await?;
                return Err(error);
            }
            // A leaving worker waits for no store. If its create took effect all the same, whoever gets the unit next finds
            // the commit.
            Computed::Output { key, computed } => {
                let blocks = computed.output.blocks;
                tokio::select! {
                    biased;
                    outcome = self.store(key, computed) => outcome.map(|outcome| (outcome, blocks)),
                    () = self.shared.drain.over() => Ok((Outcome::Released, false)),
                }
            }
        };
        match outcome {
            Ok((outcome, blocks)) => {
                // Whoever lost to another attempt can't know what that one kept.
                let blocks = match outcome {
                    Outcome::Committed { mine, .. } => blocks || (!mine && self.may_have_blocks()),
                    _ => false,
                };
                self.end(outcome, blocks).await
            }
            // That the store takes nothing is not the unit's fault. It is given back, and this worker ends and says why.
            Err(error) => {
                tracing::warn!(error = %with_causes(&error), "the store takes nothing");
                self.end(Outcome::Released, false).await?;
                Err(error)
            }
        }
    }

    async fn store(&self, key: UnitKey, computed: device::Computed) -> Result<Outcome, SessionError> {
        if let Some(ended) = self.committed_already(&key).await {
            return Ok(ended);
        }
        let settings = &self.shared.settings;
        let publication = Publication {
            key,
            generation: self.held.generation,
            attempt: &self.held.attempt,
            worker: &settings.id,
            device: &settings.device,
            computed,
        };
        let publish = Publish { store: &self.store, timing: &settings.timing, proven: &self.shared.proven };
        // Uploads stop when the coordinator says so; a create that is on its way does not.
        let artifacts = tokio::select! {
            biased;
            artifacts = publish.artifacts(&publication) => artifacts,
            () = self.held.progress.cancellation() => return Ok(Outcome::Released),
        };
        let mine = publish.commit(&publication, artifacts?).await?;
        Ok(Outcome::Committed { mine, tokens: publication.computed.output.tokens })
    }

    /// Keeps the log, removes the finished blocks if it is to, and reports the outcome. Whoever is told of a failure finds its log;
    /// no other report waits for anything.
    async fn end(&self, outcome: Outcome, drop_blocks: bool) -> Result<(), SessionError> {
        self.held.say(&outcome);
        let drain = &self.shared.drain;
        if matches!(outcome, Outcome::Failed { .. } | Outcome::Corrupt { .. }) {
            self.keep_log(drain.over()).await;
            return self.shared.report(&self.held, outcome).await;
        }
        let report = self.shared.report(&self.held, outcome);
        let (reported, (), ()) = tokio::join!(report, self.keep_log(drain.gone()), self.drop_blocks(drop_blocks));
        reported
    }

    /// Whether attempts of such a unit keep finished blocks.
    fn may_have_blocks(&self) -> bool {
        self.grant.unit().is_ok_and(|unit| matches!(unit.spec.kind(), UnitKind::Extract | UnitKind::Prompt | UnitKind::Fit))
    }

    /// Removes what was kept for the case that the unit, which is committed by now, is interrupted, if the store does so at once.
    /// What stays is garbage, which `limbic gc` removes.
    async fn drop_blocks(&self, wanted: bool) {
        let Some(unit) = self.held.key.parse().ok().filter(|_| wanted) else { return };
        tokio::select! {
            biased;
            removed = self.store.remove_parts(&unit, self.held.generation) => {
                if let Err(error) = removed {
                    tracing::info!(error = %with_causes(&error), "finished blocks of the committed unit stay in the store");
                }
            }
            () = self.shared.drain.gone() => {}
            () = tokio::time::sleep(ASIDE) => {
                tracing::info!(seconds = ASIDE.as_secs(), "finished blocks of the committed unit stay in the store, which takes longer");
            }
        }
    }

    /// Writes the log beside the attempt's artifacts, if the store takes it at once.
    async fn keep_log(&self, over: impl Future<Output = ()>) {
        let (Ok(unit), Some(text)) = (self.held.key.parse(), self.held.log.text()) else { return };
        tokio::select! {
            biased;
            written = self.store.put_log(&unit, &self.held.attempt, text) => {
                if let Err(error) = written {
                    tracing::warn!(%error, "the attempt's log can't be kept");
                }
            }
            () = over => {}
            () = tokio::time::sleep(ASIDE) => tracing::warn!(seconds = ASIDE.as_secs(), "the attempt's log is not kept: the store takes longer"),
        }
    }
}

/// An error and those of its causes that it doesn't tell itself.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.contains(&told) {
            text = format!("{text}: {told}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Told(&'static str, #[source] Option<Box<Told>>);

    #[test]
    fn each_cause_is_told_once() {
        let cause = |text, of| Some(Box::new(Told(text, of)));
        let error = Told("reading x: refused", cause("refused", cause("status 403", None)));
        assert_eq!(with_causes(&error), "reading x: refused: status 403");
    }
}
